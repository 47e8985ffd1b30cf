//! What the vault must know without a passcode: the content of the control file. Nothing in it is secret.

use super::VaultError;
use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decoder, Encoder};
use roundsman_model::{DeviceId, OrgId, UserId};
use roundsman_protocol::api::Turn;
use roundsman_protocol::audit::Head;
use roundsman_protocol::escrow::EscrowedShare;
use roundsman_protocol::hpke_seal::Sealed;
use roundsman_protocol::keys::Thumbprint;
use roundsman_protocol::receipt::{Receipt, Rescue, Trigger};
use roundsman_protocol::root::Root;
use roundsman_protocol::sha256;
use roundsman_protocol::ticket::SpkiPin;
use uuid::Uuid;

/// How many commands' receipts, and how many refusals, are kept for a repeat.
const KEPT: usize = 8;

/// Who is enrolled, and where.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Profile {
    /// This device, as the server named it.
    #[cbor(n(0), with = "id")]
    pub device: DeviceId,
    /// The organisation.
    #[cbor(n(1), with = "id")]
    pub org: OrgId,
    /// The user.
    #[cbor(n(2), with = "id")]
    pub user: UserId,
    /// The user's name, for the screen.
    #[n(3)]
    pub user_name: String,
    /// The organisation's name, for the screen.
    #[n(4)]
    pub org_name: String,
    /// The server's address: `https://…`, without a path.
    #[n(5)]
    pub url: String,
    /// The keys the server's certificate may have.
    #[n(6)]
    pub pins: Vec<SpkiPin>,
    /// The envelope of the root metadata, as it was verified at enrolment.
    #[cbor(n(7), with = "minicbor::bytes")]
    pub root: Vec<u8>,
}

impl Profile {
    /// Trusts this root, whose envelope was verified, and goes by its pins and its address if it has any.
    pub(crate) fn adopt(&mut self, root: &Root, envelope: &[u8]) {
        self.root = envelope.to_vec();
        if !root.pins.is_empty() {
            self.pins.clone_from(&root.pins);
        }
        if let Some(url) = root.url.as_ref().filter(|url| !url.is_empty()) {
            self.url.clone_from(url);
        }
    }

    /// The organisation's keys.
    pub(crate) fn root(&self) -> Result<Root, VaultError> {
        // The envelope was checked against the ticket at enrolment and is authenticated with the record since.
        Ok(Root::kept(&self.root)?)
    }
}

/// Whose order it was: a command's, or with zeros the device's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub(crate) struct Cause {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(crate) command: [u8; 16],
    #[cbor(n(1), with = "minicbor::bytes")]
    pub(crate) hash: [u8; 32],
}

/// What the vault may be used for.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub(crate) enum Status {
    /// The right passcode opens it.
    #[n(0)]
    Ready {
        /// The release share has been away in an unlock: a new one is due at the next passcode.
        #[n(0)]
        rotate: bool,
    },
    /// A lock has begun.
    #[n(1)]
    Locking(#[n(0)] Cause),
    /// It refuses to open; the release share is still here, because it is not in escrow yet.
    #[n(2)]
    SoftLocked(#[n(0)] Cause),
    /// The local release share is destroyed.
    #[n(3)]
    Locked,
    /// A wipe has begun.
    #[n(4)]
    Wiping(#[n(0)] Wipe),
}

/// A wipe, and how far it has come. Each stage is written after its effects.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub(crate) struct Wipe {
    #[n(0)]
    pub(crate) cause: Cause,
    /// Changes that were not sent when it began.
    #[n(1)]
    pub(crate) unsent: Option<u64>,
    #[n(2)]
    pub(crate) stage: Stage,
    /// What led to it.
    #[n(3)]
    pub(crate) trigger: Trigger,
    /// Whether the sealed outbox is destroyed too, in place of being handed over.
    #[n(4)]
    pub(crate) discard: bool,
    /// What became of the sealed outbox so far.
    #[n(5)]
    pub(crate) rescue: Rescue,
    /// When the keys were destroyed: milliseconds since 1970; 0 before.
    #[n(6)]
    pub(crate) shredded_ms: i64,
    /// Files that were removed so far.
    #[n(7)]
    pub(crate) files: u32,
    /// The segment or the photo that was handed over last, so that none is counted twice.
    #[n(8)]
    pub(crate) handed: Option<ByteArray<16>>,
}

impl Wipe {
    /// A wipe that has done nothing yet.
    pub(super) fn begun(cause: Cause, trigger: Trigger, unsent: Option<u64>, discard: bool) -> Self {
        let (rescue, stage) = (Rescue::default(), Stage::Marked);
        Self { cause, unsent, stage, trigger, discard, rescue, shredded_ms: 0, files: 0, handed: None }
    }
}

/// What a wipe has done for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub(crate) enum Stage {
    /// The vault will never open again, in any process.
    #[n(0)]
    Marked,
    /// Every key is destroyed.
    #[n(1)]
    Shredded,
    /// Every file is removed but the sealed outbox and the photos that were not sent.
    #[n(2)]
    Purged,
    /// The sealed outbox and those photos are handed over, or given up, and removed.
    #[n(3)]
    Rescued,
}

