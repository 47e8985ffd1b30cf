//! The edits that collided, and what becomes of the values that lost.

use super::Console;
use super::flash::Flash;
use super::page::{PageError, Shell, Tab, render, sentence};
use super::show::{self, When};
use super::visitor::{Guarded, Visitor};
use crate::admin::{AdminError, ConflictView, Settlement};
use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, Utc};
use roundsman_model::{Kind, Value, entity};
use serde::Deserialize;
use uuid::Uuid;

/// How many of the latest are shown.
const LIMIT: usize = 100;

struct Row {
    id: Uuid,
    entity: String,
    customer: String,
    field: String,
    kept: String,
    /// What stands by now, if that is another value.
    now: Option<String>,
    lost: String,
    rule: &'static str,
    winner: String,
    loser: String,
    at: When,
}

impl Row {
    fn new(conflict: ConflictView, now: DateTime<Utc>) -> Self {
        let value = |value| show::value(&conflict.entity, &conflict.field, value);
        Self {
            id: conflict.id,
            entity: show::field(&conflict.entity),
            field: show::field(&conflict.field),
            kept: value(&conflict.kept),
            now: (conflict.now != conflict.kept).then(|| value(&conflict.now)),
            lost: value(&conflict.lost),
            rule: conflict.rule.map_or("a rule of a newer version", show::rule),
            at: When::new(conflict.at, now),
            customer: conflict.customer_name,
            winner: conflict.winner,
            loser: conflict.loser,
        }
    }
}

#[derive(Template)]
#[template(path = "conflicts.html")]
struct Page {
    shell: Shell,
    rows: Vec<Row>,
    error: Option<String>,
}

/// Those that nobody has settled.
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
    let found = console.ask(|admin| admin.conflicts(LIMIT)).await?;
    let rows = found.into_iter().map(|conflict| Row::new(conflict, now)).collect();
    render(visitor, status, &Page { shell: Shell::new(console, visitor, Tab::Conflicts), rows, error })
}

/// What was decided.
#[derive(Deserialize)]
pub(super) struct Decision {
    choice: String,
    #[serde(default)]
    value: String,
}

/// Settles one.
pub(super) async fn settle(
    State(console): State<Console>,
    Path(conflict): Path<Uuid>,
    Guarded { visitor, form }: Guarded<Decision>,
) -> Result<Response, PageError> {
    let settlement = match form.choice.as_str() {
        "keep" => Settlement::Keep,
        "lost" => Settlement::TakeLost,
        "other" => {
            let known =
                console.ask(move |admin| admin.conflict(conflict)).await?.ok_or(PageError::NotFound)?;
            let Some(value) = typed(&known, form.value.trim()) else {
                let said = "That is no value for this field. Nothing was changed.".to_owned();
                return show_page(&console, &visitor, StatusCode::UNPROCESSABLE_ENTITY, Some(said)).await;
            };
            Settlement::Write(value)
        }
        _ => return Err(PageError::Malformed),
    };
    let actor = visitor.id();
    match console.run(move |admin| admin.settle_conflict(actor, conflict, settlement)).await? {
        Ok(()) => Ok((Flash::ConflictSettled.cookie(), Redirect::to("/console/conflicts")).into_response()),
        Err(error @ AdminError::Rule(_)) => {
            let said = format!("{} Nothing was changed.", sentence(&error));
            show_page(&console, &visitor, StatusCode::UNPROCESSABLE_ENTITY, Some(said)).await
        }
        Err(AdminError::NotFound) => {
            let said = "It was settled already, or its record is gone.".to_owned();
            show_page(&console, &visitor, StatusCode::CONFLICT, Some(said)).await
        }
        Err(error) => Err(error.into()),
    }
}

/// What was typed, as the field holds it. Nothing typed empties the field.
fn typed(conflict: &ConflictView, text: &str) -> Option<Value> {
    if text.is_empty() {
        return Some(Value::Null);
    }
    let kind = entity(&conflict.entity)?.field(&conflict.field)?.kind;
    match kind {
        Kind::Bool => text.parse().ok().map(Value::Bool),
        Kind::Int | Kind::Time => text.parse().ok().map(Value::Int),
        Kind::Real => text.parse().ok().map(Value::Real),
        Kind::Set => Some(Value::set(text.split(',').map(|word| word.trim().to_owned()))),
        Kind::Text | Kind::Id | Kind::Date | Kind::Choice(_) => Some(Value::from(text)),
    }
}
