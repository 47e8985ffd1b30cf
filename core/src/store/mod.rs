//! The encrypted store: records, the outbox, and how far the server's log was read.
//!
//! It promises that a change and its entry in the outbox are committed together or not at all, that a failed open
//! or migration leaves every byte where it was, and that after [`Store::close`] nothing can be read. It does not
//! know who may do what, nor when to sync. All SQL of the client is in this folder.
//!
//! Every call blocks on the disk; none may run on an async executor's thread.

mod connection;
mod edit;
mod error;
mod observe;
mod outbox;
mod pool;
mod pull;
mod records;
mod rows;
mod schema;
mod secrets;
mod shadow;

pub(crate) use edit::{Edits, Made};
pub use error::StoreError;
pub use observe::{Changed, Observer, Subscription};
pub(crate) use outbox::Entry;
pub use outbox::KeptConflict;
pub(crate) use records::{Order, Records, Select};
pub use rows::RowState;

use observe::Observers;
use pool::Pool;
use rusqlite::{Transaction, TransactionBehavior};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The store. All calls are safe from any thread: one writes at a time, several read.
pub struct Store {
    pool: Pool,
    observers: Arc<Observers>,
}

impl Store {
    /// Makes the database at `path`, encrypted with `key`: 64 hexadecimal digits, or 96 with the salt, as `x'…'`.
    /// When this returns it would survive a power cut; if it fails, there is no file.
    ///
    /// # Errors
    /// There is a file already; the disk is full; the SQLite that was linked does not encrypt.
    pub fn create(path: &Path, key: &str) -> Result<Self, StoreError> {
        let closed = Arc::default();
        let made = connection::create(path, key, &closed).and_then(|writer| {
            schema::migrate(&writer)?;
            connection::seal(&writer, path)?;
            Ok(Self { pool: Pool::new(writer, path, key, closed)?, observers: Arc::default() })
        });
        if made.as_ref().is_err_and(|error| *error != StoreError::Exists) {
            for end in ["", "-wal", "-shm"] {
                let _ = fs::remove_file(connection::beside(path, end));
            }
        }
        made
    }

    /// Opens the database at `path` and brings its tables up to date.
    ///
    /// # Errors
    /// The file is missing or empty, damaged, not encrypted, of another key or of a newer version. Every byte of it
    /// is where it was then.
    pub fn open(path: &Path, key: &str) -> Result<Self, StoreError> {
        let closed: Arc<AtomicBool> = Arc::default();
        let writer = connection::open(path, key, &closed)?;
        schema::migrate(&writer)?;
        Ok(Self { pool: Pool::new(writer, path, key, closed)?, observers: Arc::default() })
    }

    /// Stops what runs and closes every connection; then no key is in memory. Every later call is told
    /// [`StoreError::Closed`].
    pub fn close(&self) {
        self.pool.close();
    }

    /// Calls the observer after each commit that changed something, until the subscription is dropped.
    pub fn observe(&self, observer: Arc<dyn Observer>) -> Subscription {
        self.observers.add(observer)
    }

