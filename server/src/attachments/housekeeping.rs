//! Attachments follow their record: into another territory, away with it, and back. And what nobody needs any more goes.

use super::contents::all_of;
use crate::app::App;
use crate::records::{load, remove_one, restore};
use crate::refusal::Refusal;
use crate::storage::{LogEntry, Result, StorageError, StoredRecord, Waste, WriteTx};
use crate::worker::work;
use chrono::{DateTime, TimeDelta, Utc};
use roundsman_model::attachment::Attachment;
use roundsman_model::{Entity, UserId, Value};
use std::sync::Arc;
use uuid::Uuid;

/// How many names are removed in one go.
const SLICE: usize = 10_000;

/// How long after its last part a content that is not whole is kept: longer than a rep's holidays.
const ABANDONED: TimeDelta = TimeDelta::days(30);

/// How long after the first removal of bytes a second look is taken for a part that was on its way then.
const LOOK_AGAIN: TimeDelta = TimeDelta::hours(1);

/// Takes what is attached to a record along into the territory that it has now.
pub(crate) fn go_along(tx: &mut dyn WriteTx, record: &StoredRecord) -> Result<()> {
    let Some(territory) = record.fields.get("territory").and_then(Value::as_text) else { return Ok(()) };
    for found in tx.attachments_of(record.id)? {
        let Some(mut attached) = load(tx, Attachment::DEF, found.id)? else { continue };
        if attached.bucket == record.bucket {
            continue;
        }
        attached.rev = attached.rev.next();
        tx.append_log(&attached.bucket, &attached.entity, attached.id, LogEntry::Removal(attached.rev))?;
        attached.fields.insert("territory".to_owned(), Value::Text(territory.to_owned()));
        attached.bucket = record.bucket.clone();
        tx.put_record(&attached, "")?;
        tx.append_log(&attached.bucket, &attached.entity, attached.id, LogEntry::Put)?;
    }
    Ok(())
}

/// Removes what is attached to a record that is removed. It comes back with it.
pub(crate) fn go_away(tx: &mut dyn WriteTx, record: Uuid, by: Option<UserId>, at_ms: i64) -> Result<()> {
    for found in tx.attachments_of(record)? {
        if let Some(attached) = load(tx, Attachment::DEF, found.id)? {
            remove_one(tx, attached, by, at_ms, true)?;
        }
    }
    Ok(())
}

/// Brings back what went along with a record; what was removed by itself stays removed.
pub(crate) fn return_with(tx: &mut dyn WriteTx, record: Uuid) -> Result<()> {
    for removal in tx.removed_attachments_of(record)? {
        if removal.along {
            restore(tx, Attachment::DEF, removal)?.map_err(|_| StorageError::Damaged("attachment"))?;
        }
    }
    Ok(())
}

/// Forgets what went with a record that is erased.
pub(crate) fn forget_with(tx: &mut dyn WriteTx, record: Uuid, now: DateTime<Utc>) -> Result<()> {
    for removal in tx.removed_attachments_of(record)? {
        tx.forget_removal(Attachment::DEF.name, removal.record.id)?;
    }
    forget_lost(tx, now)
}

/// Forgets the content, and its key, of attachments that neither stand nor can be brought back.
pub(crate) fn forget_lost(tx: &mut dyn WriteTx, now: DateTime<Utc>) -> Result<()> {
    for attachment in tx.contents_of_nothing()? {
        if let Some(content) = tx.content(attachment)? {
            tx.drop_content(attachment)?;
            leave(tx, all_of(content.object), now)?;
        }
    }
    Ok(())
}

/// Forgets what has come of contents that were begun and not gone on with for long, and with it the room that was kept for
/// them. A phone that comes back after all is told that nothing is there, and begins anew. Returns how many they were.
pub(crate) fn forget_abandoned(tx: &mut dyn WriteTx, now: DateTime<Utc>) -> Result<usize> {
    let abandoned = tx.contents_abandoned((now - ABANDONED).timestamp_millis())?;
    for attachment in &abandoned {
        if let Some(content) = tx.content(*attachment)? {
            tx.drop_content(*attachment)?;
            leave(tx, all_of(content.object), now)?;
        }
    }
    Ok(abandoned.len())
}

/// Notes names that are to be removed after the commit.
pub(crate) fn leave(tx: &mut dyn WriteTx, prefix: String, now: DateTime<Utc>) -> Result<()> {
    tx.add_waste(&Waste { prefix, at_ms: now.timestamp_millis() })
}

/// Removes bytes that belong to nothing any more.
pub(crate) async fn sweep(app: &Arc<App>) -> std::result::Result<(), Refusal> {
    let shared = Arc::clone(app);
    let waste = work(move || Ok(shared.storage.read()?.waste(SLICE)?)).await?;
    let again = (app.now() - LOOK_AGAIN).timestamp_millis();
    let mut gone = Vec::new();
    for Waste { prefix, at_ms } in waste {
        app.contents.remove(&prefix).await?;
        if at_ms <= again {
            gone.push(prefix);
        }
    }
    if gone.is_empty() {
        return Ok(());
    }
    let shared = Arc::clone(app);
    work(move || {
        let mut tx = shared.storage.write()?;
        for prefix in &gone {
            tx.forget_waste(prefix)?;
        }
        Ok(tx.commit()?)
    })
    .await
}
