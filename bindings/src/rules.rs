//! What a new passcode must be like, shown while it is typed.

use crate::{Passcode, PasscodeFlaw};
use roundsman_core::vault::{self, PasscodeDue};
use std::sync::Arc;

/// What a new passcode must be like, on this device and in this organisation. Ask for it anew for each screen: the
/// organisation may change its rules.
#[derive(uniffi::Object)]
pub struct PasscodeRules(pub(crate) vault::PasscodeRules);

#[uniffi::export]
impl PasscodeRules {
    /// The fewest characters. Digits alone will do.
    pub fn min_characters(&self) -> u32 {
        u32::try_from(self.0.min_characters).unwrap_or(u32::MAX)
    }

    /// Whether it must be hard to guess for a computer too: the device has no secure hardware that counts attempts.
    pub fn strong(&self) -> bool {
        self.0.strong
    }

    /// How many of small letters, capitals, digits and others a passcode must have that is not of digits alone.
    pub fn classes(&self) -> Option<u32> {
        self.0.classes.and_then(|classes| u32::try_from(classes).ok())
    }

    /// After so many days it must be changed; nothing if it need not be.
    pub fn max_age_days(&self) -> Option<u32> {
        self.0.max_age_days
    }

    /// None of so many last ones may be used again; nothing if they may.
    pub fn history(&self) -> Option<u32> {
        self.0.history.and_then(|count| u32::try_from(count).ok())
    }

    /// Every rule that what was typed breaks so far; none if it will do. Quick enough for each key, and leaves the
    /// passcode as it is. Whether it was used before only `change_passcode` can tell.
    pub fn check(&self, passcode: Arc<Passcode>) -> Vec<PasscodeFlaw> {
        passcode.look(|typed| self.0.check(typed)).into_iter().map(Into::into).collect()
    }
}

/// That the passcode is to be changed.
#[uniffi::remote(Enum)]
pub enum PasscodeDue {
    /// Soon: the screen may say so.
    Warn {
        /// In so many days.
        days: u32,
    },
    /// Now: until it is changed everything but the outbox fails with `PasscodeExpired`.
    Now,
}
