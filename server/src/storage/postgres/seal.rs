//! Seals secrets with the server's key before they reach the database: whoever has the database alone can't read the keys
//! that sign commands and open release shares, nor second factors.

use crate::random;
use crate::storage::sqlite::DatabaseKey;
use crate::storage::{Result, StorageError};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Bytes of a nonce.
const NONCE: usize = 24;

/// Seals and opens. A sealed value is a random nonce and the ciphertext; where it is stored is authenticated with it, so
/// that one value can't be put in the place of another.
pub(super) struct Sealer(XChaCha20Poly1305);

impl Sealer {
    pub(super) fn new(key: &DatabaseKey) -> Result<Self> {
        // HMAC takes a key of any length, so this always is `Ok`.
        let mut mac = Hmac::<Sha256>::new_from_slice(key.0.as_slice()).map_err(|_| StorageError::WrongKey)?;
        mac.update(b"roundsman/v1/sealed-settings");
        let derived: Zeroizing<[u8; 32]> = Zeroizing::new(mac.finalize().into_bytes().into());
        Ok(Self(XChaCha20Poly1305::new_from_slice(derived.as_slice()).map_err(|_| StorageError::WrongKey)?))
    }

    pub(super) fn seal(&self, label: &str, secret: &[u8]) -> Result<Vec<u8>> {
        let nonce = random::bytes::<NONCE>().map_err(|error| StorageError::Database(Box::new(error)))?;
        let sealed = self
            .0
            .encrypt(&nonce.into(), Payload { msg: secret, aad: label.as_bytes() })
            .map_err(|_| StorageError::Damaged("secret"))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    pub(super) fn open(&self, label: &str, stored: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = stored.split_first_chunk::<NONCE>().ok_or(StorageError::Damaged("secret"))?;
        let payload = Payload { msg: sealed, aad: label.as_bytes() };
        self.0.decrypt(&(*nonce).into(), payload).map(Zeroizing::new).map_err(|_| StorageError::WrongKey)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_with_its_key_in_its_place_only() -> Result<()> {
        let sealer = Sealer::new(&DatabaseKey(Zeroizing::new([1; 32])))?;
        let other = Sealer::new(&DatabaseKey(Zeroizing::new([2; 32])))?;
        let sealed = sealer.seal("setting/a", b"secret")?;
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
        assert_ne!(sealed, sealer.seal("setting/a", b"secret")?, "a nonce of its own");
        assert_eq!(sealer.open("setting/a", &sealed)?.as_slice(), b"secret");
        assert!(matches!(sealer.open("setting/b", &sealed), Err(StorageError::WrongKey)));
        assert!(matches!(other.open("setting/a", &sealed), Err(StorageError::WrongKey)));
        assert!(matches!(sealer.open("setting/a", &sealed[..8]), Err(StorageError::Damaged(_))));
        Ok(())
    }
}
