//! One command: judged, accepted, carried out, answered.

use super::{Device, DeviceEvent, Order, Talk, VaultError, VaultState};
use crate::vault::{Cause, Share, Why};
use roundsman_protocol::command::{Command, Judge, Kind, Refusal};
use roundsman_protocol::envelope::Envelope;
use roundsman_protocol::hpke_seal::Sealed;
use roundsman_protocol::keys::Thumbprint;
use roundsman_protocol::receipt::Progress;
use roundsman_protocol::sha256;

/// A flood of bad commands must not fill the disk: beyond so many receipts refusals are not reported.
const MAX_QUEUE: usize = 64;

impl Device {
    /// Obeys or refuses a command. `None` if it was carried out before, or refused before, and changes nothing.
    pub(super) fn obey(
        &self,
        envelope: &[u8],
        unsent: Option<u64>,
        close: &dyn Fn(),
        talk: &mut Talk,
    ) -> Result<Option<DeviceEvent>, VaultError> {
        let command = match self.judge(envelope, talk)? {
            Ok(command) => command,
            Err(refusal) => {
                self.note_given(envelope, refusal, talk)?;
                return self.refuse(envelope, refusal);
            }
        };
        let order = Order { seq: command.seq, cause: Cause { command: command.id, hash: command.hash() } };
        if self.vault.state() == VaultState::Wiping {
            let adopted = matches!(command.kind, Kind::Wipe { .. })
                && self.vault.adopt_wipe(order, command.discards_unsent())?;
            return if adopted { Ok(Some(DeviceEvent::Wiped)) } else { self.too_late(order) };
        }
        match &command.kind {
            Kind::Lock => self.lock(order, close).map(Some),
            Kind::Unlock { share, .. } => self.unlock(order, envelope, share, talk),
            Kind::Wipe { .. } => {
                let why = Why::Order { order, discard: command.discards_unsent() };
                self.wipe(why, unsent, close).map(Some)
            }
        }
    }

    fn judge(&self, envelope: &[u8], talk: &Talk) -> Result<Result<Command, Refusal>, VaultError> {
        let now = self.vault.earliest()?;
        self.vault.read(|record| {
            let judge = Judge {
                root: &record.profile.root()?,
                device: record.profile.device,
                thumbprint: Thumbprint(record.thumbprint),
                last_seq: record.last_seq,
                last_hash: record.last_hash,
                challenge: talk.challenge.as_ref().map(super::Challenge::nonce),
                now,
            };
            Ok(Command::open(envelope, &judge))
        })?
    }

    fn lock(&self, order: Order, close: &dyn Fn()) -> Result<DeviceEvent, VaultError> {
        let outcome = self.vault.lock(Some(order), close);
        match (self.vault.state(), outcome) {
            (VaultState::Locked { soft: false }, _) => Ok(DeviceEvent::Locked),
            // The first step is on disk; the rest is made good by the next report.
            (VaultState::Locked { soft: true }, _) => Ok(DeviceEvent::SoftLocked),
            (_, outcome) => outcome.map(|()| DeviceEvent::Locked),
        }
    }

    fn unlock(
        &self,
        order: Order,
        envelope: &[u8],
        sealed: &Sealed,
        talk: &mut Talk,
    ) -> Result<Option<DeviceEvent>, VaultError> {
        let (device, escrow) = self.vault.read(|record| (record.profile.device, record.escrow.clone()))?;
        let bytes = talk.challenge.as_ref().and_then(|open| open.unlocked(sealed, device, escrow.share).ok());
        match bytes.and_then(|bytes| Share::returned(&escrow, &bytes)) {
            Some(share) => {
                self.vault.restore(order, share)?;
                talk.challenge = None;
                Ok(Some(DeviceEvent::Unlocked))
            }
            // It answers the challenge in form, but does not bring back what was given away.
            None => self.refuse(envelope, Refusal::NoChallenge),
        }
    }

    fn wipe(&self, why: Why, unsent: Option<u64>, close: &dyn Fn()) -> Result<DeviceEvent, VaultError> {
        let outcome = self.vault.wipe(why, unsent, close);
        if self.vault.state() == VaultState::Wiping {
            if let Err(error) = outcome {
                tracing::warn!(%error, "the wipe goes on with the next report");
            }
            return Ok(DeviceEvent::Wiped);
        }
        outcome.map(|()| DeviceEvent::Wiped)
    }

    /// A good command for a device that is being wiped.
    fn too_late(&self, order: Order) -> Result<Option<DeviceEvent>, VaultError> {
        let reason = "the device is being wiped".to_owned();
        let receipt = self.vault.receipt(order.cause, Progress::Refused { reason })?;
        self.vault.update(|record| {
            record.accept(order.seq, order.cause);
            record.owe(receipt);
        })?;
        Ok(None)
    }

    /// Answers a command that is not carried out: with what was answered before, if it is a repeat.
    fn refuse(&self, envelope: &[u8], refusal: Refusal) -> Result<Option<DeviceEvent>, VaultError> {
        let cause = claimed_cause(envelope);
        if matches!(refusal, Refusal::Replayed { .. })
            && self.vault.update(|record| record.answer_again(&cause.hash))?
        {
            return Ok(None);
        }
        let receipt = self.vault.receipt(cause, Progress::Refused { reason: refusal.to_string() })?;
        let first = self.vault.update(|record| {
            let first = record.refuse(sha256(&[envelope]));
            if first && record.queue.len() < MAX_QUEUE {
                record.owe(receipt);
            }
            first
        })?;
        Ok(first.then_some(DeviceEvent::Refused(refusal)))
    }
}

/// Which command the bytes claim to be; nothing about it is trusted.
fn claimed_cause(envelope: &[u8]) -> Cause {
    let Ok(opened) = Envelope::from_bytes(envelope) else {
        return Cause { command: [0; 16], hash: sha256(&[envelope]) };
    };
    let command = minicbor::decode::<Command>(&opened.payload).map_or([0; 16], |command| command.id);
    Cause { command, hash: sha256(&[&opened.payload]) }
}
