//! The search index: kept in step with the rows, and made anew in slices when it is of an older form.
//!
//! Rows are indexed in the order of their `_n`. While an index is made anew a counter says how far that has come: rows
//! beyond it have no terms in the index yet, whoever changes them, and a search looks at some of them one by one.

use super::outbox::{counter, set_counter};
use super::rows;
use super::schema::{FIRST_FIELD, Index, Table, tables};
use super::{Store, StoreError};
use roundsman_model::{Fields, Search, search};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// Rows that go to the index in one transaction: a rep's own write waits no longer than these take.
const SLICE: usize = 1_000;

/// Rows without terms that a search looks at.
const LOOKED_AT: usize = 2_000;

/// The counter of an entity: one more than the last `_n` that is indexed, and 0 once all are.
fn name_of(table: &Table) -> String {
    format!("indexed_{}", table.def.name)
}

/// The last `_n` whose terms are in the index; nothing if all are.
pub(super) fn frontier(connection: &Connection, table: &Table) -> Result<Option<i64>, StoreError> {
    let counted = counter(connection, &name_of(table))?;
    Ok(counted.checked_sub(1).map(|last| last as i64))
}

/// Begins to index a table that has rows and an empty index.
pub(super) fn begin(connection: &Connection, table: &Table) -> Result<(), StoreError> {
    set_counter(connection, &name_of(table), 1)
}

pub(super) fn is_indexing(connection: &Connection) -> Result<bool, StoreError> {
    for table in tables() {
        if frontier(connection, table)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Brings a row's terms from those of `before` to those of `after`; leaves the index alone if they are the same, or if it
/// has not come to the row.
pub(super) fn change(
    connection: &Connection,
    table: &Table,
    n: i64,
    before: Option<&Fields>,
    after: Option<&Fields>,
) -> Result<(), StoreError> {
    let Some(index) = &table.index else { return Ok(()) };
    if let (Some(before), Some(after)) = (before, after) {
        let mut searched = table.def.fields.iter().filter(|field| field.search != Search::No);
        if searched.all(|field| before.get(field.name) == after.get(field.name)) {
            return Ok(());
        }
    }
    let terms = |fields: &Fields| search::gram_text(table.def, fields);
    let (before, after) = (before.map(terms), after.map(terms));
    if before == after || frontier(connection, table)?.is_some_and(|last| n > last) {
        return Ok(());
    }
    if before.is_some() {
        connection.prepare_cached(&index.delete)?.execute([n])?;
    }
    if let Some(terms) = after {
        connection.prepare_cached(&index.insert)?.execute((n, terms))?;
    }
    Ok(())
}

/// Terms of rows that were added, on their way into the index. FTS5 writes what it holds in memory whenever another
/// statement begins that can be undone by itself, as that of a row does, and a row's terms alone make a segment that has
/// to be merged with others again and again. So the terms of all rows go into the index after them.
#[derive(Default)]
pub(super) struct Gathered<'p>(Vec<(&'static Index, i64, &'p str)>);

impl<'p> Gathered<'p> {
    /// Takes a row's terms; rows come in the order of their `_n`.
    pub(super) fn add(&mut self, index: &'static Index, n: i64, terms: &'p str) {
        self.0.push((index, n, terms));
    }

    /// Brings what was gathered into the index.
    pub(super) fn store(&mut self, connection: &Connection) -> Result<(), StoreError> {
        for (index, n, terms) in self.0.drain(..) {
            connection.prepare_cached(&index.insert)?.execute((n, terms))?;
        }
        Ok(())
    }
}

impl Store {
    /// Whether a search index is not whole.
    ///
    /// # Errors
    /// The store is closed or damaged.
    pub fn is_indexing(&self) -> Result<bool, StoreError> {
        self.read(|records| is_indexing(records.connection))
    }

    /// Empties the search indexes, and begins to fill them anew.
    pub(crate) fn index_anew(&self) -> Result<(), StoreError> {
        tracing::warn!("a search index was not sound, and is made anew");
        self.write(|edits| {
            for table in tables() {
                if table.remake_search(edits.connection)? {
                    begin(edits.connection, table)?;
                }
            }
            Ok(())
        })
    }

    /// Indexes some more rows, in one short transaction; how many are left. Call it until none are, away from the
    /// screen's thread. It may be stopped at any time, and goes on from there.
    ///
    /// # Errors
    /// The store is closed, damaged, or the disk is full. What was indexed before stays.
    pub fn index_more(&self) -> Result<u64, StoreError> {
        self.write(|edits| {
            let mut left = 0;
            let mut room = SLICE;
            for table in tables() {
                let (Some(index), Some(last)) = (&table.index, frontier(edits.connection, table)?) else {
                    continue;
                };
                room -= slice(edits.connection, table, index, last, room)?;
                if let Some(last) = frontier(edits.connection, table)? {
                    let sql = format!("SELECT count(*) FROM \"{}\" WHERE _n > ?1", table.def.name);
                    left += edits.connection.query_row(&sql, [last], |row| rows::whole(row, 0))?;
                }
            }
            Ok(left)
        })
    }
}

/// Indexes at most `limit` rows after `last`; how many.
fn slice(
    connection: &Connection,
    table: &Table,
    index: &Index,
    last: i64,
    limit: usize,
) -> Result<usize, StoreError> {
    if limit == 0 {
        return Ok(0);
    }
    let sql = format!("{} WHERE _n > ?1 ORDER BY _n LIMIT ?2", table.select);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut insert = connection.prepare_cached(&index.insert)?;
    let mut found = statement.query(params![last, limit as i64])?;
    let (mut done, mut reached) = (0, last);
    while let Some(row) = found.next()? {
        reached = row.get(0)?;
        insert.execute((reached, terms_of(table, row)?))?;
        done += 1;
    }
    // The one after the last; all are indexed if there was room for more.
    set_counter(connection, &name_of(table), if done < limit { 0 } else { reached as u64 + 1 })?;
    Ok(done)
}

/// The terms of a row selected by [`Table::select`].
pub(super) fn terms_of(table: &Table, row: &Row<'_>) -> Result<String, StoreError> {
    let mut texts = Vec::with_capacity(table.def.fields.len());
    for (at, field) in table.def.fields.iter().enumerate() {
        texts.push(match row.get_ref(FIRST_FIELD + at)? {
            ValueRef::Text(text) if field.search != Search::No => {
                Some(str::from_utf8(text).map_err(|_| StoreError::Corrupt)?)
            }
            _ => None,
        });
    }
    Ok(search::gram_terms(table.def, |at, _| texts[at]))
}

/// Rows beyond the index that hold what was typed, by `_n`: those that a look at some of the latest finds.
pub(super) fn look_through(
    connection: &Connection,
    table: &Table,
    typed: &str,
) -> Result<Vec<i64>, StoreError> {
    let Some(last) = frontier(connection, table)? else { return Ok(Vec::new()) };
    let sql = format!("{} WHERE _n > ?1 ORDER BY _n DESC LIMIT ?2", table.select);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query(params![last, LOOKED_AT as i64])?;
    let mut hits = Vec::new();
    while let Some(row) = found.next()? {
        if search::gram_holds(&terms_of(table, row)?, typed) {
            hits.push(row.get(0)?);
        }
    }
    Ok(hits)
}

/// Whether there is no row.
pub(super) fn is_empty(connection: &Connection, table: &Table) -> Result<bool, StoreError> {
    let sql = format!("SELECT 1 FROM \"{}\" LIMIT 1", table.def.name);
    Ok(connection.prepare_cached(&sql)?.query_row([], |_| Ok(())).optional()?.is_none())
}
