//! What commands of the administrator did to the device.

use roundsman_core::device;
use roundsman_core::protocol::command::Refusal;
use roundsman_core::protocol::root::RootError;
use roundsman_core::protocol::wipe_order::WipeOrderError;

/// What a command of the administrator did.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum DeviceEvent {
    /// The device is locked: show that, and go on calling `checkIn`.
    Locked,
    /// The device is locked; its share of the key is not in escrow yet. The same for the person as `Locked`.
    SoftLocked,
    /// The device may be opened again: ask for the passcode.
    Unlocked,
    /// Its keys are destroyed: show that, and go on calling `checkIn` until the state is `Wiped`.
    Wiped,
    /// A command was not good and had no effect. Report it to the administrator.
    Refused {
        /// Why.
        reason: CommandRefusal,
    },
    /// New keys of the organisation were refused; those that were trusted before still are. Report it to the
    /// administrator.
    RootRefused {
        /// Why.
        reason: RootRefusal,
    },
    /// A command that the server has given does not reach this device, and the lease is not extended until it does.
    /// Report it to the administrator.
    Withheld {
        /// The command's number.
        head: u64,
    },
}

/// Why a command had no effect.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum CommandRefusal {
    /// It is unreadable, or lacks signatures of those who may sign it.
    NotSigned,
    /// It is of a version that this one does not know. Ask the person to update the app.
    UnknownVersion,
    /// It is for another organisation.
    OtherOrganisation,
    /// It is for another device, or for this one with another key.
    OtherDevice,
    /// It was signed under keys of the organisation that this device does not have.
    OtherRoot {
        /// The version of the keys that it names.
        named: u32,
        /// The version that the device has.
        known: u32,
    },
    /// It was carried out before.
    Replayed {
        /// Its number.
        seq: u64,
    },
    /// Its number is too far ahead.
    Jump {
        /// Its number.
        seq: u64,
        /// The last accepted one.
        last: u64,
    },
    /// It does not follow the last one: one between was withheld or changed.
    BrokenChain,
    /// An unlock that answers no challenge of this device.
    NoChallenge,
    /// It is too old.
    Expired,
    /// A wipe that not enough approvers have signed for.
    WipeNotApproved,
}

/// Why new keys of the organisation were not taken.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum RootRefusal {
    /// They are not the ones that the enrolment code names.
    NotTheOneNamed,
    /// They are unreadable, or lack signatures of those who may sign them.
    NotSigned,
    /// They are another organisation's.
    OtherOrganisation,
    /// They do not follow the ones before them.
    NotTheNext {
        /// Their version.
        version: u32,
        /// The version that they would have to follow.
        known: u32,
    },
    /// Too many at once.
    TooMany,
    /// They have expired: the administrator has to sign new ones.
    Expired,
    /// Nobody could ever sign with them, or the server could approve by itself.
    Unusable,
}

impl From<device::DeviceEvent> for DeviceEvent {
    fn from(event: device::DeviceEvent) -> Self {
        match event {
            device::DeviceEvent::Locked => Self::Locked,
            device::DeviceEvent::SoftLocked => Self::SoftLocked,
            device::DeviceEvent::Unlocked => Self::Unlocked,
            device::DeviceEvent::Wiped => Self::Wiped,
            device::DeviceEvent::Refused(refusal) => Self::Refused { reason: refusal.into() },
            device::DeviceEvent::RootRefused(error) => Self::RootRefused { reason: error.into() },
            device::DeviceEvent::Withheld { head } => Self::Withheld { head },
        }
    }
}

impl From<Refusal> for CommandRefusal {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Envelope(_) => Self::NotSigned,
            Refusal::UnknownVersion | Refusal::Order(WipeOrderError::UnknownVersion) => Self::UnknownVersion,
            Refusal::OtherOrganisation => Self::OtherOrganisation,
            Refusal::OtherDevice | Refusal::Order(WipeOrderError::OtherDevice) => Self::OtherDevice,
            Refusal::OtherRoot { named, known } => Self::OtherRoot { named, known },
            Refusal::Replayed { seq } => Self::Replayed { seq },
            Refusal::Jump { seq, last } => Self::Jump { seq, last },
            Refusal::BrokenChain => Self::BrokenChain,
            Refusal::NoChallenge => Self::NoChallenge,
            Refusal::Expired | Refusal::Order(WipeOrderError::Expired) => Self::Expired,
            Refusal::Order(WipeOrderError::NotApproved(_)) => Self::WipeNotApproved,
        }
    }
}

impl From<RootError> for RootRefusal {
    fn from(error: RootError) -> Self {
        match error {
            RootError::NotTheOneNamed => Self::NotTheOneNamed,
            RootError::Envelope(_) => Self::NotSigned,
            RootError::OtherOrganisation => Self::OtherOrganisation,
            RootError::NotTheNext { version, known } => Self::NotTheNext { version, known },
            RootError::TooMany => Self::TooMany,
            RootError::Expired => Self::Expired,
            RootError::Unusable => Self::Unusable,
        }
    }
}
