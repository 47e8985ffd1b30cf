//! The policy: the rules of an organisation that its devices keep. The server signs it; below the floor that is
//! compiled in here it can't go.

use crate::envelope::{Domain, Envelope, EnvelopeError, decode, encode};
use crate::posture::Verdict;
use crate::root::Root;
use serde::{Deserialize, Serialize};

/// Which school of rules for passcodes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, minicbor::Encode, minicbor::Decode,
)]
#[serde(rename_all = "snake_case")]
#[cbor(index_only)]
pub enum PasscodeProfile {
    /// Changed every 90 days, none of the last five again, three of four classes of characters for long ones: what
    /// the classified protection scheme of China (MLPS 2.0, GB/T 22239) is usually taken to ask for.
    #[default]
    #[n(0)]
    Rotating,
    /// Long, not on a list of common ones, changed only when it may be known: NIST SP 800-63B-4.
    #[n(1)]
    Nist,
}

/// What the last wrong passcode leads to.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, minicbor::Encode, minicbor::Decode,
)]
#[serde(rename_all = "snake_case")]
#[cbor(index_only)]
pub enum LastAttempt {
    /// A lock where keys are in secure hardware, a wipe where they are not: there a copy of the disk could be guessed
    /// at without a limit.
    #[default]
    #[n(0)]
    ByHardware,
    /// A lock.
    #[n(1)]
    Lock,
    /// A wipe; unsent work is handed over all the same.
    #[n(2)]
    Wipe,
}

/// What follows from the phone's posture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, minicbor::Encode, minicbor::Decode)]
pub struct PostureRules {
    /// Rooted or jailbroken.
    #[n(0)]
    pub rooted: Verdict,
    /// A debugger is attached.
    #[n(1)]
    pub debugger: Verdict,
    /// An emulator.
    #[n(2)]
    pub emulator: Verdict,
    /// The phone has no screen lock.
    #[n(3)]
    pub no_screen_lock: Verdict,
    /// Patches are older than `oldest_patch`.
    #[n(4)]
    pub old_patches: Verdict,
    /// `YYYY-MM-DD`.
    #[n(5)]
    pub oldest_patch: Option<String>,
}

/// Warns of everything, locks for nothing.
impl Default for PostureRules {
    fn default() -> Self {
        Self {
            rooted: Verdict::Warn,
            debugger: Verdict::Warn,
            emulator: Verdict::Allow,
            no_screen_lock: Verdict::Warn,
            old_patches: Verdict::Warn,
            oldest_patch: None,
        }
    }
}

/// The rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, minicbor::Encode, minicbor::Decode)]
pub struct Policy {
    /// The format, [`crate::VERSION`].
    #[n(0)]
    pub v: u8,
    /// The organisation.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub org: [u8; 16],
    /// The policy's own version; a device takes only later ones.
    #[n(2)]
    pub version: u32,
    /// The rules for passcodes.
    #[n(3)]
    pub passcode: PasscodeProfile,
    /// What the last wrong passcode leads to.
    #[n(4)]
    pub last_attempt: LastAttempt,
    /// After so many seconds without a touch the vault closes.
    #[n(5)]
    pub idle_lock_s: u32,
    /// Whether biometrics may open the vault between passcodes.
    #[n(6)]
    pub biometrics: bool,
    /// What follows from the phone's posture.
    #[n(7)]
    pub posture: PostureRules,
    /// The leash: the release share is on no disk, and in memory for at most so many hours after the server gave it.
    /// The vault does not open for longer than that without the server. `None` for no leash.
    #[n(8)]
    #[serde(default)]
    pub leash_h: Option<u32>,
}

impl Policy {
    /// The longest time without a touch that any policy allows: 15 minutes.
    pub const MAX_IDLE_S: u32 = 15 * 60;
    /// The shortest: a vault that closes sooner can't be worked with.
    pub const MIN_IDLE_S: u32 = 15;
    /// The longest leash: 72 hours. The shortest is one.
    pub const MAX_LEASH_H: u32 = 72;

    /// The bytes to sign.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Opens a policy and checks that it is the server's, for this organisation. What is below the floor is raised
    /// to it.
    ///
    /// # Errors
    /// [`EnvelopeError::Malformed`] if it is another organisation's; otherwise as the envelope says.
    pub fn open(envelope: &[u8], root: &Root) -> Result<Self, EnvelopeError> {
        let envelope = Envelope::from_bytes(envelope)?;
        root.command.verify(Domain::Policy, &envelope)?;
        let policy: Self = decode(&envelope.payload)?;
        if policy.v != crate::VERSION || policy.org != root.org {
            return Err(EnvelopeError::Malformed);
        }
        Ok(policy.above_the_floor())
    }

    /// The same policy, with what is below the floor raised to it.
    pub fn above_the_floor(self) -> Self {
        Self {
            idle_lock_s: self.idle_lock_s.clamp(Self::MIN_IDLE_S, Self::MAX_IDLE_S),
            leash_h: self.leash_h.map(|hours| hours.clamp(1, Self::MAX_LEASH_H)),
            ..self
        }
    }
}

/// What holds before the server has sent one: version 0.
impl Default for Policy {
    fn default() -> Self {
        Self {
            v: crate::VERSION,
            org: [0; 16],
            version: 0,
            passcode: PasscodeProfile::default(),
            last_attempt: LastAttempt::default(),
            idle_lock_s: 5 * 60,
            biometrics: true,
            posture: PostureRules::default(),
            leash_h: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::tests::{key, root};

    #[test]
    fn a_policy_is_the_servers_and_never_below_the_floor() -> Result<(), EnvelopeError> {
        let lax = Policy {
            org: [9; 16],
            version: 3,
            idle_lock_s: u32::MAX,
            leash_h: Some(u32::MAX),
            ..Policy::default()
        };
        let signed = |signer| Envelope::sign(Domain::Policy, lax.to_bytes(), &[&key(signer)]).to_bytes();
        let taken = Policy::open(&signed(1), &root())?;
        assert_eq!((taken.idle_lock_s, taken.leash_h), (Policy::MAX_IDLE_S, Some(Policy::MAX_LEASH_H)));
        assert!(Policy::open(&signed(2), &root()).is_err());
        let other = Envelope::sign(Domain::Policy, Policy::default().to_bytes(), &[&key(1)]).to_bytes();
        assert_eq!(Policy::open(&other, &root()), Err(EnvelopeError::Malformed));
        Ok(())
    }

    #[test]
    fn a_policy_without_a_leash_has_the_bytes_that_it_had_before_there_were_any() -> Result<(), EnvelopeError>
    {
        let (without, with) = (Policy::default(), Policy { leash_h: Some(8), ..Policy::default() });
        assert_eq!((without.to_bytes()[0], with.to_bytes()[0]), (0x88, 0x89), "arrays of eight and nine");
        assert_eq!(decode::<Policy>(&with.to_bytes())?, with);
        Ok(())
    }
}
