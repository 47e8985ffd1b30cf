//! The organisation's rules on this device: its policy, and what it says of the phone's posture.

use super::{Vault, VaultError};
use roundsman_protocol::envelope::{Envelope, EnvelopeError};
use roundsman_protocol::policy::Policy;
use roundsman_protocol::posture::{Concern, Posture, Verdict};
use std::sync::PoisonError;

impl Vault {
    /// The policy in force: the last one the server has given, or the one that is compiled in (version 0).
    pub fn policy(&self) -> Policy {
        let stored = self.read(|record| {
            // It was verified when it was stored, under a root that may have been replaced since.
            let envelope = Envelope::from_bytes(record.policy.as_ref()?).ok()?;
            minicbor::decode::<Policy>(&envelope.payload).ok()
        });
        stored.ok().flatten().unwrap_or_default().above_the_floor()
    }

    /// Takes a policy, if it is the server's, for this organisation, and of a later version. `false` if it is not
    /// later. Call it with the gate held.
    pub(crate) fn renew_policy(&self, envelope: &[u8]) -> Result<Result<bool, EnvelopeError>, VaultError> {
        let root = self.read(|record| record.profile.root())??;
        let policy = match Policy::open(envelope, &root) {
            Ok(policy) => policy,
            Err(error) => return Ok(Err(error)),
        };
        if policy.version <= self.policy().version {
            return Ok(Ok(false));
        }
        self.update(|record| record.policy = Some(envelope.to_vec().into()))?;
        Ok(Ok(true))
    }

    /// Takes what the host app found out about the phone. It is kept in memory only: call it after each start.
    /// Texts that are too long to be a system's version are left out.
    pub fn set_posture(&self, posture: Posture) {
        let posture =
            if posture.is_sensible() { posture } else { Posture { os: None, patch_level: None, ..posture } };
        *self.posture.lock().unwrap_or_else(PoisonError::into_inner) = Some(posture);
    }

    /// What the host app has found out, if it has.
    pub fn posture(&self) -> Option<Posture> {
        self.posture.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What about the phone the policy warns of or refuses.
    pub fn concerns(&self) -> Vec<(Concern, Verdict)> {
        self.posture().unwrap_or_default().judge(&self.policy()).1
    }

    /// Whether the policy lets the vault open on a phone in this state.
    pub(super) fn admit_posture(&self) -> Result<(), VaultError> {
        let refused = self.concerns().into_iter().filter(|(_, verdict)| *verdict == Verdict::Lock);
        let concerns: Vec<Concern> = refused.map(|(concern, _)| concern).collect();
        if concerns.is_empty() { Ok(()) } else { Err(VaultError::PostureRefused { concerns }) }
    }
}
