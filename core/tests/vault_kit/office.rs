//! The server's side of one device: signs commands, keeps shares and receipts.

use ed25519_dalek::SigningKey;
use roundsman_core::model::{DeviceId, OrgId, UserId};
use roundsman_core::protocol::api::{Checkin, CheckinAnswer, DeviceState, Turn};
use roundsman_core::protocol::attachment::UploadAnswer;
use roundsman_core::protocol::audit::{Checkpoint, Head};
use roundsman_core::protocol::command::{Command, Kind};
use roundsman_core::protocol::envelope::{Domain, Envelope};
use roundsman_core::protocol::escrow::{
    ESCROW_INFO, EscrowReceipt, LEASH_INFO, UNLOCK_INFO, UnlockChallenge, leash_aad, share_aad,
};
use roundsman_core::protocol::hpke_seal::{self, Sealed};
use roundsman_core::protocol::keys::DeviceKey;
use roundsman_core::protocol::lease::Lease;
use roundsman_core::protocol::policy::Policy;
use roundsman_core::protocol::receipt::{Progress, Receipt, SignedReceipt, Trigger};
use roundsman_core::protocol::rescue::{Segment, SignedSegment};
use roundsman_core::protocol::rescue_photo::{SealedKey, SignedPart};
use roundsman_core::protocol::root::{PublicKey, RoleKeys, Root};
use roundsman_core::protocol::sealed_file::{Chunks, FileError, Header};
use roundsman_core::protocol::sync::Mutation;
use roundsman_core::protocol::ticket::SpkiPin;
use roundsman_core::protocol::wipe_order::WipeOrder;
use roundsman_core::vault::Profile;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

pub(crate) const DEVICE: DeviceId = DeviceId(Uuid::from_u128(7));
const RESCUE_SEED: [u8; 32] = [6; 32];
const ORG: OrgId = OrgId(Uuid::from_u128(9));

/// The office.
#[derive(Clone)]
pub(crate) struct Office {
    server: SigningKey,
    approver: SigningKey,
    release_seed: [u8; 32],
    device_key: Option<DeviceKey>,
    /// Commands given and not known to be accepted.
    commands: Vec<(Command, Vec<u8>)>,
    /// Number and hash of the last command that the device has accepted.
    accepted: (u64, [u8; 32]),
    /// Shares in escrow, in the order they came.
    shares: Vec<(Uuid, Vec<u8>)>,
    /// What the device has proven.
    pub(crate) receipts: Vec<Receipt>,
    /// The office's clock.
    pub(crate) now_ms: i64,
    /// Answers the challenge of a locked device.
    pub(crate) grants_unlock: bool,
    /// Gives a device on a leash its share.
    pub(crate) gives_share: bool,
    /// Confirms shares; without it a lock stays soft.
    pub(crate) confirms_escrow: bool,
    /// Takes segments of a sealed outbox.
    pub(crate) takes_segments: bool,
    /// The segments that were handed over.
    segments: BTreeMap<Uuid, Vec<u8>>,
    /// The files of photos that were handed over, with their sealed keys and how many bytes there will be.
    photos: BTreeMap<Uuid, (Vec<u8>, Vec<u8>, u64)>,
    /// Gives a lease with each answer.
    pub(crate) leases: bool,
    /// Names the head of the commands in its leases, but keeps the commands back.
    pub(crate) withholds: bool,
    /// What it has for devices with an older one.
    pub(crate) policy: Option<Policy>,
    /// The roots after the first, in order.
    pub(crate) roots: Vec<Vec<u8>>,
    /// The turns that were reported.
    pub(crate) turns: Vec<Turn>,
    /// The numbers of commands that devices say are withheld.
    pub(crate) missed: Vec<u64>,
}

impl Office {
    pub(crate) const RELEASE_SEED: [u8; 32] = [3; 32];
    pub(crate) const RECOVERY_SEED: [u8; 32] = [4; 32];

    pub(crate) fn new() -> Self {
        Self {
            server: SigningKey::from_bytes(&[1; 32]),
            approver: SigningKey::from_bytes(&[2; 32]),
            release_seed: Self::RELEASE_SEED,
            device_key: None,
            commands: Vec::new(),
            accepted: (0, [0; 32]),
            shares: Vec::new(),
            receipts: Vec::new(),
            now_ms: 1_790_000_000_000,
            grants_unlock: false,
            gives_share: true,
            confirms_escrow: true,
            takes_segments: true,
            segments: BTreeMap::new(),
            photos: BTreeMap::new(),
            leases: false,
            withholds: false,
            policy: None,
            roots: Vec::new(),
            turns: Vec::new(),
            missed: Vec::new(),
        }
    }

