//! `GET /v1/root`: which keys the organisation trusts now.

use super::Shared;
use crate::refusal::Refusal;
use crate::worker::work;
use axum::Json;
use axum::extract::State;
use roundsman_protocol::api::RootAnswer;

pub(super) async fn get(State(api): State<Shared>) -> Result<Json<RootAnswer>, Refusal> {
    work(move || {
        let tx = api.app.storage.read()?;
        Ok(RootAnswer { root: api.app.keys(tx.as_ref())?.root_envelope.clone() })
    })
    .await
    .map(Json)
}
