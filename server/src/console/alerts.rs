//! Alerts: what was noticed, what to do about it, and the note that somebody has seen it.

use super::Console;
use super::flash::Flash;
use super::page::{PageError, Shell, Tab, render, sentence};
use super::show::{Badge, When};
use super::visitor::{Guarded, Nothing, Visitor};
use crate::admin::{AlertKind, AlertView};
use crate::verify::FindingKind;
use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, Utc};
use roundsman_model::DeviceId;
use uuid::Uuid;

/// Alerts on the page.
pub(super) const LISTED: usize = 200;

/// An alert in words.
pub(super) struct AlertRow {
    pub(super) id: Uuid,
    pub(super) badge: Badge,
    pub(super) what: String,
    /// What an administrator does next.
    pub(super) next: &'static str,
    pub(super) detail: String,
    pub(super) device: Option<(DeviceId, String)>,
    pub(super) at: When,
    /// Who has seen it, and when.
    pub(super) seen: Option<(String, When)>,
}

impl AlertRow {
    pub(super) fn new(alert: AlertView, now: DateTime<Utc>) -> Self {
        let badge = match alert.kind {
            AlertKind::Copied | AlertKind::StoreWentBack | AlertKind::TokenReuse => {
                Badge { tone: "red", text: "Device locked" }
            }
            AlertKind::BootsAlternate
            | AlertKind::DataDiffers
            // Nothing is lost by it.
            | AlertKind::Found(FindingKind::Search)
            | AlertKind::TurnMissing
            | AlertKind::Posture
            | AlertKind::RootExpires
            | AlertKind::WipeBreaker => Badge { tone: "amber", text: "Look" },
            AlertKind::AuditLog
            | AlertKind::EnrolmentRefused
            | AlertKind::Found(_)
            | AlertKind::Receipt
            | AlertKind::Withheld
            | AlertKind::WipeVoid => Badge { tone: "red", text: "Act" },
        };
        Self {
            id: alert.id,
            badge,
            what: sentence(&alert.kind.words()),
            next: next(alert.kind),
            detail: if alert.detail.is_empty() { String::new() } else { sentence(&alert.detail) },
            device: alert.device.zip(alert.device_name),
            at: When::new(alert.at, now),
            seen: alert.seen.map(|(by, at)| (by, When::new(at, now))),
        }
    }
}

/// What to do about it.
fn next(kind: AlertKind) -> &'static str {
    match kind {
        AlertKind::Copied | AlertKind::TokenReuse => {
            "Ask the rep where the phone is. In the right hands: unlock it here. Otherwise propose a wipe."
        }
        AlertKind::StoreWentBack => {
            "Ask the rep whether a backup of the phone was put back. If so, unlock it here; otherwise propose a wipe."
        }
        AlertKind::BootsAlternate | AlertKind::TurnMissing => {
            "Have the rep show the phone. If there is any doubt, lock it and enrol it anew."
        }
        AlertKind::Withheld => "Have the rep use another network: this one may stand in the way.",
        AlertKind::DataDiffers => {
            "Once is no harm: a disk may fail. If it comes again or stays, replace the phone, and tell the makers of the app."
        }
        AlertKind::Found(kind) => kind.advice(),
        AlertKind::Posture => "Have the rep put the phone right; it opens again with its next report.",
        AlertKind::Receipt => "Don't believe what this device reports. Treat it as lost.",
        AlertKind::WipeBreaker => {
            "Make sure that each of them is meant. They go on by themselves, or with one approver more."
        }
        AlertKind::WipeVoid => "Propose the wipe anew, and have the present approvers sign it.",
        AlertKind::AuditLog => "Look at its audit log, lock the device, and have it shown.",
        AlertKind::EnrolmentRefused => {
            "Ask the rep who else has seen the code. Issue another one where nobody else sees the screen."
        }
        AlertKind::RootExpires => {
            "Run `roundsman-server root renew` with the root key. Devices take no new keys from a root that has expired."
        }
    }
}

#[derive(Template)]
#[template(path = "alerts.html")]
struct Page {
    shell: Shell,
    fresh: Vec<AlertRow>,
    seen: Vec<AlertRow>,
}

/// All of them, those that nobody has seen first.
pub(super) async fn page(State(console): State<Console>, visitor: Visitor) -> Result<Response, PageError> {
    let alerts = console.ask(|admin| admin.alerts(LISTED)).await?;
    let now = Utc::now();
    let rows = alerts.into_iter().map(|alert| AlertRow::new(alert, now));
    let (fresh, seen) = rows.partition(|row| row.seen.is_none());
    render(
        &visitor,
        StatusCode::OK,
        &Page { shell: Shell::new(&console, &visitor, Tab::Alerts), fresh, seen },
    )
}

/// Notes that the administrator has seen it.
pub(super) async fn seen(
    State(console): State<Console>,
    Path(alert): Path<Uuid>,
    Guarded { visitor, form: Nothing {} }: Guarded<Nothing>,
) -> Result<Response, PageError> {
    let actor = visitor.id();
    console.ask(move |admin| admin.acknowledge(actor, alert)).await?;
    Ok((Flash::AlertSeen.cookie(), Redirect::to("/console/alerts")).into_response())
}
