//! What comes from the server: pages of its change log, and the buckets that this device may hold.

use super::edit::Edits;
use super::rows::{self, RowState, Version, Whole, whole};
use super::schema::{self, Table, tables};
use super::{Store, StoreError, connection, outbox, shadow};
use roundsman_model::{Bucket, Fields, Rev, Seq};
use roundsman_protocol::sync::Page;
use rusqlite::OptionalExtension;
use std::collections::BTreeMap;
use uuid::Uuid;

impl Store {
    /// How far each bucket's log was read.
    ///
    /// # Errors
    /// The store is closed or damaged.
    pub fn cursors(&self) -> Result<BTreeMap<Bucket, Seq>, StoreError> {
        self.read(|records| {
            let mut statement = records.connection.prepare_cached("SELECT bucket, seq FROM cursor")?;
            let rows = statement.query_map([], |row| Ok((Bucket(row.get(0)?), Seq(whole(row, 1)?))))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Stores a page, its rows and its cursor, in one transaction. Unsent work stays laid over the rows that came.
    /// Entities and fields that only a newer version knows are passed over.
    ///
    /// # Errors
    /// The store is closed, damaged, or the disk is full. Nothing of the page was stored then.
    pub fn apply_page(&self, page: &Page) -> Result<(), StoreError> {
        #[cfg(feature = "planted-bugs")]
        if crate::simulation::has(crate::simulation::Bug::NonAtomicCursor) {
            self.write(|edits| edits.read_to(page))?;
        }
        self.write(|edits| {
            for row in &page.rows {
                let Some(table) = schema::named(&row.entity) else { continue };
                match row.fields.clone().map(|fields| shadow::tolerate(table.def, fields)) {
                    Some(fields) if shadow::whole(table.def, &fields) => {
                        edits.receive(table, row.id, row.rev, &page.bucket, fields)?;
                    }
                    // A row that this version can't show would only be a stale one if it were left.
                    _ => edits.withdraw(table, row.id, &page.bucket)?,
                }
            }
            edits.read_to(page)
        })
    }

    /// Removes the rows of every bucket but these, their terms in the index and their cursors; how many rows. What
    /// was not sent about them stays in the outbox.
    ///
    /// # Errors
    /// The store is closed, damaged, or the disk is full. Nothing was removed then.
    pub fn keep_buckets(&self, buckets: &[Bucket]) -> Result<u64, StoreError> {
        let removed = self.write(|edits| {
            let mut removed = 0;
            for table in tables() {
                for bucket in edits.buckets_of(table)? {
                    if !buckets.contains(&bucket) {
                        removed += edits.drop_bucket(table, &bucket)?;
                    }
                }
            }
            let cursors: Vec<Bucket> = {
                let mut statement = edits.connection.prepare_cached("SELECT bucket FROM cursor")?;
                let rows = statement.query_map([], |row| row.get(0).map(Bucket))?;
                rows.collect::<Result<_, _>>()?
            };
            for bucket in cursors.iter().filter(|bucket| !buckets.contains(bucket)) {
                edits.connection.execute("DELETE FROM cursor WHERE bucket = ?1", [&bucket.0])?;
            }
            Ok::<_, StoreError>(removed)
        })?;
        if removed > 0 {
            // The rows should leave the log's file as well, not only the database.
            self.pool.write(connection::checkpoint)?;
        }
        Ok(removed)
    }

    /// Reads every bucket anew from the next sync on. Rows stay until they are replaced.
    ///
    /// # Errors
    /// The store is closed, or the disk is full.
    pub fn forget_cursors(&self) -> Result<(), StoreError> {
        self.write(|edits| {
            edits.connection.execute("DELETE FROM cursor", [])?;
            Ok(())
        })
    }
}

impl Edits<'_> {
    /// Notes how far a bucket's log is read with this page.
    fn read_to(&self, page: &Page) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("INSERT INTO cursor VALUES (?1, ?2) ON CONFLICT DO UPDATE SET seq = ?2")?
            .execute((&page.bucket.0, Whole(page.cursor.0)))?;
        Ok(())
    }

    /// Stores a row of the server.
    fn receive(
        &mut self,
        table: &Table,
        id: Uuid,
        rev: Rev,
        bucket: &Bucket,
        fields: Fields,
    ) -> Result<(), StoreError> {
        let stored = rows::find(self.connection, table, id)?;
        let clean = match &stored {
            Some(stored) => stored.version.state == RowState::Clean,
            None => outbox::of_record(self.connection, table.def, id)?.is_empty(),
        };
        if !clean {
            shadow::keep(self.connection, table.def, id, rev, bucket, Some(&fields))?;
            return self.rebuild(table, id);
        }
        let version = Version { rev, bucket: bucket.clone(), state: RowState::Clean, fields };
        if rows::put(self.connection, table, id, stored.as_ref(), &version)? {
            self.note(table, id);
        }
        Ok(())
    }

    /// Removes a row that has left a bucket, unless it has come by another one meanwhile.
    fn withdraw(&mut self, table: &Table, id: Uuid, bucket: &Bucket) -> Result<(), StoreError> {
        let Some(stored) = rows::find(self.connection, table, id)? else { return Ok(()) };
        if stored.version.bucket != *bucket {
            return Ok(());
        }
        #[cfg(feature = "planted-bugs")]
        if crate::simulation::once(crate::simulation::Bug::IgnoreOneRemoval) {
            return Ok(());
        }
        shadow::forget(self.connection, table.def, id)?;
        rows::remove(self.connection, table, &stored)?;
        self.note(table, id);
        Ok(())
    }

    /// The buckets that have rows here, by one step in the index for each.
    fn buckets_of(&self, table: &Table) -> Result<Vec<Bucket>, StoreError> {
        let sql = format!("SELECT min(_bucket) FROM \"{}\" WHERE _bucket > ?1", table.def.name);
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut buckets = Vec::new();
        // A record that is not in any bucket is in the one with no name.
        let mut next = Some(String::new());
        while let Some(last) = next {
            next = statement.query_row([&last], |row| row.get(0)).optional()?.flatten();
            buckets.push(Bucket(last));
        }
        Ok(buckets)
    }

    fn drop_bucket(&mut self, table: &Table, bucket: &Bucket) -> Result<u64, StoreError> {
        let name = table.def.name;
        let ids: Vec<Uuid> = {
            let mut statement =
                self.connection.prepare(&format!("SELECT id FROM \"{name}\" WHERE _bucket = ?1"))?;
            let rows = statement.query_map([&bucket.0], |row| row.get(0).map(Uuid::from_bytes))?;
            rows.collect::<Result<_, _>>()?
        };
        if ids.is_empty() {
            return Ok(0);
        }
        self.connection.execute(
            &format!(
                "DELETE FROM shadow WHERE entity = ?1
                 AND record IN (SELECT id FROM \"{name}\" WHERE _bucket = ?2)"
            ),
            (name, &bucket.0),
        )?;
        if let Some(index) = &table.index {
            self.connection.execute(
                &format!(
                    "DELETE FROM \"{index}\" WHERE rowid IN (SELECT _n FROM \"{name}\" WHERE _bucket = ?1)"
                ),
                [&bucket.0],
            )?;
            // A deletion only marks terms; merging the index takes them out.
            self.connection
                .execute(&format!("INSERT INTO \"{index}\" (\"{index}\") VALUES ('optimize')"), [])?;
        }
        self.connection.execute(&format!("DELETE FROM \"{name}\" WHERE _bucket = ?1"), [&bucket.0])?;
        for id in &ids {
            self.note(table, *id);
        }
        Ok(ids.len() as u64)
    }
}
