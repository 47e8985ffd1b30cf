//! The audit chain on disk: `audit.log`, and its length and head in the control file.
//!
//! An entry is `length (2, big-endian) ‖ bytes`. It is in the log before the control file counts it, so a stop in
//! between leaves an entry too many, which the next one takes in. A log that is shorter than the control file says,
//! or holds something else, was cut or changed; that never keeps the rep from working. What is left is sent, and the
//! server finds the fault.

use super::record::Status;
use super::{Vault, VaultError};
use crate::platform::KeyAlias;
use chrono::{DateTime, Utc};
use roundsman_model::DeviceId;
use roundsman_protocol::audit::{Action, AuditReport, Checkpoint, Head, MAX_ENTRIES, Object, head_message};
use uuid::Uuid;

/// The log's name in the vault's folder.
pub(super) const LOG: &str = "audit.log";

/// The log is rewritten without what the server has stored once it is longer: 64 KiB.
const COMPACT: usize = 64 * 1024;

/// Something to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) at: DateTime<Utc>,
    pub(crate) action: Action,
    pub(crate) object: Option<Object>,
}

impl Vault {
    /// Records events, durably. The user is the device's.
    ///
    /// # Errors
    /// Not enrolled, or wiped; the disk failed. The chain is whole either way.
    pub(crate) fn record(&self, events: &[Event]) -> Result<(), VaultError> {
        if events.is_empty() {
            return Ok(());
        }
        let _writing = self.audit_gate();
        let (device, actor, known, wiping) = self.read(|record| {
            let wiping = matches!(record.status, Status::Wiping(_));
            (record.profile.device, record.profile.user, record.audit.head, wiping)
        })?;
        if wiping {
            // From here on the receipts speak, and no file may appear.
            return Ok(());
        }
        let folder = self.folder();
        let log = folder.disk.read(&folder.path(LOG))?.unwrap_or_default();
        let mut head = catch_up(&log, device, known);
        let mut added = Vec::new();
        for event in events {
            let (next, bytes) = head.append(event.at, actor.0, device, event.action, event.object.clone());
            head = next;
            added.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
            added.extend_from_slice(&bytes);
        }
        if whole_length(&log) < log.len() {
            // A write that was cut off must not swallow the entries after it.
            let mut mended = log[..whole_length(&log)].to_vec();
            mended.extend_from_slice(&added);
            folder.disk.replace(folder.dir, LOG, &mended)?;
        } else {
            folder.disk.append_sync(&folder.path(LOG), &added)?;
            if log.is_empty() {
                folder.disk.sync_dir(folder.dir)?;
            }
        }
        self.update(|record| record.audit.head = head)
    }

    /// What the server has not countersigned, signed; `None` if it has everything.
    ///
    /// # Errors
    /// Not enrolled, or wiped and proven; the disk or the keystore failed.
    pub(crate) fn audit_report(&self) -> Result<Option<AuditReport>, VaultError> {
        let _writing = self.audit_gate();
        let (device, known, stored) =
            self.read(|record| (record.profile.device, record.audit.head, record.audit.stored))?;
        let folder = self.folder();
        let log = folder.disk.read(&folder.path(LOG))?.unwrap_or_default();
        let head = catch_up(&log, device, known);
        if head != known {
            // A stop kept entries from being counted, perhaps from the disk. What the server is told must outlast
            // a power cut and the log's own removal.
            folder.disk.replace(folder.dir, LOG, &log[..whole_length(&log)])?;
            self.update(|record| record.audit.head = head)?;
        }
        if head == stored {
            return Ok(None);
        }
        let entries = entries(&log)
            .filter(|bytes| number(bytes).is_none_or(|seq| seq > stored.seq))
            .take(MAX_ENTRIES)
            .map(<[u8]>::to_vec)
            .collect();
        let signature = self.seams.keys.sign(KeyAlias::Identity, &head_message(device, head))?.to_vec();
        Ok(Some(AuditReport { entries, head, signature }))
    }

