//! What people at the office do.

use crate::{Day, KitError, KitServer};
use roundsman_model::{DeviceId, UserId, Value};
use roundsman_protocol::lease::Lease;
use roundsman_protocol::sync::Row;
use roundsman_server::admin::{self, LeaseTerms};
use std::collections::HashMap;
use uuid::Uuid;

/// How a device stands, from what was ordered and what it has proved.
pub type DeviceStatus = admin::DeviceStatus;
#[uniffi::remote(Enum)]
pub enum DeviceStatus {
    /// In use.
    Active,
    /// A lock was issued and not yet carried out.
    LockPending,
    /// Locked, though its release share is still on it: it was not in escrow.
    SoftLocked,
    /// Locked: its release share is only at the server.
    Locked,
    /// An administrator lets it open again; the device has not yet done so.
    UnlockGranted,
    /// A wipe was issued and not yet carried out.
    WipePending,
    /// Every key on it is destroyed; files may remain.
    Shredded,
    /// Nothing is left on it.
    Wiped,
}

/// What an import did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Imported {
    /// Customers made.
    pub created: u64,
    /// Customers changed.
    pub updated: u64,
    /// Rows that changed nothing.
    pub unchanged: u64,
    /// Rows that broke a rule and were left out.
    pub rejected: u64,
}

/// A record as the server has it. Made-up data: nothing keeps it out of logs.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ServerRecord {
    /// Its id.
    pub id: Uuid,
    /// Its fields by the names that they have on the wire, those without a value left out. Numbers are in digits, moments
    /// in milliseconds since 1970, words of a set with commas between.
    pub fields: HashMap<String, String>,
}

#[uniffi::export]
impl KitServer {
    /// Adds a rep with these territories, and returns the user's id.
    ///
    /// # Errors
    /// The name is taken, or a code is not one.
    pub fn add_rep(&self, name: String, territories: Vec<String>) -> Result<Uuid, KitError> {
        let territories: Vec<&str> = territories.iter().map(String::as_str).collect();
        Ok(self.running.server.add_rep(&name, &territories)?.0)
    }

    /// Imports customers from CSV text with a header line, whose columns have the names of fields; `code`, `name` and
    /// `territory` are needed for a new one. A row whose code is known changes that customer, as the office does.
    ///
    /// # Errors
    /// The text can't be read as CSV, or a column is missing.
    pub fn import_customers(&self, csv: String) -> Result<Imported, KitError> {
        let report = self.running.server.import(&csv)?;
        let (created, updated, unchanged) = (report.created, report.updated, report.unchanged);
        Ok(Imported { created, updated, unchanged, rejected: report.rejected.len() as u64 })
    }

    /// Removes a customer; it leaves the phones with their next sync.
    ///
    /// # Errors
    /// There is no such customer.
    pub fn remove_customer(&self, customer: Uuid) -> Result<(), KitError> {
        let server = &self.running.server;
        Ok(server.admin()?.remove_customer(server.actor(), customer)?)
    }

    /// Plans visits of a rep on a day, in the order given, and returns their ids.
    ///
    /// # Errors
    /// There is no such rep, or a customer is named twice or lies in no territory of the rep.
    pub fn plan_round(&self, rep: Uuid, day: Day, customers: Vec<Uuid>) -> Result<Vec<Uuid>, KitError> {
        let server = &self.running.server;
        Ok(server.admin()?.plan_round(server.actor(), UserId(rep), day, &customers)?)
    }

    /// The customers that the server has, of every territory that a rep has.
    ///
    /// # Errors
    /// The database failed.
    pub fn customers(&self) -> Result<Vec<ServerRecord>, KitError> {
        Ok(self.running.server.customers()?.into_iter().map(Into::into).collect())
    }

    /// The visits that the server has, of every territory that a rep has.
    ///
    /// # Errors
    /// The database failed.
    pub fn visits(&self) -> Result<Vec<ServerRecord>, KitError> {
        Ok(self.running.server.visits()?.into_iter().map(Into::into).collect())
    }

    /// Locks the device of this name: it obeys when it next reports, or at once if it listens.
    ///
    /// # Errors
    /// There is no such device, or it can't be locked now.
    pub fn lock(&self, device: String) -> Result<(), KitError> {
        Ok(self.running.server.lock(self.device(device)?)?)
    }

    /// Lets a locked device open again.
    ///
    /// # Errors
    /// There is no such device, or it is not locked.
    pub fn unlock(&self, device: String) -> Result<(), KitError> {
        Ok(self.running.server.unlock(self.device(device)?)?)
    }

    /// Orders a wipe, proposed by the administrator and approved by an approver.
    ///
    /// # Errors
    /// There is no such device, or a wipe is proposed already.
    pub fn wipe(&self, device: String) -> Result<(), KitError> {
        Ok(self.running.server.wipe(self.device(device)?)?)
    }

    /// How the device of this name stands.
    ///
    /// # Errors
    /// There is no such device.
    pub fn status(&self, device: String) -> Result<DeviceStatus, KitError> {
        let id = self.device(device.clone())?;
        let found = self.running.server.admin()?.device(id)?;
        Ok(found.ok_or(KitError::NoSuchDevice { name: device })?.view.state)
    }

    /// Lets devices stay away for so many days, with no wipe after them. They hear of it when they next report.
    ///
    /// # Errors
    /// No lease is so long.
    pub fn lease_days(&self, days: u32) -> Result<(), KitError> {
        let server = &self.running.server;
        let seconds = days.saturating_mul(Lease::DAY_S);
        let terms = LeaseTerms { warn_after_s: seconds, lock_after_s: seconds, wipe_after_s: None };
        Ok(server.admin()?.set_lease_terms(server.actor(), terms)?)
    }
}

impl KitServer {
    fn device(&self, name: String) -> Result<DeviceId, KitError> {
        let devices = self.running.server.admin()?.devices()?;
        // Of several the newest: the one before was wiped and enrolled anew.
        let newest =
            devices.into_iter().filter(|device| device.name == name).max_by_key(|device| device.enrolled_at);
        newest.map(|device| device.id).ok_or(KitError::NoSuchDevice { name })
    }
}

impl From<Row> for ServerRecord {
    fn from(row: Row) -> Self {
        let fields = row.fields.unwrap_or_default().into_iter();
        let fields = fields.filter_map(|(name, value)| Some((name, text(value)?))).collect();
        Self { id: row.id, fields }
    }
}

fn text(value: Value) -> Option<String> {
    Some(match value {
        Value::Null | Value::Other {} => return None,
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Real(value) => value.to_string(),
        Value::Text(value) => value,
        Value::Set(words) => words.join(","),
        Value::Id(id) => id.to_string(),
    })
}
