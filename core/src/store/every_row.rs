//! Everything as it is stored, for a simulation that compares phones with their server, and damage to it for tests.

use super::schema::tables;
use super::{Store, StoreError, rows};
use crate::simulation::{PhoneChange, PhoneRow};

impl Store {
    /// Every row of every entity, by entity and id.
    pub(crate) fn every_row(&self) -> Result<Vec<PhoneRow>, StoreError> {
        self.read(|records| {
            let mut every = Vec::new();
            for table in tables() {
                let sql = format!("{} ORDER BY id", table.select);
                let mut statement = records.connection.prepare_cached(&sql)?;
                let mut found = statement.query([])?;
                while let Some(row) = found.next()? {
                    let stored = rows::read(table, row)?;
                    let version = stored.version;
                    every.push(PhoneRow {
                        entity: table.def.name,
                        id: stored.id,
                        rev: version.rev,
                        bucket: version.bucket,
                        state: version.state,
                        fields: version.fields,
                    });
                }
            }
            Ok(every)
        })
    }

    /// Runs a statement past everything that keeps the store; how many rows it changed.
    pub(crate) fn behind(&self, sql: &str) -> Result<usize, StoreError> {
        self.write(|edits| Ok(edits.connection.execute(sql, [])?))
    }

    /// Everything in the outbox, oldest first.
    pub(crate) fn every_change(&self) -> Result<Vec<PhoneChange>, StoreError> {
        let entries = self.unsent()?.into_iter();
        let change = |entry: super::Entry| PhoneChange {
            seq: entry.seq,
            id: entry.mutation,
            record: entry.record,
            refused: entry.reason.is_some(),
        };
        Ok(entries.map(change).collect())
    }
}
