//! The question a locked device asks, so that only a fresh answer unlocks it.

use crate::platform::{Entropy, EntropyError};
use roundsman_protocol::escrow::{UNLOCK_INFO, UnlockChallenge};
use roundsman_protocol::hpke_seal::{self, SealError, Sealed};
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

    /// Opens the share that the answer brings.
    pub(super) fn answered(&self, sealed: &Sealed, aad: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        hpke_seal::open(sealed, &self.private, UNLOCK_INFO, aad)
    }
}
