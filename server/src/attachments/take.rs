//! Taking content in.

use super::contents::{all_of, parts_of};
use super::housekeeping::leave;
use super::rescued;
use super::seal;
use crate::admin::DeviceStatus;
use crate::app::App;
use crate::random;
use crate::records::{self, load};
use crate::refusal::Refusal;
use crate::storage::{ReadTx, StorageError, StoredContent, StoredRecord, StoredRemoval, Waste, WriteTx};
use crate::tokens;
use crate::worker::work;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use roundsman_model::attachment::Attachment;
use roundsman_model::merge::Edit;
use roundsman_model::{DeviceId, Entity, FieldType, Fields, Stamp, UserId};
use roundsman_protocol::ErrorCode;
use roundsman_protocol::attachment::{PART, UploadAnswer, part_size};
use roundsman_protocol::keys::DeviceKey;
use std::sync::Arc;
use uuid::Uuid;

/// A part of a content, and who sends it.
pub(crate) struct Part {
    pub(crate) key: DeviceKey,
    pub(crate) access: String,
    pub(crate) attachment: Uuid,
    pub(crate) offset: u64,
    pub(crate) bytes: Bytes,
}

/// Takes a part in, if it is the one that is waited for, and finishes after the last one.
pub(crate) async fn take(app: &Arc<App>, part: Part) -> Result<UploadAnswer, Refusal> {
    let (shared, bytes, offset) = (Arc::clone(app), part.bytes.clone(), part.offset);
    let mut content = work(move || begin(&shared, &part)).await?;
    if content.stored {
        return Ok(UploadAnswer { received: content.size, stored: true });
    }
    let expected = part_size(content.size, offset);
    if offset == content.received && expected > 0 {
        if bytes.len() as u64 != expected {
            return Err(ErrorCode::Malformed.into());
        }
        app.contents.put_part(&content, offset / PART, &bytes).await?;
        let shared = Arc::clone(app);
        content = work(move || received(&shared, content, expected)).await?;
    }
    if content.received < content.size {
        return Ok(UploadAnswer { received: content.received, stored: false });
    }
    // Goes on if whoever asked has lost patience, and is told the next time.
    tokio::spawn(finish(Arc::clone(app), content)).await.map_err(|_| Refusal::Worker)?
}

/// Looks who sends it, and what there is already.
fn begin(app: &App, part: &Part) -> Result<StoredContent, Refusal> {
    let now_ms = app.now().timestamp_millis();
    let tx = app.storage.read()?;
    let sender = sender(tx.as_ref(), part, now_ms)?;
    let wanted = wanted(tx.as_ref(), part.attachment, sender.1)?;
    if let Some(content) = tx.content(part.attachment)? {
        return Ok(content);
    }
    drop(tx);
    let mut tx = app.storage.write()?;
    // Another request may have been faster.
    if let Some(content) = tx.content(part.attachment)? {
        return Ok(content);
    }
    let content = StoredContent {
        attachment: part.attachment,
        device: sender.0,
        object: Uuid::from_bytes(random::bytes()?),
        key: seal::new_key()?,
        size: wanted.bytes(),
        received: 0,
        stored: false,
        moved_ms: now_ms,
    };
    let limits = app.contents.limits;
    if content.size > limits.one {
        return Err(ErrorCode::TooLarge.into());
    }
    let fits = |used: u64, most: u64| content.size <= most.saturating_sub(used);
    if !fits(tx.content_bytes(Some(sender.0))?, limits.device) || !fits(tx.content_bytes(None)?, limits.all) {
        return Err(ErrorCode::AttachmentsFull.into());
    }
    tx.put_content(&content)?;
    tx.commit()?;
    Ok(content)
}

/// The device and the user, if they may send anything: work from before a lock or a wipe is the rep's, and is taken.
fn sender(tx: &dyn ReadTx, part: &Part, now_ms: i64) -> Result<(DeviceId, UserId), Refusal> {
    let device = tokens::authorise(tx, &part.key, &part.access, now_ms)?;
    match device.status {
        DeviceStatus::Active | DeviceStatus::LockPending | DeviceStatus::WipePending => {
            Ok((device.id, device.user))
        }
        _ => Err(ErrorCode::DeviceBlocked.into()),
    }
}

/// The record that content belongs to.
enum Of {
    Standing(StoredRecord),
    /// It was removed, most often with what it was attached to, and can be brought back: whoever added it may not have had
    /// signal since, and no other has its content.
    Removed(StoredRemoval),
}

impl Of {
    fn find(tx: &dyn ReadTx, attachment: Uuid) -> Result<Self, Refusal> {
        if let Some(record) = load(tx, Attachment::DEF, attachment)? {
            return Ok(Self::Standing(record));
        }
        let removal = tx.removal(Attachment::DEF.name, attachment)?.ok_or(ErrorCode::NotFound)?;
        let record = records::in_kind(Attachment::DEF, removal.record)?;
        Ok(Self::Removed(StoredRemoval { record, ..removal }))
    }

