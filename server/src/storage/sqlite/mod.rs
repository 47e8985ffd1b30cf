//! The storage on SQLite with SQLCipher: one file, one writer, several readers.

use super::sql::{Cell, Cells, Database, Param, Row, Tx};
use super::{NOTICES, Notice, ReadTx, Result, Storage, StorageError, WriteTx};
use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, ToSql};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::path::{Path, PathBuf};
use std::sync::atomic::{self, AtomicI64};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;
use tokio::sync::broadcast;
use zeroize::Zeroizing;

const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_first.sql"),
    include_str!("migrations/0002_approvers_and_alerts.sql"),
    include_str!("migrations/0003_rescue_and_audit.sql"),
    include_str!("migrations/0004_enrolments.sql"),
    include_str!("migrations/0005_removed_and_collisions.sql"),
    include_str!("migrations/0006_bucket_sums.sql"),
    include_str!("migrations/0007_attachments.sql"),
    include_str!("migrations/0008_abandoned_contents.sql"),
    include_str!("migrations/0009_rescued_photos.sql"),
    include_str!("migrations/0010_starts.sql"),
    include_str!("migrations/0011_removed_along.sql"),
];

/// How long to wait for another process, the command line on the same machine, that is writing.
const BUSY: Duration = Duration::from_secs(10);

/// The most faults that a check of the database tells.
const MOST_FAULTS: usize = 100;

/// Pages in the log at which a commit moves them into the database, 16 MB. Most pages of an upload are written by several
/// commits, and moved once.
const LOG_PAGES: i64 = 4_000;

/// How many idle readers are kept.
const READERS: usize = 8;

/// The key of the database: 32 bytes.
pub(crate) struct DatabaseKey(pub(crate) Zeroizing<[u8; 32]>);

/// The database file.
pub(crate) struct Sqlite {
    path: PathBuf,
    key: DatabaseKey,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
    notices: broadcast::Sender<Notice>,
    /// What the writer's connection last saw of other processes' commits.
    seen: AtomicI64,
}

impl Sqlite {
    /// Opens the database, makes it if it is missing, and brings it to this version.
    pub(crate) fn open(path: &Path, key: DatabaseKey) -> Result<Self> {
        let mut writer = connect(path, &key)?;
        migrate(&mut writer)?;
        Self::over(path, key, writer)
    }

    /// Opens the database of this version, and writes nothing.
    pub(crate) fn open_as_is(path: &Path, key: DatabaseKey) -> Result<Self> {
        let conn = connect(path, &key)?;
        match version(&conn)?.cmp(&MIGRATIONS.len()) {
            Ordering::Less => Err(StorageError::Older),
            Ordering::Equal => Self::over(path, key, conn),
            Ordering::Greater => Err(StorageError::Newer),
        }
    }

    fn over(path: &Path, key: DatabaseKey, writer: Connection) -> Result<Self> {
        let notices = broadcast::Sender::new(NOTICES);
        let seen = AtomicI64::new(data_version(&writer)?);
        let (path, writer) = (path.to_owned(), Mutex::new(writer));
        Ok(Self { path, key, writer, readers: Mutex::default(), notices, seen })
    }
}

/// Lets SQLCipher set itself up before a second thread uses it. SQLite counts as set up when SQLCipher's part of that has
/// only begun, so that of two first connections at once one could not be keyed.
static SET_UP: Once = Once::new();

pub(crate) fn connect(path: &Path, key: &DatabaseKey) -> Result<Connection> {
    // Whatever is wrong shows itself again below.
    SET_UP.call_once(|| drop(Connection::open_in_memory()));
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    let hex = crate::secret::hex(&key.0);
    let pragma = Zeroizing::new(format!("PRAGMA key = \"x'{}'\";", hex.as_str()));
    conn.execute_batch(&pragma)?;
    // Its log would go to the server's standard error, in words of its own. What fails is an error here.
    conn.execute_batch("PRAGMA cipher_log_level = NONE")?;
    // Without SQLCipher the pragma above is silently ignored.
    let cipher: std::result::Result<String, _> =
        conn.query_row("PRAGMA cipher_version", [], |row| row.get(0));
    if !cipher.is_ok_and(|version| !version.is_empty()) {
        return Err(StorageError::NotEncrypted);
    }
    conn.busy_timeout(BUSY)?;
    match conn.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get::<_, i64>(0)) {
        Ok(_) => {}
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) => {
            return Err(StorageError::WrongKey);
        }
        Err(error) => return Err(error.into()),
    }
    conn.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
         PRAGMA secure_delete = ON; PRAGMA temp_store = MEMORY;",
    )?;
    conn.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
    // Otherwise a statement may be planned anew for each value that is bound to it (<https://sqlite.org/queryplanner-ng.html#qpstab>).
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.set_prepared_statement_cache_capacity(128);
    Ok(conn)
}

