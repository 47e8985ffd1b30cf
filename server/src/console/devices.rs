//! The devices: all of them, and one with its history and its proofs.

use super::Console;
use super::alerts::{self, AlertRow};
use super::condition::{Condition, Lease};
use super::freeze;
use super::page::{PageError, Shell, Tab, render};
use super::show::{self, Badge, When};
use super::timeline::{Proof, Timeline};
use super::visitor::Visitor;
use crate::admin::{ApprovalView, DeviceDetail, DeviceStatus, DeviceView, WipeProposal, WipeStanding};
use askama::Template;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use roundsman_model::DeviceId;
use uuid::Uuid;

/// A device as a row, or at the head of its page.
pub(super) struct DeviceRow {
    pub(super) id: DeviceId,
    pub(super) name: String,
    pub(super) owner: String,
    pub(super) owner_id: String,
    pub(super) platform: String,
    pub(super) badge: Badge,
    pub(super) seen: Option<When>,
    pub(super) unsent: u64,
    pub(super) core: String,
    pub(super) keys: &'static str,
    pub(super) hardware: bool,
    pub(super) enrolled: When,
    /// What the policy says of the phone's state, where that is more than nothing.
    pub(super) posture: Option<Badge>,
}

impl DeviceRow {
    pub(super) fn new(device: &DeviceView, now: DateTime<Utc>) -> Self {
        Self {
            id: device.id,
            name: device.name.clone(),
            owner: device.user_name.clone(),
            owner_id: device.user.to_string(),
            platform: show::platform(&device.platform),
            badge: show::device(device.state),
            seen: device.last_seen.map(|at| When::new(at, now)),
            // What a device without keys had not sent is handed over, or gone with it.
            unsent: if is_gone(device.state) { 0 } else { device.unsent },
            core: device.core.clone(),
            keys: if device.hardware_keys { "Hardware" } else { "Software" },
            hardware: device.hardware_keys,
            enrolled: When::new(device.enrolled_at, now),
            posture: device.posture.as_ref().and_then(|posture| show::posture(posture.verdict)),
        }
    }
}

#[derive(Template)]
#[template(path = "devices.html")]
struct ListPage {
    shell: Shell,
    rows: Vec<DeviceRow>,
    /// What is said of a freeze, if one is in force.
    frozen: Option<String>,
}

/// Every device.
pub(super) async fn list(State(console): State<Console>, visitor: Visitor) -> Result<Response, PageError> {
    let now = Utc::now();
    let (devices, freeze) = console.ask(|admin| Ok((admin.devices()?, admin.freeze()?))).await?;
    let rows = devices.iter().map(|device| DeviceRow::new(device, now)).collect();
    let frozen = freeze.map(|freeze| freeze::in_words(&freeze, now));
    let page = ListPage { shell: Shell::new(&console, &visitor, Tab::Devices), rows, frozen };
    render(&visitor, StatusCode::OK, &page)
}

/// A wipe that waits.
struct ProposedWipe {
    id: Uuid,
    title: &'static str,
    progress: String,
    proposed: String,
    approvals: Vec<String>,
    reason: String,
    discard_unsent: bool,
    one_person: bool,
}

impl ProposedWipe {
    fn new(wipe: &WipeProposal, now: DateTime<Utc>) -> Self {
        let clock = |at: DateTime<Utc>| When::new(at, now).full;
        let (title, progress) = match wipe.standing {
            WipeStanding::Held { until } => (
                "A wipe is held",
                format!(
                    "Many wipes were ordered at once. This one waits until {}, or for one approver more than usual.",
                    clock(until)
                ),
            ),
            WipeStanding::Waiting { until } => (
                "A wipe waits for approval",
                format!("{} of {} approvals, until {}.", wipe.approvals.len(), wipe.needed, clock(until)),
            ),
            WipeStanding::Approved => {
                ("A wipe is approved", "It is ordered with the device's next report.".to_owned())
            }
            WipeStanding::Ordered { .. } | WipeStanding::Withdrawn | WipeStanding::Expired => {
                ("A wipe was proposed", String::new())
            }
        };
        Self {
            id: wipe.id,
            title,
            progress,
            proposed: format!("Proposed by {}, {}", wipe.proposed_by, clock(wipe.proposed_at)),
            approvals: approvals(wipe, now),
            reason: wipe.reason.clone(),
            discard_unsent: wipe.discard_unsent,
            one_person: wipe.is_one_persons(),
        }
    }
}

fn approvals(wipe: &WipeProposal, now: DateTime<Utc>) -> Vec<String> {
    let line = |it: &ApprovalView| {
        format!("Approved by {} with key {}, {}", it.by, it.key, When::new(it.at, now).full)
    };
    wipe.approvals.iter().map(line).collect()
}

