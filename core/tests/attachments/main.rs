//! Attachments at rest: whatever fails while one is added or removed, it is there as a whole or not at all; what is not
//! exactly what was sealed is an error; and no file holds a byte of content in the clear.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]

#[path = "../vault_kit/mod.rs"]
mod vault_kit;

mod at_rest;
mod damage;
mod faults;
mod kit;
mod rescue;
