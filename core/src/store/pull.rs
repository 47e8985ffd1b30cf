//! What comes from the server: pages of its change log, and the buckets that this device may hold.

use super::edit::Edits;
use super::incoming::{Arrival, Arrived, Fate, Name};
use super::rows::{self, Adder, RowState, Version, Whole, whole};
use super::schema::{Index, Table, tables};
use super::terms::{self, Gathered};
use super::{Store, StoreError, connection, healing, lock, outbox, shadow};
use roundsman_model::attachment::Attachment;
use roundsman_model::{Bucket, Entity, Fields, Rev, Seq};
use roundsman_protocol::sync::Page;
use rusqlite::{Connection, OptionalExtension};
use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};
use uuid::Uuid;

impl Store {
    /// How far each bucket's log was read.
    ///
    /// # Errors
    /// The store is closed or damaged.
    pub fn cursors(&self) -> Result<BTreeMap<Bucket, Seq>, StoreError> {
        self.read(|records| cursors(records.connection))
    }

    /// Stores a page, as [`store_pages`](Self::store_pages).
    ///
    /// # Errors
    /// As there.
    pub fn apply_page(&self, page: &Page) -> Result<(), StoreError> {
        self.store_pages(&[Arrival::from(page)])?;
        self.settle_indexes()
    }

    /// Stores pages, their rows and their cursors, in one transaction. Unsent work stays laid over the rows that came.
    /// Entities and fields that only a newer version knows are passed over.
    ///
    /// While a table is filled for the first time, the indexes on its fields wait for
    /// [`settle_indexes`](Self::settle_indexes), a few seconds at most: until then whatever is asked for is found all the
    /// same, lists more slowly. That of the search does not wait.
    ///
    /// # Errors
    /// The store is closed, damaged, or the disk is full. Nothing of the pages was stored then.
    pub fn store_pages(&self, pages: &[Arrival]) -> Result<(), StoreError> {
        #[cfg(feature = "planted-bugs")]
        if crate::simulation::has(crate::simulation::Bug::NonAtomicCursor) {
            self.write(|edits| pages.iter().try_for_each(|page| edits.read_to(page)))?;
        }
        let coming = pages.iter().map(|page| page.rows() as u64).sum::<u64>();
        let many = coming + pages.last().map_or(0, Arrival::left) >= MANY;
        let wait = self.write(|edits| {
            let (mut wait, mut gathered, mut bulk) = (false, Gathered::default(), many);
            for page in pages {
                wait |= indexes_wait(edits.connection, page)?;
                self.store_page(edits, page, &mut gathered, &mut bulk)?;
            }
            gathered.store(edits.connection)?;
            Ok::<_, StoreError>(wait)
        })?;
        let since = {
            let mut waiting = lock(&self.waiting);
            if wait {
                waiting.get_or_insert_with(Instant::now);
            }
            *waiting
        };
        if since.is_some_and(|since| since.elapsed() > WAIT) { self.settle_indexes() } else { Ok(()) }
    }

    /// Makes the indexes that waited for rows. Opening the store does it too.
    ///
    /// # Errors
    /// The store is closed, damaged, or the disk is full. They go on waiting then.
    pub fn settle_indexes(&self) -> Result<(), StoreError> {
        if lock(&self.waiting).is_none() {
            return Ok(());
        }
        self.write(|edits| tables().iter().try_for_each(|table| table.make_indexes(edits.connection)))?;
        *lock(&self.waiting) = None;
        Ok(())
    }

    /// Moves a log that has grown into the database, so that no write of a rep has to. Others read and write meanwhile.
    ///
    /// # Errors
    /// The store is closed or damaged, or the disk is full. Nothing is lost: a later call, or a close, does it.
    pub fn catch_up(&self) -> Result<(), StoreError> {
        self.pool.read(connection::catch_up)
    }

