//! Devices that wait for a person to compare digits.

use super::Result;
use roundsman_model::{DeviceId, UserId};
use roundsman_protocol::enrolment::Digits;
use roundsman_protocol::keys::DeviceKey;
use uuid::Uuid;

/// How far an enrolment has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnrolmentState {
    /// The device has committed to its random value.
    Begun,
    /// It has revealed the value: there are digits to compare.
    Waiting,
    /// A person has said that the digits match.
    Confirmed,
    /// A person has said that they don't, or the device has revealed another value. For good.
    Refused,
    /// The device was let in.
    Done,
}

/// An enrolment as stored.
#[derive(Clone, Debug)]
pub struct StoredEnrolment {
    /// Its id.
    pub id: Uuid,
    /// Whose ticket it was.
    pub user: UserId,
    /// The device's key.
    pub key: DeviceKey,
    /// The installation's own id.
    pub install: Uuid,
    /// What its owner calls the device.
    pub name: String,
    /// The platform.
    pub platform: String,
    /// Whether its keys are in secure hardware, as it says.
    pub hardware_keys: bool,
    /// The version of its core.
    pub core: String,
    /// The digest of the ticket as it was issued.
    pub ticket: [u8; 32],
    /// What the device has committed to.
    pub commitment: [u8; 32],
    /// The server's random value.
    pub nonce: [u8; 32],
    /// When it began: milliseconds since 1970.
    pub begun_ms: i64,
    /// The digits, once the device has revealed its value.
    pub digits: Option<Digits>,
    /// How far it has come.
    pub state: EnrolmentState,
    /// The device, once it was let in.
    pub device: Option<DeviceId>,
}

/// Reading enrolments.
pub trait EnrolmentsRead {
    /// The enrolment with this id.
    fn enrolment(&self, id: Uuid) -> Result<Option<StoredEnrolment>>;
    /// The enrolments that began after a time, the first one first.
    fn enrolments_since(&self, since_ms: i64) -> Result<Vec<StoredEnrolment>>;
}

/// Writing enrolments.
pub trait EnrolmentsWrite {
    /// Adds an enrolment, and forgets those that began before `forget_before_ms`.
    fn add_enrolment(&mut self, enrolment: &StoredEnrolment, forget_before_ms: i64) -> Result<()>;
    /// Notes how far an enrolment has come: its digits, state and device.
    fn set_enrolment(&mut self, enrolment: &StoredEnrolment) -> Result<()>;
}
