//! Which attachments the server has not got, and which files nothing leads to any more.

use super::outbox::{counter, set_counter};
use super::rows::{Whole, whole};
use super::sealed_files::{COLUMNS, SealedFile, read};
use super::{Edits, Records, Store, StoreError, lock};
use rusqlite::Connection;
use uuid::Uuid;

/// An attachment whose content is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnsentFile {
    pub(crate) row: SealedFile,
    /// Bytes that the server has, as far as is known.
    pub(crate) sent: u64,
    /// How often the server has refused what was sent.
    pub(crate) failed: u64,
}

/// The counter that says that every attachment from before there were records of them has one.
const DESCRIBED: &str = "attachments_described";

/// What is kept although no record leads to it: the content is still to be sent, or the record is.
const NEEDED: &str =
    "SELECT id FROM attachment UNION SELECT id FROM unsent_file UNION SELECT record FROM outbox";

impl Store {
    /// Names of files that lost their row, since this was last asked.
    pub(crate) fn take_dropped_files(&self) -> Vec<Uuid> {
        std::mem::take(&mut *lock(&self.dropped))
    }
}

impl Records<'_> {
    /// The attachments to send, the smallest first. One whose record waits in the outbox waits too.
    pub(crate) fn unsent_files(&self) -> Result<Vec<UnsentFile>, StoreError> {
        let columns = COLUMNS.replace("id,", "s.id,");
        let sql = format!(
            "SELECT {columns}, u.sent, u.failed FROM unsent_file u JOIN sealed_file s ON s.id = u.id
             WHERE NOT EXISTS (SELECT 1 FROM outbox o WHERE o.record = u.id) ORDER BY s.size, s.n"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let found = statement.query_map([], |row| {
            Ok(UnsentFile { row: read(row)?, sent: whole(row, 11)?, failed: whole(row, 12)? })
        })?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// Every attachment that the server has not got, also those whose record waits.
    pub(crate) fn all_unsent_files(&self) -> Result<Vec<SealedFile>, StoreError> {
        let sql =
            format!("SELECT {COLUMNS} FROM sealed_file WHERE id IN (SELECT id FROM unsent_file) ORDER BY n");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let found = statement.query_map([], read)?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// The names of their files.
    pub(crate) fn unsent_file_names(&self) -> Result<Vec<Uuid>, StoreError> {
        let sql = "SELECT file FROM sealed_file WHERE id IN (SELECT id FROM unsent_file)";
        files(self.connection, sql, [])
    }

    /// Whether the server is still to be sent this.
    pub(crate) fn is_unsent_file(&self, id: Uuid) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM unsent_file WHERE id = ?1)";
        Ok(self.connection.prepare_cached(sql)?.query_row([id.as_bytes()], |row| row.get(0))?)
    }

    /// How many attachments the server has not got, and their bytes.
    pub(crate) fn unsent_bytes(&self) -> Result<(u64, u64), StoreError> {
        let sql =
            "SELECT count(*), coalesce(sum(s.size), 0) FROM unsent_file u JOIN sealed_file s ON s.id = u.id";
        Ok(self.connection.prepare_cached(sql)?.query_row([], |row| Ok((whole(row, 0)?, whole(row, 1)?)))?)
    }

    /// Bytes of files that can be fetched again.
    pub(crate) fn evictable_bytes(&self) -> Result<u64, StoreError> {
        let sql =
            "SELECT coalesce(sum(stored), 0) FROM sealed_file WHERE id NOT IN (SELECT id FROM unsent_file)";
        Ok(self.connection.prepare_cached(sql)?.query_row([], |row| whole(row, 0))?)
    }

    /// Whether there are files, or small pictures, that nothing leads to.
    pub(crate) fn has_left_files(&self) -> Result<bool, StoreError> {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM sealed_file WHERE id NOT IN ({NEEDED}))");
        let files: bool = self.connection.prepare_cached(&sql)?.query_row([], |row| row.get(0))?;
        Ok(files || self.has_left_thumbnails()?)
    }

    /// Attachments that have no record because there were none when they were added; nothing once they were given one.
    pub(crate) fn undescribed_files(&self) -> Result<Option<Vec<SealedFile>>, StoreError> {
        if counter(self.connection, DESCRIBED)? > 0 {
            return Ok(None);
        }
        let sql = format!("SELECT {COLUMNS} FROM sealed_file ORDER BY n");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let found = statement.query_map([], read)?;
        Ok(Some(found.collect::<Result<_, _>>()?))
    }
}

impl Edits<'_> {
    /// The server is to be sent this.
    pub(crate) fn keep_unsent(&mut self, id: Uuid) -> Result<(), StoreError> {
        let sql = "INSERT INTO unsent_file (id, sent, failed) VALUES (?1, 0, 0) ON CONFLICT DO NOTHING";
        self.connection.prepare_cached(sql)?.execute([id.as_bytes()])?;
        Ok(())
    }

    /// How far it was sent, and how often that was in vain.
    pub(crate) fn note_sent(&mut self, id: Uuid, sent: u64, failed: u64) -> Result<(), StoreError> {
        let sql = "UPDATE unsent_file SET sent = ?2, failed = ?3 WHERE id = ?1";
        self.connection.prepare_cached(sql)?.execute((id.as_bytes(), Whole(sent), Whole(failed)))?;
        Ok(())
    }

    /// It need not be sent any more.
    pub(crate) fn forget_unsent(&mut self, id: Uuid) -> Result<(), StoreError> {
        self.connection.prepare_cached("DELETE FROM unsent_file WHERE id = ?1")?.execute([id.as_bytes()])?;
        Ok(())
    }

    /// Drops the rows, and with them the keys, of files that nothing leads to: their record has left this device, and
    /// nothing of it is to be sent. Small pictures go with their record.
    pub(crate) fn drop_left_files(&mut self) -> Result<(), StoreError> {
        let sql = format!("DELETE FROM sealed_file WHERE id NOT IN ({NEEDED}) RETURNING file");
        let dropped = files(self.connection, &sql, [])?;
        self.dropped.extend(dropped);
        self.drop_left_thumbnails()
    }

    /// Drops files that can be fetched again, those that are here for longest first, until this many bytes are free.
    pub(crate) fn evict(&mut self, bytes: u64) -> Result<(), StoreError> {
        let mut freed = 0;
        while freed < bytes {
            let sql = "DELETE FROM sealed_file WHERE n = (
                    SELECT min(n) FROM sealed_file WHERE id NOT IN (SELECT id FROM unsent_file)
                 ) RETURNING file, stored";
            let mut statement = self.connection.prepare_cached(sql)?;
            let mut rows = statement.query([])?;
            let Some(row) = rows.next()? else { return Ok(()) };
            self.dropped.push(Uuid::from_bytes(row.get(0)?));
            freed += whole(row, 1)?;
        }
        Ok(())
    }

    /// Every attachment has a record from now on.
    pub(crate) fn all_described(&mut self) -> Result<(), StoreError> {
        set_counter(self.connection, DESCRIBED, 1)
    }
}

fn files(connection: &Connection, sql: &str, params: impl rusqlite::Params) -> Result<Vec<Uuid>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_map(params, |row| row.get(0).map(Uuid::from_bytes))?;
    Ok(found.collect::<Result<_, _>>()?)
}
