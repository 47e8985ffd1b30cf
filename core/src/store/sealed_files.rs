//! What is attached to records: the rows that lead to sealed files and hold their keys.

use super::rows::whole;
use super::{Edits, Records, StoreError};
use crate::platform::EntropyError;
use rusqlite::{Connection, OptionalExtension, Row};
use std::io;
use uuid::Uuid;

/// Wraps the key of a file anew, given the file's name and the wrapped key. `None` leaves it as it is: it is wrapped
/// anew already, or damaged.
pub type Rewrap<'a> = dyn Fn(Uuid, &[u8]) -> Result<Option<Vec<u8>>, EntropyError> + 'a;

pub(super) const COLUMNS: &str =
    "id, entity, record, kind, media_type, size, stored, sha256, added_ms, file, key";

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SealedFile {
    pub(crate) id: Uuid,
    /// What it is attached to.
    pub(crate) entity: String,
    pub(crate) record: Uuid,
    pub(crate) kind: String,
    pub(crate) media_type: String,
    /// Bytes of the content.
    pub(crate) size: u64,
    /// Bytes of the file.
    pub(crate) stored: u64,
    pub(crate) sha256: [u8; 32],
    /// Milliseconds since 1970.
    pub(crate) added_ms: i64,
    /// The name of the file.
    pub(crate) file: Uuid,
    /// Its key, wrapped.
    pub(crate) key: Vec<u8>,
}

impl Records<'_> {
    /// The row with this id.
    pub(crate) fn sealed_file(&self, id: Uuid) -> Result<Option<SealedFile>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM sealed_file WHERE id = ?1");
        let mut statement = self.connection.prepare_cached(&sql)?;
        Ok(statement.query_row([id.as_bytes()], read).optional()?)
    }

    /// What is attached to a record, in the order in which it was added.
    pub(crate) fn sealed_files_of(&self, record: Uuid) -> Result<Vec<SealedFile>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM sealed_file WHERE record = ?1 ORDER BY n");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map([record.as_bytes()], read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Every row's id, with the name of its file.
    pub(crate) fn sealed_file_names(&self) -> Result<Vec<(Uuid, Uuid)>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT id, file FROM sealed_file ORDER BY id")?;
        let rows = statement
            .query_map([], |row| Ok((Uuid::from_bytes(row.get(0)?), Uuid::from_bytes(row.get(1)?))))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// How many bytes all files have together.
    pub(crate) fn sealed_bytes(&self) -> Result<u64, StoreError> {
        let sql = "SELECT coalesce(sum(stored), 0) FROM sealed_file";
        Ok(self.connection.prepare_cached(sql)?.query_row([], |row| whole(row, 0))?)
    }
}

impl Edits<'_> {
    /// Keeps a row.
    pub(crate) fn keep_sealed_file(&mut self, row: &SealedFile) -> Result<(), StoreError> {
        let sql = format!("INSERT INTO sealed_file ({COLUMNS}) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11)");
        self.connection.prepare_cached(&sql)?.execute((
            row.id.as_bytes(),
            &row.entity,
            row.record.as_bytes(),
            &row.kind,
            &row.media_type,
            row.size as i64,
            row.stored as i64,
            row.sha256,
            row.added_ms,
            row.file.as_bytes(),
            &row.key,
        ))?;
        Ok(())
    }

    /// Removes a row, and with it the key of its file. Says which file that was.
    pub(crate) fn drop_sealed_file(&mut self, id: Uuid) -> Result<Option<Uuid>, StoreError> {
        let sql = "DELETE FROM sealed_file WHERE id = ?1 RETURNING file";
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement.query_row([id.as_bytes()], |row| row.get(0).map(Uuid::from_bytes)).optional()?)
    }
}

/// Wraps every key anew that `rewrap` has a new wrapping for.
pub(super) fn rewrap(connection: &Connection, rewrap: &Rewrap<'_>) -> Result<(), StoreError> {
    let mut keys = connection.prepare("SELECT file, key FROM sealed_file")?;
    let keys = keys
        .query_map([], |row| Ok((Uuid::from_bytes(row.get(0)?), row.get::<_, Vec<u8>>(1)?)))?
        .collect::<Result<Vec<_>, _>>()?;
    let mut change = connection.prepare("UPDATE sealed_file SET key = ?2 WHERE file = ?1")?;
    for (file, key) in keys {
        let anew = rewrap(file, &key).map_err(|_| StoreError::Io { kind: io::ErrorKind::Other })?;
        if let Some(anew) = anew {
            change.execute((file.as_bytes(), anew))?;
        }
    }
    Ok(())
}

pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<SealedFile> {
    Ok(SealedFile {
        id: Uuid::from_bytes(row.get(0)?),
        entity: row.get(1)?,
        record: Uuid::from_bytes(row.get(2)?),
        kind: row.get(3)?,
        media_type: row.get(4)?,
        size: whole(row, 5)?,
        stored: whole(row, 6)?,
        sha256: row.get(7)?,
        added_ms: row.get(8)?,
        file: Uuid::from_bytes(row.get(9)?),
        key: row.get(10)?,
    })
}
