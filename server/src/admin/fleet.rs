//! Devices: seeing, locking and unlocking them.

use super::{
    Admin, AdminError, CommandView, DeviceDetail, DeviceStatus, DeviceView, PostureView, ReceiptView,
    actor_name, allow, record, time, wipes,
};
use crate::devices::commands::{self, Order};
use crate::devices::status::{Event, step};
use crate::devices::{grant_key, watch};
use crate::keys::OrgKeys;
use crate::storage::{CommandState, ReadTx, StoredDevice, StoredReceipt, WriteTx};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use roundsman_model::{DeviceId, UserId};
use roundsman_protocol::command::Kind;
use roundsman_protocol::policy::Policy;
use roundsman_protocol::receipt::{Progress, SignedReceipt};

impl Admin {
    /// Every device, the latest heard first.
    ///
    /// # Errors
    /// [`AdminError::Storage`].
    pub fn devices(&self) -> Result<Vec<DeviceView>, AdminError> {
        let tx = self.app.storage.read()?;
        let policy = tx.policy()?.unwrap_or_default();
        tx.devices()?.into_iter().map(|device| view(tx.as_ref(), &policy, device)).collect()
    }

    /// One device with its history.
    ///
    /// # Errors
    /// [`AdminError::Storage`].
    pub fn device(&self, device: DeviceId) -> Result<Option<DeviceDetail>, AdminError> {
        let tx = self.app.storage.read()?;
        match tx.device(device)? {
            Some(device) => Ok(Some(self.detail(tx.as_ref(), device)?)),
            None => Ok(None),
        }
    }

    /// Locks a device: once it hears of it, it can't be opened until it is unlocked from here. Nothing is lost.
    ///
    /// # Errors
    /// The device is unknown, locked, wiped or being wiped, or there is no reason.
    pub fn lock(&self, actor: UserId, device: DeviceId, reason: &str) -> Result<(), AdminError> {
        let reason = reason_of(reason)?;
        let mut tx = self.app.storage.write()?;
        let device = begin(tx.as_ref(), actor, device)?;
        if !device.status.can_be_locked() {
            return Err(AdminError::AlreadyLocked);
        }
        let (keys, now, id) = (self.app.keys(tx.as_ref())?, self.app.now(), device.id);
        lock(tx.as_mut(), &keys, device, Order { kind: Kind::Lock, reason, by: actor }, now)?;
        record(tx.as_mut(), actor, "lock", id, now)?;
        Ok(tx.commit()?)
    }

    /// Lets a locked device open again. Takes effect when the device next asks; a lock that it has not accepted yet
    /// is taken back.
    ///
    /// # Errors
    /// The device is unknown, not locked, wiped or being wiped.
    pub fn unlock(&self, actor: UserId, device: DeviceId) -> Result<(), AdminError> {
        let mut tx = self.app.storage.write()?;
        let device = begin(tx.as_ref(), actor, device)?;
        if !device.status.can_be_unlocked() {
            return Err(AdminError::NotLocked);
        }
        let id = device.id;
        grant_unlock(tx.as_mut(), device, actor)?;
        record(tx.as_mut(), actor, "unlock", id, self.app.now())?;
        Ok(tx.commit()?)
    }
}

/// Gives a device the command to lock.
pub(super) fn lock(
    tx: &mut dyn WriteTx,
    keys: &OrgKeys,
    mut device: StoredDevice,
    order: Order<'_>,
    now: DateTime<Utc>,
) -> Result<(), AdminError> {
    commands::issue(tx, keys, &device, order, now)?;
    device.status = step(device.status, Event::LockIssued);
    Ok(tx.put_device(&device)?)
}

/// Lets a device open again when it next asks, and takes a lock back that it has not accepted yet.
pub(super) fn grant_unlock(
    tx: &mut dyn WriteTx,
    mut device: StoredDevice,
    actor: UserId,
) -> Result<(), AdminError> {
    commands::supersede(tx, &device)?;
    tx.set_setting(&grant_key(&device), actor.0.as_bytes())?;
    watch::trust_again(tx, &device)?;
    device.status = step(device.status, Event::UnlockGranted);
    tx.call(device.id);
    Ok(tx.put_device(&device)?)
}

/// The device an act is about, if the actor may act and it is not wiped.
fn begin(tx: &(impl ReadTx + ?Sized), actor: UserId, device: DeviceId) -> Result<StoredDevice, AdminError> {
    allow(tx, actor)?;
    let device = tx.device(device)?.ok_or(AdminError::NotFound)?;
    match device.status {
        DeviceStatus::WipePending | DeviceStatus::Shredded | DeviceStatus::Wiped => {
            Err(AdminError::AlreadyWiped)
        }
        _ => Ok(device),
    }
}

