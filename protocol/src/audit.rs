//! The audit chain: who did what on a device, so that no entry can be changed, left out or replaced unnoticed.
//!
//! Each entry holds the hash of the one before it. A chain alone does not show that its end was cut off (Ma and
//! Tsudik, "A new approach to secure logging", 2009), so its length and head are kept in three places more: the
//! device's control file, the platform's keystore, and the server, which countersigns what it has stored.

use crate::envelope::{Domain, Envelope, EnvelopeError, decode, encode};
use crate::root::Root;
use crate::{b64, sha256};
use chrono::{DateTime, Utc};
use roundsman_model::DeviceId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What was done.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    minicbor::Encode,
    minicbor::Decode,
)]
#[serde(rename_all = "snake_case")]
#[cbor(index_only)]
pub enum Action {
    /// The device joined its organisation.
    #[n(0)]
    Enrolled,
    /// The vault was opened with the passcode.
    #[n(1)]
    Opened,
    /// A passcode was wrong.
    #[n(2)]
    WrongPasscode,
    /// The vault was closed.
    #[n(3)]
    Closed,
    /// The passcode was changed.
    #[n(4)]
    PasscodeChanged,
    /// A command was carried out.
    #[n(5)]
    CommandDone,
    /// A command was refused.
    #[n(6)]
    CommandRefused,
    /// A record was looked at.
    #[n(7)]
    RecordViewed,
    /// Records were searched for.
    #[n(8)]
    Searched,
    /// A record was changed.
    #[n(9)]
    RecordChanged,
    /// The clock was turned back, or jumped.
    #[n(10)]
    ClockChanged,
    /// The vault's key was replaced.
    #[n(11)]
    KeyRotated,
    /// Biometrics were allowed to open the vault, or no longer.
    #[n(12)]
    BiometricsChanged,
    /// The vault was opened with biometrics.
    #[n(13)]
    OpenedByBiometrics,
    /// The phone's posture gave cause for concern.
    #[n(14)]
    PostureConcern,
    /// The user erased the device.
    #[n(15)]
    Erased,
    /// A part of the data was not as the server has it, and was fetched anew.
    #[n(16)]
    DataHealed,
}

impl Action {
    /// The words for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Enrolled => "joined the organisation",
            Self::Opened => "opened with the passcode",
            Self::WrongPasscode => "wrong passcode",
            Self::Closed => "closed",
            Self::PasscodeChanged => "passcode changed",
            Self::CommandDone => "command carried out",
            Self::CommandRefused => "command refused",
            Self::RecordViewed => "record viewed",
            Self::Searched => "searched",
            Self::RecordChanged => "record changed",
            Self::ClockChanged => "clock changed",
            Self::KeyRotated => "vault key replaced",
            Self::BiometricsChanged => "biometrics switched",
            Self::OpenedByBiometrics => "opened with biometrics",
            Self::PostureConcern => "concern about the phone",
            Self::Erased => "erased by its user",
            Self::DataHealed => "data fetched anew",
        }
    }
}

/// A record that an entry is about. No personal data: the entity's name and the record's id.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Object {
    /// The entity.
    #[n(0)]
    pub entity: String,
    /// The record's id.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub id: [u8; 16],
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Entry {
    /// Its number, from 1.
    #[n(0)]
    pub seq: u64,
    /// The hash of the entry before it; zeros for the first.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub prev: [u8; 32],
    /// When, by the device's clock: milliseconds since 1970.
    #[n(2)]
    pub at_ms: i64,
    /// The user.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub actor: [u8; 16],
    /// The device.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub device: [u8; 16],
    /// What was done.
    #[n(5)]
    pub action: Action,
    /// The record it was done to.
    #[n(6)]
    pub object: Option<Object>,
}

impl Entry {
    /// The most bytes of an entry.
    pub const MAX: usize = 512;