    /// The first root.
    pub(crate) fn root(&self) -> Root {
        let role = |key: &SigningKey| RoleKeys {
            threshold: 1,
            keys: vec![PublicKey(key.verifying_key().to_bytes())],
        };
        Root {
            v: 1,
            org: *ORG.0.as_bytes(),
            version: 1,
            expires_ms: 0,
            root: role(&self.approver),
            command: role(&self.server),
            approver: role(&self.approver),
            release_key: hpke_seal::key_pair(&self.release_seed).1,
            recovery_key: hpke_seal::key_pair(&Self::RECOVERY_SEED).1,
            rescue_key: hpke_seal::key_pair(&RESCUE_SEED).1,
            pins: vec![],
            url: None,
        }
    }

    /// A root in its envelope, signed as the first one asks.
    pub(crate) fn sign_root(&self, root: &Root) -> Vec<u8> {
        Envelope::sign(Domain::Root, root.to_bytes(), &[&self.approver]).to_bytes()
    }

    /// A lease that is given now.
    pub(crate) fn lease(&self) -> Lease {
        let head = self.commands.last().map_or(self.accepted.0, |(command, _)| command.seq);
        Lease {
            v: 1,
            org: *ORG.0.as_bytes(),
            device: *DEVICE.0.as_bytes(),
            issued_ms: self.now_ms,
            warn_after_s: 3 * Lease::DAY_S,
            lock_after_s: 7 * Lease::DAY_S,
            wipe_after_s: Some(30 * Lease::DAY_S),
            head_seq: head,
        }
    }

    pub(crate) fn sign_lease(&self, lease: &Lease) -> Vec<u8> {
        Envelope::sign(Domain::Lease, lease.to_bytes(), &[&self.server]).to_bytes()
    }

    pub(crate) fn sign_policy(&self, policy: &Policy) -> Vec<u8> {
        Envelope::sign(Domain::Policy, policy.to_bytes(), &[&self.server]).to_bytes()
    }

    /// A policy of this organisation.
    pub(crate) fn rules(version: u32) -> Policy {
        Policy { org: *ORG.0.as_bytes(), version, ..Policy::default() }
    }

    pub(crate) fn profile(&self) -> Profile {
        Profile {
            device: DEVICE,
            org: ORG,
            user: UserId(Uuid::from_u128(11)),
            user_name: "Ana".into(),
            org_name: "Garden State Snacks".into(),
            url: "https://roundsman.example".into(),
            pins: vec![SpkiPin([5; 32])],
            root: self.sign_root(&self.root()),
        }
    }

    pub(crate) fn knows(&mut self, key: DeviceKey) {
        self.device_key = Some(key);
    }

    /// Gives a command that follows the last one.
    pub(crate) fn order(&mut self, kind: Kind) -> Vec<u8> {
        let command = self.command(kind);
        let envelope = self.sign(&command);
        self.commands.push((command, envelope.clone()));
        envelope
    }

    /// A command that follows the last one, not given yet.
    pub(crate) fn command(&self, kind: Kind) -> Command {
        let (seq, prev) = self.commands.last().map_or(self.accepted, |(last, _)| (last.seq, last.hash()));
        Command {
            v: 1,
            org: *ORG.0.as_bytes(),
            device: *DEVICE.0.as_bytes(),
            thumbprint: self.device_key.as_ref().expect("the device is enrolled").thumbprint().0,
            seq: seq + 1,
            prev,
            kind,
            reason: "lost".into(),
            id: *Uuid::from_u128(1_000 + u128::from(seq)).as_bytes(),
            issued_ms: self.now_ms,
            not_after_ms: self.now_ms + 600_000,
            root_version: 1,
        }
    }

    pub(crate) fn sign(&self, command: &Command) -> Vec<u8> {
        Envelope::sign(Domain::Command, command.to_bytes(), &[&self.server]).to_bytes()
    }

    /// A wipe that the approver has signed.
    pub(crate) fn wipe(&self) -> Kind {
        self.wipe_by(&self.approver, false)
    }

    /// A wipe that does not spare unsent work.
    pub(crate) fn wipe_all(&self) -> Kind {
        self.wipe_by(&self.approver, true)
    }

    /// What a thief of the server's key can make of a wipe.
    pub(crate) fn wipe_by_server(&self) -> Kind {
        self.wipe_by(&self.server, false)
    }

    fn wipe_by(&self, signer: &SigningKey, discard_unsent: bool) -> Kind {
        let order = WipeOrder {
            v: 1,
            org: *ORG.0.as_bytes(),
            device: *DEVICE.0.as_bytes(),
            thumbprint: self.device_key.as_ref().expect("the device is enrolled").thumbprint().0,
            id: [21; 16],
            reason: "lost".into(),
            discard_unsent,
            issued_ms: self.now_ms,
            not_after_ms: i64::MAX,
        };
        let order = Envelope::sign(Domain::WipeOrder, order.to_bytes(), &[signer]).to_bytes();
        Kind::Wipe { order }
    }

