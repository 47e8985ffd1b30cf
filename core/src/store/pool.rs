//! The connections: one that writes and a few that read, until the store is closed.

use super::{StoreError, connection};
use rusqlite::Connection;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

/// Reads that can run at the same time.
const READERS: usize = 3;

type Slot = Mutex<Option<Connection>>;

pub(super) struct Pool {
    // Dropped before the writer, which as the last one moves the log into the database.
    readers: [Slot; READERS],
    writer: Slot,
    next: AtomicUsize,
    /// Looked at by every running statement.
    closed: Arc<AtomicBool>,
}

impl Pool {
    /// Takes the writer and opens the readers.
    pub(super) fn new(
        writer: Connection,
        path: &Path,
        key: &str,
        closed: Arc<AtomicBool>,
    ) -> Result<Self, StoreError> {
        let mut readers = [const { Mutex::new(None) }; READERS];
        for reader in &mut readers {
            *reader = Mutex::new(Some(connection::open(path, key, &closed)?));
        }
        connection::settle_on_close(&writer)?;
        Ok(Self { readers, writer: Mutex::new(Some(writer)), next: AtomicUsize::new(0), closed })
    }

    /// Runs a read.
    pub(super) fn read<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        self.run(self.reader().as_ref(), work)
    }

    /// Runs a short read on the connection that writes, unless it is at work: what was just written is in its memory, and
    /// not in that of the readers.
    pub(super) fn read_written<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        match self.writer.try_lock() {
            Ok(slot) => self.run(slot.as_ref(), work),
            Err(_) => self.read(work),
        }
    }

    /// Runs a write; there is one at a time. `work` calls [`connection::authentic`] before it commits.
    pub(super) fn write<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        self.run(lock(&self.writer).as_ref(), work)
    }

    /// Stops what runs and closes every connection. Afterwards no key is in SQLCipher's memory.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        for slot in self.readers.iter().chain([&self.writer]) {
            drop(lock(slot).take());
        }
    }

    fn reader(&self) -> MutexGuard<'_, Option<Connection>> {
        for slot in &self.readers {
            match slot.try_lock() {
                Ok(guard) => return guard,
                Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        lock(&self.readers[self.next.fetch_add(1, Ordering::Relaxed) % READERS])
    }

    fn run<T, E: From<StoreError>>(
        &self,
        connection: Option<&Connection>,
        work: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let connection = self.check(connection)?;
        let done = work(connection);
        self.judge(connection, done)
    }

    /// What is told of something that was done: nothing that stands on a damaged page, and no odd errors because
    /// the store was closed meanwhile.
    fn judge<T, E: From<StoreError>>(&self, connection: &Connection, done: Result<T, E>) -> Result<T, E> {
        if done.is_err() && self.closed.load(Ordering::Relaxed) {
            return Err(StoreError::Closed.into());
        }
        connection::authentic(connection)?;
        done
    }

    fn check<'c>(&self, connection: Option<&'c Connection>) -> Result<&'c Connection, StoreError> {
        connection.filter(|_| !self.closed.load(Ordering::Relaxed)).ok_or(StoreError::Closed)
    }
}

/// A panic in one call does not close the store for the next: its transaction was rolled back.
fn lock(slot: &Slot) -> MutexGuard<'_, Option<Connection>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}