    /// The bytes that are stored, sent and hashed.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// It can't be read, or is too large.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AuditError> {
        if bytes.len() > Self::MAX {
            return Err(AuditError::Malformed);
        }
        decode(bytes).map_err(|_| AuditError::Malformed)
    }

    /// When, by the device's clock.
    pub fn at(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.at_ms).unwrap_or_default()
    }
}

/// The end of a chain: how many entries it has, and the hash of the last one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, minicbor::Encode, minicbor::Decode,
)]
pub struct Head {
    /// The number of the last entry; 0 for an empty chain.
    #[n(0)]
    pub seq: u64,
    /// Its hash; zeros for an empty chain.
    #[cbor(n(1), with = "minicbor::bytes")]
    #[serde(with = "b64")]
    pub hash: [u8; 32],
}

/// What is wrong with a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum AuditError {
    /// An entry can't be read.
    #[error("an entry of the audit log can't be read")]
    Malformed,
    /// Entries are missing before this one.
    #[error("entries of the audit log are missing")]
    Gap,
    /// An entry does not follow from the one before it: one of the two was changed.
    #[error("an entry of the audit log was changed")]
    Edited,
    /// There is another entry of this number already.
    #[error("the audit log has forked")]
    Fork,
    /// The log is shorter than it was.
    #[error("the end of the audit log is missing")]
    Truncated,
    /// An entry is another device's.
    #[error("an entry of the audit log is another device's")]
    OtherDevice,
}

impl Head {
    /// The head after an entry with these bytes.
    ///
    /// # Errors
    /// The entry does not follow this head.
    pub fn extend(self, device: DeviceId, bytes: &[u8]) -> Result<(Self, Entry), AuditError> {
        let entry = Entry::from_bytes(bytes)?;
        if entry.device != *device.0.as_bytes() {
            return Err(AuditError::OtherDevice);
        }
        if entry.seq > self.seq + 1 {
            return Err(AuditError::Gap);
        }
        if entry.seq <= self.seq {
            return Err(AuditError::Fork);
        }
        if entry.prev != self.hash {
            return Err(AuditError::Edited);
        }
        Ok((self.follow(entry.seq, bytes), entry))
    }

    fn follow(self, seq: u64, bytes: &[u8]) -> Self {
        Self { seq, hash: sha256(&[b"fv1/aud\0", &self.hash, bytes]) }
    }

    /// Makes the entry that follows this head, and the head after it.
    pub fn append(
        self,
        at: DateTime<Utc>,
        actor: Uuid,
        device: DeviceId,
        action: Action,
        object: Option<Object>,
    ) -> (Self, Vec<u8>) {
        let (seq, at_ms) = (self.seq + 1, at.timestamp_millis());
        let (actor, device) = (*actor.as_bytes(), *device.0.as_bytes());
        let bytes = Entry { seq, prev: self.hash, at_ms, actor, device, action, object }.to_bytes();
        (self.follow(seq, &bytes), bytes)
    }
}

/// The most entries of one report.
pub const MAX_ENTRIES: usize = 500;

/// Entries on their way to the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditReport {
    /// Entries after the last one that the server has countersigned, oldest first.
    #[serde(with = "b64::list", default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<Vec<u8>>,
    /// The end of the device's whole chain.
    pub head: Head,
    /// The device's ES256 signature (r ‖ s) over [`head_message`].
    #[serde(with = "b64")]
    pub signature: Vec<u8>,
}

/// What a device signs to vouch for the end of its chain.
pub fn head_message(device: DeviceId, head: Head) -> Vec<u8> {
    [b"fv1/aud-head\0".as_slice(), device.0.as_bytes(), &head.seq.to_be_bytes(), &head.hash].concat()
}

/// The server's word that it has stored a device's chain up to a place.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Checkpoint {
    /// The device.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub device: [u8; 16],
    /// How far.
    #[n(1)]
    pub head: Head,
    /// When it was stored: milliseconds since 1970.
    #[n(2)]
    pub stored_ms: i64,
}

