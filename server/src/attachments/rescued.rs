//! Attachments that devices hand over: the file as it lay there comes in part by part, and its content is filed as an
//! upload would be once its key is opened and its record is here.

use super::contents::{all_of, parts_of};
use super::housekeeping::leave;
use super::seal;
use super::take::{described, finish};
use crate::app::App;
use crate::random;
use crate::records::load;
use crate::refusal::Refusal;
use crate::storage::{self, PhotoState, StoredContent, StoredPhoto, WriteTx};
use crate::worker::work;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use roundsman_model::attachment::Attachment;
use roundsman_model::{DeviceId, Entity};
use roundsman_protocol::ErrorCode;
use roundsman_protocol::attachment::{PART, UploadAnswer};
use roundsman_protocol::keys::DeviceKey;
use roundsman_protocol::rescue_photo::{OpenedKey, PhotoError, SignedPart};
use roundsman_protocol::sealed_file::{Chunks, FileError, HEADER, Header, PREFIX, TAG, padded};
use std::sync::Arc;
use uuid::Uuid;
use zeroize::Zeroizing;

/// The most bytes kept of one device until its photos are filed: 1 GiB, twice what a device keeps as it comes.
pub(super) const MAX_KEPT: u64 = 1 << 30;

/// A part of a file, and who sends it to which place.
pub(crate) struct PhotoPart {
    pub(crate) key: DeviceKey,
    pub(crate) file: Uuid,
    pub(crate) offset: u64,
    pub(crate) raw: Bytes,
}

/// Takes a part of a file in, if it is the one that is waited for. The state of the device doesn't matter.
///
/// # Errors
/// It is not this device's, or no part of the file that is known under this name; the file is larger than an attachment
/// may be, or the device has as much here as is kept of one ([`ErrorCode::RescueFull`]).
pub(crate) async fn take_photo(app: &Arc<App>, part: PhotoPart) -> Result<UploadAnswer, Refusal> {
    let shared = Arc::clone(app);
    let (mut photo, offset, bytes) = work(move || begin(&shared, &part)).await?;
    if photo.state == PhotoState::Coming && offset == photo.received && !bytes.is_empty() {
        app.contents.put_part(&shelf(&photo), offset / PART, &bytes).await?;
        let (shared, length) = (Arc::clone(app), bytes.len() as u64);
        photo = work(move || received(&shared, photo, length)).await?;
    }
    if photo.state != PhotoState::Coming {
        return Ok(UploadAnswer { received: photo.size, stored: true });
    }
    if photo.received < photo.size {
        return Ok(UploadAnswer { received: photo.received, stored: false });
    }
    // Goes on if whoever asked has lost patience, and is told the next time.
    tokio::spawn(close(Arc::clone(app), photo)).await.map_err(|_| Refusal::Worker)?
}

/// Looks whose part it is and what there is already. The part's place and its bytes.
fn begin(app: &App, part: &PhotoPart) -> Result<(StoredPhoto, u64, Vec<u8>), Refusal> {
    let tx = app.storage.read()?;
    let device = tx.device_by_key(part.key.thumbprint())?.ok_or(ErrorCode::DeviceUnknown)?;
    let org = app.keys(tx.as_ref())?.org();
    drop(tx);
    let (sealed, signed) = SignedPart::open(&part.raw, &device.key).map_err(|error| match error {
        PhotoError::TooLarge => ErrorCode::TooLarge,
        _ => ErrorCode::Malformed,
    })?;
    let head = sealed.head;
    let named = (head.org, head.device, head.file, signed.offset);
    if named != (org, device.id, part.file, part.offset) {
        return Err(ErrorCode::Malformed.into());
    }
    // Most parts are of a file that is known, and find nothing to write yet.
    if let Some(known) = app.storage.read()?.photo(device.id, head.file)?
        && (known.attachment, known.size, &known.sealed_key) == (head.attachment, signed.size, &signed.key)
    {
        return Ok((known, signed.offset, signed.bytes));
    }
    let mut tx = app.storage.write()?;
    let photo = match tx.photo(device.id, head.file)? {
        Some(known) => {
            if (known.attachment, known.size) != (head.attachment, signed.size) {
                tracing::warn!(device = %device.id, "a photo differs from the one of the same name");
                return Err(ErrorCode::Malformed.into());
            }
            if known.sealed_key == signed.key || known.opened_ms.is_some() {
                return Ok((known, signed.offset, signed.bytes));
            }
            // The device has sealed it anew, to a newer rescue key perhaps.
            StoredPhoto { sealed_key: signed.key, ..known }
        }
        None => {
            let one = app.contents.limits.one;
            if signed.size > Header::new(Uuid::nil(), [0; PREFIX], one).stored() {
                return Err(ErrorCode::TooLarge.into());
            }
            if tx.photo_bytes(device.id)?.saturating_add(signed.size) > MAX_KEPT {
                tracing::warn!(device = %device.id, "a device has handed over as many photos as are kept of one");
                return Err(ErrorCode::RescueFull.into());
            }
            StoredPhoto {
                device: device.id,
                file: head.file,
                attachment: head.attachment,
                sealed_key: signed.key,
                object: Uuid::from_bytes(random::bytes()?),
                key: seal::new_key()?,
                size: signed.size,
                received: 0,
                state: PhotoState::Coming,
                opened_key: Zeroizing::default(),
                moved_ms: app.now().timestamp_millis(),
                opened_ms: None,
            }
        }
    };
    tx.put_photo(&photo)?;
    tx.commit()?;
    Ok((photo, signed.offset, signed.bytes))
}

