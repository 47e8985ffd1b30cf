//! Commands: what an administrator tells a device to do, whoever holds it and whether or not it is locked.

use crate::envelope::{Domain, Envelope, EnvelopeError, decode, encode};
use crate::hpke_seal::Sealed;
use crate::keys::Thumbprint;
use crate::root::Root;
use crate::sha256;
use crate::wipe_order::{WipeOrder, WipeOrderError};
use chrono::{DateTime, Utc};
use roundsman_model::DeviceId;
use uuid::Uuid;

/// How far ahead of the last accepted command the next may be numbered.
pub const MAX_JUMP: u64 = 10_000;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub enum Kind {
    /// Destroy the local release share. Nothing is lost; nothing can be opened.
    #[n(0)]
    Lock,
    /// Take the release share back. Answers the device's challenge.
    #[n(1)]
    Unlock {
        /// The challenge's nonce.
        #[cbor(n(0), with = "minicbor::bytes")]
        nonce: [u8; 16],
        /// The share, sealed to the challenge's key.
        #[n(1)]
        share: Sealed,
    },
    /// Destroy every key, then every file.
    #[n(2)]
    Wipe {
        /// The envelope of the [`WipeOrder`] that the approvers signed.
        #[cbor(n(0), with = "minicbor::bytes")]
        order: Vec<u8>,
    },
}

impl Kind {
    /// The name for people and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Lock => "lock",
            Self::Unlock { .. } => "unlock",
            Self::Wipe { .. } => "wipe",
        }
    }

    /// Whether the command becomes void with time. A lock or a wipe stays due: the device may have been off.
    pub fn expires(&self) -> bool {
        matches!(self, Self::Unlock { .. })
    }
}

/// A command to one device.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Command {
    /// The format, [`crate::VERSION`].
    #[n(0)]
    pub v: u8,
    /// The organisation.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub org: [u8; 16],
    /// The device.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub device: [u8; 16],
    /// The device's key.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub thumbprint: [u8; 32],
    /// Its number on this device, from 1.
    #[n(4)]
    pub seq: u64,
    /// The hash of the command before it; zeros for the first.
    #[cbor(n(5), with = "minicbor::bytes")]
    pub prev: [u8; 32],
    /// What is to be done.
    #[n(6)]
    pub kind: Kind,
    /// Why, for the person who holds the device.
    #[n(7)]
    pub reason: String,
    /// Its own id.
    #[cbor(n(8), with = "minicbor::bytes")]
    pub id: [u8; 16],
    /// When it was given: milliseconds since 1970.
    #[n(9)]
    pub issued_ms: i64,
    /// Until when it holds, for those that expire: milliseconds since 1970.
    #[n(10)]
    pub not_after_ms: i64,
    /// The root that names its signers.
    #[n(11)]
    pub root_version: u32,
}

/// What a device knows when it judges a command.
#[derive(Clone, Copy, Debug)]
pub struct Judge<'a> {
    /// The trusted keys.
    pub root: &'a Root,
    /// This device.
    pub device: DeviceId,
    /// This device's key.
    pub thumbprint: Thumbprint,
    /// The number of the last accepted command; 0 before the first.
    pub last_seq: u64,
    /// The hash of the last accepted command; zeros before the first.
    pub last_hash: [u8; 32],
    /// The nonce of the unlock challenge that is open, if one is.
    pub challenge: Option<[u8; 16]>,
    /// The earliest it can be now.
    pub now: DateTime<Utc>,
}

/// Why a command is refused. Nothing has happened when it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Too large, unreadable, or not enough signatures of the role that may sign it.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// Of another format.
    #[error("the command is of a version this device does not know")]
    UnknownVersion,
    /// For another organisation.
    #[error("the command is for another organisation")]
    OtherOrganisation,
    /// For another device, or for this one with another key.
    #[error("the command is for another device")]
    OtherDevice,
    /// Signed under a root this device does not have.
    #[error("the command names root {named}, this device has {known}")]
    OtherRoot {
        /// The root it names.
        named: u32,
        /// The root the device has.
        known: u32,
    },
    /// Its number was accepted before.
    #[error("command {seq} was carried out before")]
    Replayed {
        /// Its number.
        seq: u64,
    },
    /// Its number is too far ahead.
    #[error("command {seq} is too far ahead of {last}")]
    Jump {
        /// Its number.
        seq: u64,
        /// The last accepted one.
        last: u64,
    },
    /// It does not follow the last accepted command: one between was withheld or changed.
    #[error("the command does not follow the last one")]
    BrokenChain,
    /// It answers no challenge of this device.
    #[error("the unlock answers no challenge of this device")]
    NoChallenge,
    /// It is too old.
    #[error("the command has expired")]
    Expired,
    /// A wipe without a good order.
    #[error(transparent)]
    Order(#[from] WipeOrderError),
}