    fn record(&self) -> &StoredRecord {
        match self {
            Self::Standing(record) | Self::Removed(StoredRemoval { record, .. }) => record,
        }
    }
}

/// What is waited for, if this user is its author. They need not have its territory any more.
fn wanted(tx: &dyn ReadTx, attachment: Uuid, user: UserId) -> Result<Attachment, Refusal> {
    let wanted = described(Of::find(tx, attachment)?.record())?;
    if wanted.author == user.0 { Ok(wanted) } else { Err(ErrorCode::NotFound.into()) }
}

pub(super) fn described(record: &StoredRecord) -> Result<Attachment, StorageError> {
    Attachment::from_fields(record.id, &record.fields).map_err(|_| StorageError::Damaged("attachment"))
}

/// Notes that a part has come, unless the same one was faster by another way.
fn received(app: &App, sent: StoredContent, bytes: u64) -> Result<StoredContent, Refusal> {
    let mut tx = app.storage.write()?;
    let mut content = tx.content(sent.attachment)?.ok_or(ErrorCode::NotFound)?;
    if (content.object, content.received) == (sent.object, sent.received) {
        content.received += bytes;
        content.moved_ms = app.now().timestamp_millis();
        tx.put_content(&content)?;
        tx.commit()?;
    }
    Ok(content)
}

/// Puts the content together and looks whether it is the right one.
pub(super) async fn finish(app: Arc<App>, content: StoredContent) -> Result<UploadAnswer, Refusal> {
    let (size, object) = (content.size, content.object);
    let hash = match app.contents.assemble(&content).await {
        Ok(hash) => Some(hash),
        // Another request has finished it and taken the parts away, or the storage has lost or changed some.
        Err(Refusal::Object(error)) => {
            tracing::warn!(%error, "the parts of an attachment could not be put together");
            None
        }
        Err(error) => return Err(error),
    };
    let shared = Arc::clone(&app);
    let stored = work(move || settle(&shared, &content, hash)).await?;
    let needless = if stored { parts_of(object) } else { all_of(object) };
    if let Err(error) = app.contents.remove(&needless).await {
        // The next hour's look finds them.
        tracing::warn!(%error, object = %object.simple(), "bytes that nobody needs are still there");
    }
    if stored { Ok(UploadAnswer { received: size, stored }) } else { Err(ErrorCode::ContentDiffers.into()) }
}

/// Writes down how it ended: stored, with the record saying so, or thrown away. A storage that failed throws nothing away.
fn settle(app: &App, content: &StoredContent, hash: Option<[u8; 32]>) -> Result<bool, Refusal> {
    let now = app.now();
    let mut tx = app.storage.write()?;
    let kept = tx.content(content.attachment)?.filter(|kept| kept.object == content.object);
    let Some(mut kept) = kept else {
        // It was removed meanwhile, and what was put together just now goes too.
        leave(tx.as_mut(), all_of(content.object), now)?;
        tx.commit()?;
        return Err(ErrorCode::NotFound.into());
    };
    if kept.stored {
        return Ok(true);
    }
    let hash = hash.ok_or(ErrorCode::Busy)?;
    let of = Of::find(tx.as_ref(), content.attachment)?;
    if described(of.record())?.hash() != Some(hash) {
        tx.drop_content(content.attachment)?;
        leave(tx.as_mut(), all_of(content.object), now)?;
        tx.commit()?;
        return Ok(false);
    }
    kept.stored = true;
    tx.put_content(&kept)?;
    tx.add_waste(&Waste { prefix: parts_of(content.object), at_ms: now.timestamp_millis() })?;
    mark(tx.as_mut(), of, now)?;
    rescued::is_known(tx.as_mut(), content, now)?;
    tx.commit()?;
    Ok(true)
}

/// Lets every phone know that it is there, or will be with a record that is brought back.
fn mark(tx: &mut dyn WriteTx, of: Of, now: DateTime<Utc>) -> Result<(), Refusal> {
    let fields = Fields::from([("stored_at".to_owned(), now.to_value())]);
    let record = match of {
        Of::Standing(record) => record,
        Of::Removed(mut removal) => {
            removal.record.fields.extend(fields);
            return Ok(tx.keep_removal(&removal)?);
        }
    };
    let stamp = Stamp((now.timestamp_millis().max(0) as u64) << 16);
    let edit = Edit { fields: &fields, was: &Fields::new(), base: record.rev, stamp, device: None };
    let change = records::change(Attachment::DEF, Some(&record), record.id, edit)
        .map_err(|_| StorageError::Damaged("attachment"))?;
    Ok(records::store(tx, Attachment::DEF, Some(&record), &change, None)?)
}
