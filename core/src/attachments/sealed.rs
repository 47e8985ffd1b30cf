//! The format of a sealed file.
//!
//! ```text
//! header  "FVA1" | suite | chunk_log2 = 16 | file id (16) | nonce prefix (19) | padded length (8, big-endian)
//! body    chunks of 64 KiB, the last one shorter, each with a tag of 16 bytes:
//!         STREAM-BE32 (Hoang, Reyhanitabar, Rogaway, Vizár, 2015) over XChaCha20-Poly1305
//!         nonce = prefix | chunk number (4, big-endian) | 1 for the last chunk, else 0
//!         additional data = SHA-256(header)
//! ```
//!
//! The content is filled up with zeros to the padded length (Padmé: Nikitin and others, "Reducing Metadata Leakage from
//! Encrypted Files and Communication with PURBs", 2019), which tells its size to within 12 %. Its true size and the
//! file's key are kept elsewhere. A chunk opens by itself, at its own place in its own file and nowhere else.

use super::AttachmentError;
use crate::vault::FileKey;
use aead_stream::{NewStream, StreamBE32, StreamPrimitive};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use sha2::{Digest, Sha256};
use std::io;
use uuid::Uuid;

/// Bytes of content in a chunk.
pub(super) const CHUNK: usize = 1 << CHUNK_LOG2;
const CHUNK_LOG2: u8 = 16;

/// Bytes that each chunk grows by.
pub(super) const TAG: usize = 16;

/// Bytes of the header.
pub(super) const HEADER: usize = 4 + 1 + 1 + 16 + PREFIX + 8;
pub(super) const PREFIX: usize = 19;

const MAGIC: &[u8; 4] = b"FVA1";

/// STREAM-BE32 over XChaCha20-Poly1305.
const SUITE: u8 = 1;

/// Chunks have numbers of 32 bits.
const MAX_PADDED: u64 = (u32::MAX as u64) << CHUNK_LOG2;

/// The length to which content of this size is filled up (Padmé).
pub(super) fn padded(size: u64) -> u64 {
    let Some(exponent) = size.checked_ilog2().filter(|exponent| *exponent > 0) else { return size };
    let kept = exponent.ilog2() + 1;
    let mask = (1 << (exponent - kept)) - 1;
    size.saturating_add(mask) & !mask
}

/// The first bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The file's name.
    pub(super) file: Uuid,
    prefix: [u8; PREFIX],
    /// The length of the content and its padding.
    pub(super) padded: u64,
}

impl Header {
    /// The header for content of this size, of which no chunk was sealed with this prefix and the file's key before.
    pub(super) fn new(file: Uuid, prefix: [u8; PREFIX], size: u64) -> Self {
        Self { file, prefix, padded: padded(size) }
    }

    pub(super) fn to_bytes(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(MAGIC);
        (bytes[4], bytes[5]) = (SUITE, CHUNK_LOG2);
        bytes[6..22].copy_from_slice(self.file.as_bytes());
        bytes[22..22 + PREFIX].copy_from_slice(&self.prefix);
        bytes[22 + PREFIX..].copy_from_slice(&self.padded.to_be_bytes());
        bytes
    }

    /// Reads what a file begins with.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, AttachmentError> {
        let bytes = bytes.first_chunk::<HEADER>().ok_or(AttachmentError::Truncated)?;
        if !bytes.starts_with(MAGIC) {
            return Err(AttachmentError::Damaged);
        }
        if (bytes[4], bytes[5]) != (SUITE, CHUNK_LOG2) {
            return Err(AttachmentError::Newer);
        }
        let (mut file, mut prefix, mut length) = ([0; 16], [0; PREFIX], [0; 8]);
        file.copy_from_slice(&bytes[6..22]);
        prefix.copy_from_slice(&bytes[22..22 + PREFIX]);
        length.copy_from_slice(&bytes[22 + PREFIX..]);
        let length = u64::from_be_bytes(length);
        if length > MAX_PADDED || padded(length) != length {
            return Err(AttachmentError::Damaged);
        }
        Ok(Self { file: Uuid::from_bytes(file), prefix, padded: length })
    }

    /// How many chunks there are; nothing is sealed as one empty chunk.
    pub(super) fn chunks(&self) -> u32 {
        // `padded` is at most `MAX_PADDED`.
        self.padded.div_ceil(CHUNK as u64).max(1) as u32
    }

    /// How much content is in a chunk.
    pub(super) fn chunk_size(&self, number: u32) -> usize {
        self.padded.saturating_sub(u64::from(number) << CHUNK_LOG2).min(CHUNK as u64) as usize
    }

    /// How many bytes the whole file has.
    pub(super) fn stored(&self) -> u64 {
        HEADER as u64 + self.padded + u64::from(self.chunks()) * TAG as u64
    }
}

/// What chunks of one file are sealed and opened with, but for its key.
#[derive(Clone)]
pub(super) struct Chunks {
    header: Header,
    bound_to: [u8; 32],
}

impl Chunks {
    pub(super) fn of(header: Header) -> Self {
        let bound_to = Sha256::digest(header.to_bytes()).into();
        Self { header, bound_to }
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// Seals a chunk in its place.
    pub(super) fn seal(
        &self,
        key: &FileKey,
        number: u32,
        chunk: &mut Vec<u8>,
    ) -> Result<(), AttachmentError> {
        // Only a chunk of more than 2^38 bytes is refused.
        self.stream(key)
            .encrypt_in_place(number, self.is_last(number), &self.bound_to, chunk)
            .map_err(|_| AttachmentError::Damaged)
    }

    /// Reads a chunk and opens it; `read` is given the place in the file and what to fill, and says how much it was.
    /// `chunk` is empty after an error.
    pub(super) fn open(
        &self,
        key: &FileKey,
        number: u32,
        chunk: &mut Vec<u8>,
        read: impl FnOnce(u64, &mut [u8]) -> io::Result<usize>,
    ) -> Result<(), AttachmentError> {
        chunk.clear();
        chunk.resize(self.header.chunk_size(number) + TAG, 0);
        let at = HEADER as u64 + u64::from(number) * (CHUNK + TAG) as u64;
        let opened = match read(at, chunk) {
            Ok(count) if count < chunk.len() => Err(AttachmentError::Truncated),
            Ok(_) => self
                .stream(key)
                .decrypt_in_place(number, self.is_last(number), &self.bound_to, chunk)
                .map_err(|_| AttachmentError::Damaged),
            Err(error) => Err(error.into()),
        };
        if opened.is_err() {
            chunk.clear();
        }
        opened
    }

    fn is_last(&self, number: u32) -> bool {
        number + 1 >= self.header.chunks()
    }

    fn stream(&self, key: &FileKey) -> StreamBE32<XChaCha20Poly1305> {
        StreamBE32::from_aead(XChaCha20Poly1305::new((&**key).into()), &self.header.prefix.into())
    }
}

#[cfg(test)]
mod tests;
