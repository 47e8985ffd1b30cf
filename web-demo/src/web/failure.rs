//! What a page is told when something can't be done: the core's own words, and a name that the page can act on.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use roundsman_core::Error;
use roundsman_core::vault::{PasscodeError, VaultError};
use serde::Serialize;

/// A refusal, as JSON.
#[derive(Debug, Serialize)]
pub(super) struct Failure {
    #[serde(skip)]
    status: StatusCode,
    /// What happened, for the page's script.
    code: &'static str,
    /// What happened, for the person.
    message: String,
}

impl Failure {
    pub(super) fn no_such_phone() -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            code: "not_found",
            message: "there is no such phone".to_owned(),
        }
    }

    /// The work was lost with its thread.
    pub(super) fn broken() -> Self {
        let message = "something went wrong in the demo; see its terminal".to_owned();
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, code: "broken", message }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (status, code) = match &error {
            Error::Locked => (StatusCode::LOCKED, "closed"),
            Error::Vault(VaultError::WrongPasscode { .. }) => (StatusCode::FORBIDDEN, "wrong_passcode"),
            Error::Vault(VaultError::Wait { .. }) => (StatusCode::TOO_MANY_REQUESTS, "wait"),
            Error::Vault(VaultError::Locked) => (StatusCode::LOCKED, "locked"),
            Error::Vault(VaultError::Wiping | VaultError::Wiped) => (StatusCode::GONE, "wiped"),
            Error::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Error::VisitInProgress { .. } => (StatusCode::CONFLICT, "visit_in_progress"),
            Error::Offline => (StatusCode::SERVICE_UNAVAILABLE, "offline"),
            Error::Rule(_) => (StatusCode::UNPROCESSABLE_ENTITY, "rule"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
        };
        Self { status, code, message: error.to_string() }
    }
}

impl From<PasscodeError> for Failure {
    fn from(error: PasscodeError) -> Self {
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, code: "weak_passcode", message: error.to_string() }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(self)).into_response()
    }
}
