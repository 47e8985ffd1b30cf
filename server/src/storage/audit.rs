//! The devices' audit entries, and what was wrong with them.

use super::Result;
use roundsman_model::DeviceId;
use roundsman_protocol::audit::{AuditError, Entry, Head};

/// An audit entry as stored.
#[derive(Clone, Debug)]
pub struct StoredEntry {
    /// Its place among the entries of all devices, from 1.
    pub n: u64,
    /// The device.
    pub device: DeviceId,
    /// The entry, as its columns say.
    pub entry: Columns,
    /// The bytes as they came.
    pub bytes: Vec<u8>,
    /// The hash of the device's chain after it.
    pub head: [u8; 32],
    /// The hash of the server's chain after it.
    pub chain: [u8; 32],
    /// When it came in: milliseconds since 1970.
    pub received_ms: i64,
}

/// What an entry's columns repeat of its bytes, to be listed without reading those.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    /// Its number.
    pub seq: u64,
    /// When, by the device's clock: milliseconds since 1970.
    pub at_ms: i64,
    /// The user.
    pub actor: [u8; 16],
    /// What was done, by its name in JSON.
    pub action: String,
    /// The record it was done to.
    pub object: Option<(String, [u8; 16])>,
}

impl Columns {
    /// The columns of an entry; `None` if its action has no name.
    pub fn of(entry: &Entry) -> Option<Self> {
        let action = serde_json::to_value(entry.action).ok()?.as_str()?.to_owned();
        let object = entry.object.as_ref().map(|object| (object.entity.clone(), object.id));
        Some(Self { seq: entry.seq, at_ms: entry.at_ms, actor: entry.actor, action, object })
    }
}

/// How far a device's chain is stored.
#[derive(Clone, Debug, Default)]
pub struct StoredHead {
    /// Its end.
    pub head: Head,
    /// When that was stored: milliseconds since 1970.
    pub stored_ms: i64,
    /// The last end that the device has signed.
    pub signed: Head,
    /// The device's signature on it; empty before the first.
    pub signature: Vec<u8>,
}

/// Something that was wrong with a device's report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredFault {
    /// What.
    pub kind: AuditError,
    /// The number of the first entry it is about.
    pub seq: u64,
    /// When it was found: milliseconds since 1970.
    pub at_ms: i64,
}

/// Reading the audit log.
pub trait AuditRead {
    /// How far a device's chain is stored.
    fn audit_head(&self, device: DeviceId) -> Result<StoredHead>;
    /// The bytes of one entry.
    fn audit_bytes(&self, device: DeviceId, seq: u64) -> Result<Option<Vec<u8>>>;
    /// The entries of a device with numbers below `before`, the latest first.
    fn audit_entries(&self, device: DeviceId, before: u64, limit: usize) -> Result<Vec<StoredEntry>>;
    /// Entries of all devices after a place, in order.
    fn audit_after(&self, n: u64, limit: usize) -> Result<Vec<StoredEntry>>;
    /// The place and hash of the end of the server's chain, as noted beside it.
    fn audit_end(&self) -> Result<(u64, [u8; 32])>;
    /// What was wrong with a device's reports, the latest first.
    fn audit_faults(&self, device: DeviceId) -> Result<Vec<StoredFault>>;
}

/// Writing the audit log.
pub trait AuditWrite {
    /// Appends an entry, which becomes the end of the server's chain.
    fn add_audit_entry(&mut self, entry: &StoredEntry) -> Result<()>;
    /// Notes how far a device's chain is stored.
    fn put_audit_head(&mut self, device: DeviceId, head: &StoredHead) -> Result<()>;
    /// Keeps a fault. False if the same one was known.
    fn add_audit_fault(&mut self, device: DeviceId, fault: &StoredFault) -> Result<bool>;
}
