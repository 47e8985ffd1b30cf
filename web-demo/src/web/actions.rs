//! What a tap on a phone's screen does.

use super::failure::Failure;
use super::screens::ask;
use super::{Shared, phone};
use crate::phone::{Phone, Whereabouts};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use roundsman_core::Error;
use roundsman_core::model::visit::Outcome;
use roundsman_core::model::{Choice, DeviceSeq};
use roundsman_core::vault::Passcode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use uuid::Uuid;

type Done = Result<StatusCode, Failure>;
const DONE: StatusCode = StatusCode::NO_CONTENT;

/// Has the core do something on a thread where it may block.
async fn tell(
    phone: Arc<Phone>,
    order: impl FnOnce(&Arc<Phone>) -> Result<(), Error> + Send + 'static,
) -> Done {
    ask(phone, order).await?;
    Ok(DONE)
}

#[derive(Deserialize)]
pub(super) struct Enrol {
    ticket: String,
    passcode: String,
}

pub(super) async fn enrol(State(world): Shared, Path(number): Path<usize>, Json(form): Json<Enrol>) -> Done {
    let phone = phone(&world, number)?;
    phone.enrol(&form.ticket, &Passcode::new(&form.passcode)?).await?;
    Ok(DONE)
}

#[derive(Deserialize)]
pub(super) struct Unlock {
    passcode: String,
}

pub(super) async fn unlock(
    State(world): Shared,
    Path(number): Path<usize>,
    Json(form): Json<Unlock>,
) -> Done {
    let passcode = Passcode::new(&form.passcode)?;
    tell(phone(&world, number)?, move |phone| phone.unlock(&passcode)).await
}

pub(super) async fn lock(State(world): Shared, Path(number): Path<usize>) -> Done {
    tell(phone(&world, number)?, |phone| {
        phone.lock();
        Ok(())
    })
    .await
}

#[derive(Deserialize)]
pub(super) struct ChangePasscode {
    old: String,
    new: String,
}

pub(super) async fn passcode(
    State(world): Shared,
    Path(number): Path<usize>,
    Json(form): Json<ChangePasscode>,
) -> Done {
    let (old, new) = (Passcode::new(&form.old)?, Passcode::new(&form.new)?);
    tell(phone(&world, number)?, move |phone| phone.client().change_passcode(&old, &new)).await
}

#[derive(Deserialize)]
pub(super) struct Typed {
    typed: String,
}

/// What the rules have against what is typed so far; nothing if it will do.
#[derive(Serialize)]
pub(super) struct Broken {
    broken: Vec<String>,
}

/// Judges a passcode while it is typed.
pub(super) async fn judge(
    State(world): Shared,
    Path(number): Path<usize>,
    Json(form): Json<Typed>,
) -> Result<Json<Broken>, Failure> {
    let phone = phone(&world, number)?;
    let broken = ask(phone, move |phone| Ok(phone.client().passcode_rules().check(&form.typed))).await?;
    Ok(Json(Broken { broken: broken.iter().map(ToString::to_string).collect() }))
}

#[derive(Deserialize)]
pub(super) struct Switch {
    on: bool,
}

pub(super) async fn airplane(
    State(world): Shared,
    Path(number): Path<usize>,
    Json(form): Json<Switch>,
) -> Done {
    phone(&world, number)?.set_airplane(form.on);
    Ok(DONE)
}

/// Begins a sync; the screen follows it by its state.
pub(super) async fn sync(State(world): Shared, Path(number): Path<usize>) -> Done {
    let phone = phone(&world, number)?;
    tokio::spawn(async move {
        // The outcome, either way, is in what the phone has seen.
        let _ = phone.sync().await;
    });
    Ok(DONE)
}

#[derive(Deserialize)]
pub(super) struct Arrival {
    whereabouts: Whereabouts,
}

#[derive(Serialize)]
pub(super) struct Begun {
    id: Uuid,
}

/// Begins a visit that was not planned.
pub(super) async fn start(
    State(world): Shared,
    Path((number, customer)): Path<(usize, Uuid)>,
    Json(form): Json<Arrival>,
) -> Result<Json<Begun>, Failure> {
    let begun = ask(phone(&world, number)?, move |phone| {
        let customer = phone.client().customers()?.get(customer)?.ok_or(Error::NotFound)?;
        let position = phone.go_to(form.whereabouts, &customer);
        phone.client().visits()?.start(customer.id, position)
    });
    Ok(Json(Begun { id: begun.await?.id }))
}

/// Begins a visit of the round.
pub(super) async fn check_in(
    State(world): Shared,
    Path((number, visit)): Path<(usize, Uuid)>,
    Json(form): Json<Arrival>,
) -> Result<Json<Begun>, Failure> {
    let begun = ask(phone(&world, number)?, move |phone| {
        let visits = phone.client().visits()?;
        let planned = visits.get(visit)?.ok_or(Error::NotFound)?;
        let customer = phone.client().customers()?.get(planned.customer)?.ok_or(Error::NotFound)?;
        visits.check_in(visit, phone.go_to(form.whereabouts, &customer))
    });
    Ok(Json(Begun { id: begun.await?.id }))
}

#[derive(Deserialize)]
pub(super) struct Written {
    notes: String,
    next_step: String,
}

pub(super) async fn write(
    State(world): Shared,
    Path((number, visit)): Path<(usize, Uuid)>,
    Json(form): Json<Written>,
) -> Done {
    let said = |text: String| (!text.trim().is_empty()).then_some(text);
    tell(phone(&world, number)?, move |phone| {
        phone.client().visits()?.write(visit, said(form.notes), said(form.next_step))?;
        Ok(())
    })
    .await
}

#[derive(Deserialize)]
pub(super) struct Departure {
    outcome: String,
    reason: Option<String>,
}

pub(super) async fn check_out(
    State(world): Shared,
    Path((number, visit)): Path<(usize, Uuid)>,
    Json(form): Json<Departure>,
) -> Done {
    let outcome = Outcome::from_name(&form.outcome).ok_or_else(Failure::broken)?;
    tell(phone(&world, number)?, move |phone| {
        phone.client().visits()?.check_out(visit, outcome, form.reason)?;
        Ok(())
    })
    .await
}

#[derive(Deserialize)]
pub(super) struct Reason {
    reason: String,
}

pub(super) async fn miss(
    State(world): Shared,
    Path((number, visit)): Path<(usize, Uuid)>,
    Json(form): Json<Reason>,
) -> Done {
    tell(phone(&world, number)?, move |phone| {
        phone.client().visits()?.miss(visit, &form.reason)?;
        Ok(())
    })
    .await
}

pub(super) async fn resend(State(world): Shared, Path((number, seq)): Path<(usize, u64)>) -> Done {
    tell(phone(&world, number)?, move |phone| {
        phone.client().outbox()?.resend(DeviceSeq(seq))?;
        Ok(())
    })
    .await
}

pub(super) async fn discard(State(world): Shared, Path((number, seq)): Path<(usize, u64)>) -> Done {
    tell(phone(&world, number)?, move |phone| phone.client().outbox()?.discard(DeviceSeq(seq))).await
}

pub(super) async fn dismiss(State(world): Shared, Path((number, id)): Path<(usize, Uuid)>) -> Done {
    tell(phone(&world, number)?, move |phone| phone.client().conflicts()?.keep(id)).await
}
