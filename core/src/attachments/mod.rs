//! Photos, signatures and files that belong to visits and customers, each sealed in a file of its own.
//!
//! ```no_run
//! # use roundsman_core::attachments::{AttachedTo, AttachmentKind, NewAttachment};
//! # use roundsman_core::{Client, Error};
//! # use std::io::Read;
//! # fn attach(client: &Client, visit: uuid::Uuid, jpeg: &[u8]) -> Result<(), Error> {
//! let attachments = client.attachments()?;
//! let photo = NewAttachment::new(AttachedTo::Visit(visit), AttachmentKind::Photo, "image/jpeg", jpeg.len() as u64);
//! let photo = attachments.add(&photo, &mut &jpeg[..])?;
//! let mut first = [0; 1000];
//! let count = attachments.open(photo.id)?.read_at(0, &mut first)?;
//! # Ok(()) }
//! ```
//!
//! # Promises
//! - What was added is on the disk, with its file and its row, when the call returns; if it fails, or is killed, there is
//!   neither.
//! - No byte of the content is ever written in the clear, nor a temporary copy. Memory does not grow with the content.
//! - A file that was changed, cut, put together from others or put in the place of another is an error, never content.
//! - When the vault closes, readers that are open fail, and their keys and what they have read are wiped from memory.
//! - What is removed loses its key before its file, so that a copy of the file opens for nobody. So does what belongs to a
//!   record that leaves the device, unless it was not sent yet: then it goes when the server has it.
//! - What was not sent is never dropped to make room; what can be fetched again is, once the limit is reached.
//! - What is fetched goes straight into a sealed file, and is there only if it is what its record says.
//! - What was not sent can be handed over by a device that is locked or wiped: its key lies beside its file, sealed to the
//!   organisation's rescue key, from before it is listed until the server has the content.
//!
//! # Not promised
//! - A fetch that the app is stopped in begins anew; one whose connection is cut goes on.
//! - Small pictures are the server's, of JPEG and PNG: of a photo that was not sent yet the host app makes one itself. Where a
//!   photo was taken is taken out of JPEGs alone; everything else is kept byte for byte.
//! - The number of attachments, about how large each is, and when its file was written can be seen in the folder.

mod add;
mod error;
mod folder;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod keyring;
mod place;
mod reader;
mod records;
mod transfer;
mod verify;

pub use error::AttachmentError;
pub use reader::AttachmentReader;
pub(crate) use transfer::MOST_FAILURES;
pub use transfer::{Moved, Network, Sent, Transfers};

use crate::Error;
use crate::audit::AuditTrail;
use crate::platform::{Clock, Disk, Entropy};
use crate::rescue::SealTo;
use crate::store::{Made, Order, SealedFile, Select, Store, StoreError};
use crate::vault::FileKeys;
use chrono::{DateTime, Utc};
use folder::{Files, Wanted};
use keyring::Keyring;
use roundsman_model::attachment::Attachment as Record;
use roundsman_model::customer::Customer;
use roundsman_model::visit::Visit;
use roundsman_model::{Entity, FieldType, UserId};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;
use zeroize::Zeroizing;

/// The most bytes of all small pictures together.
const MOST_THUMBNAILS: u64 = 32 << 20;

/// What an attachment is called in the audit trail.
const ENTITY: &str = "attachment";

/// What something is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachedTo {
    /// A visit, by its id.
    Visit(Uuid),
    /// A customer, by its id.
    Customer(Uuid),
}

/// What an attachment shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachmentKind {
    /// A picture that was taken.
    Photo,
    /// A signature that a person has written.
    Signature,
    /// Anything else.
    File,
}

/// What is to be attached.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewAttachment {
    /// What to attach it to.
    pub of: AttachedTo,
    /// What it shows.
    pub kind: AttachmentKind,
    /// Its media type, for example `image/jpeg`.
    pub media_type: String,
    /// How many bytes it has.
    pub size: u64,
    /// Whether a photo goes on telling where it was taken. Unless it is set, that is taken out of a JPEG.
    pub keep_place: bool,
}

