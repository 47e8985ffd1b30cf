//! What a Roundsman device and its server say to each other.
//!
//! Two sorts of things cross the wire. *Messages* ([`api`], [`enrolment`], [`sync`], [`poke`]) are JSON inside TLS and may grow fields.
//! *Signed documents* ([`command`], [`wipe_order`], [`receipt`], [`root`], [`escrow`], [`lease`], [`policy`],
//! [`audit`]) are CBOR bytes that are verified exactly as they were sent, before they are parsed. The enrolment [`ticket`]
//! and the [`root_bundle`] are what QR codes hold.
//!
//! This crate is pure: no I/O, no clock, no randomness of its own. It does not decide who may do what; it makes
//! sure that what was said was said by the holder of a key.
#![forbid(unsafe_code)]

pub mod api;
pub mod attachment;
pub mod audit;
pub mod command;
pub mod dpop;
pub mod enrolment;
pub mod envelope;
pub mod error;
pub mod escrow;
pub mod hpke_seal;
pub mod integrity;
mod jws;
pub mod keys;
pub mod lease;
pub mod poke;
pub mod policy;
pub mod posture;
pub mod receipt;
pub mod rescue;
pub mod rescue_photo;
pub mod root;
pub mod root_bundle;
pub mod sealed_file;
pub mod session;
pub mod sync;
pub mod ticket;
pub mod wipe_order;

pub use error::{ErrorCode, Problem};

/// The version of the protocol: the `v1` of its paths and of every signed document.
pub const VERSION: u8 = 1;

/// Bytes as unpadded base64url text in JSON (RFC 4648 section 5).
pub mod b64 {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// The text for some bytes.
    pub fn encode(bytes: impl AsRef<[u8]>) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The bytes of a text; `None` if it is not unpadded base64url.
    pub fn decode(text: &str) -> Option<Vec<u8>> {
        URL_SAFE_NO_PAD.decode(text).ok()
    }

    /// For `#[serde(with = "b64")]`.
    pub fn serialize<S: Serializer>(bytes: &impl AsRef<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&encode(bytes))
    }

    /// For `#[serde(with = "b64")]`.
    pub fn deserialize<'de, D: Deserializer<'de>, T: TryFrom<Vec<u8>>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = decode(&text).ok_or_else(|| D::Error::custom("not base64url"))?;
        T::try_from(bytes).map_err(|_| D::Error::custom("wrong length"))
    }

    /// For `#[serde(with = "b64::list")]` on a `Vec<Vec<u8>>`.
    pub mod list {
        use serde::{Deserialize, Deserializer, Serializer, de::Error, ser::SerializeSeq};

        /// Serialises each element as base64url.
        pub fn serialize<S: Serializer>(list: &[Vec<u8>], serializer: S) -> Result<S::Ok, S::Error> {
            let mut seq = serializer.serialize_seq(Some(list.len()))?;
            for bytes in list {
                seq.serialize_element(&super::encode(bytes))?;
            }
            seq.end()
        }

        /// Reads each element from base64url.
        pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Vec<u8>>, D::Error> {
            Vec::<String>::deserialize(deserializer)?
                .iter()
                .map(|text| super::decode(text).ok_or_else(|| D::Error::custom("not base64url")))
                .collect()
        }
    }
}

/// SHA-256 of the parts, one after the other.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    use sha2::Digest;
    let mut hash = sha2::Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}
