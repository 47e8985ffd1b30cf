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
            Self::with(Pool::new(writer, path, key, closed)?)
        });
        if made.as_ref().is_err_and(|error| *error != StoreError::Exists) {
            for end in ["", "-wal", "-shm"] {
                let mut name = path.as_os_str().to_owned();
                name.push(end);
                let _ = fs::remove_file(name);
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
        Self::with(Pool::new(writer, path, key, closed)?)
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
            tx.commit().map_err(StoreError::from)?;
            Ok::<_, E>((done, news))
        })?;
        self.observers.tell(&news);
        Ok(done)
    }

    fn with(pool: Pool) -> Result<Self, StoreError> {
        Ok(Self { pool, observers: Arc::default() })
    }
}
