//! What can go wrong, in as many words as an app can act on.

use crate::KeyError;
use roundsman_core::model::RuleError;
use roundsman_core::protocol::ErrorCode;
use roundsman_core::protocol::ticket::TicketError;
use roundsman_core::store::StoreError;
use roundsman_core::vault::{PasscodeError, VaultError};
use roundsman_core::{Error, protocol::Problem};
use uuid::Uuid;

/// Why a call failed, and what to do. No variant holds personal data, keys or tokens.
#[derive(Debug, PartialEq, thiserror::Error, uniffi::Error)]
pub enum RoundsmanError {
    /// The vault is closed. Ask for the passcode and call `unlock`.
    #[error("unlock the app first")]
    Locked,
    /// The administrator has locked this device, or ten wrong passcodes did. Say so, and go on calling `checkIn`:
    /// an unlock comes that way. Unsent work is kept.
    #[error("this device is locked, ask your administrator")]
    LockedByAdministrator,
    /// The device was wiped, or is being wiped. Nothing can be read any more. Go on calling `checkIn` until the
    /// state is `Wiped`.
    #[error("this device was wiped")]
    Wiped,
    /// No organisation has been joined. Scan an enrolment code and call `enrol`.
    #[error("this device is not enrolled")]
    NotEnrolled,
    /// This device has joined an organisation already. Call `unlock`.
    #[error("this device is enrolled already")]
    AlreadyEnrolled,
    /// The organisation keeps this device on a leash, and the server has to be heard first. Connect, call `checkIn`, then
    /// `unlock`. No attempt was counted.
    #[error("connect, check in, then unlock")]
    ShareNeeded,
    /// The passcode is wrong. Let the person try again; with none left the device locks itself.
    #[error("the passcode is wrong, {attempts_left} attempts are left")]
    WrongPasscode {
        /// How many attempts are left.
        attempts_left: u32,
    },
    /// Too many wrong passcodes. Show a countdown; an attempt before its end is not counted.
    #[error("too many wrong passcodes, try again in {seconds} seconds")]
    Wait {
        /// How long to wait.
        seconds: u64,
    },
    /// The passcode is too easy or can't be read. Say which rule it breaks and ask for another.
    #[error("choose another passcode")]
    WeakPasscode {
        /// The rule.
        flaw: PasscodeFlaw,
    },
    /// The platform has lost the key of this vault, for example in a restore to another phone. What was not sent
    /// can't be read any more: remove the folder after the person agreed, and enrol again.
    #[error("the platform has lost the key of this vault, enrol this device again")]
    KeyGone,
    /// The platform's keystore gave no answer. Try again when the reason is over.
    #[error("the platform's keystore gave no answer")]
    Keystore {
        /// The reason; never `Gone`.
        reason: KeyError,
    },
    /// A file of the vault was changed, cut or removed by somebody else. Every byte is left as it is: report it,
    /// and don't remove the folder without the person's consent.
    #[error("the vault's files are damaged")]
    Damaged,
    /// Another process uses this folder. Open it from one process only.
    #[error("another process uses this vault")]
    InUse,
    /// The disk is full. Ask the person to free space; nothing that was saved is lost.
    #[error("the disk is full")]
    DiskFull,
    /// The disk or the memory failed. Try again; nothing that was saved is lost.
    #[error("the storage failed, try again")]
    Storage,
    /// The data was written by a newer version. Ask the person to update the app.
    #[error("update the app")]
    UpdateNeeded,
    /// A rule of the business does not allow it. Show which, beside the field if one is named. Nothing was changed.
    #[error("a rule does not allow this")]
    Rule {
        /// The rule.
        code: RuleCode,
        /// The field at fault, by the name it has in the record on the wire.
        field: Option<String>,
    },
    /// Another visit is in progress. Offer to check it out or to leave it first.
    #[error("another visit is in progress")]
    VisitInProgress {
        /// The visit in progress.
        visit: Uuid,
    },
    /// There is no such record on this device. Leave the screen that shows it.
    #[error("there is no such record on this device")]
    NotFound,
    /// This is no enrolment code, or the server does not know it. Ask for a new one.
    #[error("this enrolment code can't be used")]
    TicketInvalid,
    /// The enrolment code is too old. Ask for a new one.
    #[error("the enrolment code has expired")]
    TicketExpired,
    /// The enrolment code was used before. Ask for a new one, and tell the administrator: somebody else may have
    /// seen it.
    #[error("the enrolment code was used before")]
    TicketUsed,
    /// There is no connection. Go on working and try again later.
    #[error("the server can't be reached")]
    Offline,
    /// Somebody else answered in place of the server. Warn the person and don't go on on this network.
    #[error("the server's key is not one this device trusts")]
    WrongPin,
    /// The server no longer knows this device. Unsent work stays on it: tell the administrator.
    #[error("the server does not know this device any more")]
    UnknownDevice,
    /// The server is busy. Try again later; nothing is lost.
    #[error("the server is busy")]
    ServerBusy,
    /// The server refused or its answer can't be used. Report it; nothing is lost.
    #[error("the server refused: {reason}")]
    Server {
        /// Why, for a report.
        reason: String,
    },
    /// The call was cancelled. What was done before stays.
    #[error("cancelled")]
    Cancelled,
    /// A defect of this library. Report it; nothing that was saved is lost.
    #[error("the library failed")]
    Internal,
}

