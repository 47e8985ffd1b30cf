//! Where the server keeps everything: a trait, and its implementations: embedded on SQLite with SQLCipher, or on
//! PostgreSQL, where several instances share one database. Both run the same statements, which are in `sql`.
//!
//! The rules of the system stand above these traits and know no SQL. Everything here blocks; async code calls
//! it inside `spawn_blocking`. A transaction that is dropped without [`WriteTx::commit`] has had no effect.

mod alerts;
mod approvals;
mod attachments;
mod audit;
mod enrolments;
mod fleet;
mod integrity;
mod notice;
mod people;
pub(crate) mod postgres;
mod records;
mod removed;
mod rescue;
mod sql;
pub(crate) mod sqlite;
#[cfg(test)]
mod tests;

pub use alerts::{AlertsRead, AlertsWrite, Attempt, StoredAlert, StoredWatch, TurnState};
pub use approvals::{ApprovalsRead, ApprovalsWrite, ProposalState, StoredApproval, StoredProposal};
pub use attachments::{AttachmentsRead, AttachmentsWrite, StoredContent, Waste};
pub use audit::{AuditRead, AuditWrite, Columns, StoredEntry, StoredFault, StoredHead};
pub use enrolments::{EnrolmentState, EnrolmentsRead, EnrolmentsWrite, StoredEnrolment};
pub use fleet::{
    CommandState, FleetRead, FleetWrite, RefreshToken, StoredCommand, StoredDevice, StoredForm,
    StoredMutation, StoredReceipt, StoredShare, StoredTicket,
};
pub use integrity::{CheckedRecord, IntegrityRead, IntegrityWrite, LogFault, LogFinding};
pub use notice::Notice;
pub use people::{AdminAct, PeopleRead, PeopleWrite, StoredSession, StoredUser};
pub use records::{LogEntry, LogRow, RecordsRead, RecordsWrite, StoredConflict, StoredRecord};
pub use removed::{RemovedRead, RemovedWrite, StoredRemoval};
pub use rescue::{
    PhotoState, RescueFilter, RescueRead, RescueState, RescueWrite, StoredPhoto, StoredPhotos, StoredRescue,
    StoredSegment, StoredWaiting,
};

pub(crate) use sql::contents_of;

use std::error::Error;
use tokio::sync::broadcast;

/// How many notices are kept for a subscriber that is slow to take them.
pub(crate) const NOTICES: usize = 1024;

/// Why the storage did not do what it was asked. The transaction has had no effect.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The database failed; the source says how.
    #[error("the database failed")]
    Database(#[source] Box<dyn Error + Send + Sync>),
    /// A stored value can't be read back.
    #[error("the database holds a {0} that can't be read")]
    Damaged(&'static str),
    /// The database does not open with this key.
    #[error("the database does not open with this key; put the right server.key back")]
    WrongKey,
    /// This build has no encryption in its SQLite.
    #[error("this build's database has no encryption; it will not be used")]
    NotEncrypted,
    /// The database server can't be reached, or the connection was lost. The next call tries again.
    #[error("the database can't be reached; see that it runs and that its address is right")]
    Unreachable(#[source] Box<dyn Error + Send + Sync>),
    /// The address of the database can't be used.
    #[error("the database's address can't be used: {0}")]
    Address(&'static str),
    /// The database was written by an earlier version, and was to be left as it is.
    #[error("the database was written by an earlier version of the server; start this one once first")]
    Older,
    /// The database was written by a later version.
    #[error("the database was written by a later version of the server; use that one")]
    Newer,
}

impl From<rusqlite::Error> for StorageError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(Box::new(error))
    }
}

/// What the storage's calls return.
pub type Result<T> = std::result::Result<T, StorageError>;

/// The storage of one organisation.
pub trait Storage: Send + Sync {
    /// Begins to read. What is read is of one moment.
    fn read(&self) -> Result<Box<dyn ReadTx + '_>>;

    /// Begins to write. There is one writer at a time, among all instances; others wait.
    fn write(&self) -> Result<Box<dyn WriteTx + '_>>;

    /// What commits change from now on, in this instance and in others. A subscriber that fell behind, or one whose
    /// connection to the others was cut, hears [`broadcast::error::RecvError::Lagged`] or [`Notice::Anything`]: then anything
    /// may have changed.
    fn subscribe(&self) -> broadcast::Receiver<Notice>;

    /// Looks whether another process has committed something that no notice was heard of, and tells subscribers so. To be
    /// called from time to time while there are any. Does nothing where the database itself brings such notices.
    fn look(&self) -> Result<()> {
        Ok(())
    }

    /// Where instances share this storage: notes the proof of a request, and answers whether it is new to all of them.
    /// `None` where there is one instance alone, which remembers by itself.
    fn note_proof(&self, _proof: &[u8; 32], _now_ms: i64) -> Result<Option<bool>> {
        Ok(None)
    }
}

/// A view of one moment.
pub trait ReadTx:
    RecordsRead
    + RemovedRead
    + IntegrityRead
    + PeopleRead
    + FleetRead
    + EnrolmentsRead
    + ApprovalsRead
    + AlertsRead
    + RescueRead
    + AuditRead
    + AttachmentsRead
{
}

/// A change that happens whole or not at all.
pub trait WriteTx:
    ReadTx
    + RecordsWrite
    + RemovedWrite
    + IntegrityWrite
    + PeopleWrite
    + FleetWrite
    + EnrolmentsWrite
    + ApprovalsWrite
    + AlertsWrite
    + RescueWrite
    + AuditWrite
    + AttachmentsWrite
{
    /// Makes the change durable.
    fn commit(self: Box<Self>) -> Result<()>;
}