impl NewAttachment {
    /// Something of this kind, media type and size, to be attached to this record.
    pub fn new(of: AttachedTo, kind: AttachmentKind, media_type: impl Into<String>, size: u64) -> Self {
        Self { of, kind, media_type: media_type.into(), size, keep_place: false }
    }
}

/// Something that is attached to a record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attachment {
    /// Its id.
    pub id: Uuid,
    /// What it is attached to.
    pub of: AttachedTo,
    /// What it shows.
    pub kind: AttachmentKind,
    /// Its media type, for example `image/jpeg`.
    pub media_type: String,
    /// How many bytes it has.
    pub size: u64,
    /// When it was added, by the device's clock.
    pub added_at: DateTime<Utc>,
    /// The same for the same content in this vault, and without a meaning elsewhere. A new key of the vault changes it.
    pub content_id: [u8; 32],
    /// Whether its content is on this device. If not, [`Client::fetch_attachment`](crate::Client::fetch_attachment) brings it.
    pub here: bool,
    /// When all of its content was on the server; nothing as long as it isn't.
    pub stored_at: Option<DateTime<Utc>>,
}

/// How much may be attached, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachmentLimits {
    /// One attachment's content.
    pub one: u64,
    /// All files of the vault together.
    pub all: u64,
}

impl Default for AttachmentLimits {
    /// 64 MiB for one, 512 MiB for all.
    fn default() -> Self {
        Self { one: 64 << 20, all: 512 << 20 }
    }
}

/// What was found in the folder of the attachments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tidied {
    /// Attachments whose file is gone.
    pub missing: Vec<Uuid>,
}

/// What attachments are kept with.
pub struct AttachmentSeams {
    /// The folder of their files.
    pub dir: PathBuf,
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// How much may be attached.
    pub limits: AttachmentLimits,
    /// Who adds attachments.
    pub user: UserId,
    /// Whom the keys of unsent ones are sealed to.
    pub seal_to: SealTo,
}

/// The attachments on this device. Cheap to clone.
#[derive(Clone)]
pub struct Attachments {
    store: Arc<Store>,
    seams: Arc<AttachmentSeams>,
    files: Arc<Files>,
    keyring: Arc<Keyring>,
    audit: Option<Arc<AuditTrail>>,
}

impl Attachments {
    /// The attachments that are listed in this store, sealed with these keys.
    pub fn new(store: Arc<Store>, keys: FileKeys, seams: AttachmentSeams) -> Self {
        let files = Arc::new(Files::new(seams.dir.clone()));
        let (seams, keyring) = (Arc::new(seams), Arc::new(Keyring::new(keys)));
        Self { store, seams, files, keyring, audit: None }
    }

    /// The same, with each view recorded.
    pub(crate) fn audited(self, audit: Arc<AuditTrail>) -> Self {
        Self { audit: Some(audit), ..self }
    }

    /// Forgets the keys, and what open readers have read. Every later call fails with [`Error::Locked`].
    pub fn close(&self) {
        self.keyring.close();
    }

    /// What is attached to a record: first what is here, in the order in which it came, then what can be fetched.
    ///
    /// # Errors
    /// The vault is not open, or the store is damaged.
    pub fn of(&self, record: Uuid) -> Result<Vec<Attachment>, Error> {
        let select =
            Select { of: &[("record", record.to_value())], by: &[("added_at", Order::Up)], limit: None };
        let (rows, known) = self.store.read(|records| {
            Ok::<_, Error>((records.sealed_files_of(record)?, records.select::<Record>(&select)?))
        })?;
        let here: Vec<_> = rows.iter().map(|row| self.shown(row)).collect::<Result<_, _>>()?;
        let elsewhere = known.iter().filter(|known| here.iter().all(|here| here.id != known.id));
        let elsewhere: Vec<_> =
            elsewhere.map(|known| self.described(known, false)).collect::<Result<_, _>>()?;
        Ok(here.into_iter().chain(elsewhere).collect())
    }

