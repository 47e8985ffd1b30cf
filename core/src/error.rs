//! What can go wrong, in the words of what happened to the user.

use crate::attachments::AttachmentError;
use crate::platform::{EntropyError, KeyError};
use crate::store::StoreError;
use crate::vault::VaultError;
use roundsman_model::RuleError;
use roundsman_protocol::ErrorCode;
use roundsman_protocol::command::Refusal;
use roundsman_protocol::root_bundle::RootBundleError;
use roundsman_protocol::ticket::TicketError;
use uuid::Uuid;

/// Why a call of the client failed. No variant holds personal data, keys or tokens.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The vault is closed. Ask for the passcode and call [`Client::unlock`](crate::Client::unlock).
    #[error("unlock the app first")]
    Locked,
    /// The passcode is too old: it has to be changed with [`Client::change_passcode`](crate::Client::change_passcode)
    /// before anything else opens. Nothing is lost meanwhile.
    #[error("the passcode is too old: change it first")]
    PasscodeExpired,
    /// No organisation has been joined on this device. Call [`Client::enrol`](crate::Client::enrol).
    #[error("this device is not enrolled")]
    NotEnrolled,
    /// This device has joined an organisation already.
    #[error("this device is enrolled already")]
    AlreadyEnrolled,
    /// The vault can't be opened, or said why not.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The store failed. What was committed before is still there.
    #[error(transparent)]
    Store(StoreError),
    /// A rule of the business does not allow it. Nothing was changed.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// Another visit is in progress: check it out or leave it first.
    #[error("another visit is in progress")]
    VisitInProgress {
        /// The visit in progress.
        visit: Uuid,
    },
    /// There is no such record on this device.
    #[error("there is no such record on this device")]
    NotFound,
    /// The attachment was not added, or can't be read.
    #[error(transparent)]
    Attachment(#[from] AttachmentError),
    /// The enrolment code can't be used.
    #[error(transparent)]
    Ticket(#[from] TicketError),
    /// The organisation's keys that were brought by hand can't be used; those that were trusted before still are.
    #[error(transparent)]
    RootBundle(#[from] RootBundleError),
    /// There is no connection. Try again later; nothing is lost.
    #[error("the server can't be reached")]
    Offline,
    /// Somebody else answered in place of the server: its key is none of the pinned ones. Don't go on on this
    /// network. If the administrator says that the server's keys were replaced, their code goes to
    /// [`Client::take_root_bundle`](crate::Client::take_root_bundle).
    #[error("the server's key is not one this device trusts")]
    WrongPin,
    /// The server refused, with its reason.
    #[error(transparent)]
    Server(#[from] roundsman_protocol::Problem),
    /// The server's answer can't be used: cut off, or not of the protocol. What was stored before stays.
    #[error("the server's answer was incomplete or can't be read")]
    BadAnswer,
    /// The server sent a command that this device refuses. It had no effect, and the refusal is reported.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The profile holds a vault. Wipe it first.
    #[error("this profile holds a vault, wipe it first")]
    InUse,
    /// The call was cancelled.
    #[error("cancelled")]
    Cancelled,
}

/// A store that was closed under a running call means that the vault is closed.
impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Closed => Self::Locked,
            error => Self::Store(error),
        }
    }
}

impl Error {
    /// The server's reason, if it was the server that refused.
    pub fn server_code(&self) -> Option<ErrorCode> {
        match self {
            Self::Server(problem) => Some(problem.code),
            _ => None,
        }
    }
}

impl From<EntropyError> for Error {
    fn from(error: EntropyError) -> Self {
        Self::Vault(error.into())
    }
}

impl From<KeyError> for Error {
    fn from(error: KeyError) -> Self {
        Self::Vault(error.into())
    }
}