/// How a photo's bytes lie in the object storage.
fn shelf(photo: &StoredPhoto) -> StoredContent {
    StoredContent {
        attachment: photo.attachment,
        device: photo.device,
        object: photo.object,
        key: photo.key.clone(),
        size: photo.size,
        received: photo.received,
        stored: photo.state != PhotoState::Coming,
        moved_ms: photo.moved_ms,
    }
}

/// Notes that a part has come, unless the same one was faster by another way.
fn received(app: &App, sent: StoredPhoto, bytes: u64) -> Result<StoredPhoto, Refusal> {
    let mut tx = app.storage.write()?;
    let mut photo = tx.photo(sent.device, sent.file)?.ok_or(ErrorCode::Busy)?;
    if (photo.object, photo.received, photo.state) == (sent.object, sent.received, PhotoState::Coming) {
        photo.received += bytes;
        photo.moved_ms = app.now().timestamp_millis();
        tx.put_photo(&photo)?;
        tx.commit()?;
    }
    Ok(photo)
}

/// Puts the parts of a file together. From then on the device may remove its own.
async fn close(app: Arc<App>, photo: StoredPhoto) -> Result<UploadAnswer, Refusal> {
    let whole = match app.contents.assemble(&shelf(&photo)).await {
        Ok(_) => true,
        // Another request has put them together and taken them away, or the storage has lost or changed some.
        Err(Refusal::Object(error)) => {
            tracing::warn!(%error, "the parts of a photo could not be put together");
            false
        }
        Err(error) => return Err(error),
    };
    let (shared, object, size) = (Arc::clone(&app), photo.object, photo.size);
    work(move || {
        let now = shared.now();
        let mut tx = shared.storage.write()?;
        let known = tx.photo(photo.device, photo.file)?.filter(|known| known.object == photo.object);
        let known = known.ok_or(ErrorCode::Busy)?;
        if known.state != PhotoState::Coming {
            return Ok(());
        }
        if !whole {
            return Err(ErrorCode::Busy.into());
        }
        tx.put_photo(&StoredPhoto { state: PhotoState::Sealed, ..known })?;
        leave(tx.as_mut(), parts_of(object), now)?;
        Ok(tx.commit()?)
    })
    .await?;
    if let Err(error) = app.contents.remove(&parts_of(object)).await {
        // The next hour's look finds them.
        tracing::warn!(%error, object = %object.simple(), "bytes that nobody needs are still there");
    }
    Ok(UploadAnswer { received: size, stored: true })
}

/// What becomes of an opened photo now.
enum Plan {
    /// Its record is not here yet.
    Waits,
    /// There is nothing to be done any more.
    Settled,
    /// Its content is to be put here.
    File(StoredContent, OpenedKey),
}

