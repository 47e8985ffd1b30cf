//! The shapes in which pages get what the core says. Times are milliseconds since 1970, distances metres.

use crate::phone::{Phone, SyncSeen};
use chrono::{DateTime, NaiveDate, Utc};
use roundsman_core::model::Choice;
use roundsman_core::model::customer::Customer;
use roundsman_core::model::geo::distance_m;
use roundsman_core::model::visit::{State as VisitState, Visit};
use roundsman_core::sync::{Report, Step};
use roundsman_core::vault::LeaseState;
use roundsman_core::{Error, State};
use serde::Serialize;
use uuid::Uuid;

/// The frame of every screen: what state the phone is in.
#[derive(Debug, Serialize)]
pub(super) struct StateView {
    phone: &'static str,
    person: Option<String>,
    organisation: Option<String>,
    device: Option<String>,
    core: &'static str,
    airplane: bool,
    contact: Option<i64>,
    unsent: u64,
    refused: usize,
    conflicts: usize,
    customers: u64,
    in_progress: Option<Progressing>,
    lease: Option<LeaseView>,
    /// What the policy has against the phone, in words.
    concerns: Vec<&'static str>,
    sync: SyncView,
}

/// How long the phone may stay away from its server.
#[derive(Debug, Serialize)]
struct LeaseView {
    state: &'static str,
    locks_at: Option<i64>,
    wipes_at: Option<i64>,
}

impl LeaseView {
    fn of(phone: &Phone) -> Option<Self> {
        let status = phone.client().lease().ok()?;
        let state = match status.state {
            LeaseState::None => return None,
            LeaseState::Fresh => "fresh",
            LeaseState::Warn { .. } => "warn",
            LeaseState::LockDue => "lock_due",
            LeaseState::WipeDue => "wipe_due",
        };
        let ms = |at: Option<DateTime<Utc>>| at.map(|at| at.timestamp_millis());
        Some(Self { state, locks_at: ms(status.locks_at), wipes_at: ms(status.wipes_at) })
    }
}

#[derive(Debug, Serialize)]
struct Progressing {
    visit: Uuid,
    customer: String,
}

impl StateView {
    pub(super) fn of(phone: &Phone) -> Result<Self, Error> {
        let client = phone.client();
        let (profile, seen) = (client.profile(), phone.seen());
        let mut view = Self {
            phone: match client.state() {
                State::New => "new",
                State::Closed => "closed",
                State::Open => "open",
                State::Locked { .. } => "locked",
                State::Wiping => "wiping",
                State::Wiped => "wiped",
            },
            person: profile.as_ref().map(|profile| profile.user_name.clone()),
            organisation: profile.as_ref().map(|profile| profile.org_name.clone()),
            device: profile.map(|profile| profile.device.to_string()),
            core: roundsman_core::VERSION,
            airplane: phone.airplane(),
            contact: seen.contact.map(|at| at.timestamp_millis()),
            unsent: 0,
            refused: 0,
            conflicts: 0,
            customers: 0,
            in_progress: None,
            lease: LeaseView::of(phone),
            concerns: client.concerns().into_iter().map(|(concern, _)| concern.words()).collect(),
            sync: seen.sync.into(),
        };
        if view.phone == "open" {
            view.look_inside(phone)?;
        }
        Ok(view)
    }

    fn look_inside(&mut self, phone: &Phone) -> Result<(), Error> {
        let (outbox, customers) = (phone.client().outbox()?, phone.client().customers()?);
        self.unsent = outbox.count()?;
        self.refused = outbox.unsent()?.iter().filter(|entry| super::screens::is_refused(entry)).count();
        self.conflicts = phone.client().conflicts()?.list()?.len();
        self.customers = customers.count()?;
        if let Some(visit) = phone.client().visits()?.in_progress()? {
            let name = customers.get(visit.customer)?.map(|customer| customer.name).unwrap_or_default();
            self.in_progress = Some(Progressing { visit: visit.id, customer: name });
        }
        Ok(())
    }
}

/// How the last sync went, or goes.
#[derive(Debug, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub(super) enum SyncView {
    Never,
    Running { sending: u64, settled: u64, rows: u64, left: u64 },
    Done { at: i64, sent: u64, refused: u64, conflicts: u64, received: u64, bytes: u64 },
    Failed { at: i64, message: String },
}

