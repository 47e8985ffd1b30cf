//! The demo's pages: an overview with both phones, and a page for each phone.
//!
//! Everything a page shows comes from the core of its phone; the pages only lay it out.

mod actions;
mod failure;
mod guard;
mod overview;
mod screens;
mod views;

use crate::World;
use crate::phone::Phone;
use anyhow::{Context, Result};
use askama::Template;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, serve};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub(crate) type Shared = State<Arc<World>>;

/// The pages while they are served. Dropping it ends them.
pub struct Pages {
    url: String,
    work: JoinSet<()>,
}

impl Pages {
    /// Serves the pages on this port of the loopback address, 0 for any that is free, and keeps the phones in touch
    /// with their server.
    ///
    /// # Errors
    /// The port is in use.
    pub async fn serve(world: Arc<World>, port: u16) -> Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("can't listen on {address}: choose another port with --port"))?;
        let port = listener.local_addr()?.port();
        let mut work = JoinSet::new();
        for phone in world.phones() {
            work.spawn(Arc::clone(phone).stay_in_touch());
        }
        let router = router(world, guard::Names::of_port(port));
        work.spawn(async move {
            // Ends only with the listener.
            let _ = serve(listener, router).await;
        });
        Ok(Self { url: format!("http://127.0.0.1:{port}"), work })
    }

    /// Where they are: `http://127.0.0.1:7070`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops serving.
    pub async fn stop(mut self) {
        self.work.shutdown().await;
    }
}

fn router(world: Arc<World>, names: guard::Names) -> Router {
    let phone = Router::new()
        .route("/", get(phone_page))
        .route("/api/state", get(screens::state))
        .route("/api/events", get(screens::events))
        .route("/api/round", get(screens::round))
        .route("/api/customers", get(screens::customers))
        .route("/api/customers/{id}", get(screens::customer))
        .route("/api/visits/{id}", get(screens::visit))
        .route("/api/outbox", get(screens::outbox))
        .route("/api/enrol", post(actions::enrol))
        .route("/api/unlock", post(actions::unlock))
        .route("/api/lock", post(actions::lock))
        .route("/api/passcode", post(actions::passcode))
        .route("/api/passcode/judge", post(actions::judge))
        .route("/api/airplane", post(actions::airplane))
        .route("/api/sync", post(actions::sync))
        .route("/api/customers/{id}/start", post(actions::start))
        .route("/api/visits/{id}/check-in", post(actions::check_in))
        .route("/api/visits/{id}/write", post(actions::write))
        .route("/api/visits/{id}/check-out", post(actions::check_out))
        .route("/api/visits/{id}/miss", post(actions::miss))
        .route("/api/outbox/{seq}/resend", post(actions::resend))
        .route("/api/outbox/{seq}/discard", post(actions::discard))
        .route("/api/conflicts/{id}/dismiss", post(actions::dismiss));
    Router::new()
        .route("/", get(overview::page))
        .route("/api/overview", get(overview::facts))
        .route("/keys/{file}", get(overview::key))
        .route("/static/{file}", get(asset))
        .nest("/phone/{number}", phone)
        .layer(from_fn_with_state(names, guard::guard))
        .with_state(world)
}

#[derive(Template)]
#[template(path = "phone.html")]
struct PhonePage {
    number: usize,
}

async fn phone_page(State(world): Shared, Path(number): Path<usize>) -> Response {
    match world.phone(number) {
        Some(phone) => page(&PhonePage { number: phone.number() }),
        None => (StatusCode::NOT_FOUND, "there is no such phone\n").into_response(),
    }
}

fn page(template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => Html(html).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn asset(Path(file): Path<String>) -> Response {
    const CSS: &str = "text/css; charset=utf-8";
    const JS: &str = "text/javascript; charset=utf-8";
    let (kind, text) = match file.as_str() {
        "phone.css" => (CSS, include_str!("../../static/phone.css")),
        "phone.js" => (JS, include_str!("../../static/phone.js")),
        "ui.js" => (JS, include_str!("../../static/ui.js")),
        "screens.js" => (JS, include_str!("../../static/screens.js")),
        "overview.css" => (CSS, include_str!("../../static/overview.css")),
        "overview.js" => (JS, include_str!("../../static/overview.js")),
        "mark.svg" => ("image/svg+xml", include_str!("../../static/mark.svg")),
        _ => return (StatusCode::NOT_FOUND, "there is no such file\n").into_response(),
    };
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

/// The phone that a request is for.
fn phone(world: &World, number: usize) -> Result<Arc<Phone>, failure::Failure> {
    world.phone(number).cloned().ok_or_else(failure::Failure::no_such_phone)
}
