//! SQL of devices, tickets, tokens, commands, receipts, shares and mutations.

use super::{Param, Row, Tx, blob, by_name, bytes, id, json, maybe_bytes, name_of, number, params, to_json};
use crate::admin::DeviceStatus;
use crate::storage::{
    CommandState, FleetRead, FleetWrite, Notice, RefreshToken, Result, StorageError, StoredCommand,
    StoredDevice, StoredForm, StoredMutation, StoredReceipt, StoredShare, StoredTicket,
};
use roundsman_model::{DeviceId, DeviceSeq, UserId};
use roundsman_protocol::keys::{DeviceKey, Thumbprint};
use std::borrow::Cow;
use std::fmt::Write;
use uuid::Uuid;

const STATUSES: [(DeviceStatus, &str); 8] = [
    (DeviceStatus::Active, "active"),
    (DeviceStatus::LockPending, "lock_pending"),
    (DeviceStatus::SoftLocked, "soft_locked"),
    (DeviceStatus::Locked, "locked"),
    (DeviceStatus::UnlockGranted, "unlock_granted"),
    (DeviceStatus::WipePending, "wipe_pending"),
    (DeviceStatus::Shredded, "shredded"),
    (DeviceStatus::Wiped, "wiped"),
];

const STATES: [(CommandState, &str); 3] = [
    (CommandState::Outstanding, "outstanding"),
    (CommandState::Accepted, "accepted"),
    (CommandState::Superseded, "superseded"),
];

fn device(row: &Row<'_>) -> Result<StoredDevice> {
    let key: Vec<u8> = row.get("key")?;
    Ok(StoredDevice {
        id: DeviceId(id(row, "id")?),
        user: UserId(id(row, "user")?),
        key: DeviceKey::from_sec1(&key).map_err(|_| StorageError::Damaged("device key"))?,
        install: id(row, "install")?,
        name: row.get("name")?,
        platform: row.get("platform")?,
        hardware_keys: row.get("hardware_keys")?,
        core: row.get("core")?,
        enrolled_ms: row.get("enrolled_ms")?,
        seen_ms: row.get("seen_ms")?,
        unsent: number(row, "unsent")?,
        status: by_name(&STATUSES, &row.get::<_, String>("status")?)?,
        last_command: number(row, "last_command")?,
        applied: DeviceSeq(number(row, "applied")?),
    })
}

impl FleetRead for Tx<'_> {
    fn ticket(&self, token: &[u8; 32]) -> Result<Option<StoredTicket>> {
        self.one("SELECT * FROM ticket WHERE token = ?1", params![token.as_slice()], |row| {
            Ok(StoredTicket {
                token: bytes(row, "token")?,
                digest: maybe_bytes(row, "digest")?,
                user: UserId(id(row, "user")?),
                expires_ms: row.get("expires_ms")?,
                used_ms: row.get("used_ms")?,
            })
        })
    }

    fn device(&self, id: DeviceId) -> Result<Option<StoredDevice>> {
        self.one("SELECT * FROM device WHERE id = ?1", params![blob(&id.0)], device)
    }

    fn device_by_key(&self, thumbprint: Thumbprint) -> Result<Option<StoredDevice>> {
        self.one("SELECT * FROM device WHERE thumbprint = ?1", params![thumbprint.0.as_slice()], device)
    }

    fn devices(&self) -> Result<Vec<StoredDevice>> {
        self.all("SELECT * FROM device ORDER BY coalesce(seen_ms, enrolled_ms) DESC, id", params![], device)
    }

    fn access_token(&self, hash: &[u8; 32]) -> Result<Option<(DeviceId, i64)>> {
        self.one(
            "SELECT device, expires_ms FROM access_token WHERE hash = ?1",
            params![hash.as_slice()],
            |row| Ok((DeviceId(id(row, "device")?), row.get("expires_ms")?)),
        )
    }

    fn refresh_token(&self, hash: &[u8; 32]) -> Result<Option<RefreshToken>> {
        self.one("SELECT * FROM refresh_token WHERE hash = ?1", params![hash.as_slice()], |row| {
            Ok(RefreshToken {
                hash: bytes(row, "hash")?,
                device: DeviceId(id(row, "device")?),
                expires_ms: row.get("expires_ms")?,
                family_expires_ms: row.get("family_expires_ms")?,
                spent_ms: row.get("spent_ms")?,
                request: maybe_bytes(row, "request")?.map(Uuid::from_bytes),
                successor: maybe_bytes(row, "successor")?,
            })
        })
    }

    fn commands(&self, device: DeviceId) -> Result<Vec<StoredCommand>> {
        self.all("SELECT * FROM command WHERE device = ?1 ORDER BY n", params![blob(&device.0)], |row| {
            Ok(StoredCommand {
                id: id(row, "id")?,
                device,
                kind: row.get("kind")?,
                reason: row.get("reason")?,
                issued_by: UserId(id(row, "issued_by")?),
                issued_ms: row.get("issued_ms")?,
                not_after_ms: row.get("not_after_ms")?,
                nonce: maybe_bytes(row, "nonce")?,
                state: by_name(&STATES, &row.get::<_, String>("state")?)?,
            })
        })
    }

    fn command_forms(&self, device: DeviceId) -> Result<Vec<StoredForm>> {
        self.all(
            "SELECT command_form.* FROM command_form JOIN command ON command.id = command_form.command
             WHERE command.device = ?1 ORDER BY command_form.seq, command_form.n",
            params![blob(&device.0)],
            |row| {
                Ok(StoredForm {
                    command: id(row, "command")?,
                    seq: number(row, "seq")?,
                    prev: bytes(row, "prev")?,
                    hash: bytes(row, "hash")?,
                    envelope: row.get("envelope")?,
                    delivered_ms: row.get("delivered_ms")?,
                })
            },
        )
    }

    fn receipts(&self, device: DeviceId) -> Result<Vec<StoredReceipt>> {
        self.all("SELECT * FROM receipt WHERE device = ?1 ORDER BY n", params![blob(&device.0)], |row| {
            Ok(StoredReceipt {
                device,
                command: maybe_bytes(row, "command")?.map(Uuid::from_bytes),
                progress: row.get("progress")?,
                at_ms: row.get("at_ms")?,
                received_ms: row.get("received_ms")?,
                verified: row.get("verified")?,
                raw: row.get("raw")?,
            })
        })
    }

    fn share(&self, device: DeviceId) -> Result<Option<StoredShare>> {
        self.one("SELECT * FROM share WHERE device = ?1", params![blob(&device.0)], |row| {
            Ok(StoredShare { device, share: json(row, "share")?, stored_ms: row.get("stored_ms")? })
        })
    }

    fn mutation(&self, device: DeviceId, seq: DeviceSeq) -> Result<Option<StoredMutation>> {
        self.one(
            "SELECT * FROM mutation WHERE device = ?1 AND seq = ?2",
            params![blob(&device.0), seq.0 as i64],
            |row| Ok(StoredMutation { seq, id: id(row, "id")?, outcome: json(row, "outcome")? }),
        )
    }
}

