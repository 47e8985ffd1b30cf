//! Adding an attachment: sealed under another name, brought to the disk, given its name, and only then listed.

use super::folder::Place;
use super::sealed::{CHUNK, Chunks, Header, TAG};
use super::{AttachedTo, Attachment, AttachmentError, Attachments, NewAttachment};
use crate::Error;
use crate::store::{Records, SealedFile};
use crate::vault::FileKey;
use roundsman_model::customer::Customer;
use roundsman_model::visit::Visit;
use sha2::{Digest, Sha256};
use std::io::{self, ErrorKind, Read, Write};
use uuid::Uuid;
use zeroize::Zeroizing;

/// No file is larger, whatever the limits are: its chunks have numbers of 32 bits.
const LARGEST: u64 = 1 << 40;

/// A media type is no longer than this (RFC 6838 section 4.2).
const LONGEST_MEDIA_TYPE: usize = 255;

/// How the content's way to the disk ended, if not well.
enum Stopped {
    /// By what was to be written.
    Before(Error),
    /// By the disk.
    Disk(io::Error),
}

impl From<AttachmentError> for Stopped {
    fn from(error: AttachmentError) -> Self {
        Self::Before(error.into())
    }
}

impl Attachments {
    /// Attaches what is read from `content`, which must have the size that was said. The same content, attached to the same
    /// record once more as the same kind, is there once: a repeat after a crash does no harm.
    ///
    /// # Errors
    /// There is no such record; it is too large or there is no room; the content can't be read; the disk is full or
    /// failed; the vault is not open, or closes meanwhile. Nothing is attached then.
    pub fn add(&self, new: &NewAttachment, content: &mut dyn Read) -> Result<Attachment, Error> {
        check_media_type(&new.media_type)?;
        let limits = self.seams.limits;
        let most = limits.one.min(LARGEST);
        if new.size > most {
            return Err(AttachmentError::TooLarge { most }.into());
        }
        let (entropy, now) = (&*self.seams.entropy, self.seams.clock.now());
        let file = Uuid::from_bytes(entropy.bytes()?);
        let chunks = Chunks::of(Header::new(file, entropy.bytes()?, new.size));
        let stored = chunks.header().stored();
        // Before anything is written; once more when the row is.
        self.store.read(|records| admit(records, new.of, stored, limits.all))?;

        let key: FileKey = entropy.secret()?;
        let wrapped = self.keyring.with(|keys| Ok(keys.wrap(entropy, file, &key)?))?;
        drop(key);
        let place = self.files.place(file);
        let _coming = self.files.announce(file);
        let sha256 = self.write(&place, &chunks, &wrapped, new.size, content)?;
        let row = SealedFile {
            id: entropy.uuid(now)?,
            entity: new.of.entity().to_owned(),
            record: new.of.id(),
            kind: new.kind.name().to_owned(),
            media_type: new.media_type.clone(),
            size: new.size,
            stored,
            sha256,
            added_ms: now.timestamp_millis(),
            file,
            key: wrapped,
        };
        let kept = self.store.write(|edits| {
            let before = edits.sealed_files_of(row.record)?;
            let same = |other: &&SealedFile| (other.sha256, &other.kind) == (row.sha256, &row.kind);
            if let Some(same) = before.iter().find(same) {
                return Ok::<_, Error>(same.clone());
            }
            admit(edits, new.of, stored, limits.all)?;
            edits.keep_sealed_file(&row)?;
            Ok(row.clone())
        });
        // After an error the row may be there all the same: then its file must be too.
        let listed = kept.as_ref().map_or_else(|_| self.row(row.id), |kept| Ok(Some(kept.clone())));
        if listed.is_ok_and(|listed| listed.is_none_or(|listed| listed.file != file)) {
            self.discard(&place.path);
        }
        self.shown(&kept?)
    }

