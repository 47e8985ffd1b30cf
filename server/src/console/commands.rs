//! Locking and unlocking a device and proposing to wipe it, each after a page that says what will happen.

use super::Console;
use super::devices::{DeviceRow, can_wipe, find};
use super::flash::Flash;
use super::page::{PageError, Shell, Tab, render, sentence};
use super::show;
use super::visitor::{Guarded, Visitor};
use crate::admin::{AdminError, DeviceView};
use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use chrono::Utc;
use roundsman_model::DeviceId;
use serde::Deserialize;
use uuid::Uuid;

/// What is asked of a device.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    Lock,
    Unlock,
    Wipe,
}

#[derive(Template)]
#[template(path = "command.html")]
struct Page {
    shell: Shell,
    act: Act,
    device: DeviceRow,
    unsent: String,
    reason: String,
    error: Option<String>,
    /// How many approvers a wipe takes.
    approvers: u8,
}

impl Act {
    fn allowed(self, device: &DeviceView) -> bool {
        match self {
            Self::Lock => device.state.can_be_locked(),
            Self::Unlock => device.state.can_be_unlocked(),
            Self::Wipe => can_wipe(device.state),
        }
    }
}

/// The lock's page.
pub(super) async fn lock_page(
    State(console): State<Console>,
    visitor: Visitor,
    Path(device): Path<Uuid>,
) -> Result<Response, PageError> {
    confirm(&console, &visitor, device, Act::Lock, Refusal::none()).await
}

/// The unlock's page.
pub(super) async fn unlock_page(
    State(console): State<Console>,
    visitor: Visitor,
    Path(device): Path<Uuid>,
) -> Result<Response, PageError> {
    confirm(&console, &visitor, device, Act::Unlock, Refusal::none()).await
}

/// The wipe's page.
pub(super) async fn wipe_page(
    State(console): State<Console>,
    visitor: Visitor,
    Path(device): Path<Uuid>,
) -> Result<Response, PageError> {
    confirm(&console, &visitor, device, Act::Wipe, Refusal::none()).await
}

#[derive(Deserialize)]
pub(super) struct LockForm {
    #[serde(default)]
    reason: String,
}

/// Locks.
pub(super) async fn lock(
    State(console): State<Console>,
    Path(device): Path<Uuid>,
    Guarded { visitor, form }: Guarded<LockForm>,
) -> Result<Response, PageError> {
    let actor = visitor.id();
    let reason = form.reason.trim().to_owned();
    let asked = reason.clone();
    let outcome = console.run(move |admin| admin.lock(actor, DeviceId(device), &asked)).await?;
    answer(&console, &visitor, device, Act::Lock, reason, outcome).await
}

#[derive(Deserialize)]
pub(super) struct UnlockForm {}

/// Grants an unlock.
pub(super) async fn unlock(
    State(console): State<Console>,
    Path(device): Path<Uuid>,
    Guarded { visitor, form: UnlockForm {} }: Guarded<UnlockForm>,
) -> Result<Response, PageError> {
    let actor = visitor.id();
    let outcome = console.run(move |admin| admin.unlock(actor, DeviceId(device))).await?;
    answer(&console, &visitor, device, Act::Unlock, String::new(), outcome).await
}

#[derive(Deserialize)]
pub(super) struct WipeForm {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    name: String,
    /// A ticked box: unsent work is destroyed too.
    #[serde(default)]
    discard_unsent: bool,
}

/// Proposes a wipe, if the device's name was typed. Approvers order it.
pub(super) async fn wipe(
    State(console): State<Console>,
    Path(device): Path<Uuid>,
    Guarded { visitor, form }: Guarded<WipeForm>,
) -> Result<Response, PageError> {
    let WipeForm { reason, name, discard_unsent } = form;
    let reason = reason.trim().to_owned();
    let view = find(&console, device).await?.view;
    if name.trim() != view.name.trim() {
        let text = "The name you typed is not this device's name. Nothing was changed.".to_owned();
        let refusal = Refusal { status: StatusCode::UNPROCESSABLE_ENTITY, reason, error: Some(text) };
        return confirm(&console, &visitor, device, Act::Wipe, refusal).await;
    }
    let actor = visitor.id();
    let asked = reason.clone();
    let propose = move |admin: &crate::Admin| {
        admin.propose_wipe(actor, DeviceId(device), &asked, discard_unsent).map(|_| ())
    };
    let outcome = console.run(propose).await?;
    answer(&console, &visitor, device, Act::Wipe, reason, outcome).await
}

/// What a confirmation page says about the attempt before, if there was one.
struct Refusal {
    status: StatusCode,
    reason: String,
    error: Option<String>,
}

impl Refusal {
    fn none() -> Self {
        Self { status: StatusCode::OK, reason: String::new(), error: None }
    }
}

async fn answer(
    console: &Console,
    visitor: &Visitor,
    device: Uuid,
    act: Act,
    reason: String,
    outcome: Result<(), AdminError>,
) -> Result<Response, PageError> {
    let error = match outcome {
        Ok(()) => {
            let flash = match act {
                Act::Lock => Flash::Locked,
                Act::Unlock => Flash::UnlockGranted,
                Act::Wipe => Flash::WipeProposed,
            };
            let home = Redirect::to(&format!("/console/devices/{device}"));
            return Ok((flash.cookie(), home).into_response());
        }
        Err(error) => error,
    };
    let status = match error {
        AdminError::WipeProposed => StatusCode::CONFLICT,
        AdminError::ReasonMissing => StatusCode::UNPROCESSABLE_ENTITY,
        other => return Err(other.into()),
    };
    let error = Some(format!("{} Nothing was changed.", sentence(&error)));
    confirm(console, visitor, device, act, Refusal { status, reason, error }).await
}

async fn confirm(
    console: &Console,
    visitor: &Visitor,
    device: Uuid,
    act: Act,
    refusal: Refusal,
) -> Result<Response, PageError> {
    let view = find(console, device).await?.view;
    if !act.allowed(&view) {
        return Ok(Redirect::to(&format!("/console/devices/{device}")).into_response());
    }
    let approvers = console.ask(|admin| Ok(admin.root()?.approver_threshold)).await?;
    let page = Page {
        shell: Shell::new(console, visitor, Tab::Devices),
        act,
        approvers,
        unsent: show::counted(view.unsent, "change"),
        device: DeviceRow::new(&view, Utc::now()),
        reason: refusal.reason,
        error: refusal.error,
    };
    render(visitor, refusal.status, &page)
}