/// Files the content of every photo whose key is opened and whose record is here, as an upload would. Returns how many
/// were filed. One that can't be for now is tried again the next time.
pub(crate) async fn file_rescued(app: &Arc<App>) -> Result<u64, Refusal> {
    let shared = Arc::clone(app);
    let photos = work(move || Ok(shared.storage.read()?.photos(None, Some(PhotoState::Opened))?)).await?;
    let mut filed = 0;
    for photo in photos {
        match file(app, photo).await {
            Ok(done) => filed += u64::from(done),
            Err(error) => tracing::warn!(?error, "a rescued photo could not be filed yet"),
        }
    }
    Ok(filed)
}

/// Files one photo; whether it was.
async fn file(app: &Arc<App>, photo: StoredPhoto) -> Result<bool, Refusal> {
    let (device, name) = (photo.device, photo.file);
    let shared = Arc::clone(app);
    let (content, key) = match work(move || plan(&shared, device, name)).await? {
        Plan::Waits | Plan::Settled => return Ok(false),
        Plan::File(content, key) => (content, key),
    };
    let object = content.object;
    let whole = restore(app, &photo, &content, &key).await?;
    let state = if whole {
        let shared = Arc::clone(app);
        let content = work(move || all_here(&shared, content)).await?;
        match finish(Arc::clone(app), content).await {
            Ok(_) => PhotoState::Filed,
            Err(Refusal::Problem(problem)) if problem.code == ErrorCode::ContentDiffers => {
                PhotoState::Damaged
            }
            Err(error) => return Err(error),
        }
    } else {
        PhotoState::Damaged
    };
    if state == PhotoState::Damaged {
        tracing::warn!(device = %device, "a rescued photo is not what its record says");
    }
    let shared = Arc::clone(app);
    work(move || {
        let now = shared.now();
        let mut tx = shared.storage.write()?;
        if !whole && tx.content(photo.attachment)?.is_some_and(|kept| kept.object == object && !kept.stored) {
            tx.drop_content(photo.attachment)?;
            leave(tx.as_mut(), all_of(object), now)?;
        }
        settle(tx.as_mut(), device, name, state, now)?;
        Ok(tx.commit()?)
    })
    .await?;
    Ok(state == PhotoState::Filed)
}

/// Looks whether a photo can be filed, and makes room for its content in place of what came by another way and is not
/// whole.
fn plan(app: &App, device: DeviceId, file: Uuid) -> Result<Plan, Refusal> {
    let now = app.now();
    let mut tx = app.storage.write()?;
    let opened = tx.photo(device, file)?.filter(|photo| photo.state == PhotoState::Opened);
    let Some(photo) = opened else { return Ok(Plan::Settled) };
    let Some(record) = load(tx.as_ref(), Attachment::DEF, photo.attachment)? else { return Ok(Plan::Waits) };
    let (described, user) = (described(&record)?, tx.device(device)?.map(|device| device.user.0));
    let before = tx.content(photo.attachment)?;
    let whole = before.as_ref().is_some_and(|before| before.stored);
    let key = OpenedKey::from_bytes(&photo.opened_key)
        .filter(|key| key.size == described.bytes() && user == Some(described.author));
    let Some(key) = key.filter(|_| !whole) else {
        let state = if whole { PhotoState::Known } else { PhotoState::Damaged };
        settle(tx.as_mut(), device, file, state, now)?;
        tx.commit()?;
        return Ok(Plan::Settled);
    };
    if let Some(before) = before {
        tx.drop_content(photo.attachment)?;
        leave(tx.as_mut(), all_of(before.object), now)?;
    }
    let content = StoredContent {
        attachment: photo.attachment,
        device,
        object: Uuid::from_bytes(random::bytes()?),
        key: seal::new_key()?,
        size: key.size,
        received: 0,
        stored: false,
        moved_ms: now.timestamp_millis(),
    };
    tx.put_content(&content)?;
    tx.commit()?;
    Ok(Plan::File(content, key))
}

