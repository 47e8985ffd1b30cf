//! Writing records: the way every change takes, from a phone, an import or a plan.

use crate::storage::{LogEntry, RecordsRead, Result, StorageError, StoredConflict, StoredRecord, WriteTx};
use roundsman_model::merge::{Conflict, Edit, Mark, Marks, merge};
use roundsman_model::search::index_text;
use roundsman_model::{DeviceId, EntityDef, Fields, Rev, RuleError, Value};
use uuid::Uuid;

/// What a change of a record leads to.
pub(crate) struct Change {
    pub(crate) record: StoredRecord,
    pub(crate) conflicts: Vec<Conflict>,
    /// Whether the record differs from before.
    pub(crate) differs: bool,
}

/// Reads a record with its fields in their own kinds; `None` if there is none, or if it was removed.
pub(crate) fn load(
    tx: &(impl RecordsRead + ?Sized),
    def: &EntityDef,
    id: Uuid,
) -> Result<Option<StoredRecord>> {
    let Some(mut record) = tx.record(def.name, id)? else { return Ok(None) };
    if record.removed {
        return Ok(None);
    }
    record.fields = def.admit(record.fields).map_err(|_| StorageError::Damaged("record"))?;
    Ok(Some(record))
}

/// Works out what an edit makes of a record, or of none. Nothing is written.
pub(crate) fn change(
    def: &EntityDef,
    before: Option<&StoredRecord>,
    id: Uuid,
    edit: Edit<'_>,
) -> std::result::Result<Change, RuleError> {
    let nothing = (Fields::new(), Marks::new());
    let (old, old_marks) = before.map_or((&nothing.0, &nothing.1), |record| (&record.fields, &record.marks));
    let merged = merge(def, old, old_marks, edit)?;
    let mut fields = old.clone();
    for (name, value) in &merged.changes {
        if value.is_null() {
            fields.remove(name);
        } else {
            fields.insert(name.clone(), value.clone());
        }
    }
    def.check(before.map(|record| &record.fields), &fields)?;
    let bucket = def.bucket(&fields).ok_or(RuleError::NotAllowed)?;
    let differs = before.is_none() || !merged.changes.is_empty();
    let rev = match before {
        Some(record) if !differs => record.rev,
        Some(record) => record.rev.next(),
        None => Rev(1),
    };
    let mut marks = old_marks.clone();
    if before.is_some() {
        // Whoever edits a record has seen its first version or made it, so fields of that version collide with
        // nothing and need no mark.
        let mark = Mark { rev, stamp: edit.stamp, device: edit.device };
        marks.extend(merged.changes.into_keys().map(|name| (name, mark)));
    }
    let record = StoredRecord { entity: def.name.to_owned(), id, rev, bucket, removed: false, fields, marks };
    Ok(Change { record, conflicts: merged.conflicts, differs })
}

/// Writes a change: the record, its search terms, the logs of the buckets it is in and was in, its collisions.
pub(crate) fn store(
    tx: &mut dyn WriteTx,
    def: &EntityDef,
    before: Option<&StoredRecord>,
    change: &Change,
    origin: Option<(DeviceId, i64)>,
) -> Result<()> {
    let record = &change.record;
    if change.differs {
        tx.put_record(record, &index_text(def, &record.fields))?;
        if let Some(before) = before.filter(|before| before.bucket != record.bucket) {
            tx.append_log(&before.bucket, def.name, record.id, LogEntry::Removal(record.rev))?;
        }
        tx.append_log(&record.bucket, def.name, record.id, LogEntry::Put)?;
    }
    if let Some((device, at_ms)) = origin {
        for conflict in &change.conflicts {
            tx.add_conflict(&StoredConflict {
                entity: def.name.to_owned(),
                record: record.id,
                device,
                at_ms,
                conflict: conflict.clone(),
            })?;
        }
    }
    Ok(())
}

/// Removes a record and returns the version of its removal.
pub(crate) fn remove(tx: &mut dyn WriteTx, record: StoredRecord) -> Result<Rev> {
    let rev = record.rev.next();
    let (bucket, entity, id) = (record.bucket.clone(), record.entity.clone(), record.id);
    let gone = StoredRecord { rev, removed: true, fields: Fields::new(), marks: Marks::new(), ..record };
    tx.put_record(&gone, "")?;
    tx.append_log(&bucket, &entity, id, LogEntry::Removal(rev))?;
    Ok(rev)
}

/// A field's text.
pub(crate) fn text(fields: &Fields, name: &str) -> Option<String> {
    fields.get(name).and_then(Value::as_text).map(str::to_owned)
}
