//! What the screens of a phone show.

use super::failure::Failure;
use super::views::{ConflictView, CustomerView, StateView, StopView, UnsentView, VisitView, visit_words};
use super::{Shared, phone};
use crate::phone::Phone;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use chrono::{Local, NaiveDate};
use futures_util::Stream;
use futures_util::stream::unfold;
use roundsman_core::Error;
use roundsman_core::customers::CustomerKey;
use roundsman_core::model::customer::Customer;
use roundsman_core::model::visit::State as VisitState;
use roundsman_core::outbox::{Status, Unsent};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;
use uuid::Uuid;

/// Rows of a list that are shown at once.
const PAGE: usize = 40;

/// Visits shown on a customer's page.
const LAST_VISITS: usize = 10;

type Answer<T> = Result<Json<T>, Failure>;

/// Asks the core on a thread where it may block.
pub(super) async fn ask<T: Send + 'static>(
    phone: Arc<Phone>,
    question: impl FnOnce(&Arc<Phone>) -> Result<T, Error> + Send + 'static,
) -> Result<T, Failure> {
    let answer = tokio::task::spawn_blocking(move || question(&phone)).await;
    Ok(answer.map_err(|_| Failure::broken())??)
}

pub(super) async fn state(State(world): Shared, Path(number): Path<usize>) -> Answer<StateView> {
    let phone = phone(&world, number)?;
    Ok(Json(ask(phone, |phone| StateView::of(phone)).await?))
}

/// A line whenever there is something new to show.
pub(super) async fn events(
    State(world): Shared,
    Path(number): Path<usize>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    let ticks = phone(&world, number)?.ticks();
    let lines = unfold(ticks, |mut ticks| async move {
        ticks.changed().await.ok()?;
        let tick = *ticks.borrow_and_update();
        Some((Ok(Event::default().data(tick.to_string())), ticks))
    });
    Ok(Sse::new(lines).keep_alive(KeepAlive::default()))
}

#[derive(Serialize)]
pub(super) struct RoundView {
    day: NaiveDate,
    stops: Vec<StopView>,
}

pub(super) async fn round(State(world): Shared, Path(number): Path<usize>) -> Answer<RoundView> {
    let phone = phone(&world, number)?;
    let round = ask(phone, |phone| {
        let day = Local::now().date_naive();
        let stops = phone.client().visits()?.round(day)?;
        let here = phone.seen().here.or_else(|| stops.first()?.customer.place());
        let stops = stops.into_iter().map(|stop| StopView {
            visit: VisitView::of(stop.visit, phone),
            customer: CustomerView::of(stop.customer, here),
        });
        Ok(RoundView { day, stops: stops.collect() })
    });
    Ok(Json(round.await?))
}

#[derive(Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    q: String,
    after: Option<Uuid>,
}

#[derive(Serialize)]
pub(super) struct Found {
    rows: Vec<CustomerView>,
    limit: usize,
    next: Option<Uuid>,
    ms: f64,
}

/// Customers that match what was typed, or all of them, page by page.
pub(super) async fn customers(
    State(world): Shared,
    Path(number): Path<usize>,
    Query(asked): Query<Asked>,
) -> Answer<Found> {
    let phone = phone(&world, number)?;
    let found = ask(phone, move |phone| {
        let customers = phone.client().customers()?;
        let begun = Instant::now();
        let rows: Vec<Customer> = if asked.q.trim().is_empty() {
            let after = asked.after.map(|id| customers.get(id)).transpose()?.flatten();
            customers.list(after.as_ref().map(CustomerKey::from).as_ref(), PAGE)?
        } else {
            customers.search(&asked.q, PAGE)?
        };
        let ms = begun.elapsed().as_secs_f64() * 1_000.0;
        let next =
            rows.last().filter(|_| rows.len() == PAGE && asked.q.trim().is_empty()).map(|last| last.id);
        let here = phone.seen().here;
        let rows = rows.into_iter().map(|customer| CustomerView::of(customer, here)).collect();
        Ok(Found { rows, limit: PAGE, next, ms })
    });
    Ok(Json(found.await?))
}

#[derive(Serialize)]
pub(super) struct CustomerPage {
    customer: CustomerView,
    /// The own visit of today, if there is one.
    today: Option<VisitView>,
    visits: Vec<VisitView>,
}

