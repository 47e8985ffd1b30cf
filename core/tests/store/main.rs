//! The store and the services on it, through their public face.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod files;
mod kit;
mod merge;
mod model;
mod observers;
mod outbox;
mod pull;
mod rollback;
mod search;
mod visits;
