//! The storage on PostgreSQL: several instances of the server on one database.
//!
//! One writer at a time among all instances, by an advisory lock that ends with its transaction; a reader sees one moment.
//! Commits tell every instance what they changed (`LISTEN` and `NOTIFY`). Secrets are sealed with the server's key before
//! they reach the database.

mod dialect;
mod link;
mod pool;
mod seal;
mod transaction;

use super::sql::{Param, Tx};
use super::sqlite::DatabaseKey;
use super::{Notice, ReadTx, Result, Storage, StorageError, WriteTx};
use crate::Database;
use link::Link;
use pool::{Conn, Pool};
use seal::Sealer;
use std::cmp;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::broadcast;
use transaction::{Lease, Transaction};

const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_first.sql"),
    include_str!("migrations/0002_removed_and_collisions.sql"),
    include_str!("migrations/0003_bucket_sums.sql"),
    include_str!("migrations/0004_attachments.sql"),
    include_str!("migrations/0005_abandoned_contents.sql"),
    include_str!("migrations/0006_rescued_photos.sql"),
    include_str!("migrations/0007_starts.sql"),
    include_str!("migrations/0008_removed_along.sql"),
];

/// Takes the place of the one writer until the transaction ends. The lock is of the schema: other organisations in other
/// schemas of the same database have their own.
const BE_THE_WRITER: &str =
    "SELECT pg_advisory_xact_lock(hashtext('roundsman writer'), hashtext(current_schema()))";

/// How long proofs are remembered: longer than their nonces hold.
const PROOFS_MS: i64 = 5 * 60 * 1_000;

/// How often those that are older are forgotten.
const SWEEP_MS: i64 = 60 * 1_000;

/// A database that was reached, but not opened.
pub(crate) struct Reached {
    link: Arc<Link>,
    conn: Conn,
}

impl Reached {
    /// Connects to the database.
    pub(crate) fn connect(address: &Database) -> Result<Self> {
        let link = Arc::new(Link::new(address)?);
        let conn = link.connect()?;
        Ok(Self { link, conn })
    }

    /// Whether a server has set this database up before. Then its key is needed to open it.
    pub(crate) fn is_set_up(&self) -> Result<bool> {
        let found = self.conn.query("SELECT to_regclass('roundsman')::text AS name", &[])?;
        Ok(found.first().is_some_and(|row| row.try_get::<_, Option<String>>(0).ok().flatten().is_some()))
    }

    /// Runs statements past the server's rules.
    #[cfg(test)]
    pub(crate) fn batch(&self, sql: &str) -> Result<()> {
        self.conn.batch(sql)
    }

    /// Opens the database and brings it to this version.
    pub(crate) fn open(self, key: &DatabaseKey) -> Result<Postgres> {
        let sealer = Sealer::new(key)?;
        migrate(&self.conn, &sealer)?;
        self.over(sealer)
    }

    /// Opens the database of this version, and writes nothing.
    pub(crate) fn open_as_is(self, key: &DatabaseKey) -> Result<Postgres> {
        let sealer = Sealer::new(key)?;
        match version(&self.conn, &sealer)?.unwrap_or(0).cmp(&MIGRATIONS.len()) {
            cmp::Ordering::Less => Err(StorageError::Older),
            cmp::Ordering::Equal => self.over(sealer),
            cmp::Ordering::Greater => Err(StorageError::Newer),
        }
    }

    fn over(self, sealer: Sealer) -> Result<Postgres> {
        let channel = self.conn.query("SELECT 'roundsman_' || md5(current_schema()) AS channel", &[])?;
        let channel: String = channel
            .first()
            .and_then(|row| row.try_get(0).ok())
            .ok_or(StorageError::Damaged("name of the schema"))?;
        let notices = broadcast::Sender::new(super::NOTICES);
        self.link.listen(&channel, notices.clone())?;
        let pool = Pool::new(Arc::clone(&self.link));
        Ok(Postgres {
            pool,
            link: self.link,
            writer: Mutex::new(Some(self.conn)),
            sealer,
            channel,
            notices,
            swept_ms: AtomicI64::new(0),
        })
    }
}