    /// The attachment with this id, if its record is on this device.
    ///
    /// # Errors
    /// The vault is not open, or the store is damaged.
    pub fn get(&self, attachment: Uuid) -> Result<Option<Attachment>, Error> {
        match self.row(attachment)? {
            Some(row) => self.shown(&row).map(Some),
            None => self.record(attachment)?.map(|record| self.described(&record, false)).transpose(),
        }
    }

    /// A reader of the content. That it was looked at is recorded.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such attachment; its file is gone or damaged; the vault is not open.
    pub fn open(&self, attachment: Uuid) -> Result<AttachmentReader, Error> {
        let Some(row) = self.row(attachment)? else {
            let known = self.record(attachment)?.is_some();
            return Err(if known { AttachmentError::NotFetched.into() } else { Error::NotFound });
        };
        let (disk, keyring) = (Arc::clone(&self.seams.disk), Arc::clone(&self.keyring));
        let reader = AttachmentReader::open(disk, keyring, &self.files, row)?;
        if let Some(audit) = &self.audit {
            audit.viewed(ENTITY, attachment);
        }
        Ok(reader)
    }

    /// Removes an attachment, everywhere with the next sync: its key first, then its file. A stop in between leaves a file that nothing opens, which
    /// goes when the vault is next opened. Not an error if there is none.
    ///
    /// # Errors
    /// The vault is not open, or the disk failed; the attachment is there or gone as a whole.
    pub fn remove(&self, attachment: Uuid) -> Result<(), Error> {
        let made = Made::now(&*self.seams.clock, &*self.seams.entropy)?;
        let file = self.store.write(|edits| {
            edits.take_away::<Record>(attachment, &made)?;
            edits.forget_unsent(attachment)?;
            let file = edits.drop_sealed_file(attachment)?;
            edits.drop_left_files()?;
            Ok::<_, Error>(file)
        })?;
        if let Some(file) = file {
            self.discard(file);
        }
        self.sweep();
        Ok(())
    }

