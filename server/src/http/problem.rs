//! Refusals as HTTP answers: `application/problem+json` (RFC 9457).

use crate::refusal::Refusal;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use roundsman_protocol::{ErrorCode, Problem};

/// How long a client should wait that was turned away by a busy server, in seconds.
const BUSY_S: u64 = 5;

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Problem(problem) => response(problem),
            failure => {
                tracing::error!(error = ?failure, "a request failed");
                response(ErrorCode::Internal.into())
            }
        }
    }
}

/// The answer that carries a problem.
pub(super) fn response(problem: Problem) -> Response {
    let status = status(problem.code);
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let kind = HeaderValue::from_static("application/problem+json");
    let mut response = (status, [(header::CONTENT_TYPE, kind)], body).into_response();
    let headers = response.headers_mut();
    if let Some(seconds) = problem.retry_after_s.or((problem.code == ErrorCode::Busy).then_some(BUSY_S)) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    // RFC 9449 section 7.1 and RFC 9110 section 11.6.1: a 401 names the scheme it wants.
    let challenge = match problem.code {
        ErrorCode::UseDpopNonce => Some("DPoP error=\"use_dpop_nonce\""),
        ErrorCode::ProofInvalid | ErrorCode::SessionExpired => Some("DPoP error=\"invalid_dpop_proof\""),
        ErrorCode::TokenExpired | ErrorCode::TokenInvalid => Some("DPoP error=\"invalid_token\""),
        _ => None,
    };
    if let Some(challenge) = challenge {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    response
}

fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::Malformed => StatusCode::BAD_REQUEST,
        ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::NotFound | ErrorCode::TicketUnknown => StatusCode::NOT_FOUND,
        ErrorCode::TicketExpired
        | ErrorCode::TicketUsed
        | ErrorCode::EnrolmentExpired
        | ErrorCode::UpdateNeeded => StatusCode::GONE,
        ErrorCode::ProofInvalid
        | ErrorCode::UseDpopNonce
        | ErrorCode::SessionExpired
        | ErrorCode::TokenExpired
        | ErrorCode::TokenInvalid
        | ErrorCode::DeviceUnknown => StatusCode::UNAUTHORIZED,
        ErrorCode::DeviceBlocked | ErrorCode::ConfirmationNeeded | ErrorCode::EnrolmentRefused => {
            StatusCode::FORBIDDEN
        }
        ErrorCode::SeqGap | ErrorCode::CursorAhead | ErrorCode::ContentDiffers => StatusCode::CONFLICT,
        ErrorCode::Busy => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::RescueFull | ErrorCode::AttachmentsFull => StatusCode::INSUFFICIENT_STORAGE,
        // Also what a later protocol may add.
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
