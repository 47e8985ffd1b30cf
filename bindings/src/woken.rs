//! What became of a look at the server from the background.

use crate::{DeviceEvent, SyncReport};
use roundsman_core as core;
use std::time::Duration;

/// What became of a look at the server.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Woken {
    /// Commands that were carried out or refused: look at the state.
    pub events: Vec<DeviceEvent>,
    /// What was synced; nothing while the vault is closed, or if the time was over.
    pub report: Option<SyncReport>,
    /// Whether everything was done. If not, the server was not reached in time.
    pub done: bool,
    /// Have the platform's scheduler call again after this.
    pub next: Duration,
}

impl From<core::Woken> for Woken {
    fn from(woken: core::Woken) -> Self {
        let core::Woken { events, report, done, next } = woken;
        let events = events.into_iter().map(Into::into).collect();
        Self { events, report: report.map(Into::into), done, next: next.after }
    }
}
