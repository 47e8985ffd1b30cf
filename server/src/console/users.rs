//! The people: their roles, their territories, and their second factors.

use super::Console;
use super::devices::DeviceRow;
use super::enrol::{Code, keep, qr};
use super::flash::Flash;
use super::page::{PageError, Shell, Tab, render, sentence};
use super::visitor::{Guarded, Nothing, Visitor};
use crate::Secret;
use crate::admin::{AdminError, NewUser, UserView};
use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use chrono::Utc;
use roundsman_model::{Role, UserId};
use serde::Deserialize;
use std::time::Instant;
use uuid::Uuid;

#[derive(Template)]
#[template(path = "users.html")]
struct ListPage {
    shell: Shell,
    users: Vec<UserView>,
}

/// Every user.
pub(super) async fn list(State(console): State<Console>, visitor: Visitor) -> Result<Response, PageError> {
    let users = console.ask(crate::Admin::users).await?;
    render(&visitor, StatusCode::OK, &ListPage { shell: Shell::new(&console, &visitor, Tab::Users), users })
}

/// What was typed about a new user; the password apart, it is shown again after an error.
#[derive(Default, Deserialize)]
pub(super) struct UserForm {
    #[serde(default)]
    name: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    role: String,
    #[serde(default)]
    territories: String,
    #[serde(default)]
    password: String,
}

#[derive(Template)]
#[template(path = "user_new.html")]
struct NewPage {
    shell: Shell,
    form: UserForm,
    error: Option<String>,
}

/// The form for a new user.
pub(super) async fn new_page(
    State(console): State<Console>,
    visitor: Visitor,
) -> Result<Response, PageError> {
    let shell = Shell::new(&console, &visitor, Tab::Users);
    render(&visitor, StatusCode::OK, &NewPage { shell, form: UserForm::default(), error: None })
}

/// Adds a user; an administrator's second factor is shown next.
pub(super) async fn create(
    State(console): State<Console>,
    Guarded { visitor, mut form }: Guarded<UserForm>,
) -> Result<Response, PageError> {
    let role = match form.role.as_str() {
        "rep" => Role::Rep,
        "admin" => Role::Admin,
        _ => return Err(PageError::Malformed),
    };
    let password = Secret::new(std::mem::take(&mut form.password));
    let user = NewUser {
        email: form.email.trim().to_owned(),
        name: form.name.trim().to_owned(),
        role,
        territories: codes(&form.territories),
        password: (!password.expose().is_empty()).then_some(password),
    };
    let actor = visitor.id();
    match console.run(move |admin| admin.add_user(actor, user)).await? {
        Ok(id) if role == Role::Admin => new_second_factor(&console, &visitor, id).await,
        Ok(id) => {
            Ok((Flash::UserAdded.cookie(), Redirect::to(&format!("/console/users/{id}"))).into_response())
        }
        Err(error) => {
            let text = explained(error)?;
            let shell = Shell::new(&console, &visitor, Tab::Users);
            render(&visitor, StatusCode::UNPROCESSABLE_ENTITY, &NewPage { shell, form, error: Some(text) })
        }
    }
}

#[derive(Template)]
#[template(path = "user.html")]
struct DetailPage {
    shell: Shell,
    user: UserView,
    territories: String,
    devices: Vec<DeviceRow>,
    error: Option<String>,
}

/// One user.
pub(super) async fn detail(
    State(console): State<Console>,
    visitor: Visitor,
    Path(user): Path<Uuid>,
) -> Result<Response, PageError> {
    person(&console, &visitor, UserId(user), None).await
}

#[derive(Deserialize)]
pub(super) struct TerritoriesForm {
    #[serde(default)]
    territories: String,
}

/// Saves a user's territories.
pub(super) async fn set_territories(
    State(console): State<Console>,
    Path(user): Path<Uuid>,
    Guarded { visitor, form }: Guarded<TerritoriesForm>,
) -> Result<Response, PageError> {
    let (actor, user) = (visitor.id(), UserId(user));
    let wanted = codes(&form.territories);
    match console.run(move |admin| admin.set_territories(actor, user, wanted)).await? {
        Ok(()) => {
            let back = Redirect::to(&format!("/console/users/{user}"));
            Ok((Flash::TerritoriesSet.cookie(), back).into_response())
        }
        Err(error) => person(&console, &visitor, user, Some((form.territories, explained(error)?))).await,
    }
}

