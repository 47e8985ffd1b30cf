//! The administrator's console: pages rendered on the server, for any browser, without a build step.
//!
//! What holds for every page: it needs a session (sign-in and the static files apart), carries a strict
//! content security policy, is never cached, and changes nothing on `GET`. Every form carries the session's
//! token against cross-site requests; [`visitor::Guarded`] is the only way a handler gets at a form, so the
//! check can't be left out. Pages read well without script; the one small script counts down and refreshes.
//!
//! Half-finished imports and enrolment codes are kept in memory on the instance that made them: behind a load
//! balancer the console needs sticky sessions.

mod alerts;
mod approvals;
mod assets;
mod audit;
mod commands;
mod condition;
mod conflicts;
mod customers;
mod devices;
mod enrol;
mod enrolments;
mod flash;
mod freeze;
mod headers;
mod import;
mod overview;
mod page;
mod photos;
mod removed;
mod rescue;
mod rules;
mod shelf;
mod show;
mod sign_in;
mod timeline;
mod users;
mod visitor;
mod visits;

#[cfg(test)]
mod tests;

use crate::admin::{Admin, AdminError};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::map_response;
use axum::response::Redirect;
use axum::routing::{any, get, post};
use page::PageError;
use shelf::Shelf;
use std::sync::Arc;

/// Where a signed-in administrator starts.
const HOME: &str = "/console";

/// The largest form, files apart: 64 KiB.
const MAX_FORM: usize = 64 * 1024;

/// What every page has at hand.
#[derive(Clone)]
struct Console {
    admin: Admin,
    imports: Arc<Shelf<import::Job>>,
    codes: Arc<Shelf<enrol::Code>>,
}

impl Console {
    /// Calls the administrator's hands on a thread that may block.
    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Admin) -> Result<T, AdminError> + Send + 'static,
    ) -> Result<T, PageError> {
        Ok(self.run(work).await??)
    }

    /// The same for calls whose refusal the page explains itself.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Admin) -> T + Send + 'static,
    ) -> Result<T, PageError> {
        let admin = self.admin.clone();
        tokio::task::spawn_blocking(move || work(&admin)).await.map_err(|_| PageError::Failed)
    }
}

/// The console's routes, all under `/console`, and a redirect from `/`.
pub(crate) fn router(admin: Admin) -> Router {
    let console = Console { admin, imports: Arc::default(), codes: Arc::default() };
    Router::new()
        .route("/", get(home))
        .route("/console/", get(home))
        .route("/console", get(overview::page))
        .route("/console/sign-in", get(sign_in::page).post(sign_in::submit))
        .route("/console/sign-out", post(sign_in::leave))
        .route("/console/devices", get(devices::list))
        .route("/console/freeze", get(freeze::page).post(freeze::lock))
        .route("/console/freeze/lift", post(freeze::lift))
        .route("/console/devices/{device}", get(devices::detail))
        .route("/console/devices/{device}/receipts/{list}/{index}", get(devices::receipt))
        .route("/console/devices/{device}/lock", get(commands::lock_page).post(commands::lock))
        .route("/console/devices/{device}/unlock", get(commands::unlock_page).post(commands::unlock))
        .route("/console/devices/{device}/wipe", get(commands::wipe_page).post(commands::wipe))
        .route("/console/devices/{device}/audit", get(audit::page))
        .route("/console/alerts", get(alerts::page))
        .route("/console/alerts/{alert}/seen", post(alerts::seen))
        .route("/console/rules", get(rules::page))
        .route("/console/approvals", get(approvals::page))
        .route("/console/approvals/{wipe}", post(approvals::approve))
        .route("/console/approvals/{wipe}/withdraw", post(approvals::withdraw))
        .route("/console/rescue", get(rescue::page).post(rescue::open))
        .route("/console/rescue/changes/{change}/take", post(rescue::take))
        .route("/console/rescue/changes/{change}/dismiss", post(rescue::dismiss))
        .route("/console/rescue/devices/{device}/take", post(rescue::take_all))
        .route("/console/enrol", get(enrol::choose).post(enrol::issue))
        .route("/console/enrol/{code}", get(enrol::show))
        .route("/console/enrolments", get(enrolments::page).post(enrolments::set))
        .route("/console/enrolments/{enrolment}/confirm", post(enrolments::confirm))
        .route("/console/enrolments/{enrolment}/refuse", post(enrolments::refuse))
        .route("/console/users", get(users::list))
        .route("/console/users/new", get(users::new_page).post(users::create))
        .route("/console/users/{user}", get(users::detail).post(users::set_territories))
        .route("/console/users/{user}/second-factor", post(users::second_factor))
        .route("/console/users/{user}/second-factor/{code}", get(users::show_second_factor))
        .route("/console/customers", get(customers::list).post(customers::search))
        .route(
            "/console/import",
            get(import::choose)
                .post(import::upload)
                .layer(DefaultBodyLimit::max(import::MAX_UPLOAD + MAX_FORM)),
        )
        .route("/console/import/{job}", get(import::show).post(import::start))
        .route("/console/visits", get(visits::list))
        .route("/console/visits/{visit}/photos", get(photos::of_visit))
        .route("/console/attachments/{attachment}", get(photos::content))
        .route("/console/attachments/{attachment}/thumbnail", get(photos::thumbnail))
        .route("/console/conflicts", get(conflicts::page))
        .route("/console/conflicts/{conflict}", post(conflicts::settle))
        .route("/console/customers/{customer}/remove", post(removed::remove))
        .route("/console/removed", get(removed::page))
        .route("/console/removed/{customer}/restore", post(removed::restore))
        .route("/console/removed/{customer}/erase", post(removed::erase))
        .route("/console/static/{file}", get(assets::file))
        .route("/console/{*rest}", any(missing))
        .method_not_allowed_fallback(wrong_method)
        .layer(map_response(headers::protect))
        .with_state(console)
}

async fn home() -> Redirect {
    Redirect::to(HOME)
}

async fn missing() -> PageError {
    PageError::NotFound
}

async fn wrong_method() -> PageError {
    PageError::WrongMethod
}
