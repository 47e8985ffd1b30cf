//! Why an administrator's act was refused.

use crate::random::NoEntropy;
use crate::storage::StorageError;

/// Why an act was refused. Nothing has changed when it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// There is no such user, device or record.
    #[error("there is no such record")]
    NotFound,
    /// Only administrators may do this.
    #[error("only an administrator may do this")]
    NotAllowed,
    /// The approval password is wrong.
    #[error("the approval password is wrong")]
    WrongApprovalPassword,
    /// Too many wrong passwords; wait.
    #[error("too many wrong attempts; try again in {seconds} seconds")]
    Throttled {
        /// How long to wait.
        seconds: u64,
    },
    /// The device is wiped or being wiped.
    #[error("the device is wiped or being wiped")]
    AlreadyWiped,
    /// The device is locked or being locked.
    #[error("the device is locked or being locked")]
    AlreadyLocked,
    /// The device is not locked, so it can't be unlocked.
    #[error("the device is not locked")]
    NotLocked,
    /// A lock or a wipe needs a reason.
    #[error("give a reason of at most 200 characters")]
    ReasonMissing,
    /// Another user has this email.
    #[error("another user has this email")]
    EmailTaken,
    /// This is not an email.
    #[error("this is not an email address")]
    EmailInvalid,
    /// A user needs a name.
    #[error("give a name of at most 200 characters")]
    NameInvalid,
    /// A territory's code is empty, too long or holds odd characters.
    #[error("a territory's code has 1 to 64 letters, digits, dashes, dots, underscores or blanks")]
    TerritoryInvalid,
    /// The password is too short.
    #[error("the password needs at least 12 characters")]
    PasswordTooShort,
    /// An administrator needs a password.
    #[error("an administrator needs a password")]
    PasswordMissing,
    /// A round needs at least one customer, each once, all in the rep's territories.
    #[error("a round takes customers of the rep's territories, each once")]
    RoundInvalid,
    /// The server's keys can't be used; its data folder is damaged.
    #[error("the server's keys can't be used")]
    Keys,
    /// No random numbers.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why nobody was signed in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignInError {
    /// The email or the password is wrong; which of them is not said.
    #[error("the email or the password is wrong")]
    WrongCredentials,
    /// The six-digit code is wrong, too old or was used before.
    #[error("the code is wrong or was used before")]
    WrongCode,
    /// Too many failures; wait.
    #[error("too many wrong attempts; try again in {seconds} seconds")]
    Throttled {
        /// How long to wait.
        seconds: u64,
    },
    /// Only administrators use the console.
    #[error("only administrators can sign in here")]
    NotAdmin,
    /// The server failed.
    #[error(transparent)]
    Failed(#[from] AdminError),
}