/// A reason, if it is one.
pub(super) fn reason_of(reason: &str) -> Result<&str, AdminError> {
    let reason = reason.trim();
    if reason.is_empty() || reason.chars().count() > 200 {
        Err(AdminError::ReasonMissing)
    } else {
        Ok(reason)
    }
}

fn view(tx: &dyn ReadTx, policy: &Policy, device: StoredDevice) -> Result<DeviceView, AdminError> {
    let posture = tx.watch(device.id)?.posture.map(|told| {
        let (verdict, concerns) = told.judge(policy);
        PostureView { verdict, concerns: concerns.iter().map(|(concern, _)| concern.words()).collect(), told }
    });
    Ok(DeviceView {
        id: device.id,
        name: device.name,
        platform: device.platform,
        user: device.user,
        user_name: actor_name(tx, device.user)?,
        state: device.status,
        last_seen: device.seen_ms.map(time),
        unsent: device.unsent,
        core: device.core,
        hardware_keys: device.hardware_keys,
        enrolled_at: time(device.enrolled_ms),
        posture,
    })
}

impl Admin {
    fn detail(&self, tx: &dyn ReadTx, device: StoredDevice) -> Result<DeviceDetail, AdminError> {
        let keys = self.app.keys(tx)?;
        let mut wipes = wipes::of_device(tx, &keys, device.id, self.app.now())?;
        let proposed = wipes.pop_if(|wipe| wipe.standing.is_open());
        let forms = tx.command_forms(device.id)?;
        let receipts = tx.receipts(device.id)?;
        let about = |command| {
            let receipts = receipts.iter().filter(move |receipt| receipt.command == command);
            receipts.map(|receipt| receipt_view(&device, receipt)).collect::<Vec<_>>()
        };
        let mut commands = Vec::new();
        for command in tx.commands(device.id)? {
            let forms = || forms.iter().filter(|form| form.command == command.id);
            let delivered =
                forms().filter(|form| form.delivered_ms.is_some()).min_by_key(|form| form.delivered_ms);
            commands.push(CommandView {
                seq: delivered.or_else(|| forms().next()).map_or(0, |form| form.seq),
                issued_by: actor_name(tx, command.issued_by)?,
                issued_at: time(command.issued_ms),
                delivered_at: delivered.and_then(|form| form.delivered_ms).map(time),
                superseded: command.state == CommandState::Superseded,
                order: wipes.iter().find(|wipe| wipe.command == Some(command.id)).cloned(),
                receipts: about(Some(command.id)),
                kind: command.kind,
                reason: command.reason,
            });
        }
        let local_receipts = about(None);
        let view = view(tx, &tx.policy()?.unwrap_or_default(), device.clone())?;
        Ok(DeviceDetail { view, commands, local_receipts, proposed })
    }
}

fn receipt_view(device: &StoredDevice, stored: &StoredReceipt) -> ReceiptView {
    let mut details = Vec::new();
    let mut handed_over = None;
    let mut add = |label: &str, value: String| details.push((label.to_owned(), value));
    if let Ok(receipt) = SignedReceipt::open(&stored.raw, &device.key) {
        match &receipt.progress {
            Progress::Shredded { keys, platform_confirmed, unsent, trigger } => {
                add("Because of", trigger.words().to_owned());
                let confirmed = if *platform_confirmed { "yes" } else { "no" };
                let keys: Vec<&str> = keys.iter().map(|name| key_words(name)).collect();
                add("Keys destroyed", keys.join(", "));
                add("Confirmed by the platform's keystore", confirmed.to_owned());
                let unsent =
                    unsent.map_or_else(|| "unknown: the app was locked".to_owned(), |n| n.to_string());
                add("Changes unsent at that time", unsent);
            }
            Progress::Complete { files, rescue } => {
                handed_over = Some(*rescue);
                add("Files removed", files.to_string());
                add("Segments of unsent work handed over", rescue.segments.to_string());
                add("Segments of unsent work destroyed", rescue.discarded.to_string());
                add("Unsent photos handed over", rescue.photos.to_string());
                add("Unsent photos destroyed", rescue.photos_discarded.to_string());
            }
            Progress::Refused { reason } => add("Reason", reason.clone()),
            Progress::SoftLocked | Progress::Locked | Progress::Unlocked => {}
        }
        add("Core version", receipt.core);
    }
    ReceiptView {
        progress: stored.progress.clone(),
        at: time(stored.at_ms),
        received_at: time(stored.received_ms),
        verified: stored.verified,
        rescue: handed_over,
        details,
        raw_base64: STANDARD.encode(&stored.raw),
    }
}

/// A key as its device names it, in words.
fn key_words(name: &str) -> &str {
    match name {
        "release share" => "the share that a lock takes away",
        "slots" => "the slots of passcode and biometrics",
        "wrap" => "the key in the phone's keystore",
        other => other,
    }
}