/// Why a passcode is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum PasscodeFlaw {
    /// Too few characters: six where keys are in secure hardware, ten elsewhere.
    TooShort,
    /// More than 128 characters.
    TooLong,
    /// One character, repeated.
    AllSame,
    /// A plain run like `123456`.
    Run,
    /// A short part repeated, or two characters only.
    Repeated,
    /// A date.
    Date,
    /// One that very many people choose.
    Common,
    /// It holds the user's name or telephone number.
    Personal,
    /// A computer would guess it too soon.
    Weak,
    /// Not three of small letters, capitals, digits and other characters.
    FewClasses,
    /// One of the last passcodes of this device.
    UsedBefore,
    /// The one that it is to replace.
    Unchanged,
    /// Something that is no Unicode character.
    NotText,
}

/// Which rule of the business was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum RuleCode {
    /// This version knows no such entity.
    UnknownEntity,
    /// There is no such field.
    UnknownField,
    /// The field must be filled in.
    Required,
    /// The field holds a value of the wrong kind.
    WrongKind,
    /// The text is longer than its field allows.
    TooLong,
    /// The number is out of range.
    OutOfRange,
    /// The field can't be changed once it is set.
    Immutable,
    /// There is no such record in the user's territories.
    NoSuchRecord,
    /// The user's role does not allow it.
    NotAllowed,
    /// The visit can't go from its state to the other.
    VisitState,
    /// A visit needs an outcome to be checked out.
    OutcomeMissing,
    /// A visit that was left, missed or cancelled needs a reason.
    ReasonMissing,
    /// A visit can't end before it began.
    EndsBeforeStart,
}

/// A callback of the app threw. Nothing depends on it: the call goes on.
#[derive(Debug, thiserror::Error, uniffi::Error)]
pub enum CallbackError {
    /// It threw.
    #[error("the callback failed")]
    Failed,
}

impl From<uniffi::UnexpectedUniFFICallbackError> for CallbackError {
    fn from(_: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Self::Failed
    }
}

/// The rule that was broken, and the field if it is about one.
pub(crate) fn broken_rule(rule: RuleError) -> (RuleCode, Option<String>) {
    match rule {
        RuleError::UnknownEntity => (RuleCode::UnknownEntity, None),
        RuleError::UnknownField { field } => (RuleCode::UnknownField, Some(field)),
        RuleError::Required { field } => (RuleCode::Required, Some(field)),
        RuleError::WrongKind { field } => (RuleCode::WrongKind, Some(field)),
        RuleError::TooLong { field, .. } => (RuleCode::TooLong, Some(field)),
        RuleError::OutOfRange { field } => (RuleCode::OutOfRange, Some(field)),
        RuleError::Immutable { field } => (RuleCode::Immutable, Some(field)),
        RuleError::NoSuchRecord => (RuleCode::NoSuchRecord, None),
        RuleError::NotAllowed => (RuleCode::NotAllowed, None),
        RuleError::VisitState { .. } => (RuleCode::VisitState, Some("state".to_owned())),
        RuleError::OutcomeMissing => (RuleCode::OutcomeMissing, Some("outcome".to_owned())),
        RuleError::ReasonMissing => (RuleCode::ReasonMissing, Some("reason".to_owned())),
        RuleError::EndsBeforeStart => (RuleCode::EndsBeforeStart, Some("ended_at".to_owned())),
    }
}

