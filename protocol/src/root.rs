//! Root metadata: which keys may sign what. Shaped after The Update Framework 1.0 (TUF), section 4.3.
//!
//! The enrolment ticket names the first root by its hash; each later root is signed by the one before it and by
//! itself, and follows it by exactly one.

use crate::envelope::{Domain, Envelope, EnvelopeError, decode, encode};
use crate::sha256;
use chrono::{DateTime, Utc};
use roundsman_model::OrgId;
use uuid::Uuid;

/// An Ed25519 public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(transparent)]
pub struct PublicKey(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);

/// Keys, and how many of them must sign.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct RoleKeys {
    /// How many distinct keys must sign.
    #[n(0)]
    pub threshold: u8,
    /// The keys.
    #[n(1)]
    pub keys: Vec<PublicKey>,
}

impl RoleKeys {
    /// Checks that enough of these keys signed.
    ///
    /// # Errors
    /// [`EnvelopeError::NotEnoughSignatures`] otherwise.
    pub fn verify(&self, domain: Domain, envelope: &Envelope) -> Result<(), EnvelopeError> {
        let keys: Vec<[u8; 32]> = self.keys.iter().map(|key| key.0).collect();
        envelope.verify(domain, &keys, self.threshold.into())
    }
}

/// Which keys an organisation trusts.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Root {
    /// The format, [`crate::VERSION`].
    #[n(0)]
    pub v: u8,
    /// The organisation.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub org: [u8; 16],
    /// The root's own version, from 1.
    #[n(2)]
    pub version: u32,
    /// When it should have been replaced: milliseconds since 1970.
    #[n(3)]
    pub expires_ms: i64,
    /// Who signs the next root.
    #[n(4)]
    pub root: RoleKeys,
    /// Who signs reversible commands and escrow receipts: a key the server holds.
    #[n(5)]
    pub command: RoleKeys,
    /// Who signs a wipe: keys of people, which the server can't use by itself.
    #[n(6)]
    pub approver: RoleKeys,
    /// X25519 key to which devices seal their release share.
    #[cbor(n(7), with = "minicbor::bytes")]
    pub release_key: [u8; 32],
}

impl Root {
    /// The organisation.
    pub fn org(&self) -> OrgId {
        OrgId(Uuid::from_bytes(self.org))
    }

    /// When it should have been replaced.
    pub fn expires(&self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_millis(self.expires_ms)
    }

    /// The bytes to sign.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Opens the first root: the one whose envelope has the hash that the ticket names.
    ///
    /// # Errors
    /// Another hash, not signed by its own root keys, or unreadable.
    pub fn open_first(envelope: &[u8], expected: &[u8; 32]) -> Result<Self, RootError> {
        if sha256(&[envelope]) != *expected {
            return Err(RootError::NotTheOneNamed);
        }
        let envelope = Envelope::from_bytes(envelope)?;
        let root: Self = decode(&envelope.payload)?;
        root.root.verify(Domain::Root, &envelope)?;
        Ok(root)
    }
}

/// Why root metadata is not to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    /// It is not the document that the ticket names.
    #[error("the server's keys are not the ones the enrolment code names")]
    NotTheOneNamed,
    /// Its envelope is wrong.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
}
