//! Wipes that wait for approval, and the signatures that order them.
//!
//! An approver's key stays in the approver's hands: a script reads its file and signs in the browser, and what is sent
//! is the signature. Without script, the bytes can be signed elsewhere.

use super::Console;
use super::flash::Flash;
use super::page::{PageError, Shell, Tab, render, sentence};
use super::show::When;
use super::visitor::{Guarded, Nothing, Visitor};
use crate::admin::{AdminError, WipeProposal, WipeStanding};
use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, Utc};
use roundsman_model::DeviceId;
use roundsman_protocol::b64;
use roundsman_protocol::envelope::Domain;
use roundsman_protocol::keys::KeyId;
use serde::Deserialize;
use uuid::Uuid;

const HOME: &str = "/console/approvals";

struct Row {
    id: Uuid,
    device: DeviceId,
    name: String,
    user: String,
    reason: String,
    discard: bool,
    by: String,
    at: When,
    progress: String,
    approvals: Vec<String>,
    standing: String,
    /// Whether one person is enough.
    alone: bool,
    /// What approvers sign, in base64url.
    message: String,
}

impl Row {
    fn new(wipe: &WipeProposal, now: DateTime<Utc>) -> Self {
        let clock = |at| When::new(at, now).full;
        Self {
            id: wipe.id,
            device: wipe.device,
            name: wipe.device_name.clone(),
            user: wipe.user_name.clone(),
            reason: wipe.reason.clone(),
            discard: wipe.discard_unsent,
            by: wipe.proposed_by.clone(),
            at: When::new(wipe.proposed_at, now),
            progress: format!("{} of {}", wipe.approvals.len(), wipe.needed),
            approvals: wipe
                .approvals
                .iter()
                .map(|it| format!("by {} with key {}, {}", it.by, it.key, clock(it.at)))
                .collect(),
            standing: match wipe.standing {
                WipeStanding::Waiting { until } => format!("waits until {}", clock(until)),
                WipeStanding::Held { until } => format!(
                    "held until {}, as many wipes were ordered just before; one approver more lets it go on",
                    clock(until)
                ),
                WipeStanding::Approved => "approved; ordered with the device's next report".to_owned(),
                WipeStanding::Ordered { at } => format!("ordered {}", clock(at)),
                WipeStanding::Withdrawn => "taken back".to_owned(),
                WipeStanding::Expired => "not approved in time".to_owned(),
            },
            alone: wipe.is_one_persons(),
            message: b64::encode(Domain::WipeOrder.message(&wipe.payload)),
        }
    }
}

#[derive(Template)]
#[template(path = "approvals.html")]
struct Page {
    shell: Shell,
    error: Option<String>,
    rows: Vec<Row>,
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
    let wipes = console.ask(crate::Admin::wipe_proposals).await?;
    let now = Utc::now();
    let rows = wipes.iter().map(|wipe| Row::new(wipe, now)).collect();
    render(visitor, status, &Page { shell: Shell::new(console, visitor, Tab::Approvals), error, rows })
}

#[derive(Deserialize)]
pub(super) struct Approval {
    #[serde(default)]
    key: String,
    #[serde(default)]
    signature: String,
}

/// Takes a signature.
pub(super) async fn approve(
    State(console): State<Console>,
    Path(wipe): Path<Uuid>,
    Guarded { visitor, form }: Guarded<Approval>,
) -> Result<Response, PageError> {
    let key = bytes(&form.key).map(KeyId);
    let Some((key, signature)) = key.zip(bytes::<64>(&form.signature)) else {
        let error = "A key's name has 32 bytes and a signature 64, in base64url. Nothing was changed.";
        return show_page(&console, &visitor, StatusCode::UNPROCESSABLE_ENTITY, Some(error.to_owned())).await;
    };
    match console.run(move |admin| admin.approve_wipe(wipe, key, &signature)).await? {
        Ok(wipe) => {
            let ordered = matches!(wipe.standing, WipeStanding::Ordered { .. });
            let flash = if ordered { Flash::WipeOrdered } else { Flash::WipeApproved };
            let next = if ordered { format!("/console/devices/{}", wipe.device) } else { HOME.to_owned() };
            Ok((flash.cookie(), Redirect::to(&next)).into_response())
        }
        Err(error) => refuse(&console, &visitor, error).await,
    }
}

fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    b64::decode(text.trim())?.try_into().ok()
}

/// Takes a proposal back.
pub(super) async fn withdraw(
    State(console): State<Console>,
    Path(wipe): Path<Uuid>,
    Guarded { visitor, form: Nothing {} }: Guarded<Nothing>,
) -> Result<Response, PageError> {
    let actor = visitor.id();
    match console.run(move |admin| admin.withdraw_wipe(actor, wipe)).await? {
        Ok(()) => Ok((Flash::WipeWithdrawn.cookie(), Redirect::to(HOME)).into_response()),
        Err(error) => refuse(&console, &visitor, error).await,
    }
}

async fn refuse(console: &Console, visitor: &Visitor, error: AdminError) -> Result<Response, PageError> {
    let status = match error {
        AdminError::NotAnApprover | AdminError::SignatureWrong => StatusCode::FORBIDDEN,
        AdminError::AlreadyApproved | AdminError::ProposalClosed => StatusCode::CONFLICT,
        other => return Err(other.into()),
    };
    let error = Some(format!("{} Nothing was changed.", sentence(&error)));
    show_page(console, visitor, status, error).await
}