#[derive(Template)]
#[template(path = "device.html")]
struct DetailPage {
    shell: Shell,
    device: DeviceRow,
    meaning: &'static str,
    /// Whether its keys are destroyed.
    gone: bool,
    /// What was noticed about it and nobody has seen.
    alerts: Vec<AlertRow>,
    condition: Option<Condition>,
    lease: Option<Lease>,
    /// Whether the page should look again by itself, because something is about to happen.
    lively: bool,
    can_lock: bool,
    can_unlock: bool,
    can_wipe: bool,
    proposed: Option<ProposedWipe>,
    timelines: Vec<Timeline>,
    own: Vec<Proof>,
    /// Changes that it handed over and nobody has opened.
    sealed: u64,
    /// Photos that it handed over and nobody has opened.
    photos: u64,
    /// Changes that were rescued from it and wait for a decision.
    rescued: u64,
    /// What was found wrong with its audit log.
    audit_faults: usize,
}

/// One device.
pub(super) async fn detail(
    State(console): State<Console>,
    visitor: Visitor,
    Path(device): Path<Uuid>,
) -> Result<Response, PageError> {
    let detail = find(&console, device).await?;
    let about = detail.view.id;
    let (rescue, audit, terms, noticed) = console
        .ask(move |admin| {
            Ok((
                admin.rescue_standing(about)?,
                admin.audit_status(about)?,
                admin.lease_terms()?,
                admin.alerts(alerts::LISTED)?,
            ))
        })
        .await?;
    let now = Utc::now();
    let state = detail.view.state;
    let id = detail.view.id;
    let proof = |(index, receipt)| Proof::new(id, "own", index, receipt, now);
    let page = DetailPage {
        shell: Shell::new(&console, &visitor, Tab::Devices),
        device: DeviceRow::new(&detail.view, now),
        meaning: show::device_meaning(state),
        gone: is_gone(state),
        alerts: noticed
            .into_iter()
            .filter(|alert| alert.device == Some(about) && alert.seen.is_none())
            .map(|alert| AlertRow::new(alert, now))
            .collect(),
        condition: detail.view.posture.as_ref().map(Condition::new),
        lease: Lease::new(&detail.view, terms, now),
        lively: matches!(
            state,
            DeviceStatus::LockPending
                | DeviceStatus::UnlockGranted
                | DeviceStatus::WipePending
                | DeviceStatus::Shredded
        ) || detail.proposed.is_some(),
        can_lock: state.can_be_locked(),
        can_unlock: state.can_be_unlocked(),
        can_wipe: can_wipe(state) && detail.proposed.is_none(),
        proposed: detail.proposed.as_ref().map(|wipe| ProposedWipe::new(wipe, now)),
        timelines: detail
            .commands
            .iter()
            .rev()
            .map(|command| Timeline::new(id, command, &rescue, now))
            .collect(),
        own: detail.local_receipts.iter().enumerate().map(proof).collect(),
        sealed: rescue.sealed,
        photos: rescue.photos.sealed,
        rescued: rescue.to_review,
        audit_faults: audit.faults.len(),
    };
    render(&visitor, StatusCode::OK, &page)
}

/// A receipt's signed bytes, to check them elsewhere.
pub(super) async fn receipt(
    State(console): State<Console>,
    _visitor: Visitor,
    Path((device, list, index)): Path<(Uuid, String, usize)>,
) -> Result<Response, PageError> {
    let detail = find(&console, device).await?;
    let receipts = if list == "own" {
        &detail.local_receipts
    } else {
        let seq: u64 = list.parse().map_err(|_| PageError::NotFound)?;
        &detail.commands.iter().find(|command| command.seq == seq).ok_or(PageError::NotFound)?.receipts
    };
    let receipt = receipts.get(index).ok_or(PageError::NotFound)?;
    let bytes = STANDARD.decode(&receipt.raw_base64).map_err(|_| PageError::Failed)?;
    let name = format!("attachment; filename=\"receipt-{device}-{list}-{}.cbor\"", index + 1);
    let headers =
        [(header::CONTENT_TYPE, "application/cbor".to_owned()), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, bytes).into_response())
}

/// The device, or no such page.
pub(super) async fn find(console: &Console, device: Uuid) -> Result<DeviceDetail, PageError> {
    console.ask(move |admin| admin.device(DeviceId(device))).await?.ok_or(PageError::NotFound)
}

/// Whether its keys are destroyed.
pub(super) fn is_gone(state: DeviceStatus) -> bool {
    matches!(state, DeviceStatus::Shredded | DeviceStatus::Wiped)
}

pub(super) fn can_wipe(state: DeviceStatus) -> bool {
    !matches!(state, DeviceStatus::WipePending | DeviceStatus::Shredded | DeviceStatus::Wiped)
}
