//! Locking every phone at once, and letting those phones open again.

use super::Console;
use super::flash::Flash;
use super::page::{PageError, Shell, Tab, render, sentence};
use super::show::{self, When};
use super::visitor::{Guarded, Nothing, Visitor};
use crate::admin::{AdminError, FreezeView};
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, Utc};
use serde::Deserialize;

const DEVICES: &str = "/console/devices";

#[derive(Template)]
#[template(path = "freeze.html")]
struct Page {
    shell: Shell,
    /// What is said of a freeze, if one is in force.
    frozen: Option<String>,
    /// How many phones are in use.
    in_use: String,
    reason: String,
    error: Option<String>,
}

/// What a freeze is, in a sentence.
pub(super) fn in_words(freeze: &FreezeView, now: DateTime<Utc>) -> String {
    let (phones, since) = (show::counted(freeze.devices as u64, "phone"), When::new(freeze.since, now).full);
    format!("{} ordered it for {phones}, {since}: {}.", freeze.by, freeze.reason.trim_end_matches('.'))
}

/// The page that says what will happen.
pub(super) async fn page(State(console): State<Console>, visitor: Visitor) -> Result<Response, PageError> {
    show_page(&console, &visitor, StatusCode::OK, String::new(), None).await
}

async fn show_page(
    console: &Console,
    visitor: &Visitor,
    status: StatusCode,
    reason: String,
    error: Option<String>,
) -> Result<Response, PageError> {
    let (freeze, devices) = console.ask(|admin| Ok((admin.freeze()?, admin.devices()?))).await?;
    let now = Utc::now();
    let in_use = devices.iter().filter(|device| device.state.can_be_locked()).count();
    let page = Page {
        shell: Shell::new(console, visitor, Tab::Devices),
        frozen: freeze.map(|freeze| in_words(&freeze, now)),
        in_use: show::counted(in_use as u64, "phone"),
        reason,
        error,
    };
    render(visitor, status, &page)
}

#[derive(Deserialize)]
pub(super) struct LockForm {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    name: String,
}

/// Locks every phone, if the organisation's name was typed.
pub(super) async fn lock(
    State(console): State<Console>,
    Guarded { visitor, form }: Guarded<LockForm>,
) -> Result<Response, PageError> {
    let (actor, reason) = (visitor.id(), form.reason.trim().to_owned());
    if form.name.trim() != console.admin.org_name().trim() {
        let error = "The name you typed is not the organisation's name. Nothing was changed.".to_owned();
        return show_page(&console, &visitor, StatusCode::UNPROCESSABLE_ENTITY, reason, Some(error)).await;
    }
    let asked = reason.clone();
    match console.run(move |admin| admin.lock_all(actor, &asked)).await? {
        Ok(_) => Ok((Flash::Frozen.cookie(), Redirect::to(DEVICES)).into_response()),
        Err(error @ AdminError::ReasonMissing) => {
            let error = Some(format!("{} Nothing was changed.", sentence(&error)));
            show_page(&console, &visitor, StatusCode::UNPROCESSABLE_ENTITY, reason, error).await
        }
        Err(other) => Err(other.into()),
    }
}

/// Lets the phones open again.
pub(super) async fn lift(
    State(console): State<Console>,
    Guarded { visitor, form: Nothing {} }: Guarded<Nothing>,
) -> Result<Response, PageError> {
    let actor = visitor.id();
    match console.run(move |admin| admin.unlock_all(actor)).await? {
        Ok(_) => Ok((Flash::FreezeLifted.cookie(), Redirect::to(DEVICES)).into_response()),
        // Somebody else was faster.
        Err(AdminError::NotLocked) => Ok(Redirect::to(DEVICES).into_response()),
        Err(other) => Err(other.into()),
    }
}
