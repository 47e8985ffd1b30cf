use super::*;
use uuid::Uuid;

const NOW: i64 = 1_790_000_000_000;
const MIN: i64 = 60 * 1000;
const HOUR: i64 = 60 * MIN;
const YEAR: i64 = 365 * DAY_MS;
const WIPE: i64 = 30 * DAY_MS;
const FIRST: Uuid = Uuid::from_u128(1);
const SECOND: Uuid = Uuid::from_u128(2);
/// The phone was on for two hours when the server was heard.
const UP: i64 = 2 * HOUR;

fn boot(boot: Uuid, elapsed_ms: i64) -> Option<BootTime> {
    Some(BootTime { boot, elapsed: Duration::from_millis(elapsed_ms.unsigned_abs()) })
}

/// A reading in the start in which the server was heard, so long after that.
fn same(wall_ms: i64, after_ms: i64) -> Reading {
    Reading { wall_ms, boot: boot(FIRST, UP + after_ms) }
}

/// A reading in a later start, so long after it.
fn later(wall_ms: i64, after_ms: i64) -> Reading {
    Reading { wall_ms, boot: boot(SECOND, after_ms) }
}

/// A reading on a phone that can't tell its starts.
fn blind(wall_ms: i64) -> Reading {
    Reading { wall_ms, boot: None }
}

/// The server was heard, while the wall clock showed this.
fn heard(wall_ms: i64) -> TimeMarks {
    TimeMarks::hear(NOW, 1, same(wall_ms, 0))
}

#[test]
fn every_case_of_the_clock_matrix_is_judged_and_none_wipes_on_a_single_reading() {
    use TimeJudgement::{Implausible, Sound, TurnedBack};
    let right = heard(NOW);
    let slow = heard(NOW - HOUR);
    let fast = heard(NOW + HOUR);
    let none = TimeMarks::default();
    let mut late = right;
    late.note(same(NOW + 9 * DAY_MS, 9 * DAY_MS));
    // Name, what is known, what the clocks show, the judgement, trusted time after it.
    let cases = [
        ("the server was heard just now", right, same(NOW, 0), Sound, NOW),
        ("a day passed", right, same(NOW + DAY_MS, DAY_MS), Sound, NOW + DAY_MS),
        ("back 1 minute", right, same(NOW - MIN, 0), Sound, NOW),
        ("back 5 minutes", right, same(NOW - 5 * MIN, 0), Sound, NOW),
        ("back 5 minutes and a bit", right, same(NOW - 5 * MIN - 1, 0), TurnedBack, NOW),
        ("back 1 hour", right, same(NOW - HOUR, 0), TurnedBack, NOW),
        ("back 1 day while a day passed", right, same(NOW, DAY_MS), TurnedBack, NOW + DAY_MS),
        ("back 1 year", right, later(NOW - YEAR, MIN), TurnedBack, NOW + MIN),
        ("back 10 years", right, later(NOW - 10 * YEAR, MIN), TurnedBack, NOW + MIN),
        ("1970, the battery died", right, later(0, MIN), TurnedBack, NOW + MIN),
        ("1970, and no start can be told", right, blind(0), TurnedBack, NOW),
        ("back to before a time that was kept", late, later(NOW + DAY_MS, MIN), TurnedBack, NOW + 9 * DAY_MS),
        ("forward 1 minute", right, same(NOW + MIN, 0), Sound, NOW + MIN),
        ("forward 8 days", right, same(NOW + 8 * DAY_MS, 0), Sound, NOW + 8 * DAY_MS),
        ("forward 40 days", right, later(NOW + 40 * DAY_MS, MIN), Sound, NOW + 40 * DAY_MS),
        ("forward 399 days", right, later(NOW + 399 * DAY_MS, MIN), Sound, NOW + 399 * DAY_MS),
        ("forward 401 days", right, later(NOW + 401 * DAY_MS, MIN), Implausible, NOW + MIN),
        ("2038, the battery died", right, later(2_147_483_647_000, MIN), Implausible, NOW + MIN),
        ("2038, and no start can be told", right, blind(2_147_483_647_000), Implausible, NOW),
        ("far forward, for a day without contact", right, later(NOW + 500 * DAY_MS, DAY_MS), Sound, {
            NOW + 500 * DAY_MS
        }),
        ("far forward, for almost a day", right, later(NOW + 500 * DAY_MS, DAY_MS - 1), Implausible, {
            NOW + DAY_MS - 1
        }),
        ("restarted after an hour", right, later(NOW + HOUR, MIN), Sound, NOW + HOUR),
        ("restarted, and the wall clock stood still", right, later(NOW, 3 * MIN), Sound, NOW + 3 * MIN),
        ("frozen wall clock over a day's sleep", right, same(NOW, DAY_MS), TurnedBack, NOW + DAY_MS),
        ("slept for eight days", right, same(NOW + 8 * DAY_MS, 8 * DAY_MS), Sound, NOW + 8 * DAY_MS),
        ("a clock an hour slow", slow, same(NOW - HOUR + MIN, MIN), Sound, NOW + MIN),
        ("a clock an hour slow, put right", slow, same(NOW + MIN, MIN), Sound, NOW + HOUR + MIN),
        ("a clock an hour fast", fast, same(NOW + HOUR + MIN, MIN), Sound, NOW + MIN),
        ("a clock an hour fast, put right", fast, same(NOW + MIN, MIN), Sound, NOW + MIN),
        ("a clock an hour fast, back 2 hours", fast, same(NOW - HOUR, 0), TurnedBack, NOW),
        ("no server was ever heard, 1970", none, later(0, MIN), Sound, 0),
        ("no server was ever heard, 2038", none, blind(2_147_483_647_000), Sound, 2_147_483_647_000),
    ];
    for (name, marks, reading, judgement, trusted) in cases {
        assert_eq!(marks.judge(reading), judgement, "{name}");
        assert_eq!(marks.now_ms(reading), trusted, "{name}");
        let mut noted = marks;
        noted.note(reading);
        assert!(noted.trusted_ms >= marks.trusted_ms, "{name}: trusted time went back");
        let mut once = marks;
        assert!(!once.has_surely_passed(WIPE, reading), "{name}: wiped on a single reading");
    }
    assert!(cases.len() >= 24);
}