    /// Reads at one moment.
    pub(crate) fn read<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&Records<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.pool.read(|connection| {
            let tx = Transaction::new_unchecked(connection, TransactionBehavior::Deferred)
                .map_err(StoreError::from)?;
            work(&Records { connection: &tx })
        })
    }

    /// Writes in one transaction, which is undone if `work` fails. Observers are told after the commit.
    pub(crate) fn write<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&mut Edits<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let (done, news) = self.pool.write(|connection| {
            let tx = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)
                .map_err(StoreError::from)?;
            let mut edits = Edits::new(Records { connection: &tx });
            let done = work(&mut edits)?;
            let news = edits.news()?;
            connection::authentic(&tx)?;
            tx.commit().map_err(StoreError::from)?;
            Ok::<_, E>((done, news))
        })?;
        self.observers.tell(&news);
        Ok(done)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::Error;
    use crate::platform::{OsEntropy, SystemClock};
    use roundsman_model::customer::Customer;
    use roundsman_model::{Fields, Value};
    use std::path::PathBuf;
    use tempfile::TempDir;
    use uuid::Uuid;

    fn store() -> (TempDir, PathBuf, Store) {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("vault.db");
        let store = Store::create(&path, &key()).unwrap();
        (dir, path, store)
    }

    fn key() -> String {
        format!("x'{}'", "5".repeat(96))
    }

    fn add(edits: &mut Edits<'_>, n: u128) -> Result<Customer, Error> {
        let fields = ["code", "name", "territory"].map(|name| (name.to_owned(), Value::from("x")));
        edits.put(Uuid::from_u128(n), Fields::from(fields), &Made::now(&SystemClock, &OsEntropy)?)
    }

    /// Rows, index, outbox and numbers tell the same.
    fn assert_holds(store: &Store, records: u64) {
        let count = store.read(|records| records.count::<Customer>()).unwrap();
        let found = store.read(|records| records.search::<Customer>("x", "name", 100)).unwrap();
        let seqs: Vec<u64> = store.pending(100).unwrap().iter().map(|mutation| mutation.seq.0).collect();
        assert_eq!((count, found.len() as u64), (records, records));
        assert_eq!(seqs, (1..=records).collect::<Vec<_>>());
    }

    #[test]
    fn a_change_and_its_outbox_entry_are_committed_together_or_not_at_all() {
        let (dir, path, store) = store();
        store.write(|edits| add(edits, 1)).unwrap();
        // The files as a kill would leave them, before the commit and after it.
        let leave = |name: &str| {
            let left = dir.path().join(name);
            for end in ["", "-wal"] {
                fs::copy(connection::beside(&path, end), connection::beside(&left, end)).unwrap();
            }
            left
        };
        let before = store.write(|edits| add(edits, 2).map(|_| leave("before"))).unwrap();
        let after = leave("after");
        for (left, records) in [(before, 1), (after, 2)] {
            assert_holds(&Store::open(&left, &key()).unwrap(), records);
        }
    }

    #[test]
    fn a_write_that_fails_or_panics_leaves_nothing() {
        let (_dir, _, store) = store();
        let failed: Result<(), Error> = store.write(|edits| add(edits, 1).and(Err(Error::NotFound)));
        assert!(matches!(failed, Err(Error::NotFound)));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            store.write(|edits| -> Result<(), Error> {
                add(edits, 1)?;
                unreachable!("the work panics")
            })
        }));
        assert!(panicked.is_err());
        assert_holds(&store, 0);
        store.write(|edits| add(edits, 1)).unwrap();
        assert_holds(&store, 1);
    }

    #[test]
    fn no_statement_can_attach_a_database_or_change_the_key() {
        let (dir, _, store) = store();
        let outside = dir.path().join("plain.db");
        for sql in [
            format!("ATTACH '{}' AS plain KEY ''", outside.display()),
            "DETACH main".to_owned(),
            "PRAGMA rekey = 'x'".to_owned(),
            "PRAGMA key = 'x'".to_owned(),
            "PRAGMA cipher_log_level = TRACE".to_owned(),
            "PRAGMA secure_delete = OFF".to_owned(),
            "PRAGMA writable_schema = ON".to_owned(),
        ] {
            let done = store.write(|edits| edits.connection.execute_batch(&sql).map_err(StoreError::from));
            assert!(done.is_err(), "{sql}");
        }
        assert!(!outside.exists());
    }

    #[test]
    fn a_database_of_a_newer_version_is_refused_and_left_alone() {
        let (_dir, path, store) = store();
        store
            .write(|edits| {
                edits.connection.execute_batch("PRAGMA user_version = 77").map_err(StoreError::from)
            })
            .unwrap();
        store.close();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(Store::open(&path, &key()).err(), Some(StoreError::Newer { version: 77 }));
        assert!(fs::read(&path).unwrap() == bytes);
    }

    #[test]
    fn a_field_that_is_new_in_the_model_is_fetched_from_the_server() {
        let (_dir, path, store) = store();
        store
            .write(|edits| {
                add(edits, 1)?;
                edits
                    .connection
                    .execute_batch(
                        "ALTER TABLE customer DROP COLUMN geofence_m; INSERT INTO cursor VALUES ('b', 9)",
                    )
                    .map_err(StoreError::from)?;
                Ok::<_, Error>(())
            })
            .unwrap();
        store.close();
        let store = Store::open(&path, &key()).unwrap();
        assert!(store.cursors().unwrap().is_empty());
        assert_holds(&store, 1);
    }
}
