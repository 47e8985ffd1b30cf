//! Why the vault does not do what it is asked.

use super::PasscodeError;
use crate::platform::{EntropyError, KeyError};
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
        /// How many are left before the device locks itself.
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
    /// The passcode is too easy.
    #[error(transparent)]
    Passcode(#[from] PasscodeError),
    /// The disk failed or is full. What was stored before is there.
    #[error("the disk failed")]
    Disk(#[from] std::io::Error),
    /// There are no random numbers.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The organisation's keys can't be used.
    #[error(transparent)]
    Root(#[from] RootError),
    /// There is not enough memory to check a passcode. Close other apps and try again.
    #[error("there is not enough memory to check the passcode")]
    OutOfMemory,
}

impl From<KeyError> for VaultError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Gone => Self::KeyGone,
            other => Self::Key(other),
        }
    }
}
