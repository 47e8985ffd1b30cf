//! The visit: from a stop on the round to a checked-out report.
//!
//! ```text
//! planned ──check in──► checked_in ──check out──► checked_out
//!    ├──miss────► missed
//!    └──cancel──► cancelled
//! ```
//! A check-in away from the store is kept and flagged ([`Verdict::Outside`]), never refused: phones lose
//! their position in basements and stores move.

use crate::Class::{Internal, Personal};
use crate::customer::Customer;
use crate::entity::entity;
use crate::geo::{Position, distance_m};
use crate::value::choice;
use crate::{Choice, FieldType, Fields, Merge, RuleError, Scope, Value, field};
use chrono::{DateTime, NaiveDate, Utc};
use uuid::Uuid;

choice! {
    /// How far a visit has come.
    pub enum State {
        /// On a round, not begun.
        Planned = "planned",
        /// The rep is there.
        CheckedIn = "checked_in",
        /// Done, with its outcome.
        CheckedOut = "checked_out",
        /// Not made, for a reason.
        Missed = "missed",
        /// Called off, for a reason.
        Cancelled = "cancelled",
    }
}

choice! {
    /// Whether the rep was at the store.
    pub enum Verdict {
        /// Within the geofence, counting the position's own inaccuracy.
        Verified = "verified",
        /// Away from it, or at a simulated position.
        Outside = "outside",
        /// No position, or none known for the store.
        Unverified = "unverified",
    }
}

choice! {
    /// How a visit went.
    pub enum Outcome {
        /// An order was placed.
        Order = "order",
        /// No order.
        NoOrder = "no_order",
        /// Nobody to talk to, or the store was shut.
        Closed = "closed",
        /// Left before the end; the reason says why.
        Left = "left",
    }
}

entity! {
    /// One call at one customer by one rep.
    Visit in "visit", scope Scope::Territory("territory"), rule rule;

    /// The customer.
    customer: Uuid = field(Internal, Merge::Immutable).indexed();
    /// The rep who makes it.
    rep: Uuid = field(Internal, Merge::Immutable);
    /// The customer's territory when the visit was made; decides which phones hold it.
    territory: String = field(Internal, Merge::Server).max(64);
    /// How far it has come.
    state: State = field(Internal, Merge::Latest).indexed();
    /// The day of the round.
    day: NaiveDate = field(Internal, Merge::Latest).indexed();
    /// The place in the round, from 1; none for a visit that was not planned.
    stop: Option<i64> = field(Internal, Merge::Server).range(1.0, 10_000.0);
    /// When the rep checked in, by the phone's clock.
    started_at: Option<DateTime<Utc>> = field(Internal, Merge::Latest);
    /// Minutes east of UTC of the phone's zone at check-in.
    started_zone_min: Option<i64> = field(Internal, Merge::Latest).range(-1_080.0, 1_080.0);
    /// Degrees north at check-in.
    lat: Option<f64> = field(Personal, Merge::Latest).range(-90.0, 90.0);
    /// Degrees east at check-in.
    lon: Option<f64> = field(Personal, Merge::Latest).range(-180.0, 180.0);
    /// Metres within which the phone believed to be.
    accuracy_m: Option<f64> = field(Personal, Merge::Latest).range(0.0, 1_000_000.0);
    /// Metres to the store at check-in.
    distance_m: Option<f64> = field(Internal, Merge::Latest).range(0.0, 25_000_000.0);
    /// Whether the platform said the position was simulated.
    mocked: Option<bool> = field(Internal, Merge::Latest);
    /// Whether the rep was at the store.
    verdict: Option<Verdict> = field(Internal, Merge::Latest);
    /// When the rep checked out.
    ended_at: Option<DateTime<Utc>> = field(Internal, Merge::Latest);
    /// Minutes east of UTC of the phone's zone at check-out.
    ended_zone_min: Option<i64> = field(Internal, Merge::Latest).range(-1_080.0, 1_080.0);
    /// How it went.
    outcome: Option<Outcome> = field(Internal, Merge::Latest);
    /// Why it was left, missed or cancelled.
    reason: Option<String> = field(Internal, Merge::Latest);
    /// What the rep wrote.
    notes: Option<String> = field(Internal, Merge::Append).max(10_000);
    /// What is to be done next.
    next_step: Option<String> = field(Internal, Merge::Latest).max(1_000);
}

/// An instant with the zone it was lived in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The instant.
    pub at: DateTime<Utc>,
    /// Minutes east of UTC of the local zone.
    pub zone_min: i32,
}

