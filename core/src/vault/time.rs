//! Trusted time: the latest that it can be told to be, from clocks that anybody may set.
//!
//! Three sources are put together: the server's signed time, the time since the phone was started, which nobody
//! can set, and the wall clock, read as how far it has come since the server was last heard. Trusted time never
//! goes back but by the server's word.
//!
//! Before the server was heard for the first time there is nothing to compare with: the wall clock is taken as it
//! is, and nothing is concluded from it.

use super::record::TimeMarks;
use crate::platform::{BootTime, Clock};
use chrono::{DateTime, Utc};
use std::time::Duration;

/// A day in milliseconds.
pub(crate) const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// A wall clock this far behind was turned back: 5 minutes, more than any clock drifts between two contacts.
pub(crate) const BACK_MS: i64 = 5 * 60 * 1000;
/// A wall clock this far ahead is not believed at once: 400 days. A clock whose battery died shows 1970 or 2038.
pub(crate) const JUMP_MS: i64 = 400 * DAY_MS;
/// After so long without contact, by the time since the phone was started, a wall clock that is far ahead is
/// believed.
pub(crate) const SETTLED_MS: i64 = DAY_MS;
/// No single reading of the wall clock wipes: a second one must follow, this much later.
pub(crate) const APART_MS: i64 = DAY_MS;

/// What the clocks show at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    /// The wall clock: milliseconds since 1970.
    pub(crate) wall_ms: i64,
    pub(crate) boot: Option<BootTime>,
}

/// What is to be thought of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeJudgement {
    /// Nothing speaks against it.
    Sound,
    /// The wall clock was turned back. Only the server can say what time it is.
    TurnedBack,
    /// The wall clock is so far ahead that it is more likely wrong than right.
    Implausible,
}

impl Reading {
    pub(crate) fn of(clock: &dyn Clock) -> Self {
        Self { wall_ms: clock.now().timestamp_millis(), boot: clock.boot() }
    }
}

/// A moment while the app runs, to measure from.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    reading: Reading,
    /// Trusted time, for phones that can't tell the time since their start.
    now_ms: i64,
}

impl Moment {
    pub(super) fn new(reading: Reading, now_ms: i64) -> Self {
        Self { reading, now_ms }
    }

    /// Milliseconds since an earlier moment; below 0 if the server has put trusted time back since.
    pub(crate) fn since_ms(self, then: Self) -> i64 {
        match (self.reading.boot, then.reading.boot) {
            (Some(now), Some(then)) if now.boot == then.boot => {
                millis(now.elapsed.saturating_sub(then.elapsed))
            }
            _ => self.now_ms.saturating_sub(then.now_ms),
        }
    }
}

impl TimeMarks {
    /// Whether the server was ever heard.
    pub(crate) fn heard(&self) -> bool {
        self.server_ms > 0
    }

    /// Time without the server that nobody can have set: since it was last heard, or since the phone was started if
    /// that was later. 0 where it can't be told.
    fn away_ms(&self, reading: Reading) -> i64 {
        let Some(BootTime { boot, elapsed }) = reading.boot else { return 0 };
        let elapsed = millis(elapsed);
        let before = if boot == self.boot { i64::try_from(self.elapsed_ms).unwrap_or(i64::MAX) } else { 0 };
        elapsed.saturating_sub(before).max(0)
    }

    /// Whether the phone runs since before the server was last heard.
    fn same_start(&self, reading: Reading) -> bool {
        reading.boot.is_some_and(|now| self.heard() && now.boot == self.boot)
    }

    /// The earliest it can be now, whatever the wall clock shows; the wall clock while the server was never heard.
    pub(crate) fn earliest_ms(&self, reading: Reading) -> i64 {
        if self.heard() { self.server_ms.saturating_add(self.away_ms(reading)) } else { reading.wall_ms }
    }

    /// What no setting of the wall clock changes.
    fn floor_ms(&self, reading: Reading) -> i64 {
        self.trusted_ms.max(self.earliest_ms(reading))
    }

    /// The server's last time, and how far the wall clock has come since.
    fn wall_ms(&self, reading: Reading) -> i64 {
        if self.heard() {
            self.server_ms.saturating_add(reading.wall_ms.saturating_sub(self.wall_ms))
        } else {
            reading.wall_ms
        }
    }

    /// What is to be thought of this reading.
    pub(crate) fn judge(&self, reading: Reading) -> TimeJudgement {
        if !self.heard() {
            return TimeJudgement::Sound;
        }
        let (floor, wall) = (self.floor_ms(reading), self.wall_ms(reading));
        // A clock that was ahead when the server was heard, and was then put right, was not turned back.
        if wall.max(reading.wall_ms) < floor.saturating_sub(BACK_MS) {
            TimeJudgement::TurnedBack
        } else if wall > floor.saturating_add(JUMP_MS) && self.away_ms(reading) < SETTLED_MS {
            TimeJudgement::Implausible
        } else {
            TimeJudgement::Sound
        }
    }

    /// Trusted time: milliseconds since 1970.
    pub(crate) fn now_ms(&self, reading: Reading) -> i64 {
        if !self.heard() {
            return reading.wall_ms;
        }
        let floor = self.floor_ms(reading);
        match self.judge(reading) {
            TimeJudgement::Implausible => floor,
            TimeJudgement::Sound | TimeJudgement::TurnedBack => floor.max(self.wall_ms(reading)),
        }
    }

    /// Keeps trusted time, so that it does not go back.
    pub(crate) fn note(&mut self, reading: Reading) {
        if self.heard() {
            self.trusted_ms = self.now_ms(reading);
        }
    }

    /// What is known after the server was heard: it alone may put trusted time back.
    pub(crate) fn hear(server_ms: i64, root: u32, reading: Reading) -> Self {
        let (boot, elapsed_ms) = start(reading);
        Self {
            trusted_ms: server_ms,
            server_ms,
            boot,
            elapsed_ms,
            wall_ms: reading.wall_ms,
            root,
            ..Self::default()
        }
    }

    /// Whether so many milliseconds have passed since the server was last heard, as surely as a wipe needs it: by
    /// the time since a start of the phone, or by two readings of the wall clock a day apart. Notes the first.
    pub(crate) fn has_surely_passed(&mut self, span_ms: i64, reading: Reading) -> bool {
        if !self.heard() {
            return false;
        }
        if self.away_ms(reading) >= span_ms {
            return true;
        }
        let wall = self.wall_ms(reading);
        let passed = wall.saturating_sub(self.server_ms);
        // Within one start of the phone that time alone counts. And a clock that is years ahead because its
        // battery died stays so: such a reading never counts, only the time since a start does.
        if self.same_start(reading) || passed < span_ms || passed > JUMP_MS {
            self.late_ms = 0;
            return false;
        }
        if self.late_ms == 0 || wall < self.late_ms {
            self.late_ms = wall;
            (self.late_boot, self.late_elapsed_ms) = start(reading);
            return false;
        }
        let apart = wall - self.late_ms;
        let apart = match reading.boot {
            Some(now) if now.boot == self.late_boot => {
                let then = i64::try_from(self.late_elapsed_ms).unwrap_or(i64::MAX);
                apart.min(millis(now.elapsed).saturating_sub(then))
            }
            _ => apart,
        };
        apart >= APART_MS
    }
}

/// A time on disk as a date.
pub(crate) fn date(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}

fn start(reading: Reading) -> (uuid::Uuid, u64) {
    reading.boot.map_or((uuid::Uuid::nil(), 0), |now| (now.boot, millis(now.elapsed).unsigned_abs()))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