fn migrate(conn: &mut Connection) -> Result<()> {
    let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let done = version(&tx)?;
    if done > MIGRATIONS.len() {
        return Err(StorageError::Newer);
    }
    for step in &MIGRATIONS[done..] {
        tx.execute_batch(step)?;
    }
    tx.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
    tx.commit()?;
    Ok(())
}

/// How many migrations this database has seen.
fn version(conn: &Connection) -> Result<usize> {
    let version: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    usize::try_from(version).map_err(|_| StorageError::Damaged("version"))
}

impl Storage for Sqlite {
    fn read(&self) -> Result<Box<dyn ReadTx + '_>> {
        let idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let conn = match idle {
            Some(conn) => conn,
            None => connect(&self.path, &self.key)?,
        };
        conn.execute_batch("BEGIN DEFERRED")?;
        let conn = Lease::Reader(&self.readers, Some(conn));
        Ok(Box::new(Tx::new(Transaction { conn, open: true, notices: &self.notices })))
    }

    fn write(&self) -> Result<Box<dyn WriteTx + '_>> {
        let conn = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        conn.execute_batch("BEGIN IMMEDIATE")?;
        Ok(Box::new(Tx::new(Transaction { conn: Lease::Writer(conn), open: true, notices: &self.notices })))
    }

    fn subscribe(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }

    fn look(&self) -> Result<()> {
        let version = data_version(&self.writer.lock().unwrap_or_else(PoisonError::into_inner))?;
        if self.seen.swap(version, atomic::Ordering::Relaxed) != version {
            let _nobody = self.notices.send(Notice::Anything);
        }
        Ok(())
    }
}

/// A number that changes with each commit of another connection, and not with this one's own
/// (<https://sqlite.org/pragma.html#pragma_data_version>). Nobody else in this process commits: asked of the writer, it
/// tells of other processes.
fn data_version(writer: &Connection) -> Result<i64> {
    Ok(writer.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?)
}

/// SQLCipher hands a page that fails its HMAC on as zeros and only marks the connection: what was read so far may be
/// short, with no error.
fn authentic(conn: &Connection) -> Result<()> {
    let status = conn.prepare_cached("PRAGMA cipher_status")?.query_row([], |row| row.get::<_, String>(0));
    if status.is_ok_and(|status| status == "1") { Ok(()) } else { Err(StorageError::Damaged("page")) }
}

/// A connection on loan.
enum Lease<'a> {
    Writer(MutexGuard<'a, Connection>),
    // Empty only while it is dropped.
    Reader(&'a Mutex<Vec<Connection>>, Option<Connection>),
}

/// A transaction; rolled back when dropped, unless it was committed.
struct Transaction<'a> {
    conn: Lease<'a>,
    open: bool,
    notices: &'a broadcast::Sender<Notice>,
}

impl Transaction<'_> {
    fn conn(&self) -> Result<&Connection> {
        match &self.conn {
            Lease::Writer(conn) => Ok(conn),
            Lease::Reader(_, conn) => conn.as_ref().ok_or(StorageError::Damaged("transaction")),
        }
    }
}

