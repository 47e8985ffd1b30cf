//! The test kit: a real server, real phones over real TLS, and a scanner for what must never be readable.
#![forbid(unsafe_code)]
#![allow(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that can't be set up fails"
)]

pub mod canary;
pub mod cutter;
pub mod meddler;
pub mod rig;
