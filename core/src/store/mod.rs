//! The encrypted store: records, the outbox, and how far the server's log was read.
//!
//! It promises that a change and its entry in the outbox are committed together or not at all, that a failed open
//! or migration leaves every byte where it was, and that after [`Store::close`] nothing can be read. It does not
//! know who may do what, nor when to sync. All SQL of the client is in this folder.
//!
//! An older copy of the database is refused at [`Store::open`], if anything outside of it bears witness to a later
//! commit; an older copy of a part of it is found by [`Store::check`].
//!
//! Every call blocks on the disk; none may run on an async executor's thread.

mod commit;
mod conflicts;
mod connection;
mod digest;
mod edit;
mod error;
#[cfg(feature = "simulation")]
mod every_row;
mod healing;
mod incoming;
mod kept;
mod observe;
mod outbox;
mod pool;
mod pull;
mod records;
mod rekey;
mod rows;
mod schema;
mod sealed_files;
mod secrets;
mod shadow;
mod terms;
mod thumbnails;
mod unsent_files;
mod verify;

pub(crate) use conflicts::lost;
pub(crate) use edit::{Edits, Made};
pub use error::StoreError;
pub use healing::Verdict;
pub use incoming::Arrival;
pub use observe::{Changed, Observer, Subscription};
pub(crate) use outbox::{Entry, Waiting};
pub(crate) use records::{Order, Records, Select};
pub use rows::RowState;
pub use sealed_files::Rewrap;
pub(crate) use sealed_files::SealedFile;
pub(crate) use unsent_files::UnsentFile;

use crate::rescue::SealedOutbox;
use digest::Digest;
use observe::Observers;
use pool::Pool;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use uuid::Uuid;

/// The keys of a store, for as long as it takes to open it.
pub struct StoreKey<'a> {
    /// What encrypts the database: 64 hexadecimal digits, or 96 with the salt, as `x'…'`.
    pub cipher: &'a str,
    /// What the digests of the tables are made with.
    pub digest: &'a [u8; 32],
}

/// The store. All calls are safe from any thread: one writes at a time, several read.
pub struct Store {
    pool: Pool,
    observers: Arc<Observers>,
    digest: Digest,
    sealed: SealedOutbox,
    /// The number of the last commit.
    commit: AtomicU64,
    /// What buckets add up to, as far as it was counted.
    kept: kept::Kept,
    /// Since when indexes wait for rows, if they do.
    waiting: Mutex<Option<Instant>>,
    /// Buckets that were compared by what they hold since the store was opened, and those that were read anew.
    compared: Mutex<healing::Compared>,
    /// Names of sealed files whose rows were dropped, to be removed from the disk.
    dropped: Mutex<Vec<Uuid>>,
    /// How many changes are unsent, once that was counted: it is asked with each write. For whoever writes.
    unsent: Mutex<Option<u64>>,
}

impl Store {
    /// Makes the database at `path`. What is changed in it is sealed in `sealed` too.
    /// When this returns it would survive a power cut; if it fails, there is no file.
    ///
    /// # Errors
    /// There is a file already; the disk is full; the SQLite that was linked does not encrypt.
    pub fn create(path: &Path, key: &StoreKey<'_>, sealed: SealedOutbox) -> Result<Self, StoreError> {
        let closed = Arc::default();
        let made = connection::create(path, key.cipher, &closed).and_then(|writer| {
            let digest = Digest::new(key.digest);
            schema::migrate(&writer, &digest)?;
            connection::seal(&writer, path)?;
            Self::over(writer, path, key, closed, digest, sealed)
        });
        if made.as_ref().is_err_and(|error| *error != StoreError::Exists) {
            for end in ["", "-wal", "-shm"] {
                let _ = fs::remove_file(connection::beside(path, end));
            }
        }
        made
    }

