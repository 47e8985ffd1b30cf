//! Leases: how long a device may stay away.

use crate::admin::DeviceStatus;
use crate::keys::OrgKeys;
use crate::storage::{PeopleRead, PeopleWrite, StorageError, StoredDevice};
use chrono::{DateTime, Utc};
use roundsman_protocol::VERSION;
use roundsman_protocol::envelope::Domain;
use roundsman_protocol::lease::{Lease, MIN_WIPE_DAYS};
use roundsman_protocol::posture::Verdict;
use serde::{Deserialize, Serialize};

/// The setting with the organisation's terms.
const TERMS: &str = "lease";

/// How long every device may stay away from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseTerms {
    /// After so many seconds the rep is warned.
    pub warn_after_s: u32,
    /// After so many seconds the vault does not open until the server was reached.
    pub lock_after_s: u32,
    /// After so many seconds the device wipes itself; never, if there are none.
    pub wipe_after_s: Option<u32>,
}

/// A warning after three days, a lock after a week, a wipe after thirty days.
impl Default for LeaseTerms {
    fn default() -> Self {
        Self {
            warn_after_s: 3 * Lease::DAY_S,
            lock_after_s: 7 * Lease::DAY_S,
            wipe_after_s: Some(30 * Lease::DAY_S),
        }
    }
}

impl LeaseTerms {
    /// Whether devices take a lease with these terms: a warning before a lock before a wipe, which comes after
    /// [`MIN_WIPE_DAYS`] at the earliest.
    pub fn are_sensible(&self) -> bool {
        let wipe = |wipe| wipe >= self.lock_after_s && wipe >= MIN_WIPE_DAYS * Lease::DAY_S;
        self.lock_after_s > 0 && self.warn_after_s <= self.lock_after_s && self.wipe_after_s.is_none_or(wipe)
    }
}

/// The organisation's terms.
pub(crate) fn terms(tx: &(impl PeopleRead + ?Sized)) -> Result<LeaseTerms, StorageError> {
    match tx.setting(TERMS)? {
        Some(text) => serde_json::from_slice(&text).map_err(|_| StorageError::Damaged("lease")),
        None => Ok(LeaseTerms::default()),
    }
}

/// Sets the organisation's terms.
pub(crate) fn set_terms(
    tx: &mut (impl PeopleWrite + ?Sized),
    terms: &LeaseTerms,
) -> Result<(), StorageError> {
    tx.set_setting(TERMS, &serde_json::to_vec(terms).map_err(|_| StorageError::Damaged("lease"))?)
}

/// A new lease for a device that will have accepted the command `head_seq` once it has read the answer.
///
/// A locked device gets one too: it must not wipe itself while it waits to be found. A phone whose state the policy
/// does not allow gets none, and neither does a device without keys.
pub(crate) fn renew(
    tx: &(impl PeopleRead + ?Sized),
    keys: &OrgKeys,
    device: &StoredDevice,
    verdict: Verdict,
    head_seq: u64,
    now: DateTime<Utc>,
) -> Result<Option<Vec<u8>>, StorageError> {
    if verdict == Verdict::Lock || matches!(device.status, DeviceStatus::Shredded | DeviceStatus::Wiped) {
        return Ok(None);
    }
    let LeaseTerms { warn_after_s, lock_after_s, wipe_after_s } = terms(tx)?;
    let lease = Lease {
        v: VERSION,
        org: keys.root.org,
        device: *device.id.0.as_bytes(),
        issued_ms: now.timestamp_millis(),
        warn_after_s,
        lock_after_s,
        wipe_after_s,
        head_seq,
    };
    Ok(Some(keys.sign(Domain::Lease, lease.to_bytes())))
}
