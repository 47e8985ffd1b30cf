//! Key material in memory, and how one key follows from another.

use super::{FileKeys, KdfCost, Passcode, VaultError};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use sha2::Sha256;
use std::fmt::Write;
use subtle::ConstantTimeEq;
use uuid::Uuid;
use zeroize::{Zeroize, Zeroizing};

/// 32 secret bytes.
pub(super) type Secret = Zeroizing<[u8; 32]>;

/// Stretches a passcode.
pub(super) fn stretch(passcode: &Passcode, salt: &[u8; 16], cost: KdfCost) -> Result<Secret, VaultError> {
    let out_of_memory = |_| VaultError::OutOfMemory;
    let params = Params::new(cost.memory_kib, cost.passes, 1, Some(32)).map_err(out_of_memory)?;
    let mut memory: Vec<Block> = Vec::new();
    memory.try_reserve_exact(params.block_count()).map_err(|_| VaultError::OutOfMemory)?;
    memory.resize(params.block_count(), Block::default());
    let mut key = Zeroizing::new([0; 32]);
    let hashed = Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into_with_memory(
        passcode.as_bytes(),
        salt,
        key.as_mut_slice(),
        &mut memory,
    );
    // The last blocks give the key away.
    memory.iter_mut().for_each(Zeroize::zeroize);
    hashed.map_err(out_of_memory)?;
    Ok(key)
}

/// `N` bytes by HKDF-SHA256 (RFC 5869). `N` is at most 255 × 32.
pub(super) fn derive<const N: usize>(ikm: &[u8], salt: &[u8], info: &[&[u8]]) -> Zeroizing<[u8; N]> {
    const { assert!(N <= 255 * 32) };
    let mut okm = Zeroizing::new([0; N]);
    let expanded = Hkdf::<Sha256>::new(Some(salt), ikm).expand_multi_info(info, okm.as_mut_slice());
    debug_assert!(expanded.is_ok(), "the length was checked when this was compiled");
    okm
}

/// A key that wraps another, with a commitment that tells a wrong key from damage.
pub(super) struct WrappingKey(Zeroizing<[u8; 64]>);

/// A secret wrapped by another key.
#[derive(Clone, minicbor::Encode, minicbor::Decode)]
pub(super) struct Wrapped {
    /// Follows from the wrapping key and gives nothing of it away.
    #[cbor(n(0), with = "minicbor::bytes")]
    commitment: [u8; 32],
    #[cbor(n(1), with = "minicbor::bytes")]
    nonce: [u8; 24],
    #[cbor(n(2), with = "minicbor::bytes")]
    ciphertext: Vec<u8>,
}

/// Why a wrapped secret stays wrapped.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum UnwrapError {
    /// It was wrapped by another key.
    OtherKey,
    /// It was changed.
    Tampered,
}

impl WrappingKey {
    pub(super) fn derive(ikm: &[u8], salt: &[u8], info: &[&[u8]]) -> Self {
        Self(derive(ikm, salt, info))
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        let (key, _) = self.0.split_at(32);
        let mut fixed = chacha20poly1305::Key::default();
        fixed.copy_from_slice(key);
        let cipher = XChaCha20Poly1305::new(&fixed);
        fixed.zeroize();
        cipher
    }

    fn commitment(&self) -> &[u8] {
        self.0.split_at(32).1
    }

    pub(super) fn wrap(&self, secret: &Secret, aad: &[u8], nonce: [u8; 24]) -> Result<Wrapped, VaultError> {
        let mut commitment = [0; 32];
        commitment.copy_from_slice(self.commitment());
        let payload = Payload { msg: secret.as_slice(), aad };
        // Only a message of more than 2^38 bytes is refused.
        let ciphertext =
            self.cipher().encrypt(&XNonce::from(nonce), payload).map_err(|_| VaultError::OutOfMemory)?;
        Ok(Wrapped { commitment, nonce, ciphertext })
    }

