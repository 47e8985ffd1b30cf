//! The content of attachments: taken in part by part, checked, kept sealed apart from the database, and given out.
//!
//! # Promises
//! - What an attachment's record calls stored has come whole, hashes to what the record says, and was read back from where
//!   it lies to see that.
//! - No byte lies in the object storage in the clear. Each content has a key of its own, which is in the database alone: with
//!   its row the content is gone, whatever a store or a backup of it keeps.
//! - Memory does not grow with the content, but for one picture at a time of which a thumbnail is made.

mod contents;
mod give;
mod housekeeping;
mod place;
mod rescued;
mod seal;
mod take;
mod thumbnail;

pub(crate) use contents::{Contents, Look};
pub(crate) use give::{Given, give};
pub(crate) use housekeeping::{
    forget_abandoned, forget_lost, forget_with, go_along, go_away, return_with, sweep,
};
pub(crate) use place::open as open_place;
pub use place::{AttachmentConfig, AttachmentLimits, AttachmentPlace, PlaceError, S3};
pub(crate) use rescued::{PhotoPart, file_rescued, forget_old_photos, take_photo};
pub(crate) use take::{Part, take};
pub(crate) use thumbnail::{Small, may_be_drawn, thumbnail};

#[cfg(test)]
mod tests;
