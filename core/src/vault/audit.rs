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
use roundsman_protocol::audit::{
    Action, AuditError, AuditReport, Checkpoint, Entry, Head, MAX_ENTRIES, Object, head_message,
};
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

/// What a look at the chain on disk found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AuditCheck {
    /// How many entries are in the log.
    pub(crate) entries: u64,
    /// What is wrong first, and the number of the entry.
    pub(crate) fault: Option<(AuditError, u64)>,
}

impl Vault {
    /// Recomputes the chain from the log, and compares it with its end in the control file and with what the server has
    /// countersigned. Nothing is changed.
    ///
    /// # Errors
    /// Not enrolled, or wiped; the disk failed.
    pub(crate) fn verify_audit(&self) -> Result<AuditCheck, VaultError> {
        let _writing = self.audit_gate();
        let (device, known, stored) =
            self.read(|record| (record.profile.device, record.audit.head, record.audit.stored))?;
        let folder = self.folder();
        let log = folder.disk.read(&folder.path(LOG))?.unwrap_or_default();
        Ok(check(&log, device, known, stored))
    }

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

/// Recomputes the chain of a log whose end is `known`, and of which the server has countersigned `stored`: what it covers
/// may be gone.
fn check(log: &[u8], device: DeviceId, known: Head, stored: Head) -> AuditCheck {
    let mut check = AuditCheck::default();
    // Before the first entry there may be others, which were dropped.
    let first = entries(log).next().and_then(|bytes| Entry::from_bytes(bytes).ok());
    let mut head = first.map_or(stored, |first| Head { seq: first.seq.saturating_sub(1), hash: first.prev });
    let marked =
        |head: Head| [stored, known].iter().all(|mark| mark.seq != head.seq || mark.hash == head.hash);
    if head.seq > stored.seq {
        check.fault = Some((AuditError::Gap, stored.seq + 1));
    } else if !marked(head) {
        check.fault = Some((AuditError::Edited, head.seq));
    }
    for bytes in entries(log) {
        check.entries += 1;
        if check.fault.is_some() {
            continue;
        }
        match head.extend(device, bytes) {
            Ok((next, _)) if marked(next) => head = next,
            Ok((next, _)) => check.fault = Some((AuditError::Edited, next.seq)),
            Err(kind) => check.fault = Some((kind, head.seq + 1)),
        }
    }
    // One that is longer holds what a stop kept from being counted.
    if check.fault.is_none() && head.seq < known.seq {
        check.fault = Some((AuditError::Truncated, head.seq + 1));
    }
    check
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
    Entry::from_bytes(bytes).ok().map(|entry| entry.seq)
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
    fn a_check_finds_every_entry_that_was_changed_cut_or_left_out() {
        let (log, heads) = log(5);
        let at: Vec<usize> = entries(&log)
            .scan(0, |end, entry| {
                *end += entry.len() + 2;
                Some(*end)
            })
            .collect();
        // What the server has may be gone from the beginning, and what was not counted yet may follow.
        for stored in 0..=5 {
            for dropped in 0..=stored {
                let from = if dropped == 0 { 0 } else { at[dropped - 1] };
                let found = check(&log[from..], DEVICE, heads[5], heads[stored]);
                assert_eq!(
                    found,
                    AuditCheck { entries: 5 - dropped as u64, fault: None },
                    "{stored} {dropped}"
                );
                let uncounted = check(&log[from..], DEVICE, heads[4.max(stored)], heads[stored]);
                assert_eq!(uncounted.fault, None);
            }
        }
        let fault = |log: &[u8]| check(log, DEVICE, heads[5], heads[2]).fault;
        assert_eq!(fault(&log[..at[3]]), Some((AuditError::Truncated, 5)));
        assert_eq!(fault(&log[..at[3] - 1]), Some((AuditError::Truncated, 4)), "what is torn is no entry");
        assert_eq!(fault(&[]), Some((AuditError::Truncated, 3)));
        assert_eq!(fault(&log[at[2]..]), Some((AuditError::Gap, 3)));
        assert_eq!(fault(&[&log[..at[2]], &log[at[3]..]].concat()), Some((AuditError::Gap, 4)));
        for byte in 0..log.len() {
            let mut changed = log.clone();
            changed[byte] ^= 1;
            assert!(fault(&changed).is_some(), "byte {byte}");
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
