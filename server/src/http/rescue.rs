//! `POST /v1/device/rescue` and `POST /v1/device/rescue/photos/{file}/{offset}`: a device hands unsent work and unsent
//! photos over, with its key alone. Works while it is locked, being wiped, or wiped.

use super::{Shared, bytes};
use crate::attachments::{self, PhotoPart};
use crate::refusal::Refusal;
use crate::rescue;
use crate::worker::work;
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use roundsman_protocol::ErrorCode;
use roundsman_protocol::attachment::UploadAnswer;
use roundsman_protocol::rescue::RescueAnswer;
use roundsman_protocol::rescue_photo::path;
use uuid::Uuid;

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

pub(super) async fn photo(
    State(api): State<Shared>,
    place: Result<Path<(Uuid, u64)>, PathRejection>,
    headers: HeaderMap,
    content: Result<Bytes, BytesRejection>,
) -> Result<Json<UploadAnswer>, Refusal> {
    let Path((file, offset)) = place.map_err(|_| ErrorCode::NotFound)?;
    let raw = bytes(content)?;
    let app = std::sync::Arc::clone(&api.app);
    let part = work(move || {
        let key = api.proofs.check(&api.app, &headers, &path(file, offset), None)?;
        Ok(PhotoPart { key, file, offset, raw })
    })
    .await?;
    attachments::take_photo(&app, part).await.map(Json)
}
