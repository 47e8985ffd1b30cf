//! Photos, signatures and files.

use crate::sync::unless_cancelled;
use crate::transfers::ForeignTransfers;
use crate::worker::{local, online};
use crate::{
    CallbackError, CancelHandle, Instant, RoundsmanError, SentAttachments, TransferProgress, Waiting,
};
use roundsman_core::attachments as core;
use roundsman_core::model::attachment::to_hex;
use roundsman_core::{Client, Error};
use std::io::{self, ErrorKind, Read};
use std::sync::Arc;
use uuid::Uuid;

/// How much may be attached, and over which networks it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Record)]
pub struct AttachmentOptions {
    /// Bytes that one may have.
    #[uniffi(default = 67108864)]
    pub one: u64,
    /// Bytes that all files of the vault may have together.
    #[uniffi(default = 536870912)]
    pub all: u64,
    /// Whether they are sent over a metered network too. Otherwise they wait for another one.
    #[uniffi(default = false)]
    pub metered: bool,
}

/// What something is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum AttachedTo {
    /// A visit.
    Visit {
        /// Its id.
        id: Uuid,
    },
    /// A customer.
    Customer {
        /// Its id.
        id: Uuid,
    },
}

/// What an attachment shows.
pub type AttachmentKind = core::AttachmentKind;
#[uniffi::remote(Enum)]
pub enum AttachmentKind {
    /// A picture that was taken.
    Photo,
    /// A signature that a person has written.
    Signature,
    /// Anything else.
    File,
}

/// What is to be attached.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct NewAttachment {
    /// What to attach it to.
    pub of: AttachedTo,
    /// What it shows.
    pub kind: AttachmentKind,
    /// Its media type, for example `image/jpeg`.
    pub media_type: String,
    /// Whether a photo goes on telling where it was taken. Unless it is set, that is taken out of a JPEG.
    #[uniffi(default = false)]
    pub keep_place: bool,
}

/// Something that is attached to a record.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
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
    pub added_at: Instant,
    /// The same for the same content in this vault, and without a meaning elsewhere: 64 hex digits. Good as a name in a
    /// cache in memory; a new key of the vault changes it.
    pub content_id: String,
    /// Whether its content is on this device. If not, `fetch` brings it.
    pub here: bool,
    /// When all of its content was on the server; nothing as long as it isn't. This device learns it with a sync.
    pub stored_at: Option<Instant>,
}

/// Gives the content of an attachment, so that it need not be in memory as a whole. Called from a thread of the library.
/// May block. Must not call the client.
#[uniffi::export(with_foreign)]
pub trait AttachmentSource: Send + Sync {
    /// The next bytes, at most so many; none at the end. If it throws, nothing is added.
    fn read(&self, most: u32) -> Result<Vec<u8>, CallbackError>;
}

/// What is attached to visits and customers.
#[derive(uniffi::Object)]
pub struct Attachments {
    pub(crate) client: Client,
}

#[uniffi::export]
impl Attachments {
    /// Attaches this content. It is sealed on the disk when this returns, and sent by `send`, after a `sync`. The same
    /// content, attached to the same record once more, is there once.
    ///
    /// # Errors
    /// `Attachment` with `TooLarge`, `NoRoom` or `MediaType`; `NotFound` if there is no such record; `DiskFull`,
    /// `Storage`, `Locked`. Nothing is attached then.
    pub async fn add(&self, new: NewAttachment, content: Vec<u8>) -> Result<Attachment, RoundsmanError> {
        let client = self.client.clone();
        local(move || {
            let new = new.sized(content.len() as u64);
            client.attachments()?.add(&new, &mut &content[..]).map(Attachment::from)
        })
        .await
    }

    /// The same for content of `size` bytes that is read piece by piece.
    ///
    /// # Errors
    /// As `add`; `Attachment` with `OtherSize` or `Unreadable`.
    pub async fn add_from(
        &self,
        new: NewAttachment,
        size: u64,
        source: Arc<dyn AttachmentSource>,
    ) -> Result<Attachment, RoundsmanError> {
        let client = self.client.clone();
        local(move || {
            client.attachments()?.add(&new.sized(size), &mut ForeignSource(&*source)).map(Attachment::from)
        })
        .await
    }

