//! What follows from the last wrong passcode: a lock or a wipe, as the policy says, with no server to ask.

use super::wipe::Why;
use super::{Vault, VaultError};
use roundsman_protocol::policy::LastAttempt;
use roundsman_protocol::receipt::Trigger;

impl Vault {
    /// Locks or wipes, and says why nothing opens. The attempts are counted on disk, so that whatever interrupts it is
    /// made good by the next attempt. Call it with the gate held; `close` must close the database.
    pub(super) fn last_attempt(&self, close: &dyn Fn()) -> VaultError {
        let wipes = match self.policy().last_attempt {
            // Where keys are in files a copy of the disk can be guessed at without a limit.
            LastAttempt::ByHardware => !self.seams.keys.hardware(),
            LastAttempt::Lock => false,
            LastAttempt::Wipe => true,
        };
        let (done, told) = if wipes {
            (self.wipe(Why::Own(Trigger::LastAttempt), None, close), VaultError::Wiping)
        } else {
            (self.lock(None, close), VaultError::Locked)
        };
        match (done, self.usable()) {
            (Err(error), Ok(_)) => error,
            (Err(error), Err(closed)) => {
                tracing::warn!(%error, "what follows from the last attempt goes on with the next start");
                closed
            }
            (Ok(()), _) => told,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::Queued;
    use super::super::testbench::{Bench, Outcome, enforce};
    use super::super::{BiometricsError, KdfCost, Passcode, VaultState};
    use super::*;
    use roundsman_protocol::policy::Policy;
    use roundsman_protocol::receipt::Progress;
    use std::cell::Cell;

    #[test]
    fn the_policy_says_what_the_last_wrong_passcode_leads_to() -> Outcome {
        let (right, wrong) = (Passcode::new("red kayak 7")?, Passcode::new("blue heron 3")?);
        for (last_attempt, wipes) in
            [(LastAttempt::Lock, false), (LastAttempt::ByHardware, true), (LastAttempt::Wipe, true)]
        {
            let bench = Bench::enrolled(&right)?;
            let vault = bench.start(Some(KdfCost::FLOOR))?;
            enforce(&vault, Policy { last_attempt, ..Policy::default() })?;
            vault.update(|record| record.attempts = 9)?;
            let closed = Cell::new(0);
            let told = vault.unlock(&wrong, &|| closed.set(closed.get() + 1)).err();
            assert_eq!(closed.get(), 1, "{last_attempt:?}: the database was closed");
            if wipes {
                assert!(matches!(told, Some(VaultError::Wiping)), "{last_attempt:?}");
                assert_eq!(vault.state(), VaultState::Wiping);
                // The proof names no command: nobody had ordered it.
                let proof = vault.read(|record| record.queue.clone())?;
                let Some(Queued::Owed(proof)) = proof.first() else { return Err("no receipt".into()) };
                assert_eq!(proof.command(), None);
                let Progress::Shredded { trigger, .. } = &proof.progress else {
                    return Err("not shredded".into());
                };
                assert_eq!(*trigger, Trigger::LastAttempt);
            } else {
                assert!(matches!(told, Some(VaultError::Locked)), "{last_attempt:?}");
            }
            assert!(vault.unlock(&right, &|| ()).is_err(), "{last_attempt:?}");
            drop(vault);
            let vault = bench.start(Some(KdfCost::FLOOR))?;
            assert!(vault.unlock(&right, &|| ()).is_err(), "{last_attempt:?}, after a restart");
        }
        Ok(())
    }

    #[test]
    fn a_stop_after_the_last_count_is_made_good_by_the_next_attempt() -> Outcome {
        let right = Passcode::new("red kayak 7")?;
        let bench = Bench::enrolled(&right)?;
        let vault = bench.start(Some(KdfCost::FLOOR))?;
        vault.update(|record| record.attempts = 10)?;
        assert!(matches!(vault.unlock(&right, &|| ()), Err(VaultError::Wiping)));
        Ok(())
    }

    #[test]
    fn a_policy_without_biometrics_keeps_them_shut_even_where_they_were_enabled() -> Outcome {
        let right = Passcode::new("red kayak 7")?;
        let bench = Bench::enrolled(&right)?;
        let vault = bench.start(Some(KdfCost::FLOOR))?;
        vault.enable_biometrics(&right, &|| ())?;
        assert!(vault.biometrics() && vault.unlock_with_biometrics().is_ok());
        enforce(&vault, Policy { biometrics: false, ..Policy::default() })?;
        assert!(!vault.biometrics());
        let refused = |error| matches!(error, Some(VaultError::Biometrics(BiometricsError::NotAllowed)));
        assert!(refused(vault.unlock_with_biometrics().err()));
        assert!(refused(vault.enable_biometrics(&right, &|| ()).err()));
        assert_eq!(vault.read(|record| record.attempts)?, 0, "the passcode was not even looked at");
        Ok(())
    }

    #[test]
    fn a_policy_that_nobody_has_signed_does_not_hold() -> Outcome {
        let bench = Bench::enrolled(&Passcode::new("red kayak 7")?)?;
        let vault = bench.start(Some(KdfCost::FLOOR))?;
        vault.update(|record| record.policy = Some(b"noise".to_vec().into()))?;
        assert_eq!(vault.policy(), Policy::default());
        enforce(&vault, Policy { last_attempt: LastAttempt::Lock, ..Policy::default() })?;
        assert_eq!(vault.policy().last_attempt, LastAttempt::Lock);
        Ok(())
    }
}
