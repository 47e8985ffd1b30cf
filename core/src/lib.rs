//! The offline-first client for people who visit stores.
//!
//! Everything starts with a [`Client`]. It keeps customers and visits in an encrypted store on the device, works
//! without a signal, syncs with its server, and obeys signed lock and wipe commands.
//!
//! # Promises
//! - A call that returned `Ok` survives a kill of the process and a power cut at any moment after.
//! - Everything in the client's folder is ciphertext, or holds nothing about customers.
//! - While the vault is closed nothing can be read through any call, and no key is in memory.
//! - A wipe that has begun is finished by the next start, whatever stops it.
//!
//! # Not promised
//! - Secrecy of what is on the screen of an unlocked phone, or in the memory of a rooted one.
//! - That a device which never runs the app again obeys a command. Its data stays encrypted.
#![forbid(unsafe_code)]

pub mod attachments;
pub mod audit;
mod client;
pub mod conflicts;
pub mod customers;
pub mod device;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod idle;
mod net;
pub mod outbox;
pub mod platform;
pub mod profiles;
pub mod rescue;
#[cfg(feature = "simulation")]
pub mod simulation;
pub mod store;
pub mod sync;
pub mod vault;
pub mod verify;
pub mod visits;

pub use client::{Client, Config, Ended, Heard, Listening, Next, PendingEnrolment, State, Watcher, Woken};
pub use error::Error;
pub use idle::Closed;
pub use net::HttpsTransport;
pub use roundsman_model as model;
pub use roundsman_protocol as protocol;

/// The version of the core, as reported to the server.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
