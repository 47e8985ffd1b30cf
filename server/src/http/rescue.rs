//! `POST /v1/device/rescue`: a device hands unsent work over, with its key alone. Works while it is locked, being
//! wiped, or wiped.

use super::{Shared, bytes, work};
use crate::refusal::Refusal;
use crate::rescue;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;
use roundsman_protocol::ErrorCode;
use roundsman_protocol::rescue::RescueAnswer;

pub(super) async fn post(
    State(api): State<Shared>,
    headers: HeaderMap,
    content: Result<Bytes, BytesRejection>,
) -> Result<Json<RescueAnswer>, Refusal> {
    let content = bytes(content)?;
    work(move || {
        let app = &api.app;
        let key = api.proofs.check(app, &headers, "/v1/device/rescue", None)?;
        let now = app.now();
        let mut tx = app.storage.write()?;
        let device = tx.device_by_key(key.thumbprint())?.ok_or(ErrorCode::DeviceUnknown)?;
        let keys = app.keys(tx.as_ref())?;
        rescue::forget_old(tx.as_mut(), now)?;
        let answer = rescue::take_in(tx.as_mut(), &keys, &device, &content, now)?;
        tx.commit()?;
        Ok(answer)
    })
    .await
    .map(Json)
}
