//! The lease on this device: how long the vault opens without the server, and when it wipes itself.

use super::record::{Record, Status, TimeMarks};
use super::time::{DAY_MS, Moment, Reading, TimeJudgement, date};
use super::wipe::Why;
use super::{Vault, VaultError};
use chrono::{DateTime, Utc};
use roundsman_protocol::api::Turn;
use roundsman_protocol::envelope::{Envelope, EnvelopeError};
use roundsman_protocol::lease::Lease;
use roundsman_protocol::receipt::Trigger;
use std::time::Duration;

/// The rep is warned so long before the lease locks, if the lease itself does not say earlier: 24 hours.
const LOCK_NOTICE_MS: i64 = DAY_MS;
/// The rep is warned so long before the lease wipes: 7 days.
const WIPE_NOTICE_MS: i64 = 7 * DAY_MS;

/// How the lease stands, by trusted time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// There is none: the server has never given one.
    None,
    /// It is good.
    Fresh,
    /// It is good, but the device should reach its server soon.
    Warn {
        /// How long the vault still opens.
        until_lock: Duration,
    },
    /// The vault does not open until the server was reached.
    LockDue,
    /// The time after which the device wipes itself has come. It does so as soon as that is certain: by the time
    /// since the phone was started, or by two readings of the wall clock a day apart.
    WipeDue,
}

/// How the lease stands, for a screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseStatus {
    /// How it stands.
    pub state: LeaseState,
    /// From when on the vault does not open without the server.
    pub locks_at: Option<DateTime<Utc>>,
    /// From when on the device wipes itself; never, if there is no such time.
    pub wipes_at: Option<DateTime<Utc>>,
    /// Whether the wipe is less than seven days away: say so, loudly.
    pub wipe_near: bool,
}

impl LeaseStatus {
    /// How a lease stands at this trusted time.
    fn of(lease: Option<&Lease>, now_ms: i64) -> Self {
        let Some(lease) = lease else {
            return Self { state: LeaseState::None, locks_at: None, wipes_at: None, wipe_near: false };
        };
        let after = |seconds: u32| lease.issued_ms.saturating_add(i64::from(seconds) * 1000);
        let (warns, locks) = (after(lease.warn_after_s), after(lease.lock_after_s));
        let wipes = lease.wipe_after_s.map(after);
        let state = if wipes.is_some_and(|wipes| now_ms >= wipes) {
            LeaseState::WipeDue
        } else if now_ms >= locks {
            LeaseState::LockDue
        } else if now_ms >= warns.min(locks.saturating_sub(LOCK_NOTICE_MS)) {
            let left = locks.saturating_sub(now_ms).unsigned_abs();
            LeaseState::Warn { until_lock: Duration::from_millis(left) }
        } else {
            LeaseState::Fresh
        };
        Self {
            state,
            locks_at: Some(date(locks)),
            wipes_at: wipes.map(date),
            wipe_near: wipes.is_some_and(|wipes| now_ms >= wipes.saturating_sub(WIPE_NOTICE_MS)),
        }
    }
}

/// What became of a lease that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// It is the device's lease from now on.
    Kept,
    /// It is no later than the one that is kept.
    Older,
    /// A command that it names was not given.
    Withheld { head: u64 },
}

impl Record {
    /// The lease. It was verified when it was stored, under a root that may have been replaced since.
    fn present_lease(&self) -> Option<Lease> {
        let envelope = Envelope::from_bytes(self.lease.as_ref()?).ok()?;
        minicbor::decode(&envelope.payload).ok()
    }
}

impl Vault {
    /// How the lease stands, by trusted time.
    ///
    /// # Errors
    /// Not enrolled, or wiped.
    pub fn lease(&self) -> Result<LeaseStatus, VaultError> {
        let reading = self.reading();
        self.read(|record| LeaseStatus::of(record.present_lease().as_ref(), record.time.now_ms(reading)))
    }

    /// Takes a lease, if it is the server's, for this device, later than the one before it, and names no command
    /// after `given`. Trusted time is the server's then, and the turn is the `next` one. Call it with the gate held.
    pub(crate) fn renew_lease(
        &self,
        envelope: &[u8],
        given: u64,
        next: Option<Turn>,
    ) -> Result<Result<Renewal, EnvelopeError>, VaultError> {
        let (root, device, known) =
            self.read(|record| (record.profile.root(), record.profile.device, record.time))?;
        let root = root?;
        let lease = match Lease::open(envelope, &root, device) {
            Ok(lease) => lease,
            Err(error) => return Ok(Err(error)),
        };
        // A new root ends what a thief of the old command key, or a server whose clock was wrong, dated far ahead.
        let later = lease.issued_ms > known.server_ms || (known.heard() && root.version > known.root);
        if !later {
            return Ok(Ok(Renewal::Older));
        }
        if lease.head_seq > given {
            return Ok(Ok(Renewal::Withheld { head: lease.head_seq }));
        }
        let time = TimeMarks::hear(lease.issued_ms, root.version, self.reading());
        self.update(|record| {
            record.lease = Some(envelope.to_vec().into());
            record.time = time;
            // Or a wait that began while the clock was ahead would last until that time.
            record.last_attempt_ms = record.last_attempt_ms.min(lease.issued_ms);
            record.turn = next.unwrap_or(record.turn);
        })?;
        Ok(Ok(Renewal::Kept))
    }

