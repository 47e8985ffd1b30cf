//! One connection to the encrypted database: keyed, checked, and with everything shut that could leak.

use super::StoreError;
use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode, OpenFlags, Row};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};

/// The first bytes of a database that is not encrypted.
const PLAIN_HEADER: &[u8; 16] = b"SQLite format 3\0";

/// The length of a key with its salt as pragma text: `x'`, 64 and 32 hex digits, `'`.
const KEY_WITH_SALT: usize = 2 + 64 + 32 + 1;

/// SQLCipher's size of a page in bytes.
const PAGE: u64 = 4_096;

/// Pages in the log at which a commit moves them into the database itself, 16 MB: a rep's work between two syncs, of
/// which each ends with [`catch_up`], takes less.
const LOG_PAGES: i64 = 4_000;

/// Pages in the log at which a sync moves them into the database.
const MANY_LOG_PAGES: i64 = 500;

/// Statements a connection keeps prepared.
const STATEMENTS: usize = 128;

/// Instructions of SQLite's machine between two looks at whether the store was closed.
const INSTRUCTIONS: i32 = 2_000;

/// The only pragmas that run once a connection is set up. Whatever changes a key or a safeguard is not among them.
const PRAGMAS: &[&str] = &[
    "cipher_status",
    "data_version",
    "integrity_check",
    // Part of `ALTER TABLE … ADD COLUMN`.
    "quick_check",
    "table_info",
    "user_version",
    "wal_checkpoint",
];

/// Opens the database that is there, with `key` as pragma text, `x'…'`.
pub(super) fn open(path: &Path, key: &str, closed: &Arc<AtomicBool>) -> Result<Connection, StoreError> {
    let header = header(path)?.ok_or(StoreError::Missing)?;
    if header == *PLAIN_HEADER {
        return Err(StoreError::NotEncrypted);
    }
    // SQLite counts a torn last page as a whole one. Only a log that still has the page may leave the file so.
    if fs::metadata(path)?.len() % PAGE != 0 && !was_left(path) {
        return Err(StoreError::Corrupt);
    }
    connect(path, key, closed, salted(&header, key))
}

/// Makes a database where there is none.
pub(super) fn create(path: &Path, key: &str, closed: &Arc<AtomicBool>) -> Result<Connection, StoreError> {
    // Fails if anything is there; SQLite takes an empty file for a new database.
    File::create_new(path)?;
    connect(path, key, closed, false)
}

/// Makes what was created last through a power cut, and makes sure that it is ciphertext.
pub(super) fn seal(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    checkpoint(connection)?;
    if header(path)?.as_ref().is_none_or(|header| *header == *PLAIN_HEADER) {
        return Err(StoreError::NotEncrypted);
    }
    File::open(path)?.sync_all()?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Whether every page that was read was authentic.
///
/// SQLCipher hands a page that fails its HMAC on as zeros and only marks the connection. Zeros in the middle of an
/// index look like its end, so a result that was read so far would be short, with no error.
pub(super) fn authentic(connection: &Connection) -> Result<(), StoreError> {
    let status = connection
        .prepare_cached("PRAGMA cipher_status")
        .and_then(|mut status| status.query_row([], |row| row.get::<_, String>(0)));
    if status.is_ok_and(|status| status == "1") { Ok(()) } else { Err(StoreError::Corrupt) }
}

/// Moves the write-ahead log into the database and empties it.
pub(super) fn checkpoint(connection: &Connection) -> Result<(), StoreError> {
    let busy: bool = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy { Err(StoreError::Busy) } else { Ok(()) }
}

/// Moves what it can of a log that has grown into the database, while others read and write.
pub(super) fn catch_up(connection: &Connection) -> Result<(), StoreError> {
    if waiting_pages(connection)? > MANY_LOG_PAGES {
        connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
    }
    Ok(())
}

/// Pages in the log that are not in the database yet. The length of its file does not say: it stays what it ever was. And
/// the first write to a log of which all was moved begins it anew, for which it goes to the disk once more.
pub(super) fn waiting_pages(connection: &Connection) -> Result<i64, StoreError> {
    let pages = |row: &Row<'_>| Ok(row.get::<_, i64>(1)? - row.get::<_, i64>(2)?);
    Ok(connection.prepare_cached("PRAGMA wal_checkpoint(NOOP)")?.query_row([], pages)?)
}

/// Encrypts every page anew, in one transaction. Until the log has been moved into the database, pages of the old key
/// are in it still.
pub(super) fn rekey(connection: &Connection, key: &str) -> Result<(), StoreError> {
    // As for the first key, not as a pragma.
    Ok(connection.key(None::<&str>, key, true)?)
}

/// Lets the last connection move the log into the database when it closes. Before this a failed open leaves
/// every byte where it was.
pub(super) fn settle_on_close(connection: &Connection) -> Result<(), StoreError> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    Ok(())
}