/// A zone or the switch to summer time changes what a clock shows, not the milliseconds since 1970 it is read as.
#[test]
fn a_change_of_zone_or_to_summer_time_changes_nothing() {
    struct Travelling(i32);
    impl Clock for Travelling {
        fn now(&self) -> DateTime<Utc> {
            date(NOW)
        }

        fn zone_min(&self) -> i32 {
            self.0
        }
    }
    let readings = [-720, -240, 0, 60, 120, 840].map(|zone| Reading::of(&Travelling(zone)));
    assert!(readings.iter().all(|reading| *reading == blind(NOW)));
}

#[test]
fn the_time_since_a_start_shows_alone_that_the_lease_has_ended() {
    for wall in [0, NOW, NOW + 31 * DAY_MS, 2_147_483_647_000] {
        assert!(!heard(NOW).has_surely_passed(WIPE, same(wall, WIPE - 1)));
        assert!(heard(NOW).has_surely_passed(WIPE, same(wall, WIPE)));
        assert!(heard(NOW).has_surely_passed(WIPE, later(wall, WIPE)), "a later start");
    }
}

#[test]
fn within_the_start_that_heard_the_server_no_wall_clock_wipes() {
    let mut marks = heard(NOW);
    for day in 31..99 {
        assert!(!marks.has_surely_passed(WIPE, same(NOW + day * DAY_MS, HOUR)));
    }
}

#[test]
fn two_readings_a_day_apart_show_that_the_lease_has_ended() {
    let mut marks = heard(NOW);
    let late = NOW + 31 * DAY_MS;
    assert!(!marks.has_surely_passed(WIPE, blind(late)));
    assert!(!marks.has_surely_passed(WIPE, blind(late + DAY_MS - 1)));
    assert!(marks.has_surely_passed(WIPE, blind(late + DAY_MS)));
}

#[test]
fn a_clock_set_forward_twice_in_one_start_is_not_two_readings() {
    let mut marks = heard(NOW);
    let late = NOW + 31 * DAY_MS;
    assert!(!marks.has_surely_passed(WIPE, later(late, MIN)));
    assert!(!marks.has_surely_passed(WIPE, later(late + 9 * DAY_MS, 2 * MIN)));
    assert!(marks.has_surely_passed(WIPE, later(late + 9 * DAY_MS, MIN + DAY_MS)));
}

#[test]
fn a_reading_in_time_takes_the_first_late_one_back() {
    let mut marks = heard(NOW);
    assert!(!marks.has_surely_passed(WIPE, blind(NOW + 31 * DAY_MS)));
    assert!(!marks.has_surely_passed(WIPE, blind(NOW + DAY_MS)));
    assert_eq!(marks.late_ms, 0);
    assert!(!marks.has_surely_passed(WIPE, blind(NOW + 33 * DAY_MS)));
}

#[test]
fn a_clock_whose_battery_died_never_wipes() {
    let mut marks = heard(NOW);
    for hour in 0..200 {
        let reading = later(2_147_483_647_000 + hour * HOUR, hour * HOUR);
        assert!(!marks.has_surely_passed(WIPE, reading));
        marks.note(reading);
    }
}

#[test]
fn only_the_server_puts_trusted_time_back() {
    let mut marks = heard(NOW);
    marks.note(same(NOW + 8 * DAY_MS, 0));
    assert_eq!(marks.judge(same(NOW + MIN, MIN)), TimeJudgement::TurnedBack);
    let marks = TimeMarks::hear(NOW + MIN, 1, same(NOW + MIN, MIN));
    assert_eq!(marks.judge(same(NOW + MIN, MIN)), TimeJudgement::Sound);
    assert_eq!(marks.now_ms(same(NOW + 2 * MIN, 2 * MIN)), NOW + 2 * MIN);
}

#[test]
fn the_earliest_it_can_be_does_not_follow_the_wall_clock() {
    assert_eq!(heard(NOW).earliest_ms(same(NOW + YEAR, HOUR)), NOW + HOUR);
    assert_eq!(heard(NOW).earliest_ms(later(0, HOUR)), NOW + HOUR);
    assert_eq!(heard(NOW).earliest_ms(blind(NOW + YEAR)), NOW);
    assert_eq!(TimeMarks::default().earliest_ms(blind(NOW)), NOW);
}