impl Moment {
    /// The calendar day there and then.
    pub fn day(self) -> NaiveDate {
        (self.at + chrono::TimeDelta::minutes(i64::from(self.zone_min))).date_naive()
    }
}

/// What can happen to a visit.
#[derive(Clone, Debug, PartialEq)]
pub enum Step<'a> {
    /// The rep arrives.
    CheckIn {
        /// When.
        now: Moment,
        /// Where the phone believes to be.
        position: Option<Position>,
        /// The customer, for its place.
        customer: &'a Customer,
    },
    /// The rep writes what was seen.
    Write {
        /// Everything written about the visit so far.
        notes: Option<String>,
        /// What is to be done next.
        next_step: Option<String>,
    },
    /// The rep leaves.
    CheckOut {
        /// When.
        now: Moment,
        /// How it went.
        outcome: Outcome,
        /// Why it was left early, for [`Outcome::Left`].
        reason: Option<String>,
    },
    /// The visit is not made.
    Miss {
        /// Why.
        reason: String,
    },
    /// The visit is called off.
    Cancel {
        /// Why.
        reason: String,
    },
}

/// The fields that a step changes in a visit that is in `state`.
///
/// # Errors
/// The state has no such step, or a reason is missing.
pub fn step(state: State, step: Step<'_>) -> Result<Fields, RuleError> {
    let mut change = Fields::new();
    let mut set = |name: &str, value: Value| {
        change.insert(name.to_owned(), value);
    };
    match step {
        Step::CheckIn { now, position, customer } => {
            transition(state, State::CheckedIn)?;
            let distance = position.zip(customer.place()).map(|(p, place)| distance_m((p.lat, p.lon), place));
            set("state", State::CheckedIn.to_value());
            set("started_at", now.at.to_value());
            set("started_zone_min", Value::Int(now.zone_min.into()));
            set("verdict", verdict(position, distance, customer.geofence_m()).to_value());
            set("distance_m", distance.to_value());
            if let Some(position) = position {
                set("lat", Value::Real(position.lat));
                set("lon", Value::Real(position.lon));
                set("accuracy_m", position.accuracy_m.to_value());
                set("mocked", Value::Bool(position.mocked));
            }
        }
        Step::Write { notes, next_step } => {
            if !matches!(state, State::CheckedIn | State::CheckedOut) {
                return Err(forbidden(state, State::CheckedIn));
            }
            set("notes", notes.to_value());
            set("next_step", next_step.to_value());
        }
        Step::CheckOut { now, outcome, reason } => {
            transition(state, State::CheckedOut)?;
            if outcome == Outcome::Left && !said(reason.as_deref()) {
                return Err(RuleError::ReasonMissing);
            }
            set("state", State::CheckedOut.to_value());
            set("ended_at", now.at.to_value());
            set("ended_zone_min", Value::Int(now.zone_min.into()));
            set("outcome", outcome.to_value());
            set("reason", reason.to_value());
        }
        Step::Miss { reason } => unmade(state, State::Missed, reason, &mut set)?,
        Step::Cancel { reason } => unmade(state, State::Cancelled, reason, &mut set)?,
    }
    Ok(change)
}

fn unmade(
    from: State,
    to: State,
    reason: String,
    set: &mut impl FnMut(&str, Value),
) -> Result<(), RuleError> {
    transition(from, to)?;
    if !said(Some(&reason)) {
        return Err(RuleError::ReasonMissing);
    }
    set("state", to.to_value());
    set("reason", Value::Text(reason));
    Ok(())
}

fn said(reason: Option<&str>) -> bool {
    reason.is_some_and(|reason| !reason.trim().is_empty())
}

fn verdict(position: Option<Position>, distance: Option<f64>, geofence_m: f64) -> Verdict {
    match (position, distance) {
        (Some(position), _) if position.mocked => Verdict::Outside,
        (Some(position), Some(distance)) => {
            // Half the reach of a poor fix counts for the rep, but never more than the geofence again.
            let slack = position.accuracy_m.unwrap_or(0.0).clamp(0.0, geofence_m);
            if distance <= geofence_m + slack { Verdict::Verified } else { Verdict::Outside }
        }
        _ => Verdict::Unverified,
    }
}

fn transition(from: State, to: State) -> Result<(), RuleError> {
    match (from, to) {
        (State::Planned, State::CheckedIn | State::Missed | State::Cancelled)
        | (State::CheckedIn, State::CheckedOut) => Ok(()),
        _ => Err(forbidden(from, to)),
    }
}

fn forbidden(from: State, to: State) -> RuleError {
    RuleError::VisitState { from: from.name().to_owned(), to: to.name().to_owned() }
}

