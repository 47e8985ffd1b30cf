//! The test kit for apps in Kotlin and Swift: [`roundsman_testkit`]'s server, in the process of the app's tests, and for
//! each phone a network that obeys the test.
//!
//! It is a library of its own, so that nothing of it ships to phones. Objects can't cross from one library to the other;
//! what crosses is an enrolment code. It leads to an address on this machine, where the phone's network listens: the app
//! under test is the whole app, with its sockets, TLS and pins.
//!
//! # Promises
//! - The server is the real one: routes, rules, storage and signatures.
//! - What becomes of each request is what the test has said, or by chance from a seed.
//! - Nothing is left when the objects are dropped: the folder, the listeners.
//!
//! # Not promised
//! - Speed of a real network: latency moves the kit's clock, and no test waits for it.
//!
//! UniFFI's macros expand to `unsafe` items, so that this crate can't forbid them; it writes none of its own.

mod error;
mod front;
mod network;
mod office;
mod server;
mod values;

pub use error::KitError;
pub use network::{Fate, KitNetwork, Weather};
pub use office::{DeviceStatus, Imported, ServerRecord};
pub use server::KitServer;
pub use values::{Day, Instant};

uniffi::setup_scaffolding!();
