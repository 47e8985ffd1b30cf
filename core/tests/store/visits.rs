//! The round of a day.

use crate::kit::{Phone, customer, id};
use chrono::{NaiveDate, TimeDelta};
use roundsman_core::Error;
use roundsman_core::model::geo::Position;
use roundsman_core::model::visit::{Outcome, State, Verdict};
use roundsman_core::model::{Rev, RuleError, Value};
use roundsman_core::protocol::sync::Row;
use uuid::Uuid;

fn stores(phone: &Phone) {
    phone.pull((1..=3).map(|n| customer(n, 1, &format!("Store {n}"), &[])).collect());
}

fn today() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 9, 21).unwrap()
}

/// A colleague's visit, as the server has it.
fn colleagues(n: u128, day: &str) -> Row {
    let fields = [
        ("customer", id(1).to_string()),
        ("rep", id(2).to_string()),
        ("territory", "nj".to_owned()),
        ("state", "planned".to_owned()),
        ("day", day.to_owned()),
    ];
    let fields = fields.map(|(name, text)| (name.to_owned(), Value::from(text))).into();
    Row { entity: "visit".to_owned(), id: id(n), rev: Rev(1), fields: Some(fields) }
}

#[test]
fn a_visit_that_was_not_planned_is_one_mutation_until_its_check_out() {
    let phone = Phone::new();
    stores(&phone);
    let visit = phone.visits.start(id(1), None).unwrap();
    assert_eq!(
        (visit.state, visit.verdict, visit.day),
        (State::CheckedIn, Some(Verdict::Unverified), today())
    );
    assert_eq!((visit.started_zone_min, visit.territory.as_str()), (Some(120), "nj"));
    assert_eq!(phone.waiting(), [1]);
    let open = phone.visits.in_progress().unwrap().unwrap();
    assert_eq!(open, visit);

    phone.visits.write(visit.id, Some("shelf is empty".into()), None).unwrap();
    phone.clock.forward(TimeDelta::minutes(20));
    let done = phone.visits.check_out(visit.id, Outcome::Order, None).unwrap();
    assert_eq!((done.state, done.notes.as_deref()), (State::CheckedOut, Some("shelf is empty")));
    assert_eq!(done.ended_at.unwrap() - done.started_at.unwrap(), TimeDelta::minutes(20));
    assert_eq!(phone.visits.in_progress().unwrap(), None);
    assert_eq!(phone.waiting(), [1, 2, 3]);
}

#[test]
fn one_visit_at_a_time() {
    let phone = Phone::new();
    stores(&phone);
    let planned = phone.visits.plan(id(2), today(), Some(1)).unwrap();
    let open = phone.visits.start(id(1), None).unwrap();
    for refused in [phone.visits.start(id(3), None), phone.visits.check_in(planned.id, None)] {
        assert!(matches!(refused, Err(Error::VisitInProgress { visit }) if visit == open.id));
    }
    let phone = phone.restarted();
    assert!(matches!(phone.visits.start(id(3), None), Err(Error::VisitInProgress { .. })));
    phone.visits.check_out(open.id, Outcome::Left, Some("called away".into())).unwrap();
    phone.visits.check_in(planned.id, None).unwrap();
}

#[test]
fn a_round_is_in_the_order_of_its_stops_and_only_the_reps_own() {
    let phone = Phone::new();
    stores(&phone);
    phone.visits.plan(id(1), today(), Some(2)).unwrap();
    phone.visits.plan(id(2), today(), Some(1)).unwrap();
    phone.visits.plan(id(3), today().succ_opt().unwrap(), Some(1)).unwrap();
    let unplanned = phone.visits.start(id(3), None).unwrap();
    phone.pull(vec![colleagues(90, "2026-09-21")]);
    let round = phone.visits.round(today()).unwrap();
    let names: Vec<&str> = round.iter().map(|stop| stop.customer.name.as_str()).collect();
    assert_eq!(names, ["Store 2", "Store 1", "Store 3"]);
    assert_eq!(round[2].visit.id, unplanned.id);
}

