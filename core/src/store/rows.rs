//! Rows of the entities' tables: typed columns in, fields out, and the index kept in step.

use super::incoming::Held;
use super::schema::{FIRST_FIELD, Table, folded};
use super::{StoreError, terms};
use roundsman_model::{Bucket, Fields, Kind, Rev, Value, search};
use roundsman_protocol::integrity::{Sum, contents_of};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row};
use std::fmt::Write;
use uuid::Uuid;

/// How a row stands to the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowState {
    /// It is the server's.
    Clean,
    /// It holds changes that the server has not answered.
    Pending,
    /// It holds changes that the server has refused.
    Rejected,
}

/// A row without its id.
pub(super) struct Version {
    pub(super) rev: Rev,
    pub(super) bucket: Bucket,
    pub(super) state: RowState,
    pub(super) fields: Fields,
}

/// A row as it is stored.
pub(super) struct Stored {
    pub(super) n: i64,
    pub(super) id: Uuid,
    pub(super) version: Version,
}

/// The row with this id.
pub(super) fn find(connection: &Connection, table: &Table, id: Uuid) -> Result<Option<Stored>, StoreError> {
    let mut statement = connection.prepare_cached(&format!("{} WHERE id = ?1", table.select))?;
    Ok(statement.query_row([id.as_bytes()], |row| read(table, row)).optional()?)
}

/// Reads a row selected by [`Table::select`].
pub(super) fn read(table: &Table, row: &Row<'_>) -> rusqlite::Result<Stored> {
    let id = Uuid::from_bytes(row.get(1)?);
    let mut fields = Fields::new();
    for (at, field) in table.def.fields.iter().enumerate() {
        let at = FIRST_FIELD + at;
        let value = value(field.kind, row.get_ref(at)?).ok_or_else(|| {
            rusqlite::Error::InvalidColumnType(at, field.name.to_owned(), rusqlite::types::Type::Blob)
        })?;
        if !value.is_null() {
            fields.insert(field.name.to_owned(), value);
        }
    }
    let version =
        Version { rev: Rev(whole(row, 2)?), bucket: Bucket(row.get(3)?), state: row.get(4)?, fields };
    Ok(Stored { n: row.get(0)?, id, version })
}

/// The hash of what a row selected by [`Table::select`] holds.
pub(super) fn contents(table: &Table, id: Uuid, rev: Rev, row: &Row<'_>) -> Result<Sum, StoreError> {
    let mut values = Vec::with_capacity(table.by_name.len());
    for at in &table.by_name {
        let field = &table.def.fields[*at];
        let stored = row.get_ref(FIRST_FIELD + at)?;
        values.push((field.name, value(field.kind, stored).ok_or(StoreError::Corrupt)?));
    }
    Ok(contents_of(table.def.name, id, rev, values.iter().map(|(name, value)| (*name, value))))
}

/// Stores a row in place of what is there; whether that changed anything.
pub(super) fn put(
    connection: &Connection,
    table: &Table,
    id: Uuid,
    old: Option<&Stored>,
    new: &Version,
) -> Result<bool, StoreError> {
    if old.is_some_and(|old| old.version.same(new)) {
        return Ok(false);
    }
    match old {
        Some(old) => update(connection, table, old, new)?,
        None => insert(connection, table, id, new)?,
    }

    let n = old.map_or_else(|| connection.last_insert_rowid(), |old| old.n);
    terms::change(connection, table, n, old.map(|old| &old.version.fields), Some(&new.fields))?;
    Ok(true)
}

fn insert(connection: &Connection, table: &Table, id: Uuid, new: &Version) -> Result<(), StoreError> {
    let (rev, state) = (Whole(new.rev.0), new.state as i64);
    let null = Value::Null;
    let values: Vec<Bound<'_>> =
        table.def.fields.iter().map(|field| Bound(new.fields.get(field.name).unwrap_or(&null))).collect();
    let text = |name| new.fields.get(name).and_then(Value::as_text);
    let sorted: Vec<Option<String>> =
        folded(table.def).map(|field| text(field.name).map(search::fold)).collect();
    let mut params: Vec<&dyn ToSql> = vec![id.as_bytes(), &rev, &new.bucket.0, &state];
    params.extend(values.iter().map(|value| -> &dyn ToSql { value }));
    params.extend(sorted.iter().map(|folded| -> &dyn ToSql { folded }));
    connection.prepare_cached(&table.insert)?.execute(params.as_slice())?;
    Ok(())
}

/// Changes the columns that differ: SQLite takes an entry out of each index on a column that is set, and puts it back,
/// whether its value changes or not.
fn update(connection: &Connection, table: &Table, old: &Stored, new: &Version) -> Result<(), StoreError> {
    let null = Value::Null;
    let before = |name: &str| old.version.fields.get(name).unwrap_or(&null);
    let after = |name: &str| new.fields.get(name).unwrap_or(&null);
    let (rev, state) = (Whole(new.rev.0), new.state as i64);
    let mut sets: Vec<(&str, &dyn ToSql)> = Vec::new();
    if old.version.rev != new.rev {
        sets.push(("_rev", &rev));
    }
    if old.version.bucket != new.bucket {
        sets.push(("_bucket", &new.bucket.0));
    }
    if old.version.state != new.state {
        sets.push(("_state", &state));
    }
    let differing: Vec<(&str, Bound<'_>)> = table
        .def
        .fields
        .iter()
        .filter(|field| before(field.name) != after(field.name))
        .map(|field| (field.name, Bound(after(field.name))))
        .collect();
    sets.extend(differing.iter().map(|(name, value)| -> (&str, &dyn ToSql) { (name, value) }));
    let sorted: Vec<(String, Option<String>)> = folded(table.def)
        .filter(|field| before(field.name) != after(field.name))
        .map(|field| (format!("_folded_{}", field.name), after(field.name).as_text().map(search::fold)))
        .collect();
    sets.extend(sorted.iter().map(|(name, value)| -> (&str, &dyn ToSql) { (name, value) }));
    let mut sql = format!("UPDATE OR FAIL \"{}\" SET ", table.def.name);
    for (at, (name, _)) in sets.iter().enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        let _ = write!(sql, "{comma}\"{name}\" = ?{}", at + 2);
    }
    sql.push_str(" WHERE _n = ?1");
    let params: Vec<&dyn ToSql> =
        std::iter::once(&old.n as &dyn ToSql).chain(sets.iter().map(|(_, value)| *value)).collect();
    connection.prepare_cached(&sql)?.execute(params.as_slice())?;
    Ok(())
}

