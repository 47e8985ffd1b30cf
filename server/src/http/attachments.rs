//! `POST` and `GET /v1/attachments/{id}/content/{offset}`: the content of attachments, part by part.
//! `GET /v1/attachments/{id}/thumbnail`: a small picture of it.

use super::proof::access_token;
use super::{Shared, bytes};
use crate::attachments::{self, Given, Part};
use crate::refusal::Refusal;
use crate::worker::work;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use roundsman_protocol::ErrorCode;
use roundsman_protocol::attachment::{UploadAnswer, path, thumbnail_path};
use uuid::Uuid;

type Place = Result<Path<(Uuid, u64)>, PathRejection>;

pub(super) async fn post(
    State(api): State<Shared>,
    place: Place,
    headers: HeaderMap,
    content: Result<Bytes, BytesRejection>,
) -> Result<Json<UploadAnswer>, Refusal> {
    let Path((attachment, offset)) = place.map_err(|_| ErrorCode::NotFound)?;
    let bytes = bytes(content)?;
    let app = std::sync::Arc::clone(&api.app);
    let part = work(move || {
        let access = access_token(&headers)?;
        let key = api.proofs.check(&api.app, &headers, &path(attachment, offset), Some(access))?;
        Ok(Part { key, access: access.to_owned(), attachment, offset, bytes })
    })
    .await?;
    attachments::take(&app, part).await.map(Json)
}

pub(super) async fn get(
    State(api): State<Shared>,
    place: Place,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let Path((attachment, offset)) = place.map_err(|_| ErrorCode::NotFound)?;
    let given = work(move || {
        let access = access_token(&headers)?;
        let path = path(attachment, offset);
        let key = api.proofs.check_method("GET", &api.app, &headers, &path, Some(access))?;
        attachments::give(&api.app, &key, access, attachment, offset)
    })
    .await?;
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    let length = (header::CONTENT_LENGTH, HeaderValue::from(given.left()));
    Ok(([kind, length], body(given)).into_response())
}

pub(super) async fn thumbnail(
    State(api): State<Shared>,
    place: Result<Path<Uuid>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let Path(attachment) = place.map_err(|_| ErrorCode::NotFound)?;
    let app = std::sync::Arc::clone(&api.app);
    let (key, access) = work(move || {
        let access = access_token(&headers)?;
        let path = thumbnail_path(attachment);
        let key = api.proofs.check_method("GET", &api.app, &headers, &path, Some(access))?;
        Ok((key, access.to_owned()))
    })
    .await?;
    let jpeg = attachments::thumbnail(&app, key, access, attachment).await?;
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("image/jpeg"));
    Ok(([kind], jpeg.to_vec()).into_response())
}

/// Read as fast as the client takes it, one part at a time.
fn body(given: Given) -> Body {
    Body::from_stream(stream::try_unfold(given, |mut given| async move {
        Ok::<_, Refusal>(given.next().await?.map(|part| (part, given)))
    }))
}
