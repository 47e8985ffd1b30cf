//! The sealed outbox goes to the server, segment by segment, and then the photos that were not sent, part by part and the
//! smallest first: while the device is locked, and at the end of a wipe. Then goes what the audit log still has to say.
//!
//! A locked device keeps what it has handed over, since an unlock may come; each segment and each photo goes once in a
//! lock. In a wipe it is removed when the server has stored it. What the server would not take for thirty days, or what
//! the order gives up, is removed without.

use super::record::{Record, Stage, Status, Wipe};
use super::{Vault, VaultError};
use crate::platform::KeyAlias;
use crate::rescue::{self, PhotoFile, SegmentFile};
use minicbor::bytes::ByteArray;
use roundsman_protocol::attachment::part_size;
use roundsman_protocol::receipt::Rescue;
use roundsman_protocol::rescue::SignedSegment;
use roundsman_protocol::rescue_photo::{Part, SignedPart};
use std::collections::BTreeSet;
use std::path::Path;
use uuid::Uuid;

/// How long the server is asked to take what was not sent: 30 days.
const PATIENCE_MS: i64 = 30 * 24 * 3600 * 1000;

impl Vault {
    /// The segments that wait to be handed over: in a lock those that were not yet, in a wipe that has come so far all.
    pub(crate) fn waiting_segments(&self) -> Result<Vec<Uuid>, VaultError> {
        let Some(handed) = self.handed()? else { return Ok(Vec::new()) };
        let segments = self.segments()?.into_iter().map(|segment| segment.id);
        Ok(segments.filter(|id| !handed.contains(&ByteArray::from(*id.as_bytes()))).collect())
    }

    /// The photos that wait to be handed over, as [`waiting_segments`](Self::waiting_segments) says. In a lock they wait
    /// for an `unmetered` network too; a wipe does not.
    pub(crate) fn waiting_photos(&self, unmetered: bool) -> Result<Vec<Uuid>, VaultError> {
        let Some(handed) = self.handed()? else { return Ok(Vec::new()) };
        if !unmetered && !self.read(Record::is_wiping)? {
            return Ok(Vec::new());
        }
        let photos = self.own_photos()?.into_iter().map(|photo| photo.file);
        Ok(photos.filter(|file| !handed.contains(&ByteArray::from(*file.as_bytes()))).collect())
    }

    /// What was handed over in the present lock; nothing in a wipe that has come so far. `None` if nothing is to be.
    fn handed(&self) -> Result<Option<Vec<ByteArray<16>>>, VaultError> {
        Ok(match self.read(|record| (record.status.clone(), record.handed.clone()))? {
            (Status::SoftLocked(_) | Status::Locked, handed) => Some(handed),
            (Status::Wiping(wipe), _) if wipe.stage == Stage::Purged => Some(Vec::new()),
            _ => None,
        })
    }

    /// A segment with the device's signature, as the server takes it; `None` if it is not here any more.
    pub(crate) fn signed_segment(&self, segment: Uuid) -> Result<Option<Vec<u8>>, VaultError> {
        let segments = self.segments()?;
        let Some(found) = segments.iter().find(|found| found.id == segment) else { return Ok(None) };
        let Some(bytes) = self.seams.disk.read(&found.path)? else { return Ok(None) };
        let sign = |message: &[u8]| self.seams.keys.sign(KeyAlias::Identity, message);
        Ok(Some(SignedSegment::sign(bytes, sign)?.to_bytes()))
    }

    /// A part of a photo's file with the device's signature, as the server takes it, and how many bytes the file has; at
    /// no offset it has no bytes, and asks how far the server is. `None` if the file is not here any more.
    pub(crate) fn signed_part(
        &self,
        file: Uuid,
        offset: Option<u64>,
    ) -> Result<Option<(Vec<u8>, u64)>, VaultError> {
        let Some(photo) = self.own_photo(file)? else { return Ok(None) };
        let (size, at) = (photo.size, offset.unwrap_or(0));
        let length = offset.map_or(0, |offset| part_size(size, offset));
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        let count = self.seams.disk.read_at(&photo.path, at, &mut bytes)?;
        if count < bytes.len() {
            return Ok(None);
        }
        let sign = |message: &[u8]| self.seams.keys.sign(KeyAlias::Identity, message);
        let part = Part { key: photo.key, size, offset: at, bytes };
        Ok(Some((SignedPart::sign(part, sign)?.to_bytes(), size)))
    }

    /// Notes that the server has stored a segment; in a wipe it is removed, and the wipe goes on. Call it with the gate
    /// held.
    pub(crate) fn handed_over(&self, segment: Uuid) -> Result<(), VaultError> {
        let found = || Ok(self.segments()?.into_iter().find(|found| found.id == segment));
        let counted = |rescue: Rescue| Rescue { segments: rescue.segments + 1, ..rescue };
        self.stored(segment, found, counted, |found| self.remove_segments(&[found]))
    }

