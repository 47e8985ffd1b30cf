//! The Roundsman server: devices enrol, sync and report here; administrators run the system from its console.
//!
//! [`Server::start`] brings everything up on one address over TLS. [`Admin`] is what an administrator can do,
//! without HTTP around it: the console, the command line and the demo all call it.
//!
//! The layers, from the outside in: `http` and `console` speak HTTP; `admin`, `sync`, `devices`, `tokens` and
//! `enrolment` hold the rules; [`storage`] holds the rows, and is the only place with SQL.
#![forbid(unsafe_code)]

pub mod admin;
mod app;
mod attachments;
mod audit;
mod collisions;
mod config;
mod console;
mod devices;
mod enrolment;
mod http;
mod in_process;
pub mod keyfile;
mod keys;
mod password;
mod poke;
mod random;
mod records;
mod refusal;
mod rescue;
mod secret;
mod server;
#[cfg(feature = "simulation")]
pub mod simulation;
pub mod storage;
mod sync;
#[cfg(test)]
mod testkit;
mod tls;
mod tokens;
mod upkeep;
pub mod verify;
mod worker;

pub use admin::{Admin, AdminError};
pub use attachments::{AttachmentConfig, AttachmentLimits, AttachmentPlace, PlaceError, S3};
pub use config::{Config, Database, NewAdmin};
pub use in_process::{Answer, InProcess, Question};
pub use keys::{FirstKeys, KeysError};
pub use password::PasswordError;
pub use random::NoEntropy;
pub use rescue::rescue_key_from_text;
pub use secret::Secret;
pub use server::{FirstAdmin, Server, StartError};
pub use tls::TlsError;