    /// Opens the database at `path` and brings its tables up to date. `seen` is the highest number of a commit that
    /// anybody has seen; the sealed outbox is another witness. If the last process was stopped, the digests are
    /// checked as by [`check`](Self::check).
    ///
    /// # Errors
    /// The file is missing or empty, damaged, not encrypted, of another key or of a newer version; it is an older
    /// copy, or a part of it is. Every byte of it is where it was then.
    pub fn open(
        path: &Path,
        key: &StoreKey<'_>,
        sealed: SealedOutbox,
        seen: u64,
    ) -> Result<Self, StoreError> {
        let closed: Arc<AtomicBool> = Arc::default();
        let was_left = connection::was_left(path);
        let writer = connection::open(path, key.cipher, &closed)?;
        let digest = Digest::new(key.digest);
        let digested = schema::has_digests(schema::version(&writer)?);
        let announced = commit::bear_witness(&writer, &sealed, seen)?;
        let searchable = !was_left || !digested || digest.check(&writer)?;
        schema::migrate(&writer, &digest)?;
        commit::make_good(&writer, &sealed, announced)?;
        let store = Self::over(writer, path, key, closed, digest, sealed)?;
        if !searchable {
            store.index_anew()?;
        }
        Ok(store)
    }

    fn over(
        writer: Connection,
        path: &Path,
        key: &StoreKey<'_>,
        closed: Arc<AtomicBool>,
        digest: Digest,
        sealed: SealedOutbox,
    ) -> Result<Self, StoreError> {
        let commit = AtomicU64::new(commit::number(&writer)?);
        let pool = Pool::new(writer, path, key.cipher, closed)?;
        Ok(Self {
            pool,
            observers: Arc::default(),
            digest,
            sealed,
            commit,
            kept: kept::Kept::default(),
            waiting: Mutex::default(),
            compared: Mutex::default(),
            dropped: Mutex::default(),
            unsent: Mutex::default(),
        })
    }

    /// The number of the last commit; each is one higher than the one before. Known after a close too.
    pub fn commit_number(&self) -> u64 {
        self.commit.load(Ordering::Relaxed)
    }

    /// Reads everything once, and compares every table with its digest and every index with its table. Takes about
    /// 0.2 seconds for ten thousand customers on a laptop. A search index that is not sound is emptied, for
    /// [`index_more`](Self::index_more) to fill: it holds nothing that the tables don't.
    ///
    /// # Errors
    /// A part of the database is of another time than the rest, or damaged; or the store is closed. Nothing is
    /// changed.
    pub fn check(&self) -> Result<(), StoreError> {
        if self.read(|records| self.digest.check(records.connection))? { Ok(()) } else { self.index_anew() }
    }

    /// Stops what runs and closes every connection; then no key is in memory. Every later call is told
    /// [`StoreError::Closed`].
    pub fn close(&self) {
        self.pool.close();
        // One that stays is no harm, and goes when the store is opened.
        if let Err(error) = self.sealed.close() {
            tracing::warn!(%error, "a segment of the sealed outbox that is done with could not be removed");
        }
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
        self.pool.read(|connection| at_one_moment(connection, work))
    }

    /// The same where the last write is in memory, unless somebody writes. For what is short: a write waits for it.
    pub(crate) fn read_written<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&Records<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.pool.read_written(|connection| at_one_moment(connection, work))
    }

    /// Writes in one transaction, which is undone if `work` fails; it must not go on after a statement that failed, which may
    /// have done a part. Observers are told after the commit.
    pub(crate) fn write<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&mut Edits<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let (done, news, dropped) = self.pool.write(|connection| {
            let tx = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)
                .map_err(StoreError::from)?;
            self.digest.begin();
            let mut edits = Edits::new(Records { connection: &tx });
            let done = work(&mut edits)?;
            if edits.attachments_left {
                edits.drop_left_files()?;
            }
            // Counted anew after a commit of which it is not known whether it happened.
            let before = lock(&self.unsent).take();
            let news = edits.news(before)?;
            let Edits { added, removed, dropped, .. } = edits;
            self.commit(tx, &added, news.unsent.filter(|_| removed > 0))?;
            *lock(&self.unsent) = news.unsent.or(before);
            Ok::<_, E>((done, news, dropped))
        })?;
        lock(&self.dropped).extend(dropped);
        self.observers.tell(&news);
        Ok(done)
    }
}

