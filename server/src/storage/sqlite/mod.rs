//! The storage on SQLite with SQLCipher: one file, one writer, several readers.

mod alerts;
mod approvals;
mod audit;
mod enrolments;
mod fleet;
mod people;
mod records;
mod rescue;

use super::{ReadTx, Result, Storage, StorageError, WriteTx};
use rusqlite::{Connection, OpenFlags};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use uuid::Uuid;
use zeroize::Zeroizing;

const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_first.sql"),
    include_str!("migrations/0002_approvers_and_alerts.sql"),
    include_str!("migrations/0003_rescue_and_audit.sql"),
    include_str!("migrations/0004_enrolments.sql"),
];

/// How long to wait for another process, the command line on the same machine, that is writing.
const BUSY: Duration = Duration::from_secs(10);

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
}

impl Sqlite {
    /// Opens the database, makes it if it is missing, and brings it to this version.
    pub(crate) fn open(path: &Path, key: DatabaseKey) -> Result<Self> {
        let mut writer = connect(path, &key)?;
        migrate(&mut writer)?;
        Ok(Self { path: path.to_owned(), key, writer: Mutex::new(writer), readers: Mutex::default() })
    }
}

pub(crate) fn connect(path: &Path, key: &DatabaseKey) -> Result<Connection> {
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
    conn.set_prepared_statement_cache_capacity(128);
    Ok(conn)
}

fn migrate(conn: &mut Connection) -> Result<()> {
    let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let version: i64 = tx.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let done = usize::try_from(version).map_err(|_| StorageError::Damaged("version"))?;
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

impl Storage for Sqlite {
    fn read(&self) -> Result<Box<dyn ReadTx + '_>> {
        let idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let conn = match idle {
            Some(conn) => conn,
            None => connect(&self.path, &self.key)?,
        };
        conn.execute_batch("BEGIN DEFERRED")?;
        Ok(Box::new(Tx { conn: Lease::Reader(&self.readers, Some(conn)), open: true }))
    }

    fn write(&self) -> Result<Box<dyn WriteTx + '_>> {
        let conn = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        conn.execute_batch("BEGIN IMMEDIATE")?;
        Ok(Box::new(Tx { conn: Lease::Writer(conn), open: true }))
    }
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
struct Tx<'a> {
    conn: Lease<'a>,
    open: bool,
}

impl Tx<'_> {
    fn conn(&self) -> Result<&Connection> {
        match &self.conn {
            Lease::Writer(conn) => Ok(conn),
            Lease::Reader(_, conn) => conn.as_ref().ok_or(StorageError::Damaged("transaction")),
        }
    }

    /// Runs a statement that changes rows, and says how many.
    fn run(&self, sql: &str, params: impl rusqlite::Params) -> Result<usize> {
        Ok(self.conn()?.prepare_cached(sql)?.execute(params)?)
    }

    /// Reads at most one row.
    fn one<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnOnce(&rusqlite::Row<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        let mut statement = self.conn()?.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        let found = rows.next()?.map(read).transpose()?;
        if found.is_none() {
            authentic(self.conn()?)?;
        }
        Ok(found)
    }

    /// Reads every row.
    fn all<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        mut read: impl FnMut(&rusqlite::Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut statement = self.conn()?.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(read(row)?);
        }
        authentic(self.conn()?)?;
        Ok(found)
    }
}

impl Drop for Tx<'_> {
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

impl ReadTx for Tx<'_> {}

impl WriteTx for Tx<'_> {
    fn commit(mut self: Box<Self>) -> Result<()> {
        authentic(self.conn()?)?;
        #[cfg(feature = "simulation")]
        crate::simulation::before_commit()?;
        self.conn()?.execute_batch("COMMIT")?;
        self.open = false;
        Ok(())
    }
}

/// An id's bytes, for a parameter.
fn blob(id: &Uuid) -> &[u8] {
    id.as_bytes()
}

/// Fixed-size bytes of a column.
fn bytes<const N: usize>(row: &rusqlite::Row<'_>, column: &str) -> Result<[u8; N]> {
    let bytes: Vec<u8> = row.get(column)?;
    bytes.try_into().map_err(|_| StorageError::Damaged("key or hash"))
}

/// Fixed-size bytes of a column that may be empty.
fn maybe_bytes<const N: usize>(row: &rusqlite::Row<'_>, column: &str) -> Result<Option<[u8; N]>> {
    let bytes: Option<Vec<u8>> = row.get(column)?;
    bytes.map(|bytes| bytes.try_into().map_err(|_| StorageError::Damaged("key or hash"))).transpose()
}

fn id(row: &rusqlite::Row<'_>, column: &str) -> Result<Uuid> {
    bytes(row, column).map(Uuid::from_bytes)
}

fn number(row: &rusqlite::Row<'_>, column: &str) -> Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| StorageError::Damaged("number"))
}

fn to_json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|_| StorageError::Damaged("value"))
}

/// The name that a value is stored under.
fn name_of<T: PartialEq>(names: &[(T, &'static str)], value: &T) -> Result<&'static str> {
    names
        .iter()
        .find(|(known, _)| known == value)
        .map(|(_, name)| *name)
        .ok_or(StorageError::Damaged("state"))
}

/// The value that is stored under a name.
fn by_name<T: Copy>(names: &[(T, &'static str)], text: &str) -> Result<T> {
    names
        .iter()
        .find(|(_, name)| *name == text)
        .map(|(value, _)| *value)
        .ok_or(StorageError::Damaged("state"))
}

fn json<T: serde::de::DeserializeOwned>(row: &rusqlite::Row<'_>, column: &str) -> Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|_| StorageError::Damaged("value"))
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