impl Database for Transaction<'_> {
    fn run(&self, sql: &str, params: &[Param<'_>]) -> Result<usize> {
        Ok(self.conn()?.prepare_cached(sql)?.execute(rusqlite::params_from_iter(params))?)
    }

    fn each(
        &self,
        sql: &str,
        params: &[Param<'_>],
        read: &mut dyn FnMut(&Row<'_>) -> Result<bool>,
    ) -> Result<()> {
        let mut statement = self.conn()?.prepare_cached(sql)?;
        let mut rows = statement.query(rusqlite::params_from_iter(params))?;
        while let Some(row) = rows.next()? {
            if !read(&Row(row))? {
                return Ok(());
            }
        }
        match &self.conn {
            // Looked at once, before the commit: nothing that was read is of use without it.
            Lease::Writer(_) => Ok(()),
            Lease::Reader(..) => authentic(self.conn()?),
        }
    }

    fn search_clause(&self) -> &'static str {
        "AND n IN (SELECT rowid FROM record_search WHERE record_search MATCH ?4)"
    }

    fn search_query(&self, query: &str) -> String {
        query.to_owned()
    }

    fn search_rows(&self) -> (&'static str, &'static str) {
        // FTS5 keeps a row here for each that it has indexed (<https://sqlite.org/fts5.html#the_docsize_table>).
        ("record_search_docsize", "id")
    }

    fn faults(&self) -> Result<Vec<String>> {
        // An index of the search as this connection last saw it lacks what others have merged since, and would be called
        // damaged.
        let refresh = "SELECT EXISTS (SELECT 1 FROM record_search WHERE record_search MATCH 'a') AS n";
        let mut faults = Vec::new();
        self.each(refresh, &[], &mut |_| Ok(true))?;
        self.each(&format!("PRAGMA integrity_check({MOST_FAULTS})"), &[], &mut |row| {
            let verdict: String = row.get("integrity_check")?;
            if verdict != "ok" {
                faults.push(verdict);
            }
            Ok(true)
        })?;
        self.each("PRAGMA foreign_key_check", &[], &mut |row| {
            let (table, parent): (String, String) = (row.get("table")?, row.get("parent")?);
            let fault = format!("a row of {table} names one of {parent} that is not there");
            if !faults.contains(&fault) {
                faults.push(fault);
            }
            Ok(true)
        })?;
        Ok(faults)
    }

    fn index_terms(&self, n: i64, terms: &str) -> Result<()> {
        let n = Param::Int(n);
        self.run("DELETE FROM record_search WHERE rowid = ?1", std::slice::from_ref(&n))?;
        if !terms.is_empty() {
            let terms = Param::Text(Cow::Borrowed(terms));
            self.run("INSERT INTO record_search (rowid, terms) VALUES (?1, ?2)", &[n, terms])?;
        }
        Ok(())
    }

    // The whole file is encrypted.
    fn sealed(&self, _label: &str, secret: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        Ok(Zeroizing::new(secret.to_vec()))
    }

    fn opened(&self, _label: &str, stored: Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>> {
        Ok(stored)
    }

    fn commit(mut self: Box<Self>, notices: Vec<Notice>) -> Result<()> {
        authentic(self.conn()?)?;
        #[cfg(feature = "simulation")]
        crate::simulation::before_commit()?;
        self.conn()?.execute_batch("COMMIT")?;
        self.open = false;
        for notice in notices {
            // An error means that nobody listens.
            let _nobody = self.notices.send(notice);
        }
        Ok(())
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.open
            && let Ok(conn) = self.conn()
            && let Err(error) = conn.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "a transaction was not rolled back");
        }
        if let Lease::Reader(pool, conn) = &mut self.conn
            && let Some(conn) = conn.take()
        {
            let mut idle = pool.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < READERS && conn.is_autocommit() {
                idle.push(conn);
            }
        }
    }
}

impl Cells for rusqlite::Row<'_> {
    fn cell(&self, column: &str) -> Result<Cell<'_>> {
        Ok(match self.get_ref(column)? {
            ValueRef::Null => Cell::Null,
            ValueRef::Integer(value) => Cell::Int(value),
            ValueRef::Text(text) => Cell::Text(Cow::Borrowed(
                std::str::from_utf8(text).map_err(|_| StorageError::Damaged("text"))?,
            )),
            ValueRef::Blob(bytes) => Cell::Blob(bytes),
            ValueRef::Real(_) => return Err(StorageError::Damaged("number")),
        })
    }
}

impl ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(value) => ValueRef::Integer(*value),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_page_is_an_error_never_a_missing_row() -> std::result::Result<(), Box<dyn std::error::Error>>
    {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("roundsman.db");
        let open = || Sqlite::open(&path, DatabaseKey(Zeroizing::new([7; 32])));
        let storage = open()?;
        let mut tx = storage.write()?;
        for n in 0..400 {
            tx.set_setting(&format!("probe/{n}"), &[n as u8; 200])?;
        }
        tx.commit()?;
        drop(storage);
        let whole = std::fs::read(&path)?;
        let mut noticed = 0;
        for page in (1..whole.len() / 4096).step_by(3) {
            let mut damaged = whole.clone();
            damaged[page * 4096 + 100] ^= 1;
            std::fs::write(&path, damaged)?;
            let Ok(storage) = open() else {
                noticed += 1;
                continue;
            };
            for n in 0..400 {
                match storage.read()?.setting(&format!("probe/{n}")) {
                    Ok(Some(value)) => assert_eq!(value.as_slice(), [n as u8; 200]),
                    Ok(None) => panic!("setting {n} is gone without an error, page {page}"),
                    Err(_) => noticed += 1,
                }
            }
        }
        assert!(noticed > 0, "no damage was met");
        Ok(())
    }
}