    /// The same for a photo.
    pub(crate) fn photo_handed_over(&self, file: Uuid) -> Result<(), VaultError> {
        let found = || self.own_photo(file);
        let counted = |rescue: Rescue| Rescue { photos: rescue.photos + 1, ..rescue };
        self.stored(file, found, counted, |found| self.remove_photos(&[found]))
    }

    fn stored<F>(
        &self,
        id: Uuid,
        find: impl FnOnce() -> Result<Option<F>, VaultError>,
        counted: impl FnOnce(Rescue) -> Rescue,
        remove: impl FnOnce(F) -> Result<(), VaultError>,
    ) -> Result<(), VaultError> {
        let wipe = match self.read(|record| record.status.clone())? {
            Status::Wiping(wipe) => wipe,
            Status::SoftLocked(_) | Status::Locked => {
                return self.update(|record| record.handed.push((*id.as_bytes()).into()));
            }
            Status::Ready { .. } | Status::Locking(_) => return Ok(()),
        };
        if wipe.stage != Stage::Purged {
            return Ok(());
        }
        let Some(found) = find()? else { return Ok(()) };
        // Counted before it is removed: a stop in between leads here once more, and is known by the id.
        if wipe.handed.as_ref().is_none_or(|handed| **handed != *id.as_bytes()) {
            let rescue = counted(wipe.rescue);
            self.reach(Wipe { rescue, handed: Some((*id.as_bytes()).into()), ..wipe }, None)?;
        }
        remove(found)?;
        self.wipe_on()
    }

    /// What became of what was not sent, if nothing is left to hand over. What can't be, or is given up, is removed.
    pub(super) fn hand_over(&self, wipe: &Wipe) -> Result<Option<Rescue>, VaultError> {
        // A file in which no change can be read is of no use to anybody: a write that was cut off.
        let (full, empty): (Vec<_>, Vec<_>) =
            self.segment_files()?.into_iter().partition(|segment| !segment.summary.changes.is_empty());
        self.remove_segments(&empty)?;
        // Nobody can sign for those of an identity that this phone had before.
        let device = self.read(|record| record.profile.device)?;
        let (mut waiting, former): (Vec<_>, Vec<_>) =
            full.into_iter().partition(|segment| segment.summary.device == Some(device));
        let (mut photos, former_photos): (Vec<_>, Vec<_>) =
            self.photo_files()?.into_iter().partition(|photo| photo.device == device);
        let mut rescue = wipe.rescue;
        let since = self.now_ms() - wipe.shredded_ms;
        if since <= PATIENCE_MS && self.audit_waits()? {
            return Ok(None);
        }
        let begun = rescue.discarded > 0 || rescue.photos_discarded > 0;
        let given_up = wipe.discard || begun || since > PATIENCE_MS;
        let nothing = waiting.is_empty() && photos.is_empty();
        if !(nothing || given_up) {
            return Ok(None);
        }
        waiting.extend(former);
        photos.extend(former_photos);
        let nothing = waiting.is_empty() && photos.is_empty();
        if !(nothing || begun) {
            // Counted before any of it is removed, and not again after a stop in between.
            let count = |many: usize| u32::try_from(many).unwrap_or(u32::MAX);
            (rescue.discarded, rescue.photos_discarded) = (count(waiting.len()), count(photos.len()));
            self.reach(Wipe { rescue, ..wipe.clone() }, None)?;
        }
        self.remove_segments(&waiting)?;
        self.remove_photos(&photos)?;
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

    /// The photos of this device that can be handed over, the smallest first.
    fn own_photos(&self) -> Result<Vec<PhotoFile>, VaultError> {
        let device = self.read(|record| record.profile.device)?;
        let mut photos = self.photo_files()?;
        photos.retain(|photo| photo.device == device);
        Ok(photos)
    }

    /// The one of this name.
    fn own_photo(&self, file: Uuid) -> Result<Option<PhotoFile>, VaultError> {
        let device = self.read(|record| record.profile.device)?;
        let found = rescue::photo(&*self.seams.disk, &self.attachments_path(), file)?;
        Ok(found.filter(|photo| photo.device == device))
    }

    /// The attachments that were not sent, this device's and those of an identity that this phone had before.
    pub(super) fn photo_files(&self) -> Result<Vec<PhotoFile>, VaultError> {
        Ok(rescue::photos(&*self.seams.disk, &self.attachments_path())?)
    }

    /// Removes photos: each file before its key, so that what is left after a stop is no use to anybody or whole.
    fn remove_photos(&self, photos: &[PhotoFile]) -> Result<(), VaultError> {
        let disk = &*self.seams.disk;
        for photo in photos {
            let [key, content] = photo.paths();
            disk.remove(&content)?;
            disk.remove(&key)?;
        }
        let folders: BTreeSet<&Path> = photos.iter().filter_map(|photo| photo.path.parent()).collect();
        for folder in folders {
            disk.sync_dir(folder)?;
        }
        Ok(())
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
