//! The device before its server: its identity, what it reports, and the commands it obeys.
//!
//! # Promises
//! - It obeys whether or not the vault is open, and needs no user and no passcode for it.
//! - A command has its effect once, after its signatures, addressee, number and predecessor were checked.
//! - What became of a command is a signed receipt, repeated until the server has confirmed it.
//! - A report and its answer make one turn: a copy of this device can't take turns unnoticed, and a kill or a lost
//!   answer does not look like a copy.
//!
//! # Not promised
//! - That a receipt is true: a device whose software was changed can sign anything.

mod challenge;
mod commands;
mod terms;
mod turns;

use crate::platform::KeyAlias;
use crate::vault::{Order, Record, Status, Vault, VaultError, VaultState};
use challenge::Challenge;
use roundsman_protocol::api::{Checkin, CheckinAnswer, DeviceState};
use roundsman_protocol::command::Refusal;
use roundsman_protocol::escrow::EscrowReceipt;
use roundsman_protocol::keys::DeviceKey;
use roundsman_protocol::root::RootError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

/// What a talk with the server did to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceEvent {
    /// It is locked: the local release share is destroyed.
    Locked,
    /// It refuses to open. The release share is destroyed as soon as the server has it.
    SoftLocked,
    /// The passcode opens it again.
    Unlocked,
    /// Its keys are destroyed.
    Wiped,
    /// A command was refused and had no effect.
    Refused(Refusal),
    /// New root metadata was refused; the keys that were trusted before still are.
    RootRefused(RootError),
    /// A command that the server has given does not reach this device, although it asked again. The lease is not
    /// extended until it does.
    Withheld {
        /// The command's number.
        head: u64,
    },
}

impl DeviceEvent {
    /// Whether the database was closed by it.
    pub fn closes(&self) -> bool {
        matches!(self, Self::Locked | Self::SoftLocked | Self::Wiped)
    }
}

/// This device. Reports, answers and orders go through one such object, since it remembers what it asked.
pub struct Device {
    vault: Arc<Vault>,
    talk: Mutex<Talk>,
}

/// What is remembered between a report and its answer.
#[derive(Default)]
struct Talk {
    /// How many receipts were in the last report.
    reported: usize,
    challenge: Option<Challenge>,
    /// The question of a device on a leash, for one answer.
    leash: Option<Challenge>,
    /// The number of a command that came and was refused for what it asks.
    given: u64,
    withheld: terms::Withheld,
}

impl Device {
    /// The device that has this vault.
    pub fn new(vault: Arc<Vault>) -> Self {
        Self { vault, talk: Mutex::default() }
    }

    /// The device's public key. It is made if the device is not enrolled and has none; never afterwards.
    ///
    /// # Errors
    /// The keystore refused, or has lost the key.
    pub fn identity(&self) -> Result<DeviceKey, VaultError> {
        let _gate = self.vault.gate();
        if self.vault.state() == VaultState::New {
            self.vault.seams().keys.create(KeyAlias::Identity)?;
        }
        self.vault.identity()
    }

    /// An ES256 signature (r ‖ s) by the device's key.
    ///
    /// # Errors
    /// The keystore refused, or has lost the key.
    pub fn sign(&self, message: &[u8]) -> Result<[u8; 64], VaultError> {
        Ok(self.vault.seams().keys.sign(KeyAlias::Identity, message)?)
    }

    /// Whether the server should hear of something: receipts, or a release share to keep.
    ///
    /// # Errors
    /// The control record could not be looked at.
    pub fn has_news(&self) -> Result<bool, VaultError> {
        let news = |record: &Record| {
            let wiping = matches!(record.status, Status::Wiping(_));
            !record.queue.is_empty() || (!wiping && record.escrow.due().is_some())
        };
        let asks = self.talk().withheld.asks();
        match self.vault.read(news) {
            Err(VaultError::NotEnrolled | VaultError::Wiped) => Ok(false),
            other => other.map(|news| news || asks),
        }
    }

