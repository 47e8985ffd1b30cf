//! The test kit: a real server, real phones over real TLS, a scanner for what must never be readable, and a
//! phone whose disk fails at a named step.
#![forbid(unsafe_code)]
#![allow(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that can't be set up fails"
)]

pub mod balancer;
pub mod canary;
pub mod cutter;
pub mod meddler;
pub mod memory;
pub mod narrow;
pub mod postgres;
pub mod proxy;
pub mod rig;
pub mod sim;
pub mod steps;
pub mod told;