/// Opens the file of a photo and keeps its content part by part, as if it had been sent; `false` if the file is damaged.
async fn restore(
    app: &App,
    photo: &StoredPhoto,
    content: &StoredContent,
    key: &OpenedKey,
) -> Result<bool, Refusal> {
    let mut file = FileParts { app, shelf: shelf(photo), number: 0, ready: Vec::new() };
    let Ok(header) = Header::from_bytes(&file.next(HEADER).await?) else { return Ok(false) };
    if (header.file, header.stored(), header.padded) != (photo.file, photo.size, padded(key.size)) {
        return Ok(false);
    }
    let chunks = Chunks::of(header);
    let (mut part, mut chunk) = (Zeroizing::new(Vec::new()), Zeroizing::new(Vec::new()));
    let (mut left, mut number) = (key.size, 0);
    for at in 0..chunks.header().chunks() {
        let sealed = file.next(chunks.header().chunk_size(at) + TAG).await?;
        let read = |_: u64, into: &mut [u8]| {
            into.get_mut(..sealed.len()).ok_or(FileError::Damaged)?.copy_from_slice(&sealed);
            Ok::<_, FileError>(sealed.len())
        };
        if chunks.open(&key.key, at, &mut chunk, read).is_err() {
            return Ok(false);
        }
        // What is not content is padding.
        let count = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        part.extend_from_slice(&chunk[..count]);
        left -= count as u64;
        while part.len() as u64 >= PART || (left == 0 && !part.is_empty()) {
            let length = part.len().min(PART as usize);
            let rest = part.split_off(length);
            app.contents.put_part(content, number, &part).await?;
            part = Zeroizing::new(rest);
            number += 1;
        }
    }
    Ok(left == 0)
}

/// Reads a photo's file from the object storage.
struct FileParts<'a> {
    app: &'a App,
    shelf: StoredContent,
    number: u64,
    ready: Vec<u8>,
}

impl FileParts<'_> {
    /// So many bytes, or what there is left.
    async fn next(&mut self, count: usize) -> Result<Vec<u8>, Refusal> {
        while self.ready.len() < count && self.number < seal::count(self.shelf.size) {
            let part = self.app.contents.part(&self.shelf, self.number).await?;
            self.ready.extend_from_slice(&part);
            self.number += 1;
        }
        let rest = self.ready.split_off(count.min(self.ready.len()));
        Ok(std::mem::replace(&mut self.ready, rest))
    }
}

/// All parts of a content have come.
fn all_here(app: &App, content: StoredContent) -> Result<StoredContent, Refusal> {
    let mut tx = app.storage.write()?;
    let kept = tx.content(content.attachment)?.filter(|kept| kept.object == content.object);
    let kept = kept.ok_or(ErrorCode::Busy)?;
    let content = StoredContent { received: content.size, ..kept };
    tx.put_content(&content)?;
    tx.commit()?;
    Ok(content)
}

/// Notes that content has come by the common way, of which its device had handed over a part, or all of it unopened: it was
/// locked for a while. Nothing more of that comes, and nobody needs to open it.
pub(super) fn is_known(
    tx: &mut dyn WriteTx,
    content: &StoredContent,
    now: DateTime<Utc>,
) -> storage::Result<()> {
    for photo in tx.photos(Some(content.device), None)? {
        let waits = matches!(photo.state, PhotoState::Coming | PhotoState::Sealed);
        if photo.attachment == content.attachment && waits {
            settle(tx, photo.device, photo.file, PhotoState::Known, now)?;
        }
    }
    Ok(())
}

/// Notes what became of a photo. Its keys go, and its bytes after them.
fn settle(
    tx: &mut dyn WriteTx,
    device: DeviceId,
    file: Uuid,
    state: PhotoState,
    now: DateTime<Utc>,
) -> storage::Result<()> {
    let Some(photo) = tx.photo(device, file)? else { return Ok(()) };
    leave(tx, all_of(photo.object), now)?;
    let (key, opened_key) = (Zeroizing::default(), Zeroizing::default());
    tx.put_photo(&StoredPhoto { key, state, opened_key, ..photo })
}

/// Forgets photos that were opened long ago, or never came whole.
pub(crate) fn forget_old_photos(
    tx: &mut dyn WriteTx,
    before: DateTime<Utc>,
    now: DateTime<Utc>,
) -> storage::Result<()> {
    for photo in tx.old_photos(before.timestamp_millis())? {
        tx.drop_photo(photo.device, photo.file)?;
        leave(tx, all_of(photo.object), now)?;
    }
    Ok(())
}