    /// Keeps the server's countersignature, and drops from the log what it covers once the log is long.
    ///
    /// # Errors
    /// Not enrolled, or wiped and proven; the disk failed. A checkpoint that is not the server's, or not newer, is
    /// passed over.
    pub(crate) fn keep_checkpoint(&self, envelope: &[u8]) -> Result<(), VaultError> {
        let _writing = self.audit_gate();
        let (profile, known) = self.read(|record| (record.profile.clone(), record.audit.clone()))?;
        let checkpoint = match Checkpoint::open(envelope, &profile.root()?, profile.device) {
            Ok(checkpoint) if checkpoint.head.seq > known.stored.seq => checkpoint,
            Ok(_) => return Ok(()),
            Err(error) => {
                tracing::warn!(%error, "the server's audit checkpoint is not valid");
                return Ok(());
            }
        };
        self.update(|record| {
            record.audit.stored = checkpoint.head;
            record.audit.checkpoint = Some(envelope.to_vec().into());
        })?;
        let folder = self.folder();
        let log = folder.disk.read(&folder.path(LOG))?.unwrap_or_default();
        if log.len() > COMPACT {
            let mut rest = Vec::new();
            for bytes in
                entries(&log).filter(|bytes| number(bytes).is_none_or(|seq| seq > checkpoint.head.seq))
            {
                rest.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
                rest.extend_from_slice(bytes);
            }
            folder.disk.replace(folder.dir, LOG, &rest)?;
        }
        Ok(())
    }
}

impl Vault {
    /// Whether the log holds an entry that the server has not countersigned.
    pub(super) fn audit_waits(&self) -> Result<bool, VaultError> {
        let stored = self.read(|record| record.audit.stored.seq)?;
        let folder = self.folder();
        let log = folder.disk.read(&folder.path(LOG))?.unwrap_or_default();
        Ok(entries(&log).filter_map(number).any(|seq| seq > stored))
    }

    /// Removes the log: a wipe is at its end.
    pub(super) fn remove_audit_log(&self) -> Result<(), VaultError> {
        let folder = self.folder();
        if folder.has(LOG)? {
            folder.disk.remove(&folder.path(LOG))?;
            folder.disk.sync_dir(folder.dir)?;
        }
        Ok(())
    }
}

/// The head after the entries that a stop kept from being counted.
fn catch_up(log: &[u8], device: DeviceId, known: Head) -> Head {
    entries(log).fold(known, |head, bytes| match number(bytes) {
        Some(seq) if seq > head.seq => head.extend(device, bytes).map_or(head, |(next, _)| next),
        _ => head,
    })
}

/// The whole entries of a log.
fn entries(log: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = log;
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk()?;
        let (entry, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        rest = after;
        Some(entry)
    })
}

fn whole_length(log: &[u8]) -> usize {
    entries(log).map(|entry| entry.len() + 2).sum()
}

fn number(bytes: &[u8]) -> Option<u64> {
    roundsman_protocol::audit::Entry::from_bytes(bytes).ok().map(|entry| entry.seq)
}

/// Reads a log that may hold anything.
#[cfg(feature = "fuzzing")]
pub(super) fn try_read(log: &[u8]) {
    let _ = (catch_up(log, DeviceId(Uuid::nil()), Head::default()), whole_length(log));
}

/// A record, without anything personal.
pub(crate) fn object(entity: &str, id: Uuid) -> Object {
    Object { entity: entity.to_owned(), id: *id.as_bytes() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: DeviceId = DeviceId(Uuid::from_u128(7));

    /// A log of `count` entries, and the head after each.
    fn log(count: usize) -> (Vec<u8>, Vec<Head>) {
        let (mut log, mut heads) = (Vec::new(), vec![Head::default()]);
        for _ in 0..count {
            let head = heads[heads.len() - 1];
            let (next, bytes) = head.append(DateTime::default(), Uuid::nil(), DEVICE, Action::Opened, None);
            log.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
            log.extend_from_slice(&bytes);
            heads.push(next);
        }
        (log, heads)
    }

    #[test]
    fn an_entry_that_was_written_and_not_counted_is_taken_in() {
        let (log, heads) = log(4);
        for counted in 0..=4 {
            assert_eq!(catch_up(&log, DEVICE, heads[counted]), heads[4]);
        }
    }

    #[test]
    fn a_log_that_was_cut_never_shortens_the_chain() {
        let (log, heads) = log(4);
        for cut in 0..=log.len() {
            assert_eq!(catch_up(&log[..cut], DEVICE, heads[4]), heads[4], "cut at {cut}");
            assert!(whole_length(&log[..cut]) <= cut);
        }
    }

    #[test]
    fn an_entry_that_does_not_follow_is_not_taken_in() {
        let (other, _) = log(1);
        let (mut log, heads) = log(2);
        log.extend(other);
        assert_eq!(catch_up(&log, DEVICE, heads[2]), heads[2]);
    }
}
