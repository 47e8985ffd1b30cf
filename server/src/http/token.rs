//! `POST /v1/token`: a device renews its tokens.

use super::{Shared, body};
use crate::refusal::Refusal;
use crate::tokens;
use crate::worker::work;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;
use roundsman_protocol::api::{TokenRequest, Tokens};

pub(super) async fn post(
    State(api): State<Shared>,
    headers: HeaderMap,
    content: Result<Bytes, BytesRejection>,
) -> Result<Json<Tokens>, Refusal> {
    let request: TokenRequest = body(content)?;
    work(move || {
        let key = api.proofs.check(&api.app, &headers, "/v1/token", None)?;
        tokens::refresh(&api.app, &key, &request)
    })
    .await
    .map(Json)
}