    /// What is attached to a visit or a customer: first what is here, in the order in which it came, then what can be
    /// fetched.
    pub async fn of(&self, record: Uuid) -> Result<Vec<Attachment>, RoundsmanError> {
        let client = self.client.clone();
        let attachments = local(move || client.attachments()?.of(record)).await?;
        Ok(attachments.into_iter().map(Attachment::from).collect())
    }

    /// The attachment with this id.
    pub async fn get(&self, id: Uuid) -> Result<Option<Attachment>, RoundsmanError> {
        let client = self.client.clone();
        Ok(local(move || client.attachments()?.get(id)).await?.map(Attachment::from))
    }

    /// All of the content. For something large `open` takes less memory.
    ///
    /// # Errors
    /// As `open`.
    pub async fn read(&self, id: Uuid) -> Result<Vec<u8>, RoundsmanError> {
        let client = self.client.clone();
        local(move || {
            let reader = client.attachments()?.open(id)?;
            part(&reader, 0, reader.size())
        })
        .await
    }

    /// A reader of the content, a range at a time. That it was looked at is recorded.
    ///
    /// # Errors
    /// `Attachment` with `NotFetched` or `Lost`; `NotFound`.
    pub async fn open(&self, id: Uuid) -> Result<Arc<AttachmentReader>, RoundsmanError> {
        let client = self.client.clone();
        local(move || Ok::<_, Error>(Arc::new(AttachmentReader(Arc::new(client.attachments()?.open(id)?)))))
            .await
    }

    /// Removes an attachment from here, and with the next sync from everywhere. Not an error if there is none.
    pub async fn remove(&self, id: Uuid) -> Result<(), RoundsmanError> {
        let client = self.client.clone();
        local(move || client.attachments()?.remove(id)).await
    }

    /// For how many bytes there is room, once what the server has too was dropped.
    pub async fn room(&self) -> Result<u64, RoundsmanError> {
        let client = self.client.clone();
        local(move || client.attachments()?.room()).await
    }

    /// What the server has not got yet.
    pub async fn waiting(&self) -> Result<Waiting, RoundsmanError> {
        let client = self.client.clone();
        let (files, bytes) = local(move || client.attachments()?.waiting()).await?;
        Ok(Waiting { files, bytes })
    }

    /// Sends the content of attachments, the smallest first. Call it after a `sync`, which tells the server that they are
    /// there. May be cut at any moment: the next call goes on where the server has come to.
    ///
    /// # Errors
    /// `Locked`, `PasscodeExpired`, `Offline`, `WrongPin`, `ServerBusy`, `UnknownDevice`, `Server`, `Cancelled`. What was
    /// sent before stays.
    #[uniffi::method(default(progress = None, cancel = None))]
    pub async fn send(
        &self,
        progress: Option<Arc<dyn TransferProgress>>,
        cancel: Option<Arc<CancelHandle>>,
    ) -> Result<SentAttachments, RoundsmanError> {
        let (client, progress) = (self.client.clone(), ForeignTransfers(progress));
        let sent = async move { Ok(client.send_attachments(&progress).await?) };
        online(unless_cancelled(cancel, sent)).await
    }

    /// Brings the content of an attachment to this device, from the server. Nothing to do if it is here.
    ///
    /// # Errors
    /// `NotFound`; `Attachment` with `NotSentYet`, `NoRoom` or `OtherContent`; otherwise as `send`. Nothing is kept then.
    #[uniffi::method(default(progress = None, cancel = None))]
    pub async fn fetch(
        &self,
        id: Uuid,
        progress: Option<Arc<dyn TransferProgress>>,
        cancel: Option<Arc<CancelHandle>>,
    ) -> Result<Attachment, RoundsmanError> {
        let (client, progress) = (self.client.clone(), ForeignTransfers(progress));
        let fetched = async move { Ok(client.fetch_attachment(id, &progress).await?.into()) };
        online(unless_cancelled(cancel, fetched)).await
    }