/// Lets SQLCipher set itself up before a second thread uses it. SQLite counts as set up when SQLCipher's part of that has
/// only begun, so that of two first connections at once one could not be keyed.
static SET_UP: Once = Once::new();

fn connect(path: &Path, key: &str, closed: &Arc<AtomicBool>, salted: bool) -> Result<Connection, StoreError> {
    // Whatever is wrong shows itself again below.
    SET_UP.call_once(|| drop(Connection::open_in_memory()));
    // Neither made if missing nor read as a URI.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // On phones SQLCipher's log goes to the system's.
    connection.execute_batch("PRAGMA cipher_log_level = NONE")?;
    connection.pragma_update(None, "cipher_memory_security", wipes_memory())?;
    // Another SQLite may have won at link time; it knows no such pragma and answers with nothing.
    connection
        .query_row("PRAGMA cipher_version", [], |row| row.get::<_, String>(0))
        .map_err(|_| StoreError::NoCipher)?;
    // Not as a pragma: its text would stay in the statement and pass by every trace hook.
    connection.key(None::<&str>, key, false)?;
    let first = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
    first.map_err(|error| match error.sqlite_error_code() {
        // SQLCipher says the same of a wrong key and of a damaged first page. The salt is derived with the key,
        // so a file that begins with it is this key's.
        Some(ErrorCode::NotADatabase) if !salted => StoreError::WrongKey,
        _ => error.into(),
    })?;
    harden(&mut connection, closed)?;
    Ok(connection)
}

/// Whether what SQLite frees is wiped. Always, but in a simulation, which looks at files and would take a tenth longer.
fn wipes_memory() -> bool {
    #[cfg(feature = "simulation")]
    if crate::simulation::is_entered() {
        return false;
    }
    true
}

fn harden(connection: &mut Connection, closed: &Arc<AtomicBool>) -> Result<(), StoreError> {
    connection.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA foreign_keys = ON;
         PRAGMA secure_delete = ON;
         PRAGMA temp_store = MEMORY;
         PRAGMA cell_size_check = ON;
         PRAGMA trusted_schema = OFF;
         PRAGMA recursive_triggers = ON;
         PRAGMA cache_size = -8192;",
    )?;
    connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // Otherwise a statement may be planned anew for each value that is bound to it (<https://sqlite.org/queryplanner-ng.html#qpstab>).
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // `ATTACH … KEY ''` would write plaintext.
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    connection.authorizer(Some(|context: AuthContext<'_>| match context.action {
        AuthAction::Attach { .. } | AuthAction::Detach { .. } => Authorization::Deny,
        AuthAction::Pragma { pragma_name, .. } if !PRAGMAS.contains(&pragma_name) => Authorization::Deny,
        _ => Authorization::Allow,
    }))?;
    let closed = Arc::clone(closed);
    connection.progress_handler(INSTRUCTIONS, Some(move || closed.load(Ordering::Relaxed)))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(())
}

/// Whether the database was left by a stop, with commits in its log: a close moves them into the database.
pub(super) fn was_left(path: &Path) -> bool {
    fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0)
}

/// The file of this ending that SQLite keeps beside the database.
pub(super) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// The first bytes of the file; `None` if it has none.
fn header(path: &Path) -> Result<Option<[u8; 16]>, StoreError> {
    let mut header = [0; 16];
    let mut file = File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(None);
    }
    match file.read_exact(&mut header) {
        Ok(()) => Ok(Some(header)),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(StoreError::Corrupt),
        Err(error) => Err(error.into()),
    }
}

/// Whether the file begins with the salt that is part of the key.
fn salted(header: &[u8; 16], key: &str) -> bool {
    let Some(salt) = key.get(66..98).filter(|_| key.len() == KEY_WITH_SALT) else { return false };
    let hex = salt.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).ok());
    let salt = hex.map(|pair| pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()));
    salt.eq(header.iter().copied().map(Some))
}