impl Checkpoint {
    /// The bytes to sign.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Opens a checkpoint and checks that it is the server's, for this device.
    ///
    /// # Errors
    /// [`EnvelopeError::Malformed`] if it is another device's; otherwise as the envelope says.
    pub fn open(envelope: &[u8], root: &Root, device: DeviceId) -> Result<Self, EnvelopeError> {
        let envelope = Envelope::from_bytes(envelope)?;
        root.command.verify(Domain::Audit, &envelope)?;
        let checkpoint: Self = decode(&envelope.payload)?;
        if checkpoint.device == *device.0.as_bytes() { Ok(checkpoint) } else { Err(EnvelopeError::Malformed) }
    }
}

/// The end of the server's chain through the entries of all devices, to be kept where the server can't write.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Anchor {
    /// The organisation.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub org: [u8; 16],
    /// The chain's end.
    #[n(1)]
    pub head: Head,
    /// When it was signed: milliseconds since 1970.
    #[n(2)]
    pub at_ms: i64,
}

impl Anchor {
    /// The bytes to sign.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Opens an anchor and checks that it was signed by the server under this root.
    ///
    /// # Errors
    /// [`EnvelopeError::Malformed`] if it is another organisation's; otherwise as the envelope says.
    pub fn open(envelope: &[u8], root: &Root) -> Result<Self, EnvelopeError> {
        let envelope = Envelope::from_bytes(envelope)?;
        root.command.verify(Domain::Anchor, &envelope)?;
        let anchor: Self = decode(&envelope.payload)?;
        if anchor.org == root.org { Ok(anchor) } else { Err(EnvelopeError::Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DEVICE: DeviceId = DeviceId(Uuid::from_u128(7));

    fn chain(actions: &[Action]) -> (Head, Vec<Vec<u8>>) {
        let mut head = Head::default();
        let entries = actions.iter().map(|action| {
            let (next, bytes) = head.append(DateTime::default(), Uuid::nil(), DEVICE, *action, None);
            head = next;
            bytes
        });
        let entries = entries.collect();
        (head, entries)
    }

    fn read(entries: &[Vec<u8>]) -> Result<Head, AuditError> {
        entries.iter().try_fold(Head::default(), |head, bytes| Ok(head.extend(DEVICE, bytes)?.0))
    }

    const DAY: [Action; 4] = [Action::Opened, Action::RecordViewed, Action::RecordChanged, Action::Closed];

    #[test]
    fn audit_edit() -> Result<(), AuditError> {
        let (head, entries) = chain(&DAY);
        assert_eq!(read(&entries), Ok(head));
        let mut edited = entries.clone();
        let mut entry = Entry::from_bytes(&edited[1])?;
        entry.action = Action::Searched;
        edited[1] = entry.to_bytes();
        assert_eq!(read(&edited), Err(AuditError::Edited));
        Ok(())
    }

    #[test]
    fn audit_cut_out_of_the_middle() {
        let (_, mut entries) = chain(&DAY);
        entries.remove(1);
        assert_eq!(read(&entries), Err(AuditError::Gap));
    }

    #[test]
    fn audit_fork() -> Result<(), AuditError> {
        let (_, mut entries) = chain(&DAY);
        let before = read(&entries[..3])?;
        let (_, other) = before.append(DateTime::default(), Uuid::nil(), DEVICE, Action::Searched, None);
        entries.push(other);
        assert_eq!(read(&entries), Err(AuditError::Fork));
        Ok(())
    }

    #[test]
    fn an_entry_of_another_device_is_refused() {
        let (_, bytes) = Head::default().append(
            DateTime::default(),
            Uuid::nil(),
            DeviceId(Uuid::nil()),
            Action::Opened,
            None,
        );
        assert_eq!(read(&[bytes]), Err(AuditError::OtherDevice));
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_noticed(entry in 0usize..4, byte in 0usize..100, bit in 0u8..8) {
            let (head, mut entries) = chain(&DAY);
            prop_assume!(byte < entries[entry].len());
            entries[entry][byte] ^= 1 << bit;
            prop_assert!(read(&entries) != Ok(head));
        }

        #[test]
        fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = Head::default().extend(DEVICE, &bytes);
        }
    }
}
