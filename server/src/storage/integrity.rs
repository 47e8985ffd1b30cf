//! What buckets add up to, and what a check of the whole database reads.

use super::{Result, StoredRecord};
use roundsman_model::{Bucket, Rev};
use roundsman_protocol::integrity::{Sum, Sums};
use uuid::Uuid;

/// A record that stands, as far as it can be read: a check tells of the others, and goes on.
#[derive(Clone, Debug)]
pub struct CheckedRecord {
    /// Its number: records are numbered as they are made.
    pub n: i64,
    /// The entity's name.
    pub entity: String,
    /// The record's id.
    pub id: Uuid,
    /// Its version.
    pub rev: Rev,
    /// The bucket it is in.
    pub bucket: Bucket,
    /// All of it; `None` if its fields can't be read.
    pub record: Option<StoredRecord>,
    /// The hash of its contents that was counted when it was written.
    pub counted: Option<Sum>,
    /// Whether the search has words of it.
    pub indexed: bool,
}

/// What does not agree between a bucket's log and the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogFault {
    /// The log does not end where the bucket says.
    End,
    /// A record is in the bucket, and no line says so.
    NotLogged,
    /// A record was removed, and no line says so in that version.
    RemovalNotLogged,
    /// A line says that a record is in the bucket, and it is not.
    NotThere,
    /// A line says that a record has left the bucket, and it is there, or was never in that version.
    NotGone,
}

/// Something that does not agree, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogFinding {
    /// What.
    pub fault: LogFault,
    /// The bucket.
    pub bucket: Bucket,
    /// The record and its entity, if it is about one.
    pub record: Option<(String, Uuid)>,
}

/// Reading them.
pub trait IntegrityRead {
    /// What a bucket's rows add up to. [`RecordsWrite::put_record`](super::RecordsWrite::put_record) keeps it.
    fn sums(&self, bucket: &Bucket) -> Result<Sums>;
    /// Every bucket that ever had a row, with what its rows add up to, by name.
    fn all_sums(&self) -> Result<Vec<(Bucket, Sums)>>;
    /// Records that stand, in the order in which they were made, after this number.
    fn records_after(&self, n: i64, limit: usize) -> Result<Vec<CheckedRecord>>;
    /// How many lines all logs have.
    fn log_lines(&self) -> Result<u64>;
    /// Compares the logs with the records and with where the buckets say that they end: at most `limit` of each fault.
    fn log_faults(&self, limit: usize) -> Result<Vec<LogFinding>>;
    /// Words in the search of records that don't stand: how many records those were.
    fn words_of_nothing(&self) -> Result<u64>;
    /// What the database itself finds wrong with its tables and indexes, in its own words; nothing where it has no check of
    /// its own.
    fn database_faults(&self) -> Result<Vec<String>>;
}

/// Writing them.
pub trait IntegrityWrite {
    /// Adds up every bucket anew.
    fn recount(&mut self) -> Result<()>;
}
