//! How content lies in the object storage: part by part, each sealed by itself.
//!
//! ```text
//! part   nonce (24, random) | ciphertext of up to 256 KiB | tag (16)
//!        XChaCha20-Poly1305; additional data = object (16) | part's number (8, big-endian)
//! ```
//!
//! How many parts there are is in the database, so one that is missing is noticed like one that was changed. A random nonce
//! for each, and not its number, lets a part be sent twice under one key.

use crate::random::{self, NoEntropy};
use crate::storage::{StorageError, StoredContent};
use bytes::Bytes;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use roundsman_protocol::attachment::PART;
use std::ops::Range;
use zeroize::Zeroizing;

const NONCE: usize = 24;

/// Bytes that a part grows by.
const GROWTH: u64 = 24 + 16;

/// Opens and seals the parts of one content.
pub(super) struct Parts {
    cipher: XChaCha20Poly1305,
    object: uuid::Uuid,
}

impl Parts {
    pub(super) fn of(content: &StoredContent) -> Result<Self, StorageError> {
        let cipher =
            XChaCha20Poly1305::new_from_slice(&content.key).map_err(|_| StorageError::Damaged("key"))?;
        Ok(Self { cipher, object: content.object })
    }

    pub(super) fn seal(&self, number: u64, part: &[u8]) -> Result<Bytes, NoEntropy> {
        let nonce = random::bytes::<NONCE>()?;
        let payload = Payload { msg: part, aad: &self.place(number) };
        // Only a part of more than 2^38 bytes is refused.
        let sealed = self.cipher.encrypt(&nonce.into(), payload).map_err(|_| NoEntropy)?;
        Ok([nonce.as_slice(), &sealed].concat().into())
    }

    /// The part, unless what lies there is another one or was changed.
    pub(super) fn open(&self, number: u64, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>()?;
        let payload = Payload { msg: sealed, aad: &self.place(number) };
        self.cipher.decrypt(&(*nonce).into(), payload).map(Zeroizing::new).ok()
    }

    fn place(&self, number: u64) -> Vec<u8> {
        [self.object.as_bytes().as_slice(), &number.to_be_bytes()].concat()
    }
}

/// A key for one content.
pub(super) fn new_key() -> Result<Zeroizing<Vec<u8>>, NoEntropy> {
    Ok(Zeroizing::new(random::bytes::<32>()?.to_vec()))
}

/// How many parts content of this size has.
pub(super) fn count(size: u64) -> u64 {
    size.div_ceil(PART)
}

/// How many bytes all sealed parts have together.
pub(super) fn sealed_size(size: u64) -> u64 {
    size.saturating_add(count(size).saturating_mul(GROWTH))
}

/// Where a sealed part lies among the others.
pub(super) fn range(size: u64, number: u64) -> Range<u64> {
    let start = number * (PART + GROWTH);
    let length = roundsman_protocol::attachment::part_size(size, number * PART);
    start..start + length + GROWTH
}

#[cfg(test)]
mod tests {
    use super::*;
    use roundsman_model::DeviceId;
    use uuid::Uuid;

    #[test]
    fn a_part_opens_in_its_place_under_its_key_only() -> Result<(), Box<dyn std::error::Error>> {
        let content = |object: u128, key: u8| StoredContent {
            attachment: Uuid::from_u128(1),
            device: DeviceId(Uuid::nil()),
            object: Uuid::from_u128(object),
            key: Zeroizing::new(vec![key; 32]),
            size: 0,
            received: 0,
            stored: false,
            moved_ms: 0,
        };
        let parts = Parts::of(&content(2, 3))?;
        let sealed = parts.seal(4, b"a shelf")?;
        assert!(!sealed.windows(7).any(|window| window == b"a shelf"));
        assert_eq!(sealed.len() as u64, 7 + GROWTH);
        assert_eq!(parts.open(4, &sealed).as_deref().map(Vec::as_slice), Some(b"a shelf".as_slice()));
        assert!(parts.open(5, &sealed).is_none() && parts.open(4, &sealed[..20]).is_none());
        assert!(Parts::of(&content(9, 3))?.open(4, &sealed).is_none(), "another object's");
        assert!(Parts::of(&content(2, 9))?.open(4, &sealed).is_none(), "another key's");
        let mut changed = sealed.to_vec();
        changed[30] ^= 1;
        assert!(parts.open(4, &changed).is_none());
        assert!(Parts::of(&StoredContent { key: Zeroizing::new(vec![1; 5]), ..content(1, 1) }).is_err());
        Ok(())
    }
}
