//! Clocks that are moved by hand.

use chrono::{DateTime, TimeDelta, Utc};
use roundsman_core::platform::{BootTime, Clock};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use uuid::Uuid;

/// When a clock that was told nothing begins: 2027-01-15T08:00:00Z.
const START_MS: i64 = 1_800_000_000_000;

/// Stands still until it is moved. It runs on like the time since a phone was started: an app sees no clock that was
/// set.
pub struct ManualClock {
    ms: AtomicI64,
}

impl Default for ManualClock {
    fn default() -> Self {
        Self { ms: AtomicI64::new(START_MS) }
    }
}

impl ManualClock {
    /// A clock that stands at this time.
    pub fn at(time: DateTime<Utc>) -> Self {
        Self { ms: AtomicI64::new(time.timestamp_millis()) }
    }

    /// Moves on.
    pub fn advance(&self, by: Duration) {
        self.ms.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }

    /// Milliseconds since 1970.
    pub fn millis(&self) -> i64 {
        self.ms.load(Ordering::SeqCst)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.millis()).unwrap_or_default()
    }

    fn zone_min(&self) -> i32 {
        0
    }

    fn boot(&self) -> Option<BootTime> {
        let elapsed = u64::try_from(self.millis()).unwrap_or_default();
        Some(BootTime { boot: Uuid::from_u128(1), elapsed: Duration::from_millis(elapsed) })
    }
}

/// A clock that is always so much off another one, as a phone's may be.
pub struct SkewedClock {
    /// The clock that is right.
    pub right: Arc<ManualClock>,
    /// How far ahead of it this one is.
    pub ahead: TimeDelta,
}

impl Clock for SkewedClock {
    fn now(&self) -> DateTime<Utc> {
        self.right.now() + self.ahead
    }

    fn zone_min(&self) -> i32 {
        self.right.zone_min()
    }

    fn boot(&self) -> Option<BootTime> {
        self.right.boot()
    }
}