/// How many migrations this database has seen, if any; and whether this is its key.
fn version(conn: &Conn, sealer: &Sealer) -> Result<Option<usize>> {
    let found = conn.query("SELECT version, probe FROM roundsman", &[])?;
    let Some(row) = found.first() else { return Ok(None) };
    let damaged = |_| StorageError::Damaged("version");
    sealer.open("probe", row.try_get(1).map_err(damaged)?)?;
    let version = row.try_get::<_, i64>(0).map_err(damaged)?;
    usize::try_from(version).map(Some).map_err(|_| StorageError::Damaged("version"))
}

/// Runs the migrations that this database has not seen, as the one writer.
fn migrate(conn: &Conn, sealer: &Sealer) -> Result<()> {
    conn.batch(&format!("BEGIN; {BE_THE_WRITER}"))?;
    let done = (|| {
        conn.batch("CREATE TABLE IF NOT EXISTS roundsman (version BIGINT NOT NULL, probe BYTEA NOT NULL)")?;
        let version = match version(conn, sealer)? {
            Some(version) => version,
            None => {
                let probe = sealer.seal("probe", b"roundsman")?;
                conn.execute(
                    "INSERT INTO roundsman (version, probe) VALUES (0, ?1)",
                    &[Param::Blob(probe.as_slice())],
                )?;
                0
            }
        };
        if version > MIGRATIONS.len() {
            return Err(StorageError::Newer);
        }
        for step in &MIGRATIONS[version..] {
            conn.batch(step)?;
        }
        conn.execute("UPDATE roundsman SET version = ?1", &[Param::Int(MIGRATIONS.len() as i64)])?;
        conn.batch("COMMIT")
    })();
    if done.is_err() {
        // What failed before is what is told.
        let _rolled_back = conn.batch("ROLLBACK");
    }
    done
}

/// A database of PostgreSQL.
pub(crate) struct Postgres {
    pool: Pool,
    link: Arc<Link>,
    writer: Mutex<Option<Conn>>,
    sealer: Sealer,
    channel: String,
    notices: broadcast::Sender<Notice>,
    swept_ms: AtomicI64,
}

impl Storage for Postgres {
    fn read(&self) -> Result<Box<dyn ReadTx + '_>> {
        let conn = self.pool.begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
        Ok(Box::new(Tx::new(Transaction::new(Lease::Reader(Box::new(conn)), &self.sealer, &self.channel))))
    }

    fn write(&self) -> Result<Box<dyn WriteTx + '_>> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        // Each statement sees what is committed by then, and nobody else commits from the lock on.
        let begin = format!("BEGIN ISOLATION LEVEL READ COMMITTED; {BE_THE_WRITER}");
        // A connection that was lost meanwhile has begun nothing: another one does.
        let begun = match writer.take().filter(|conn| !conn.is_closed()) {
            Some(conn) => match conn.batch(&begin) {
                Ok(()) => Some(conn),
                Err(_) if conn.is_lost() => None,
                Err(error) => {
                    let _rolled_back = conn.batch("ROLLBACK");
                    *writer = Some(conn);
                    return Err(error);
                }
            },
            None => None,
        };
        let conn = match begun {
            Some(conn) => conn,
            None => {
                let conn = self.link.connect()?;
                conn.batch(&begin)?;
                conn
            }
        };
        *writer = Some(conn);
        Ok(Box::new(Tx::new(Transaction::new(Lease::Writer(writer), &self.sealer, &self.channel))))
    }

    fn subscribe(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }

    fn note_proof(&self, proof: &[u8; 32], now_ms: i64) -> Result<Option<bool>> {
        let conn = self.pool.take()?;
        let swept = self.swept_ms.load(Ordering::Relaxed);
        if now_ms - swept >= SWEEP_MS
            && self.swept_ms.compare_exchange(swept, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            conn.get()?.execute(
                "DELETE FROM proof WHERE at_ms < ?1",
                &[Param::Int(now_ms.saturating_sub(PROOFS_MS))],
            )?;
        }
        let added = conn.get()?.execute(
            "INSERT INTO proof (hash, at_ms) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            &[Param::Blob(proof), Param::Int(now_ms)],
        )?;
        Ok(Some(added == 1))
    }
}
