//! The core's errors in the words of this face. The core's enums may grow: the tests name every variant.

use super::RoundsmanError;
use super::reasons::broken_rule;
use roundsman_core::attachments::AttachmentError;
use roundsman_core::protocol::ErrorCode;
use roundsman_core::protocol::root_bundle::RootBundleError;
use roundsman_core::protocol::ticket::TicketError;
use roundsman_core::store::StoreError;
use roundsman_core::vault::{PasscodeError, VaultError};
use roundsman_core::{Error, model::RuleError};
use std::io;

impl From<Error> for RoundsmanError {
    fn from(error: Error) -> Self {
        (&error).into()
    }
}

/// A watcher is told of an error that goes on to somebody else.
impl From<&Error> for RoundsmanError {
    fn from(error: &Error) -> Self {
        match error {
            Error::Locked => Self::Locked,
            Error::PasscodeExpired => Self::PasscodeExpired,
            Error::NotEnrolled => Self::NotEnrolled,
            Error::AlreadyEnrolled => Self::AlreadyEnrolled,
            Error::Vault(error) => error.into(),
            Error::Store(error) => (*error).into(),
            Error::Rule(rule) => rule.clone().into(),
            Error::Attachment(error) => (*error).into(),
            Error::VisitInProgress { visit } => Self::VisitInProgress { visit: *visit },
            Error::NotFound => Self::NotFound,
            Error::Ticket(TicketError::NewerVersion) | Error::RootBundle(RootBundleError::NewerVersion) => {
                Self::UpdateNeeded
            }
            Error::RootBundle(error) => Self::RootBundle { reason: error.to_string() },
            Error::Ticket(TicketError::NotATicket | TicketError::Untrustworthy) => Self::TicketInvalid,
            Error::Offline => Self::Offline,
            Error::WrongPin => Self::WrongPin,
            Error::Server(problem) => problem.code.into(),
            Error::BadAnswer | Error::Refused(_) => Self::Server { reason: error.to_string() },
            Error::InUse => Self::ProfileHoldsVault,
            Error::Cancelled => Self::Cancelled,
            _ => Self::Internal,
        }
    }
}

impl From<AttachmentError> for RoundsmanError {
    fn from(error: AttachmentError) -> Self {
        match error {
            AttachmentError::Full => Self::DiskFull,
            AttachmentError::Disk { .. } => Self::Storage,
            AttachmentError::Newer => Self::UpdateNeeded,
            reason => Self::Attachment { reason: reason.into() },
        }
    }
}

impl From<RuleError> for RoundsmanError {
    fn from(rule: RuleError) -> Self {
        let (code, field) = broken_rule(rule);
        Self::Rule { code, field }
    }
}

// A problem's title comes from the wire: only the code's own words are passed on.
impl From<ErrorCode> for RoundsmanError {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::TicketUnknown => Self::TicketInvalid,
            ErrorCode::TicketExpired => Self::TicketExpired,
            ErrorCode::TicketUsed => Self::TicketUsed,
            ErrorCode::ConfirmationNeeded => Self::ConfirmationNeeded,
            ErrorCode::EnrolmentRefused => Self::EnrolmentRefused,
            ErrorCode::EnrolmentExpired => Self::EnrolmentExpired,
            ErrorCode::TokenInvalid | ErrorCode::DeviceUnknown => Self::UnknownDevice,
            ErrorCode::DeviceBlocked => Self::LockedByAdministrator,
            ErrorCode::UpdateNeeded => Self::UpdateNeeded,
            ErrorCode::Busy | ErrorCode::Internal | ErrorCode::RescueFull | ErrorCode::AttachmentsFull => {
                Self::ServerBusy
            }
            code => Self::Server { reason: code.to_string() },
        }
    }
}

impl From<VaultError> for RoundsmanError {
    fn from(error: VaultError) -> Self {
        (&error).into()
    }
}

impl From<&VaultError> for RoundsmanError {
    fn from(error: &VaultError) -> Self {
        match error {
            VaultError::NotEnrolled => Self::NotEnrolled,
            VaultError::AlreadyCreated => Self::AlreadyEnrolled,
            VaultError::WrongPasscode { attempts_left } => {
                Self::WrongPasscode { attempts_left: *attempts_left }
            }
            VaultError::Wait { seconds } => Self::Wait { seconds: *seconds },
            VaultError::Locked => Self::LockedByAdministrator,
            VaultError::ShareNeeded => Self::ShareNeeded,
            VaultError::Wiping | VaultError::Wiped => Self::Wiped,
            VaultError::Tampered { .. } | VaultError::Truncated { .. } | VaultError::Missing { .. } => {
                Self::Damaged { reason: error.to_string() }
            }
            VaultError::RolledBack => Self::RolledBack,
            VaultError::KeyGone | VaultError::WrongKey => Self::KeyGone,
            VaultError::Key(reason) => Self::Keystore { reason: (*reason).into() },
            VaultError::InUse => Self::InUse,
            VaultError::Passcode(flaw) => (*flaw).into(),
            VaultError::Biometrics(reason) => Self::Biometrics { reason: (*reason).into() },
            VaultError::Disk(error) if error.kind() == io::ErrorKind::StorageFull => Self::DiskFull,
            VaultError::Disk(_) => Self::Storage,
            VaultError::OutOfMemory => Self::OutOfMemory,
            VaultError::Entropy(_) => Self::NoRandomness,
            VaultError::Root(error) => Self::OrganisationKeys { reason: (*error).into() },
            VaultError::ClockTurnedBack => Self::ClockTurnedBack,
            VaultError::ClockImplausible => Self::ClockImplausible,
            VaultError::LeaseEnded => Self::LeaseEnded,
            VaultError::PostureRefused { concerns } => Self::PostureRefused { concerns: concerns.clone() },
            VaultError::PasscodeNeeded => Self::PasscodeNeeded,
            _ => Self::Internal,
        }
    }
}

impl From<PasscodeError> for RoundsmanError {
    fn from(error: PasscodeError) -> Self {
        Self::WeakPasscode { flaw: error.into() }
    }
}

impl From<StoreError> for RoundsmanError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Closed => Self::Locked,
            StoreError::RolledBack | StoreError::PartRolledBack { .. } => Self::RolledBack,
            StoreError::NotSealed => Self::NotSealed,
            StoreError::NoCipher => Self::NoCipher,
            StoreError::Newer { .. } => Self::UpdateNeeded,
            StoreError::Full => Self::DiskFull,
            StoreError::Busy => Self::InUse,
            StoreError::Io { .. } => Self::Storage,
            StoreError::Database { code } => Self::Database { code },
            StoreError::WrongKey
            | StoreError::Corrupt
            | StoreError::NotEncrypted
            | StoreError::Missing
            | StoreError::Exists => Self::Damaged { reason: error.to_string() },
            _ => Self::Internal,
        }
    }
}

#[cfg(test)]
mod tests;
