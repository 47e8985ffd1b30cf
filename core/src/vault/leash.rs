//! The leash: a policy under which the release share is on no disk.
//!
//! A copy of the phone's storage, keystore and all, then lacks one of the three parts: what it can be guessed at with
//! is at the server alone. The device asks for its share with every report, and holds it in memory for the policy's
//! hours. While it is there the passcode and biometrics open as ever, without a signal; without it they don't, whoever
//! types what. A policy without a leash brings the file back with the next share that comes.
//!
//! A share that the server has not confirmed is always in its file, leash or not: it would be the only copy. So a new
//! share lies there until the next report; and whoever kept a copy from before the leash has that share too.

use super::record::Status;
use super::share::{self, Share};
use super::time::{BACK_MS, Moment};
use super::{Vault, VaultError};
use roundsman_protocol::policy::Policy;
use std::sync::{Arc, MutexGuard, PoisonError};
use uuid::Uuid;

const HOUR_MS: i64 = 60 * 60 * 1000;

/// The release share in memory, since when.
pub(super) struct OnLeash {
    share: Arc<Share>,
    since: Moment,
}

impl Vault {
    /// The release share that a slot names: from its file, or on a leash from memory.
    ///
    /// # Errors
    /// [`VaultError::ShareNeeded`] on a leash, if it is not in memory; the file is missing or damaged.
    pub(super) fn share(&self, named: Uuid) -> Result<Arc<Share>, VaultError> {
        let (vault, leashed) =
            self.read(|record| (record.vault, record.escrow.leashed && record.escrow.share == named))?;
        if leashed {
            return self.share_in_memory(named).ok_or(VaultError::ShareNeeded);
        }
        Share::load(&self.folder(), vault, named).map(Arc::new)
    }

    /// Whether the share is in memory alone, or at the server alone.
    pub(crate) fn leashed(&self) -> bool {
        self.read(|record| matches!(record.status, Status::Ready { .. }) && record.escrow.leashed)
            .unwrap_or(false)
    }

    /// Refuses to open on a leash while the share is not in memory.
    pub(super) fn admit_leash(&self) -> Result<(), VaultError> {
        let needed = self.read(|record| record.escrow.leashed.then_some(record.escrow.share))?;
        match needed {
            Some(share) if self.share_in_memory(share).is_none() => Err(VaultError::ShareNeeded),
            _ => Ok(()),
        }
    }

    /// Holds the share in memory from now on.
    pub(crate) fn hold_share(&self, share: Share) {
        let held = OnLeash { share: Arc::new(share), since: self.moment() };
        *self.on_leash() = Some(held);
    }

    /// Drops the share from memory, which is wiped with it.
    pub(super) fn forget_share(&self) {
        *self.on_leash() = None;
    }

    /// Drops a share that was held for as long as the policy allows.
    pub(super) fn drop_old_share(&self) {
        let (now, hours) = (self.moment(), self.policy().leash_h.unwrap_or(Policy::MAX_LEASH_H));
        let limit_ms = i64::from(hours) * HOUR_MS;
        let mut held = self.on_leash();
        // A clock that the server has put back by more than clocks drift does not lengthen it.
        if held.as_ref().is_some_and(|held| !(-BACK_MS..limit_ms).contains(&now.since_ms(held.since))) {
            *held = None;
        }
    }

    fn share_in_memory(&self, named: Uuid) -> Option<Arc<Share>> {
        self.drop_old_share();
        self.on_leash().as_ref().map(|held| Arc::clone(&held.share)).filter(|share| share.id == named)
    }

    /// Whether the present share is in memory.
    pub(crate) fn holds_share(&self) -> bool {
        let present = self.read(|record| record.escrow.share);
        present.is_ok_and(|share| self.share_in_memory(share).is_some())
    }

