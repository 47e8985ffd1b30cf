//! The device's side of the server over HTTP: one file for each group of endpoints.

mod attachments;
mod checkin;
mod enrol;
mod health;
mod known;
mod poke;
mod problem;
mod proof;
mod rescue;
mod root;
mod sessions;
mod sync;
mod token;

use crate::app::App;
use crate::poke::Seats;
use crate::refusal::Refusal;
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use known::KnownTokens;
use proof::Proofs;
use roundsman_protocol::ErrorCode;
use roundsman_protocol::rescue_photo::MAX_SIGNED_PART;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// The most bytes of a JSON body.
const MAX_JSON: usize = 1024 * 1024;

/// The most bytes of a compressed sync request.
const MAX_SYNC: usize = 8 * 1024 * 1024;

/// The most bytes of a segment of unsent work: the largest one, its signature and their lengths.
const MAX_RESCUE: usize = roundsman_protocol::rescue::MAX_SEGMENT + 256;

/// The most bytes of a part of an attachment's content.
const MAX_PART: usize = roundsman_protocol::attachment::PART as usize;

/// How many requests of devices may be worked on at a time; more are told to wait.
const MAX_REQUESTS: usize = 512;

/// How long a request's body may take to arrive and be worked on. The answer's body is not counted.
const REQUEST: Duration = Duration::from_secs(30);

/// What the endpoints share.
pub(crate) struct Api {
    app: Arc<App>,
    proofs: Proofs,
    known: KnownTokens,
    slots: Semaphore,
    seats: Arc<Seats>,
}

type Shared = Arc<Api>;

/// The routes under `/v1`, and the probes.
pub(crate) fn router(app: Arc<App>, seats: Arc<Seats>, nonce_key: Zeroizing<[u8; 32]>) -> Router {
    let proofs = Proofs::new(nonce_key);
    let api = Arc::new(Api {
        app,
        proofs,
        known: KnownTokens::default(),
        slots: Semaphore::new(MAX_REQUESTS),
        seats,
    });
    let v1 = Router::new()
        .route("/v1/root", get(root::get))
        .route("/v1/enrol", post(enrol::post))
        .route("/v1/enrol/begin", post(enrol::begin))
        .route("/v1/enrol/finish", post(enrol::finish))
        .route("/v1/token", post(token::post))
        .route("/v1/device/checkin", post(checkin::post))
        .route("/v1/poke", post(poke::post))
        .layer(DefaultBodyLimit::max(MAX_JSON))
        .route("/v1/device/rescue", post(rescue::post).layer(DefaultBodyLimit::max(MAX_RESCUE)))
        .route(
            "/v1/device/rescue/photos/{file}/{offset}",
            post(rescue::photo).layer(DefaultBodyLimit::max(MAX_SIGNED_PART)),
        )
        .route("/v1/sync", post(sync::post).layer(DefaultBodyLimit::max(MAX_SYNC)))
        .route(
            "/v1/attachments/{id}/content/{offset}",
            post(attachments::post).get(attachments::get).layer(DefaultBodyLimit::max(MAX_PART)),
        )
        .route("/v1/attachments/{id}/thumbnail", get(attachments::thumbnail))
        .layer(middleware::from_fn_with_state(Arc::clone(&api), guard))
        .with_state(Arc::clone(&api));
    let probes = Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .with_state(api);
    v1.merge(probes)
}

/// Turns too many requests away, ends those that take too long, and gives every answer the nonce for the next
/// proof.
async fn guard(State(api): State<Shared>, request: Request, next: Next) -> Response {
    let mut response = match api.slots.try_acquire() {
        Ok(_slot) => match tokio::time::timeout(REQUEST, next.run(request)).await {
            Ok(response) => response,
            Err(_) => problem::response(ErrorCode::Busy.into()),
        },
        Err(_) => problem::response(ErrorCode::Busy.into()),
    };
    if let Ok(nonce) = HeaderValue::try_from(api.proofs.nonce(api.app.now())) {
        response.headers_mut().insert("dpop-nonce", nonce);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.into_response()
}

/// A body's bytes.
fn bytes(content: Result<Bytes, BytesRejection>) -> Result<Bytes, Refusal> {
    content.map_err(|rejection| {
        let too_large = rejection.status() == StatusCode::PAYLOAD_TOO_LARGE;
        if too_large { ErrorCode::TooLarge } else { ErrorCode::Malformed }.into()
    })
}

/// A body of JSON.
fn body<T: DeserializeOwned>(content: Result<Bytes, BytesRejection>) -> Result<T, Refusal> {
    serde_json::from_slice(&bytes(content)?).map_err(|_| ErrorCode::Malformed.into())
}
