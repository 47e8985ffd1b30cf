//! Taking a device's entries in.

use super::link;
use crate::admin::AlertKind;
use crate::devices::alerts;
use crate::keys::OrgKeys;
use crate::refusal::Refusal;
use crate::storage::{self, Columns, StorageError, StoredDevice, StoredEntry, StoredFault, WriteTx};
use chrono::{DateTime, Utc};
use roundsman_protocol::ErrorCode;
use roundsman_protocol::audit::{
    AuditError, AuditReport, Checkpoint, Entry, Head, MAX_ENTRIES, head_message,
};
use roundsman_protocol::envelope::Domain;

/// Stores what follows from what is stored, keeps what is wrong as a fault, and answers with the server's signature
/// on what it has now; nothing if that is nothing, or if the report isn't the device's. A `repeated` report, whose turn was
/// taken before, may name an earlier end of the same chain.
pub(crate) fn take(
    tx: &mut dyn WriteTx,
    keys: &OrgKeys,
    device: &StoredDevice,
    report: &AuditReport,
    repeated: bool,
    now: DateTime<Utc>,
) -> Result<Option<Vec<u8>>, Refusal> {
    if report.entries.len() > MAX_ENTRIES {
        return Err(ErrorCode::Malformed.into());
    }
    let mut stored = tx.audit_head(device.id)?;
    let expected = stored.head.seq + 1;
    if device.key.verify(&head_message(device.id, report.head), &report.signature).is_err() {
        note_fault(tx, device, AuditError::Malformed, expected, now)?;
        return Ok(None);
    }
    let before = stored.head;
    let fault = append(tx, device, &mut stored.head, &report.entries, now)?;
    if let Some((kind, seq)) = fault.or_else(|| end(stored.head, report.head))
        && !(fault.is_none() && repeated && was_the_end(tx, device, report.head)?)
    {
        note_fault(tx, device, kind, seq, now)?;
    }
    if stored.head != before {
        stored.stored_ms = now.timestamp_millis();
    }
    if stored.head == report.head {
        stored.signed = report.head;
        stored.signature.clone_from(&report.signature);
    }
    if stored.head.seq == 0 {
        return Ok(None);
    }
    tx.put_audit_head(device.id, &stored)?;
    let checkpoint =
        Checkpoint { device: *device.id.0.as_bytes(), head: stored.head, stored_ms: stored.stored_ms };
    Ok(Some(keys.sign(Domain::Audit, checkpoint.to_bytes())))
}

/// Appends entries until one does not follow; returns what is wrong with it and the number it has or should have.
pub(super) fn append(
    tx: &mut dyn WriteTx,
    device: &StoredDevice,
    head: &mut Head,
    entries: &[Vec<u8>],
    now: DateTime<Utc>,
) -> storage::Result<Option<(AuditError, u64)>> {
    let (mut n, mut chain) = tx.audit_end()?;
    for bytes in entries {
        // Sent again because the answer was lost, or another entry of the same number.
        if let Ok(entry) = Entry::from_bytes(bytes)
            && (1..=head.seq).contains(&entry.seq)
            && entry.device == *device.id.0.as_bytes()
        {
            if tx.audit_bytes(device.id, entry.seq)?.as_ref() == Some(bytes) {
                continue;
            }
            return Ok(Some((AuditError::Fork, entry.seq)));
        }
        let (next, entry) = match head.extend(device.id, bytes) {
            Ok(next) => next,
            Err(kind) => return Ok(Some((kind, head.seq + 1))),
        };
        n += 1;
        chain = link(&chain, device.id, bytes);
        tx.add_audit_entry(&StoredEntry {
            n,
            device: device.id,
            entry: Columns::of(&entry).ok_or(StorageError::Damaged("audit entry"))?,
            bytes: bytes.clone(),
            head: next.hash,
            chain,
            received_ms: now.timestamp_millis(),
        })?;
        *head = next;
    }
    Ok(None)
}

/// What is wrong with the end that a device names. One that lies further on is right: more entries are to come.
fn end(stored: Head, named: Head) -> Option<(AuditError, u64)> {
    if named.seq < stored.seq {
        Some((AuditError::Truncated, stored.seq))
    } else if named.seq == stored.seq && named.hash != stored.hash {
        Some((AuditError::Fork, stored.seq))
    } else {
        None
    }
}

/// Whether the device's stored chain once ended like this.
fn was_the_end(tx: &dyn WriteTx, device: &StoredDevice, named: Head) -> storage::Result<bool> {
    let next = tx.audit_bytes(device.id, named.seq.saturating_add(1))?;
    Ok(next.and_then(|bytes| Entry::from_bytes(&bytes).ok()).is_some_and(|next| next.prev == named.hash))
}

/// Keeps a fault of a device's chain and raises an alert. The same fault found again is no news.
fn note_fault(
    tx: &mut dyn WriteTx,
    device: &StoredDevice,
    kind: AuditError,
    seq: u64,
    now: DateTime<Utc>,
) -> storage::Result<()> {
    if tx.add_audit_fault(device.id, &StoredFault { kind, seq, at_ms: now.timestamp_millis() })? {
        let detail = format!("entry {seq}: {kind}");
        alerts::raise(tx, AlertKind::AuditLog, Some(device.id), detail, now)?;
    }
    Ok(())
}
