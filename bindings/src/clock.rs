//! Time, told by the app.

use crate::{CallbackError, Instant};
use chrono::{DateTime, Utc};
use roundsman_core::platform::{BootTime, Clock, SystemClock};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// A moment, counted from a start of the phone.
#[uniffi::remote(Record)]
pub struct BootTime {
    /// Tells this start from others. Any id will do that stays the same until the phone is started again.
    pub boot: Uuid,
    /// Time since then, sleep included.
    pub elapsed: Duration,
}

/// Tells the time, with what only the platform knows: how long the phone has been on. With that nobody can wind
/// back the lease or a wait between passcodes.
///
/// Called from any thread, also while another call of the client runs. Must return at once and must not call the
/// client.
#[uniffi::export(with_foreign)]
pub trait HostClock: Send + Sync {
    /// The wall clock's time.
    fn now(&self) -> Result<Instant, CallbackError>;

    /// The time since the phone was started, which nobody can set; nothing where the platform doesn't tell.
    fn boot(&self) -> Result<Option<BootTime>, CallbackError>;
}

/// The app's clock, as the core takes it. A clock that throws is replaced by the system's own for that time.
pub(crate) struct ForeignClock(pub(crate) Arc<dyn HostClock>);

impl Clock for ForeignClock {
    fn now(&self) -> DateTime<Utc> {
        self.0.now().unwrap_or_else(|_| SystemClock.now())
    }

    fn zone_min(&self) -> i32 {
        SystemClock.zone_min()
    }

    fn boot(&self) -> Option<BootTime> {
        self.0.boot().unwrap_or_else(|_| SystemClock.boot())
    }
}
