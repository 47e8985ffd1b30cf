//! Collisions of edits, and their settlement.

use super::records::customer_name;
use super::{Admin, AdminError, actor_name, allow, record, time};
use crate::collisions;
use crate::records::{self, change, load};
use crate::storage::{ReadTx, StorageError, StoredRecord};
use chrono::{DateTime, Utc};
use roundsman_model::collision::{Collision, from_json};
use roundsman_model::merge::Edit;
use roundsman_model::visit::Visit;
use roundsman_model::{Entity, Fields, HybridClock, Merge, UserId, Value, entity};
use uuid::Uuid;

/// A value that lost in a collision of two edits, and waits for somebody to decide.
#[derive(Clone, Debug)]
pub struct ConflictView {
    /// Its id.
    pub id: Uuid,
    /// The entity.
    pub entity: String,
    /// The record.
    pub record: Uuid,
    /// The customer's name, of the record itself or of the visit's customer.
    pub customer_name: String,
    /// The field.
    pub field: String,
    /// The value that stood when it was found.
    pub kept: Value,
    /// The value that stands now.
    pub now: Value,
    /// The value that lost.
    pub lost: Value,
    /// The rule that decided; none that this version knows otherwise.
    pub rule: Option<Merge>,
    /// Whose value stood.
    pub winner: String,
    /// Whose value lost.
    pub loser: String,
    /// When the server found it.
    pub at: DateTime<Utc>,
}

/// What becomes of a conflict.
#[derive(Clone, Debug, PartialEq)]
pub enum Settlement {
    /// The field stays as it is now.
    Keep,
    /// The value that lost is put into the field.
    TakeLost,
    /// Another value is.
    Write(Value),
}

impl Admin {
    /// The conflicts that nobody has settled, the latest first.
    ///
    /// # Errors
    /// [`AdminError::Storage`].
    pub fn conflicts(&self, limit: usize) -> Result<Vec<ConflictView>, AdminError> {
        let tx = self.app.storage.read()?;
        tx.newest(Collision::DEF.name, limit)?.into_iter().map(|stored| view(tx.as_ref(), stored)).collect()
    }

    /// One conflict that nobody has settled.
    ///
    /// # Errors
    /// [`AdminError::Storage`].
    pub fn conflict(&self, id: Uuid) -> Result<Option<ConflictView>, AdminError> {
        let tx = self.app.storage.read()?;
        load(tx.as_ref(), Collision::DEF, id)?.map(|stored| view(tx.as_ref(), stored)).transpose()
    }

    /// Settles a conflict for everybody; the devices follow with their next sync.
    ///
    /// # Errors
    /// [`AdminError::NotFound`] if it is settled already, or if its record is gone and a value should be put into it;
    /// [`AdminError::Rule`] if the record can't have that value. The conflict stays then.
    pub fn settle_conflict(&self, actor: UserId, id: Uuid, settlement: Settlement) -> Result<(), AdminError> {
        let now = self.app.now();
        let mut tx = self.app.storage.write()?;
        allow(tx.as_ref(), actor)?;
        let stored = load(tx.as_ref(), Collision::DEF, id)?.ok_or(AdminError::NotFound)?;
        let collision = typed(&stored)?;
        let value = match settlement {
            Settlement::Keep => None,
            Settlement::TakeLost => {
                Some(from_json(&collision.lost).ok_or(StorageError::Damaged("collision"))?)
            }
            Settlement::Write(value) => Some(value),
        };
        if let Some(value) = value {
            let def = entity(&collision.entity).ok_or(AdminError::NotFound)?;
            let before = load(tx.as_ref(), def, collision.record)?.ok_or(AdminError::NotFound)?;
            let fields = def.admit(Fields::from([(collision.field.clone(), value)]))?;
            let mark = before.marks.get(&collision.field).map(|mark| mark.stamp).unwrap_or_default();
            let stamp = HybridClock::resume(mark).tick(now);
            let edit = Edit { fields: &fields, was: &before.fields, base: before.rev, stamp, device: None };
            let changed = change(def, Some(&before), before.id, edit)?;
            records::code_is_free(tx.as_ref(), def, before.id, &changed.record.fields)??;
            records::store(tx.as_mut(), def, Some(&before), &changed, None)?;
        }
        collisions::settle(tx.as_mut(), collision.record, &[id])?;
        record(tx.as_mut(), actor, "settle_conflict", id, now)?;
        Ok(tx.commit()?)
    }
}

fn typed(stored: &StoredRecord) -> Result<Collision, AdminError> {
    let damaged = |_| StorageError::Damaged("collision");
    let fields = Collision::DEF.admit(stored.fields.clone()).map_err(damaged)?;
    Ok(Collision::from_fields(stored.id, &fields).map_err(damaged)?)
}

fn view(tx: &dyn ReadTx, stored: StoredRecord) -> Result<ConflictView, AdminError> {
    let collision = typed(&stored)?;
    let def = entity(&collision.entity);
    let record = def.map(|def| load(tx, def, collision.record)).transpose()?.flatten();
    let fields = record.map(|record| record.fields).unwrap_or_default();
    let customer = if collision.entity == Visit::DEF.name {
        fields.get("customer").and_then(Value::as_id)
    } else {
        Some(collision.record)
    };
    let kind = def.and_then(|def| def.field(&collision.field)).map(|field| field.kind);
    let value = |json: &str| {
        let value = from_json(json).unwrap_or(Value::Null);
        kind.and_then(|kind| kind.coerce(value.clone())).unwrap_or(value)
    };
    let name =
        |user: Option<Uuid>| user.map_or(Ok("the office".to_owned()), |user| actor_name(tx, UserId(user)));
    Ok(ConflictView {
        id: collision.id,
        customer_name: customer_name(tx, customer)?,
        kept: value(&collision.kept),
        now: fields.get(&collision.field).cloned().unwrap_or(Value::Null),
        lost: value(&collision.lost),
        rule: serde_json::from_value(collision.rule.into()).ok(),
        winner: name(collision.winner)?,
        loser: name(collision.loser)?,
        at: time(collision.found_at.timestamp_millis()),
        entity: collision.entity,
        record: collision.record,
        field: collision.field,
    })
}
