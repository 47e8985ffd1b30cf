//! The visits that were made.

use super::Console;
use super::page::{PageError, Shell, Tab, render};
use super::show::{self, Badge, When};
use super::visitor::Visitor;
use crate::admin::VisitView;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// How many of the latest are shown.
const LIMIT: usize = 100;

/// A visit as a row.
pub(super) struct VisitRow {
    pub(super) id: Uuid,
    pub(super) customer: String,
    pub(super) rep: String,
    pub(super) badge: Badge,
    pub(super) started: Option<When>,
    pub(super) day: String,
    pub(super) took: Option<String>,
    pub(super) verdict: Option<Badge>,
    pub(super) distance: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) notes: Option<String>,
    pub(super) next_step: Option<String>,
    pub(super) photos: usize,
}

impl VisitRow {
    pub(super) fn new(visit: &VisitView, now: DateTime<Utc>) -> Self {
        Self {
            id: visit.id,
            customer: visit.customer_name.clone(),
            rep: visit.rep_name.clone(),
            badge: show::visit(visit.state, visit.outcome),
            started: visit.started_at.map(|at| When::new(at, now)),
            day: visit.day.format("%-d %b %Y").to_string(),
            took: visit.started_at.zip(visit.ended_at).map(|(start, end)| show::duration(end - start)),
            verdict: visit.verdict.map(show::verdict),
            distance: visit.distance_m.map(show::distance),
            reason: visit.reason.clone(),
            notes: visit.notes.clone(),
            next_step: visit.next_step.clone(),
            photos: visit.attachments,
        }
    }
}

#[derive(Template)]
#[template(path = "visits.html")]
struct VisitsPage {
    shell: Shell,
    rows: Vec<VisitRow>,
}

/// The latest visits.
pub(super) async fn list(State(console): State<Console>, visitor: Visitor) -> Result<Response, PageError> {
    let now = Utc::now();
    let visits = console.ask(|admin| admin.recent_visits(LIMIT)).await?;
    let rows = visits.iter().map(|visit| VisitRow::new(visit, now)).collect();
    render(&visitor, StatusCode::OK, &VisitsPage { shell: Shell::new(&console, &visitor, Tab::Visits), rows })
}
