//! The sealed outbox goes to the server, segment by segment: while the device is locked, and at the end of a wipe. Then
//! goes what the audit log still has to say.
//!
//! A locked device keeps what it has handed over, since an unlock may come; each segment goes once in a lock. In a wipe
//! a segment is removed when the server has stored it. What the server would not take for thirty days, or what the
//! order gives up, is removed without.

use super::record::{Stage, Status, Wipe};
use super::{Vault, VaultError};
use crate::platform::KeyAlias;
use crate::rescue::{self, SegmentFile};
use minicbor::bytes::ByteArray;
use roundsman_protocol::receipt::Rescue;
use roundsman_protocol::rescue::SignedSegment;
use uuid::Uuid;

/// How long the server is asked to take a segment: 30 days.
const PATIENCE_MS: i64 = 30 * 24 * 3600 * 1000;

impl Vault {
    /// The segments that wait to be handed over: in a lock those that were not yet, in a wipe that has come so far all.
    pub(crate) fn waiting_segments(&self) -> Result<Vec<Uuid>, VaultError> {
        let handed = match self.read(|record| (record.status.clone(), record.handed.clone()))? {
            (Status::SoftLocked(_) | Status::Locked, handed) => handed,
            (Status::Wiping(wipe), _) if wipe.stage == Stage::Purged => Vec::new(),
            _ => return Ok(Vec::new()),
        };
        let segments = self.segments()?.into_iter().map(|segment| segment.id);
        Ok(segments.filter(|id| !handed.contains(&ByteArray::from(*id.as_bytes()))).collect())
    }

    /// A segment with the device's signature, as the server takes it; `None` if it is not here any more.
    pub(crate) fn signed_segment(&self, segment: Uuid) -> Result<Option<Vec<u8>>, VaultError> {
        let segments = self.segments()?;
        let Some(found) = segments.iter().find(|found| found.id == segment) else { return Ok(None) };
        let Some(bytes) = self.seams.disk.read(&found.path)? else { return Ok(None) };
        let sign = |message: &[u8]| self.seams.keys.sign(KeyAlias::Identity, message);
        Ok(Some(SignedSegment::sign(bytes, sign)?.to_bytes()))
    }

    /// Notes that the server has stored a segment; in a wipe it is removed, and the wipe goes on. Call it with the gate
    /// held.
    pub(crate) fn handed_over(&self, segment: Uuid) -> Result<(), VaultError> {
        let wipe = match self.read(|record| record.status.clone())? {
            Status::Wiping(wipe) => wipe,
            Status::SoftLocked(_) | Status::Locked => {
                return self.update(|record| record.handed.push((*segment.as_bytes()).into()));
            }
            Status::Ready { .. } | Status::Locking(_) => return Ok(()),
        };
        let found = self.segments()?.into_iter().find(|found| found.id == segment);
        let Some(found) = found.filter(|_| wipe.stage == Stage::Purged) else { return Ok(()) };
        // Counted before it is removed: a stop in between leads here once more, and is known by the id.
        if wipe.handed.as_ref().is_none_or(|handed| **handed != *segment.as_bytes()) {
            let rescue = Rescue { segments: wipe.rescue.segments + 1, ..wipe.rescue };
            self.reach(Wipe { rescue, handed: Some((*segment.as_bytes()).into()), ..wipe }, None)?;
        }
        self.remove_segments(&[found])?;
        self.wipe_on()
    }

    /// What became of the sealed outbox, if nothing is left to hand over. What can't be, or is given up, is removed.
    pub(super) fn hand_over(&self, wipe: &Wipe) -> Result<Option<Rescue>, VaultError> {
        // A file in which no change can be read is of no use to anybody: a write that was cut off.
        let (full, empty): (Vec<_>, Vec<_>) =
            self.segment_files()?.into_iter().partition(|segment| !segment.summary.changes.is_empty());
        self.remove_segments(&empty)?;
        // Nobody can sign for those of an identity that this phone had before.
        let device = self.read(|record| record.profile.device)?;
        let (mut waiting, former): (Vec<_>, Vec<_>) =
            full.into_iter().partition(|segment| segment.summary.device == Some(device));
        let mut rescue = wipe.rescue;
        let since = self.now_ms() - wipe.shredded_ms;
        if since <= PATIENCE_MS && self.audit_waits()? {
            return Ok(None);
        }
        let given_up = wipe.discard || wipe.rescue.discarded > 0 || since > PATIENCE_MS;
        if !waiting.is_empty() && !given_up {
            return Ok(None);
        }
        waiting.extend(former);
        if !waiting.is_empty() {
            if rescue.discarded == 0 {
                rescue.discarded = u32::try_from(waiting.len()).unwrap_or(u32::MAX);
                self.reach(Wipe { rescue, ..wipe.clone() }, None)?;
            }
            self.remove_segments(&waiting)?;
        }
        self.remove_audit_log()?;
        Ok(Some(rescue))
    }

    /// How many changes are in the sealed outbox. Those that were sent lately may be among them.
    pub(super) fn sealed_changes(&self) -> Result<u64, VaultError> {
        let segments = self.segments()?;
        Ok(segments.iter().map(|segment| segment.summary.live().count() as u64).sum())
    }

    /// The segments of this device in which there is a change.
    fn segments(&self) -> Result<Vec<SegmentFile>, VaultError> {
        let device = self.read(|record| record.profile.device)?;
        let own = |segment: &SegmentFile| segment.summary.device == Some(device);
        let mut segments = self.segment_files()?;
        segments.retain(|segment| own(segment) && !segment.summary.changes.is_empty());
        Ok(segments)
    }

    fn segment_files(&self) -> Result<Vec<SegmentFile>, VaultError> {
        Ok(rescue::segments(&*self.seams.disk, &rescue::folder(&self.dir))?)
    }

    fn remove_segments(&self, segments: &[SegmentFile]) -> Result<(), VaultError> {
        if segments.is_empty() {
            return Ok(());
        }
        for segment in segments {
            self.seams.disk.remove(&segment.path)?;
        }
        Ok(self.seams.disk.sync_dir(&rescue::folder(&self.dir))?)
    }
}
