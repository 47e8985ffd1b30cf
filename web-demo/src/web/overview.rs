//! The overview: both phones side by side, and the way to the console.

use super::Shared;
use crate::World;
use askama::Template;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview<'a> {
    world: &'a World,
}

pub(super) async fn page(State(world): Shared) -> Response {
    super::page(&Overview { world: &world })
}

/// What changes while the overview is open.
#[derive(Serialize)]
pub(super) struct Facts {
    code: String,
    code_holds_s: u64,
}

pub(super) async fn facts(State(world): Shared) -> Json<Facts> {
    let (code, code_holds_s) = world.sign_in().code();
    Json(Facts { code, code_holds_s })
}

/// A key file of the people in the demo, to keep.
pub(super) async fn key(State(world): Shared, Path(file): Path<String>) -> Response {
    match world.offered_key(&file) {
        Some(text) => {
            let name = format!("attachment; filename=\"{file}\"");
            (
                [
                    (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
                    (header::CONTENT_DISPOSITION, name),
                ],
                text,
            )
                .into_response()
        }
        None => (StatusCode::NOT_FOUND, "there is no such key\n").into_response(),
    }
}
