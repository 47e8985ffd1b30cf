//! Why an administrator's act was refused.

use crate::keys::KeysError;
use crate::random::NoEntropy;
use crate::storage::StorageError;
use roundsman_model::RuleError;
use roundsman_protocol::root::RootError;

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
    /// A wipe of this device waits for approvals already.
    #[error("a wipe of this device waits for approval already; approve or withdraw it")]
    WipeProposed,
    /// The proposal was ordered, withdrawn, or not approved in time.
    #[error("the proposed wipe was ordered or withdrawn, or has expired; propose it again if it is needed")]
    ProposalClosed,
    /// The key is not among the approvers of the present root.
    #[error("this key is no approver's; a new root must name it first")]
    NotAnApprover,
    /// The approver has signed this proposal before.
    #[error("this approver has approved the wipe before; another one must")]
    AlreadyApproved,
    /// The signature is not by this key on these bytes.
    #[error("the signature is not this approver's on this wipe")]
    SignatureWrong,
    /// The root can't be the next one.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The root names no key that the server holds.
    #[error("the root names no command key or release key of this server; draft it here again")]
    RootWithoutServer,
    /// A pin would leave before the ones that stay are known everywhere.
    #[error(
        "a pin may leave once all that stay have been published for 30 days; add new ones first, or say that it is an \
         emergency"
    )]
    PinsTooSoon,
    /// Fewer than two different pins.
    #[error("name at least two different pins: one in use, and one whose key is kept offline")]
    PinsTooFew,
    /// The enrolment has no digits yet, was decided, or has waited too long.
    #[error("this enrolment has no digits yet, was decided already, or has waited too long")]
    EnrolmentClosed,
    /// The policy can't be kept.
    #[error("the vault must close after 15 seconds to 15 minutes, and patches have a date YYYY-MM-DD")]
    PolicyInvalid,
    /// The terms of the lease are out of order.
    #[error("a warning comes before a lock, a lock before a wipe, and a wipe after 14 days at the earliest")]
    LeaseInvalid,
    /// The text is no anchor of an audit log.
    #[error("this is no anchor of an audit log, or it is damaged")]
    NotAnAnchor,
    /// The text is no export of release shares.
    #[error("this is no export of release shares, or it is damaged")]
    NotAnExport,
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
    /// This rescue key opens none of the segments that wait.
    #[error("this rescue key opens none of the unsent work that waits; use the one that belongs to it")]
    WrongRescueKey,
    /// The rescued change was taken, dismissed, or has arrived from its device.
    #[error("the change is settled already")]
    AlreadySettled,
    /// The change breaks a rule of the records.
    #[error(transparent)]
    Rule(#[from] RuleError),
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

impl From<KeysError> for AdminError {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::Storage(error) => Self::Storage(error),
            KeysError::Entropy(error) => Self::Entropy(error),
            KeysError::File(_) | KeysError::Damaged => Self::Keys,
        }
    }
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