    /// A small picture of a photo whose content is on the server: a JPEG of at most 64 KiB whose longer side has at most 320
    /// pixels, upright and without a place. It is fetched once, and kept until its record leaves this device or others need
    /// its room. `kept_thumbnail` has it without a connection.
    ///
    /// # Errors
    /// `NotFound`; `Attachment` with `NotSentYet`, or with `NoThumbnail` if none can be made of it; otherwise as `send`.
    #[uniffi::method(default(cancel = None))]
    pub async fn thumbnail(
        &self,
        id: Uuid,
        cancel: Option<Arc<CancelHandle>>,
    ) -> Result<Vec<u8>, RoundsmanError> {
        let client = self.client.clone();
        let thumbnail = async move { Ok(client.thumbnail(id).await?.to_vec()) };
        online(unless_cancelled(cancel, thumbnail)).await
    }

    /// The thumbnail that is kept on this device; nothing if there is none yet.
    ///
    /// # Errors
    /// `Locked`, `PasscodeExpired`, `Storage`.
    pub async fn kept_thumbnail(&self, id: Uuid) -> Result<Option<Vec<u8>>, RoundsmanError> {
        let client = self.client.clone();
        Ok(local(move || client.attachments()?.thumbnail(id)).await?.map(|jpeg| jpeg.to_vec()))
    }
}

/// Reads one attachment. Its calls fail with `Locked` once the vault was closed, and stay so: ask for another reader.
#[derive(uniffi::Object)]
pub struct AttachmentReader(Arc<core::AttachmentReader>);

#[uniffi::export]
impl AttachmentReader {
    /// How many bytes the content has.
    pub fn size(&self) -> u64 {
        self.0.size()
    }

    /// The content from byte `at` on: `most` bytes, or fewer at its end.
    ///
    /// # Errors
    /// `Locked`; `Attachment` with `Lost`.
    pub async fn read_at(&self, at: u64, most: u32) -> Result<Vec<u8>, RoundsmanError> {
        let reader = Arc::clone(&self.0);
        local(move || part(&reader, at, most.into())).await
    }
}

/// A range of the content, with room for no more than there is.
fn part(reader: &core::AttachmentReader, at: u64, most: u64) -> Result<Vec<u8>, Error> {
    let size = most.min(reader.size().saturating_sub(at));
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
    let count = reader.read_at(at, &mut bytes)?;
    bytes.truncate(count);
    Ok(bytes)
}

/// The app's source, as the core takes it.
struct ForeignSource<'a>(&'a dyn AttachmentSource);

impl Read for ForeignSource<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = u32::try_from(into.len()).unwrap_or(u32::MAX);
        let bytes = self.0.read(most).map_err(io::Error::other)?;
        let room = into.get_mut(..bytes.len()).ok_or(ErrorKind::InvalidData)?;
        room.copy_from_slice(&bytes);
        Ok(bytes.len())
    }
}

impl NewAttachment {
    fn sized(self, size: u64) -> core::NewAttachment {
        let Self { of, kind, media_type, keep_place } = self;
        let mut new = core::NewAttachment::new(of.into(), kind, media_type, size);
        new.keep_place = keep_place;
        new
    }
}

impl From<AttachedTo> for core::AttachedTo {
    fn from(of: AttachedTo) -> Self {
        match of {
            AttachedTo::Visit { id } => Self::Visit(id),
            AttachedTo::Customer { id } => Self::Customer(id),
        }
    }
}

impl From<core::AttachedTo> for AttachedTo {
    fn from(of: core::AttachedTo) -> Self {
        match of {
            core::AttachedTo::Visit(id) => Self::Visit { id },
            core::AttachedTo::Customer(id) => Self::Customer { id },
        }
    }
}

impl From<core::Attachment> for Attachment {
    fn from(attachment: core::Attachment) -> Self {
        Self {
            id: attachment.id,
            of: attachment.of.into(),
            kind: attachment.kind,
            media_type: attachment.media_type,
            size: attachment.size,
            added_at: attachment.added_at,
            content_id: to_hex(&attachment.content_id),
            here: attachment.here,
            stored_at: attachment.stored_at,
        }
    }
}