/// A panic in one call does not close the store for the next.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads in one transaction.
fn at_one_moment<T, E: From<StoreError>>(
    connection: &Connection,
    work: impl FnOnce(&Records<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let tx =
        Transaction::new_unchecked(connection, TransactionBehavior::Deferred).map_err(StoreError::from)?;
    work(&Records { connection: &tx })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::Error;
    use crate::platform::{OsEntropy, RealDisk, SystemClock};
    use crate::rescue::SealTo;
    use roundsman_model::customer::Customer;
    use roundsman_model::{Bucket, DeviceId, Fields, OrgId, Rev, Seq, Value};
    use roundsman_protocol::hpke_seal::key_pair;
    use roundsman_protocol::sync::{Page, Row};
    use std::path::PathBuf;
    use tempfile::TempDir;
    use uuid::Uuid;

    fn store() -> (TempDir, PathBuf, Store) {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("vault.db");
        let store = Store::create(&path, &KEY, sealed(&path)).unwrap();
        (dir, path, store)
    }

    pub(in crate::store) const KEY: StoreKey<'static> = StoreKey {
        cipher: "x'555555555555555555555555555555555555555555555555555555555555555555555555555555555555555555555555'",
        digest: &[5; 32],
    };

    pub(in crate::store) fn sealed(path: &Path) -> SealedOutbox {
        let to = SealTo {
            org: OrgId(Uuid::from_u128(1)),
            device: DeviceId(Uuid::from_u128(2)),
            rescue_key: key_pair(&[3; 32]).1,
        };
        SealedOutbox::open(path.parent().unwrap(), to, Arc::new(RealDisk), Arc::new(OsEntropy)).unwrap()
    }

    fn open(path: &Path) -> Result<Store, StoreError> {
        Store::open(path, &KEY, sealed(path), 0)
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
            assert_holds(&open(&left).unwrap(), records);
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

    /// Whether there is the index of names, and from how many pieces of one size on the search index merges them.
    fn filled(store: &Store) -> (bool, Option<u32>) {
        let read = |records: &Records<'_>| {
            let index = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'customer_by_name')";
            let merged = "SELECT max(v) FROM customer_search_config WHERE k = 'automerge'";
            let index = records.connection.query_row(index, [], |row| row.get(0))?;
            Ok::<_, StoreError>((index, records.connection.query_row(merged, [], |row| row.get(0))?))
        };
        store.read(read).unwrap()
    }

    #[test]
    fn what_waits_while_a_table_is_filled_is_made_good_at_its_end_or_when_the_store_is_opened() {
        let (dir, path, store) = store();
        let fields = ["code", "name", "territory"].map(|name| (name.to_owned(), Value::from("x")));
        let row = |n| Row {
            entity: "customer".to_owned(),
            id: Uuid::from_u128(n),
            rev: Rev(1),
            fields: Some(Fields::from(fields.clone())),
        };
        let bucket = Bucket::territory("x");
        let page = |n: u64| Page {
            bucket: bucket.clone(),
            rows: vec![row(u128::from(n))],
            cursor: Seq(n),
            head: Seq(9_000),
        };
        let few = Page { head: Seq(1), ..page(1) };
        store.store_pages(&[Arrival::from(&few)]).unwrap();
        assert_eq!(filled(&store), (true, Some(4)), "a few rows are no filling");
        store.keep_buckets(&[]).unwrap();
        store.store_pages(&[Arrival::from(&page(1))]).unwrap();
        store.store_pages(&[Arrival::from(&page(2))]).unwrap();
        assert_eq!(filled(&store), (false, Some(0)));
        let plan = "EXPLAIN QUERY PLAN SELECT id, _rev FROM customer WHERE _bucket = 'x' AND _state = 0";
        let plan = |records: &Records<'_>| {
            Ok::<String, StoreError>(records.connection.query_row(plan, [], |row| row.get("detail"))?)
        };
        assert!(store.read(plan).unwrap().contains("COVERING INDEX customer_in_bucket"));
        // The files as a kill would leave them.
        let left = dir.path().join("left");
        for end in ["", "-wal"] {
            fs::copy(connection::beside(&path, end), connection::beside(&left, end)).unwrap();
        }
        store.settle_indexes().unwrap();
        for store in [store, open(&left).unwrap()] {
            assert_eq!(filled(&store), (true, Some(4)));
            let found = store.read(|records| records.search::<Customer>("x", "name", 100)).unwrap();
            assert_eq!(found.len(), 2);
        }
    }

    #[test]
    fn the_index_of_buckets_of_an_older_version_is_made_anew() {
        let (_dir, path, store) = store();
        store.write(|edits| add(edits, 1)).unwrap();
        let older = "DROP INDEX customer_in_bucket; PRAGMA user_version = 10;
                     CREATE INDEX customer_in_bucket ON customer (_bucket, _state, _rev, id)";
        store.write(|edits| edits.connection.execute_batch(older).map_err(StoreError::from)).unwrap();
        store.close();
        let store = open(&path).unwrap();
        let sql = "SELECT sql FROM sqlite_schema WHERE name = 'customer_in_bucket'";
        let read = |records: &Records<'_>| {
            Ok::<String, StoreError>(records.connection.query_row(sql, [], |row| row.get(0))?)
        };
        assert!(store.read(read).unwrap().contains("_state, _n, _rev"));
        assert_holds(&store, 1);
    }

    /// The file of the log stays as long as it ever was.
    #[test]
    fn a_log_is_moved_into_the_database_when_it_has_grown_and_not_because_its_file_is_long() {
        let (_dir, _, store) = store();
        let waiting = || store.pool.read(connection::waiting_pages).unwrap();
        let many = "CREATE TABLE filler (x BLOB); INSERT INTO filler
                    WITH RECURSIVE n(n) AS (VALUES(1) UNION ALL SELECT n + 1 FROM n LIMIT 600)
                    SELECT zeroblob(4000) FROM n";
        store.write(|edits| edits.connection.execute_batch(many).map_err(StoreError::from)).unwrap();
        assert!(waiting() > 600);
        store.catch_up().unwrap();
        assert_eq!(waiting(), 0);
        store.write(|edits| add(edits, 1)).unwrap();
        let few = waiting();
        assert!(few > 0);
        store.catch_up().unwrap();
        assert_eq!(waiting(), few);
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
    fn every_table_has_a_digest_but_those_of_the_search() {
        let (_dir, _, store) = store();
        let sql =
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '%\\_search%' ESCAPE '\\'
                   AND name <> 'digest' ORDER BY name";
        let tables: Vec<String> = store
            .read(|records| {
                let mut statement = records.connection.prepare(sql)?;
                let names = statement.query_map([], |row| row.get(0))?;
                Ok::<_, StoreError>(names.collect::<Result<_, _>>()?)
            })
            .unwrap();
        let mut digested: Vec<&str> = digest::names().collect();
        digested.sort_unstable();
        assert_eq!(tables, digested);
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
        assert_eq!(open(&path).err(), Some(StoreError::Newer { version: 77 }));
        assert!(fs::read(&path).unwrap() == bytes);
    }

    #[test]
    fn a_field_that_is_new_in_the_model_is_fetched_from_the_server() {
        let (_dir, path, store) = store();
        let cursor = "INSERT INTO cursor VALUES ('b', 9)";
        store
            .write(|edits| {
                add(edits, 1)?;
                edits.connection.execute_batch(cursor).map_err(StoreError::from)?;
                Ok::<_, Error>(())
            })
            .unwrap();
        store.close();
        let again = open(&path).unwrap();
        assert_eq!(again.cursors().unwrap().len(), 1, "the same version fetches nothing anew");
        again.close();
        let older = connection::open(&path, KEY.cipher, &Arc::default()).unwrap();
        older.execute_batch("ALTER TABLE customer DROP COLUMN geofence_m").unwrap();
        connection::settle_on_close(&older).unwrap();
        drop(older);
        let store = open(&path).unwrap();
        store.check().unwrap();
        assert!(store.cursors().unwrap().is_empty());
        assert_holds(&store, 1);
    }

    #[test]
    fn a_choice_that_is_new_in_the_model_is_fetched_from_the_server() {
        let (_dir, path, store) = store();
        // As another version of the app left it, which knew fewer choices and had the same columns.
        let older = "INSERT INTO cursor VALUES ('b', 9); UPDATE counter SET value = 7 WHERE name = 'model'";
        store
            .write(|edits| {
                add(edits, 1)?;
                edits.connection.execute_batch(older).map_err(StoreError::from)?;
                Ok::<_, Error>(())
            })
            .unwrap();
        store.close();
        let store = open(&path).unwrap();
        assert!(store.cursors().unwrap().is_empty());
        assert_holds(&store, 1);
        store.check().unwrap();
    }
}