    /// Keeps trusted time on disk, and wipes if the lease has surely ended. Call it with the gate held; `close`
    /// must close the database. `true` if a wipe has begun.
    pub(crate) fn keep_time(&self, unsent: Option<u64>, close: &dyn Fn()) -> Result<bool, VaultError> {
        self.drop_old_share();
        let (mut marks, wiping, span) = self.read(|record| {
            let wiping = matches!(record.status, Status::Wiping(_));
            (record.time, wiping, record.present_lease().and_then(|lease| lease.wipe_after_s))
        })?;
        if wiping || !marks.heard() {
            return Ok(false);
        }
        let reading = self.reading();
        if span.is_some_and(|seconds| marks.has_surely_passed(i64::from(seconds) * 1000, reading)) {
            // A disk that fails must not save the vault: the wipe does not wait for the mark.
            self.wipe(Why::Own(Trigger::Lease), unsent, close)?;
            return Ok(true);
        }
        self.update(|record| record.time = marks)?;
        Ok(false)
    }

    /// Why the vault may not be opened now although it is neither locked nor wiped, if there is a reason.
    ///
    /// # Errors
    /// The clock can't be right, the lease has ended, the phone's posture is refused by the policy, or the share of
    /// a device on a leash is not here. A check-in puts all but the posture right. Nothing was changed.
    pub(crate) fn admit(&self) -> Result<(), VaultError> {
        let reading = self.reading();
        let judgement = self.read(|record| record.time.judge(reading))?;
        match judgement {
            TimeJudgement::TurnedBack => return Err(VaultError::ClockTurnedBack),
            TimeJudgement::Implausible => return Err(VaultError::ClockImplausible),
            TimeJudgement::Sound => {}
        }
        match self.lease()?.state {
            LeaseState::LockDue | LeaseState::WipeDue => return Err(VaultError::LeaseEnded),
            LeaseState::None | LeaseState::Fresh | LeaseState::Warn { .. } => {}
        }
        self.admit_posture()?;
        self.admit_leash()
    }

    /// Trusted time, by which waits and ages are measured, or the wall clock's before enrolment: milliseconds since
    /// 1970.
    pub(crate) fn now_ms(&self) -> i64 {
        let reading = self.reading();
        self.read(|record| record.time.now_ms(reading)).unwrap_or(reading.wall_ms)
    }

    /// The earliest it can be now.
    pub(crate) fn earliest(&self) -> Result<DateTime<Utc>, VaultError> {
        let reading = self.reading();
        self.read(|record| date(record.time.earliest_ms(reading)))
    }

    pub(crate) fn reading(&self) -> Reading {
        Reading::of(&*self.seams.clock)
    }

    /// This moment, to measure from.
    pub(crate) fn moment(&self) -> Moment {
        Moment::new(self.reading(), self.now_ms())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUED: i64 = 1_790_000_000_000;

    fn lease(wipe_after_s: Option<u32>) -> Lease {
        Lease {
            v: 1,
            org: [9; 16],
            device: [7; 16],
            issued_ms: ISSUED,
            warn_after_s: 3 * Lease::DAY_S,
            lock_after_s: 7 * Lease::DAY_S,
            wipe_after_s,
            head_seq: 0,
        }
    }

    fn at(lease: &Lease, days: i64) -> LeaseStatus {
        LeaseStatus::of(Some(lease), ISSUED + days * DAY_MS)
    }

    #[test]
    fn a_lease_warns_before_it_locks_before_it_wipes() {
        let lease = lease(Some(30 * Lease::DAY_S));
        assert_eq!(at(&lease, 2).state, LeaseState::Fresh);
        let left = Duration::from_hours(72);
        assert_eq!(at(&lease, 4).state, LeaseState::Warn { until_lock: left });
        assert_eq!(at(&lease, 7).state, LeaseState::LockDue);
        assert_eq!([22, 23].map(|day| at(&lease, day).wipe_near), [false, true]);
        assert_eq!([29, 30].map(|day| at(&lease, day).state), [LeaseState::LockDue, LeaseState::WipeDue]);
        assert_eq!(at(&lease, 0).locks_at, Some(date(ISSUED + 7 * DAY_MS)));
        assert_eq!(at(&lease, 0).wipes_at, Some(date(ISSUED + 30 * DAY_MS)));
    }

    #[test]
    fn the_last_day_before_a_lock_is_always_warned_of() {
        let late = Lease { warn_after_s: 7 * Lease::DAY_S, ..lease(None) };
        assert_eq!(at(&late, 5).state, LeaseState::Fresh);
        let left = Duration::from_hours(24);
        assert_eq!(at(&late, 6).state, LeaseState::Warn { until_lock: left });
    }

    #[test]
    fn a_lease_without_a_wipe_never_wipes_and_no_lease_does_nothing() {
        let status = at(&lease(None), 10_000);
        assert_eq!((status.state, status.wipes_at, status.wipe_near), (LeaseState::LockDue, None, false));
        assert_eq!(LeaseStatus::of(None, i64::MAX).state, LeaseState::None);
    }
}
