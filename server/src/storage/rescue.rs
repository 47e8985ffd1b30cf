//! Unsent work that devices handed over, and the changes that came out of it.

use super::{Result, StoredMutation};
use roundsman_model::{DeviceId, DeviceSeq, UserId};
use roundsman_protocol::sync::{Mutation, Outcome};
use uuid::Uuid;
use zeroize::Zeroizing;

/// A segment of a sealed outbox as stored.
#[derive(Clone, Debug)]
pub struct StoredSegment {
    /// The device that handed it over.
    pub device: DeviceId,
    /// Its own id.
    pub segment: Uuid,
    /// SHA-256 of its head and whole records; a record cut off at the end is not counted.
    pub sha256: [u8; 32],
    /// The length of those in bytes.
    pub length: u64,
    /// How many changes it announces.
    pub changes: u64,
    /// The signed bytes as they came; empty once they were deleted.
    pub bytes: Vec<u8>,
    /// When it came in: milliseconds since 1970.
    pub received_ms: i64,
    /// When it was opened: milliseconds since 1970.
    pub opened_ms: Option<i64>,
}

/// What one device handed over and nobody has opened.
#[derive(Clone, Debug)]
pub struct StoredWaiting {
    /// The device.
    pub device: DeviceId,
    /// How many segments.
    pub segments: u64,
    /// How many changes they announce.
    pub changes: u64,
    /// When the last one came in: milliseconds since 1970.
    pub received_ms: i64,
}

/// The photos that one device handed over whole and nobody has opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredPhotos {
    /// The device.
    pub device: DeviceId,
    /// How many.
    pub photos: u64,
    /// When the last of them came in: milliseconds since 1970.
    pub received_ms: i64,
}

/// What became of a rescued change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RescueState {
    /// Somebody has to look at it.
    NeedsReview,
    /// It was taken into the records.
    Taken,
    /// It was decided not to take it.
    Dismissed,
    /// The server had it already, or got it from the device itself.
    Known,
}

/// A change out of an opened segment.
#[derive(Clone, Debug)]
pub struct StoredRescue {
    /// Its own id.
    pub change: Uuid,
    /// The device.
    pub device: DeviceId,
    /// Who made it.
    pub user: UserId,
    /// The number of its commit on the device.
    pub commit: u64,
    /// Its number on the device.
    pub seq: DeviceSeq,
    /// The entity.
    pub entity: String,
    /// The record.
    pub record: Uuid,
    /// When it was made: milliseconds since 1970.
    pub made_ms: i64,
    /// Whether the device says that its commit did not happen.
    pub void: bool,
    /// What became of it.
    pub state: RescueState,
    /// Why it was refused, when it was sent or when somebody wanted to take it.
    pub reason: Option<String>,
    /// The change itself; nothing some time after it was settled.
    pub mutation: Option<Mutation>,
    /// What taking it led to.
    pub outcome: Option<Outcome>,
    /// When it was filed: milliseconds since 1970.
    pub filed_ms: i64,
    /// When it was settled: milliseconds since 1970.
    pub settled_ms: Option<i64>,
}

/// What became of a photo that was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhotoState {
    /// Not all of it has come.
    Coming,
    /// All of it has come, and nobody has opened its key.
    Sealed,
    /// Its key is opened: its content can be filed once its record is here.
    Opened,
    /// Its content is filed.
    Filed,
    /// The server had the content already.
    Known,
    /// It is not what its record says, or can't be read.
    Damaged,
}

/// The file of an attachment that was not sent, with its key, as stored.
#[derive(Clone)]
pub struct StoredPhoto {
    /// The device that handed it over.
    pub device: DeviceId,
    /// The file's name.
    pub file: Uuid,
    /// The attachment.
    pub attachment: Uuid,
    /// The file's key, sealed to the rescue key, as it came.
    pub sealed_key: Vec<u8>,
    /// The random name that its bytes lie under.
    pub object: Uuid,
    /// The key that they are sealed with there; empty once they were deleted.
    pub key: Zeroizing<Vec<u8>>,
    /// Bytes of the file.
    pub size: u64,
    /// Bytes that have come.
    pub received: u64,
    /// What became of it.
    pub state: PhotoState,
    /// The file's opened key, as long as its content is to be filed; else empty.
    pub opened_key: Zeroizing<Vec<u8>>,
    /// When something of it came last: milliseconds since 1970.
    pub moved_ms: i64,
    /// When its key was opened: milliseconds since 1970.
    pub opened_ms: Option<i64>,
}

