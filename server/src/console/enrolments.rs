//! Devices that wait for a person to compare digits, and whether they have to.

use super::Console;
use super::flash::Flash;
use super::page::{PageError, Shell, Tab, render, sentence};
use super::show::{self, When};
use super::visitor::{Guarded, Nothing, Visitor};
use crate::admin::{AdminError, EnrolmentView};
use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use uuid::Uuid;

const HOME: &str = "/console/enrolments";

struct Row {
    id: Uuid,
    device: String,
    owner: String,
    platform: String,
    keys: &'static str,
    digits: Option<String>,
    confirmed: bool,
    until: When,
}

impl Row {
    fn new(it: &EnrolmentView, now: DateTime<Utc>) -> Self {
        Self {
            id: it.id,
            device: it.device_name.clone(),
            owner: it.user_name.clone(),
            platform: show::platform(&it.platform),
            keys: if it.hardware_keys { "Hardware" } else { "Software" },
            digits: it.digits.map(|digits| digits.to_string()),
            confirmed: it.confirmed,
            until: When::new(it.until, now),
        }
    }
}

#[derive(Template)]
#[template(path = "enrolments.html")]
struct Page {
    shell: Shell,
    error: Option<String>,
    rows: Vec<Row>,
    /// Whether digits are asked for.
    on: bool,
}

/// What waits.
pub(super) async fn page(State(console): State<Console>, visitor: Visitor) -> Result<Response, PageError> {
    show_page(&console, &visitor, StatusCode::OK, None).await
}

async fn show_page(
    console: &Console,
    visitor: &Visitor,
    status: StatusCode,
    error: Option<String>,
) -> Result<Response, PageError> {
    let (waiting, on) =
        console.ask(|admin| Ok((admin.waiting_enrolments()?, admin.confirms_enrolments()?))).await?;
    let now = Utc::now();
    let rows = waiting.iter().map(|it| Row::new(it, now)).collect();
    render(visitor, status, &Page { shell: Shell::new(console, visitor, Tab::Devices), error, rows, on })
}

/// The digits match.
pub(super) async fn confirm(
    State(console): State<Console>,
    Path(enrolment): Path<Uuid>,
    Guarded { visitor, form: Nothing {} }: Guarded<Nothing>,
) -> Result<Response, PageError> {
    let actor = visitor.id();
    let outcome = console.run(move |admin| admin.confirm_enrolment(actor, enrolment)).await?;
    answer(&console, &visitor, Flash::EnrolmentConfirmed, outcome).await
}

/// They don't.
pub(super) async fn refuse(
    State(console): State<Console>,
    Path(enrolment): Path<Uuid>,
    Guarded { visitor, form: Nothing {} }: Guarded<Nothing>,
) -> Result<Response, PageError> {
    let actor = visitor.id();
    let outcome = console.run(move |admin| admin.refuse_enrolment(actor, enrolment)).await?;
    answer(&console, &visitor, Flash::EnrolmentRefused, outcome).await
}

#[derive(Deserialize)]
pub(super) struct Wish {
    confirm: bool,
}

/// Whether digits are asked for from now on.
pub(super) async fn set(
    State(console): State<Console>,
    Guarded { visitor, form }: Guarded<Wish>,
) -> Result<Response, PageError> {
    let actor = visitor.id();
    console.ask(move |admin| admin.set_confirms_enrolments(actor, form.confirm)).await?;
    Ok((Flash::EnrolmentsSet.cookie(), Redirect::to(HOME)).into_response())
}

async fn answer(
    console: &Console,
    visitor: &Visitor,
    done: Flash,
    outcome: Result<(), AdminError>,
) -> Result<Response, PageError> {
    match outcome {
        Ok(()) => Ok((done.cookie(), Redirect::to(HOME)).into_response()),
        Err(error @ AdminError::EnrolmentClosed) => {
            let error = Some(format!("{} Nothing was changed.", sentence(&error)));
            show_page(console, visitor, StatusCode::CONFLICT, error).await
        }
        Err(other) => Err(other.into()),
    }
}