    fn store_page<'p>(
        &self,
        edits: &mut Edits<'_>,
        page: &'p Arrival,
        gathered: &mut Gathered<'p>,
        bulk: &mut bool,
    ) -> Result<(), StoreError> {
        let intake = Intake::begin(edits.connection, page)?;
        let mut rows = page.rows.as_slice();
        // A page has rows that are new or rows that are known, seldom both: it is worth trying what the last one was.
        let mut fresh = true;
        while !rows.is_empty() {
            if fresh {
                rows = &rows[self.add_rows(edits, &intake, rows, gathered, *bulk)?..];
            }
            if let Some((row, rest)) = rows.split_first() {
                // It may change one that was added just now.
                gathered.store(edits.connection)?;
                self.digest.follow(edits.connection)?;
                *bulk = false;
                fresh = edits.store_row(&intake, row)?;
                rows = rest;
            }
        }
        edits.read_to(page)
    }

    /// Adds the rows at the beginning of these that are of one table and new here; how many.
    fn add_rows<'p>(
        &self,
        edits: &mut Edits<'_>,
        intake: &Intake<'_>,
        rows: &'p [Arrived],
        gathered: &mut Gathered<'p>,
        bulk: bool,
    ) -> Result<usize, StoreError> {
        let Some(Arrived { entity: Name::Known(table), .. }) = rows.first() else { return Ok(0) };
        let mut adder = Adder::new(edits.connection, table)?;
        let mut adding = if bulk { Some(self.digest.adding(edits.connection, table)?) } else { None };
        // Rows at the end of the table lie beyond an index that has not come so far.
        let whole = terms::frontier(edits.connection, table)?.is_none();
        let mut added = 0;
        for row in rows {
            let (Name::Known(of), Fate::Held(held)) = (&row.entity, &row.held) else { break };
            if !std::ptr::eq(*of, *table) || intake.is_special(row) {
                break;
            }
            let Some(n) = adder.add(row.id, row.rev, intake.bucket, held)? else { break };
            if let Some(adding) = &mut adding {
                adding.added(n, row.id.as_bytes(), row.rev.0, &intake.bucket.0, held)?;
            }
            if let (Some(index), Some(terms)) = (&table.index, held.terms.as_deref().filter(|_| whole)) {
                gathered.add(index, n, terms);
            }
            added += 1;
        }
        drop(adding);
        for row in &rows[..added] {
            edits.note(table, row.id);
        }
        Ok(added)
    }

    /// Removes the rows of every bucket but these, their terms in the index and their cursors; how many rows. What
    /// was not sent about them stays in the outbox.
    ///
    /// # Errors
    /// The store is closed, damaged, or the disk is full. Nothing was removed then.
    pub fn keep_buckets(&self, buckets: &[Bucket]) -> Result<u64, StoreError> {
        // Nearly always there is nothing to remove, and nothing has to be written.
        if self.read_written(|records| holds_only(records.connection, buckets))? {
            return Ok(0);
        }
        let removed = self.write(|edits| {
            let mut removed = 0;
            for table in tables() {
                for bucket in buckets_of(edits.connection, table)? {
                    if !buckets.contains(&bucket) {
                        removed += edits.drop_bucket(table, &bucket)?;
                    }
                }
            }
            edits.attachments_left |= removed > 0;
            shadow::keep_buckets(edits.connection, buckets)?;
            let cursors: Vec<Bucket> = {
                let mut statement = edits.connection.prepare_cached("SELECT bucket FROM cursor")?;
                let rows = statement.query_map([], |row| row.get(0).map(Bucket))?;
                rows.collect::<Result<_, _>>()?
            };
            for bucket in cursors.iter().filter(|bucket| !buckets.contains(bucket)) {
                edits.connection.execute("DELETE FROM cursor WHERE bucket = ?1", [&bucket.0])?;
            }
            healing::keep_buckets(edits.connection, buckets)?;
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
            edits.connection.execute(
                "INSERT INTO counter (name, value) VALUES (?1, 1) ON CONFLICT DO UPDATE SET value = value + 1",
                [healing::OUTLIVED],
            )?;
            Ok(())
        })
    }
}

