//! What can go wrong, in as many words as an app can act on.

mod mapping;
mod reasons;

pub(crate) use reasons::broken_rule;
pub use reasons::{AttachmentFlaw, BiometricsFlaw, PasscodeFlaw, RuleCode};

use crate::{Concern, KeyError, RootRefusal};
use uuid::Uuid;

/// Why a call failed, and what to do. No variant holds personal data, keys or tokens.
#[derive(Debug, PartialEq, thiserror::Error, uniffi::Error)]
pub enum RoundsmanError {
    /// The vault is closed. Ask for the passcode and call `unlock`.
    #[error("unlock the app first")]
    Locked,
    /// The passcode is too old. Ask for the old and a new one and call `changePasscode`; until then only the outbox
    /// works. Nothing is lost meanwhile.
    #[error("the passcode is too old: change it first")]
    PasscodeExpired,
    /// The administrator has locked this device, or too many wrong passcodes did. Say so, and go on calling
    /// `checkIn`: an unlock comes that way. Unsent work is kept.
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
    /// The passcode is wrong. Let the person try again; with none left the device locks or wipes itself.
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
    /// The passcode breaks a rule. Say which one and ask for another.
    #[error("choose another passcode")]
    WeakPasscode {
        /// The rule.
        flaw: PasscodeFlaw,
    },
    /// Finger or face do not open the vault. Ask for the passcode; the reason says what else to do.
    #[error("type the passcode")]
    Biometrics {
        /// The reason.
        reason: BiometricsFlaw,
    },
    /// The right passcode may still open this vault. Ask for it and call `erase`.
    #[error("this device still opens with its passcode, which is needed to erase it")]
    PasscodeNeeded,
    /// The clock was turned back. Say so, and call `checkIn`: the server's time puts it right.
    #[error("the clock was turned back, connect to the server")]
    ClockTurnedBack,
    /// The clock is years ahead. Say so, and call `checkIn`: the server's time puts it right.
    #[error("the clock can't be right, connect to the server")]
    ClockImplausible,
    /// The device has not reached its server for too long. Ask for a connection and call `checkIn`: that renews the
    /// lease. Unsent work is kept.
    #[error("this device has been away from its server for too long, connect to the server")]
    LeaseEnded,
    /// The organisation's rules don't allow the vault to open on a phone in this state. Say what is wrong with it;
    /// once that is over, call `setPosture` and `unlock`. Unsent work is kept.
    #[error("the organisation's rules don't allow this phone as it is")]
    PostureRefused {
        /// What is wrong with it.
        concerns: Vec<Concern>,
    },
    /// The vault's files were put back to an earlier state, for example from a backup. They are left as they are:
    /// call `checkIn` and send the person to the administrator.
    #[error("the vault was put back to an earlier state: ask your administrator")]
    RolledBack,
    /// The platform has lost the key of this vault, or has another in its place, for example after a restore to
    /// another phone. The vault can't be opened again. After the person agreed: if `open` failed with it, call
    /// `startOver`; if another call did, call `eraseWithoutPasscode`. Then enrol again.
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
    #[error("the vault's files are damaged: {reason}")]
    Damaged {
        /// Which file, and what about it, for a report.
        reason: String,
    },
    /// Another process uses this folder. Open it from one process only.
    #[error("another process uses this vault")]
    InUse,
    /// The profile holds a vault. Erase it first, and go on calling `checkIn` until the state is `Wiped`.
    #[error("this profile holds a vault, wipe it first")]
    ProfileHoldsVault,
    /// The disk is full. Ask the person to free space; nothing that was saved is lost.
    #[error("the disk is full")]
    DiskFull,
    /// The disk failed. Try again; nothing that was saved is lost.
    #[error("the storage failed, try again")]
    Storage,
    /// There is not enough memory to check a passcode. Ask the person to close other apps, and try again.
    #[error("there is not enough memory to check the passcode")]
    OutOfMemory,
    /// The system gave no random numbers. Nothing was changed: try again, and report it if it stays so.
    #[error("the system gave no random numbers, try again")]
    NoRandomness,
    /// The change could not be sealed for the organisation's rescue key, and was not stored. Send the person to the
    /// administrator, who can publish a new one.
    #[error(
        "the change could not be sealed for the organisation: ask your administrator for a new rescue key"
    )]
    NotSealed,
    /// The app was built with an SQLite that does not encrypt. Nothing was opened: link this library's own.
    #[error("this build has no encryption")]
    NoCipher,
    /// The database refused for a reason that should not happen. Report the code; nothing that was saved is lost.
    #[error("the database refused with code {code}")]
    Database {
        /// SQLite's extended result code.
        code: i32,
    },
    /// The organisation's keys on this device can't be used. Report it to the administrator.
    #[error("the organisation's keys can't be used")]
    OrganisationKeys {
        /// Why.
        reason: RootRefusal,
    },
    /// The data or the code was made by a newer version. Ask the person to update the app.
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
    /// There is no such record on this device, or no such profile. Leave the screen that shows it.
    #[error("there is no such record on this device")]
    NotFound,
    /// An attachment was not added, fetched or read. The reason says what to do.
    #[error("the attachment was not added or can't be read")]
    Attachment {
        /// The reason.
        reason: AttachmentFlaw,
    },
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
    /// The organisation lets a device in after digits were compared. The code is still good: call `beginEnrolment`.
    #[error("compare the digits with your administrator")]
    ConfirmationNeeded,
    /// The digits did not match. Don't go on with this code, and tell the administrator.
    #[error("the enrolment was refused: the digits did not match")]
    EnrolmentRefused,
    /// Nobody confirmed the digits in time. Ask for a new code.
    #[error("the enrolment was not confirmed in time")]
    EnrolmentExpired,
    /// The keys that were brought by hand can't be used; those that were trusted before still are. Say so, and ask for
    /// the present ones.
    #[error("the organisation's keys can't be used: {reason}")]
    RootBundle {
        /// Why, for a report.
        reason: String,
    },
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
