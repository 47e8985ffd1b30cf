//! The idle lock: how long the app was not touched, and why the client has closed its vault by itself.

use crate::vault::{Moment, Vault};
use std::sync::{Mutex, PoisonError};

/// Why the client has closed the vault by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// Nobody has touched the app for the policy's time.
    Idle,
    /// The clock was turned back, or is years ahead. A check-in puts it right.
    Clock,
    /// The device has been away from its server for too long. A check-in renews the lease.
    Lease,
    /// The policy refuses the phone in the state that it is in.
    Posture,
    /// The device is on a leash and has not heard its server for the policy's hours. A check-in lets the passcode open
    /// it again.
    Leash,
    /// The lease has ended for good: a wipe has begun.
    Wiped,
}

/// When the person last touched the app. In memory only.
#[derive(Default)]
pub(crate) struct Touch(Mutex<Option<Moment>>);

impl Touch {
    /// The app is touched now.
    pub(crate) fn now(&self, vault: &Vault) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(vault.moment());
    }

    /// Whether the last touch was longer ago than the policy allows.
    pub(crate) fn is_over(&self, vault: &Vault) -> bool {
        let touched = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let allowed_ms = i64::from(vault.policy().idle_lock_s) * 1000;
        touched.is_some_and(|then| vault.moment().since_ms(then) >= allowed_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::{BootTime, Clock, OsEntropy, RealDisk, SoftwareKeys};
    use crate::vault::{KdfCost, Seams};
    use chrono::{DateTime, TimeDelta, Utc};
    use std::error::Error;
    use std::sync::Arc;
    use std::time::Duration;
    use uuid::Uuid;

    /// Seconds of the wall clock, and since the start of the phone.
    struct Hands(Mutex<(i64, Option<u64>)>);

    impl Hands {
        fn show(&self, wall: i64, up: Option<u64>) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (wall, up);
        }

        fn shown(&self) -> (i64, Option<u64>) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    impl Clock for Hands {
        fn now(&self) -> DateTime<Utc> {
            DateTime::UNIX_EPOCH + TimeDelta::seconds(self.shown().0)
        }

        fn zone_min(&self) -> i32 {
            0
        }

        fn boot(&self) -> Option<BootTime> {
            self.shown().1.map(|up| BootTime { boot: Uuid::from_u128(1), elapsed: Duration::from_secs(up) })
        }
    }

    #[test]
    fn the_idle_lock_counts_from_the_last_touch_and_no_clock_that_is_set_prolongs_it()
    -> Result<(), Box<dyn Error>> {
        let dir = tempfile::tempdir()?;
        let hands = Arc::new(Hands(Mutex::new((1000, Some(10)))));
        let seams = Seams {
            keys: Arc::new(SoftwareKeys::new(dir.path().join("keys"), Arc::new(OsEntropy))),
            clock: hands.clone(),
            entropy: Arc::new(OsEntropy),
            disk: Arc::new(RealDisk),
            cost: Some(KdfCost::FLOOR),
        };
        let vault = Vault::at(dir.path().join("vault"), seams)?;
        let touch = Touch::default();
        assert!(!touch.is_over(&vault), "nothing was opened yet");
        touch.now(&vault);
        for (wall, up, over) in
            [(1299, Some(309), false), (1300, Some(310), true), (0, Some(310), true), (9000, Some(20), false)]
        {
            hands.show(wall, up);
            assert_eq!(touch.is_over(&vault), over, "{wall} {up:?}");
        }
        touch.now(&vault);
        assert!(!touch.is_over(&vault));
        hands.show(9299, None);
        assert!(!touch.is_over(&vault), "by the wall clock where there is no other");
        hands.show(9300, None);
        assert!(touch.is_over(&vault));
        Ok(())
    }
}
