//! The question a locked device asks, so that only a fresh answer unlocks it; and the one of a device on a leash.
//!
//! A locked device gets its share in a command, which an administrator has caused. A device on a leash gets it in a
//! field of the answer, with no signature: what comes is taken only if it is the share that was given in escrow, it is
//! sealed to a key that was made for this one report, and the server gives it as it gives a lease.

use crate::platform::{Entropy, EntropyError};
use roundsman_model::DeviceId;
use roundsman_protocol::escrow::{LEASH_INFO, UNLOCK_INFO, UnlockChallenge, leash_aad, share_aad};
use roundsman_protocol::hpke_seal::{self, SealError, Sealed};
use uuid::Uuid;
use zeroize::Zeroizing;

/// An open challenge. Its private key is in memory only: after a restart the device asks anew.
pub(super) struct Challenge {
    nonce: [u8; 16],
    private: Zeroizing<[u8; 32]>,
    public: [u8; 32],
}

impl Challenge {
    pub(super) fn open(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let (private, public) = hpke_seal::key_pair(&*entropy.secret()?);
        Ok(Self { nonce: entropy.bytes()?, private, public })
    }

    pub(super) fn nonce(&self) -> [u8; 16] {
        self.nonce
    }

    pub(super) fn question(&self) -> UnlockChallenge {
        UnlockChallenge { nonce: self.nonce, public_key: self.public }
    }

    /// Opens the share that an unlock brings.
    pub(super) fn unlocked(
        &self,
        sealed: &Sealed,
        device: DeviceId,
        share: Uuid,
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        hpke_seal::open(sealed, &self.private, UNLOCK_INFO, &share_aad(device, share))
    }

    /// Opens the share that an answer brings to a device on a leash.
    pub(super) fn answered(
        &self,
        sealed: &Sealed,
        device: DeviceId,
        share: Uuid,
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        hpke_seal::open(sealed, &self.private, LEASH_INFO, &leash_aad(device, share, self.nonce))
    }
}