impl From<Error> for RoundsmanError {
    fn from(error: Error) -> Self {
        match error {
            Error::Locked => Self::Locked,
            Error::NotEnrolled => Self::NotEnrolled,
            Error::AlreadyEnrolled => Self::AlreadyEnrolled,
            Error::Vault(error) => error.into(),
            Error::Store(error) => error.into(),
            Error::Rule(rule) => {
                let (code, field) = broken_rule(rule);
                Self::Rule { code, field }
            }
            Error::VisitInProgress { visit } => Self::VisitInProgress { visit },
            Error::NotFound => Self::NotFound,
            Error::Ticket(TicketError::NewerVersion) => Self::UpdateNeeded,
            Error::Ticket(_) => Self::TicketInvalid,
            Error::Offline => Self::Offline,
            Error::WrongPin => Self::WrongPin,
            Error::Server(problem) => problem.into(),
            Error::BadAnswer | Error::Refused(_) => Self::Server { reason: error.to_string() },
            Error::Cancelled => Self::Cancelled,
            _ => Self::Internal,
        }
    }
}

impl From<Problem> for RoundsmanError {
    fn from(problem: Problem) -> Self {
        match problem.code {
            ErrorCode::TicketUnknown => Self::TicketInvalid,
            ErrorCode::TicketExpired => Self::TicketExpired,
            ErrorCode::TicketUsed => Self::TicketUsed,
            ErrorCode::TokenInvalid | ErrorCode::DeviceUnknown => Self::UnknownDevice,
            ErrorCode::DeviceBlocked => Self::LockedByAdministrator,
            ErrorCode::Busy | ErrorCode::Internal => Self::ServerBusy,
            // The title comes from the wire: only the code's own words are passed on.
            code => Self::Server { reason: code.to_string() },
        }
    }
}

impl From<VaultError> for RoundsmanError {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::NotEnrolled => Self::NotEnrolled,
            VaultError::AlreadyCreated => Self::AlreadyEnrolled,
            VaultError::WrongPasscode { attempts_left } => Self::WrongPasscode { attempts_left },
            VaultError::Wait { seconds } => Self::Wait { seconds },
            VaultError::Locked => Self::LockedByAdministrator,
            VaultError::ShareNeeded => Self::ShareNeeded,
            VaultError::Wiping | VaultError::Wiped => Self::Wiped,
            VaultError::Tampered { .. } | VaultError::Truncated { .. } | VaultError::Missing { .. } => {
                Self::Damaged
            }
            VaultError::KeyGone | VaultError::WrongKey => Self::KeyGone,
            VaultError::Key(reason) => Self::Keystore { reason: reason.into() },
            VaultError::InUse => Self::InUse,
            VaultError::Passcode(flaw) => flaw.into(),
            VaultError::Disk(error) if error.kind() == std::io::ErrorKind::StorageFull => Self::DiskFull,
            VaultError::Disk(_) | VaultError::OutOfMemory => Self::Storage,
            _ => Self::Internal,
        }
    }
}

impl From<PasscodeError> for RoundsmanError {
    fn from(error: PasscodeError) -> Self {
        let flaw = match error {
            PasscodeError::TooShort { .. } => PasscodeFlaw::TooShort,
            PasscodeError::AllSame => PasscodeFlaw::AllSame,
            PasscodeError::Run => PasscodeFlaw::Run,
            PasscodeError::Repeated => PasscodeFlaw::Repeated,
            PasscodeError::Date => PasscodeFlaw::Date,
            PasscodeError::Common => PasscodeFlaw::Common,
            PasscodeError::Personal => PasscodeFlaw::Personal,
            PasscodeError::FewClasses { .. } => PasscodeFlaw::FewClasses,
            PasscodeError::UsedBefore => PasscodeFlaw::UsedBefore,
            PasscodeError::Unchanged => PasscodeFlaw::Unchanged,
            _ => PasscodeFlaw::Weak,
        };
        Self::WeakPasscode { flaw }
    }
}

impl From<StoreError> for RoundsmanError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Closed => Self::Locked,
            StoreError::Newer { .. } => Self::UpdateNeeded,
            StoreError::Full => Self::DiskFull,
            StoreError::WrongKey | StoreError::Corrupt | StoreError::NotEncrypted | StoreError::Missing => {
                Self::Damaged
            }
            StoreError::Busy | StoreError::Io { .. } => Self::Storage,
            _ => Self::Internal,
        }
    }
}