    /// What a sealed share holds, for whoever has the key that is made from this seed.
    pub(crate) fn open_share(sealed: &Sealed, share: Uuid, seed: [u8; 32]) -> Option<Vec<u8>> {
        let private = hpke_seal::key_pair(&seed).0;
        Some(hpke_seal::open(sealed, &private, ESCROW_INFO, &share_aad(DEVICE, share)).ok()?.to_vec())
    }

    /// Loses the last share and has another in its place.
    pub(crate) fn replace_share(&mut self, share: [u8; 32]) {
        self.shares.last_mut().expect("a share is here").1 = share.to_vec();
    }

    /// Stores what the device reports and answers it.
    pub(crate) fn answer(&mut self, checkin: &Checkin) -> CheckinAnswer {
        let key = self.device_key.as_ref().expect("the device is enrolled");
        for bytes in &checkin.receipts {
            let receipt = SignedReceipt::open(bytes, key).expect("the device has signed its receipt");
            if !self.receipts.contains(&receipt) {
                self.receipts.push(receipt);
            }
        }
        while self.commands.first().is_some_and(|(command, _)| command.seq <= checkin.last_command) {
            let (command, _) = self.commands.remove(0);
            self.accepted = (command.seq, command.hash());
        }
        let escrow_receipt = checkin.escrow.as_ref().filter(|_| self.confirms_escrow).map(|escrow| {
            let private = hpke_seal::key_pair(&self.release_seed).0;
            let aad = share_aad(DEVICE, escrow.share);
            let share =
                hpke_seal::open(&escrow.sealed, &private, ESCROW_INFO, &aad).expect("the share is ours");
            self.shares.push((escrow.share, share.to_vec()));
            self.escrow_receipt(escrow.share)
        });
        let locked = checkin.state == DeviceState::Locked;
        if let Some(challenge) = checkin.unlock.as_ref().filter(|_| locked && self.grants_unlock) {
            // A challenge replaces the one before it, and so does its answer.
            self.commands.retain(|(command, _)| !matches!(command.kind, Kind::Unlock { .. }));
            if let Some(unlock) = self.unlock(challenge) {
                self.order(unlock);
            }
        }
        let share =
            checkin.unlock.as_ref().filter(|_| !locked && self.gives_share && self.commands.is_empty());
        let share = share.and_then(|challenge| self.share_for(challenge));
        self.turns.extend(checkin.turn);
        self.missed.extend(checkin.withheld);
        let lease = self.leases.then(|| self.sign_lease(&self.lease()));
        let policy = self.policy.as_ref().filter(|policy| policy.version > checkin.policy_version);
        let nonce = Uuid::from_u128(77 + self.turns.len() as u128);
        let known = checkin.root_version as usize - 1;
        CheckinAnswer {
            commands: if self.withholds { vec![] } else { self.given() },
            roots: self.roots.get(known..).unwrap_or_default().to_vec(),
            lease,
            policy: policy.map(|policy| self.sign_policy(policy)),
            nonce: self.leases.then(|| nonce.as_bytes().to_vec()),
            receipts_stored: checkin.receipts.len() as u64,
            escrow_receipt,
            share,
            ..CheckinAnswer::at(chrono::DateTime::UNIX_EPOCH)
        }
    }

    /// Stores a segment of a sealed outbox.
    pub(crate) fn take_segment(&mut self, bytes: &[u8]) {
        let segment =
            SignedSegment::open(bytes, self.device_key()).expect("the device has signed its segment");
        let id = Segment::read(&segment).expect("it is a segment").head.segment;
        self.segments.insert(id, segment);
    }

    /// Takes a part of a photo's file that waits for it.
    pub(crate) fn take_part(&mut self, bytes: &[u8]) -> UploadAnswer {
        let (sealed, part) =
            SignedPart::open(bytes, self.device_key()).expect("the device has signed the part of its photo");
        assert_eq!(sealed.head.org, ORG);
        let (_, file, size) =
            self.photos.entry(sealed.head.file).or_insert_with(|| (part.key, Vec::new(), part.size));
        assert_eq!(*size, part.size);
        if part.offset == file.len() as u64 {
            file.extend(part.bytes);
        }
        UploadAnswer { received: file.len() as u64, stored: file.len() as u64 == *size }
    }

