//! `POST /v1/enrol`: a new device asks to be let in, at once or in two steps with a person's confirmation.

use super::{Shared, body};
use crate::enrolment;
use crate::refusal::Refusal;
use crate::worker::work;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;
use roundsman_protocol::api::{EnrolAnswer, EnrolRequest};
use roundsman_protocol::enrolment::{BeginAnswer, BeginRequest, FinishAnswer, FinishRequest};

pub(super) async fn post(
    State(api): State<Shared>,
    headers: HeaderMap,
    content: Result<Bytes, BytesRejection>,
) -> Result<Json<EnrolAnswer>, Refusal> {
    let request: EnrolRequest = body(content)?;
    work(move || {
        let key = api.proofs.check(&api.app, &headers, "/v1/enrol", None)?;
        enrolment::enrol(&api.app, key, &request)
    })
    .await
    .map(Json)
}

pub(super) async fn begin(
    State(api): State<Shared>,
    headers: HeaderMap,
    content: Result<Bytes, BytesRejection>,
) -> Result<Json<BeginAnswer>, Refusal> {
    let request: BeginRequest = body(content)?;
    work(move || {
        let key = api.proofs.check(&api.app, &headers, "/v1/enrol/begin", None)?;
        enrolment::begin(&api.app, key, &request)
    })
    .await
    .map(Json)
}

pub(super) async fn finish(
    State(api): State<Shared>,
    headers: HeaderMap,
    content: Result<Bytes, BytesRejection>,
) -> Result<Json<FinishAnswer>, Refusal> {
    let request: FinishRequest = body(content)?;
    work(move || {
        let key = api.proofs.check(&api.app, &headers, "/v1/enrol/finish", None)?;
        enrolment::finish(&api.app, &key, &request)
    })
    .await
    .map(Json)
}
