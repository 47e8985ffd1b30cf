//! Receipts: a device's signed word of what became of a command.

use crate::envelope::{EnvelopeError, decode, encode};
use crate::keys::{BadSignature, DeviceKey};
use chrono::{DateTime, Utc};
use roundsman_model::DeviceId;
use uuid::Uuid;

const DOMAIN: &[u8] = b"fv1/receipt\0";

/// How far the device has come.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub enum Progress {
    /// The vault refuses to open, but the share is still there: it was not in escrow yet.
    #[n(0)]
    SoftLocked,
    /// The local release share is destroyed.
    #[n(1)]
    Locked,
    /// The release share is back.
    #[n(2)]
    Unlocked,
    /// Every key is destroyed: nothing can be read any more, on this device or from a copy of it.
    #[n(3)]
    Shredded {
        /// The names of the keys that were destroyed.
        #[n(0)]
        keys: Vec<String>,
        /// Whether the platform's keystore confirmed that its key is gone.
        #[n(1)]
        platform_confirmed: bool,
        /// How many changes had not been sent; `None` if the vault was closed and could not be asked.
        #[n(2)]
        unsent: Option<u64>,
        /// What led to it.
        #[n(3)]
        trigger: Trigger,
    },
    /// Every file is removed too; nothing is left to do.
    #[n(4)]
    Complete {
        /// How many files were removed.
        #[n(0)]
        files: u32,
        /// What became of the unsent work.
        #[n(1)]
        rescue: Rescue,
    },
    /// The command was refused, with no effect.
    #[n(5)]
    Refused {
        /// The reason, as the device words it.
        #[n(0)]
        reason: String,
    },
}

/// What led to a wipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Trigger {
    /// A command.
    #[n(0)]
    Command,
    /// The last wrong passcode.
    #[n(1)]
    LastAttempt,
    /// The lease: the device stayed away too long.
    #[n(2)]
    Lease,
    /// The user erased the device.
    #[n(3)]
    User,
    /// A wipe that was begun where the disk had no room to record it. What led to it is not known; a command comes
    /// again and lends it its cause.
    #[n(4)]
    Unrecorded,
}

impl Trigger {
    /// The words for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Command => "a command",
            Self::LastAttempt => "too many wrong passcodes",
            Self::Lease => "the device stayed away too long",
            Self::User => "its user",
            Self::Unrecorded => "a wipe that a full disk could not record",
        }
    }
}

/// What a wipe did with the sealed outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Rescue {
    /// Segments that the server has confirmed.
    #[n(0)]
    pub segments: u32,
    /// Segments that were removed without being handed over: the order said so, or the server would not take them
    /// for 30 days.
    #[n(1)]
    pub discarded: u32,
    /// Photos and other attachments whose content the server has confirmed.
    #[cbor(n(2), default)]
    pub photos: u32,
    /// Photos and other attachments that were not sent and were removed without being handed over, for the same
    /// reasons.
    #[cbor(n(3), default)]
    pub photos_discarded: u32,
}

impl Progress {
    /// The name for people and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::SoftLocked => "soft_locked",
            Self::Locked => "locked",
            Self::Unlocked => "unlocked",
            Self::Shredded { .. } => "shredded",
            Self::Complete { .. } => "complete",
            Self::Refused { .. } => "refused",
        }
    }
}

/// What a device says of a command.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Receipt {
    /// The format, [`crate::VERSION`].
    #[n(0)]
    pub v: u8,
    /// The device.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub device: [u8; 16],
    /// The vault.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub vault: [u8; 16],
    /// The command's id; zeros for what the device did by itself.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub command: [u8; 16],
    /// The command's hash; zeros for what the device did by itself.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub command_hash: [u8; 32],
    /// How far it has come.
    #[n(5)]
    pub progress: Progress,
    /// When, by the device's clock: milliseconds since 1970.
    #[n(6)]
    pub at_ms: i64,
    /// The version of the core.
    #[n(7)]
    pub core: String,
}

impl Receipt {
    /// The command's id; `None` for what the device did by itself.
    pub fn command(&self) -> Option<Uuid> {
        (self.command != [0; 16]).then(|| Uuid::from_bytes(self.command))
    }

    /// The device.
    pub fn device(&self) -> DeviceId {
        DeviceId(Uuid::from_bytes(self.device))
    }

    /// When, by the device's clock.
    pub fn at(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.at_ms).unwrap_or_default()
    }
}

/// A receipt with its signature.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct SignedReceipt {
    #[cbor(n(0), with = "minicbor::bytes")]
    payload: Vec<u8>,
    #[cbor(n(1), with = "minicbor::bytes")]
    signature: Vec<u8>,
}

/// Why a receipt proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// It can't be read.
    #[error("the receipt can't be read")]
    Malformed,
    /// It is not signed by the device's key.
    #[error("the receipt is not signed by the device's key")]
    Signature,
}

impl From<EnvelopeError> for ReceiptError {
    fn from(_: EnvelopeError) -> Self {
        Self::Malformed
    }
}

impl From<BadSignature> for ReceiptError {
    fn from(_: BadSignature) -> Self {
        Self::Signature
    }
}

impl SignedReceipt {
    /// Signs a receipt. `sign` makes an ES256 signature (r ‖ s) over the message it is given.
    ///
    /// # Errors
    /// What `sign` fails with.
    pub fn sign<E>(receipt: &Receipt, sign: impl FnOnce(&[u8]) -> Result<[u8; 64], E>) -> Result<Self, E> {
        let payload = encode(receipt);
        let signature = sign(&[DOMAIN, &payload].concat())?.to_vec();
        Ok(Self { payload, signature })
    }

    /// The bytes to store and send.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads a receipt and checks that the device signed it.
    ///
    /// # Errors
    /// It can't be read, or is not by this key.
    pub fn open(bytes: &[u8], key: &DeviceKey) -> Result<Receipt, ReceiptError> {
        let signed: Self = decode(bytes)?;
        key.verify(&[DOMAIN, &signed.payload].concat(), &signed.signature)?;
        Ok(decode(&signed.payload)?)
    }
}
