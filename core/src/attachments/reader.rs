//! Reading an attachment, a range at a time.

use super::keyring::{Buffer, Keyring, Opened};
use super::{AttachmentError, Files};
use crate::Error;
use crate::platform::Disk;
use crate::store::SealedFile;
use roundsman_protocol::sealed_file::{CHUNK, Chunks, HEADER, Header, padded};
use sha2::{Digest, Sha256};
use std::cmp::Ordering;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use uuid::Uuid;

/// Reads one attachment. Only what is asked for is read and opened, 64 KiB at a time; nothing is ever written in the
/// clear.
///
/// When the vault closes every call fails with [`Error::Locked`], and what was opened is wiped from memory. It stays so
/// when the vault opens again: ask for another reader.
///
/// [`Read`] and [`Seek`] are there for what takes them; the [`Error`] is inside of their errors.
pub struct AttachmentReader {
    disk: Arc<dyn Disk>,
    keyring: Arc<Keyring>,
    path: PathBuf,
    chunks: Chunks,
    /// The file's name, and its key as it is kept.
    file: Uuid,
    wrapped: Vec<u8>,
    size: u64,
    /// Where [`Read`] goes on.
    at: u64,
    buffer: Arc<Buffer>,
}

impl AttachmentReader {
    /// Opens the file of this row, and looks whether it is what the row says as far as its first chunk tells.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        keyring: Arc<Keyring>,
        files: &Files,
        row: SealedFile,
    ) -> Result<Self, Error> {
        let path = files.place(row.file).path;
        let header = read_header(&*disk, &path, &row)?;
        let buffer = keyring.buffer()?;
        let SealedFile { file, key: wrapped, size, .. } = row;
        let chunks = Chunks::of(header);
        let reader = Self { disk, keyring, path, chunks, file, wrapped, size, at: 0, buffer };
        reader.load(0, &mut reader.buffer.lock())?;
        Ok(reader)
    }

    /// How many bytes the content has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads from byte `at` on, and returns how much it was: less than fits in `into` only at the content's end.
    ///
    /// # Errors
    /// [`Error::Locked`] if the vault was closed; the file is damaged or gone. What is in `into` means nothing then.
    pub fn read_at(&self, at: u64, into: &mut [u8]) -> Result<usize, Error> {
        let mut opened = self.buffer.lock();
        let mut read = 0;
        while read < into.len() && at + (read as u64) < self.size {
            let place = at + read as u64;
            // The content has fewer than 2^32 chunks.
            let number = (place / CHUNK as u64) as u32;
            self.load(number, &mut opened)?;
            let from = (place % CHUNK as u64) as usize;
            let left = usize::try_from(self.size - place).unwrap_or(usize::MAX);
            let Some(rest) = opened.bytes.get(from..) else { return Err(AttachmentError::Damaged.into()) };
            let count = rest.len().min(left).min(into.len() - read);
            if count == 0 {
                return Err(AttachmentError::Damaged.into());
            }
            into[read..read + count].copy_from_slice(&rest[..count]);
            read += count;
        }
        if read == 0 {
            // Whoever asks for nothing learns all the same that the vault is closed.
            self.keyring.with(|_| Ok(()))?;
        }
        Ok(read)
    }

    /// Opens every chunk, the padding too, and says what the content hashes to.
    pub(super) fn read_through(&self) -> Result<[u8; 32], Error> {
        let (mut hash, mut left) = (Sha256::new(), self.size);
        let mut opened = self.buffer.lock();
        for number in 0..self.chunks.header().chunks() {
            self.load(number, &mut opened)?;
            let content = opened.bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            hash.update(&opened.bytes[..content]);
            left -= content as u64;
        }
        if left > 0 {
            return Err(AttachmentError::Damaged.into());
        }
        Ok(hash.finalize().into())
    }

    /// Makes this chunk the opened one. The keys are asked for even if it is: they are gone when the vault is closed.
    fn load(&self, number: u32, opened: &mut Opened) -> Result<(), Error> {
        self.keyring.with_key(self.file, &self.wrapped, |key| {
            if opened.number == Some(number) {
                return Ok(());
            }
            opened.number = None;
            self.chunks.open(key, number, &mut opened.bytes, |at, into| {
                Ok::<_, AttachmentError>(self.disk.read_at(&self.path, at, into)?)
            })?;
            opened.number = Some(number);
            Ok(())
        })
    }
}

fn read_header(disk: &dyn Disk, path: &std::path::Path, row: &SealedFile) -> Result<Header, AttachmentError> {
    let mut bytes = [0; HEADER];
    let count = disk.read_at(path, 0, &mut bytes)?;
    let header = Header::from_bytes(&bytes[..count])?;
    if header.file != row.file {
        return Err(AttachmentError::OtherFile);
    }
    if header.padded != padded(row.size) {
        return Err(AttachmentError::Damaged);
    }
    match disk.size(path)?.ok_or(AttachmentError::Missing)?.cmp(&header.stored()) {
        Ordering::Less => Err(AttachmentError::Truncated),
        Ordering::Equal => Ok(header),
        Ordering::Greater => Err(AttachmentError::Damaged),
    }
}

impl Read for AttachmentReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.read_at(self.at, into).map_err(io::Error::other)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for AttachmentReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
