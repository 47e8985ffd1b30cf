//! Reading: single records, filtered lists, lists by key, search.

use super::StoreError;
use super::rows::{self, Bound, RowState};
use super::schema::{Index, Table, table};
use super::terms;
use roundsman_model::{Entity, Value, search};
use rusqlite::{Connection, ToSql, params};
use std::fmt::Write;
use uuid::Uuid;

/// Hits of a search that are looked at before the best are chosen: a word's first letter may hit everything.
const HITS: usize = 256;

/// A view of the records at one moment.
pub(crate) struct Records<'c> {
    pub(super) connection: &'c Connection,
}

/// Which records, in which order. Names are those of fields.
#[derive(Default)]
pub(crate) struct Select<'a> {
    /// Fields with the values they must have.
    pub(crate) of: &'a [(&'static str, Value)],
    /// Fields to sort by; those without a value come last.
    pub(crate) by: &'a [(&'static str, Order)],
    /// The most records; all if none is given.
    pub(crate) limit: Option<usize>,
}

/// Which end comes first.
#[derive(Clone, Copy)]
pub(crate) enum Order {
    /// The least.
    Up,
    /// The greatest.
    Down,
}

impl Records<'_> {
    /// The record with this id.
    pub(crate) fn get<T: Entity>(&self, id: Uuid) -> Result<Option<T>, StoreError> {
        rows::find(self.connection, table(T::DEF)?, id)?.map(typed).transpose()
    }

    /// How a record stands to the server's; `None` if there is no such record.
    pub(crate) fn state<T: Entity>(&self, id: Uuid) -> Result<Option<RowState>, StoreError> {
        Ok(rows::find(self.connection, table(T::DEF)?, id)?.map(|stored| stored.version.state))
    }

    /// How many records there are.
    pub(crate) fn count<T: Entity>(&self) -> Result<u64, StoreError> {
        let sql = format!("SELECT count(*) FROM \"{}\"", T::DEF.name);
        Ok(self.connection.prepare_cached(&sql)?.query_row([], |row| rows::whole(row, 0))?)
    }

    /// The records that are asked for.
    pub(crate) fn select<T: Entity>(&self, select: &Select<'_>) -> Result<Vec<T>, StoreError> {
        let table = table(T::DEF)?;
        let mut sql = format!("{} WHERE 1", table.select);
        for (at, (field, _)) in select.of.iter().enumerate() {
            let _ = write!(sql, " AND \"{field}\" = ?{}", at + 1);
        }
        sql.push_str(" ORDER BY ");
        for (field, order) in select.by {
            let order = match order {
                Order::Up => "ASC",
                Order::Down => "DESC",
            };
            let _ = write!(sql, "\"{field}\" {order} NULLS LAST, ");
        }
        let _ = write!(sql, "id LIMIT ?{}", select.of.len() + 1);
        let values: Vec<Bound<'_>> = select.of.iter().map(|(_, value)| Bound(value)).collect();
        let limit = select.limit.map_or(-1, |limit| limit as i64);
        let mut params: Vec<&dyn ToSql> = values.iter().map(|value| -> &dyn ToSql { value }).collect();
        params.push(&limit);
        self.rows(table, &sql, &params)
    }

    /// The next `limit` records after this place, sorted by the folded form of a field, then by id.
    pub(crate) fn list<T: Entity>(
        &self,
        by: &str,
        after: Option<(&str, Uuid)>,
        limit: usize,
    ) -> Result<Vec<T>, StoreError> {
        let table = table(T::DEF)?;
        let tail = format!("ORDER BY _folded_{by}, id LIMIT ?1");
        match after {
            None => self.rows(table, &format!("{} {tail}", table.select), params![limit as i64]),
            Some((text, id)) => self.rows(
                table,
                &format!("{} WHERE (_folded_{by}, id) > (?2, ?3) {tail}", table.select),
                params![limit as i64, search::fold(text), id.as_bytes()],
            ),
        }
    }

    /// At most `limit` records that hold everything that was typed; those in which the field `by` begins with it
    /// come first.
    pub(crate) fn search<T: Entity>(
        &self,
        typed: &str,
        by: &str,
        limit: usize,
    ) -> Result<Vec<T>, StoreError> {
        let table = table(T::DEF)?;
        let (Some(Index { name: index, .. }), Some(query)) = (&table.index, search::gram_query(typed)) else {
            return Ok(Vec::new());
        };
        // What the index has not come to: nothing but while it is made anew.
        let beyond = terms::look_through(self.connection, table, typed)?;
        let beyond: Vec<String> = beyond.into_iter().take(HITS).map(|n| format!("({n})")).collect();
        let beyond =
            if beyond.is_empty() { String::new() } else { format!("UNION ALL VALUES {}", beyond.join(", ")) };
        let sql = format!(
            "{} WHERE _n IN (SELECT n FROM (SELECT rowid AS n FROM \"{index}\" WHERE terms MATCH ?1 LIMIT ?2) {beyond})
             ORDER BY substr(_folded_{by}, 1, length(?3)) <> ?3, _folded_{by}, id LIMIT ?4",
            table.select
        );
        let (begins, hits) = (search::fold(typed.trim()), HITS.max(limit) as i64);
        self.rows(table, &sql, params![query, hits, begins, limit as i64])
    }

    fn rows<T: Entity>(&self, table: &Table, sql: &str, params: &[&dyn ToSql]) -> Result<Vec<T>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map(params, |row| rows::read(table, row))?;
        rows.map(|stored| typed(stored?)).collect()
    }
}

fn typed<T: Entity>(stored: rows::Stored) -> Result<T, StoreError> {
    // Only whole records are stored, so this can't fail unless something else wrote the file.
    T::from_fields(stored.id, &stored.version.fields).map_err(|_| StoreError::Corrupt)
}
