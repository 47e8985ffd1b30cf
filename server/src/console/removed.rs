//! Customers that were removed, and how they come back.

use super::Console;
use super::flash::Flash;
use super::page::{PageError, Shell, Tab, render, sentence};
use super::show::When;
use super::visitor::{Guarded, Nothing, Visitor};
use crate::admin::{AdminError, RemovedView};
use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// How many of the latest are shown.
const LIMIT: usize = 100;

struct Row {
    id: Uuid,
    name: String,
    code: String,
    territory: String,
    by: String,
    at: When,
    until: String,
}

impl Row {
    fn new(removed: RemovedView, now: DateTime<Utc>) -> Self {
        Self {
            id: removed.customer.id,
            name: removed.customer.name,
            code: removed.customer.code,
            territory: removed.customer.territory,
            by: removed.by,
            at: When::new(removed.at, now),
            until: removed.until.format("%-d %b %Y").to_string(),
        }
    }
}

#[derive(Template)]
#[template(path = "removed.html")]
struct Page {
    shell: Shell,
    rows: Vec<Row>,
    error: Option<String>,
}

/// The customers that can be brought back.
pub(super) async fn page(State(console): State<Console>, visitor: Visitor) -> Result<Response, PageError> {
    show_page(&console, &visitor, StatusCode::OK, None).await
}

async fn show_page(
    console: &Console,
    visitor: &Visitor,
    status: StatusCode,
    error: Option<String>,
) -> Result<Response, PageError> {
    let now = Utc::now();
    let found = console.ask(|admin| admin.removed_customers(LIMIT)).await?;
    let rows = found.into_iter().map(|removed| Row::new(removed, now)).collect();
    render(visitor, status, &Page { shell: Shell::new(console, visitor, Tab::Customers), rows, error })
}

/// Removes a customer.
pub(super) async fn remove(
    State(console): State<Console>,
    Path(customer): Path<Uuid>,
    Guarded { visitor, form: Nothing {} }: Guarded<Nothing>,
) -> Result<Response, PageError> {
    let actor = visitor.id();
    console.ask(move |admin| admin.remove_customer(actor, customer)).await?;
    Ok((Flash::CustomerRemoved.cookie(), Redirect::to("/console/removed")).into_response())
}

/// Brings one back.
pub(super) async fn restore(
    State(console): State<Console>,
    Path(customer): Path<Uuid>,
    Guarded { visitor, form: Nothing {} }: Guarded<Nothing>,
) -> Result<Response, PageError> {
    let actor = visitor.id();
    match console.run(move |admin| admin.restore_customer(actor, customer)).await? {
        Ok(()) => Ok((Flash::CustomerRestored.cookie(), Redirect::to("/console/removed")).into_response()),
        Err(error @ AdminError::Rule(_)) => {
            show_page(&console, &visitor, StatusCode::CONFLICT, Some(sentence(&error))).await
        }
        Err(error) => Err(error.into()),
    }
}

/// Erases one for good.
pub(super) async fn erase(
    State(console): State<Console>,
    Path(customer): Path<Uuid>,
    Guarded { visitor, form: Nothing {} }: Guarded<Nothing>,
) -> Result<Response, PageError> {
    let actor = visitor.id();
    console.ask(move |admin| admin.erase_customer(actor, customer)).await?;
    Ok((Flash::CustomerErased.cookie(), Redirect::to("/console/removed")).into_response())
}
