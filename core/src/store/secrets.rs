//! Small texts of others that must be encrypted: tokens.

use super::{Store, StoreError};
use rusqlite::OptionalExtension;
use zeroize::Zeroizing;

impl Store {
    /// The text that was kept under this name.
    ///
    /// # Errors
    /// The store is closed or damaged.
    pub fn secret(&self, name: &str) -> Result<Option<Zeroizing<String>>, StoreError> {
        self.read(|records| {
            let mut statement =
                records.connection.prepare_cached("SELECT value FROM secret WHERE name = ?1")?;
            Ok(statement.query_row([name], |row| row.get(0)).optional()?.map(Zeroizing::new))
        })
    }

    /// Keeps a text under this name, in place of the one before. It is on disk when this returns.
    ///
    /// # Errors
    /// The store is closed, or the disk is full.
    pub fn set_secret(&self, name: &str, value: &str) -> Result<(), StoreError> {
        self.write(|edits| {
            edits
                .connection
                .prepare_cached("INSERT INTO secret VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = ?2")?
                .execute((name, value))?;
            Ok(())
        })
    }
}
