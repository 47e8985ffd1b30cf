//! The overview: both phones side by side, and the way to the console.

use super::Shared;
use crate::World;
use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::response::Response;
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
