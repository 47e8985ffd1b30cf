//! What a listening app hears.

use crate::{CallbackError, DeviceEvent, Instant, RoundsmanError, SyncReport};
use roundsman_core as core;
use std::sync::Arc;
use std::time::Duration;

/// What a listening app may show.
#[derive(Debug, PartialEq, uniffi::Enum)]
pub enum Heard {
    /// The channel is open: changes and commands come by themselves.
    Connected,
    /// The channel is not open. What the app does goes on without it.
    Offline {
        /// Since when.
        since: Instant,
        /// When it is tried again. Earlier after `tryNow`.
        retry_in: Duration,
        /// Why.
        error: Option<RoundsmanError>,
    },
    /// A sync begins.
    Syncing,
    /// A sync is done.
    Synced {
        /// What it did.
        report: SyncReport,
    },
    /// What was to be done failed. It is tried again if waiting may mend it.
    Failed {
        /// Why.
        error: RoundsmanError,
    },
    /// Commands were carried out or refused, by a check-in or a sync: look at the state.
    Device {
        /// What they did.
        events: Vec<DeviceEvent>,
    },
}

/// Is told how the listening goes. Called from the thread that listens: be quick, or what comes next waits.
#[uniffi::export(with_foreign)]
pub trait Watcher: Send + Sync {
    /// Something happened.
    fn heard(&self, heard: Heard) -> Result<(), CallbackError>;
}

/// Why a listening ended.
pub type Ended = core::Ended;
#[uniffi::remote(Enum)]
pub enum Ended {
    /// It was stopped.
    Stopped,
    /// The device is wiped, and its server has the proof.
    Wiped,
    /// Another call listens already.
    Already,
}

/// Directs a listening from outside. One for each call of `listen`.
#[derive(uniffi::Object)]
pub struct Listening(pub(crate) core::Listening);

#[uniffi::export]
impl Listening {
    /// For one call.
    #[uniffi::constructor]
    #[allow(clippy::new_without_default, reason = "constructed from other languages")]
    pub fn new() -> Self {
        Self(core::Listening::new())
    }

    /// Ends the listening, at once or as soon as it begins. A write that had begun is finished.
    pub fn stop(&self) {
        self.0.stop();
    }

    /// The network is back, or is another one: tries at once, with a new connection.
    pub fn try_now(&self) {
        self.0.try_now();
    }
}

/// The app's watcher, as the core takes it.
pub(crate) struct ForeignWatcher(pub(crate) Option<Arc<dyn Watcher>>);

impl core::Watcher for ForeignWatcher {
    fn heard(&self, heard: &core::Heard<'_>) {
        if let Some(watcher) = &self.0 {
            // A screen that throws has missed this word, nothing else.
            let _ = watcher.heard(heard.into());
        }
    }
}

impl From<&core::Heard<'_>> for Heard {
    fn from(heard: &core::Heard<'_>) -> Self {
        match heard {
            core::Heard::Connected => Self::Connected,
            core::Heard::Offline { since, retry_in, error } => {
                Self::Offline { since: *since, retry_in: *retry_in, error: error.map(Into::into) }
            }
            core::Heard::Syncing => Self::Syncing,
            core::Heard::Synced(report) => Self::Synced { report: (*report).clone().into() },
            core::Heard::Failed(error) => Self::Failed { error: (*error).into() },
            core::Heard::Device(events) => {
                Self::Device { events: events.iter().copied().map(Into::into).collect() }
            }
        }
    }
}
