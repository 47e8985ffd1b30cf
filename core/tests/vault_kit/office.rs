//! The server's side of one device: signs commands, keeps shares and receipts.

use ed25519_dalek::SigningKey;
use roundsman_core::model::{DeviceId, OrgId, UserId};
use roundsman_core::protocol::api::{Checkin, CheckinAnswer};
use roundsman_core::protocol::command::{Command, Kind};
use roundsman_core::protocol::envelope::{Domain, Envelope};
use roundsman_core::protocol::escrow::{ESCROW_INFO, EscrowReceipt, UNLOCK_INFO, UnlockChallenge, share_aad};
use roundsman_core::protocol::hpke_seal;
use roundsman_core::protocol::keys::DeviceKey;
use roundsman_core::protocol::receipt::{Progress, Receipt, SignedReceipt};
use roundsman_core::protocol::root::{PublicKey, RoleKeys, Root};
use roundsman_core::protocol::ticket::SpkiPin;
use roundsman_core::vault::Profile;
use uuid::Uuid;

pub(crate) const DEVICE: DeviceId = DeviceId(Uuid::from_u128(7));
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
    /// Confirms shares; without it a lock stays soft.
    pub(crate) confirms_escrow: bool,
}

impl Office {
    pub(crate) fn new() -> Self {
        Self {
            server: SigningKey::from_bytes(&[1; 32]),
            approver: SigningKey::from_bytes(&[2; 32]),
            release_seed: [3; 32],
            device_key: None,
            commands: Vec::new(),
            accepted: (0, [0; 32]),
            shares: Vec::new(),
            receipts: Vec::new(),
            now_ms: 1_790_000_000_000,
            grants_unlock: false,
            confirms_escrow: true,
        }
    }

    pub(crate) fn profile(&self) -> Profile {
        let role = |key: &SigningKey| RoleKeys {
            threshold: 1,
            keys: vec![PublicKey(key.verifying_key().to_bytes())],
        };
        let root = Root {
            v: 1,
            org: *ORG.0.as_bytes(),
            version: 1,
            expires_ms: 0,
            root: role(&self.approver),
            command: role(&self.server),
            approver: role(&self.approver),
            release_key: hpke_seal::key_pair(&self.release_seed).1,
        };
        Profile {
            device: DEVICE,
            org: ORG,
            user: UserId(Uuid::from_u128(11)),
            user_name: "Ana".into(),
            org_name: "Garden State Snacks".into(),
            url: "https://roundsman.example".into(),
            pins: vec![SpkiPin([5; 32])],
            root: Envelope::sign(Domain::Root, root.to_bytes(), &[&self.approver]).to_bytes(),
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
        let key = if command.kind == Kind::Wipe { &self.approver } else { &self.server };
        Envelope::sign(Domain::Command, command.to_bytes(), &[key]).to_bytes()
    }

    /// What a thief of the server's key can sign.
    pub(crate) fn signed_by_server(&self, command: &Command) -> Vec<u8> {
        Envelope::sign(Domain::Command, command.to_bytes(), &[&self.server]).to_bytes()
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
        if let Some(challenge) = checkin.unlock.as_ref().filter(|_| self.grants_unlock) {
            // A challenge replaces the one before it, and so does its answer.
            self.commands.retain(|(command, _)| !matches!(command.kind, Kind::Unlock { .. }));
            if let Some(unlock) = self.unlock(challenge) {
                self.order(unlock);
            }
        }
        CheckinAnswer {
            server_time: chrono::DateTime::UNIX_EPOCH,
            commands: self.commands.iter().map(|(_, envelope)| envelope.clone()).collect(),
            receipts_stored: checkin.receipts.len() as u64,
            escrow_receipt,
        }
    }

    /// The answer to a challenge; `None` without a share.
    pub(crate) fn unlock(&self, challenge: &UnlockChallenge) -> Option<Kind> {
        let (id, share) = self.shares.last()?;
        let aad = share_aad(DEVICE, *id);
        let share = hpke_seal::seal([8; 32], &challenge.public_key, UNLOCK_INFO, &aad, share).ok()?;
        Some(Kind::Unlock { nonce: challenge.nonce, share })
    }

    pub(crate) fn escrow_receipt(&self, share: Uuid) -> Vec<u8> {
        let receipt =
            EscrowReceipt { device: *DEVICE.0.as_bytes(), share: *share.as_bytes(), stored_ms: self.now_ms };
        Envelope::sign(Domain::Escrow, receipt.to_bytes(), &[&self.server]).to_bytes()
    }

    /// How many shares came.
    pub(crate) fn shares(&self) -> usize {
        self.shares.len()
    }

    /// The names of what was proven, in the order it came.
    pub(crate) fn proven(&self) -> Vec<&'static str> {
        self.receipts.iter().map(|receipt| receipt.progress.name()).collect()
    }

    pub(crate) fn refusals(&self) -> Vec<String> {
        let reasons = self.receipts.iter().filter_map(|receipt| match &receipt.progress {
            Progress::Refused { reason } => Some(reason.clone()),
            _ => None,
        });
        reasons.collect()
    }
}