    /// Brings the sealed content to its place on the disk. Returns the SHA-256 of the content.
    fn write(
        &self,
        place: &Place,
        chunks: &Chunks,
        wrapped: &[u8],
        size: u64,
        content: &mut dyn Read,
    ) -> Result<[u8; 32], Error> {
        let disk = &*self.seams.disk;
        let (mut sha256, mut refused) = ([0; 32], None);
        let mut fill = |out: &mut dyn Write| match self.seal(chunks, wrapped, size, content, out) {
            Ok(sum) => {
                sha256 = sum;
                Ok(())
            }
            Err(Stopped::Disk(error)) => Err(error),
            Err(Stopped::Before(error)) => {
                refused = Some(error);
                Err(ErrorKind::Other.into())
            }
        };
        let written = disk
            .create_dir_all(&place.dir)
            .and_then(|()| disk.write_with(&place.fresh, &mut fill))
            .and_then(|()| disk.rename(&place.fresh, &place.path))
            .and_then(|()| disk.sync_dir(&place.dir));
        let Err(error) = written else { return Ok(sha256) };
        self.discard(&place.fresh);
        self.discard(&place.path);
        Err(refused.unwrap_or_else(|| unwritten(error).into()))
    }

    /// Seals the content chunk by chunk.
    fn seal(
        &self,
        chunks: &Chunks,
        wrapped: &[u8],
        size: u64,
        content: &mut dyn Read,
        out: &mut dyn Write,
    ) -> Result<[u8; 32], Stopped> {
        let header = chunks.header();
        out.write_all(&header.to_bytes()).map_err(Stopped::Disk)?;
        let (mut hash, mut left) = (Sha256::new(), size);
        let mut chunk = Zeroizing::new(Vec::with_capacity(CHUNK + TAG));
        for number in 0..header.chunks() {
            chunk.clear();
            chunk.resize(header.chunk_size(number), 0);
            // What is not content is padding.
            let count = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let part = &mut chunk[..count];
            content.read_exact(part).map_err(|error| unread(&error))?;
            hash.update(&*part);
            left -= count as u64;
            self.keyring
                .with_key(header.file, wrapped, |key| chunks.seal(key, number, &mut chunk))
                .map_err(Stopped::Before)?;
            out.write_all(&chunk).map_err(Stopped::Disk)?;
        }
        match content.read(&mut [0]) {
            Ok(0) => Ok(hash.finalize().into()),
            Ok(_) => Err(AttachmentError::OtherSize.into()),
            Err(error) => Err(unread(&error).into()),
        }
    }
}

/// Whether there is such a record, and room for a file of this size.
fn admit(records: &Records<'_>, of: AttachedTo, stored: u64, all: u64) -> Result<(), Error> {
    let there = match of {
        AttachedTo::Visit(id) => records.get::<Visit>(id)?.is_some(),
        AttachedTo::Customer(id) => records.get::<Customer>(id)?.is_some(),
    };
    if !there {
        return Err(Error::NotFound);
    }
    let left = all.saturating_sub(records.sealed_bytes()?);
    if stored > left {
        return Err(AttachmentError::QuotaReached { left }.into());
    }
    Ok(())
}

fn unwritten(error: io::Error) -> AttachmentError {
    match error.kind() {
        kind @ ErrorKind::NotFound => AttachmentError::Disk { kind },
        _ => error.into(),
    }
}

fn unread(error: &io::Error) -> AttachmentError {
    match error.kind() {
        ErrorKind::UnexpectedEof => AttachmentError::OtherSize,
        kind => AttachmentError::Content { kind },
    }
}

/// It is kept as it is and given back; nothing but its form matters here.
fn check_media_type(media_type: &str) -> Result<(), AttachmentError> {
    let visible = media_type.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    let named = media_type.split_once('/').is_some_and(|(kind, of)| !kind.is_empty() && !of.is_empty());
    if visible && named && media_type.len() <= LONGEST_MEDIA_TYPE {
        Ok(())
    } else {
        Err(AttachmentError::MediaType)
    }
}
