//! The server's version of records that have entries in the outbox.
//!
//! What the rep sees is that version with the entries laid over it in order. So a change from elsewhere slides
//! under the rep's unsent work, and an entry that is discarded uncovers what the server has.

use super::edit::{Edits, bucket, lay};
use super::rows::{self, RowState, Version, Whole};
use super::schema::Table;
use super::{Entry, StoreError, outbox};
use roundsman_model::{Bucket, EntityDef, Fields, Rev, Value};
use roundsman_protocol::sync::Change;
use rusqlite::{Connection, OptionalExtension};
use uuid::Uuid;

/// A record as the server has it.
pub(super) struct Shadow {
    pub(super) rev: Rev,
    pub(super) bucket: Bucket,
    /// Nothing if the server does not have the record.
    pub(super) fields: Option<Fields>,
}

/// Keeps the server's version of a record.
pub(super) fn keep(
    connection: &Connection,
    def: &EntityDef,
    record: Uuid,
    rev: Rev,
    bucket: &Bucket,
    fields: Option<&Fields>,
) -> Result<(), StoreError> {
    let fields = fields.map(serde_json::to_string).transpose()?;
    let row = (def.name, record.as_bytes(), Whole(rev.0), &bucket.0, fields.as_deref());
    let insert = "INSERT OR FAIL INTO shadow VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING";
    if connection.prepare_cached(insert)?.execute(row)? == 0 {
        let update =
            "UPDATE OR FAIL shadow SET rev = ?3, bucket = ?4, fields = ?5 WHERE entity = ?1 AND record = ?2";
        connection.prepare_cached(update)?.execute(row)?;
    }
    Ok(())
}

/// The server's version of a record that has entries in the outbox.
pub(super) fn find(
    connection: &Connection,
    def: &EntityDef,
    record: Uuid,
) -> Result<Option<Shadow>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT rev, bucket, fields FROM shadow WHERE entity = ?1 AND record = ?2")?;
    let found = statement
        .query_row((def.name, record.as_bytes()), |row| {
            Ok((Rev(rows::whole(row, 0)?), Bucket(row.get(1)?), row.get::<_, Option<String>>(2)?))
        })
        .optional()?;
    let Some((rev, bucket, fields)) = found else { return Ok(None) };
    let fields = fields.map(|json| serde_json::from_str(&json)).transpose()?;
    Ok(Some(Shadow { rev, bucket, fields: fields.map(|fields| def.tolerate(fields)) }))
}

/// Forgets the server's version of a record.
pub(super) fn forget(connection: &Connection, def: &EntityDef, record: Uuid) -> Result<(), StoreError> {
    connection
        .prepare_cached("DELETE FROM shadow WHERE entity = ?1 AND record = ?2")?
        .execute((def.name, record.as_bytes()))?;
    Ok(())
}

/// The same for many records of one entity.
pub(super) fn forget_all(connection: &Connection, entity: &str, records: &[Uuid]) -> Result<(), StoreError> {
    let ids: Vec<String> = records.iter().map(|record| record.simple().to_string()).collect();
    connection
        .prepare_cached(
            "DELETE FROM shadow WHERE entity = ?1 AND record IN (SELECT unhex(value) FROM json_each(?2))",
        )?
        .execute((entity, serde_json::to_string(&ids)?))?;
    Ok(())
}

/// Forgets the server's versions in every bucket but these: of records that were removed here, and have no row.
pub(super) fn keep_buckets(connection: &Connection, buckets: &[Bucket]) -> Result<(), StoreError> {
    let known: Vec<Bucket> = {
        let mut statement = connection.prepare_cached("SELECT DISTINCT bucket FROM shadow")?;
        let rows = statement.query_map([], |row| row.get(0).map(Bucket))?;
        rows.collect::<Result<_, _>>()?
    };
    for gone in known.iter().filter(|bucket| !buckets.contains(bucket)) {
        connection.execute("DELETE FROM shadow WHERE bucket = ?1", [&gone.0])?;
    }
    Ok(())
}

impl Edits<'_> {
    /// Makes a record what it should be: the server's version with the outbox laid over it.
    pub(super) fn rebuild(&mut self, table: &Table, record: Uuid) -> Result<(), StoreError> {
        let connection = self.connection;
        // Without a server's version the record has left this device; its entries are only waiting to be sent.
        let Some(shadow) = find(connection, table.def, record)? else { return Ok(()) };
        let entries = outbox::of_record(connection, table.def, record)?;
        if entries.is_empty() {
            forget(connection, table.def, record)?;
        }
        self.lay_over(table, record, shadow, &entries)
    }

    /// Makes a record the server's version with these entries laid over it.
    pub(super) fn lay_over(
        &mut self,
        table: &Table,
        record: Uuid,
        shadow: Shadow,
        entries: &[Entry],
    ) -> Result<(), StoreError> {
        let connection = self.connection;
        let known = shadow.fields.is_some();
        let mut fields = shadow.fields.unwrap_or_default();
        let mut state = RowState::Clean;
        let mut taken_away = false;
        for entry in entries {
            if entry.reason.is_none() {
                taken_away = entry.change == Change::Delete;
            }
            lay(table.def, &mut fields, &entry.fields, &entry.was);
            if entry.reason.is_some() {
                state = RowState::Rejected;
            } else if state == RowState::Clean {
                state = RowState::Pending;
            }
        }
        let stored = rows::find(connection, table, record)?;
        if whole(table.def, &fields) && !taken_away {
            let bucket = if known { shadow.bucket } else { bucket(table.def, &fields) };
            let version = Version { rev: shadow.rev, bucket, state, fields };
            if rows::put(connection, table, record, stored.as_ref(), &version)? {
                self.note(table, record);
            }
        } else if let Some(stored) = stored {
            // It was removed here; or the change that made it was discarded, and the server never had it.
            rows::remove(connection, table, &stored)?;
            self.note(table, record);
        }
        Ok(())
    }
}

/// The fields of a change that this version of the app knows and can hold, with those that were emptied.
pub(super) fn tolerate_change(def: &EntityDef, fields: Fields) -> Fields {
    let held = |(name, value): (String, Value)| {
        let empties = value.is_null();
        let value = def.field(&name)?.tolerate(value);
        (empties || !value.is_null()).then_some((name, value))
    };
    fields.into_iter().filter_map(held).collect()
}

/// Whether the fields make a record that this version of the app can show.
pub(super) fn whole(def: &EntityDef, fields: &Fields) -> bool {
    def.fields.iter().all(|field| !field.required || fields.contains_key(field.name))
}