#[test]
fn a_customers_visits_are_told_newest_first_whoever_made_them() {
    let phone = Phone::new();
    stores(&phone);
    phone.pull(vec![
        colleagues(90, "2026-09-01"),
        colleagues(91, "2026-09-30"),
        colleagues(92, "2026-08-01"),
    ]);
    phone.visits.start(id(1), None).unwrap();
    let days: Vec<String> =
        phone.visits.of_customer(id(1), 3).unwrap().iter().map(|visit| visit.day.to_string()).collect();
    assert_eq!(days, ["2026-09-30", "2026-09-21", "2026-09-01"]);
}

#[test]
fn a_colleagues_visit_is_read_and_not_written() {
    let phone = Phone::new();
    stores(&phone);
    phone.pull(vec![colleagues(90, "2026-09-21")]);
    assert_eq!(phone.visits.get(id(90)).unwrap().unwrap().rep, id(2));
    let refused = phone.visits.check_in(id(90), None);
    assert!(matches!(refused, Err(Error::Rule(RuleError::NotAllowed))));
    assert_eq!(phone.outbox.count().unwrap(), 0);
}

#[test]
fn a_bad_position_never_stops_a_check_in() {
    let phone = Phone::new();
    phone.pull(vec![{
        let mut row = customer(1, 1, "Store", &[]);
        let place = [("lat", 40.3), ("lon", -73.98)];
        row.fields.as_mut().unwrap().extend(place.map(|(name, at)| (name.to_owned(), Value::Real(at))));
        row
    }]);
    let here = Position { lat: 40.3, lon: -73.98, accuracy_m: Some(8.0), mocked: false };
    let positions = [
        (here, Verdict::Verified),
        (Position { lat: 41.3, ..here }, Verdict::Outside),
        (Position { mocked: true, ..here }, Verdict::Outside),
        (Position { lat: f64::NAN, ..here }, Verdict::Unverified),
        (Position { lat: 500.0, ..here }, Verdict::Unverified),
        (Position { accuracy_m: Some(f64::INFINITY), ..here }, Verdict::Verified),
        (Position { accuracy_m: Some(-1.0), ..here }, Verdict::Verified),
    ];
    for (position, verdict) in positions {
        let visit = phone.visits.start(id(1), Some(position)).unwrap();
        assert_eq!(visit.verdict, Some(verdict), "{position:?}");
        phone.visits.check_out(visit.id, Outcome::NoOrder, None).unwrap();
    }
}

#[test]
fn a_clock_that_is_set_back_during_a_visit_does_not_keep_the_rep_in_it() {
    let phone = Phone::new();
    stores(&phone);
    let visit = phone.visits.start(id(1), None).unwrap();
    phone.clock.forward(TimeDelta::hours(-5));
    let done = phone.visits.check_out(visit.id, Outcome::NoOrder, None).unwrap();
    assert_eq!(done.ended_at, done.started_at);
}

#[test]
fn a_visit_is_not_made_without_a_reason() {
    let phone = Phone::new();
    stores(&phone);
    let (one, two) = (phone.visits.plan(id(1), today(), None), phone.visits.plan(id(2), today(), None));
    let (one, two) = (one.unwrap().id, two.unwrap().id);
    assert!(matches!(phone.visits.miss(one, " "), Err(Error::Rule(RuleError::ReasonMissing))));
    assert_eq!(phone.visits.miss(one, "road closed").unwrap().state, State::Missed);
    assert_eq!(phone.visits.cancel(two, "holiday").unwrap().state, State::Cancelled);
    assert!(matches!(phone.visits.check_in(one, None), Err(Error::Rule(RuleError::VisitState { .. }))));
    assert!(matches!(phone.visits.miss(Uuid::nil(), "x"), Err(Error::NotFound)));
    assert!(matches!(phone.visits.plan(Uuid::nil(), today(), None), Err(Error::NotFound)));
}
