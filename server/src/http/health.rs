//! Probes: `/healthz` answers while the process lives, `/readyz` while the database can be read.

use super::Shared;
use axum::extract::State;
use axum::http::StatusCode;
use std::sync::Arc;

pub(super) async fn alive() -> &'static str {
    "alive\n"
}

pub(super) async fn ready(State(api): State<Shared>) -> (StatusCode, &'static str) {
    let app = Arc::clone(&api.app);
    let read =
        tokio::task::spawn_blocking(move || app.storage.read()?.root_version().map(|root| root.is_some()));
    match read.await {
        Ok(Ok(true)) => (StatusCode::OK, "ready\n"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
    }
}
