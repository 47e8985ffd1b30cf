//! Collisions that nobody has settled: records of their own, which reach every phone that holds the record they are
//! about.

use crate::records;
use crate::storage::{LogEntry, Result, StorageError, StoredRecord, WriteTx};
use roundsman_model::collision::{Collision, to_json};
use roundsman_model::merge::{Conflict, Marks};
use roundsman_model::{Bucket, Entity, FieldType, Fields, Rev, UserId, Value};
use uuid::Uuid;

/// Keeps what lost when the author's edit met `record`, whose marks were `before`. The same loss is kept once.
pub(crate) fn keep(
    tx: &mut dyn WriteTx,
    record: &StoredRecord,
    before: &Marks,
    conflict: &Conflict,
    author: UserId,
    at_ms: i64,
) -> Result<()> {
    let lost = to_json(&conflict.lost);
    let same =
        |name: &str, fields: &Fields, value: &str| fields.get(name).and_then(Value::as_text) == Some(value);
    let known = tx.collisions_of(record.id)?;
    if known
        .iter()
        .any(|known| same("field", &known.fields, &conflict.field) && same("lost", &known.fields, &lost))
    {
        return Ok(());
    }
    let other = before.get(&conflict.field).and_then(|mark| mark.device);
    let other = other.map(|device| tx.device(device)).transpose()?.flatten().map(|device| device.user.0);
    let (winner, loser) =
        if conflict.lost_is_mine { (other, Some(author.0)) } else { (Some(author.0), other) };
    let rule = serde_json::to_value(conflict.rule).map_err(|_| StorageError::Damaged("rule"))?;
    let fields = [
        ("entity", Value::Text(record.entity.clone())),
        ("record", Value::Id(record.id)),
        ("field", Value::Text(conflict.field.clone())),
        ("kept", Value::Text(to_json(&conflict.kept))),
        ("lost", Value::Text(lost)),
        ("rule", rule.as_str().unwrap_or_default().into()),
        ("loser", loser.to_value()),
        ("winner", winner.to_value()),
        ("found_at", Value::Int(at_ms)),
    ];
    let fields: Fields = fields
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    let collision = StoredRecord {
        entity: Collision::DEF.name.to_owned(),
        id: crate::random::uuid(),
        rev: Rev(1),
        bucket: record.bucket.clone(),
        removed: false,
        fields,
        marks: Marks::new(),
    };
    tx.put_record(&collision, "")?;
    tx.append_log(&collision.bucket, &collision.entity, collision.id, LogEntry::Put)?;
    Ok(())
}

/// Takes a record's collisions along into its new bucket.
pub(crate) fn follow(tx: &mut dyn WriteTx, record: Uuid, to: &Bucket) -> Result<()> {
    for mut collision in tx.collisions_of(record)? {
        collision.rev = collision.rev.next();
        tx.append_log(&collision.bucket, &collision.entity, collision.id, LogEntry::Removal(collision.rev))?;
        collision.bucket = to.clone();
        tx.put_record(&collision, "")?;
        tx.append_log(to, &collision.entity, collision.id, LogEntry::Put)?;
    }
    Ok(())
}

/// Settles these collisions of a record, for everybody. What was settled before stays so.
pub(crate) fn settle(tx: &mut dyn WriteTx, record: Uuid, ids: &[Uuid]) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    for collision in tx.collisions_of(record)?.into_iter().filter(|collision| ids.contains(&collision.id)) {
        records::strike(tx, collision)?;
    }
    Ok(())
}