/// The present release share, as far as the server is concerned.
#[derive(Clone, Debug, minicbor::Encode, minicbor::Decode)]
pub(crate) struct Escrow {
    #[cbor(n(0), with = "id")]
    pub(crate) share: Uuid,
    /// The share sealed to the organisation's release key, until the server has confirmed it.
    #[n(1)]
    pub(crate) sealed: Option<Sealed>,
    /// The envelope of the server's receipt.
    #[cbor(n(2))]
    pub(crate) receipt: Option<ByteVec>,
    /// Tells whether a share that comes back is this one; gives nothing of it away.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub(crate) check: [u8; 32],
    /// The share sealed to the organisation's recovery key, until the server has confirmed it.
    #[n(4)]
    pub(crate) recovery: Option<Sealed>,
    /// Tells the organisation's keys that it was sealed to from others.
    #[cbor(n(5), with = "minicbor::bytes")]
    pub(crate) sealed_to: [u8; 32],
    /// The device is on a leash: the server has confirmed the share, and its file is destroyed or about to be.
    #[cbor(n(6), default)]
    pub(crate) leashed: bool,
}

impl Escrow {
    /// What tells keys that shares are sealed to from others.
    pub(super) fn keys_of(root: &Root) -> [u8; 32] {
        sha256(&[b"fv1/escrow-keys\0", &root.release_key, &root.recovery_key])
    }

    /// What is to be sent to the server.
    pub(crate) fn due(&self) -> Option<EscrowedShare> {
        let recovery = self.recovery.clone();
        self.sealed.clone().map(|sealed| EscrowedShare { share: self.share, sealed, recovery })
    }
}