/// Which rescued changes to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RescueFilter {
    /// Of this device alone.
    pub device: Option<DeviceId>,
    /// In this state alone.
    pub state: Option<RescueState>,
    /// Also those whose commit did not happen.
    pub void: bool,
    /// At most so many.
    pub limit: usize,
}

/// Reading what was rescued.
pub trait RescueRead {
    /// One segment with its bytes.
    fn segment(&self, device: DeviceId, segment: Uuid) -> Result<Option<StoredSegment>>;
    /// The segments that nobody has opened, the first one first.
    fn sealed_segments(&self) -> Result<Vec<(DeviceId, Uuid)>>;
    /// The same, counted by device.
    fn waiting_segments(&self) -> Result<Vec<StoredWaiting>>;
    /// How many bytes are kept of one device, a small segment counted as 1 KiB.
    fn segment_bytes(&self, device: DeviceId) -> Result<u64>;
    /// Whether any change of this device was ever found in what it handed over.
    fn has_rescued(&self, device: DeviceId) -> Result<bool>;
    /// One rescued change.
    fn rescued_change(&self, change: Uuid) -> Result<Option<StoredRescue>>;
    /// Rescued changes, by device and in the order in which they were made.
    fn rescued(&self, filter: &RescueFilter) -> Result<Vec<StoredRescue>>;
    /// How many changes of a device, or of all, wait for somebody; those whose commit did not happen don't count.
    fn rescued_waiting(&self, device: Option<DeviceId>) -> Result<u64>;
    /// One photo that was handed over.
    fn photo(&self, device: DeviceId, file: Uuid) -> Result<Option<StoredPhoto>>;
    /// Those of a device, or of all, in this state, or in any, the first one first.
    fn photos(&self, device: Option<DeviceId>, state: Option<PhotoState>) -> Result<Vec<StoredPhoto>>;
    /// Those that nobody has opened, counted by device, the last one to come first.
    fn waiting_photos(&self) -> Result<Vec<StoredPhotos>>;
    /// How many bytes are kept or promised of one device's photos, a small one counted as 16 KiB.
    fn photo_bytes(&self, device: DeviceId) -> Result<u64>;
    /// Photos of which nothing came since then and which are not whole, and those opened before then; not those whose
    /// record is among the changes that wait for somebody.
    fn old_photos(&self, before_ms: i64) -> Result<Vec<StoredPhoto>>;
    /// The mutations of a device whose outcomes are kept.
    fn mutations(&self, device: DeviceId) -> Result<Vec<StoredMutation>>;
}

/// Writing what was rescued.
pub trait RescueWrite {
    /// Adds a segment, or puts it in the place of the one of the same id.
    fn put_segment(&mut self, segment: &StoredSegment) -> Result<()>;
    /// Adds a change, or puts it in the place of the one of the same id.
    fn put_rescued(&mut self, rescue: &StoredRescue) -> Result<()>;
    /// Adds a photo, or puts it in the place of the one of the same name.
    fn put_photo(&mut self, photo: &StoredPhoto) -> Result<()>;
    /// Forgets a photo, and with it its keys.
    fn drop_photo(&mut self, device: DeviceId, file: Uuid) -> Result<()>;
    /// Notes that the device itself has brought a change that was waiting.
    fn rescued_arrived(&mut self, device: DeviceId, change: Uuid, at_ms: i64) -> Result<()>;
    /// Deletes the bytes of segments opened before a time, and the content of changes settled before it.
    fn forget_rescued(&mut self, before_ms: i64) -> Result<()>;
}