    /// The small picture of an attachment, a JPEG, if it was fetched before. That it was looked at is recorded.
    ///
    /// # Errors
    /// The vault is not open, or the store is damaged.
    pub fn thumbnail(&self, attachment: Uuid) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        let found = self.store.read(|records| Ok::<_, Error>(records.thumbnail(attachment)?))?;
        if let (Some(_), Some(audit)) = (&found, &self.audit) {
            audit.viewed(ENTITY, attachment);
        }
        Ok(found)
    }

    /// How many bytes there is room for, once what the server has too was dropped.
    ///
    /// # Errors
    /// The vault is not open, or the store is damaged.
    pub fn room(&self) -> Result<u64, Error> {
        let (used, evictable) = self
            .store
            .read(|records| Ok::<_, Error>((records.sealed_bytes()?, records.evictable_bytes()?)))?;
        Ok(self.seams.limits.all.saturating_sub(used.saturating_sub(evictable)))
    }

    /// Removes files that belong to no attachment: what an addition or a removal left that was interrupted. Says which
    /// attachments have no file. [`Client`](crate::Client) does it whenever it opens the vault.
    ///
    /// # Errors
    /// The vault is not open, or the disk failed; a repeat goes on.
    pub fn tidy(&self) -> Result<Tidied, Error> {
        self.describe_old()?;
        if self.store.read(|records| Ok::<_, Error>(records.has_left_files()?))? {
            self.store.write(|edits| Ok::<_, Error>(edits.drop_left_files()?))?;
        }
        self.sweep();
        let mut names = Vec::new();
        let missing = self.files.keep(&*self.seams.disk, self.seams.seal_to.device, || {
            let (listed, keys) = self.store.read(|records| {
                Ok::<_, Error>((records.sealed_file_names()?, records.unsent_file_names()?))
            })?;
            names = listed;
            let files = names.iter().map(|(_, file)| *file).collect();
            Ok::<_, Error>(Wanted { files, keys: keys.into_iter().collect() })
        })?;
        self.seal_keys(&missing)?;
        names.retain(|(_, file)| missing.contains(file));
        Ok(Tidied { missing: names.into_iter().map(|(id, _)| id).collect() })
    }

    fn row(&self, attachment: Uuid) -> Result<Option<SealedFile>, Error> {
        self.store.read(|records| Ok(records.sealed_file(attachment)?))
    }

    /// Seals the keys of what was not sent and has none beside it: it was added by an earlier version of the app, or
    /// somebody has removed or changed the key. Says how many it sealed; files that are `missing` need none.
    fn seal_keys(&self, missing: &BTreeSet<Uuid>) -> Result<u64, Error> {
        let disk = &*self.seams.disk;
        let sealed = self.files.rescuable(disk)?;
        let unsent = self.store.read(|records| Ok::<_, Error>(records.unsent_file_names()?))?;
        let bare = |file: &Uuid| !missing.contains(file) && sealed.iter().all(|sealed| sealed.file != *file);
        let bare: BTreeSet<Uuid> = unsent.into_iter().filter(bare).collect();
        if bare.is_empty() {
            return Ok(0);
        }
        let mut count = 0;
        let rows = self.store.read(|records| Ok::<_, Error>(records.all_unsent_files()?))?;
        for row in rows.iter().filter(|row| bare.contains(&row.file)) {
            let key = match self.keyring.with_key(row.file, &row.key, |key| Ok(key.clone())) {
                Ok(key) => key,
                Err(Error::Attachment(error)) => {
                    tracing::warn!(%error, "an attachment could not be handed over if this device were lost");
                    continue;
                }
                Err(error) => return Err(error),
            };
            let (sealed, place) = (self.sealed_key(row, &key)?, self.files.place(row.file));
            let name = place.key.file_name().and_then(|name| name.to_str()).ok_or(StoreError::Corrupt)?;
            disk.replace(&place.dir, name, &sealed).map_err(AttachmentError::from)?;
            count += 1;
        }
        Ok(count)
    }

    /// Removes the file of this name, which belongs to no attachment any more, and its sealed key before it.
    fn discard(&self, file: Uuid) {
        let place = self.files.place(file);
        self.forget(&place.key);
        self.forget(&place.path);
    }

    /// Removes a file that belongs to no attachment. One that stays goes when the vault is next opened.
    fn forget(&self, path: &Path) {
        if let Err(error) = self.seams.disk.remove(path) {
            tracing::warn!(kind = %error.kind(), "a file that belongs to no attachment is still there");
        }
    }

    fn shown(&self, row: &SealedFile) -> Result<Attachment, Error> {
        let record = self.record(row.id)?;
        Ok(Attachment {
            id: row.id,
            of: AttachedTo::stored(&row.entity, row.record)?,
            kind: AttachmentKind::stored(&row.kind)?,
            media_type: row.media_type.clone(),
            size: row.size,
            added_at: DateTime::from_timestamp_millis(row.added_ms).ok_or(StoreError::Corrupt)?,
            content_id: self.keyring.with(|keys| Ok(keys.content_id(&row.sha256)))?,
            here: true,
            stored_at: record.and_then(|record| record.stored_at),
        })
    }
}

impl AttachedTo {
    /// The record's id.
    pub fn id(self) -> Uuid {
        match self {
            Self::Visit(id) | Self::Customer(id) => id,
        }
    }

    fn entity(self) -> &'static str {
        match self {
            Self::Visit(_) => Visit::DEF.name,
            Self::Customer(_) => Customer::DEF.name,
        }
    }

    fn stored(entity: &str, id: Uuid) -> Result<Self, StoreError> {
        let any = [Self::Visit(id), Self::Customer(id)];
        any.into_iter().find(|of| of.entity() == entity).ok_or(StoreError::Corrupt)
    }
}

impl AttachmentKind {
    const ALL: [Self; 3] = [Self::Photo, Self::Signature, Self::File];

    /// As it is stored.
    fn name(self) -> &'static str {
        match self {
            Self::Photo => "photo",
            Self::Signature => "signature",
            Self::File => "file",
        }
    }

    fn stored(name: &str) -> Result<Self, StoreError> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or(StoreError::Corrupt)
    }
}