impl FleetWrite for Tx<'_> {
    fn add_ticket(&mut self, ticket: &StoredTicket) -> Result<()> {
        self.run(
            "INSERT INTO ticket (token, digest, \"user\", expires_ms, used_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                ticket.token.as_slice(),
                ticket.digest.as_ref().map(|digest| digest.as_slice()),
                blob(&ticket.user.0),
                ticket.expires_ms,
                ticket.used_ms
            ],
        )?;
        Ok(())
    }

    fn spend_ticket(&mut self, token: &[u8; 32], at_ms: i64) -> Result<()> {
        self.run("UPDATE ticket SET used_ms = ?2 WHERE token = ?1", params![token.as_slice(), at_ms])?;
        Ok(())
    }

    fn put_device(&mut self, device: &StoredDevice) -> Result<()> {
        self.run(
            "INSERT INTO device (id, \"user\", key, thumbprint, install, name, platform, hardware_keys, core,
             enrolled_ms, seen_ms, unsent, status, last_command, applied)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
             ON CONFLICT (id) DO UPDATE SET name = excluded.name, core = excluded.core, seen_ms = excluded.seen_ms,
             unsent = excluded.unsent, status = excluded.status, last_command = excluded.last_command,
             applied = excluded.applied",
            params![
                blob(&device.id.0),
                blob(&device.user.0),
                device.key.as_sec1().as_slice(),
                device.key.thumbprint().0.as_slice(),
                blob(&device.install),
                device.name,
                device.platform,
                device.hardware_keys,
                device.core,
                device.enrolled_ms,
                device.seen_ms,
                device.unsent as i64,
                name_of(&STATUSES, &device.status)?,
                device.last_command as i64,
                device.applied.0 as i64
            ],
        )?;
        Ok(())
    }

    fn add_access_token(
        &mut self,
        hash: &[u8; 32],
        device: DeviceId,
        expires_ms: i64,
        now_ms: i64,
    ) -> Result<()> {
        self.run("DELETE FROM access_token WHERE expires_ms < ?1", params![now_ms - FORGET_TOKENS_MS])?;
        self.run(
            "INSERT INTO access_token (hash, device, expires_ms) VALUES (?1, ?2, ?3)",
            params![hash.as_slice(), blob(&device.0), expires_ms],
        )?;
        Ok(())
    }

    fn put_refresh_token(&mut self, token: &RefreshToken, now_ms: i64) -> Result<()> {
        self.run("DELETE FROM refresh_token WHERE family_expires_ms < ?1", params![now_ms])?;
        self.run(
            "INSERT INTO refresh_token
             (hash, device, expires_ms, family_expires_ms, spent_ms, request, successor)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (hash) DO UPDATE SET device = excluded.device, expires_ms = excluded.expires_ms,
             family_expires_ms = excluded.family_expires_ms, spent_ms = excluded.spent_ms,
             request = excluded.request, successor = excluded.successor",
            params![
                token.hash.as_slice(),
                blob(&token.device.0),
                token.expires_ms,
                token.family_expires_ms,
                token.spent_ms,
                token.request.as_ref().map(blob),
                token.successor.as_ref().map(<[u8; 32]>::as_slice)
            ],
        )?;
        Ok(())
    }

    fn revoke_tokens(&mut self, device: DeviceId) -> Result<()> {
        self.run("DELETE FROM access_token WHERE device = ?1", params![blob(&device.0)])?;
        self.run("DELETE FROM refresh_token WHERE device = ?1", params![blob(&device.0)])?;
        Ok(())
    }

    fn put_command(&mut self, command: &StoredCommand) -> Result<()> {
        self.run(
            "INSERT INTO command (id, device, kind, reason, issued_by, issued_ms, not_after_ms, nonce, state)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (id) DO UPDATE SET state = excluded.state",
            params![
                blob(&command.id),
                blob(&command.device.0),
                command.kind,
                command.reason,
                blob(&command.issued_by.0),
                command.issued_ms,
                command.not_after_ms,
                command.nonce.as_ref().map(<[u8; 16]>::as_slice),
                name_of(&STATES, &command.state)?
            ],
        )?;
        if command.state == CommandState::Outstanding {
            self.notice(Notice::Device(command.device));
        }
        Ok(())
    }

    fn call(&mut self, device: DeviceId) {
        self.notice(Notice::Device(device));
    }

    fn add_command_form(&mut self, form: &StoredForm) -> Result<()> {
        self.run(
            "INSERT INTO command_form (command, seq, prev, hash, envelope, delivered_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                blob(&form.command),
                form.seq as i64,
                form.prev.as_slice(),
                form.hash.as_slice(),
                form.envelope,
                form.delivered_ms
            ],
        )?;
        Ok(())
    }

    fn mark_delivered(&mut self, command: Uuid, hash: &[u8; 32], at_ms: i64) -> Result<()> {
        self.run(
            "UPDATE command_form SET delivered_ms = ?3 WHERE command = ?1 AND hash = ?2 AND delivered_ms IS NULL",
            params![blob(&command), hash.as_slice(), at_ms],
        )?;
        Ok(())
    }

    fn add_receipt(&mut self, receipt: &StoredReceipt) -> Result<bool> {
        let added = self.run(
            "INSERT INTO receipt (device, command, progress, at_ms, received_ms, verified, raw)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
            params![
                blob(&receipt.device.0),
                receipt.command.as_ref().map(blob),
                receipt.progress,
                receipt.at_ms,
                receipt.received_ms,
                receipt.verified,
                receipt.raw
            ],
        )?;
        Ok(added == 1)
    }

    fn put_share(&mut self, share: &StoredShare) -> Result<()> {
        self.run(
            "INSERT INTO share (device, share, stored_ms) VALUES (?1, ?2, ?3)
             ON CONFLICT (device) DO UPDATE SET share = excluded.share, stored_ms = excluded.stored_ms",
            params![blob(&share.device.0), to_json(&share.share)?, share.stored_ms],
        )?;
        Ok(())
    }

    fn remove_share(&mut self, device: DeviceId) -> Result<()> {
        self.run("DELETE FROM share WHERE device = ?1", params![blob(&device.0)])?;
        Ok(())
    }

    fn add_mutations(&mut self, device: DeviceId, mutations: &[StoredMutation]) -> Result<()> {
        for some in mutations.chunks(ROWS) {
            let outcomes: Vec<String> = some.iter().map(|it| to_json(&it.outcome)).collect::<Result<_>>()?;
            let mut sql = "INSERT INTO mutation (device, seq, id, outcome) VALUES".to_owned();
            let mut columns = vec![Param::Blob(blob(&device.0))];
            for (mutation, outcome) in some.iter().zip(&outcomes) {
                let (comma, at) = (if columns.len() == 1 { "" } else { "," }, columns.len());
                let _ = write!(sql, "{comma} (?1, ?{}, ?{}, ?{})", at + 1, at + 2, at + 3);
                columns.extend([
                    Param::Int(mutation.seq.0 as i64),
                    Param::Blob(blob(&mutation.id)),
                    Param::Text(Cow::Borrowed(outcome)),
                ]);
            }
            self.run(&sql, &columns)?;
        }
        Ok(())
    }

    fn forget_mutations(&mut self, device: DeviceId, up_to: DeviceSeq) -> Result<()> {
        self.run(
            "DELETE FROM mutation WHERE device = ?1 AND seq <= ?2",
            params![blob(&device.0), up_to.0 as i64],
        )?;
        Ok(())
    }
}

/// Rows that one statement adds.
const ROWS: usize = 50;

/// How long an expired access token is still known, so that its holder hears "expired" and not "unknown".
const FORGET_TOKENS_MS: i64 = 30 * 24 * 3_600 * 1_000;