/// A receipt on its way to the server. It is signed when it is first sent, so that a keystore that refuses for a
/// while never holds up a lock or a wipe.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub(crate) enum Queued {
    #[n(0)]
    Owed(#[n(0)] Receipt),
    #[n(1)]
    Signed(#[n(0)] ByteVec),
}

/// An accepted command and what was answered.
#[derive(Clone, Debug, minicbor::Encode, minicbor::Decode)]
pub(crate) struct Answered {
    #[n(0)]
    cause: Cause,
    #[n(1)]
    receipts: Vec<Queued>,
}

/// The content of the control file.
#[derive(Clone, minicbor::Encode, minicbor::Decode)]
pub(crate) struct Record {
    #[cbor(n(0), with = "id")]
    pub(crate) install: Uuid,
    #[cbor(n(1), with = "id")]
    pub(crate) vault: Uuid,
    #[n(2)]
    pub(crate) profile: Profile,
    /// The thumbprint of the device's key: a command is judged even while the keystore is locked.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub(crate) thumbprint: [u8; 32],
    #[n(4)]
    pub(crate) status: Status,
    /// Passcodes tried since the vault last opened.
    #[n(5)]
    pub(crate) attempts: u32,
    #[n(6)]
    pub(crate) last_attempt_ms: i64,
    #[n(7)]
    pub(crate) last_seq: u64,
    #[cbor(n(8), with = "minicbor::bytes")]
    pub(crate) last_hash: [u8; 32],
    #[n(9)]
    pub(crate) queue: Vec<Queued>,
    #[n(10)]
    answered: Vec<Answered>,
    /// Hashes of envelopes whose refusal was reported.
    #[n(11)]
    refused: Vec<ByteVec>,
    #[n(12)]
    pub(crate) escrow: Escrow,
    /// The envelope of the lease, as it was verified.
    #[n(13)]
    pub(crate) lease: Option<ByteVec>,
    /// What is known of time.
    #[n(14)]
    pub(crate) time: TimeMarks,
    /// The envelope of the policy, as it was verified.
    #[n(15)]
    pub(crate) policy: Option<ByteVec>,
    /// The turn of the next report.
    #[n(16)]
    pub(crate) turn: Turn,
    /// The highest number of a commit of the store that was seen.
    #[n(17)]
    pub(crate) commit: u64,
    /// The audit chain.
    #[n(18)]
    pub(crate) audit: AuditMarks,
    /// The control file was once found to be an earlier one than the keystore's mark knows.
    #[n(19)]
    pub(crate) put_back: bool,
    /// When the right passcode was last typed: milliseconds since 1970.
    #[n(20)]
    pub(crate) entered_ms: i64,
    /// The segments of the sealed outbox and the photos that were handed over in the present lock.
    #[n(21)]
    pub(crate) handed: Vec<ByteArray<16>>,
}

/// What is known of time, so that it can't be wound back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub(crate) struct TimeMarks {
    /// The latest time that was ever trusted: milliseconds since 1970.
    #[n(0)]
    pub(crate) trusted_ms: i64,
    /// The server's time when it was last heard: milliseconds since 1970.
    #[n(1)]
    pub(crate) server_ms: i64,
    /// The start of the device in which the server was last heard.
    #[cbor(n(2), with = "id")]
    pub(crate) boot: Uuid,
    /// Milliseconds from that start to when the server was last heard.
    #[n(3)]
    pub(crate) elapsed_ms: u64,
    /// When a time past the end of the lease was first seen, by the wall clock: milliseconds since 1970; 0 for never.
    #[n(4)]
    pub(crate) late_ms: i64,
    /// What the wall clock showed when the server was last heard: milliseconds since 1970. A clock that is wrong by
    /// a constant is as good as a right one.
    #[n(5)]
    pub(crate) wall_ms: i64,
    /// The start of the device in which a time past the end of the lease was first seen.
    #[cbor(n(6), with = "id")]
    pub(crate) late_boot: Uuid,
    /// Milliseconds from that start to when it was seen.
    #[n(7)]
    pub(crate) late_elapsed_ms: u64,
    /// The version of the root under which the server was last heard.
    #[n(8)]
    pub(crate) root: u32,
}

/// How far the audit chain has come.
#[derive(Clone, Debug, Default, minicbor::Encode, minicbor::Decode)]
pub(crate) struct AuditMarks {
    /// The end of the chain.
    #[n(0)]
    pub(crate) head: Head,
    /// What the server has countersigned.
    #[n(1)]
    pub(crate) stored: Head,
    /// The envelope of its checkpoint.
    #[n(2)]
    pub(crate) checkpoint: Option<ByteVec>,
}

impl Record {
    /// Whether a wipe has begun.
    pub(super) fn is_wiping(&self) -> bool {
        matches!(self.status, Status::Wiping(_))
    }

    /// Whether later commits of the database are noted here: not in a wipe, nor where the number bears witness of a copy.
    pub(super) fn notes_commits(&self) -> bool {
        !self.put_back && !self.is_wiping()
    }

    /// The record of a vault that was just made.
    pub(super) fn new(install: Uuid, vault: Uuid, profile: Profile, key: Thumbprint, escrow: Escrow) -> Self {
        Self {
            install,
            vault,
            profile,
            thumbprint: key.0,
            status: Status::Ready { rotate: false },
            attempts: 0,
            last_attempt_ms: 0,
            last_seq: 0,
            last_hash: [0; 32],
            queue: Vec::new(),
            answered: Vec::new(),
            refused: Vec::new(),
            escrow,
            lease: None,
            time: TimeMarks::default(),
            policy: None,
            turn: Turn::default(),
            commit: 0,
            audit: AuditMarks::default(),
            put_back: false,
            entered_ms: 0,
            handed: Vec::new(),
        }
    }

