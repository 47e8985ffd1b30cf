//! The keys of the attachments: each file has one of its own, wrapped by a key that follows from the vault's.

use super::keys::{Secret, derive};
use crate::platform::{Entropy, EntropyError};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use uuid::Uuid;
use zeroize::Zeroizing;

/// A wrapped key: nonce, key, tag.
const WRAPPED: usize = NONCE + 32 + 16;
const NONCE: usize = 24;

pub use roundsman_protocol::sealed_file::FileKey;

/// What the keys of attachments are wrapped with, and what their contents are named by. It is in memory only while the
/// vault is open.
pub struct FileKeys {
    vault: Uuid,
    wrapping: Secret,
    naming: Secret,
}

impl FileKeys {
    /// The keys that follow from the key of this vault.
    pub fn derive(vault_key: &Zeroizing<[u8; 32]>, vault: Uuid) -> Self {
        let salt = vault.as_bytes();
        Self {
            vault,
            wrapping: derive(vault_key.as_slice(), salt, &[b"fv1/att"]),
            naming: derive(vault_key.as_slice(), salt, &[b"fv1/cid"]),
        }
    }

    /// The same keys once more, for a session that outlives the key of the database.
    pub fn duplicate(&self) -> Self {
        Self { vault: self.vault, wrapping: self.wrapping.clone(), naming: self.naming.clone() }
    }

    /// Wraps the key of the file with this name; it opens for this vault and this file only.
    ///
    /// # Errors
    /// [`EntropyError`] if there is no randomness.
    pub fn wrap(&self, entropy: &dyn Entropy, file: Uuid, key: &FileKey) -> Result<Vec<u8>, EntropyError> {
        let nonce = entropy.bytes::<NONCE>()?;
        let payload = Payload { msg: key.as_slice(), aad: &self.bound_to(file) };
        // Only a message of more than 2^38 bytes is refused.
        let sealed = self.cipher().encrypt(&XNonce::from(nonce), payload).map_err(|_| EntropyError)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// The key of the file with this name; `None` if it was wrapped for another file or by other keys, or was changed.
    pub fn unwrap(&self, file: Uuid, wrapped: &[u8]) -> Option<FileKey> {
        let wrapped: &[u8; WRAPPED] = wrapped.try_into().ok()?;
        let (nonce, sealed) = wrapped.split_first_chunk::<NONCE>()?;
        let payload = Payload { msg: sealed, aad: &self.bound_to(file) };
        let plain = Zeroizing::new(self.cipher().decrypt(&XNonce::from(*nonce), payload).ok()?);
        let mut key = FileKey::new([0; 32]);
        if plain.len() != key.len() {
            return None;
        }
        key.copy_from_slice(&plain);
        Some(key)
    }

    /// The key of this file wrapped by `new` in place of these keys. `None` if it is not wrapped by these: it was
    /// wrapped anew already, or is damaged.
    ///
    /// # Errors
    /// [`EntropyError`] if there is no randomness.
    pub fn rewrap(
        &self,
        new: &Self,
        entropy: &dyn Entropy,
        file: Uuid,
        wrapped: &[u8],
    ) -> Result<Option<Vec<u8>>, EntropyError> {
        self.unwrap(file, wrapped).map(|key| new.wrap(entropy, file, &key)).transpose()
    }

    /// A name for content with this SHA-256, which is the same for the same content in this vault and tells nobody else
    /// what the content is.
    pub fn content_id(&self, sha256: &[u8; 32]) -> [u8; 32] {
        let mut key = Zeroizing::new([0; 64]);
        key[..32].copy_from_slice(self.naming.as_slice());
        let mut mac = <Hmac<Sha256> as KeyInit>::new(&(*key).into());
        mac.update(sha256);
        mac.finalize().into_bytes().into()
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.wrapping).into())
    }

    fn bound_to(&self, file: Uuid) -> [u8; 32] {
        let mut bound = [0; 32];
        bound[..16].copy_from_slice(self.vault.as_bytes());
        bound[16..].copy_from_slice(file.as_bytes());
        bound
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use super::*;
    use crate::platform::OsEntropy;

    fn keys(n: u8, vault: u128) -> FileKeys {
        FileKeys::derive(&Zeroizing::new([n; 32]), Uuid::from_u128(vault))
    }

    #[test]
    fn a_wrapped_key_opens_for_its_own_vault_and_file_only() {
        let (own, file) = (keys(1, 7), Uuid::from_u128(3));
        let wrapped = own.wrap(&OsEntropy, file, &FileKey::new([5; 32])).unwrap();
        assert_eq!(wrapped.len(), WRAPPED);
        assert_eq!(own.unwrap(file, &wrapped).unwrap().as_slice(), [5; 32]);
        assert!(own.unwrap(Uuid::from_u128(4), &wrapped).is_none());
        assert!(keys(2, 7).unwrap(file, &wrapped).is_none());
        assert!(keys(1, 8).unwrap(file, &wrapped).is_none());
        for at in 0..wrapped.len() {
            let mut changed = wrapped.clone();
            changed[at] ^= 1;
            assert!(own.unwrap(file, &changed).is_none(), "byte {at}");
            assert!(own.unwrap(file, &wrapped[..at]).is_none(), "cut at {at}");
        }
    }

    #[test]
    fn a_key_that_is_wrapped_anew_opens_with_the_new_keys_alone() {
        let (old, new, file) = (keys(1, 7), keys(2, 7), Uuid::from_u128(3));
        let wrapped = old.wrap(&OsEntropy, file, &FileKey::new([5; 32])).unwrap();
        let anew = old.rewrap(&new, &OsEntropy, file, &wrapped).unwrap().unwrap();
        assert_eq!(new.unwrap(file, &anew).unwrap().as_slice(), [5; 32]);
        assert!(old.unwrap(file, &anew).is_none());
        assert_eq!(old.rewrap(&new, &OsEntropy, file, &anew).unwrap(), None, "once is enough");
    }

    #[test]
    fn the_name_of_content_depends_on_the_vault() {
        let (content, other) = ([1; 32], [2; 32]);
        assert_eq!(keys(1, 7).content_id(&content), keys(1, 7).content_id(&content));
        assert_ne!(keys(1, 7).content_id(&content), keys(1, 7).content_id(&other));
        assert_ne!(keys(1, 7).content_id(&content), keys(1, 8).content_id(&content));
        assert_ne!(keys(1, 7).content_id(&content), content);
    }
}
