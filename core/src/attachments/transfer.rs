//! What sending and fetching need of the attachments on this device. The network is not here: see
//! [`Client::send_attachments`](crate::Client::send_attachments).

use super::{Attachment, AttachmentError, AttachmentReader, Attachments, MOST_THUMBNAILS};
use crate::Error;
use crate::store::UnsentFile;
use roundsman_model::attachment::Attachment as Record;
use std::io::Read;
use std::sync::Arc;
use uuid::Uuid;

/// What the host app says of the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// Bytes cost nothing: Wi-Fi, as a rule.
    #[default]
    Unmetered,
    /// Bytes cost money: attachments wait, unless [`Config::metered_attachments`](crate::Config::metered_attachments)
    /// says otherwise.
    Metered,
    /// There is none: attachments wait.
    Offline,
}

/// How far sending or fetching has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The attachment.
    pub attachment: Uuid,
    /// Bytes of it that are over.
    pub bytes: u64,
    /// Bytes that it has.
    pub of: u64,
    /// Attachments that come after it.
    pub waiting: u64,
}

/// Follows the sending and fetching of attachments, and can stop it.
pub trait Transfers: Send + Sync {
    /// A part is over.
    fn moved(&self, moved: Moved);

    /// Whether to stop before the next part. What is over stays so.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Nobody looks on.
impl Transfers for () {
    fn moved(&self, _: Moved) {}
}

/// What was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Attachments that the server has now.
    pub files: u64,
    /// Bytes of content that went over the network.
    pub bytes: u64,
    /// Attachments that are still to be sent.
    pub left: u64,
    /// Their bytes.
    pub left_bytes: u64,
    /// Whether they wait for another network.
    pub waits: bool,
    /// Whether they wait until there is room on the server.
    pub full: bool,
    /// Attachments that can't be sent, and stay on this device: the server takes none of this size, did not find what it
    /// was promised three times, or the file is damaged.
    pub stuck: Vec<Uuid>,
}

/// After so many refusals an attachment is not sent by itself any more.
pub(crate) const MOST_FAILURES: u64 = 3;

impl Attachments {
    /// What is to be sent, the smallest first.
    pub(crate) fn unsent(&self) -> Result<Vec<UnsentFile>, Error> {
        self.store.read(|records| Ok(records.unsent_files()?))
    }

    /// How many attachments the server has not got, and their bytes.
    ///
    /// # Errors
    /// The vault is not open, or the store is damaged.
    pub fn waiting(&self) -> Result<(u64, u64), Error> {
        self.store.read(|records| Ok(records.unsent_bytes()?))
    }

    /// Reads what is to be sent; nobody looks at it, so that is no view.
    pub(crate) fn unsent_reader(&self, unsent: &UnsentFile) -> Result<AttachmentReader, Error> {
        let (disk, keyring) = (Arc::clone(&self.seams.disk), Arc::clone(&self.keyring));
        AttachmentReader::open(disk, keyring, &self.files, unsent.row.clone())
    }

    /// Remembers how far it was sent.
    pub(crate) fn note_sent(&self, id: Uuid, sent: u64, failed: u64) -> Result<(), Error> {
        self.store.write(|edits| Ok(edits.note_sent(id, sent, failed)?))
    }

    /// The server has it, or wants it no more: its record was removed there.
    pub(crate) fn sent(&self, id: Uuid) -> Result<(), Error> {
        let row = self.store.write(|edits| {
            let row = edits.sealed_file(id)?;
            edits.forget_unsent(id)?;
            edits.drop_left_files()?;
            Ok::<_, Error>(row)
        })?;
        if let Some(row) = row {
            // Nobody need hand it over any more. A key that stays goes when the vault is next opened.
            self.forget(&self.files.place(row.file).key);
        }
        self.sweep();
        Ok(())
    }

    /// Keeps what was fetched of an attachment, if it is what its record says.
    pub(crate) fn keep_fetched(&self, record: &Record, content: &mut dyn Read) -> Result<Attachment, Error> {
        let file = Uuid::from_bytes(self.seams.entropy.bytes()?);
        let _coming = self.files.announce(file);
        let row = self.sealed(record, file, content)?;
        if Some(row.sha256) != record.hash() {
            self.discard(row.file);
            return Err(AttachmentError::OtherContent.into());
        }
        let kept = self.store.write(|edits| {
            if edits.get::<Record>(record.id)?.is_none() {
                return Err(Error::NotFound);
            }
            if edits.sealed_file(record.id)?.is_some() {
                return Ok(false);
            }
            self.make_room(edits, row.stored)?;
            edits.keep_sealed_file(&row)?;
            edits.all_described()?;
            Ok(true)
        });
        // After an error the row may be there all the same: then its file must be too.
        let listed =
            kept.as_ref().map_or_else(|_| self.row(row.id).map(|row| row.is_some()), |kept| Ok(*kept));
        if listed.is_ok_and(|listed| !listed) {
            self.discard(row.file);
        }
        kept?;
        self.sweep();
        self.described(record, true)
    }

    /// Keeps a small picture that was fetched, unless its attachment has left meanwhile.
    pub(crate) fn keep_thumbnail(&self, id: Uuid, jpeg: &[u8]) -> Result<(), Error> {
        self.store.write(|edits| {
            if edits.get::<Record>(id)?.is_none() {
                return Err(Error::NotFound);
            }
            Ok(edits.keep_thumbnail(id, jpeg, MOST_THUMBNAILS)?)
        })
    }

    /// Removes the files whose rows were dropped: their record has left, or they made room for others.
    pub(crate) fn sweep(&self) {
        for file in self.store.take_dropped_files() {
            self.discard(file);
        }
    }
}
