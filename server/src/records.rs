//! Writing records: the way every change takes, from a phone, an import or a plan.

use crate::storage::{
    LogEntry, RecordsRead, Result, StorageError, StoredConflict, StoredRecord, StoredRemoval, WriteTx,
};
use crate::{attachments, collisions};
use roundsman_model::customer::Customer;
use roundsman_model::merge::{Conflict, Edit, Mark, Marks, merge};
use roundsman_model::search::index_text;
use roundsman_model::{DeviceId, Entity, EntityDef, Fields, Rev, RuleError, UserId, Value};
use uuid::Uuid;

/// Whose change it is, for what loses by it.
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) device: DeviceId,
    pub(crate) user: UserId,
    pub(crate) at_ms: i64,
}

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
    tx.record(def.name, id)?.map_or(Ok(None), |record| standing(def, record))
}

/// A record with its fields in their own kinds; `None` if it was removed.
pub(crate) fn standing(def: &EntityDef, record: StoredRecord) -> Result<Option<StoredRecord>> {
    if record.removed { Ok(None) } else { in_kind(def, record).map(Some) }
}

/// A record with its fields in their own kinds, removed or not.
pub(crate) fn in_kind(def: &EntityDef, mut record: StoredRecord) -> Result<StoredRecord> {
    record.fields = def.admit(record.fields).map_err(|_| StorageError::Damaged("record"))?;
    Ok(record)
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
    // A word that is added once more is none in the set, but must outlive a removal that has not seen it.
    let differs = before.is_none() || !merged.changes.is_empty() || !merged.added.is_empty();
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
        for name in &merged.taken {
            marks.remove(name);
        }
        let changed = merged.changes.into_keys();
        marks.extend(changed.chain(merged.added).map(|name| (name, mark)));
        marks.extend(merged.shared.into_iter().map(|name| (name, Mark { device: None, ..mark })));
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
    origin: Option<Origin>,
) -> Result<()> {
    let record = &change.record;
    if change.differs {
        tx.put_record(record, &index_text(def, &record.fields))?;
        if let Some(before) = before.filter(|before| before.bucket != record.bucket) {
            tx.append_log(&before.bucket, def.name, record.id, LogEntry::Removal(record.rev))?;
            collisions::follow(tx, record.id, &record.bucket)?;
            attachments::go_along(tx, record)?;
        }
        tx.append_log(&record.bucket, def.name, record.id, LogEntry::Put)?;
    }
    if let Some(Origin { device, user, at_ms }) = origin {
        let nothing = Marks::new();
        let marks = before.map_or(&nothing, |before| &before.marks);
        for conflict in &change.conflicts {
            #[cfg(feature = "planted-bugs")]
            if crate::simulation::once(crate::simulation::Bug::LoseOneConflict) {
                continue;
            }
            tx.add_conflict(&StoredConflict {
                entity: def.name.to_owned(),
                record: record.id,
                device,
                at_ms,
                conflict: conflict.clone(),
            })?;
            collisions::keep(tx, record, marks, conflict, user, at_ms)?;
        }
    }
    Ok(())
}

/// Removes a record and what is attached to it, and returns the version of its removal. What they held is kept for a while.
pub(crate) fn remove(
    tx: &mut dyn WriteTx,
    record: StoredRecord,
    by: Option<UserId>,
    at_ms: i64,
) -> Result<Rev> {
    attachments::go_away(tx, record.id, by, at_ms)?;
    remove_one(tx, record, by, at_ms, false)
}

/// Removes a record alone. `along` is whether it goes with the one that it is attached to.
pub(crate) fn remove_one(
    tx: &mut dyn WriteTx,
    record: StoredRecord,
    by: Option<UserId>,
    at_ms: i64,
    along: bool,
) -> Result<Rev> {
    let kept = StoredRecord { rev: record.rev.next(), removed: true, ..record.clone() };
    tx.keep_removal(&StoredRemoval { record: kept, at_ms, by, along })?;
    strike(tx, record)
}

/// Brings a removed record back as it was; the version it has now. Nothing if it was erased, or removed too long ago.
pub(crate) fn restore(
    tx: &mut dyn WriteTx,
    def: &EntityDef,
    removal: StoredRemoval,
) -> Result<std::result::Result<Rev, RuleError>> {
    let mut record = in_kind(def, removal.record)?;
    if let Err(taken) = code_is_free(tx, def, record.id, &record.fields)? {
        return Ok(Err(taken));
    }
    (record.removed, record.rev) = (false, record.rev.next());
    tx.put_record(&record, &index_text(def, &record.fields))?;
    tx.append_log(&record.bucket, def.name, record.id, LogEntry::Put)?;
    tx.forget_removal(def.name, record.id)?;
    attachments::return_with(tx, record.id)?;
    Ok(Ok(record.rev))
}

/// Whether no other customer has this one's code.
pub(crate) fn code_is_free(
    tx: &(impl RecordsRead + ?Sized),
    def: &EntityDef,
    id: Uuid,
    fields: &Fields,
) -> Result<std::result::Result<(), RuleError>> {
    if def.name != Customer::DEF.name {
        return Ok(Ok(()));
    }
    let code = fields.get("code").and_then(Value::as_text).unwrap_or_default();
    let other = tx.customer_by_code(code)?.filter(|other| other.id != id);
    Ok(other.map_or(Ok(()), |_| Err(RuleError::Taken { field: "code".to_owned() })))
}

/// Takes a record out of everything, for good.
pub(crate) fn strike(tx: &mut dyn WriteTx, record: StoredRecord) -> Result<Rev> {
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
