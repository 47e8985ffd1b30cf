//! Sync: everything unsent goes up, everything new comes down, in one request.
//!
//! Every step is stored before the next one is taken, so a sync may be cut at any byte: results and the end of
//! the outbox in one transaction, a page's rows and its cursor in another. What was cut off is sent or fetched
//! again by the next sync, and the server knows a repeat when it sees one.

mod answer;
mod channel;
mod intake;
mod retry;
mod round_trip;
mod tokens;

pub(crate) use channel::Channel;
pub use retry::{Backoff, Retry};
pub(crate) use round_trip::{Syncer, blocking};
pub(crate) use tokens::AccessToken;

use crate::device::DeviceEvent;
use roundsman_protocol::sync::MutationResult;

/// What a sync did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Changes the server took.
    pub sent: u64,
    /// Changes the server refused; they stay in the outbox with the reason.
    pub rejected: u64,
    /// Values that lost in a collision; they are kept as conflicts.
    pub conflicts: u64,
    /// Rows that came down.
    pub received: u64,
    /// Rows that left the device because they are no longer its user's.
    pub removed: u64,
    /// Bytes of bodies sent, as they went over the wire.
    pub bytes_up: u64,
    /// Bytes of bodies received, as they came over the wire.
    pub bytes_down: u64,
    /// Requests made, refreshing of tokens and delivery of receipts included.
    pub requests: u32,
    /// Buckets that did not hold what the server has, and were read anew.
    pub healed: u64,
    /// Commands that were carried out or refused.
    pub events: Vec<DeviceEvent>,
}

/// How far a sync has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The outbox is on its way.
    Sending {
        /// Changes in this request.
        changes: u64,
    },
    /// The server has settled changes.
    Settled {
        /// How many in all.
        changes: u64,
    },
    /// Rows are stored.
    Receiving {
        /// Rows stored in all.
        rows: u64,
        /// Log entries of this bucket still to come.
        left: u64,
        /// Bytes of this answer that have come, as they came over the wire.
        bytes: u64,
    },
    /// The search index is made anew, after an update of the app; a search finds what is indexed so far.
    Indexing {
        /// Rows still to be indexed.
        left: u64,
    },
}

/// Follows a sync, and can stop it.
pub trait Progress: Send + Sync {
    /// A step is done and stored.
    fn progress(&self, step: Step);

    /// Whether to stop before the next step. What was stored stays.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Nobody looks on.
impl Progress for () {
    fn progress(&self, _: Step) {}
}

/// Reads an answer that may be anything.
#[cfg(feature = "fuzzing")]
pub(crate) async fn read_frames(body: &mut dyn crate::platform::Body) {
    let mut frames = answer::Frames::new(body);
    while let Ok(Some(_)) = frames.next().await {}
}

impl Report {
    fn count(&mut self, results: &[MutationResult]) {
        use roundsman_protocol::sync::Outcome;
        for result in results {
            match &result.outcome {
                Outcome::Applied { conflicts, .. } => {
                    self.sent += 1;
                    self.conflicts += conflicts.len() as u64;
                }
                Outcome::Rejected { .. } => self.rejected += 1,
            }
        }
    }
}
