//! Hybrid logical clock: a time that never runs backwards and orders edits of different phones.
//!
//! Source: Kulkarni et al., "Logical Physical Clocks and Consistent Snapshots in Globally Distributed
//! Databases" (2014). Milliseconds in the high 48 bits, a counter in the low 16.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// When an edit was made, comparable across devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stamp(pub u64);

impl Stamp {
    /// The wall-clock part, milliseconds since 1970 in UTC.
    pub fn millis(self) -> u64 {
        self.0 >> 16
    }
}

/// Makes stamps.
#[derive(Clone, Copy, Debug, Default)]
pub struct HybridClock {
    last: Stamp,
}

impl HybridClock {
    /// Goes on from the last stamp that was given or seen.
    pub fn resume(last: Stamp) -> Self {
        Self { last }
    }

    /// A stamp later than every stamp given or seen, and not before `now`.
    pub fn tick(&mut self, now: DateTime<Utc>) -> Stamp {
        let wall = Stamp((now.timestamp_millis().max(0) as u64) << 16);
        self.last = wall.max(Stamp(self.last.0.saturating_add(1)));
        self.last
    }

    /// Takes note of a stamp from elsewhere.
    pub fn witness(&mut self, seen: Stamp) {
        self.last = self.last.max(seen);
    }

    /// The last stamp given or seen.
    pub fn last(&self) -> Stamp {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn stamps_rise_whatever_the_wall_clock_does(walls in prop::collection::vec(0i64..4_000_000_000_000, 1..50)) {
            let mut clock = HybridClock::default();
            let mut last = Stamp::default();
            for wall in walls {
                let stamp = clock.tick(DateTime::from_timestamp_millis(wall).unwrap_or_default());
                prop_assert!(stamp > last);
                last = stamp;
            }
        }
    }
}
