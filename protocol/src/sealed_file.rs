//! The format of a sealed file: the content of an attachment as it lies on a device.
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

use aead_stream::{NewStream, StreamBE32, StreamPrimitive};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use sha2::{Digest, Sha256};
use uuid::Uuid;
use zeroize::Zeroizing;

/// The key of one file.
pub type FileKey = Zeroizing<[u8; 32]>;

/// Why a file, or a part of it, does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// It is cut short.
    #[error("the sealed file is cut short")]
    Truncated,
    /// It was changed, or the key is another one.
    #[error("the sealed file is damaged")]
    Damaged,
    /// It is of a newer version of the format.
    #[error("the sealed file is of a newer version")]
    Newer,
}

/// Bytes of content in a chunk.
pub const CHUNK: usize = 1 << CHUNK_LOG2;
const CHUNK_LOG2: u8 = 16;

/// Bytes that each chunk grows by.
pub const TAG: usize = 16;

/// Bytes of the header.
pub const HEADER: usize = 4 + 1 + 1 + 16 + PREFIX + 8;

/// Bytes of the random prefix of the nonces.
pub const PREFIX: usize = 19;

const MAGIC: &[u8; 4] = b"FVA1";

/// STREAM-BE32 over XChaCha20-Poly1305.
const SUITE: u8 = 1;

/// Chunks have numbers of 32 bits.
const MAX_PADDED: u64 = (u32::MAX as u64) << CHUNK_LOG2;

/// The length to which content of this size is filled up (Padmé).
pub fn padded(size: u64) -> u64 {
    let Some(exponent) = size.checked_ilog2().filter(|exponent| *exponent > 0) else { return size };
    let kept = exponent.ilog2() + 1;
    let mask = (1 << (exponent - kept)) - 1;
    size.saturating_add(mask) & !mask
}

/// The first bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The file's name.
    pub file: Uuid,
    prefix: [u8; PREFIX],
    /// The length of the content and its padding.
    pub padded: u64,
}

impl Header {
    /// The header for content of this size, of which no chunk was sealed with this prefix and the file's key before.
    pub fn new(file: Uuid, prefix: [u8; PREFIX], size: u64) -> Self {
        Self { file, prefix, padded: padded(size) }
    }

    /// The bytes that the file begins with.
    pub fn to_bytes(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(MAGIC);
        (bytes[4], bytes[5]) = (SUITE, CHUNK_LOG2);
        bytes[6..22].copy_from_slice(self.file.as_bytes());
        bytes[22..22 + PREFIX].copy_from_slice(&self.prefix);
        bytes[22 + PREFIX..].copy_from_slice(&self.padded.to_be_bytes());
        bytes
    }

    /// Reads what a file begins with.
    ///
    /// # Errors
    /// It is cut short, no header, or of a newer version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FileError> {
        let bytes = bytes.first_chunk::<HEADER>().ok_or(FileError::Truncated)?;
        if !bytes.starts_with(MAGIC) {
            return Err(FileError::Damaged);
        }
        if (bytes[4], bytes[5]) != (SUITE, CHUNK_LOG2) {
            return Err(FileError::Newer);
        }
        let (mut file, mut prefix, mut length) = ([0; 16], [0; PREFIX], [0; 8]);
        file.copy_from_slice(&bytes[6..22]);
        prefix.copy_from_slice(&bytes[22..22 + PREFIX]);
        length.copy_from_slice(&bytes[22 + PREFIX..]);
        let length = u64::from_be_bytes(length);
        if length > MAX_PADDED || padded(length) != length {
            return Err(FileError::Damaged);
        }
        Ok(Self { file: Uuid::from_bytes(file), prefix, padded: length })
    }

    /// How many chunks there are; nothing is sealed as one empty chunk.
    pub fn chunks(&self) -> u32 {
        // `padded` is at most `MAX_PADDED`.
        self.padded.div_ceil(CHUNK as u64).max(1) as u32
    }

    /// How much content is in a chunk.
    pub fn chunk_size(&self, number: u32) -> usize {
        self.padded.saturating_sub(u64::from(number) << CHUNK_LOG2).min(CHUNK as u64) as usize
    }

    /// How many bytes the whole file has.
    pub fn stored(&self) -> u64 {
        HEADER as u64 + self.padded + u64::from(self.chunks()) * TAG as u64
    }
}

/// What chunks of one file are sealed and opened with, but for its key.
#[derive(Clone)]
pub struct Chunks {
    header: Header,
    bound_to: [u8; 32],
}

impl Chunks {
    /// The chunks of the file with this header.
    pub fn of(header: Header) -> Self {
        let bound_to = Sha256::digest(header.to_bytes()).into();
        Self { header, bound_to }
    }

    /// What the file begins with.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Seals a chunk in its place.
    ///
    /// # Errors
    /// It is larger than any chunk.
    pub fn seal(&self, key: &FileKey, number: u32, chunk: &mut Vec<u8>) -> Result<(), FileError> {
        // Only a chunk of more than 2^38 bytes is refused.
        self.stream(key)
            .encrypt_in_place(number, self.is_last(number), &self.bound_to, chunk)
            .map_err(|_| FileError::Damaged)
    }

    /// Reads a chunk and opens it; `read` is given the place in the file and what to fill, and says how much it was.
    /// `chunk` is empty after an error.
    ///
    /// # Errors
    /// The chunk is cut short, was changed, or is not this one; what `read` fails with.
    pub fn open<E: From<FileError>>(
        &self,
        key: &FileKey,
        number: u32,
        chunk: &mut Vec<u8>,
        read: impl FnOnce(u64, &mut [u8]) -> Result<usize, E>,
    ) -> Result<(), E> {
        chunk.clear();
        chunk.resize(self.header.chunk_size(number) + TAG, 0);
        let at = HEADER as u64 + u64::from(number) * (CHUNK + TAG) as u64;
        let opened = match read(at, chunk) {
            Ok(count) if count < chunk.len() => Err(FileError::Truncated.into()),
            Ok(_) => self
                .stream(key)
                .decrypt_in_place(number, self.is_last(number), &self.bound_to, chunk)
                .map_err(|_| FileError::Damaged.into()),
            Err(error) => Err(error),
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
