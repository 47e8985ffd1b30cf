//! What can go wrong with the store.

use crate::rescue::SealedError;
use rusqlite::ffi;
use std::io;

/// Why the store did not do it. What was committed before is still there, byte for byte; nothing was begun anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store was closed. Open the vault again.
    #[error("the store is closed: unlock the app")]
    Closed,
    /// There is no database where it should be. It is never made anew: put the file back.
    #[error("the database is missing: put its file back")]
    Missing,
    /// There is a file where a new database should be made. It was left alone.
    #[error("there is a database already")]
    Exists,
    /// The key is not this database's.
    #[error("the key is not this database's")]
    WrongKey,
    /// The file is damaged or cut short: put back a whole copy.
    #[error("the database is damaged: put back a whole copy of its file")]
    Corrupt,
    /// The database is an older copy of itself, or has lost its last commits. It was left as it is: check in, so that
    /// the administrator can decide; to go on, enrol this device anew.
    #[error("the database was put back to an earlier state: check in and ask your administrator")]
    RolledBack,
    /// A part of the database is of another time than the rest. It was left as it is: check in, so that the
    /// administrator can decide; to go on, enrol this device anew.
    #[error(
        "a part of the database ({table}) is not of the same state as the rest: check in and ask your administrator"
    )]
    PartRolledBack {
        /// The table in which it shows.
        table: &'static str,
    },
    /// The change could not be sealed for the organisation, for want of randomness or of a key that can be used.
    /// Nothing was stored.
    #[error(
        "the change could not be sealed for the organisation: ask your administrator for a new rescue key"
    )]
    NotSealed,
    /// The file is a database that is not encrypted. It was not touched.
    #[error("the database is not encrypted: this is not a file of the app")]
    NotEncrypted,
    /// The SQLite that was linked has no encryption. Nothing was opened.
    #[error("this build has no encryption: link SQLCipher")]
    NoCipher,
    /// A newer version of the app has written the database: update the app.
    #[error("the database is of a newer version ({version}): update the app")]
    Newer {
        /// The version of its tables.
        version: i64,
    },
    /// The disk is full: free some space and try again.
    #[error("the disk is full: free some space and try again")]
    Full,
    /// Another process uses the database: close it and try again.
    #[error("the database is in use by another process")]
    Busy,
    /// The disk failed.
    #[error("the disk failed ({kind})")]
    Io {
        /// How.
        kind: io::ErrorKind,
    },
    /// The database refused for a reason that should not happen; please report its code.
    #[error("the database refused with code {code}: please report this")]
    Database {
        /// SQLite's extended result code.
        code: i32,
    },
}

/// Texts of SQLite's errors may quote what was stored, so only the code is kept.
impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        match error {
            rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
                Code::DatabaseCorrupt | Code::NotADatabase => Self::Corrupt,
                Code::DiskFull => Self::Full,
                Code::DatabaseBusy | Code::DatabaseLocked => Self::Busy,
                // Only closing interrupts.
                Code::OperationInterrupted => Self::Closed,
                Code::SystemIoFailure => Self::Io { kind: io::ErrorKind::Other },
                Code::ReadOnly => Self::Io { kind: io::ErrorKind::PermissionDenied },
                _ => Self::Database { code: failure.extended_code },
            },
            // A value of another type than was written.
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..) => Self::Corrupt,
            _ => Self::Database { code: ffi::SQLITE_MISUSE },
        }
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            io::ErrorKind::AlreadyExists => Self::Exists,
            io::ErrorKind::StorageFull => Self::Full,
            kind => Self::Io { kind },
        }
    }
}

impl From<SealedError> for StoreError {
    fn from(error: SealedError) -> Self {
        match error {
            SealedError::Disk(error) if error.kind() == io::ErrorKind::StorageFull => Self::Full,
            SealedError::Disk(error) => Self::Io { kind: error.kind() },
            SealedError::Entropy(_) | SealedError::Key | SealedError::TooLarge => Self::NotSealed,
        }
    }
}

/// JSON that the store itself has written can't be read.
impl From<serde_json::Error> for StoreError {
    fn from(_: serde_json::Error) -> Self {
        Self::Corrupt
    }
}
