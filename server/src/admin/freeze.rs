//! The switch for an incident: locks every phone at once, and lets those phones open again.
//!
//! Each phone gets an ordinary lock, which loses nothing and which an unlock undoes. What is kept beside is which phones
//! were locked so, because one that was locked for a reason of its own must stay locked.

use super::{Admin, AdminError, actor_name, allow, fleet, record, time};
use crate::devices::commands::Order;
use crate::storage::{PeopleRead, StorageError, WriteTx};
use chrono::{DateTime, Utc};
use roundsman_model::{DeviceId, UserId};
use roundsman_protocol::command::Kind;
use serde::{Deserialize, Serialize};

/// The setting that holds the freeze; empty while there is none.
const SETTING: &str = "freeze";

#[derive(Serialize, Deserialize)]
struct Freeze {
    at_ms: i64,
    by: UserId,
    reason: String,
    devices: Vec<DeviceId>,
}

/// A freeze that is in force.
#[derive(Clone, Debug)]
pub struct FreezeView {
    /// Since when.
    pub since: DateTime<Utc>,
    /// Who ordered it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// How many phones it locked.
    pub devices: usize,
}

impl Admin {
    /// Locks every device that is in use, all or none. Devices that are locked or wiped already are left alone. Said
    /// again, it locks those that have come into use since. Returns how many were locked.
    ///
    /// # Errors
    /// The actor is no administrator, or there is no reason. Nothing is locked then.
    pub fn lock_all(&self, actor: UserId, reason: &str) -> Result<usize, AdminError> {
        let reason = fleet::reason_of(reason)?;
        let mut tx = self.app.storage.write()?;
        allow(tx.as_ref(), actor)?;
        let (keys, now) = (self.app.keys(tx.as_ref())?, self.app.now());
        let mut freeze = read(tx.as_ref())?.unwrap_or_else(|| Freeze {
            at_ms: now.timestamp_millis(),
            by: actor,
            reason: reason.to_owned(),
            devices: vec![],
        });
        let mut locked = 0;
        for device in tx.devices()?.into_iter().filter(|device| device.status.can_be_locked()) {
            let order = Order { kind: Kind::Lock, reason, by: actor };
            let id = device.id;
            fleet::lock(tx.as_mut(), &keys, device, order, now)?;
            freeze.devices.retain(|known| *known != id);
            freeze.devices.push(id);
            locked += 1;
        }
        write(tx.as_mut(), Some(&freeze))?;
        record(tx.as_mut(), actor, "lock all", format!("{locked} devices"), now)?;
        tx.commit()?;
        Ok(locked)
    }

    /// Lets the devices open again that [`lock_all`](Self::lock_all) locked and nobody has unlocked since. Returns how
    /// many.
    ///
    /// # Errors
    /// The actor is no administrator, or [`AdminError::NotLocked`]: no freeze is in force.
    pub fn unlock_all(&self, actor: UserId) -> Result<usize, AdminError> {
        let mut tx = self.app.storage.write()?;
        allow(tx.as_ref(), actor)?;
        let freeze = read(tx.as_ref())?.ok_or(AdminError::NotLocked)?;
        let now = self.app.now();
        let mut unlocked = 0;
        for id in freeze.devices {
            if let Some(device) = tx.device(id)?.filter(|device| device.status.can_be_unlocked()) {
                fleet::grant_unlock(tx.as_mut(), device, actor)?;
                unlocked += 1;
            }
        }
        write(tx.as_mut(), None)?;
        record(tx.as_mut(), actor, "unlock all", format!("{unlocked} devices"), now)?;
        tx.commit()?;
        Ok(unlocked)
    }

    /// The freeze that is in force, if one is.
    ///
    /// # Errors
    /// [`AdminError::Storage`].
    pub fn freeze(&self) -> Result<Option<FreezeView>, AdminError> {
        let tx = self.app.storage.read()?;
        let Some(freeze) = read(tx.as_ref())? else { return Ok(None) };
        Ok(Some(FreezeView {
            since: time(freeze.at_ms),
            by: actor_name(tx.as_ref(), freeze.by)?,
            reason: freeze.reason,
            devices: freeze.devices.len(),
        }))
    }
}

fn read(tx: &(impl PeopleRead + ?Sized)) -> Result<Option<Freeze>, StorageError> {
    let Some(bytes) = tx.setting(SETTING)?.filter(|bytes| !bytes.is_empty()) else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|_| StorageError::Damaged("freeze"))
}

fn write(tx: &mut dyn WriteTx, freeze: Option<&Freeze>) -> Result<(), StorageError> {
    let bytes = freeze.map(serde_json::to_vec).transpose().map_err(|_| StorageError::Damaged("freeze"))?;
    tx.set_setting(SETTING, &bytes.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::DeviceStatus;
    use crate::testkit::{Org, TestResult};

    #[test]
    fn a_freeze_locks_every_phone_and_lifting_it_frees_only_those() -> TestResult {
        let org = Org::new()?;
        let ana = org.rep("ana", &["A"])?;
        let (first, second, stolen) = (org.phone(ana)?, org.phone(ana)?, org.phone(ana)?);
        org.admin.lock(org.boss, stolen.id, "stolen")?;
        assert_eq!(org.admin.lock_all(org.boss, "break-in at the office")?, 2);
        for phone in [&first, &second, &stolen] {
            assert_eq!(org.stored(phone)?.status, DeviceStatus::LockPending);
        }
        let freeze = org.admin.freeze()?.ok_or("a freeze")?;
        assert_eq!((freeze.devices, freeze.reason.as_str()), (2, "break-in at the office"));

        // One that is enrolled meanwhile is locked by saying it again; what is locked gets no second command.
        let late = org.phone(ana)?;
        assert_eq!(org.admin.lock_all(org.boss, "break-in at the office")?, 1);
        assert_eq!(org.stored(&late)?.status, DeviceStatus::LockPending);

        org.admin.unlock(org.boss, second.id)?;
        assert_eq!(org.admin.unlock_all(org.boss)?, 2);
        for phone in [&first, &second, &late] {
            assert_eq!(org.stored(phone)?.status, DeviceStatus::UnlockGranted);
        }
        assert_eq!(
            org.stored(&stolen)?.status,
            DeviceStatus::LockPending,
            "it was locked for a reason of its own"
        );
        assert!(org.admin.freeze()?.is_none());
        assert!(matches!(org.admin.unlock_all(org.boss), Err(AdminError::NotLocked)));
        Ok(())
    }

    #[test]
    fn only_administrators_freeze_and_each_says_why() -> TestResult {
        let org = Org::new()?;
        let ana = org.rep("ana", &["A"])?;
        let phone = org.phone(ana)?;
        assert!(matches!(org.admin.lock_all(ana, "a joke"), Err(AdminError::NotAllowed)));
        assert!(matches!(org.admin.lock_all(org.boss, " "), Err(AdminError::ReasonMissing)));
        assert_eq!(org.stored(&phone)?.status, DeviceStatus::Active);
        org.admin.lock_all(org.boss, "incident")?;
        assert!(matches!(org.admin.unlock_all(ana), Err(AdminError::NotAllowed)));
        let acts: Vec<String> = org.admin.acts(1)?.into_iter().map(|act| act.action).collect();
        assert_eq!(acts, ["lock all"]);
        Ok(())
    }
}
