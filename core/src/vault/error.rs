//! Why the vault does not do what it is asked.

use super::{BiometricsError, PasscodeError};
use crate::platform::{EntropyError, KeyError};
use roundsman_protocol::posture::Concern;
use roundsman_protocol::root::RootError;

/// Why the vault refuses or fails. Whatever the reason, no file was damaged by it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// There is no vault on this device yet: enrol it.
    #[error("this device is not enrolled")]
    NotEnrolled,
    /// There is a vault already.
    #[error("this device is enrolled already")]
    AlreadyCreated,
    /// The passcode is not the one of this vault. The attempt is counted on disk.
    #[error("the passcode is wrong, {attempts_left} attempts are left")]
    WrongPasscode {
        /// How many are left before the device locks or wipes itself.
        attempts_left: u32,
    },
    /// After several wrong passcodes the next attempt has to wait. It was not counted.
    #[error("too many wrong passcodes, try again in {seconds} seconds")]
    Wait {
        /// How long.
        seconds: u64,
    },
    /// Locked by the administrator, or by ten wrong passcodes. Check in: an unlock comes that way.
    #[error("this device is locked, ask your administrator")]
    Locked,
    /// A wipe has begun. Check in, so that its proof reaches the server.
    #[error("this device is being wiped")]
    Wiping,
    /// Everything was wiped.
    #[error("this device was wiped")]
    Wiped,
    /// A file of the vault was changed by somebody else, or damaged. It is left as it is.
    #[error("{file} was changed or is damaged")]
    Tampered {
        /// Its name.
        file: &'static str,
    },
    /// A file of the vault is cut off. It is left as it is.
    #[error("{file} is cut off")]
    Truncated {
        /// Its name.
        file: &'static str,
    },
    /// A file of the vault is missing. The others are left as they are.
    #[error("{file} is missing")]
    Missing {
        /// Its name.
        file: &'static str,
    },
    /// The control file was put back to an earlier state. It is left as it is. Check in: the administrator can lock
    /// and unlock the device, which settles it.
    #[error("the vault was put back to an earlier state: check in and ask your administrator")]
    RolledBack,
    /// The platform has lost this app's key, for example in a restore to another phone. The vault can't be opened
    /// again; enrol anew.
    #[error("the platform has lost the key of this vault, enrol this device anew")]
    KeyGone,
    /// The platform has a key, but not the one the vault was made with. Enrol anew.
    #[error("the platform's key is not the one this vault was made with, enrol this device anew")]
    WrongKey,
    /// The platform's keystore gives no answer for now. Try again later.
    #[error(transparent)]
    Key(KeyError),
    /// Another process has this vault open.
    #[error("another process uses this vault")]
    InUse,
    /// The passcode is not taken: a rule that it breaks.
    #[error(transparent)]
    Passcode(#[from] PasscodeError),
    /// Biometrics do not open the vault; the passcode does.
    #[error(transparent)]
    Biometrics(#[from] BiometricsError),
    /// The disk failed or is full. What was stored before is there.
    #[error("the disk failed")]
    Disk(#[from] std::io::Error),
    /// There are no random numbers.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The organisation's keys can't be used.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The clock was turned back. Check in: the server's time puts it right. Nothing was counted.
    #[error("the clock was turned back, connect to the server")]
    ClockTurnedBack,
    /// The clock is years ahead of anything that was known. Check in: the server's time puts it right. Nothing was
    /// counted.
    #[error("the clock can't be right, connect to the server")]
    ClockImplausible,
    /// The device has not reached its server for too long. Check in: that renews the lease.
    #[error("this device has been away from its server for too long, connect to the server")]
    LeaseEnded,
    /// The organisation keeps this device on a leash, and it has not heard its server for too long, or not since the app
    /// was started. Check in, then unlock. Nothing was counted.
    #[error("this device opens only after its server was heard: connect, check in, then unlock")]
    ShareNeeded,
    /// The organisation's rules don't allow the vault to open on a phone in this state. Unsent work is kept.
    #[error("the organisation's rules don't allow this phone: {}", words(concerns))]
    PostureRefused {
        /// What is wrong with it.
        concerns: Vec<Concern>,
    },
    /// The vault may still open: erase it with its passcode.
    #[error("this device still opens with its passcode, which is needed to erase it")]
    PasscodeNeeded,
    /// There is not enough memory to check a passcode. Close other apps and try again.
    #[error("there is not enough memory to check the passcode")]
    OutOfMemory,
}

fn words(concerns: &[Concern]) -> String {
    concerns.iter().map(|concern| concern.words()).collect::<Vec<_>>().join(", ")
}

impl From<KeyError> for VaultError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Gone => Self::KeyGone,
            other => Self::Key(other),
        }
    }
}
