//! What is watched about each device, and alerts.

use super::Result;
use crate::admin::AlertKind;
use roundsman_model::{DeviceId, UserId};
use roundsman_protocol::b64;
use roundsman_protocol::posture::Posture;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Where a device and its server stand in taking turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurnState {
    /// The device has never named a turn.
    #[default]
    Fresh,
    /// The next turn is known.
    Running {
        /// How many reports were answered.
        counter: u64,
        /// The nonce of the last answer.
        #[serde(with = "b64")]
        nonce: [u8; 16],
        /// The nonce that the last report named.
        #[serde(with = "b64")]
        previous: [u8; 16],
        /// The last report's own id.
        #[serde(with = "b64")]
        attempt: [u8; 16],
    },
    /// Two devices were seen with one key: no turns are given until an administrator lets the device open again.
    Broken,
    /// An administrator trusts the device again, or a backup was put back: whatever turn it names next is taken.
    Trusted,
}

/// The id of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attempt(#[serde(with = "b64")] pub [u8; 16]);

/// What is watched about a device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StoredWatch {
    /// Whose turn it is.
    pub turn: TurnState,
    /// Ids of reports that were answered before the last one, the latest last: one that comes once more was late.
    #[serde(default)]
    pub answered: Vec<Attempt>,
    /// The number of the last commit of its store that it told.
    #[serde(default)]
    pub commit: Option<u64>,
    /// The phone's present start.
    #[serde(default)]
    pub boot: Option<Uuid>,
    /// The phone's start before that.
    #[serde(default)]
    pub boot_before: Option<Uuid>,
    /// The command that the device said is kept from it.
    #[serde(default)]
    pub withheld: Option<u64>,
    /// The phone's state as it was last told.
    #[serde(default)]
    pub posture: Option<Posture>,
}

/// An alert as stored.
#[derive(Clone, Debug)]
pub struct StoredAlert {
    /// Its id.
    pub id: Uuid,
    /// The device it is about.
    pub device: Option<DeviceId>,
    /// What was noticed.
    pub kind: AlertKind,
    /// When: milliseconds since 1970.
    pub at_ms: i64,
    /// Figures for people, never personal data.
    pub detail: String,
    /// Who has seen it.
    pub seen_by: Option<UserId>,
    /// When: milliseconds since 1970.
    pub seen_ms: Option<i64>,
}

/// Reading what is watched, and alerts.
pub trait AlertsRead {
    /// What is watched about a device; the default before its first report.
    fn watch(&self, device: DeviceId) -> Result<StoredWatch>;
    /// Alerts, those that nobody has seen first, then the latest first.
    fn alerts(&self, limit: usize) -> Result<Vec<StoredAlert>>;
    /// The alert with this id.
    fn alert(&self, id: Uuid) -> Result<Option<StoredAlert>>;
    /// An alert of this kind about this device that nobody has seen.
    fn unseen(&self, kind: AlertKind, device: Option<DeviceId>) -> Result<Option<StoredAlert>>;
}

/// Writing what is watched, and alerts.
pub trait AlertsWrite {
    /// Keeps what is watched about a device.
    fn put_watch(&mut self, device: DeviceId, watch: &StoredWatch) -> Result<()>;
    /// Adds an alert, or replaces its figures and who has seen it.
    fn put_alert(&mut self, alert: &StoredAlert) -> Result<()>;
}
