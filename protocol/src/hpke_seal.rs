//! Sealing to a public key: HPKE (RFC 9180), base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
//! ChaCha20-Poly1305.

use crate::sha256;
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use rand_core::{TryCryptoRng, TryRng};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use zeroize::{Zeroize, Zeroizing};

/// Something only the holder of a private key can read.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode, Serialize, Deserialize)]
pub struct Sealed {
    /// The encapsulated key.
    #[cbor(n(0), with = "minicbor::bytes")]
    #[serde(with = "crate::b64")]
    pub enc: [u8; 32],
    /// The ciphertext with its tag.
    #[cbor(n(1), with = "minicbor::bytes")]
    #[serde(with = "crate::b64")]
    pub ciphertext: Vec<u8>,
}

/// It can't be opened with this key for this purpose, or a key is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sealed data can't be opened with this key")]
pub struct SealError;

/// An X25519 key pair from 32 random bytes: (private, public).
pub fn key_pair(seed: &[u8; 32]) -> (Zeroizing<[u8; 32]>, [u8; 32]) {
    let (private, public) = X25519HkdfSha256::derive_keypair(seed);
    (Zeroizing::new(private.to_bytes().into()), public.to_bytes().into())
}

/// Seals `plaintext` to `public` for the purpose `info`, bound to `aad`. `seed` must be 32 fresh random bytes.
///
/// # Errors
/// [`SealError`] if the public key is not one.
pub fn seal(
    seed: [u8; 32],
    public: &[u8; 32],
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
) -> Result<Sealed, SealError> {
    let public = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(public).map_err(|_| SealError)?;
    let mut once = OneShot::new(seed);
    let (enc, ciphertext) =
        hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeS::Base,
            &public,
            info,
            plaintext,
            aad,
            &mut once,
        )
        .map_err(|_| SealError)?;
    Ok(Sealed { enc: enc.to_bytes().into(), ciphertext })
}

/// Opens what was sealed to `private` for the purpose `info`, bound to `aad`.
///
/// # Errors
/// [`SealError`] if any of them differs.
pub fn open(
    sealed: &Sealed,
    private: &[u8; 32],
    info: &[u8],
    aad: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let private = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(private).map_err(|_| SealError)?;
    let enc = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(&sealed.enc).map_err(|_| SealError)?;
    hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &private,
        &enc,
        info,
        &sealed.ciphertext,
        aad,
    )
    .map(Zeroizing::new)
    .map_err(|_| SealError)
}

/// Hands out the caller's random bytes, so that randomness stays the caller's to provide.
pub(crate) struct OneShot {
    seed: [u8; 32],
    drawn: u64,
}

impl OneShot {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self { seed, drawn: 0 }
    }
}

impl TryRng for OneShot {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for chunk in out.chunks_mut(32) {
            let mut block = sha256(&[b"fv1/hpke-seed\0", &self.seed, &self.drawn.to_be_bytes()]);
            chunk.copy_from_slice(&block[..chunk.len()]);
            block.zeroize();
            self.drawn += 1;
        }
        Ok(())
    }
}

impl TryCryptoRng for OneShot {}

impl Drop for OneShot {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_only_with_its_key_purpose_and_binding() -> Result<(), SealError> {
        let (private, public) = key_pair(&[1; 32]);
        let sealed = seal([2; 32], &public, b"info", b"aad", b"secret")?;
        assert_eq!(open(&sealed, &private, b"info", b"aad")?.as_slice(), b"secret");
        assert!(open(&sealed, &key_pair(&[9; 32]).0, b"info", b"aad").is_err());
        assert!(open(&sealed, &private, b"other", b"aad").is_err());
        assert!(open(&sealed, &private, b"info", b"other").is_err());
        Ok(())
    }
}
