//! Records of the domain, and the change log that syncs them.

use super::Result;
use chrono::NaiveDate;
use roundsman_model::merge::{Conflict, Marks};
use roundsman_model::{Bucket, DeviceId, Fields, Rev, Seq};
use uuid::Uuid;

/// A record as it is stored.
#[derive(Clone, Debug)]
pub struct StoredRecord {
    /// The entity's name.
    pub entity: String,
    /// The record's id.
    pub id: Uuid,
    /// Its version.
    pub rev: Rev,
    /// The bucket it is in, or was in when it was removed.
    pub bucket: Bucket,
    /// Whether it was removed. A removed record has no fields, and its id is never used again.
    pub removed: bool,
    /// Its fields, as read from JSON: ids are still text until the entity admits them.
    pub fields: Fields,
    /// Who changed which field last. A field of the first version has none.
    pub marks: Marks,
}

/// One row of a bucket's change log: the newest entry of its record in this bucket.
#[derive(Clone, Debug)]
pub struct LogRow {
    /// Its place.
    pub seq: Seq,
    /// The entity's name.
    pub entity: String,
    /// The record.
    pub record: Uuid,
    /// The record's version, or the version that took it out of the bucket.
    pub rev: Rev,
    /// The fields now, as JSON; nothing if the record left the bucket.
    pub fields: Option<String>,
}

/// What to write to a bucket's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogEntry {
    /// The record is in the bucket in a new version.
    Put,
    /// The record left the bucket with this version.
    Removal(Rev),
}

/// A collision that was settled.
#[derive(Clone, Debug)]
pub struct StoredConflict {
    /// The entity's name.
    pub entity: String,
    /// The record.
    pub record: Uuid,
    /// The device whose change brought it to light.
    pub device: DeviceId,
    /// When: milliseconds since 1970.
    pub at_ms: i64,
    /// What collided.
    pub conflict: Conflict,
}

/// Reading records.
pub trait RecordsRead {
    /// One record, removed or not.
    fn record(&self, entity: &str, id: Uuid) -> Result<Option<StoredRecord>>;
    /// The bucket that a record is in; nothing if there is none, or if it was removed.
    fn bucket_of(&self, entity: &str, id: Uuid) -> Result<Option<Bucket>>;
    /// The last place of a bucket's log; 0 for a bucket that never had a row.
    fn bucket_head(&self, bucket: &Bucket) -> Result<Seq>;
    /// Rows of a bucket's log after a place, in order: at most `limit`, and no more once their fields have
    /// `max_bytes` of JSON.
    fn log_after(&self, bucket: &Bucket, after: Seq, limit: usize, max_bytes: usize) -> Result<Vec<LogRow>>;
    /// The customer with this code.
    fn customer_by_code(&self, code: &str) -> Result<Option<StoredRecord>>;
    /// Customers by name, at most `limit` after the one named; those that match the full-text expression, as
    /// [`roundsman_model::search::query`] makes it, if one is given.
    fn customers(&self, search: Option<&str>, after: Option<Uuid>, limit: usize)
    -> Result<Vec<StoredRecord>>;
    /// How many records of an entity there are.
    fn record_count(&self, entity: &str) -> Result<u64>;
    /// Visits that have begun, the latest first.
    fn recent_visits(&self, limit: usize) -> Result<Vec<StoredRecord>>;
    /// Visits of one day.
    fn visits_on(&self, day: NaiveDate) -> Result<Vec<StoredRecord>>;
    /// Collisions, the latest first.
    fn conflicts(&self, limit: usize) -> Result<Vec<StoredConflict>>;
}

/// Writing records.
pub trait RecordsWrite {
    /// Creates or replaces a record and its search terms. The log is written apart.
    fn put_record(&mut self, record: &StoredRecord, terms: &str) -> Result<()>;
    /// Takes the next place in a bucket's log for a record; its former entry there goes away.
    fn append_log(&mut self, bucket: &Bucket, entity: &str, record: Uuid, entry: LogEntry) -> Result<Seq>;
    /// What is changed from here on was sent by this device, which gets it with the answer.
    fn sent_by(&mut self, device: DeviceId);
    /// Keeps a collision.
    fn add_conflict(&mut self, conflict: &StoredConflict) -> Result<()>;
}