impl Command {
    /// The bytes to sign.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Its hash: what the next one names as `prev`.
    pub fn hash(&self) -> [u8; 32] {
        sha256(&[&self.to_bytes()])
    }

    /// Its id.
    pub fn id(&self) -> Uuid {
        Uuid::from_bytes(self.id)
    }

    /// When it was given.
    pub fn issued_at(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.issued_ms).unwrap_or_default()
    }

    /// Reads and judges a command, in this order: size, form, signatures, addressee,
    /// root, number, chain, challenge, time.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn open(envelope: &[u8], judge: &Judge<'_>) -> Result<Self, Refusal> {
        let envelope = Envelope::from_bytes(envelope)?;
        judge.root.command.verify(Domain::Command, &envelope)?;
        let command: Self = decode(&envelope.payload)?;
        if let Kind::Wipe { order } = &command.kind {
            // The server's key gives a wipe its place among the commands; people's keys give it leave.
            WipeOrder::open(order, judge.root, judge.device, judge.thumbprint, judge.now)?;
        }
        command.judge(judge)?;
        Ok(command)
    }

    /// Whether unsent work is to be destroyed with the rest. Of a command that was opened.
    pub fn discards_unsent(&self) -> bool {
        let Kind::Wipe { order } = &self.kind else { return false };
        let order = Envelope::from_bytes(order).and_then(|order| WipeOrder::from_payload(&order.payload));
        order.is_ok_and(|order| order.discard_unsent)
    }

    fn judge(&self, judge: &Judge<'_>) -> Result<(), Refusal> {
        let last = judge.last_seq;
        if self.v != crate::VERSION {
            return Err(Refusal::UnknownVersion);
        }
        if self.org != judge.root.org {
            return Err(Refusal::OtherOrganisation);
        }
        if self.device != *judge.device.0.as_bytes() || self.thumbprint != judge.thumbprint.0 {
            return Err(Refusal::OtherDevice);
        }
        // An older root is one that the command was signed under before this device caught up; what counts is that
        // the keys of the present one signed it.
        if self.root_version > judge.root.version {
            return Err(Refusal::OtherRoot { named: self.root_version, known: judge.root.version });
        }
        if self.seq <= last {
            return Err(Refusal::Replayed { seq: self.seq });
        }
        if self.seq > last.saturating_add(MAX_JUMP) {
            return Err(Refusal::Jump { seq: self.seq, last });
        }
        if self.seq != last + 1 || self.prev != judge.last_hash {
            return Err(Refusal::BrokenChain);
        }
        if let Kind::Unlock { nonce, .. } = &self.kind
            && judge.challenge.as_ref() != Some(nonce)
        {
            return Err(Refusal::NoChallenge);
        }
        if self.kind.expires() && judge.now.timestamp_millis() > self.not_after_ms {
            return Err(Refusal::Expired);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::tests::{key, root};

    const DEVICE: DeviceId = DeviceId(Uuid::from_u128(7));

    fn command(kind: Kind) -> Command {
        Command {
            v: 1,
            org: [9; 16],
            device: *DEVICE.0.as_bytes(),
            thumbprint: [3; 32],
            seq: 1,
            prev: [0; 32],
            kind,
            reason: "lost".into(),
            id: [5; 16],
            issued_ms: 1_000,
            not_after_ms: 2_000,
            root_version: 1,
        }
    }

    fn unlock() -> Command {
        let share = Sealed { enc: [0; 32], ciphertext: vec![1] };
        command(Kind::Unlock { nonce: [4; 16], share })
    }

    /// A wipe whose order these keys have signed.
    fn wipe(approvers: &[u8]) -> Command {
        let order = WipeOrder {
            v: 1,
            org: [9; 16],
            device: *DEVICE.0.as_bytes(),
            thumbprint: [3; 32],
            id: [6; 16],
            reason: "lost".into(),
            discard_unsent: true,
            issued_ms: 1_000,
            not_after_ms: 9_000,
        };
        let keys: Vec<_> = approvers.iter().map(|n| key(*n)).collect();
        let order = Envelope::sign(Domain::WipeOrder, order.to_bytes(), &keys.iter().collect::<Vec<_>>());
        command(Kind::Wipe { order: order.to_bytes() })
    }

    fn open(command: &Command, signer: u8) -> Result<Command, Refusal> {
        let envelope = Envelope::sign(Domain::Command, command.to_bytes(), &[&key(signer)]).to_bytes();
        let judge = Judge {
            root: &root(),
            device: DEVICE,
            thumbprint: Thumbprint([3; 32]),
            last_seq: 0,
            last_hash: [0; 32],
            challenge: Some([4; 16]),
            now: DateTime::from_timestamp_millis(1_500).unwrap_or_default(),
        };
        Command::open(&envelope, &judge)
    }

    #[test]
    fn a_command_for_this_device_is_taken() {
        for command in [command(Kind::Lock), unlock(), wipe(&[2, 3])] {
            assert_eq!(open(&command, 1), Ok(command));
        }
        assert!(wipe(&[2, 3]).discards_unsent() && !unlock().discards_unsent());
    }

    #[test]
    fn server_key_alone_cannot_wipe() {
        let unapproved = |valid| {
            Err(Refusal::Order(WipeOrderError::NotApproved(EnvelopeError::NotEnoughSignatures {
                valid,
                needed: 2,
            })))
        };
        assert_eq!(open(&wipe(&[]), 1), unapproved(0));
        assert_eq!(open(&wipe(&[1, 1]), 1), unapproved(0));
        assert_eq!(open(&wipe(&[2, 1]), 1), unapproved(1));
        let none = Kind::Wipe { order: vec![] };
        assert!(matches!(open(&command(none), 1), Err(Refusal::Order(WipeOrderError::NotApproved(_)))));
        assert!(matches!(open(&wipe(&[2, 3]), 2), Err(Refusal::Envelope(_))), "nor can the approvers alone");
    }

    #[test]
    fn each_thing_wrong_has_its_own_refusal() {
        let refused = |change: &dyn Fn(&mut Command)| {
            let mut command = unlock();
            change(&mut command);
            open(&command, 1).err()
        };
        assert_eq!(refused(&|c| c.v = 2), Some(Refusal::UnknownVersion));
        assert_eq!(refused(&|c| c.org = [1; 16]), Some(Refusal::OtherOrganisation));
        assert_eq!(refused(&|c| c.device = [1; 16]), Some(Refusal::OtherDevice));
        assert_eq!(refused(&|c| c.thumbprint = [1; 32]), Some(Refusal::OtherDevice));
        assert_eq!(refused(&|c| c.root_version = 2), Some(Refusal::OtherRoot { named: 2, known: 1 }));
        assert_eq!(refused(&|c| c.seq = 0), Some(Refusal::Replayed { seq: 0 }));
        assert_eq!(refused(&|c| c.seq = 2), Some(Refusal::BrokenChain));
        assert_eq!(refused(&|c| c.seq = 10_001), Some(Refusal::Jump { seq: 10_001, last: 0 }));
        assert_eq!(refused(&|c| c.prev = [1; 32]), Some(Refusal::BrokenChain));
        assert_eq!(refused(&|c| c.not_after_ms = 1_000), Some(Refusal::Expired));
        let other = |c: &mut Command| {
            c.kind = Kind::Unlock { nonce: [8; 16], share: Sealed { enc: [0; 32], ciphertext: vec![] } };
        };
        assert_eq!(refused(&other), Some(Refusal::NoChallenge));
    }

    #[test]
    fn a_forged_command_is_refused() {
        assert!(matches!(open(&command(Kind::Lock), 77), Err(Refusal::Envelope(_))));
    }
}