    /// Puts the share on the leash, or takes it off, as the policy says and as far as it can be done now: on, if the
    /// server has confirmed the share; off, if it is in memory. Call it with the gate held.
    pub(crate) fn settle_leash(&self) -> Result<(), VaultError> {
        let wanted = self.policy().leash_h.is_some();
        let ready = self.read(|record| matches!(record.status, Status::Ready { .. }))?;
        if !ready || wanted == self.leashed() {
            return Ok(());
        }
        self.settle_share()?;
        let (vault, escrow) = self.read(|record| (record.vault, record.escrow.clone()))?;
        if wanted && escrow.receipt.is_some() {
            self.hold_share(Share::load(&self.folder(), vault, escrow.share)?);
            self.update(|record| record.escrow.leashed = true)?;
            self.destroy_share_files()
        } else if wanted {
            Ok(())
        } else if let Some(share) = self.share_in_memory(escrow.share) {
            // Until the record says so this is a file too many, which the next start destroys.
            share.store(&self.folder(), &*self.seams.entropy, share::PRESENT, vault)?;
            self.update(|record| record.escrow.leashed = false)?;
            self.forget_share();
            Ok(())
        } else {
            Ok(())
        }
    }

    /// Destroys what is left of a file whose share is on the leash.
    pub(super) fn finish_leash(&self) -> Result<(), VaultError> {
        if self.leashed() && !self.folder().named(&["release."])?.is_empty() {
            self.destroy_share_files()
        } else {
            Ok(())
        }
    }

    fn on_leash(&self) -> MutexGuard<'_, Option<OnLeash>> {
        self.on_leash.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testbench::{Bench, Outcome, enforce};
    use super::super::wipe::Why;
    use super::super::{KdfCost, Passcode};
    use super::*;
    use roundsman_protocol::receipt::Trigger;

    /// A vault whose share is on the leash, and the passcode.
    fn leashed() -> Result<(Bench, Vault, Passcode), Box<dyn std::error::Error>> {
        let right = Passcode::new("red kayak 7")?;
        let bench = Bench::enrolled(&right)?;
        let vault = bench.start(Some(KdfCost::FLOOR))?;
        enforce(&vault, Policy { leash_h: Some(1), ..Policy::default() })?;
        vault.update(|record| record.escrow.receipt = Some(b"the server has it".to_vec().into()))?;
        vault.unlock(&right, &|| ())?;
        assert!(vault.leashed() && vault.on_leash().is_some());
        assert!(vault.folder().named(&["release."])?.is_empty());
        Ok((bench, vault, right))
    }

    #[test]
    fn a_passcode_puts_the_share_on_the_leash_and_a_lock_or_a_wipe_takes_it_out_of_memory() -> Outcome {
        for wipes in [false, true] {
            let (_bench, vault, _) = leashed()?;
            let gate = vault.gate();
            if wipes {
                vault.wipe(Why::Own(Trigger::User), None, &|| ())?;
            } else {
                vault.lock(None, &|| ())?;
            }
            drop(gate);
            assert!(vault.on_leash().is_none());
        }
        Ok(())
    }

    #[test]
    fn a_record_that_says_so_before_the_file_is_gone_is_made_good_by_the_next_start() -> Outcome {
        let (bench, vault, right) = leashed()?;
        let (id, share) = vault.read(|record| (record.vault, record.escrow.share))?;
        let held = vault.share(share)?;
        held.store(&vault.folder(), &*vault.seams.entropy, share::PRESENT, id)?;
        drop(vault);
        let vault = bench.start(Some(KdfCost::FLOOR))?;
        assert!(vault.folder().named(&["release."])?.is_empty());
        assert!(matches!(vault.unlock(&right, &|| ()), Err(VaultError::ShareNeeded)));
        Ok(())
    }

    #[test]
    fn a_policy_without_a_leash_writes_the_file_at_the_next_passcode() -> Outcome {
        let (bench, vault, right) = leashed()?;
        enforce(&vault, Policy::default())?;
        vault.unlock(&right, &|| ())?;
        assert!(!vault.leashed() && vault.on_leash().is_none());
        drop(vault);
        bench.start(Some(KdfCost::FLOOR))?.unlock(&right, &|| ())?;
        Ok(())
    }
}
