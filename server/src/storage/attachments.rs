//! What is kept of the content of attachments: where it lies, with which key it opens, and how much of it has come.

use super::{Result, StoredRecord, StoredRemoval};
use roundsman_model::DeviceId;
use uuid::Uuid;
use zeroize::Zeroizing;

/// The content of one attachment.
pub struct StoredContent {
    /// The attachment.
    pub attachment: Uuid,
    /// The device that sends it.
    pub device: DeviceId,
    /// The random name that its bytes lie under.
    pub object: Uuid,
    /// The key that they are sealed with. Without this row nothing opens them.
    pub key: Zeroizing<Vec<u8>>,
    /// Bytes in all.
    pub size: u64,
    /// Bytes that have come.
    pub received: u64,
    /// Whether all have come and were found to be the right ones.
    pub stored: bool,
    /// When something of it came last: milliseconds since 1970.
    pub moved_ms: i64,
}

/// Bytes that belong to nothing any more and are to be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waste {
    /// What their names begin with.
    pub prefix: String,
    /// Since when: milliseconds since 1970.
    pub at_ms: i64,
}

/// Reading it.
pub trait AttachmentsRead {
    /// What there is of an attachment's content.
    fn content(&self, attachment: Uuid) -> Result<Option<StoredContent>>;
    /// Content that has come whole, by its attachment's id, after this one.
    fn contents_after(&self, attachment: Uuid, limit: usize) -> Result<Vec<StoredContent>>;
    /// What is attached to a record.
    fn attachments_of(&self, record: Uuid) -> Result<Vec<StoredRecord>>;
    /// What was attached to a record, was removed, and can be brought back.
    fn removed_attachments_of(&self, record: Uuid) -> Result<Vec<StoredRemoval>>;
    /// Bytes that are kept or promised, of one device or of all.
    fn content_bytes(&self, device: Option<DeviceId>) -> Result<u64>;
    /// Attachments that neither stand nor can be brought back, and still have content.
    fn contents_of_nothing(&self) -> Result<Vec<Uuid>>;
    /// Attachments whose content is not whole, and of which nothing came since then.
    fn contents_abandoned(&self, before_ms: i64) -> Result<Vec<Uuid>>;
    /// What is to be removed, the oldest first.
    fn waste(&self, limit: usize) -> Result<Vec<Waste>>;
}

/// Writing it.
pub trait AttachmentsWrite {
    /// Keeps a content's row, or how far it has come.
    fn put_content(&mut self, content: &StoredContent) -> Result<()>;
    /// Forgets an attachment's content, and with it the key.
    fn drop_content(&mut self, attachment: Uuid) -> Result<()>;
    /// Notes bytes that are to be removed.
    fn add_waste(&mut self, waste: &Waste) -> Result<()>;
    /// They were removed.
    fn forget_waste(&mut self, prefix: &str) -> Result<()>;
}
