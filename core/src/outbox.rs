//! The outbox: what was not sent, and what the server refused.

use crate::Error;
use crate::platform::{Clock, Entropy};
pub use crate::store::RowState;
use crate::store::{Entry, Made, Store};
use chrono::{DateTime, Utc};
use roundsman_model::{DeviceSeq, Entity, RuleError};
use std::sync::Arc;
use uuid::Uuid;

/// A change that the server has not taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Unsent {
    /// Its number on this device.
    pub seq: DeviceSeq,
    /// The entity of the record.
    pub entity: &'static str,
    /// The record that was changed.
    pub record: Uuid,
    /// When it was made.
    pub made_at: DateTime<Utc>,
    /// What it waits for.
    pub status: Status,
}

/// What a change in the outbox waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    /// The next sync.
    Waiting,
    /// The rep: the server refused it. It blocks nothing; correct the record and resend it, or discard it.
    Rejected {
        /// Why.
        reason: RuleError,
    },
}

/// The outbox of this device.
#[derive(Clone)]
pub struct Outbox {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Outbox {
    /// The outbox of this store.
    pub fn new(store: Arc<Store>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { store, clock, entropy }
    }

    /// Everything the server has not taken, oldest first.
    ///
    /// # Errors
    /// The vault is not open, or the store is damaged.
    pub fn unsent(&self) -> Result<Vec<Unsent>, Error> {
        Ok(self.store.unsent()?.into_iter().map(Unsent::from).collect())
    }

    /// How many changes the server has not taken, those that it refused included.
    ///
    /// # Errors
    /// The vault is not open, or the store is damaged.
    pub fn count(&self) -> Result<u64, Error> {
        Ok(self.store.unsent_count()?)
    }

    /// How a record stands to the server's; `None` if it is not on this device.
    ///
    /// # Errors
    /// The vault is not open, or the store is damaged.
    pub fn state<T: Entity>(&self, record: Uuid) -> Result<Option<RowState>, Error> {
        self.store.read(|records| Ok(records.state::<T>(record)?))
    }

    /// Gives up a refused change: its fields fall back to what the server has, and a record that the server never
    /// had goes. That is on disk when this returns.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no refused change of this number: one that waits can't be given up, the
    /// server may have taken it already. The vault is not open, or the disk is full.
    pub fn discard(&self, seq: DeviceSeq) -> Result<(), Error> {
        self.store.discard(seq)?.then_some(()).ok_or(Error::NotFound)
    }

    /// Sends a refused change again with the values that its fields have now, under the number that is returned.
    /// That is on disk when this returns.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no refused change of this number. The vault is not open, or the disk is full.
    pub fn resend(&self, seq: DeviceSeq) -> Result<DeviceSeq, Error> {
        let made = Made::now(&*self.clock, &*self.entropy)?;
        self.store.resend(seq, &made)?.ok_or(Error::NotFound)
    }

    /// Asks the server to bring the record of a refused change back, which was removed meanwhile, and sends the change
    /// again after that, under the number that is returned. Who may not remove such a record may not bring it back
    /// either: then both are refused, and the change is still here. That is on disk when this returns.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no change of this number that was refused because of a removal. The vault is not
    /// open, or the disk is full.
    pub fn restore(&self, seq: DeviceSeq) -> Result<DeviceSeq, Error> {
        let made = Made::now(&*self.clock, &*self.entropy)?;
        self.store.restore(seq, &made)?.ok_or(Error::NotFound)?;
        self.resend(seq)
    }
}

impl From<Entry> for Unsent {
    fn from(entry: Entry) -> Self {
        Self {
            seq: entry.seq,
            entity: entry.def.name,
            record: entry.record,
            made_at: DateTime::from_timestamp_millis(entry.stamp.millis() as i64).unwrap_or_default(),
            status: entry.reason.map_or(Status::Waiting, |reason| Status::Rejected { reason }),
        }
    }
}