    /// Marks a command as accepted: nothing with its number is accepted again.
    pub(crate) fn accept(&mut self, seq: u64, cause: Cause) {
        (self.last_seq, self.last_hash) = (seq, cause.hash);
        if self.answered.len() == KEPT {
            self.answered.remove(0);
        }
        self.answered.push(Answered { cause, receipts: Vec::new() });
    }

    /// Queues a receipt, and keeps it for a repeat of its command.
    pub(crate) fn owe(&mut self, receipt: Receipt) {
        let hash = receipt.command_hash;
        let queued = Queued::Owed(receipt);
        if let Some(answered) = self.answered_mut(&hash) {
            answered.receipts.push(queued.clone());
        }
        self.queue.push(queued);
    }

    /// Puts the signature to the receipt at this place in the queue, and to its copy that is kept.
    pub(crate) fn signed(&mut self, place: usize, signed: Vec<u8>) {
        let signed = Queued::Signed(signed.into());
        let Some(queued) = self.queue.get_mut(place) else { return };
        let owed = std::mem::replace(queued, signed.clone());
        let kept = self.answered.iter_mut().flat_map(|answered| &mut answered.receipts);
        for kept in kept.filter(|kept| **kept == owed) {
            *kept = signed.clone();
        }
    }

    /// Queues once more what was answered to a command. `false` if it is not known any more.
    pub(crate) fn answer_again(&mut self, hash: &[u8; 32]) -> bool {
        let Some(answered) = self.answered_mut(hash) else { return false };
        for receipt in answered.receipts.clone() {
            if !self.queue.contains(&receipt) {
                self.queue.push(receipt);
            }
        }
        true
    }

    fn answered_mut(&mut self, hash: &[u8; 32]) -> Option<&mut Answered> {
        self.answered.iter_mut().find(|answered| answered.cause.hash == *hash)
    }

    /// Notes that these bytes were refused. `false` if that was noted before.
    pub(crate) fn refuse(&mut self, envelope: [u8; 32]) -> bool {
        if self.refused.iter().any(|known| known.as_slice() == envelope) {
            return false;
        }
        if self.refused.len() == KEPT {
            self.refused.remove(0);
        }
        self.refused.push(envelope.to_vec().into());
        true
    }

    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, VaultError> {
        encode(self)
    }

    pub(super) fn from_bytes(bytes: &[u8], file: &'static str) -> Result<Self, VaultError> {
        minicbor::decode(bytes).map_err(|_| VaultError::Tampered { file })
    }
}

/// Encodes what a file holds.
pub(super) fn encode<T: minicbor::Encode<()>>(value: &T) -> Result<Vec<u8>, VaultError> {
    // Writing to memory fails only for want of memory.
    minicbor::to_vec(value).map_err(|_| VaultError::OutOfMemory)
}

/// Ids as 16 bytes.
pub(super) mod id {
    use super::{Decoder, DeviceId, Encoder, OrgId, UserId, Uuid};
    use minicbor::decode::Error as DecodeError;
    use minicbor::encode::{Error as EncodeError, Write};

    pub(in crate::vault) trait Id: Sized {
        fn uuid(&self) -> Uuid;
        fn of(uuid: Uuid) -> Self;
    }

    macro_rules! ids {
        ($($name:ident)*) => {
            $(impl Id for $name {
                fn uuid(&self) -> Uuid {
                    self.0
                }

                fn of(uuid: Uuid) -> Self {
                    Self(uuid)
                }
            })*
        };
    }
    ids!(DeviceId OrgId UserId);

    impl Id for Uuid {
        fn uuid(&self) -> Uuid {
            *self
        }

        fn of(uuid: Uuid) -> Self {
            uuid
        }
    }

    pub(in crate::vault) fn encode<C, T: Id, W: Write>(
        id: &T,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        encoder.bytes(id.uuid().as_bytes())?.ok()
    }

    pub(in crate::vault) fn decode<C, T: Id>(decoder: &mut Decoder<'_>, _: &mut C) -> Result<T, DecodeError> {
        Uuid::from_slice(decoder.bytes()?).map(T::of).map_err(|_| DecodeError::message("an id has 16 bytes"))
    }
}
