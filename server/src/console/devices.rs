//! The devices: all of them, and one with its history and its proofs.

use super::Console;
use super::page::{PageError, Shell, Tab, render};
use super::show::{self, Badge, When};
use super::visitor::Visitor;
use crate::admin::{
    ApprovalView, CommandView, DeviceDetail, DeviceStatus, DeviceView, ReceiptView, WipeProposal,
    WipeStanding,
};
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
            unsent: device.unsent,
            core: device.core.clone(),
            keys: if device.hardware_keys { "Hardware" } else { "Software" },
            hardware: device.hardware_keys,
            enrolled: When::new(device.enrolled_at, now),
        }
    }
}

#[derive(Template)]
#[template(path = "devices.html")]
struct ListPage {
    shell: Shell,
    rows: Vec<DeviceRow>,
}

/// Every device.
pub(super) async fn list(State(console): State<Console>, visitor: Visitor) -> Result<Response, PageError> {
    let now = Utc::now();
    let devices = console.ask(crate::Admin::devices).await?;
    let rows = devices.iter().map(|device| DeviceRow::new(device, now)).collect();
    let page = ListPage { shell: Shell::new(&console, &visitor, Tab::Devices), rows };
    render(&visitor, StatusCode::OK, &page)
}

/// One stage of a command's way.
struct Stage {
    /// `done`, `waiting` or `failed`.
    look: &'static str,
    title: &'static str,
    note: String,
    at: Option<When>,
    receipt: Option<Proof>,
}

/// A receipt to look at.
struct Proof {
    title: &'static str,
    verified: bool,
    at: When,
    received: When,
    details: Vec<(String, String)>,
    href: String,
}

/// A command's way from the console to the proof.
struct Timeline {
    title: &'static str,
    tone: &'static str,
    number: u64,
    reason: String,
    superseded: bool,
    stages: Vec<Stage>,
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
    let (waiting, rescued, audit) = console
        .ask(move |admin| {
            Ok((admin.rescue_waiting()?, admin.rescued_count(Some(about))?, admin.audit_status(about)?))
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
        lively: matches!(
            state,
            DeviceStatus::LockPending
                | DeviceStatus::UnlockGranted
                | DeviceStatus::WipePending
                | DeviceStatus::Shredded
        ) || detail.proposed.is_some(),
        can_lock: can_lock(state),
        can_unlock: can_unlock(state),
        can_wipe: can_wipe(state) && detail.proposed.is_none(),
        proposed: detail.proposed.as_ref().map(|wipe| ProposedWipe::new(wipe, now)),
        timelines: detail.commands.iter().rev().map(|command| Timeline::new(id, command, now)).collect(),
        own: detail.local_receipts.iter().enumerate().map(proof).collect(),
        sealed: waiting.iter().find(|waiting| waiting.device == about).map_or(0, |waiting| waiting.changes),
        rescued,
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

pub(super) fn can_lock(state: DeviceStatus) -> bool {
    matches!(state, DeviceStatus::Active | DeviceStatus::UnlockGranted)
}

pub(super) fn can_unlock(state: DeviceStatus) -> bool {
    matches!(state, DeviceStatus::LockPending | DeviceStatus::SoftLocked | DeviceStatus::Locked)
}

pub(super) fn can_wipe(state: DeviceStatus) -> bool {
    !matches!(state, DeviceStatus::WipePending | DeviceStatus::Shredded | DeviceStatus::Wiped)
}

impl Proof {
    fn new(
        device: DeviceId,
        list: impl std::fmt::Display,
        index: usize,
        receipt: &ReceiptView,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            title: progress(&receipt.progress),
            verified: receipt.verified,
            at: When::new(receipt.at, now),
            received: When::new(receipt.received_at, now),
            details: receipt.details.clone(),
            href: format!("/console/devices/{device}/receipts/{list}/{index}"),
        }
    }
}

fn progress(name: &str) -> &'static str {
    match name {
        "soft_locked" => "Locked, release key still on the device",
        "locked" => "Locked",
        "unlocked" => "Unlocked",
        "shredded" => "Keys destroyed",
        "complete" => "Files removed",
        "refused" => "Refused by the device",
        _ => "Receipt",
    }
}

impl Timeline {
    fn new(device: DeviceId, command: &CommandView, now: DateTime<Utc>) -> Self {
        let (title, tone, expected): (_, _, &[_]) = match command.kind.as_str() {
            "lock" => ("Lock", "amber", &["locked"]),
            "unlock" => ("Unlock", "green", &["unlocked"]),
            "wipe" => ("Wipe", "red", &["shredded", "complete"]),
            _ => ("Command", "grey", &[]),
        };
        let mut stages = Vec::new();
        if let Some(wipe) = &command.order {
            stages.push(Stage {
                look: "done",
                title: "Proposed",
                note: format!("by {}", wipe.proposed_by),
                at: Some(When::new(wipe.proposed_at, now)),
                receipt: None,
            });
            stages.extend(wipe.approvals.iter().map(|it| Stage {
                look: "done",
                title: "Approved",
                note: format!("by {} with key {}", it.by, it.key),
                at: Some(When::new(it.at, now)),
                receipt: None,
            }));
        }
        let note = match &command.order {
            Some(wipe) if wipe.is_one_persons() => "one person is enough in this organisation".to_owned(),
            Some(wipe) => format!("{} approvers were needed", wipe.needed),
            None => format!("by {}", command.issued_by),
        };
        stages.extend([
            Stage {
                look: "done",
                title: "Ordered",
                note,
                at: Some(When::new(command.issued_at, now)),
                receipt: None,
            },
            Stage {
                look: if command.delivered_at.is_some() { "done" } else { "waiting" },
                title: "Delivered to the device",
                note: if command.delivered_at.is_some() {
                    String::new()
                } else {
                    "waits for the device to come online".to_owned()
                },
                at: command.delivered_at.map(|at| When::new(at, now)),
                receipt: None,
            },
        ]);
        let mut came: Vec<&str> = Vec::new();
        for (index, receipt) in command.receipts.iter().enumerate() {
            came.push(&receipt.progress);
            let failed = receipt.progress == "refused" || !receipt.verified;
            stages.push(Stage {
                look: if failed { "failed" } else { "done" },
                title: progress(&receipt.progress),
                note: String::new(),
                at: Some(When::new(receipt.at, now)),
                receipt: Some(Proof::new(device, command.seq, index, receipt, now)),
            });
        }
        let missing = expected.iter().filter(|name| !came.contains(name));
        if !command.superseded && !came.contains(&"refused") {
            stages.extend(missing.map(|name| Stage {
                look: "waiting",
                title: progress(name),
                note: "waits for the device's receipt".to_owned(),
                at: None,
                receipt: None,
            }));
        }
        let proved = |name: &&str| command.receipts.iter().any(|it| it.verified && it.progress == **name);
        if !expected.is_empty() && expected.iter().all(proved) {
            stages.push(Stage {
                look: "done",
                title: "Complete",
                note: "every step is proved by a receipt signed with the device's key".to_owned(),
                at: None,
                receipt: None,
            });
        }
        Self {
            title,
            tone,
            number: command.seq,
            reason: command.reason.clone(),
            superseded: command.superseded,
            stages,
        }
    }
}
