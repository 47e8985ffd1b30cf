//! Reading: single records, filtered lists, lists by key, search.

use super::StoreError;
use super::rows::{self, Bound, RowState};
use super::schema::{Index, Table, table};
use super::terms;
use roundsman_model::{Entity, Value, search};
use rusqlite::{Connection, ToSql, params};
use std::collections::HashSet;
use std::fmt::Write;
use uuid::Uuid;

/// Hits of a search that are sorted at most, besides those in which the field begins with what was typed: a word's first
/// letter may hit everything, and each hit is a page to read.
const HITS: usize = 128;

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

/// What a search is for.
struct Wanted<'a> {
    table: &'static Table,
    /// The field that hits are sorted by; those in which it begins with `begins` come first.
    by: &'a str,
    begins: String,
    limit: usize,
}

impl Records<'_> {
    /// The record with this id.
    pub(crate) fn get<T: Entity>(&self, id: Uuid) -> Result<Option<T>, StoreError> {
        rows::find(self.connection, table(T::DEF)?, id)?.map(typed_record).transpose()
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
        let wanted = Wanted { table, by, begins: search::fold(typed.trim()), limit };
        let mut best = self.that_begin(&wanted)?;
        if best.len() < limit {
            let others = match self.first_that_hold(&wanted, index, typed)? {
                Some(others) => others,
                None => {
                    let query = match search::few_query(typed) {
                        Some(few) if self.hits(index, &few)? == HITS => few,
                        _ => query,
                    };
                    // What the index has not come to: nothing but while it is made anew.
                    let beyond = terms::look_through(self.connection, table, typed)?;
                    self.that_hold(&wanted, index, &query, &beyond)?
                }
            };
            let known: HashSet<i64> = best.iter().copied().collect();
            best.extend(others.into_iter().filter(|n| !known.contains(n)));
            best.truncate(limit);
        }
        let mut row = self.connection.prepare_cached(&format!("{} WHERE _n = ?1", table.select))?;
        best.into_iter().map(|n| typed_record(row.query_row([n], |row| rows::read(table, row))?)).collect()
    }

    /// The first rows in which the field begins so, in order. None while its index waits for rows: then all would have to
    /// be looked at.
    fn that_begin(&self, wanted: &Wanted<'_>) -> Result<Vec<i64>, StoreError> {
        let Wanted { table, by, begins, limit } = wanted;
        let name = table.def.name;
        let index = "SELECT 1 FROM sqlite_schema WHERE type = 'index' AND name = ?1";
        if !self.connection.prepare_cached(index)?.exists([format!("{name}_by_{by}")])? {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT _n FROM \"{name}\" WHERE _folded_{by} >= ?1 AND _folded_{by} < ?2
             ORDER BY _folded_{by}, id LIMIT ?3"
        );
        let end = format!("{begins}{}", char::MAX);
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map(params![begins, end, *limit as i64], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Where single letters were typed beside more: the first rows that hold everything, of those that hold the more. In
    /// order. Nothing if too few of those that are looked at do.
    fn first_that_hold(
        &self,
        wanted: &Wanted<'_>,
        index: &str,
        typed: &str,
    ) -> Result<Option<Vec<i64>>, StoreError> {
        let Wanted { table, by, begins, limit } = wanted;
        let Some(long) = search::long_query(typed) else { return Ok(None) };
        if terms::frontier(self.connection, table)?.is_some() {
            return Ok(None);
        }
        let sql = format!("SELECT rowid FROM \"{index}\" WHERE terms MATCH ?1 LIMIT ?2");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut hits = statement.query(params![long, 2 * HITS as i64])?;
        let mut row = self.connection.prepare_cached(&format!("{} WHERE _n = ?1", table.select))?;
        let mut found = Vec::new();
        while let Some(hit) = hits.next()? {
            let n: i64 = hit.get(0)?;
            let mut rows = row.query([n])?;
            let row = rows.next()?.ok_or(StoreError::Corrupt)?;
            if search::gram_holds(&terms::terms_of(table, row)?, typed) {
                let folded = search::fold(&row.get::<_, String>(*by)?);
                found.push((!folded.starts_with(begins), folded, row.get::<_, [u8; 16]>("id")?, n));
            }
            if found.len() == *limit {
                found.sort_unstable();
                return Ok(Some(found.into_iter().map(|(.., n)| n).collect()));
            }
        }
        Ok(None)
    }

    /// The best of the first rows that the index finds, and of those beyond it. Only what they are sorted by is read.
    fn that_hold(
        &self,
        wanted: &Wanted<'_>,
        index: &str,
        query: &str,
        beyond: &[i64],
    ) -> Result<Vec<i64>, StoreError> {
        let Wanted { table, by, begins, limit } = wanted;
        let beyond: Vec<String> = beyond.iter().take(HITS).map(|n| format!("({n})")).collect();
        let beyond =
            if beyond.is_empty() { String::new() } else { format!("UNION ALL VALUES {}", beyond.join(", ")) };
        let sql = format!(
            "SELECT _n FROM \"{}\"
             WHERE _n IN (SELECT n FROM (SELECT rowid AS n FROM \"{index}\" WHERE terms MATCH ?1 LIMIT ?2) {beyond})
             ORDER BY substr(_folded_{by}, 1, length(?3)) <> ?3, _folded_{by}, id LIMIT ?4",
            table.def.name
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let params = params![query, HITS.max(*limit) as i64, begins, *limit as i64];
        let rows = statement.query_map(params, |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// How many rows an expression finds, at most [`HITS`].
    fn hits(&self, index: &str, query: &str) -> Result<usize, StoreError> {
        let sql = format!("SELECT count(*) FROM (SELECT 1 FROM \"{index}\" WHERE terms MATCH ?1 LIMIT ?2)");
        let mut statement = self.connection.prepare_cached(&sql)?;
        Ok(statement.query_row(params![query, HITS as i64], |row| rows::whole(row, 0))? as usize)
    }

    fn rows<T: Entity>(&self, table: &Table, sql: &str, params: &[&dyn ToSql]) -> Result<Vec<T>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map(params, |row| rows::read(table, row))?;
        rows.map(|stored| typed_record(stored?)).collect()
    }
}

fn typed_record<T: Entity>(stored: rows::Stored) -> Result<T, StoreError> {
    // Only whole records are stored, so this can't fail unless something else wrote the file.
    T::from_fields(stored.id, &stored.version.fields).map_err(|_| StoreError::Corrupt)
}
