//! What all parts of the server share.

use crate::keys::OrgKeys;
use crate::password::Gate;
use crate::storage::Storage;
use chrono::{DateTime, Utc};
use roundsman_model::{Bucket, UserId};
use roundsman_protocol::ticket::SpkiPin;

/// Tells the time; tests set it.
pub(crate) type Clock = Box<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// Storage, keys and addresses of the organisation.
pub(crate) struct App {
    pub(crate) storage: Box<dyn Storage>,
    pub(crate) keys: OrgKeys,
    /// `https://host:port`.
    pub(crate) public_url: String,
    /// The pins for tickets: the certificate's key first, then the spare.
    pub(crate) pins: Vec<SpkiPin>,
    pub(crate) gate: Gate,
    pub(crate) clock: Clock,
}

impl App {
    pub(crate) fn now(&self) -> DateTime<Utc> {
        (self.clock)()
    }
}

/// The buckets of a user: each territory's, and the own.
pub(crate) fn buckets(user: UserId, territories: &[String]) -> Vec<Bucket> {
    territories.iter().map(|code| Bucket::territory(code)).chain([Bucket::user(user)]).collect()
}