impl From<SyncSeen> for SyncView {
    fn from(seen: SyncSeen) -> Self {
        match seen {
            SyncSeen::Never => Self::Never,
            SyncSeen::Running(step) => {
                let (sending, settled, rows, left) = match step {
                    None | Some(Step::Indexing { .. }) => (0, 0, 0, 0),
                    Some(Step::Sending { changes }) => (changes, 0, 0, 0),
                    Some(Step::Settled { changes }) => (0, changes, 0, 0),
                    Some(Step::Receiving { rows, left, .. }) => (0, 0, rows, left),
                };
                Self::Running { sending, settled, rows, left }
            }
            SyncSeen::Done(at, report) => Self::done(at, &report),
            SyncSeen::Failed(at, message) => Self::Failed { at: at.timestamp_millis(), message },
        }
    }
}

impl SyncView {
    fn done(at: DateTime<Utc>, report: &Report) -> Self {
        Self::Done {
            at: at.timestamp_millis(),
            sent: report.sent,
            refused: report.rejected,
            conflicts: report.conflicts,
            received: report.received,
            bytes: report.bytes_up + report.bytes_down,
        }
    }
}

/// A customer, with the distance from where the rep is.
#[derive(Debug, Serialize)]
pub(super) struct CustomerView {
    id: Uuid,
    code: String,
    name: String,
    brand: Option<String>,
    channel: Option<String>,
    address: Option<String>,
    city: String,
    phone: Option<String>,
    notes: Option<String>,
    distance_m: Option<f64>,
}

impl CustomerView {
    pub(super) fn of(customer: Customer, here: Option<(f64, f64)>) -> Self {
        let distance_m = here.zip(customer.place()).map(|(here, place)| distance_m(here, place));
        let town = [customer.city, customer.region, customer.postcode];
        Self {
            id: customer.id,
            code: customer.code,
            name: customer.name,
            brand: customer.brand,
            channel: customer.channel,
            address: customer.address,
            city: town.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" "),
            phone: customer.phone,
            notes: customer.notes,
            distance_m,
        }
    }
}

/// A visit.
#[derive(Debug, Serialize)]
pub(super) struct VisitView {
    id: Uuid,
    customer: Uuid,
    state: &'static str,
    day: NaiveDate,
    stop: Option<i64>,
    started: Option<i64>,
    ended: Option<i64>,
    verdict: Option<&'static str>,
    distance_m: Option<f64>,
    outcome: Option<&'static str>,
    reason: Option<String>,
    notes: Option<String>,
    next_step: Option<String>,
    own: bool,
}

impl VisitView {
    pub(super) fn of(visit: Visit, phone: &Phone) -> Self {
        let own = phone.client().profile().is_some_and(|profile| profile.user.0 == visit.rep);
        Self {
            id: visit.id,
            customer: visit.customer,
            state: visit.state.name(),
            day: visit.day,
            stop: visit.stop,
            started: visit.started_at.map(|at| at.timestamp_millis()),
            ended: visit.ended_at.map(|at| at.timestamp_millis()),
            verdict: visit.verdict.map(Choice::name),
            distance_m: visit.distance_m,
            outcome: visit.outcome.map(Choice::name),
            reason: visit.reason,
            notes: visit.notes,
            next_step: visit.next_step,
            own,
        }
    }
}

/// A stop of the round.
#[derive(Debug, Serialize)]
pub(super) struct StopView {
    pub(super) visit: VisitView,
    pub(super) customer: CustomerView,
}

/// What is unsent, in words.
#[derive(Debug, Serialize)]
pub(super) struct UnsentView {
    pub(super) seq: u64,
    pub(super) title: String,
    pub(super) what: &'static str,
    /// How many changes of the same record wait together.
    pub(super) changes: usize,
    /// When the first was made.
    pub(super) made: i64,
    /// Why the server refused it; nothing while it waits.
    pub(super) refusal: Option<String>,
}

/// A value that lost in a collision.
#[derive(Debug, Serialize)]
pub(super) struct ConflictView {
    pub(super) id: Uuid,
    pub(super) title: String,
    pub(super) field: String,
}

/// What a person would call a visit in this state, as something that waits to be sent.
pub(super) fn visit_words(state: VisitState) -> &'static str {
    match state {
        VisitState::Planned => "Planned visit",
        VisitState::CheckedIn => "Visit in progress",
        VisitState::CheckedOut => "Finished visit",
        VisitState::Missed => "Missed visit",
        VisitState::Cancelled => "Cancelled visit",
    }
}
