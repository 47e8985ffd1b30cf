//! Conflicts that nobody has settled: what the server tells of them, and how this device settles one.

use super::edit::{Edits, Made};
use super::schema;
use super::{Store, StoreError};
use crate::Error;
use roundsman_model::collision::{Collision, from_json};
use roundsman_model::{EntityDef, Fields, Value, entity};
use rusqlite::Connection;
use std::collections::HashSet;
use uuid::Uuid;

impl Store {
    /// The conflicts about records of this device that are not settled here, the oldest first.
    pub(crate) fn open_conflicts(&self) -> Result<Vec<(Collision, Value)>, StoreError> {
        self.read(|records| {
            let settled = being_settled(records.connection)?;
            let mut found: Vec<Collision> = records.select(&super::Select::default())?;
            found.retain(|collision| !settled.contains(&collision.id));
            found.sort_by_key(|collision| (collision.found_at, collision.id));
            let mut open = Vec::with_capacity(found.len());
            for collision in found {
                let Some(table) = schema::named(&collision.entity) else { continue };
                if let Some(stored) = super::rows::find(records.connection, table, collision.record)? {
                    let now = stored.version.fields.get(&collision.field).cloned().unwrap_or(Value::Null);
                    open.push((collision, now));
                }
            }
            Ok(open)
        })
    }

    /// Settles a conflict by an ordinary change of its record, which may hold a value for the field; `false` if there is
    /// no such conflict here.
    pub(crate) fn settle_conflict(
        &self,
        id: Uuid,
        value: impl FnOnce(&Collision) -> Result<Option<Value>, Error>,
        made: &Made,
    ) -> Result<bool, Error> {
        self.write(|edits| {
            let Some(collision) = edits.get::<Collision>(id)? else { return Ok(false) };
            if being_settled(edits.connection)?.contains(&id) {
                return Ok(false);
            }
            let def = entity(&collision.entity).ok_or(Error::NotFound)?;
            let change = value(&collision)?.map(|value| (collision.field.clone(), value));
            edits.settle_by(def, &collision, change.into_iter().collect(), made)?;
            Ok(true)
        })
    }
}

impl Edits<'_> {
    fn settle_by(
        &mut self,
        def: &'static EntityDef,
        collision: &Collision,
        change: Fields,
        made: &Made,
    ) -> Result<(), Error> {
        let table = schema::table(def)?;
        super::rows::find(self.connection, table, collision.record)?.ok_or(Error::NotFound)?;
        self.change::<Error>(table, collision.record, None, change, vec![collision.id], made)?;
        Ok(())
    }
}

/// The value that lost, in its field's own kind; nothing if this version can't hold it.
pub(crate) fn lost(collision: &Collision) -> Option<Value> {
    let value = from_json(&collision.lost)?;
    let kind = entity(&collision.entity)?.field(&collision.field)?.kind;
    if value.is_null() { Some(value) } else { kind.coerce(value) }
}

/// The conflicts that changes settle which wait for the server's answer.
fn being_settled(connection: &Connection) -> Result<HashSet<Uuid>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT settles FROM outbox WHERE settles IS NOT NULL AND reason IS NULL")?;
    let mut rows = statement.query([])?;
    let mut settled = HashSet::new();
    while let Some(row) = rows.next()? {
        settled.extend(serde_json::from_str::<Vec<Uuid>>(&row.get::<_, String>(0)?)?);
    }
    Ok(settled)
}