/// Removes a row.
pub(super) fn remove(connection: &Connection, table: &Table, old: &Stored) -> Result<(), StoreError> {
    let sql = format!("DELETE FROM \"{}\" WHERE _n = ?1", table.def.name);
    connection.prepare_cached(&sql)?.execute([old.n])?;
    terms::change(connection, table, old.n, Some(&old.version.fields), None)
}

/// Adds rows of the server to one table, many at a time.
pub(super) struct Adder<'c> {
    connection: &'c Connection,
    row: CachedStatement<'c>,
}

impl<'c> Adder<'c> {
    pub(super) fn new(connection: &'c Connection, table: &'static Table) -> Result<Self, StoreError> {
        let row = connection.prepare_cached(&table.add)?;
        Ok(Self { connection, row })
    }

    /// Adds a row, but not its terms; its `_n`, or nothing if there is one of this id.
    pub(super) fn add(
        &mut self,
        id: Uuid,
        rev: Rev,
        bucket: &Bucket,
        held: &Held,
    ) -> Result<Option<i64>, StoreError> {
        let row = &mut self.row;
        row.raw_bind_parameter(1, id.as_bytes())?;
        row.raw_bind_parameter(2, Whole(rev.0))?;
        row.raw_bind_parameter(3, &bucket.0)?;
        row.raw_bind_parameter(4, RowState::Clean as i64)?;
        let mut at = 5;
        for value in &held.values {
            row.raw_bind_parameter(at, Bound(value))?;
            at += 1;
        }
        for text in &held.folded {
            row.raw_bind_parameter(at, text)?;
            at += 1;
        }
        if row.raw_execute()? == 0 {
            return Ok(None);
        }
        Ok(Some(self.connection.last_insert_rowid()))
    }
}

impl Version {
    fn same(&self, other: &Self) -> bool {
        (self.rev, self.state) == (other.rev, other.state)
            && self.bucket == other.bucket
            && self.fields == other.fields
    }
}

/// A field's value as a parameter of a statement.
pub(super) struct Bound<'a>(pub(super) &'a Value);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            Value::Null => ToSqlOutput::Owned(rusqlite::types::Value::Null),
            Value::Bool(bool) => ToSqlOutput::from(*bool),
            Value::Int(int) => ToSqlOutput::from(*int),
            Value::Real(real) => ToSqlOutput::from(*real),
            Value::Text(text) => ToSqlOutput::from(text.as_str()),
            Value::Set(words) => serde_json::to_string(words)
                .map(ToSqlOutput::from)
                .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?,
            Value::Id(id) => ToSqlOutput::from(id.as_bytes().as_slice()),
            // Of no field's kind: it is never among fields that were admitted.
            Value::Other {} => {
                return Err(rusqlite::Error::ToSqlConversionFailure("no column holds it".into()));
            }
        })
    }
}

/// A counter as a parameter or a column: SQLite's numbers have a sign.
#[derive(Clone, Copy)]
pub(super) struct Whole(pub(super) u64);

impl ToSql for Whole {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let signed =
            i64::try_from(self.0).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        Ok(ToSqlOutput::from(signed))
    }
}

impl FromSql for Whole {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let signed = value.as_i64()?;
        u64::try_from(signed).map(Self).map_err(|_| FromSqlError::OutOfRange(signed))
    }
}

/// Reads a counter.
pub(super) fn whole(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    row.get(at).map(|Whole(number)| number)
}

fn value(kind: Kind, stored: ValueRef<'_>) -> Option<Value> {
    Some(match (kind, stored) {
        (_, ValueRef::Null) => Value::Null,
        (Kind::Bool, ValueRef::Integer(int)) => Value::Bool(int != 0),
        (Kind::Int | Kind::Time, ValueRef::Integer(int)) => Value::Int(int),
        (Kind::Real, ValueRef::Real(real)) => Value::Real(real),
        (Kind::Text | Kind::Date | Kind::Choice(_), ValueRef::Text(text)) => {
            Value::Text(str::from_utf8(text).ok()?.to_owned())
        }
        (Kind::Set, ValueRef::Text(text)) => Value::Set(serde_json::from_slice(text).ok()?),
        (Kind::Id, ValueRef::Blob(bytes)) => Value::Id(Uuid::from_slice(bytes).ok()?),
        _ => return None,
    })
}

impl FromSql for RowState {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        [Self::Clean, Self::Pending, Self::Rejected]
            .into_iter()
            .find(|state| value == ValueRef::Integer(*state as i64))
            .ok_or(FromSqlError::InvalidType)
    }
}
