//! Checking the sealed files.

use super::{AttachmentError, AttachmentReader, Attachments};
use crate::Error;
use std::sync::Arc;
use uuid::Uuid;

/// What a check of one attachment found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileCheck {
    /// Bytes of its content.
    pub(crate) size: u64,
    /// What is wrong with its file.
    pub(crate) fault: Option<AttachmentError>,
}

impl Attachments {
    /// The attachments whose content is here.
    pub(crate) fn all_here(&self) -> Result<Vec<Uuid>, Error> {
        let names = self.store.read(|records| Ok::<_, Error>(records.sealed_file_names()?))?;
        Ok(names.into_iter().map(|(id, _)| id).collect())
    }

    /// Reads the file of an attachment through: whether every part of it authenticates, and whether what it holds is what
    /// was attached. Nobody looks at it, so that is no view. `None` if it is not here any more.
    pub(crate) fn verify(&self, attachment: Uuid) -> Result<Option<FileCheck>, Error> {
        let Some(row) = self.row(attachment)? else { return Ok(None) };
        let described = self.record(attachment)?.and_then(|record| record.hash());
        let (file, size, hash) = (row.file, row.size, row.sha256);
        let (disk, keyring) = (Arc::clone(&self.seams.disk), Arc::clone(&self.keyring));
        let read =
            AttachmentReader::open(disk, keyring, &self.files, row).and_then(|reader| reader.read_through());
        let fault = match read {
            Ok(found) if found != hash => Some(AttachmentError::Damaged),
            Ok(found) if described.is_some_and(|described| described != found) => {
                Some(AttachmentError::OtherContent)
            }
            Ok(_) => None,
            Err(Error::Attachment(error)) => Some(error),
            Err(error) => return Err(error),
        };
        // Removed meanwhile, or put out to make room.
        if fault.is_some() && self.row(attachment)?.is_none_or(|row| row.file != file) {
            return Ok(None);
        }
        Ok(Some(FileCheck { size, fault }))
    }

    /// Seals the keys of files that were not sent and have none beside them, without which a wipe could not hand them over.
    /// How many those were.
    pub(crate) fn verify_keys(&self) -> Result<u64, Error> {
        let unsent = self.store.read(|records| Ok::<_, Error>(records.unsent_file_names()?))?;
        if unsent.is_empty() {
            return Ok(0);
        }
        let there = self.seams.disk.list(&self.seams.dir).map_err(AttachmentError::from)?;
        let missing =
            unsent.into_iter().filter(|file| !there.contains(&self.files.place(*file).path)).collect();
        self.seal_keys(&missing)
    }

    /// Drops a file that is damaged, if the server has the content, so that it can be fetched anew; whether it was.
    pub(crate) fn give_up(&self, attachment: Uuid) -> Result<bool, Error> {
        let on_server = self.record(attachment)?.is_some_and(|record| record.stored_at.is_some());
        let file = self.store.write(|edits| {
            if !on_server || edits.is_unsent_file(attachment)? {
                return Ok::<_, Error>(None);
            }
            Ok(edits.drop_sealed_file(attachment)?)
        })?;
        let Some(file) = file else { return Ok(false) };
        self.discard(file);
        Ok(true)
    }
}
