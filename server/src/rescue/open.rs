//! Opening a segment, and filing what is in it.

use crate::records::load;
use crate::storage::{
    PhotoState, RescueState, Result, StoredDevice, StoredPhoto, StoredRescue, StoredSegment, WriteTx,
};
use chrono::{DateTime, Utc};
use roundsman_model::Entity;
use roundsman_model::attachment::Attachment;
use roundsman_protocol::rescue::{OpenedChange, Segment, SegmentError, SignedSegment};
use roundsman_protocol::rescue_photo::{PhotoError, SealedKey};
use roundsman_protocol::sync::{Mutation, Outcome};
use std::collections::{HashMap, HashSet};
use std::ops::AddAssign;
use uuid::Uuid;

/// What came out of segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RescueCounts {
    /// Segments that were opened.
    pub segments: u64,
    /// Changes in them.
    pub changes: u64,
    /// Changes that wait for somebody now and did not before.
    pub filed: u64,
    /// Changes that the server had already, from the device itself or out of a segment.
    pub already_applied: u64,
    /// Changes whose commit did not happen, as the device says: kept, but not offered.
    pub void: u64,
    /// Changes that can't be read any more.
    pub damaged: u64,
    /// Photos whose keys were opened.
    pub photos: u64,
    /// Those of them that wait for their record: it is among the changes that nobody has taken yet, or not known at all.
    pub photos_waiting: u64,
}

/// Opens one stored segment and files its changes, each once however often it comes. Nothing is applied.
///
/// The inner error says that this key does not open it, or that the stored bytes are damaged; nothing is written
/// then.
pub(crate) fn open(
    tx: &mut dyn WriteTx,
    device: &StoredDevice,
    stored: StoredSegment,
    key: &[u8; 32],
    now: DateTime<Utc>,
) -> Result<std::result::Result<RescueCounts, SegmentError>> {
    let opened = SignedSegment::open(&stored.bytes, &device.key)
        .and_then(|bytes| Segment::read(&bytes).and_then(|segment| segment.open(key)));
    let opened = match opened {
        Ok(opened) => opened,
        Err(error) => return Ok(Err(error)),
    };
    let sent = Sent::of(tx, device)?;
    let mut filed = RescueCounts { segments: 1, changes: opened.len() as u64, ..RescueCounts::default() };
    for change in opened {
        match file(tx, device, &sent, &change, now)? {
            Some(Fate::Filed) => filed.filed += 1,
            Some(Fate::Known) => filed.already_applied += 1,
            Some(Fate::Void) => filed.void += 1,
            None => filed.damaged += 1,
        }
    }
    tx.put_segment(&StoredSegment { opened_ms: Some(now.timestamp_millis()), ..stored })?;
    Ok(Ok(filed))
}

/// Opens the key of one photo. Its content is filed afterwards, where the object storage is at hand, without the rescue
/// key; until then the file's key is kept like those of contents.
///
/// The inner error says that this key does not open it, or that the stored bytes are damaged; nothing is written then.
pub(crate) fn open_photo(
    tx: &mut dyn WriteTx,
    stored: StoredPhoto,
    key: &[u8; 32],
    now: DateTime<Utc>,
) -> Result<std::result::Result<RescueCounts, PhotoError>> {
    let opened = match SealedKey::read(&stored.sealed_key).and_then(|sealed| sealed.open(key)) {
        Ok(opened) => opened,
        Err(error) => return Ok(Err(error)),
    };
    let waits = load(tx, Attachment::DEF, stored.attachment)?.is_none();
    tx.put_photo(&StoredPhoto {
        state: PhotoState::Opened,
        opened_key: opened.to_bytes(),
        opened_ms: Some(now.timestamp_millis()),
        ..stored
    })?;
    Ok(Ok(RescueCounts { photos: 1, photos_waiting: u64::from(waits), ..RescueCounts::default() }))
}

impl AddAssign for RescueCounts {
    fn add_assign(&mut self, other: Self) {
        self.segments += other.segments;
        self.changes += other.changes;
        self.filed += other.filed;
        self.already_applied += other.already_applied;
        self.void += other.void;
        self.damaged += other.damaged;
        self.photos += other.photos;
        self.photos_waiting += other.photos_waiting;
    }
}

enum Fate {
    Filed,
    Known,
    Void,
}

/// Files one change; `None` if it can't be read.
fn file(
    tx: &mut dyn WriteTx,
    device: &StoredDevice,
    sent: &Sent,
    opened: &OpenedChange,
    now: DateTime<Utc>,
) -> Result<Option<Fate>> {
    let Some(mutation) = read(opened) else { return Ok(None) };
    if let Some(mut known) = tx.rescued_change(opened.change)? {
        if known.device != device.id {
            return Ok(None);
        }
        // A segment that has grown may take back what it announced before.
        if opened.void && !known.void && known.state == RescueState::NeedsReview {
            known.void = true;
            tx.put_rescued(&known)?;
        }
        return Ok(Some(if known.void { Fate::Void } else { Fate::Known }));
    }
    let (state, reason) = match sent.fate(device, &mutation) {
        Before::Applied => (RescueState::Known, None),
        Before::Refused(reason) => (RescueState::NeedsReview, Some(reason)),
        Before::Never => (RescueState::NeedsReview, None),
    };
    let now_ms = now.timestamp_millis();
    let known = state == RescueState::Known;
    tx.put_rescued(&StoredRescue {
        change: mutation.id,
        device: device.id,
        user: device.user,
        commit: opened.commit,
        seq: mutation.seq,
        entity: mutation.entity.clone(),
        record: mutation.record,
        made_ms: mutation.stamp.millis() as i64,
        void: opened.void,
        state,
        reason,
        // What the server has already needn't be kept twice.
        mutation: if known { None } else { Some(mutation) },
        outcome: None,
        filed_ms: now_ms,
        settled_ms: known.then_some(now_ms),
    })?;
    Ok(Some(match (opened.void, known) {
        (true, _) => Fate::Void,
        (false, true) => Fate::Known,
        (false, false) => Fate::Filed,
    }))
}

fn read(opened: &OpenedChange) -> Option<Mutation> {
    let mutation: Mutation = serde_json::from_slice(opened.plaintext.as_ref()?).ok()?;
    let storable = |number: u64| i64::try_from(number).is_ok();
    (mutation.id == opened.change && storable(mutation.seq.0) && storable(opened.commit)).then_some(mutation)
}

/// What the server knows of the changes that a device sent itself.
struct Sent {
    outcomes: HashMap<Uuid, Outcome>,
    numbers: HashSet<u64>,
}

enum Before {
    Applied,
    Refused(String),
    Never,
}

impl Sent {
    fn of(tx: &dyn WriteTx, device: &StoredDevice) -> Result<Self> {
        let kept = tx.mutations(device.id)?;
        let numbers = kept.iter().map(|mutation| mutation.seq.0).collect();
        let outcomes = kept.into_iter().map(|mutation| (mutation.id, mutation.outcome)).collect();
        Ok(Self { outcomes, numbers })
    }

    fn fate(&self, device: &StoredDevice, mutation: &Mutation) -> Before {
        match self.outcomes.get(&mutation.id) {
            Some(Outcome::Applied { .. }) => Before::Applied,
            Some(Outcome::Rejected { reason }) => Before::Refused(reason.to_string()),
            // Its outcome is forgotten by now. Another change under its number means that it never came.
            None if mutation.seq <= device.applied && !self.numbers.contains(&mutation.seq.0) => {
                Before::Applied
            }
            None => Before::Never,
        }
    }
}
