//! Public keys by name, and P-256 signatures.

use crate::sha256;
use p256::ecdsa::VerifyingKey;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The name of an Ed25519 key: SHA-256 of its 32 public bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, minicbor::Encode, minicbor::Decode)]
#[cbor(transparent)]
pub struct KeyId(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);

impl KeyId {
    /// The name of this public key.
    pub fn of(public: &[u8; 32]) -> Self {
        Self(sha256(&[public]))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// The first eight bytes in hex: enough for a person to tell keys apart.
impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(8).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A device's public key: P-256, uncompressed SEC 1 (65 bytes). The private half never leaves the platform's
/// keystore.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DeviceKey([u8; 65]);

/// A signature by a key that it does not fit, or a key that is no point of the curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not by this key")]
pub struct BadSignature;

/// The thumbprint of a device's key (RFC 7638): how tokens and commands name the device they are bound to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Thumbprint(#[serde(with = "crate::b64")] pub [u8; 32]);

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thumbprint({})", crate::b64::encode(self.0))
    }
}

impl DeviceKey {
    /// Takes a public key after checking that it is a point of the curve.
    ///
    /// # Errors
    /// [`BadSignature`] if it is not an uncompressed point of P-256.
    pub fn from_sec1(bytes: &[u8]) -> Result<Self, BadSignature> {
        let bytes: [u8; 65] = bytes.try_into().map_err(|_| BadSignature)?;
        VerifyingKey::from_sec1_bytes(&bytes).map_err(|_| BadSignature)?;
        Ok(Self(bytes))
    }

    /// The uncompressed point.
    pub fn as_sec1(&self) -> &[u8; 65] {
        &self.0
    }

    /// The affine coordinates x and y, 32 bytes each.
    pub fn coordinates(&self) -> (&[u8], &[u8]) {
        self.0[1..].split_at(32)
    }

    /// The thumbprint of RFC 7638: SHA-256 of the key's canonical JWK.
    pub fn thumbprint(&self) -> Thumbprint {
        let (x, y) = self.coordinates();
        let jwk = format!(
            r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#,
            crate::b64::encode(x),
            crate::b64::encode(y)
        );
        Thumbprint(sha256(&[jwk.as_bytes()]))
    }

    /// Checks an ES256 signature (r ‖ s, 64 bytes) over a message.
    ///
    /// # Errors
    /// [`BadSignature`] if it is not by this key.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.0);
        key.verify(message, signature).map_err(|_| BadSignature)
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceKey({:?})", self.thumbprint())
    }
}
