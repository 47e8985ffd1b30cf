//! On what terms the vault opens: the organisation's policy, the lease, and the phone's posture.

use crate::Instant;
use roundsman_core::protocol::policy::{self, LastAttempt, PasscodeProfile};
use roundsman_core::protocol::posture::{Concern, Posture, Verdict};
use roundsman_core::vault::{LeaseState, LeaseStatus};
use std::time::Duration;

/// The organisation's rules, as far as a screen tells of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Policy {
    /// Its version; 0 is what is built in until the server has sent one.
    pub version: u32,
    /// The rules for passcodes.
    pub passcode: PasscodeProfile,
    /// What the last wrong passcode leads to.
    pub last_attempt: LastAttempt,
    /// The vault closes after so long without a touch.
    pub idle_lock: Duration,
    /// Whether biometrics may open the vault between passcodes.
    pub biometrics: bool,
}

impl From<policy::Policy> for Policy {
    fn from(policy: policy::Policy) -> Self {
        Self {
            version: policy.version,
            passcode: policy.passcode,
            last_attempt: policy.last_attempt,
            idle_lock: Duration::from_secs(policy.idle_lock_s.into()),
            biometrics: policy.biometrics,
        }
    }
}

/// Which school of rules for passcodes.
#[uniffi::remote(Enum)]
pub enum PasscodeProfile {
    /// Changed every 90 days, none of the last five again, three of four classes of characters for long ones.
    Rotating,
    /// Long, not on a list of common ones, changed only when it may be known: NIST SP 800-63B-4.
    Nist,
}

/// What the last wrong passcode leads to.
#[uniffi::remote(Enum)]
pub enum LastAttempt {
    /// A lock where keys are in secure hardware, a wipe where they are not.
    ByHardware,
    /// A lock.
    Lock,
    /// A wipe; unsent work is handed over all the same.
    Wipe,
}

/// How long the device may stay away from its server.
#[uniffi::remote(Record)]
pub struct LeaseStatus {
    /// How it stands.
    pub state: LeaseState,
    /// From when on the vault does not open without the server.
    pub locks_at: Option<Instant>,
    /// From when on the device wipes itself; nothing if it never does.
    pub wipes_at: Option<Instant>,
    /// Whether the wipe is less than seven days away: say so, loudly.
    pub wipe_near: bool,
}

/// How the lease stands, by trusted time.
#[uniffi::remote(Enum)]
pub enum LeaseState {
    /// There is none: the server has never given one.
    None,
    /// It is good.
    Fresh,
    /// It is good, but the device should reach its server soon.
    Warn {
        /// How long the vault still opens.
        until_lock: Duration,
    },
    /// The vault does not open until the server was reached.
    LockDue,
    /// The device wipes itself as soon as it is certain that its time has come.
    WipeDue,
}

/// What the app found out about the phone. What it could not find out is left out, and counts as unknown.
#[uniffi::remote(Record)]
pub struct Posture {
    /// The phone is rooted or jailbroken.
    #[uniffi(default = None)]
    pub rooted: Option<bool>,
    /// A debugger is attached to the app.
    #[uniffi(default = None)]
    pub debugger: Option<bool>,
    /// It is an emulator.
    #[uniffi(default = None)]
    pub emulator: Option<bool>,
    /// The phone itself is locked by a code or by biometrics.
    #[uniffi(default = None)]
    pub screen_lock: Option<bool>,
    /// The level of the system's security patches, `YYYY-MM-DD`.
    #[uniffi(default = None)]
    pub patch_level: Option<String>,
    /// The system's name and version, at most 64 bytes.
    #[uniffi(default = None)]
    pub os: Option<String>,
}

/// Something about the phone that the policy has a rule for.
#[uniffi::remote(Enum)]
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

/// What follows from a concern.
type PostureVerdict = Verdict;
#[uniffi::remote(Enum)]
pub enum PostureVerdict {
    /// Nothing.
    Allow,
    /// The rep and the administrator are told.
    Warn,
    /// The vault does not open.
    Lock,
}

/// A concern, and what the policy makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Record)]
pub struct PostureFinding {
    /// What is wrong.
    pub concern: Concern,
    /// What follows from it: `Warn` or `Lock`.
    pub verdict: PostureVerdict,
}
