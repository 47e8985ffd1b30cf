//! The visits of the day: made on a phone, and looked for on the other.

use crate::phone::{Phone, Whereabouts};
use anyhow::{Context, Result, ensure};
use chrono::Local;
use indicatif::ProgressBar;
use roundsman_core::customers::CustomerKey;
use roundsman_core::model::customer::Customer;
use roundsman_core::model::visit::{Outcome, State, Verdict, Visit};
use std::collections::BTreeSet;
use std::sync::Arc;
use uuid::Uuid;

/// A visit as it was made.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) visit: Uuid,
    pub(super) customer: String,
    pub(super) notes: String,
    pub(super) next_step: String,
    pub(super) outcome: Outcome,
    pub(super) verdict: Verdict,
    /// Whether the phone judged the position as it should.
    pub(super) judged_rightly: bool,
}

/// Makes `count` visits: first those of the round, then at other customers. `mark` goes into every note.
pub(super) fn make_visits(phone: &Phone, count: usize, mark: &str, bar: &ProgressBar) -> Result<Vec<Made>> {
    let mut made = Vec::with_capacity(count);
    for (number, (customer, planned)) in targets(phone, count)?.into_iter().enumerate() {
        made.push(visit(phone, number, &customer, planned, mark)?);
        bar.inc(1);
    }
    ensure!(made.len() == count, "there are only {} customers to visit", made.len());
    Ok(made)
}

/// Where to go: the round's stops with their visits, then customers who are not on it.
fn targets(phone: &Phone, count: usize) -> Result<Vec<(Customer, Option<Uuid>)>> {
    let round = phone.client().visits()?.round(Local::now().date_naive())?;
    let planned = round.into_iter().filter(|stop| stop.visit.state == State::Planned);
    let mut targets: Vec<_> = planned.take(count).map(|stop| (stop.customer, Some(stop.visit.id))).collect();
    let mut known: BTreeSet<Uuid> = targets.iter().map(|(customer, _)| customer.id).collect();
    let customers = phone.client().customers()?;
    let mut last: Option<CustomerKey> = None;
    while targets.len() < count {
        let page = customers.list(last.as_ref(), 100)?;
        last = page.last().map(CustomerKey::from);
        if last.is_none() {
            break;
        }
        let room = count - targets.len();
        targets.extend(
            page.into_iter()
                .filter(|customer| known.insert(customer.id))
                .take(room)
                .map(|customer| (customer, None)),
        );
    }
    Ok(targets)
}

fn visit(
    phone: &Phone,
    number: usize,
    customer: &Customer,
    planned: Option<Uuid>,
    mark: &str,
) -> Result<Made> {
    let (whereabouts, expected) = match (number % 7, customer.place()) {
        (_, None) | (5, _) => (Whereabouts::NoSignal, Verdict::Unverified),
        (3, _) => (Whereabouts::TwoKilometresAway, Verdict::Outside),
        _ => (Whereabouts::AtTheStore, Verdict::Verified),
    };
    let outcome = [Outcome::Order, Outcome::NoOrder, Outcome::Closed, Outcome::Left][number % 4];
    let visits = phone.client().visits()?;
    let position = phone.go_to(whereabouts, customer);
    let begun = match planned {
        Some(visit) => visits.check_in(visit, position)?,
        None => visits.start(customer.id, position)?,
    };
    let notes = format!("{mark}-note-{number}: the shelf by the door is half empty, 货架半空");
    let next_step = format!("{mark}-next-{number}: bring two cases");
    visits.write(begun.id, Some(notes.clone()), Some(next_step.clone()))?;
    let reason = (outcome == Outcome::Left).then(|| "the manager was called away".to_owned());
    visits.check_out(begun.id, outcome, reason)?;
    let verdict = begun.verdict.context("a check-in without a verdict")?;
    Ok(Made {
        visit: begun.id,
        customer: customer.name.clone(),
        notes,
        next_step,
        outcome,
        verdict,
        judged_rightly: verdict == expected,
    })
}

/// How many of these visits this phone holds, whole: by id, done, with their notes and what is next.
pub(super) fn seen_on(phone: &Arc<Phone>, made: &[Made]) -> Result<usize> {
    let visits = phone.client().visits()?;
    let mut seen = 0;
    for made in made {
        let whole = |visit: Visit| {
            visit.state == State::CheckedOut
                && visit.notes.as_deref() == Some(&made.notes)
                && visit.next_step.as_deref() == Some(&made.next_step)
                && visit.outcome == Some(made.outcome)
                && visit.verdict == Some(made.verdict)
        };
        seen += usize::from(visits.get(made.visit)?.is_some_and(whole));
    }
    Ok(seen)
}
