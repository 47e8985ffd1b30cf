//! Signing in and out.

use super::page::{PageError, plain, sentence};
use super::visitor::{
    Guarded, Nothing, Visitor, no_session_cookie, own_cookie, same, session_cookie, session_token,
};
use super::{Console, HOME, assets};
use crate::Secret;
use crate::admin::SignInError;
use askama::Template;
use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum_extra::extract::cookie::CookieJar;
use serde::Deserialize;

/// Holds the form's token while there is no session yet: without it another site could sign a visitor in
/// under the other's name.
const BEFORE: &str = "__Host-roundsman-form";

#[derive(Template)]
#[template(path = "sign_in.html")]
struct Page {
    version: &'static str,
    org: String,
    csrf: String,
    email: String,
    error: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Credentials {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    code: String,
}

/// The form; whoever is signed in goes straight on.
pub(super) async fn page(
    State(console): State<Console>,
    visitor: Result<Visitor, PageError>,
    jar: CookieJar,
) -> Result<Response, PageError> {
    if visitor.is_ok() {
        return Ok(Redirect::to(HOME).into_response());
    }
    form(&console, &jar, StatusCode::OK, String::new(), None)
}

/// Signs in.
pub(super) async fn submit(
    State(console): State<Console>,
    jar: CookieJar,
    Form(form_data): Form<Credentials>,
) -> Result<Response, PageError> {
    let Credentials { csrf, email, password, code } = form_data;
    let password = Secret::new(password);
    if !same(jar.get(BEFORE).map_or("", |cookie| cookie.value()), &csrf) {
        return Err(PageError::Forged);
    }
    let code: String = code.chars().filter(char::is_ascii_digit).collect();
    let asked = email.trim().to_owned();
    let outcome = console.run(move |admin| admin.sign_in(&asked, &password, &code)).await?;
    let error = match outcome {
        Ok(session) => {
            let jar = CookieJar::new().add(session_cookie(session.token));
            return Ok((jar, Redirect::to(HOME)).into_response());
        }
        Err(error) => error,
    };
    let (status, text) = match error {
        SignInError::WrongCredentials | SignInError::WrongCode => {
            // Which of the three was wrong helps a guesser more than an administrator.
            (
                StatusCode::UNAUTHORIZED,
                "Email, password or code is wrong. A code can be used only once.".into(),
            )
        }
        SignInError::Throttled { seconds } => {
            let minutes = seconds.div_ceil(60).max(1);
            (StatusCode::TOO_MANY_REQUESTS, format!("Too many attempts. Try again in {minutes} min."))
        }
        SignInError::NotAdmin => (StatusCode::FORBIDDEN, sentence(&error)),
        SignInError::Failed(error) => return Err(error.into()),
    };
    form(&console, &jar, status, email, Some(text))
}

/// Signs out.
pub(super) async fn leave(
    State(console): State<Console>,
    jar: CookieJar,
    _form: Guarded<Nothing>,
) -> Result<Response, PageError> {
    if let Some(token) = session_token(&jar) {
        console.ask(move |admin| admin.sign_out(&token)).await?;
    }
    Ok((CookieJar::new().add(no_session_cookie()), Redirect::to("/console/sign-in")).into_response())
}

fn form(
    console: &Console,
    jar: &CookieJar,
    status: StatusCode,
    email: String,
    error: Option<String>,
) -> Result<Response, PageError> {
    let known = jar.get(BEFORE).map(|cookie| cookie.value().to_owned()).filter(|token| token.len() == 43);
    let csrf = match known {
        Some(token) => token,
        None => fresh_token()?,
    };
    let org = console.admin.org_name().to_owned();
    let page = plain(&Page { version: assets::version(), org, csrf: csrf.clone(), email, error })?;
    Ok((status, CookieJar::new().add(own_cookie(BEFORE, csrf)), page).into_response())
}

fn fresh_token() -> Result<String, PageError> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|_| PageError::Failed)?;
    Ok(roundsman_protocol::b64::encode(random))
}
