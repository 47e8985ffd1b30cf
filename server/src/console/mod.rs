//! The administrator's console.

/// The console's routes.
pub fn router(admin: crate::admin::Admin) -> axum::Router {
    let _ = admin;
    axum::Router::new()
}
