//! `POST /v1/device/checkin`: a device reports, with its key alone. Works while it is locked or being wiped.

use super::{Shared, body};
use crate::devices;
use crate::refusal::Refusal;
use crate::worker::work;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;
use roundsman_protocol::ErrorCode;
use roundsman_protocol::api::{Checkin, CheckinAnswer};

pub(super) async fn post(
    State(api): State<Shared>,
    headers: HeaderMap,
    content: Result<Bytes, BytesRejection>,
) -> Result<Json<CheckinAnswer>, Refusal> {
    let report: Checkin = body(content)?;
    work(move || {
        let app = &api.app;
        let key = api.proofs.check(app, &headers, "/v1/device/checkin", None)?;
        let mut tx = app.storage.write()?;
        let mut device = tx.device_by_key(key.thumbprint())?.ok_or(ErrorCode::DeviceUnknown)?;
        let keys = app.keys(tx.as_ref())?;
        let answer = devices::check_in(tx.as_mut(), &keys, &mut device, &report, app.now())?;
        tx.commit()?;
        Ok(answer)
    })
    .await
    .map(Json)
}
