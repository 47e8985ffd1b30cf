//! Roundsman in one command: a server with its console, two simulated phones, and a day of work for them.
//!
//! [`World`] is the system under demonstration: a real server on loopback, customers, two reps with today's
//! round, and a [`phone::Phone`] for each, which is a real client with a vault of its own. [`web::Pages`] shows
//! the phones in a browser; [`day::play`] plays a whole day without one and checks what the system promises.
//!
//! Everything here is for looking at and trying out. The credentials are shown on the overview page, so the demo
//! listens on the loopback address only.
#![forbid(unsafe_code)]

pub mod day;
pub mod phone;
mod round;
pub mod sample;
pub mod stores;
pub mod web;
mod world;

pub use world::{OfferedKey, Options, Prepared, Rep, SignIn, World};
