//! The face of Roundsman for Kotlin and Swift: conversion between [`roundsman_core`] and what UniFFI can carry,
//! and nothing else.
//!
//! # Promises
//! - Calls that touch disk, network or keys are `async`, and run on threads of this library: neither the caller's
//!   thread nor an executor waits for them, and platform callbacks may block.
//! - A passcode crosses one character at a time and leaves no copy in memory ([`Passcode`]).
//! - Every failure is a [`RoundsmanError`]. A defect of the library becomes one too, never an abort.
//!
//! UniFFI's macros expand to `unsafe` items, so that this crate can't forbid them; it writes none of its own.

mod client;
mod customers;
mod enrolment;
mod error;
mod keys;
mod observer;
mod outbox;
mod passcode;
mod records;
mod sync;
mod visits;
mod worker;

pub use client::{ClientState, Options, Profile, RoundsmanClient};
pub use customers::Customers;
pub use enrolment::PendingEnrolment;
pub use error::{CallbackError, PasscodeFlaw, RoundsmanError, RuleCode};
pub use keys::{KeyAlias, KeyError, PlatformKeys, SoftwareKeys};
pub use observer::{Change, Observer, Subscription};
pub use outbox::{KeptConflict, Outbox, Rejection, Unsent};
pub use passcode::Passcode;
pub use records::{Day, Instant};
pub use sync::{CancelHandle, DeviceEvent, SyncProgress, SyncReport, SyncStep};
pub use visits::{Stop, Visits};

uniffi::setup_scaffolding!();

/// Memory is wiped when it is given back: names and notes that a screen has shown, and what UniFFI copied, do not
/// lie in it until something else happens to be written there.
#[global_allocator]
static MEMORY: zeroizing_alloc::ZeroAlloc<std::alloc::System> =
    zeroizing_alloc::ZeroAlloc(std::alloc::System);
