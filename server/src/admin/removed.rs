//! Customers that were removed, and how they come back.

use super::records::customer_view;
use super::{Admin, AdminError, CustomerView, actor_name, allow, record, time};
use crate::attachments::{forget_lost, forget_with};
use crate::records::{load, remove, restore};
use crate::storage::WriteTx;
use chrono::{DateTime, TimeDelta, Utc};
use roundsman_model::customer::Customer;
use roundsman_model::{Entity, UserId};
use uuid::Uuid;

/// How long a removed record can be brought back.
pub(crate) const KEPT: TimeDelta = TimeDelta::days(90);

/// A customer that was removed and can be brought back.
#[derive(Clone, Debug)]
pub struct RemovedView {
    /// The customer as it was.
    pub customer: CustomerView,
    /// When it was removed.
    pub at: DateTime<Utc>,
    /// Who removed it.
    pub by: String,
    /// Until when it can be brought back.
    pub until: DateTime<Utc>,
}

impl Admin {
    /// Customers that were removed and can be brought back, the latest first.
    ///
    /// # Errors
    /// [`AdminError::Storage`].
    pub fn removed_customers(&self, limit: usize) -> Result<Vec<RemovedView>, AdminError> {
        let tx = self.app.storage.read()?;
        tx.removals(Customer::DEF.name, limit)?
            .into_iter()
            .map(|removal| {
                let at = time(removal.at_ms);
                Ok(RemovedView {
                    customer: customer_view(removal.record)?,
                    at,
                    by: actor_name(tx.as_ref(), removal.by.unwrap_or(Self::OPERATOR))?,
                    until: at + KEPT,
                })
            })
            .collect()
    }

    /// Removes a customer; it leaves the phones with their next sync. Its visits stay, and it can be brought back for
    /// 90 days.
    ///
    /// # Errors
    /// [`AdminError::NotFound`] if there is no such customer.
    pub fn remove_customer(&self, actor: UserId, customer: Uuid) -> Result<(), AdminError> {
        let now = self.app.now();
        let mut tx = self.app.storage.write()?;
        allow(tx.as_ref(), actor)?;
        let stored = load(tx.as_ref(), Customer::DEF, customer)?.ok_or(AdminError::NotFound)?;
        remove(tx.as_mut(), stored, Some(actor), now.timestamp_millis())?;
        record(tx.as_mut(), actor, "remove_customer", customer, now)?;
        Ok(tx.commit()?)
    }

    /// Brings a removed customer back as it was.
    ///
    /// # Errors
    /// [`AdminError::NotFound`] if it was not removed, was erased, or was removed too long ago; [`AdminError::Rule`] if
    /// another customer has its code by now.
    pub fn restore_customer(&self, actor: UserId, customer: Uuid) -> Result<(), AdminError> {
        let mut tx = self.app.storage.write()?;
        allow(tx.as_ref(), actor)?;
        let removal = tx.removal(Customer::DEF.name, customer)?.ok_or(AdminError::NotFound)?;
        restore(tx.as_mut(), Customer::DEF, removal)??;
        record(tx.as_mut(), actor, "restore_customer", customer, self.app.now())?;
        Ok(tx.commit()?)
    }

    /// Erases what a removed customer held. Nothing brings it back.
    ///
    /// # Errors
    /// [`AdminError::NotFound`] if there is nothing to erase.
    pub fn erase_customer(&self, actor: UserId, customer: Uuid) -> Result<(), AdminError> {
        let mut tx = self.app.storage.write()?;
        allow(tx.as_ref(), actor)?;
        tx.removal(Customer::DEF.name, customer)?.ok_or(AdminError::NotFound)?;
        tx.forget_removal(Customer::DEF.name, customer)?;
        forget_with(tx.as_mut(), customer, self.app.now())?;
        record(tx.as_mut(), actor, "erase_customer", customer, self.app.now())?;
        Ok(tx.commit()?)
    }
}

/// Forgets what was removed too long ago to be brought back.
pub(crate) fn forget_old(tx: &mut dyn WriteTx, now: DateTime<Utc>) -> crate::storage::Result<()> {
    tx.forget_removals_before((now - KEPT).timestamp_millis())?;
    forget_lost(tx, now)
}
