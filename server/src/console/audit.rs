//! A device's audit log.

use super::Console;
use super::devices::find;
use super::page::{PageError, Shell, Tab, render, sentence};
use super::show::{self, Badge, When};
use super::visitor::Visitor;
use crate::admin::AuditEntryView;
use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use roundsman_model::DeviceId;
use serde::Deserialize;
use uuid::Uuid;

/// Entries on a page.
const PAGE: usize = 100;

struct Row {
    seq: u64,
    action: String,
    actor: String,
    record: String,
    entity: String,
    at: When,
    proof: Badge,
}

struct Fault {
    text: String,
    seq: u64,
    at: When,
}

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    shell: Shell,
    device: DeviceId,
    name: String,
    entries: String,
    stored: Option<When>,
    faults: Vec<Fault>,
    rows: Vec<Row>,
    /// Whether this is not the first page.
    later: bool,
    next: Option<u64>,
}

#[derive(Deserialize)]
pub(super) struct Place {
    before: Option<u64>,
}

/// The log, the latest entry first.
pub(super) async fn page(
    State(console): State<Console>,
    visitor: Visitor,
    Path(device): Path<Uuid>,
    Query(place): Query<Place>,
) -> Result<Response, PageError> {
    let view = find(&console, device).await?.view;
    let id = view.id;
    let before = place.before;
    let (status, mut entries) = console
        .ask(move |admin| Ok((admin.audit_status(id)?, admin.audit_entries(id, before, PAGE + 1)?)))
        .await?;
    let now = Utc::now();
    let more = entries.len() > PAGE;
    entries.truncate(PAGE);
    let page = AuditPage {
        shell: Shell::new(&console, &visitor, Tab::Devices),
        device: id,
        name: view.name,
        entries: if status.entries == 1 {
            "1 entry".to_owned()
        } else {
            format!("{} entries", show::count(status.entries))
        },
        stored: status.stored_at.map(|at| When::new(at, now)),
        faults: status
            .faults
            .iter()
            .map(|fault| Fault {
                text: sentence(&fault.kind),
                seq: fault.seq,
                at: When::new(DateTime::from_timestamp_millis(fault.at_ms).unwrap_or_default(), now),
            })
            .collect(),
        next: if more { entries.last().map(|entry| entry.seq) } else { None },
        rows: entries.into_iter().map(|entry| Row::new(entry, status.signed, now)).collect(),
        later: before.is_some(),
    };
    render(&visitor, StatusCode::OK, &page)
}

impl Row {
    fn new(entry: AuditEntryView, signed: u64, now: DateTime<Utc>) -> Self {
        // Whatever is stored is countersigned in the same moment; the device's signature comes with its last entry.
        let proof = if entry.seq <= signed {
            Badge { tone: "green", text: "Signed and countersigned" }
        } else {
            Badge { tone: "grey", text: "Countersigned" }
        };
        Self {
            seq: entry.seq,
            action: show::field(&entry.action),
            actor: entry.actor,
            record: entry.customer_name,
            entity: entry.entity.map(|entity| show::field(&entity)).unwrap_or_default(),
            at: When::new(entry.at, now),
            proof,
        }
    }
}
