//! Adding an attachment: sealed under another name, brought to the disk, given its name, and only then listed.

use super::folder::Place;
use super::place::Placeless;
use super::{
    AttachedTo, Attachment, AttachmentError, AttachmentKind, AttachmentSeams, Attachments, NewAttachment,
};
use crate::Error;
use crate::rescue::seal_key;
use crate::store::{Edits, Made, Records, SealedFile, StoreError};
use crate::vault::FileKey;
use roundsman_model::Choice;
use roundsman_model::attachment::{Attachment as Record, is_media_type};
use roundsman_protocol::sealed_file::{CHUNK, Chunks, Header, PREFIX, TAG};
use sha2::{Digest, Sha256};
use std::io::{self, ErrorKind, Read, Write};
use uuid::Uuid;
use zeroize::Zeroizing;

/// No file is larger, whatever the limits are: its chunks have numbers of 32 bits.
const LARGEST: u64 = 1 << 40;

/// Whether the key of a file is sealed to the organisation too.
#[derive(Clone, Copy)]
enum Rescue {
    /// It is: the content is nowhere else.
    Sealed,
    /// It is not: the server has the content.
    None,
}

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
        // Before anything is written; once more when the row is.
        let stored = Header::new(Uuid::nil(), [0; PREFIX], new.size).stored();
        self.store.read(|records| self.admit(records, new.of, stored))?;
        let (id, made) = (entropy.uuid(now)?, Made::now(&*self.seams.clock, entropy)?);
        let bare = SealedFile {
            id,
            entity: new.of.entity().to_owned(),
            record: new.of.id(),
            kind: new.kind.name().to_owned(),
            media_type: new.media_type.clone(),
            size: new.size,
            stored,
            sha256: [0; 32],
            added_ms: now.timestamp_millis(),
            file: Uuid::from_bytes(entropy.bytes()?),
            key: vec![],
        };
        let _coming = self.files.announce(bare.file);
        let row = if new.kind == AttachmentKind::Photo && !new.keep_place {
            self.filled(bare, Rescue::Sealed, &mut Placeless::new(content))?
        } else {
            self.filled(bare, Rescue::Sealed, content)?
        };
        let kept = self.store.write(|edits| {
            let before = edits.sealed_files_of(row.record)?;
            let same = |other: &&SealedFile| (other.sha256, &other.kind) == (row.sha256, &row.kind);
            if let Some(same) = before.iter().find(same) {
                return Ok::<_, Error>(same.clone());
            }
            let territory = self.admit(edits, new.of, stored)?;
            self.make_room(edits, stored)?;
            edits.keep_sealed_file(&row)?;
            self.describe(edits, &row, &territory, &made)?;
            Ok(row.clone())
        });
        // After an error the row may be there all the same: then its file must be too.
        let listed = kept.as_ref().map_or_else(|_| self.row(row.id), |kept| Ok(Some(kept.clone())));
        if listed.is_ok_and(|listed| listed.is_none_or(|listed| listed.file != row.file)) {
            self.discard(row.file);
        }
        let kept = kept?;
        self.sweep();
        self.shown(&kept)
    }

    /// Seals what comes of an attachment that is known from its record, in a file of this name.
    pub(super) fn sealed(
        &self,
        record: &Record,
        file: Uuid,
        content: &mut dyn Read,
    ) -> Result<SealedFile, Error> {
        let size = record.bytes();
        let stored = Header::new(Uuid::nil(), [0; PREFIX], size).stored();
        self.store.read(|records| self.fits(records, stored))?;
        let bare = SealedFile {
            id: record.id,
            entity: record.of.entity().to_owned(),
            record: record.record,
            kind: record.sort.name().to_owned(),
            media_type: record.media_type.clone(),
            size,
            stored,
            sha256: [0; 32],
            added_ms: record.added_at.timestamp_millis(),
            file,
            key: vec![],
        };
        self.filled(bare, Rescue::None, content)
    }

    /// Seals the content under a fresh key, in the file that the row names. It has been announced.
    fn filled(&self, bare: SealedFile, rescue: Rescue, content: &mut dyn Read) -> Result<SealedFile, Error> {
        let entropy = &*self.seams.entropy;
        let chunks = Chunks::of(Header::new(bare.file, entropy.bytes()?, bare.size));
        let key: FileKey = entropy.secret()?;
        let wrapped = self.keyring.with(|keys| Ok(keys.wrap(entropy, bare.file, &key)?))?;
        let sealed = match rescue {
            Rescue::Sealed => Some(self.sealed_key(&bare, &key)?),
            Rescue::None => None,
        };
        drop(key);
        let place = self.files.place(bare.file);
        let sha256 = self.write(&place, &chunks, (&wrapped, sealed.as_deref()), bare.size, content)?;
        Ok(SealedFile { sha256, key: wrapped, ..bare })
    }

    /// The key of a file as it is kept beside it until it is sent.
    pub(super) fn sealed_key(&self, row: &SealedFile, key: &FileKey) -> Result<Vec<u8>, StoreError> {
        let AttachmentSeams { entropy, seal_to, .. } = &*self.seams;
        Ok(seal_key(&**entropy, seal_to, row.id, row.file, key, row.size)?)
    }

    /// The territory of the record, if there is one, and room for a file of this size.
    fn admit(&self, records: &Records<'_>, of: AttachedTo, stored: u64) -> Result<String, Error> {
        let territory = of.territory(records)?.ok_or(Error::NotFound)?;
        self.fits(records, stored)?;
        Ok(territory)
    }

    /// Whether there is room, once what the server has too was dropped.
    fn fits(&self, records: &Records<'_>, stored: u64) -> Result<(), Error> {
        let needed = records.sealed_bytes()?.saturating_sub(records.evictable_bytes()?);
        let left = self.seams.limits.all.saturating_sub(needed);
        if stored > left { Err(AttachmentError::QuotaReached { left }.into()) } else { Ok(()) }
    }

    /// Drops what can be fetched again, as much as this file needs.
    pub(super) fn make_room(&self, edits: &mut Edits<'_>, stored: u64) -> Result<(), Error> {
        self.fits(edits, stored)?;
        let over = (edits.sealed_bytes()? + stored).saturating_sub(self.seams.limits.all);
        Ok(edits.evict(over)?)
    }

    /// Brings the sealed content to its place on the disk, and before it the sealed key if there is one: what is listed
    /// later never lacks it. Returns the SHA-256 of the content.
    fn write(
        &self,
        place: &Place,
        chunks: &Chunks,
        (wrapped, sealed): (&[u8], Option<&[u8]>),
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
            .and_then(|()| sealed.map_or(Ok(()), |sealed| disk.write_sync(&place.key, sealed)))
            .and_then(|()| disk.rename(&place.fresh, &place.path))
            .and_then(|()| disk.sync_dir(&place.dir));
        let Err(error) = written else { return Ok(sha256) };
        self.forget(&place.fresh);
        self.forget(&place.key);
        self.forget(&place.path);
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
                .with_key(header.file, wrapped, |key| Ok(chunks.seal(key, number, &mut chunk)?))
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
    if is_media_type(media_type) { Ok(()) } else { Err(AttachmentError::MediaType) }
}
