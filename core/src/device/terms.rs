//! On what terms the device goes on: the organisation's keys, its policy, the lease, the leash, and whether a command is
//! being kept from it.

use super::{Device, DeviceEvent, Talk, VaultError, VaultState};
use crate::vault::{Renewal, Share};
use roundsman_protocol::api::{CheckinAnswer, Turn};
use roundsman_protocol::command::{Command, Refusal};
use roundsman_protocol::envelope::Envelope;
use roundsman_protocol::root_bundle::{RootBundle, RootBundleError};

/// A lease named a command that was not given.
#[derive(Default)]
pub(super) enum Withheld {
    /// No.
    #[default]
    No,
    /// It may have been given in the meantime: the next report asks again.
    AskAgain,
    /// It was asked for again.
    Asked,
    /// It is withheld. `told` once a report has said so.
    Yes { head: u64, told: bool },
}

impl Withheld {
    /// Whether a report is due.
    pub(super) fn asks(&self) -> bool {
        matches!(self, Self::AskAgain | Self::Yes { told: false, .. })
    }

    /// What the next report says of it.
    pub(super) fn report(&mut self) -> Option<u64> {
        match self {
            Self::AskAgain => {
                *self = Self::Asked;
                None
            }
            Self::Yes { head, told } => {
                *told = true;
                Some(*head)
            }
            Self::No | Self::Asked => None,
        }
    }

    /// A lease has named a command that was not given.
    fn missing(&mut self, number: u64) -> Option<DeviceEvent> {
        match self {
            Self::No | Self::AskAgain => {
                *self = Self::AskAgain;
                None
            }
            Self::Yes { head, .. } if *head == number => None,
            Self::Asked | Self::Yes { .. } => {
                *self = Self::Yes { head: number, told: false };
                Some(DeviceEvent::Withheld { head: number })
            }
        }
    }
}

impl Device {
    /// Follows new roots, all or none, durably before anything that is signed under them is judged.
    pub(super) fn follow_roots(&self, chain: &[Vec<u8>]) -> Result<Option<DeviceEvent>, VaultError> {
        if chain.is_empty() {
            return Ok(None);
        }
        let root = self.vault.read(|record| record.profile.root())??;
        match root.follow(chain, self.vault.earliest()?) {
            Ok(None) => Ok(None),
            Ok(Some((root, envelope))) => {
                self.vault.update(|record| record.profile.adopt(&root, envelope))?;
                Ok(None)
            }
            Err(error) => Ok(Some(DeviceEvent::RootRefused(error))),
        }
    }

    /// Follows roots that were brought by hand, as if they had come with a check-in.
    ///
    /// # Errors
    /// Not enrolled, wiped, or the disk failed; within, why the roots are not to be trusted.
    pub fn take_root_bundle(&self, bundle: &RootBundle) -> Result<Result<u32, RootBundleError>, VaultError> {
        let _gate = self.vault.gate();
        let known = self.vault.read(|record| record.profile.root())??;
        let (root, envelope) = match bundle.follow(&known, self.vault.earliest()?) {
            Ok(news) => news,
            Err(error) => return Ok(Err(error)),
        };
        self.vault.update(|record| record.profile.adopt(&root, &envelope))?;
        if let Err(error) = self.vault.resume() {
            // The share may have to be sealed anew; the next report comes back to it.
            tracing::warn!(%error, "an interrupted change could not be finished yet");
        }
        Ok(Ok(root.version))
    }

    /// Takes a policy and a lease. One that is not valid changes nothing. A turn that has ended is stored with the lease,
    /// and is taken from `ended` then.
    pub(super) fn take_terms(
        &self,
        answer: &CheckinAnswer,
        talk: &mut Talk,
        ended: &mut Option<Turn>,
    ) -> Result<Option<DeviceEvent>, VaultError> {
        if let Some(policy) = &answer.policy
            && let Err(error) = self.vault.renew_policy(policy)?
        {
            tracing::warn!(%error, "the server's policy is not valid");
        }
        let Some(lease) = &answer.lease else { return Ok(None) };
        let given = self.vault.read(|record| record.last_seq)?.max(talk.given);
        match self.vault.renew_lease(lease, given, *ended)? {
            Ok(Renewal::Kept) => (talk.withheld, *ended) = (Withheld::No, None),
            Ok(Renewal::Older) => {}
            Ok(Renewal::Withheld { head }) => return Ok(talk.withheld.missing(head)),
            Err(error) => tracing::warn!(%error, "the server's lease is not valid"),
        }
        Ok(None)
    }

    /// Takes the share that a device on a leash has asked for, and puts it on the leash or takes it off as the policy
    /// says. `open` if the vault is: a closed one is first put on the leash by its next passcode.
    pub(super) fn take_share(
        &self,
        answer: &CheckinAnswer,
        open: bool,
        talk: &mut Talk,
    ) -> Result<(), VaultError> {
        let asked = talk.leash.take();
        if self.vault.state() != VaultState::Ready {
            return Ok(());
        }
        if let Some((asked, sealed)) = asked.zip(answer.share.as_ref()) {
            let (device, escrow) =
                self.vault.read(|record| (record.profile.device, record.escrow.clone()))?;
            let bytes = asked.answered(sealed, device, escrow.share).ok();
            match bytes.and_then(|bytes| Share::returned(&escrow, &bytes)) {
                Some(share) => self.vault.hold_share(share),
                None => tracing::warn!("the share that the server has sent is not this device's"),
            }
        }
        if (open || self.vault.holds_share())
            && let Err(error) = self.vault.settle_leash()
        {
            tracing::warn!(%error, "the leash could not be put on or taken off yet");
        }
        Ok(())
    }

    /// Remembers a command of the server that is the next one, and is refused for what it asks: it is not kept from
    /// this device.
    pub(super) fn note_given(
        &self,
        envelope: &[u8],
        refusal: Refusal,
        talk: &mut Talk,
    ) -> Result<(), VaultError> {
        if !matches!(refusal, Refusal::NoChallenge | Refusal::Expired | Refusal::Order(_)) {
            return Ok(());
        }
        // Its signature was good, or the reason would be another.
        let Ok(Ok(command)) =
            Envelope::from_bytes(envelope).map(|it| minicbor::decode::<Command>(&it.payload))
        else {
            return Ok(());
        };
        let (device, last) = self.vault.read(|record| (record.profile.device, record.last_seq))?;
        if command.device == *device.0.as_bytes() && Some(command.seq) == last.checked_add(1) {
            talk.given = command.seq;
        }
        Ok(())
    }
}
