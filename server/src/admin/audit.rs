//! The devices' audit logs.

use super::records::customer_name;
use super::{Admin, AdminError, actor_name, time};
use crate::audit::{self, Anchored, Verdict, anchor};
use crate::records::load;
use crate::storage::{ReadTx, StoredEntry, StoredFault};
use chrono::{DateTime, Utc};
use roundsman_model::customer::Customer;
use roundsman_model::visit::Visit;
use roundsman_model::{DeviceId, Entity, UserId, Value};
use roundsman_protocol::audit::Action;
use uuid::Uuid;

/// An audit entry in a list.
#[derive(Clone, Debug)]
pub struct AuditEntryView {
    /// Its number on the device.
    pub seq: u64,
    /// When, by the device's clock.
    pub at: DateTime<Utc>,
    /// When it came in.
    pub received_at: DateTime<Utc>,
    /// The name of who did it.
    pub actor: String,
    /// What was done, in words.
    pub action: String,
    /// The entity of the record it was done to.
    pub entity: Option<String>,
    /// The record.
    pub record: Option<Uuid>,
    /// The customer's name, of the record itself or of the visit's customer; empty if it isn't known.
    pub customer_name: String,
}

/// How a device's audit log stands.
#[derive(Clone, Debug)]
pub struct AuditStatusView {
    /// How many entries are stored; the server has countersigned all of them.
    pub entries: u64,
    /// When the last one was stored.
    pub stored_at: Option<DateTime<Utc>>,
    /// Up to which entry the device's own signature reaches.
    pub signed: u64,
    /// What was wrong with the device's reports, the latest first.
    pub faults: Vec<StoredFault>,
}

impl Admin {
    /// How a device's audit log stands.
    ///
    /// # Errors
    /// [`AdminError::Storage`].
    pub fn audit_status(&self, device: DeviceId) -> Result<AuditStatusView, AdminError> {
        let tx = self.app.storage.read()?;
        let stored = tx.audit_head(device)?;
        Ok(AuditStatusView {
            entries: stored.head.seq,
            stored_at: (stored.head.seq > 0).then(|| time(stored.stored_ms)),
            signed: stored.signed.seq,
            faults: tx.audit_faults(device)?,
        })
    }

    /// The entries of a device, the latest first: at most `limit` before the number given, or before the end.
    ///
    /// # Errors
    /// [`AdminError::Storage`].
    pub fn audit_entries(
        &self,
        device: DeviceId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<AuditEntryView>, AdminError> {
        let tx = self.app.storage.read()?;
        let entries = tx.audit_entries(device, before.unwrap_or(u64::MAX), limit)?;
        entries.into_iter().map(|entry| view(tx.as_ref(), entry)).collect()
    }

    /// Recomputes the chain of every device and the server's own, and compares them with what the devices signed.
    ///
    /// # Errors
    /// [`AdminError::Storage`].
    pub fn verify_audit(&self) -> Result<Verdict, AdminError> {
        Ok(audit::verify(self.app.storage.read()?.as_ref())?)
    }

    /// The end of the server's chain as it is now, signed: the text of a file to keep where this server can't write.
    ///
    /// # Errors
    /// [`AdminError::Storage`].
    pub fn audit_anchor(&self) -> Result<String, AdminError> {
        let tx = self.app.storage.read()?;
        let keys = self.app.keys(tx.as_ref())?;
        Ok(anchor::make(tx.as_ref(), &keys, self.app.now())?)
    }

    /// Compares the stored log with an anchor that was kept elsewhere. Call [`verify_audit`](Self::verify_audit) too: an
    /// anchor is compared with the hashes, and that recomputes them.
    ///
    /// # Errors
    /// [`AdminError::NotAnAnchor`]; [`AdminError::Storage`].
    pub fn compare_anchor(&self, text: &str) -> Result<Anchored, AdminError> {
        anchor::compare(self.app.storage.read()?.as_ref(), text)?.ok_or(AdminError::NotAnAnchor)
    }
}

fn view(tx: &dyn ReadTx, stored: StoredEntry) -> Result<AuditEntryView, AdminError> {
    let entry = stored.entry;
    let action = serde_json::from_value::<Action>(entry.action.clone().into());
    let object = entry.object.map(|(entity, record)| (entity, Uuid::from_bytes(record)));
    let customer = match &object {
        Some((entity, record)) if entity == Customer::DEF.name => Some(*record),
        Some((entity, record)) if entity == Visit::DEF.name => load(tx, Visit::DEF, *record)?
            .and_then(|visit| visit.fields.get("customer").and_then(Value::as_id)),
        _ => None,
    };
    let (entity, record) = object.unzip();
    Ok(AuditEntryView {
        seq: entry.seq,
        at: time(entry.at_ms),
        received_at: time(stored.received_ms),
        actor: actor_name(tx, UserId(Uuid::from_bytes(entry.actor)))?,
        action: action.map_or(entry.action, |action| action.words().to_owned()),
        entity,
        record,
        customer_name: customer_name(tx, customer)?,
    })
}