/// What must hold of a visit, whoever writes it. The server sees whole records, in which one mutation may
/// have taken several steps.
fn rule(old: Option<&Fields>, new: &Fields) -> Result<(), RuleError> {
    let state = |fields: &Fields| fields.get("state").and_then(State::from_value);
    let time = |name: &str| new.get(name).and_then(<DateTime<Utc>>::from_value);
    let from = old.and_then(state).unwrap_or(State::Planned);
    let to = state(new).unwrap_or(State::Planned);
    if from != to {
        transition(from, to).or_else(|error| {
            (from == State::Planned && to == State::CheckedOut).then_some(()).ok_or(error)
        })?;
    }
    let text = |name: &str| new.get(name).and_then(Value::as_text);
    match to {
        State::CheckedIn | State::CheckedOut if time("started_at").is_none() => {
            Err(RuleError::Required { field: "started_at".to_owned() })
        }
        State::Planned | State::CheckedIn => Ok(()),
        State::CheckedOut => {
            let outcome = text("outcome").ok_or(RuleError::OutcomeMissing)?;
            if outcome == Outcome::Left.name() && !said(text("reason")) {
                return Err(RuleError::ReasonMissing);
            }
            match (time("started_at"), time("ended_at")) {
                (_, None) => Err(RuleError::Required { field: "ended_at".to_owned() }),
                (Some(start), Some(end)) if end < start => Err(RuleError::EndsBeforeStart),
                _ => Ok(()),
            }
        }
        State::Missed | State::Cancelled => {
            if said(text("reason")) {
                Ok(())
            } else {
                Err(RuleError::ReasonMissing)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Entity;

    fn customer() -> Customer {
        let fields = Fields::from([
            ("code".to_owned(), "C1".into()),
            ("name".to_owned(), "Corner".into()),
            ("territory".to_owned(), "NJ".into()),
            ("lat".to_owned(), Value::Real(40.0)),
            ("lon".to_owned(), Value::Real(-74.0)),
        ]);
        Customer::from_fields(Uuid::nil(), &fields).unwrap_or_else(|error| unreachable!("{error}"))
    }

    fn now() -> Moment {
        Moment { at: DateTime::from_timestamp(1_790_000_000, 0).unwrap_or_default(), zone_min: 480 }
    }

    fn at(lat: f64, accuracy_m: f64, mocked: bool) -> Option<Position> {
        Some(Position { lat, lon: -74.0, accuracy_m: Some(accuracy_m), mocked })
    }

    fn check_in(position: Option<Position>) -> Option<String> {
        let change =
            step(State::Planned, Step::CheckIn { now: now(), position, customer: &customer() }).ok()?;
        change.get("verdict")?.as_text().map(str::to_owned)
    }

    #[test]
    fn a_check_in_away_from_the_store_is_flagged_never_refused() {
        assert_eq!(check_in(at(40.0005, 10.0, false)).as_deref(), Some("verified"));
        assert_eq!(check_in(at(40.01, 10.0, false)).as_deref(), Some("outside"));
        assert_eq!(check_in(at(40.0, 10.0, true)).as_deref(), Some("outside"));
        assert_eq!(check_in(None).as_deref(), Some("unverified"));
    }

    #[test]
    fn a_visit_is_never_checked_out_before_it_is_checked_in() {
        let out = Step::CheckOut { now: now(), outcome: Outcome::Order, reason: None };
        assert_eq!(
            step(State::Planned, out.clone()),
            Err(RuleError::VisitState { from: "planned".into(), to: "checked_out".into() })
        );
        assert!(step(State::CheckedIn, out).is_ok());
    }

    #[test]
    fn a_visit_left_early_needs_a_reason() {
        let left = |reason: Option<&str>| {
            let reason = reason.map(str::to_owned);
            step(State::CheckedIn, Step::CheckOut { now: now(), outcome: Outcome::Left, reason })
        };
        assert_eq!(left(Some("  ")), Err(RuleError::ReasonMissing));
        assert!(left(Some("power cut")).is_ok());
    }

    #[test]
    fn the_day_is_the_phones_own() {
        // 2026-09-21 in UTC, already the 22nd in Shanghai.
        let late =
            Moment { at: DateTime::from_timestamp(1_790_013_600, 0).unwrap_or_default(), zone_min: 480 };
        assert_eq!(late.day().to_string(), "2026-09-22");
    }

    #[test]
    fn debug_shows_no_personal_data() {
        assert!(!format!("{:?}", customer()).contains("Corner"));
    }
}
