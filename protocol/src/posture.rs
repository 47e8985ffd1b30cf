//! Posture: in what state the phone is, as the host app reports it. A rooted phone can report what it likes; the
//! verdict is one fence among several.

use crate::policy::Policy;
use serde::{Deserialize, Serialize};

/// What the host app found out about the phone. What it could not find out is missing, and counts as unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posture {
    /// The phone is rooted or jailbroken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rooted: Option<bool>,
    /// A debugger is attached to the app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debugger: Option<bool>,
    /// It is an emulator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emulator: Option<bool>,
    /// The phone itself is locked by a code or by biometrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub screen_lock: Option<bool>,
    /// The level of the system's security patches, `YYYY-MM-DD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch_level: Option<String>,
    /// The system's name and version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
}

/// What follows from a concern.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    minicbor::Encode,
    minicbor::Decode,
)]
#[serde(rename_all = "snake_case")]
#[cbor(index_only)]
pub enum Verdict {
    /// Nothing.
    #[default]
    #[n(0)]
    Allow,
    /// The rep and the administrator are told.
    #[n(1)]
    Warn,
    /// The vault does not open.
    #[n(2)]
    Lock,
}

/// Something about the phone that the policy has a rule for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Concern {
    /// Rooted or jailbroken.
    Rooted,
    /// A debugger is attached.
    Debugger,
    /// An emulator.
    Emulator,
    /// No screen lock.
    NoScreenLock,
    /// Security patches are older than the policy allows.
    OldPatches,
}

impl Concern {
    /// The words for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Rooted => "the phone is rooted or jailbroken",
            Self::Debugger => "a debugger is attached to the app",
            Self::Emulator => "the app runs in an emulator",
            Self::NoScreenLock => "the phone has no screen lock",
            Self::OldPatches => "the phone's security patches are too old",
        }
    }
}

impl Posture {
    /// The longest texts that are kept.
    pub const MAX_TEXT: usize = 64;

    /// Whether its texts have a sensible length.
    pub fn is_sensible(&self) -> bool {
        [&self.patch_level, &self.os].into_iter().flatten().all(|text| text.len() <= Self::MAX_TEXT)
    }

    /// What the policy says of this phone: the hardest verdict, and every concern that is more than allowed.
    pub fn judge(&self, policy: &Policy) -> (Verdict, Vec<(Concern, Verdict)>) {
        let rules = &policy.posture;
        let old = match (&self.patch_level, &rules.oldest_patch) {
            (Some(level), Some(oldest)) => level.as_str() < oldest.as_str(),
            _ => false,
        };
        let mut found = vec![
            (Concern::Rooted, self.rooted == Some(true), rules.rooted),
            (Concern::Debugger, self.debugger == Some(true), rules.debugger),
            (Concern::Emulator, self.emulator == Some(true), rules.emulator),
            (Concern::NoScreenLock, self.screen_lock == Some(false), rules.no_screen_lock),
            (Concern::OldPatches, old, rules.old_patches),
        ];
        found.retain(|(_, is_so, verdict)| *is_so && *verdict > Verdict::Allow);
        let concerns: Vec<_> = found.into_iter().map(|(concern, _, verdict)| (concern, verdict)).collect();
        let hardest = concerns.iter().map(|(_, verdict)| *verdict).max().unwrap_or_default();
        (hardest, concerns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hardest_verdict_counts_and_unknown_is_no_concern() {
        let mut policy = Policy::default();
        assert_eq!(Posture::default().judge(&policy), (Verdict::Allow, vec![]));
        policy.posture.rooted = Verdict::Lock;
        policy.posture.no_screen_lock = Verdict::Warn;
        policy.posture.emulator = Verdict::Allow;
        policy.posture.old_patches = Verdict::Warn;
        policy.posture.oldest_patch = Some("2026-03-01".into());
        let posture = Posture {
            rooted: Some(true),
            screen_lock: Some(false),
            emulator: Some(true),
            patch_level: Some("2026-02-05".into()),
            ..Posture::default()
        };
        let (verdict, concerns) = posture.judge(&policy);
        assert_eq!(verdict, Verdict::Lock);
        assert_eq!(
            concerns,
            [
                (Concern::Rooted, Verdict::Lock),
                (Concern::NoScreenLock, Verdict::Warn),
                (Concern::OldPatches, Verdict::Warn)
            ]
        );
    }
}