    /// The content of the photos that came whole, as the rescue key opens them, by attachment.
    pub(crate) fn rescued_photos(&self) -> BTreeMap<Uuid, Vec<u8>> {
        let whole = self.photos.values().filter(|(_, file, size)| file.len() as u64 == *size);
        whole
            .map(|(key, file, _)| {
                let sealed = SealedKey::read(key).expect("it is a sealed key");
                let opened =
                    sealed.open(&hpke_seal::key_pair(&RESCUE_SEED).0).expect("the rescue key opens it");
                let chunks = Chunks::of(Header::from_bytes(file).expect("it is a sealed file"));
                assert_eq!(chunks.header().file, sealed.head.file);
                let (mut content, mut chunk) = (Vec::new(), Vec::new());
                for number in 0..chunks.header().chunks() {
                    let read = |at: u64, into: &mut [u8]| {
                        into.copy_from_slice(&file[at as usize..at as usize + into.len()]);
                        Ok::<_, FileError>(into.len())
                    };
                    chunks.open(&opened.key, number, &mut chunk, read).expect("it opens");
                    content.extend_from_slice(&chunk);
                }
                content.truncate(opened.size as usize);
                (sealed.head.attachment, content)
            })
            .collect()
    }

    /// The device's key.
    pub(crate) fn device_key(&self) -> &DeviceKey {
        self.device_key.as_ref().expect("the device is enrolled")
    }

    /// How many segments came.
    pub(crate) fn segments(&self) -> usize {
        self.segments.len()
    }

    /// The changes in the segments that came, as the rescue key opens them, but for those that did not happen.
    pub(crate) fn rescued(&self) -> BTreeSet<Uuid> {
        self.segments.values().flat_map(|segment| Self::opened(segment)).collect()
    }

    fn given(&self) -> Vec<Vec<u8>> {
        self.commands.iter().map(|(_, envelope)| envelope.clone()).collect()
    }

    /// The answer to a challenge; `None` without a share.
    pub(crate) fn unlock(&self, challenge: &UnlockChallenge) -> Option<Kind> {
        let (id, share) = self.shares.last()?;
        let aad = share_aad(DEVICE, *id);
        let share = hpke_seal::seal([8; 32], &challenge.public_key, UNLOCK_INFO, &aad, share).ok()?;
        Some(Kind::Unlock { nonce: challenge.nonce, share })
    }

    /// The answer to the question of a device on a leash; `None` without a share.
    fn share_for(&self, challenge: &UnlockChallenge) -> Option<Sealed> {
        let (id, share) = self.shares.last()?;
        let aad = leash_aad(DEVICE, *id, challenge.nonce);
        hpke_seal::seal([9; 32], &challenge.public_key, LEASH_INFO, &aad, share).ok()
    }

    pub(crate) fn escrow_receipt(&self, share: Uuid) -> Vec<u8> {
        let receipt =
            EscrowReceipt { device: *DEVICE.0.as_bytes(), share: *share.as_bytes(), stored_ms: self.now_ms };
        Envelope::sign(Domain::Escrow, receipt.to_bytes(), &[&self.server]).to_bytes()
    }

    /// The server's word that it has stored the audit chain up to here.
    pub(crate) fn checkpoint(&self, head: Head) -> Vec<u8> {
        let checkpoint = Checkpoint { device: *DEVICE.0.as_bytes(), head, stored_ms: self.now_ms };
        Envelope::sign(Domain::Audit, checkpoint.to_bytes(), &[&self.server]).to_bytes()
    }

    /// How many shares came.
    pub(crate) fn shares(&self) -> usize {
        self.shares.len()
    }

    /// The names of what was proven, in the order it came.
    pub(crate) fn proven(&self) -> Vec<&'static str> {
        self.receipts.iter().map(|receipt| receipt.progress.name()).collect()
    }

    /// What led to the wipes whose keys are proven to be destroyed.
    pub(crate) fn triggers(&self) -> Vec<Trigger> {
        let triggers = self.receipts.iter().filter_map(|receipt| match &receipt.progress {
            Progress::Shredded { trigger, .. } => Some(*trigger),
            _ => None,
        });
        triggers.collect()
    }

    pub(crate) fn refusals(&self) -> Vec<String> {
        let reasons = self.receipts.iter().filter_map(|receipt| match &receipt.progress {
            Progress::Refused { reason } => Some(reason.clone()),
            _ => None,
        });
        reasons.collect()
    }

    /// The changes in a segment, as the rescue key opens them, but for those that did not happen.
    pub(crate) fn opened(segment: &[u8]) -> Vec<Uuid> {
        let segment = Segment::read(segment).expect("it is a segment");
        let changes =
            segment.open(&hpke_seal::key_pair(&RESCUE_SEED).0).expect("it is sealed to the rescue key");
        let stood = changes.into_iter().filter(|change| !change.void);
        stood
            .map(|change| {
                let plaintext = change.plaintext.expect("it is whole");
                let mutation: Mutation = serde_json::from_slice(&plaintext).expect("it is a change");
                assert_eq!(mutation.id, change.change);
                mutation.id
            })
            .collect()
    }
}
