//! What was not sent, and what was refused.

use crate::error::broken_rule;
use crate::worker::local;
use crate::{Instant, RoundsmanError, RuleCode};
use roundsman_core::model::DeviceSeq;
use roundsman_core::{Client, outbox};
use uuid::Uuid;

/// A change that the server has not taken.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Unsent {
    /// Its number on this device.
    pub seq: u64,
    /// `customer`, `visit` or `attachment`.
    pub entity: String,
    /// The record.
    pub record: Uuid,
    /// When it was made.
    pub made_at: Instant,
    /// Why the server refused it; nothing while it waits to be sent.
    pub rejected: Option<Rejection>,
}

/// Why the server refused a change.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Rejection {
    /// The rule that was broken.
    pub code: RuleCode,
    /// The field at fault, if it is one.
    pub field: Option<String>,
}

/// Changes on their way to the server.
#[derive(uniffi::Object)]
pub struct Outbox {
    pub(crate) client: Client,
}

#[uniffi::export]
impl Outbox {
    /// What the server has not taken, oldest first.
    pub async fn unsent(&self) -> Result<Vec<Unsent>, RoundsmanError> {
        let client = self.client.clone();
        let unsent = local(move || client.outbox()?.unsent()).await?;
        Ok(unsent.into_iter().map(Into::into).collect())
    }

    /// How many changes the server has not taken, those it refused included.
    pub async fn count(&self) -> Result<u64, RoundsmanError> {
        let client = self.client.clone();
        local(move || client.outbox()?.count()).await
    }

    /// Gives a refused change up: the record falls back to the server's version, or goes if the server never had
    /// it.
    ///
    /// # Errors
    /// `NotFound` if there is no refused change of this number: one that waits can't be given up.
    pub async fn discard(&self, seq: u64) -> Result<(), RoundsmanError> {
        let client = self.client.clone();
        local(move || client.outbox()?.discard(DeviceSeq(seq))).await
    }

    /// Sends a refused change again, with the record's present values and under the number that is returned.
    ///
    /// # Errors
    /// `NotFound` if there is no refused change of this number.
    pub async fn resend(&self, seq: u64) -> Result<u64, RoundsmanError> {
        let client = self.client.clone();
        local(move || client.outbox()?.resend(DeviceSeq(seq)).map(|seq| seq.0)).await
    }

    /// Asks the server to bring back the record of a refused change, which was removed meanwhile, and sends the change
    /// again after that, under the number that is returned.
    ///
    /// # Errors
    /// `NotFound` if there is no change of this number that was refused because of a removal.
    pub async fn restore(&self, seq: u64) -> Result<u64, RoundsmanError> {
        let client = self.client.clone();
        local(move || client.outbox()?.restore(DeviceSeq(seq)).map(|seq| seq.0)).await
    }
}

impl From<outbox::Unsent> for Unsent {
    fn from(unsent: outbox::Unsent) -> Self {
        let outbox::Unsent { seq, entity, record, made_at, status } = unsent;
        let rejected = match status {
            outbox::Status::Waiting => None,
            outbox::Status::Rejected { reason } => {
                let (code, field) = broken_rule(reason);
                Some(Rejection { code, field })
            }
        };
        Self { seq: seq.0, entity: entity.to_owned(), record, made_at, rejected }
    }
}
