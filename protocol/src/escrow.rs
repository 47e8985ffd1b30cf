//! The release share in escrow: what lets a locked device be unlocked again.
//!
//! The device seals its release share to the organisation's release key and gives it to the server. The server
//! answers with a signed [`EscrowReceipt`]. Only a device that holds a receipt for its present share destroys
//! the local copy on a lock; without one, a lock would be a loss.

use crate::envelope::{Domain, Envelope, EnvelopeError, decode, encode};
use crate::hpke_seal::Sealed;
use crate::root::Root;
use roundsman_model::DeviceId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The purpose of a share sealed for escrow.
pub const ESCROW_INFO: &[u8] = b"fv1/escrow";

/// The purpose of a share sealed back to a device's challenge.
pub const UNLOCK_INFO: &[u8] = b"fv1/unlock";

/// The purpose of a share sealed to the question of a device on a leash.
pub const LEASH_INFO: &[u8] = b"fv1/leash";

/// What a sealed share is bound to: its device and its own id.
pub fn share_aad(device: DeviceId, share: Uuid) -> Vec<u8> {
    [device.0.as_bytes().as_slice(), share.as_bytes()].concat()
}

/// What a share for a device on a leash is bound to: its device, its own id, and the question that it answers.
pub fn leash_aad(device: DeviceId, share: Uuid, nonce: [u8; 16]) -> Vec<u8> {
    [device.0.as_bytes().as_slice(), share.as_bytes(), &nonce].concat()
}

/// A release share on its way to the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EscrowedShare {
    /// The share's id; a new share has a new one.
    pub share: Uuid,
    /// The share, sealed to the root's release key.
    pub sealed: Sealed,
    /// The share, sealed once more, to the root's recovery key: what the organisation unlocks with when its server is
    /// lost. `None` from devices that seal to the release key alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Sealed>,
}

/// A device's request for its share, because it is locked or on a leash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnlockChallenge {
    /// Random; the answer must repeat it.
    #[serde(with = "crate::b64")]
    pub nonce: [u8; 16],
    /// A fresh X25519 key to seal the answer to.
    #[serde(with = "crate::b64")]
    pub public_key: [u8; 32],
}

/// The server's word that it keeps a share.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct EscrowReceipt {
    /// The device.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub device: [u8; 16],
    /// The share's id.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub share: [u8; 16],
    /// When it was stored: milliseconds since 1970.
    #[n(2)]
    pub stored_ms: i64,
}

impl EscrowReceipt {
    /// The bytes to sign.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Opens a receipt and checks that it is the server's, for this device and this share.
    ///
    /// # Errors
    /// [`EnvelopeError::Malformed`] if it is for another device or share; otherwise as the envelope says.
    pub fn open(envelope: &[u8], root: &Root, device: DeviceId, share: Uuid) -> Result<Self, EnvelopeError> {
        let envelope = Envelope::from_bytes(envelope)?;
        root.command.verify(Domain::Escrow, &envelope)?;
        let receipt: Self = decode(&envelope.payload)?;
        if receipt.device != *device.0.as_bytes() || receipt.share != *share.as_bytes() {
            return Err(EnvelopeError::Malformed);
        }
        Ok(receipt)
    }
}
