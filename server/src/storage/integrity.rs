//! What buckets add up to, and what a check of the whole database reads.

use super::{Result, StoredRecord};
use roundsman_model::{Bucket, Rev, Seq};
use roundsman_protocol::integrity::Sums;
use uuid::Uuid;

/// A line of a bucket's log as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Its place.
    pub seq: Seq,
    /// The entity's name.
    pub entity: String,
    /// The record.
    pub record: Uuid,
    /// The version that took the record out of the bucket, if it left it.
    pub removed: Option<Rev>,
}

/// Reading them.
pub trait IntegrityRead {
    /// What a bucket's rows add up to. [`RecordsWrite::put_record`](super::RecordsWrite::put_record) keeps it.
    fn sums(&self, bucket: &Bucket) -> Result<Sums>;
    /// Every bucket that ever had a row, with what its rows add up to, by name.
    fn all_sums(&self) -> Result<Vec<(Bucket, Sums)>>;
    /// Every bucket that has a log, with its last place, by name.
    fn heads(&self) -> Result<Vec<(Bucket, Seq)>>;
    /// Records that stand, in the order in which they were made, after this number; each with its number.
    fn records_after(&self, n: i64, limit: usize) -> Result<Vec<(i64, StoredRecord)>>;
    /// Lines of a bucket's log after a place, in order.
    fn log_lines(&self, bucket: &Bucket, after: Seq, limit: usize) -> Result<Vec<LogLine>>;
}

/// Writing them.
pub trait IntegrityWrite {
    /// Adds up every bucket anew.
    fn recount(&mut self) -> Result<()>;
}