pub(super) async fn customer(
    State(world): Shared,
    Path((number, id)): Path<(usize, Uuid)>,
) -> Answer<CustomerPage> {
    let phone = phone(&world, number)?;
    let page = ask(phone, move |phone| {
        let customer = phone.client().customers()?.get(id)?.ok_or(Error::NotFound)?;
        let visits = phone.client().visits()?;
        let mut own: Vec<_> =
            visits.round(Local::now().date_naive())?.into_iter().map(|stop| stop.visit).collect();
        own.retain(|visit| visit.customer == id);
        // What can be gone on with comes before what is over.
        own.sort_by_key(|visit| match visit.state {
            VisitState::CheckedIn => 0,
            VisitState::Planned => 1,
            _ => 2,
        });
        let last = visits.of_customer(id, LAST_VISITS)?;
        Ok(CustomerPage {
            customer: CustomerView::of(customer, phone.seen().here),
            today: own.into_iter().next().map(|visit| VisitView::of(visit, phone)),
            visits: last.into_iter().map(|visit| VisitView::of(visit, phone)).collect(),
        })
    });
    Ok(Json(page.await?))
}

pub(super) async fn visit(State(world): Shared, Path((number, id)): Path<(usize, Uuid)>) -> Answer<StopView> {
    let phone = phone(&world, number)?;
    let page = ask(phone, move |phone| {
        let visit = phone.client().visits()?.get(id)?.ok_or(Error::NotFound)?;
        let customer = phone.client().customers()?.get(visit.customer)?.ok_or(Error::NotFound)?;
        Ok(StopView {
            visit: VisitView::of(visit, phone),
            customer: CustomerView::of(customer, phone.seen().here),
        })
    });
    Ok(Json(page.await?))
}

#[derive(Serialize)]
pub(super) struct OutboxView {
    entries: Vec<UnsentView>,
    conflicts: Vec<ConflictView>,
}

pub(super) async fn outbox(State(world): Shared, Path(number): Path<usize>) -> Answer<OutboxView> {
    let phone = phone(&world, number)?;
    let view = ask(phone, |phone| {
        let outbox = phone.client().outbox()?;
        let mut entries: Vec<(Uuid, UnsentView)> = Vec::new();
        for entry in outbox.unsent()? {
            let same = |shown: &&mut (Uuid, UnsentView)| shown.0 == entry.record && shown.1.refusal.is_none();
            // What waits about one record is one line; what was refused stands alone, to be dealt with.
            match entries.iter_mut().find(same).filter(|_| !is_refused(&entry)) {
                Some((_, shown)) => shown.changes += 1,
                None => entries.push((entry.record, in_words(&entry, phone)?)),
            }
        }
        let conflicts = phone.client().conflicts()?.list()?.into_iter().map(|conflict| {
            let (title, _) = about(phone, &conflict.entity, conflict.record)?;
            Ok(ConflictView { id: conflict.id, title, field: conflict.field.replace('_', " ") })
        });
        Ok(OutboxView {
            entries: entries.into_iter().map(|(_, entry)| entry).collect(),
            conflicts: conflicts.collect::<Result<_, Error>>()?,
        })
    });
    Ok(Json(view.await?))
}

fn in_words(entry: &Unsent, phone: &Phone) -> Result<UnsentView, Error> {
    let (title, what) = about(phone, entry.entity, entry.record)?;
    Ok(UnsentView {
        seq: entry.seq.0,
        title,
        what,
        changes: 1,
        made: entry.made_at.timestamp_millis(),
        refusal: match &entry.status {
            Status::Waiting => None,
            Status::Rejected { reason } => Some(reason.to_string()),
        },
    })
}

/// The customer that a record is about, and what the record is.
fn about(phone: &Phone, entity: &str, record: Uuid) -> Result<(String, &'static str), Error> {
    let visit = if entity == "visit" { phone.client().visits()?.get(record)? } else { None };
    let what = visit.as_ref().map_or("Customer", |visit| visit_words(visit.state));
    let customer = phone.client().customers()?.get(visit.map_or(record, |visit| visit.customer))?;
    Ok((customer.map_or_else(|| "A record that left this phone".to_owned(), |customer| customer.name), what))
}

/// Whether the server has refused this change.
pub(super) fn is_refused(entry: &Unsent) -> bool {
    matches!(entry.status, Status::Rejected { .. })
}