async fn person(
    console: &Console,
    visitor: &Visitor,
    id: UserId,
    typed: Option<(String, String)>,
) -> Result<Response, PageError> {
    let (users, devices) = console.ask(|admin| Ok((admin.users()?, admin.devices()?))).await?;
    let user = users.into_iter().find(|user| user.id == id).ok_or(PageError::NotFound)?;
    let now = Utc::now();
    let status = if typed.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let (territories, error) =
        typed.map_or_else(|| (user.territories.join(", "), None), |(typed, error)| (typed, Some(error)));
    let devices = devices.iter().filter(|device| device.user == id);
    let page = DetailPage {
        shell: Shell::new(console, visitor, Tab::Users),
        devices: devices.map(|device| DeviceRow::new(device, now)).collect(),
        user,
        territories,
        error,
    };
    render(visitor, status, &page)
}

/// Makes a new second factor for an administrator.
pub(super) async fn second_factor(
    State(console): State<Console>,
    Path(user): Path<Uuid>,
    Guarded { visitor, form: Nothing {} }: Guarded<Nothing>,
) -> Result<Response, PageError> {
    new_second_factor(&console, &visitor, UserId(user)).await
}

async fn new_second_factor(
    console: &Console,
    visitor: &Visitor,
    user: UserId,
) -> Result<Response, PageError> {
    let actor = visitor.id();
    let factor = console.ask(move |admin| admin.reset_second_factor(actor, user)).await?;
    let code = Code::SecondFactor { url: Secret::new(factor.url), secret: Secret::new(factor.secret) };
    let id = keep(console, visitor, code)?;
    Ok(Redirect::to(&format!("/console/users/{user}/second-factor/{id}")).into_response())
}

#[derive(Template)]
#[template(path = "second_factor.html")]
struct FactorPage {
    shell: Shell,
    user: UserView,
    qr: String,
    secret: String,
}

/// The second factor, to be scanned now.
pub(super) async fn show_second_factor(
    State(console): State<Console>,
    visitor: Visitor,
    Path((user, code)): Path<(Uuid, Uuid)>,
) -> Result<Response, PageError> {
    let found = console.codes.with(visitor.session, code, Instant::now(), |code| match code {
        Code::SecondFactor { url, secret } => Some((url.expose().to_owned(), secret.expose().to_owned())),
        Code::Ticket { .. } => None,
    });
    let (url, secret) = found.flatten().ok_or(PageError::NotFound)?;
    let users = console.ask(crate::Admin::users).await?;
    let user = users.into_iter().find(|known| known.id == UserId(user)).ok_or(PageError::NotFound)?;
    let shell = Shell::new(&console, &visitor, Tab::Users);
    let page = FactorPage { shell, user, qr: qr(&url, "Code for the authenticator app")?, secret };
    render(&visitor, StatusCode::OK, &page)
}

/// The codes in a list that was typed with commas.
fn codes(text: &str) -> Vec<String> {
    let mut codes: Vec<String> = text
        .split([',', ';', '\n'])
        .map(str::trim)
        .filter(|code| !code.is_empty())
        .map(str::to_owned)
        .collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

/// The sentence for a mistake in a form; anything else is a page of its own.
fn explained(error: AdminError) -> Result<String, PageError> {
    match error {
        AdminError::NotFound | AdminError::NotAllowed | AdminError::Keys | AdminError::Storage(_) => {
            Err(error.into())
        }
        mistake => Ok(sentence(&mistake)),
    }
}

#[cfg(test)]
mod tests {
    use super::codes;

    #[test]
    fn territories_are_read_as_people_list_them() {
        assert_eq!(codes(" NJ, NY ;PA,, NJ\nCT "), ["CT", "NJ", "NY", "PA"]);
        assert!(codes(" , ").is_empty());
    }
}
