//! SQL of the audit log.

use super::{Row, Tx, blob, bytes, id, maybe_bytes, number, params};
use crate::storage::{
    AuditRead, AuditWrite, Columns, PeopleRead, PeopleWrite, Result, StorageError, StoredEntry, StoredFault,
    StoredHead,
};
use roundsman_model::DeviceId;
use roundsman_protocol::audit::{AuditError, Head};

/// The setting that holds the end of the server's chain: its place in big-endian order, and its hash.
const END: &str = "audit_end";

fn entry(row: &Row<'_>) -> Result<StoredEntry> {
    let entity: Option<String> = row.get("entity")?;
    Ok(StoredEntry {
        n: number(row, "n")?,
        device: DeviceId(id(row, "device")?),
        entry: Columns {
            seq: number(row, "seq")?,
            at_ms: row.get("at_ms")?,
            actor: bytes(row, "actor")?,
            action: row.get("action")?,
            object: entity.zip(maybe_bytes(row, "record")?),
        },
        bytes: row.get("bytes")?,
        head: bytes(row, "head")?,
        chain: bytes(row, "chain")?,
        received_ms: row.get("received_ms")?,
    })
}

fn kind_name(kind: AuditError) -> Result<String> {
    let value = serde_json::to_value(kind).map_err(|_| StorageError::Damaged("kind of fault"))?;
    value.as_str().map(str::to_owned).ok_or(StorageError::Damaged("kind of fault"))
}

impl AuditRead for Tx<'_> {
    fn audit_head(&self, device: DeviceId) -> Result<StoredHead> {
        let stored =
            self.one("SELECT * FROM audit_head WHERE device = ?1", params![blob(&device.0)], |row| {
                Ok(StoredHead {
                    head: Head { seq: number(row, "seq")?, hash: bytes(row, "hash")? },
                    stored_ms: row.get("stored_ms")?,
                    signed: Head { seq: number(row, "signed_seq")?, hash: bytes(row, "signed_hash")? },
                    signature: row.get("signature")?,
                })
            })?;
        Ok(stored.unwrap_or_default())
    }

    fn audit_bytes(&self, device: DeviceId, seq: u64) -> Result<Option<Vec<u8>>> {
        self.one(
            "SELECT bytes FROM audit WHERE device = ?1 AND seq = ?2",
            params![blob(&device.0), seq as i64],
            |row| row.get("bytes"),
        )
    }

    fn audit_entries(&self, device: DeviceId, before: u64, limit: usize) -> Result<Vec<StoredEntry>> {
        let before = i64::try_from(before).unwrap_or(i64::MAX);
        self.all(
            "SELECT * FROM audit WHERE device = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3",
            params![blob(&device.0), before, limit as i64],
            entry,
        )
    }

    fn audit_after(&self, n: u64, limit: usize) -> Result<Vec<StoredEntry>> {
        self.all(
            "SELECT * FROM audit WHERE n > ?1 ORDER BY n LIMIT ?2",
            params![n as i64, limit as i64],
            entry,
        )
    }

    fn audit_end(&self) -> Result<(u64, [u8; 32])> {
        let Some(end) = self.setting(END)? else { return Ok((0, [0; 32])) };
        let damaged = StorageError::Damaged("end of the audit log");
        let Some((n, hash)) = end.split_first_chunk::<8>() else { return Err(damaged) };
        Ok((u64::from_be_bytes(*n), hash.try_into().map_err(|_| damaged)?))
    }

    fn audit_faults(&self, device: DeviceId) -> Result<Vec<StoredFault>> {
        self.all(
            "SELECT * FROM audit_fault WHERE device = ?1 ORDER BY at_ms DESC, seq",
            params![blob(&device.0)],
            |row| {
                let kind: String = row.get("kind")?;
                Ok(StoredFault {
                    kind: serde_json::from_value(kind.into())
                        .map_err(|_| StorageError::Damaged("kind of fault"))?,
                    seq: number(row, "seq")?,
                    at_ms: row.get("at_ms")?,
                })
            },
        )
    }
}

impl AuditWrite for Tx<'_> {
    fn add_audit_entry(&mut self, stored: &StoredEntry) -> Result<()> {
        let Columns { seq, at_ms, actor, action, object } = &stored.entry;
        self.run(
            "INSERT INTO audit (n, device, seq, at_ms, actor, action, entity, record, bytes, head, chain, received_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            params![
                stored.n as i64,
                blob(&stored.device.0),
                *seq as i64,
                at_ms,
                actor.as_slice(),
                action,
                object.as_ref().map(|(entity, _)| entity),
                object.as_ref().map(|(_, record)| record.as_slice()),
                stored.bytes,
                stored.head.as_slice(),
                stored.chain.as_slice(),
                stored.received_ms
            ],
        )?;
        self.set_setting(END, &[stored.n.to_be_bytes().as_slice(), &stored.chain].concat())
    }

    fn put_audit_head(&mut self, device: DeviceId, stored: &StoredHead) -> Result<()> {
        self.run(
            "INSERT INTO audit_head (device, seq, hash, stored_ms, signed_seq, signed_hash, signature)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (device) DO UPDATE SET seq = excluded.seq, hash = excluded.hash,
             stored_ms = excluded.stored_ms, signed_seq = excluded.signed_seq,
             signed_hash = excluded.signed_hash, signature = excluded.signature",
            params![
                blob(&device.0),
                stored.head.seq as i64,
                stored.head.hash.as_slice(),
                stored.stored_ms,
                stored.signed.seq as i64,
                stored.signed.hash.as_slice(),
                stored.signature
            ],
        )?;
        Ok(())
    }

    fn add_audit_fault(&mut self, device: DeviceId, fault: &StoredFault) -> Result<bool> {
        let added = self.run(
            "INSERT INTO audit_fault (device, kind, seq, at_ms) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
            params![
                blob(&device.0),
                kind_name(fault.kind)?,
                i64::try_from(fault.seq).unwrap_or(i64::MAX),
                fault.at_ms
            ],
        )?;
        Ok(added > 0)
    }
}
