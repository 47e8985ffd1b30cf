//! The way to the server: HTTPS with pinned keys, and requests that prove the device's key.

mod api;
mod https;
mod pinning;
mod session;

pub(crate) use api::{Api, Content, Endpoint};
pub use https::HttpsTransport;