pub(super) fn cursors(connection: &Connection) -> Result<BTreeMap<Bucket, Seq>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT bucket, seq FROM cursor")?;
    let rows = statement.query_map([], |row| Ok((Bucket(row.get(0)?), Seq(whole(row, 1)?))))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The buckets that have rows here, by one step in the index for each.
fn buckets_of(connection: &Connection, table: &Table) -> Result<Vec<Bucket>, StoreError> {
    let sql = format!("SELECT min(_bucket) FROM \"{}\" WHERE _bucket > ?1", table.def.name);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut buckets = Vec::new();
    // A record that is not in any bucket is in the one with no name.
    let mut next = Some(String::new());
    while let Some(last) = next {
        next = statement.query_row([&last], |row| row.get(0)).optional()?.flatten();
        buckets.push(Bucket(last));
    }
    Ok(buckets)
}

/// Whether there is nothing here of any bucket but these.
fn holds_only(connection: &Connection, buckets: &[Bucket]) -> Result<bool, StoreError> {
    for table in tables() {
        let held = buckets_of(connection, table)?;
        // The bucket with no name holds what the server has not seen.
        if held.iter().any(|bucket| !bucket.0.is_empty() && !buckets.contains(bucket)) {
            return Ok(false);
        }
    }
    for table in ["cursor", "shadow", "passed_over", "unconfirmed", "healing"] {
        let mut statement = connection.prepare_cached(&format!("SELECT DISTINCT bucket FROM {table}"))?;
        let mut held = statement.query([])?;
        while let Some(row) = held.next()? {
            if !buckets.iter().any(|bucket| row.get_ref(0).is_ok_and(|held| held == bucket.0.as_str().into()))
            {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Rows that must follow for a table's indexes to be made after them.
const MANY: u64 = 2_000;

/// How long indexes wait: over a slow connection a list should not.
const WAIT: Duration = Duration::from_secs(5);

/// Readies a table that has no rows yet for being filled if this page is the first of many; whether it did.
fn indexes_wait(connection: &Connection, page: &Arrival) -> Result<bool, StoreError> {
    if page.left() < MANY {
        return Ok(false);
    }
    let Some(Arrived { entity: Name::Known(table), .. }) = page.rows.first() else { return Ok(false) };
    let first = terms::is_empty(connection, table)?;
    if first {
        table.begin_filling(connection)?;
    }
    Ok(first)
}

/// What is to be known for storing a page, asked once for all of its rows.
struct Intake<'p> {
    bucket: &'p Bucket,
    /// Records with changes of this device, or with a server's version that is kept aside.
    unsent: HashSet<Uuid>,
    /// Whether there are rows that were passed over.
    passed_over: bool,
    /// Whether the bucket is read anew, and each row that comes again is confirmed.
    healing: bool,
}

impl<'p> Intake<'p> {
    fn begin(connection: &Connection, page: &'p Arrival) -> Result<Self, StoreError> {
        if page.rows.is_empty() {
            return Ok(Self {
                bucket: &page.bucket,
                unsent: HashSet::new(),
                passed_over: false,
                healing: false,
            });
        }
        let mut statement =
            connection.prepare_cached("SELECT record FROM outbox UNION SELECT record FROM shadow")?;
        let unsent = statement.query_map([], |row| row.get(0).map(Uuid::from_bytes))?;
        let unsent = unsent.collect::<Result<_, _>>()?;
        let any = "SELECT EXISTS (SELECT 1 FROM passed_over)";
        let passed_over = connection.prepare_cached(any)?.query_row([], |row| row.get(0))?;
        let healing = healing::is_under_way(connection, &page.bucket)?;
        Ok(Self { bucket: &page.bucket, unsent, passed_over, healing })
    }

    /// Whether more than adding it has to be done for a row that is new.
    fn is_special(&self, row: &Arrived) -> bool {
        self.passed_over || self.healing || self.unsent.contains(&row.id)
    }
}

impl Edits<'_> {
    /// Notes how far a bucket's log is read with this page.
    fn read_to(&self, page: &Arrival) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("INSERT INTO cursor VALUES (?1, ?2) ON CONFLICT DO UPDATE SET seq = ?2")?
            .execute((&page.bucket.0, Whole(page.cursor.0)))?;
        Ok(())
    }

    /// Notes that a bucket's log, which was read to `before`, holds nothing up to `reached` that is not here. If it is read
    /// anew, or not where it was, its log is read as ever.
    pub(super) fn read_own(&self, bucket: &Bucket, before: Seq, reached: Seq) -> Result<(), StoreError> {
        if healing::is_under_way(self.connection, bucket)?
            || healing::cursor(self.connection, bucket)? != before
        {
            return Ok(());
        }
        self.connection
            .prepare_cached("INSERT INTO cursor VALUES (?1, ?2) ON CONFLICT DO UPDATE SET seq = ?2")?
            .execute((&bucket.0, Whole(reached.0)))?;
        Ok(())
    }

    /// Does what a row of a page asks for; whether there was none of this id.
    fn store_row(&mut self, intake: &Intake<'_>, row: &Arrived) -> Result<bool, StoreError> {
        let (connection, bucket) = (self.connection, intake.bucket);
        if intake.healing {
            healing::confirm(connection, bucket, row.entity.text(), row.id)?;
        }
        if intake.passed_over {
            // It may have come by another bucket meanwhile.
            let mut statement = connection.prepare_cached(
                "DELETE FROM passed_over WHERE entity = ?1 AND record = ?2 AND (?3 OR bucket = ?4)",
            )?;
            let there = !matches!(row.held, Fate::Gone);
            statement.execute((row.entity.text(), row.id.as_bytes(), there, &bucket.0))?;
        }
        match (&row.entity, &row.held) {
            (Name::Known(table), Fate::Held(held)) => {
                return self.receive(table, row.id, row.rev, bucket, held.fields(table.def));
            }
            (Name::Known(table), Fate::Gone) => self.withdraw(table, row.id, bucket)?,
            (entity, Fate::PassedOver) => {
                // A row that this version can't show would only be a stale one if it were left.
                if let Name::Known(table) = entity {
                    self.withdraw(table, row.id, bucket)?;
                }
                connection
                    .prepare_cached("INSERT OR REPLACE INTO passed_over VALUES (?1, ?2, ?3, ?4)")?
                    .execute((entity.text(), row.id.as_bytes(), Whole(row.rev.0), &bucket.0))?;
            }
            (Name::Unknown(_), _) => {}
        }
        Ok(false)
    }

    /// Stores a row of the server; whether there was none of this id.
    fn receive(
        &mut self,
        table: &Table,
        id: Uuid,
        rev: Rev,
        bucket: &Bucket,
        fields: Fields,
    ) -> Result<bool, StoreError> {
        let stored = rows::find(self.connection, table, id)?;
        let clean = match &stored {
            Some(stored) => stored.version.state == RowState::Clean,
            None => outbox::of_record(self.connection, table.def, id)?.is_empty(),
        };
        if !clean {
            shadow::keep(self.connection, table.def, id, rev, bucket, Some(&fields))?;
            self.rebuild(table, id)?;
            return Ok(stored.is_none());
        }
        let version = Version { rev, bucket: bucket.clone(), state: RowState::Clean, fields };
        if rows::put(self.connection, table, id, stored.as_ref(), &version)? {
            self.note(table, id);
        }
        Ok(stored.is_none())
    }

    /// Removes a row that has left a bucket, unless it has come by another one meanwhile.
    pub(super) fn withdraw(&mut self, table: &Table, id: Uuid, bucket: &Bucket) -> Result<(), StoreError> {
        let Some(stored) = rows::find(self.connection, table, id)? else {
            // It was removed here too, and must not come back if the server refuses that.
            if shadow::find(self.connection, table.def, id)?.is_some_and(|known| known.bucket == *bucket) {
                shadow::forget(self.connection, table.def, id)?;
            }
            return Ok(());
        };
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
        if table.def.name == Attachment::DEF.name {
            self.attachments_left = true;
        }
        Ok(())
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
        if let Some(Index { name: index, .. }) = &table.index {
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
