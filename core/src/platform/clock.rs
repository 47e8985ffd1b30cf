//! Time.

use chrono::{DateTime, Local, Offset, Utc};

/// Tells the time. An implementation for tests may tell any.
pub trait Clock: Send + Sync {
    /// The wall clock's time.
    fn now(&self) -> DateTime<Utc>;

    /// Minutes east of UTC of the device's zone.
    fn zone_min(&self) -> i32;
}

/// The machine's own clock and zone.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn zone_min(&self) -> i32 {
        Local::now().offset().fix().local_minus_utc() / 60
    }
}
