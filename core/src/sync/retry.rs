//! When to try again.

use crate::Error;
use crate::platform::{Entropy, KeyError};
use crate::store::StoreError;
use crate::vault::VaultError;
use roundsman_protocol::ErrorCode;
use std::time::Duration;

/// The first wait is at most so long.
const FIRST: Duration = Duration::from_secs(1);

/// No wait of its own accord is longer.
const LONGEST: Duration = Duration::from_mins(5);

/// A server that asks for more than this is asked again after it.
const LONGEST_ASKED: Duration = Duration::from_hours(1);

/// What a failure says about a repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It may work later, with nothing done about it.
    Later {
        /// What the server has asked to wait.
        asked: Option<Duration>,
    },
    /// It fails again until somebody does something: the error says what.
    Never,
}

impl Retry {
    /// What this failure says.
    pub fn of(error: &Error) -> Self {
        let later = Self::Later { asked: None };
        match error {
            Error::Server(problem) => match problem.code {
                ErrorCode::Busy | ErrorCode::Internal | ErrorCode::RescueFull => {
                    Self::Later { asked: problem.retry_after_s.map(Duration::from_secs) }
                }
                ErrorCode::UseDpopNonce | ErrorCode::SessionExpired | ErrorCode::TokenExpired => later,
                _ => Self::Never,
            },
            // Another network may lead to the right server, the disk may have room again, the keystore may answer again,
            // another process may have ended.
            Error::Offline
            | Error::BadAnswer
            | Error::WrongPin
            | Error::Store(StoreError::Full | StoreError::Busy | StoreError::Io { .. })
            | Error::Vault(
                VaultError::Disk(_)
                | VaultError::Key(KeyError::Transient)
                | VaultError::Entropy(_)
                | VaultError::OutOfMemory,
            ) => later,
            _ => Self::Never,
        }
    }
}

/// Waits that grow from try to try, each of a random length, so that phones which lost the server together don't come
/// back together (the "full jitter" of AWS's Architecture Blog, "Exponential Backoff And Jitter", 2015).
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// How long to wait after one more failure: as long as the server has asked and up to a quarter more, or anything up
    /// to a bound that doubles each time.
    pub fn wait(&mut self, asked: Option<Duration>, entropy: &dyn Entropy) -> Duration {
        let bound = FIRST.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX)).min(LONGEST);
        self.failures = self.failures.saturating_add(1).min(31);
        match asked {
            Some(asked) => {
                let asked = asked.min(LONGEST_ASKED);
                asked + part(asked.max(FIRST) / 4, entropy)
            }
            None => part(bound, entropy),
        }
    }

    /// It worked: the next failure is a first one.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Anything up to this.
fn part(most: Duration, entropy: &dyn Entropy) -> Duration {
    match entropy.bytes::<4>() {
        Ok(bytes) => most.mul_f64(f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX)),
        // Without chance all of it: a wait must not fail.
        Err(_) => most,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::EntropyError;
    use roundsman_protocol::Problem;

    /// Chance that always gives the same.
    struct Always(u8);

    impl Entropy for Always {
        fn fill(&self, out: &mut [u8]) -> Result<(), EntropyError> {
            out.fill(self.0);
            Ok(())
        }
    }

    struct NoChance;

    impl Entropy for NoChance {
        fn fill(&self, _: &mut [u8]) -> Result<(), EntropyError> {
            Err(EntropyError)
        }
    }

    fn seconds(backoff: &mut Backoff, entropy: &dyn Entropy, tries: usize) -> Vec<u64> {
        (0..tries).map(|_| backoff.wait(None, entropy).as_secs()).collect()
    }

    #[test]
    fn waits_double_up_to_five_minutes_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::default();
        let bounds = [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300];
        assert_eq!(seconds(&mut backoff, &Always(0xff), bounds.len()), bounds);
        assert_eq!(seconds(&mut backoff, &Always(0xff), 100), [300; 100]);
        backoff.reset();
        assert_eq!(seconds(&mut backoff, &NoChance, 3), [1, 2, 4], "without chance, all of it");
        assert_eq!(seconds(&mut backoff, &Always(0), 20), [0; 20], "anything from nothing on");
    }

    #[test]
    fn a_server_that_asks_for_time_gets_it_and_at_most_an_hour() {
        let mut backoff = Backoff::default();
        for (asked, least, most) in [(20, 20, 25), (0, 0, 1), (86_400, 3_600, 4_500)] {
            let asked = Some(Duration::from_secs(asked));
            assert_eq!(backoff.wait(asked, &Always(0)).as_secs(), least);
            assert!(backoff.wait(asked, &Always(0xff)) <= Duration::from_secs(most));
        }
    }

    #[test]
    fn what_nobody_can_mend_by_waiting_is_not_tried_again() {
        let of = |code: ErrorCode| Retry::of(&Error::Server(code.into()));
        for code in [
            ErrorCode::Malformed,
            ErrorCode::TokenInvalid,
            ErrorCode::DeviceUnknown,
            ErrorCode::UpdateNeeded,
            ErrorCode::DeviceBlocked,
        ] {
            assert_eq!(of(code), Retry::Never, "{code:?}");
        }
        for error in [Error::Locked, Error::NotEnrolled, Error::Cancelled, Error::Store(StoreError::Corrupt)]
        {
            assert_eq!(Retry::of(&error), Retry::Never, "{error:?}");
        }
        let later = Retry::Later { asked: None };
        for error in [Error::Offline, Error::BadAnswer, Error::WrongPin, Error::Store(StoreError::Full)] {
            assert_eq!(Retry::of(&error), later, "{error:?}");
        }
        assert_eq!(of(ErrorCode::Internal), later);
        let busy = Problem { retry_after_s: Some(7), ..ErrorCode::Busy.into() };
        let asked = Some(Duration::from_secs(7));
        assert_eq!(Retry::of(&Error::Server(busy)), Retry::Later { asked });
    }
}
