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

mod attachments;
mod client;
mod clock;
mod conflicts;
mod customers;
mod enrolment;
mod error;
mod events;
mod keys;
mod listening;
mod observer;
mod outbox;
mod passcode;
mod profiles;
mod records;
mod rules;
mod sync;
mod terms;
mod transfers;
mod verify;
mod visits;
mod woken;
mod worker;

pub use attachments::{
    AttachedTo, Attachment, AttachmentKind, AttachmentOptions, AttachmentReader, AttachmentSource,
    Attachments, NewAttachment,
};
pub use client::{ClientState, ClosedReason, Options, Profile, RoundsmanClient};
pub use clock::HostClock;
pub use conflicts::{Conflict, Conflicts, FieldValue};
pub use customers::Customers;
pub use enrolment::PendingEnrolment;
pub use error::{AttachmentFlaw, BiometricsFlaw, CallbackError, PasscodeFlaw, RoundsmanError, RuleCode};
pub use events::{CommandRefusal, DeviceEvent, RootRefusal};
pub use keys::{KeyAlias, KeyError, PlatformKeys, SoftwareKeys};
pub use listening::{Ended, Heard, Listening, Watcher};
pub use observer::{Change, Observer, Subscription};
pub use outbox::{Outbox, Rejection, Unsent};
pub use passcode::Passcode;
pub use profiles::{NewProfile, ProfileHost, Profiles};
pub use records::{Day, Instant};
pub use roundsman_core::protocol::posture::Concern;
pub use rules::PasscodeRules;
pub use sync::{CancelHandle, SyncProgress, SyncReport, SyncStep};
pub use terms::{Policy, PostureFinding};
pub use transfers::{Moved, NetworkKind, SentAttachments, TransferProgress, Waiting};
pub use verify::{CheckProgress, CheckedPart, Fault, Finding, ServerCheck, ToDo, Verified};
pub use visits::{Stop, Visits};
pub use woken::Woken;

uniffi::setup_scaffolding!();

/// Memory is wiped when it is given back: names and notes that a screen has shown, and what UniFFI copied, do not
/// lie in it until something else happens to be written there.
#[global_allocator]
static MEMORY: zeroizing_alloc::ZeroAlloc<std::alloc::System> =
    zeroizing_alloc::ZeroAlloc(std::alloc::System);
