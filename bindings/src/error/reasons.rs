//! Reasons that errors carry.

use roundsman_core::attachments::AttachmentError;
use roundsman_core::model::RuleError;
use roundsman_core::vault::{BiometricsError, PasscodeError};

/// Why a passcode is not taken: a rule that it breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum PasscodeFlaw {
    /// Too few characters.
    TooShort {
        /// How many it needs.
        least: u32,
    },
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
    /// Not of enough sorts: small letters, capitals, digits, others.
    FewClasses {
        /// How many sorts it needs.
        least: u32,
    },
    /// One of the last passcodes of this device.
    UsedBefore,
    /// The one that it is to replace.
    Unchanged,
    /// Something that is no Unicode character.
    NotText,
    /// A rule that this version has no word for.
    Other,
}

impl From<PasscodeError> for PasscodeFlaw {
    fn from(error: PasscodeError) -> Self {
        let count = |least| u32::try_from(least).unwrap_or(u32::MAX);
        match error {
            PasscodeError::TooShort { least } => Self::TooShort { least: count(least) },
            PasscodeError::AllSame => Self::AllSame,
            PasscodeError::Run => Self::Run,
            PasscodeError::Repeated => Self::Repeated,
            PasscodeError::Date => Self::Date,
            PasscodeError::Common => Self::Common,
            PasscodeError::Personal => Self::Personal,
            PasscodeError::Weak => Self::Weak,
            PasscodeError::FewClasses { least } => Self::FewClasses { least: count(least) },
            PasscodeError::UsedBefore => Self::UsedBefore,
            PasscodeError::Unchanged => Self::Unchanged,
            _ => Self::Other,
        }
    }
}

/// Why finger or face do not open the vault. The passcode does, and no attempt at it was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum BiometricsFlaw {
    /// They are not in use, or no longer: the passcode was changed, or fingers or faces were. Offer to enable them
    /// anew once the passcode was typed.
    Off,
    /// The organisation does not allow them. Don't offer them.
    NotAllowed,
    /// The passcode was not typed for 72 hours. Ask for it; biometrics work from then on.
    Expired,
    /// The person did not confirm. Let them try again or type the passcode.
    Cancelled,
    /// The phone refuses for now, after too many tries. Ask for the passcode.
    LockedOut,
    /// The phone has none that are bound to a key. Don't offer them.
    NotAvailable,
    /// The keystore failed this time. Let the person try again or type the passcode.
    Transient,
    /// A reason that this version has no word for. Ask for the passcode.
    Other,
}

impl From<BiometricsError> for BiometricsFlaw {
    fn from(error: BiometricsError) -> Self {
        match error {
            BiometricsError::Off => Self::Off,
            BiometricsError::NotAllowed => Self::NotAllowed,
            BiometricsError::Expired => Self::Expired,
            BiometricsError::Cancelled => Self::Cancelled,
            BiometricsError::LockedOut => Self::LockedOut,
            BiometricsError::NotAvailable => Self::NotAvailable,
            BiometricsError::Transient => Self::Transient,
            _ => Self::Other,
        }
    }
}

/// Why an attachment was not added, fetched or read. Other attachments and records are not touched by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum AttachmentFlaw {
    /// It is larger than one may be. Scale the photo down.
    TooLarge {
        /// The most bytes that one may have.
        most: u64,
    },
    /// There is no room for it on this device. Offer to remove others; those that the server has go by themselves.
    NoRoom {
        /// Bytes that are left.
        left: u64,
    },
    /// The media type is not of the form `image/jpeg`.
    MediaType,
    /// The content had more or fewer bytes than was said. Nothing was added.
    OtherSize,
    /// The content could not be read. Nothing was added.
    Unreadable,
    /// Its content is not on this device: call `fetch`.
    NotFetched,
    /// The phone that it was added on has not sent it yet. Offer to try later.
    NotSentYet,
    /// There is no small picture of it. Show what sort of file it is.
    NoThumbnail,
    /// What came is not what its record says. Nothing was kept: try again.
    OtherContent,
    /// Its file is gone, cut short or damaged. Offer to remove it, and to add it anew from where the person has it.
    Lost,
    /// A reason that this version has no word for.
    Other,
}

impl From<AttachmentError> for AttachmentFlaw {
    fn from(error: AttachmentError) -> Self {
        match error {
            AttachmentError::TooLarge { most } => Self::TooLarge { most },
            AttachmentError::QuotaReached { left } => Self::NoRoom { left },
            AttachmentError::MediaType => Self::MediaType,
            AttachmentError::OtherSize => Self::OtherSize,
            AttachmentError::Content { .. } => Self::Unreadable,
            AttachmentError::NotFetched => Self::NotFetched,
            AttachmentError::NotSentYet => Self::NotSentYet,
            AttachmentError::NoThumbnail => Self::NoThumbnail,
            AttachmentError::OtherContent => Self::OtherContent,
            AttachmentError::Missing
            | AttachmentError::Truncated
            | AttachmentError::Damaged
            | AttachmentError::OtherFile
            | AttachmentError::WrongKey => Self::Lost,
            _ => Self::Other,
        }
    }
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
    /// The record was removed.
    Removed,
    /// Another record has this value, which only one may have.
    Taken,
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
    /// A rule that this version has no word for: the app wants an update.
    Other,
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
        RuleError::Removed => (RuleCode::Removed, None),
        RuleError::Taken { field } => (RuleCode::Taken, Some(field)),
        RuleError::Other => (RuleCode::Other, None),
        RuleError::NotAllowed => (RuleCode::NotAllowed, None),
        RuleError::VisitState { .. } => (RuleCode::VisitState, Some("state".to_owned())),
        RuleError::OutcomeMissing => (RuleCode::OutcomeMissing, Some("outcome".to_owned())),
        RuleError::ReasonMissing => (RuleCode::ReasonMissing, Some("reason".to_owned())),
        RuleError::EndsBeforeStart => (RuleCode::EndsBeforeStart, Some("ended_at".to_owned())),
    }
}
