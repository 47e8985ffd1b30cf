//! `GET /v1/root`: which keys the organisation trusts.

use super::Shared;
use axum::Json;
use axum::extract::State;
use roundsman_protocol::api::RootAnswer;

pub(super) async fn get(State(api): State<Shared>) -> Json<RootAnswer> {
    Json(RootAnswer { root: api.app.keys.root_envelope.clone() })
}
