//! Small pictures of attachments, in the database itself.

use super::rows::whole;
use super::{Edits, Records, StoreError};
use rusqlite::OptionalExtension;
use uuid::Uuid;
use zeroize::Zeroizing;

/// Those that no record leads to.
const LEFT: &str = "thumbnail WHERE id NOT IN (SELECT id FROM attachment)";

impl Records<'_> {
    /// The small picture of an attachment.
    pub(crate) fn thumbnail(&self, id: Uuid) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let sql = "SELECT jpeg FROM thumbnail WHERE id = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement.query_row([id.as_bytes()], |row| row.get(0).map(Zeroizing::new)).optional()?)
    }

    /// Whether there are some that no record leads to.
    pub(super) fn has_left_thumbnails(&self) -> Result<bool, StoreError> {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {LEFT})");
        Ok(self.connection.prepare_cached(&sql)?.query_row([], |row| row.get(0))?)
    }
}

impl Edits<'_> {
    /// Keeps the small picture of an attachment. Those that are here for longest go until all have no more than so many bytes.
    pub(crate) fn keep_thumbnail(&mut self, id: Uuid, jpeg: &[u8], most: u64) -> Result<(), StoreError> {
        let sql = "INSERT INTO thumbnail (id, jpeg) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        self.connection.prepare_cached(sql)?.execute((id.as_bytes(), jpeg))?;
        let sum = "SELECT coalesce(sum(length(jpeg)), 0) FROM thumbnail";
        let oldest = "DELETE FROM thumbnail WHERE n = (SELECT min(n) FROM thumbnail)";
        while self.connection.prepare_cached(sum)?.query_row([], |row| whole(row, 0))? > most {
            self.connection.prepare_cached(oldest)?.execute([])?;
        }
        Ok(())
    }

    /// Drops those that no record leads to.
    pub(super) fn drop_left_thumbnails(&mut self) -> Result<(), StoreError> {
        self.connection.prepare_cached(&format!("DELETE FROM {LEFT}"))?.execute([])?;
        Ok(())
    }
}
