//! Conflicts: values that lost in a collision of two edits, until somebody has decided.
//!
//! Each reaches every device that holds the record. Whoever settles one, here or in the console, settles it for all,
//! once the server has taken that; a settlement that it refuses leaves the conflict where it was.

use crate::Error;
use crate::platform::{Clock, Entropy};
use crate::store::{Made, Store, lost};
use chrono::{DateTime, Utc};
use roundsman_model::collision::Collision;
use roundsman_model::{UserId, Value};
use std::sync::Arc;
use uuid::Uuid;

/// A conflict that nobody has settled.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenConflict {
    /// Its id, the same on every device.
    pub id: Uuid,
    /// The entity of the record.
    pub entity: String,
    /// The record.
    pub record: Uuid,
    /// The field.
    pub field: String,
    /// The value that stands now.
    pub now: Value,
    /// The value that lost; nothing if this version of the app can't hold it.
    pub lost: Option<Value>,
    /// Whose value lost; none for the office's.
    pub loser: Option<UserId>,
    /// Whose value stood when it was found; none for the office's.
    pub winner: Option<UserId>,
    /// When the server found it.
    pub found_at: DateTime<Utc>,
}

/// The conflicts of this device's records.
///
/// ```no_run
/// # fn settle(client: &roundsman_core::Client) -> Result<(), roundsman_core::Error> {
/// let conflicts = client.conflicts()?;
/// for conflict in conflicts.list()? {
///     // show conflict.now and conflict.lost
///     conflicts.take_lost(conflict.id)?;
/// }
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Conflicts {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Conflicts {
    /// The conflicts in this store.
    pub fn new(store: Arc<Store>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { store, clock, entropy }
    }

    /// Those that are not settled, oldest first.
    ///
    /// # Errors
    /// The vault is not open, or the store is damaged.
    pub fn list(&self) -> Result<Vec<OpenConflict>, Error> {
        let open = self.store.open_conflicts()?;
        Ok(open.into_iter().map(|(collision, now)| OpenConflict::new(collision, now)).collect())
    }

    /// Leaves the field as it stands. That is on disk when this returns, and sent with the next sync.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such conflict, or it is settled already. The vault is not open, or the disk is
    /// full.
    pub fn keep(&self, conflict: Uuid) -> Result<(), Error> {
        self.settle(conflict, |_| Ok(None))
    }

    /// Puts the value that lost into the field. That is on disk when this returns, and sent with the next sync.
    ///
    /// # Errors
    /// As [`keep`](Self::keep); or the record can't have that value. The conflict stays then.
    pub fn take_lost(&self, conflict: Uuid) -> Result<(), Error> {
        self.settle(conflict, |collision| lost(collision).map(Some).ok_or(Error::NotFound))
    }

    /// Puts another value into the field. That is on disk when this returns, and sent with the next sync.
    ///
    /// # Errors
    /// As [`take_lost`](Self::take_lost).
    pub fn write(&self, conflict: Uuid, value: Value) -> Result<(), Error> {
        self.settle(conflict, |_| Ok(Some(value)))
    }

    fn settle(
        &self,
        conflict: Uuid,
        value: impl FnOnce(&Collision) -> Result<Option<Value>, Error>,
    ) -> Result<(), Error> {
        let made = Made::now(&*self.clock, &*self.entropy)?;
        self.store.settle_conflict(conflict, value, &made)?.then_some(()).ok_or(Error::NotFound)
    }
}

impl OpenConflict {
    fn new(collision: Collision, now: Value) -> Self {
        Self {
            lost: lost(&collision),
            id: collision.id,
            entity: collision.entity,
            record: collision.record,
            field: collision.field,
            now,
            loser: collision.loser.map(UserId),
            winner: collision.winner.map(UserId),
            found_at: collision.found_at,
        }
    }
}