    /// What to tell the server. `unsent` is the number of changes that were not sent, if the vault is open to
    /// be asked. A locked device adds a challenge, which holds for as long as this object lives; a device on a leash
    /// adds one for the next answer.
    ///
    /// # Errors
    /// Not enrolled, or wiped and proven; the keystore or the disk failed.
    pub fn report(&self, unsent: Option<u64>) -> Result<Checkin, VaultError> {
        let (_gate, mut talk) = (self.vault.gate(), self.talk());
        if let Err(error) = self.vault.resume() {
            tracing::warn!(%error, "an interrupted change could not be finished yet");
        }
        let receipts = self.vault.signed_receipts()?;
        let (status, last_command, escrow, commit) = self
            .vault
            .read(|record| (record.status.clone(), record.last_seq, record.escrow.due(), record.commit))?;
        let (state, unsent) = match &status {
            Status::Ready { .. } => (DeviceState::Active, unsent),
            Status::Locking(_) | Status::SoftLocked(_) | Status::Locked => (DeviceState::Locked, unsent),
            Status::Wiping(wipe) => (DeviceState::Wiped, wipe.unsent),
        };
        talk.reported = receipts.len();
        talk.leash = None;
        let unlock = match (state, &mut talk.challenge) {
            (DeviceState::Locked, Some(open)) => Some(open.question()),
            (DeviceState::Locked, none) => {
                Some(none.insert(Challenge::open(&*self.vault.seams().entropy)?).question())
            }
            (DeviceState::Active, open) if self.vault.leashed() => {
                *open = None;
                // Another one with each report, so that no answer counts twice.
                Some(talk.leash.insert(Challenge::open(&*self.vault.seams().entropy)?).question())
            }
            (_, open) => {
                *open = None;
                None
            }
        };
        let escrow = escrow.filter(|_| state != DeviceState::Wiped);
        // A fault of the log must not keep a command or a receipt from its way.
        let audit = self.vault.audit_report().unwrap_or_else(|error| {
            tracing::warn!(%error, "the audit log could not be read");
            None
        });
        let (root, turn) = (self.vault.read(|record| record.profile.root())??, self.turn());
        // What grows from report to report goes with its turn: the server could not tell a report that was overtaken on its
        // way from a phone on which something older was put back. A wiped phone has no turn, and nothing of it grows.
        let in_order = turn.is_some() || state == DeviceState::Wiped;
        let boot = self.vault.seams().clock.boot().map(|now| now.boot).filter(|_| in_order);
        Ok(Checkin {
            unsent,
            receipts,
            escrow,
            unlock,
            root_version: root.version,
            policy_version: self.vault.policy().version,
            turn,
            commit: in_order.then_some(commit),
            audit: audit.filter(|_| in_order),
            posture: self.vault.posture(),
            withheld: talk.withheld.report(),
            boot,
            ..Checkin::of(state, crate::VERSION, last_command)
        })
    }

    /// Keeps trusted time on disk, and wipes if the lease has surely ended. `true` if a wipe has begun. `close`
    /// must close the database. Call it every five minutes while the app runs.
    ///
    /// # Errors
    /// The disk or the keystore failed; the next call tries again.
    pub fn tick(&self, unsent: Option<u64>, close: &dyn Fn()) -> Result<bool, VaultError> {
        let _gate = self.vault.gate();
        let wiped = match self.vault.keep_time(unsent, close) {
            Err(VaultError::NotEnrolled | VaultError::Wiped) => return Ok(false),
            other => other,
        };
        // Once the mark is on disk the wipe is a fact; what is left of it is made good by the next report.
        if wiped.is_err() && self.vault.state() == VaultState::Wiping { Ok(true) } else { wiped }
    }

