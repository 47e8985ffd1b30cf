//! What all parts of the server share.

use crate::attachments::Contents;
use crate::keys::OrgKeys;
use crate::password::Gate;
use crate::storage::{ReadTx, Storage, StorageError};
use chrono::{DateTime, Utc};
use roundsman_model::{Bucket, UserId};
use roundsman_protocol::ticket::SpkiPin;
use std::sync::{Arc, PoisonError, RwLock};

/// Tells the time; tests set it.
pub(crate) type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// Storage, keys and addresses of the organisation.
pub(crate) struct App {
    pub(crate) storage: Arc<dyn Storage>,
    /// The keys as they were last read.
    pub(crate) known_keys: RwLock<Arc<OrgKeys>>,
    pub(crate) org_name: String,
    /// `https://host:port`.
    pub(crate) public_url: String,
    /// The pins for tickets: the certificate's key first, then the spare.
    pub(crate) pins: Vec<SpkiPin>,
    pub(crate) contents: Contents,
    pub(crate) gate: Gate,
    pub(crate) clock: Clock,
}

impl App {
    pub(crate) fn now(&self) -> DateTime<Utc> {
        (self.clock)()
    }

    /// The same organisation as it is reached at another address, with other pins.
    pub(crate) fn at(&self, public_url: &str, pins: Vec<SpkiPin>) -> Self {
        let known = Arc::clone(&self.known_keys.read().unwrap_or_else(PoisonError::into_inner));
        Self {
            storage: Arc::clone(&self.storage),
            known_keys: RwLock::new(known),
            org_name: self.org_name.clone(),
            public_url: public_url.to_owned(),
            pins,
            contents: self.contents.clone(),
            gate: Gate::new(),
            clock: Arc::clone(&self.clock),
        }
    }

    /// The keys under the present root. Read again when a new root was published, which may have happened in another
    /// process: the command line on the same machine.
    pub(crate) fn keys(&self, tx: &(impl ReadTx + ?Sized)) -> Result<Arc<OrgKeys>, StorageError> {
        let known = Arc::clone(&self.known_keys.read().unwrap_or_else(PoisonError::into_inner));
        if tx.root_version()? == Some(known.root.version) {
            return Ok(known);
        }
        let fresh = Arc::new(OrgKeys::load(tx)?.ok_or(StorageError::Damaged("root"))?);
        *self.known_keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&fresh);
        Ok(fresh)
    }
}

/// The buckets of a user: each territory's, and the own.
pub(crate) fn buckets(user: UserId, territories: &[String]) -> Vec<Bucket> {
    territories.iter().map(|code| Bucket::territory(code)).chain([Bucket::user(user)]).collect()
}
