//! Enrolling a device, and other codes that are shown to one person for a few minutes.

use super::Console;
use super::page::{PageError, Shell, Tab, render};
use super::show::When;
use super::visitor::{Guarded, Visitor};
use crate::Secret;
use crate::admin::UserView;
use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, Utc};
use qrcode::QrCode;
use qrcode::render::svg;
use roundsman_model::UserId;
use serde::Deserialize;
use std::time::Instant;
use uuid::Uuid;

/// A secret that a page shows as a QR code, for a short time and to one session.
pub(super) enum Code {
    /// A ticket for a device.
    Ticket { text: Secret, owner: String, expires: DateTime<Utc> },
    /// A second factor for an authenticator app.
    SecondFactor { url: Secret, secret: Secret },
}

#[derive(Template)]
#[template(path = "enrol.html")]
struct ChoosePage {
    shell: Shell,
    users: Vec<UserView>,
    chosen: Option<UserId>,
}

impl ChoosePage {
    fn is_chosen(&self, user: &UserView) -> bool {
        self.chosen == Some(user.id)
    }
}

#[derive(Deserialize)]
pub(super) struct Choice {
    user: Option<Uuid>,
}

/// Whose device it will be.
pub(super) async fn choose(
    State(console): State<Console>,
    visitor: Visitor,
    Query(choice): Query<Choice>,
) -> Result<Response, PageError> {
    let users = console.ask(crate::Admin::users).await?;
    let page = ChoosePage {
        shell: Shell::new(&console, &visitor, Tab::Devices),
        users,
        chosen: choice.user.map(UserId),
    };
    render(&visitor, StatusCode::OK, &page)
}

#[derive(Deserialize)]
pub(super) struct IssueForm {
    user: Uuid,
}

/// Issues a ticket and goes to the page that shows it.
pub(super) async fn issue(
    State(console): State<Console>,
    Guarded { visitor, form }: Guarded<IssueForm>,
) -> Result<Response, PageError> {
    let (actor, user) = (visitor.id(), UserId(form.user));
    let (users, ticket) =
        console.ask(move |admin| Ok((admin.users()?, admin.issue_ticket(actor, user)?))).await?;
    let owner = users.into_iter().find(|known| known.id == user).map_or_else(String::new, |known| known.name);
    let code = Code::Ticket { text: Secret::new(ticket.text), owner, expires: ticket.expires_at };
    let id = keep(&console, &visitor, code)?;
    Ok(Redirect::to(&format!("/console/enrol/{id}")).into_response())
}

/// Puts a code where its page finds it.
pub(super) fn keep(console: &Console, visitor: &Visitor, code: Code) -> Result<Uuid, PageError> {
    console.codes.put(visitor.session, Instant::now(), code).map_err(|_| PageError::Busy)
}

#[derive(Template)]
#[template(path = "ticket.html")]
struct TicketPage {
    shell: Shell,
    owner: String,
    text: String,
    qr: String,
    expires: When,
    left: String,
    expired: bool,
    /// Whether digits are compared before the device is let in.
    confirms: bool,
}

/// The ticket, as long as it holds.
pub(super) async fn show(
    State(console): State<Console>,
    visitor: Visitor,
    Path(code): Path<Uuid>,
) -> Result<Response, PageError> {
    let found = console.codes.with(visitor.session, code, Instant::now(), |code| match code {
        Code::Ticket { text, owner, expires } => Some((text.expose().to_owned(), owner.clone(), *expires)),
        Code::SecondFactor { .. } => None,
    });
    let (text, owner, expires) = found.flatten().ok_or(PageError::NotFound)?;
    let confirms = console.ask(crate::Admin::confirms_enrolments).await?;
    let now = Utc::now();
    let minutes = (expires - now).num_seconds().max(0).unsigned_abs().div_ceil(60);
    let page = TicketPage {
        shell: Shell::new(&console, &visitor, Tab::Devices),
        owner,
        qr: qr(&text, "Enrolment code")?,
        text,
        expires: When::new(expires, now),
        left: format!("{minutes} min"),
        expired: expires <= now,
        confirms,
    };
    render(&visitor, StatusCode::OK, &page)
}

/// A QR code as an `<svg>` element to stand in a page. `label` must be plain words.
pub(super) fn qr(text: &str, label: &str) -> Result<String, PageError> {
    let code = QrCode::new(text).map_err(|_| PageError::Failed)?;
    let drawing = code.render::<svg::Color<'_>>().module_dimensions(1, 1).build();
    let element = drawing.find("<svg").and_then(|start| drawing.get(start + 4..)).ok_or(PageError::Failed)?;
    Ok(format!("<svg class=\"qr\" role=\"img\" aria-label=\"{label}\"{element}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_qr_code_is_an_element_that_needs_no_inline_style() {
        let svg = qr("RM1:ABC", "Enrolment code").unwrap_or_default();
        assert!(svg.starts_with("<svg class=\"qr\" role=\"img\" aria-label=\"Enrolment code\" xmlns"));
        assert!(svg.ends_with("</svg>") && !svg.contains("style") && !svg.contains("<?xml"));
    }
}