    /// Carries out what the server answered: drops the receipts it has stored, keeps its escrow receipt, obeys its
    /// commands in order. `close` must close the database; it is called before a lock or a wipe destroys anything.
    ///
    /// What happened is returned even if a later command could not be carried out; the server repeats that one.
    ///
    /// # Errors
    /// Not enrolled, or wiped and proven; the disk failed before anything happened.
    pub fn take(
        &self,
        answer: &CheckinAnswer,
        unsent: Option<u64>,
        close: &dyn Fn(),
    ) -> Result<Vec<DeviceEvent>, VaultError> {
        let (_gate, mut talk) = (self.vault.gate(), self.talk());
        let mut events = Vec::new();
        match self.work_through(answer, unsent, close, &mut talk, &mut events) {
            Err(error) if events.is_empty() => Err(error),
            Err(error) => {
                tracing::warn!(%error, "not all of the server's answer could be carried out");
                Ok(events)
            }
            Ok(()) => Ok(events),
        }
    }

    /// The store has committed so much: that is noted with what the next answer brings.
    pub(crate) fn committed(&self, commit: u64) {
        self.vault.committed(commit);
    }

    /// Whether [`take`](Self::take) has nothing of this answer to do that could not wait until its rows are stored: it
    /// asks for nothing, and the phone is in use.
    pub fn may_wait(&self, answer: &CheckinAnswer) -> bool {
        brings_only_a_lease(answer) && self.vault.state() == VaultState::Ready
    }

    /// The segments of the sealed outbox that the server should get now, in a lock or a wipe. None before and after.
    ///
    /// # Errors
    /// The disk failed.
    pub fn waiting_segments(&self) -> Result<Vec<Uuid>, VaultError> {
        match self.vault.waiting_segments() {
            Err(VaultError::NotEnrolled | VaultError::Wiped) => Ok(Vec::new()),
            other => other,
        }
    }

    /// A segment as it is sent: the bytes of a [`SignedSegment`](roundsman_protocol::rescue::SignedSegment). `None`
    /// if it is not here any more.
    ///
    /// # Errors
    /// The disk failed; the keystore refused, or has lost the key.
    pub fn signed_segment(&self, segment: Uuid) -> Result<Option<Vec<u8>>, VaultError> {
        self.vault.signed_segment(segment)
    }

    /// The server has stored this segment for good. A locked device keeps it and does not offer it again; in a wipe it
    /// is removed here, and the wipe goes on. Said twice, it counts once.
    ///
    /// # Errors
    /// The disk failed. The segment may be here still, and is to be sent again then.
    pub fn segment_stored(&self, segment: Uuid) -> Result<(), VaultError> {
        let _gate = self.vault.gate();
        self.vault.handed_over(segment)
    }

    /// The photos that were not sent and that the server should get now, in a lock or a wipe, by the names of their files and
    /// the smallest first. In a lock none goes over a network that is not `unmetered`.
    ///
    /// # Errors
    /// The disk failed.
    pub fn waiting_photos(&self, unmetered: bool) -> Result<Vec<Uuid>, VaultError> {
        match self.vault.waiting_photos(unmetered) {
            Err(VaultError::NotEnrolled | VaultError::Wiped) => Ok(Vec::new()),
            other => other,
        }
    }

    /// A part of such a file as it is sent, the bytes of a [`SignedPart`](roundsman_protocol::rescue_photo::SignedPart),
    /// and how many bytes the file has. Without an offset it asks how far the server is. `None` if the file is not here any
    /// more.
    ///
    /// # Errors
    /// The disk failed; the keystore refused, or has lost the key.
    pub fn signed_part(&self, file: Uuid, offset: Option<u64>) -> Result<Option<(Vec<u8>, u64)>, VaultError> {
        self.vault.signed_part(file, offset)
    }