    pub(super) fn unwrap(&self, wrapped: &Wrapped, aad: &[u8]) -> Result<Secret, UnwrapError> {
        if !bool::from(wrapped.commitment.as_slice().ct_eq(self.commitment())) {
            return Err(UnwrapError::OtherKey);
        }
        let payload = Payload { msg: &wrapped.ciphertext, aad };
        let plain = self.cipher().decrypt(&XNonce::from(wrapped.nonce), payload);
        let plain = Zeroizing::new(plain.map_err(|_| UnwrapError::Tampered)?);
        let secret: &[u8; 32] = plain.as_slice().try_into().map_err(|_| UnwrapError::Tampered)?;
        Ok(Zeroizing::new(*secret))
    }
}

/// The key of the database. Hold it only for as long as it takes to open the database.
pub struct DatabaseKey {
    key: Secret,
    digest: Secret,
    salt: Zeroizing<[u8; 16]>,
    files: FileKeys,
}

impl DatabaseKey {
    pub(super) fn derive(vault_key: &Secret, vault: Uuid) -> Self {
        let salt = vault.as_bytes();
        Self {
            key: derive(vault_key.as_slice(), salt, &[b"fv1/db"]),
            digest: derive(vault_key.as_slice(), salt, &[b"fv1/dig"]),
            salt: derive(vault_key.as_slice(), salt, &[b"fv1/db-salt"]),
            files: FileKeys::derive(vault_key, vault),
        }
    }

    /// The keys of the attachments.
    pub fn files(&self) -> &FileKeys {
        &self.files
    }

    /// The key for the digests of the database's tables.
    pub fn digest_key(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The text for `PRAGMA key`: `x'…'` with 64 hex digits of key and 32 of salt, so that SQLCipher takes it raw.
    pub fn pragma_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(99));
        text.push_str("x'");
        for byte in self.key.iter().chain(self.salt.iter()) {
            // Writing to a string can't fail.
            let _ = write!(text, "{byte:02x}");
        }
        text.push('\'');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> WrappingKey {
        WrappingKey::derive(&[n; 32], b"salt", &[b"info"])
    }

    #[test]
    fn the_text_of_a_database_key_has_the_form_sqlcipher_takes_raw() {
        let text = DatabaseKey::derive(&Zeroizing::new([1; 32]), Uuid::from_u128(2)).pragma_text();
        assert_eq!(text.len(), 99);
        assert!(text.starts_with("x'") && text.ends_with('\''));
        assert!(text[2..98].bytes().all(|byte| byte.is_ascii_hexdigit()));
        let other = DatabaseKey::derive(&Zeroizing::new([1; 32]), Uuid::from_u128(3)).pragma_text();
        assert_ne!(text, other);
    }

    #[test]
    fn hkdf_gives_the_bytes_of_rfc_5869_appendix_a_1() {
        let salt: Vec<u8> = (0..=0x0c).collect();
        let info: Vec<u8> = (0xf0..=0xf9).collect();
        let okm = derive::<42>(&[0x0b; 22], &salt, &[&info[..4], &info[4..]]);
        let known: [u8; 42] = [
            0x3c, 0xb2, 0x5f, 0x25, 0xfa, 0xac, 0xd5, 0x7a, 0x90, 0x43, 0x4f, 0x64, 0xd0, 0x36, 0x2f, 0x2a,
            0x2d, 0x2d, 0x0a, 0x90, 0xcf, 0x1a, 0x5a, 0x4c, 0x5d, 0xb0, 0x2d, 0x56, 0xec, 0xc4, 0xc5, 0xbf,
            0x34, 0x00, 0x72, 0x08, 0xd5, 0xb8, 0x87, 0x18, 0x58, 0x65,
        ];
        assert_eq!(*okm, known);
    }

    #[test]
    fn a_wrong_key_is_told_from_damage() -> Result<(), VaultError> {
        let secret = Zeroizing::new([7; 32]);
        let mut wrapped = key(1).wrap(&secret, b"aad", [0; 24])?;
        assert_eq!(key(1).unwrap(&wrapped, b"aad"), Ok(secret));
        assert_eq!(key(2).unwrap(&wrapped, b"aad"), Err(UnwrapError::OtherKey));
        assert_eq!(key(1).unwrap(&wrapped, b"other"), Err(UnwrapError::Tampered));
        wrapped.ciphertext[0] ^= 1;
        assert_eq!(key(1).unwrap(&wrapped, b"aad"), Err(UnwrapError::Tampered));
        Ok(())
    }
}
