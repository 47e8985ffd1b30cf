//! Records that were removed and can still be brought back, and collisions that nobody has settled.

use super::{Result, StoredRecord};
use roundsman_model::UserId;
use uuid::Uuid;

/// A record as it was when it was removed.
#[derive(Clone, Debug)]
pub struct StoredRemoval {
    /// The record with its last fields, in the version of its removal.
    pub record: StoredRecord,
    /// When it was removed: milliseconds since 1970.
    pub at_ms: i64,
    /// Who removed it; `None` for the server itself.
    pub by: Option<UserId>,
    /// Whether it went along with the record that it is attached to, and comes back with that.
    pub along: bool,
}

/// Reading them.
pub trait RemovedRead {
    /// A removed record, if it can still be brought back.
    fn removal(&self, entity: &str, id: Uuid) -> Result<Option<StoredRemoval>>;
    /// Removed records of an entity, the latest first.
    fn removals(&self, entity: &str, limit: usize) -> Result<Vec<StoredRemoval>>;
    /// Records of an entity that stand, the latest made first.
    fn newest(&self, entity: &str, limit: usize) -> Result<Vec<StoredRecord>>;
    /// The collisions of a record that nobody has settled.
    fn collisions_of(&self, record: Uuid) -> Result<Vec<StoredRecord>>;
}

/// Writing them.
pub trait RemovedWrite {
    /// Keeps what a removed record held.
    fn keep_removal(&mut self, removal: &StoredRemoval) -> Result<()>;
    /// Forgets what a removed record held.
    fn forget_removal(&mut self, entity: &str, id: Uuid) -> Result<()>;
    /// Forgets what was removed before this time, and how many that were.
    fn forget_removals_before(&mut self, at_ms: i64) -> Result<u64>;
}