    /// The server has stored this file whole, as [`segment_stored`](Self::segment_stored) says of a segment.
    ///
    /// # Errors
    /// The disk failed. The file may be here still, and is to be offered again then.
    pub fn photo_stored(&self, file: Uuid) -> Result<(), VaultError> {
        let _gate = self.vault.gate();
        self.vault.photo_handed_over(file)
    }

    fn work_through(
        &self,
        answer: &CheckinAnswer,
        unsent: Option<u64>,
        close: &dyn Fn(),
        talk: &mut Talk,
        events: &mut Vec<DeviceEvent>,
    ) -> Result<(), VaultError> {
        let mut ended = self.ended(answer.nonce.as_deref());
        // The lease is stored with the end of the turn, if it is all that the answer brings: one write in place of two.
        if !self.may_wait(answer) {
            self.end_turn(ended.take());
        }
        let mut commands = answer.commands.as_slice();
        if self.vault.wipes_without_cause()? {
            // Its command comes again, and is heard before the wipe is buried.
            for envelope in std::mem::take(&mut commands) {
                events.extend(self.obey(envelope, unsent, close, talk)?);
            }
        }
        self.drop_confirmed(answer.receipts_stored, talk)?;
        if self.vault.state() == VaultState::Wiped {
            return Ok(());
        }
        events.extend(self.follow_roots(&answer.roots)?);
        if let Some(receipt) = &answer.escrow_receipt {
            self.keep_escrow_receipt(receipt)?;
        }
        if let Some(checkpoint) = &answer.audit_checkpoint {
            self.vault.keep_checkpoint(checkpoint)?;
            if self.vault.state() == VaultState::Wiping {
                self.vault.resume()?;
            }
        }
        if !answer.roots.is_empty()
            && let Err(error) = self.vault.resume()
        {
            // The share may have to be sealed anew; the next report comes back to it.
            tracing::warn!(%error, "an interrupted change could not be finished yet");
        }
        if let Status::SoftLocked(cause) = self.vault.read(|record| record.status.clone())?
            && self.vault.harden(cause)?
        {
            events.push(DeviceEvent::Locked);
        }
        for envelope in commands {
            events.extend(self.obey(envelope, unsent, close, talk)?);
        }
        if self.vault.state() != VaultState::Wiping {
            events.extend(self.take_terms(answer, talk, &mut ended)?);
        }
        self.end_turn(ended);
        self.take_share(answer, unsent.is_some(), talk)
    }

    /// Forgets the receipts that the server has. No more than were reported: the rest it can't have seen.
    fn drop_confirmed(&self, stored: u64, talk: &mut Talk) -> Result<(), VaultError> {
        let confirmed = usize::try_from(stored).unwrap_or(usize::MAX).min(talk.reported);
        if confirmed > 0 {
            self.vault.update(|record| record.queue.drain(..confirmed.min(record.queue.len())).count())?;
            talk.reported = 0;
        }
        self.vault.bury()
    }

    fn keep_escrow_receipt(&self, receipt: &[u8]) -> Result<(), VaultError> {
        let (profile, share) = self.vault.read(|record| (record.profile.clone(), record.escrow.share))?;
        match EscrowReceipt::open(receipt, &profile.root()?, profile.device, share) {
            Ok(_) => self.vault.update(|record| {
                record.escrow.receipt = Some(receipt.to_vec().into());
                (record.escrow.sealed, record.escrow.recovery) = (None, None);
            }),
            Err(error) => {
                // The share stays here and is offered again.
                tracing::warn!(%error, "the server's escrow receipt is not valid");
                Ok(())
            }
        }
    }

    fn talk(&self) -> MutexGuard<'_, Talk> {
        self.talk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether there is nothing else to store.
fn brings_only_a_lease(answer: &CheckinAnswer) -> bool {
    answer.lease.is_some()
        && answer.receipts_stored == 0
        && answer.roots.is_empty()
        && answer.escrow_receipt.is_none()
        && answer.audit_checkpoint.is_none()
        && answer.commands.is_empty()
        && answer.policy.is_none()
}
