//! Alerts: what an administrator should look at.

use super::{Admin, AdminError, actor_name, allow, record, time};
use crate::devices::watch;
use crate::sync::{PUT_BACK, apply};
use crate::verify::FindingKind;
use chrono::{DateTime, Utc};
use roundsman_model::{DeviceId, UserId};
use std::collections::BTreeSet;
use uuid::Uuid;

/// What was noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AlertKind {
    /// Two devices answer with one key; the device was locked.
    Copied,
    /// A device's store went back to an older state; the device was locked.
    StoreWentBack,
    /// A spent refresh token was used again; the device was locked.
    TokenReuse,
    /// A phone's starts alternate.
    BootsAlternate,
    /// A device that takes turns reported without one.
    TurnMissing,
    /// A device does not get a command that was given.
    Withheld,
    /// The policy does not let the phone's state pass.
    Posture,
    /// A device brought a receipt that proves nothing.
    Receipt,
    /// Many wipes in a short time: further ones are held.
    WipeBreaker,
    /// A wipe on its way was approved by people who are no approvers any more.
    WipeVoid,
    /// A device's audit log is not what it was.
    AuditLog,
    /// The root metadata expires soon.
    RootExpires,
    /// A device that wanted to be enrolled was refused: the digits did not match.
    EnrolmentRefused,
    /// What a device holds is not what the server has sent; the device fetches it anew.
    DataDiffers,
    /// A check of everything has found this.
    Found(FindingKind),
}

impl AlertKind {
    /// Every kind, with the name it is stored under.
    pub(crate) const NAMES: [(Self, &'static str); 32] = [
        (Self::Copied, "copied"),
        (Self::StoreWentBack, "store_went_back"),
        (Self::TokenReuse, "token_reuse"),
        (Self::BootsAlternate, "boots_alternate"),
        (Self::TurnMissing, "turn_missing"),
        (Self::Withheld, "withheld"),
        (Self::Posture, "posture"),
        (Self::Receipt, "receipt"),
        (Self::WipeBreaker, "wipe_breaker"),
        (Self::WipeVoid, "wipe_void"),
        (Self::AuditLog, "audit_log"),
        (Self::RootExpires, "root_expires"),
        (Self::EnrolmentRefused, "enrolment_refused"),
        (Self::DataDiffers, "data_differs"),
        (Self::Found(FindingKind::Database), "found_database"),
        (Self::Found(FindingKind::Unreadable), "found_unreadable"),
        (Self::Found(FindingKind::RecordChanged), "found_record_changed"),
        (Self::Found(FindingKind::RecordUnreadable), "found_record_unreadable"),
        (Self::Found(FindingKind::RecordInOtherBucket), "found_record_in_other_bucket"),
        (Self::Found(FindingKind::BucketSum), "found_bucket_sum"),
        (Self::Found(FindingKind::LogEnd), "found_log_end"),
        (Self::Found(FindingKind::NotLogged), "found_not_logged"),
        (Self::Found(FindingKind::RemovalNotLogged), "found_removal_not_logged"),
        (Self::Found(FindingKind::NotThere), "found_not_there"),
        (Self::Found(FindingKind::NotGone), "found_not_gone"),
        (Self::Found(FindingKind::Search), "found_search"),
        (Self::Found(FindingKind::ServerAudit), "found_server_audit"),
        (Self::Found(FindingKind::DeviceAudit), "found_device_audit"),
        (Self::Found(FindingKind::ContentUnknown), "found_content_unknown"),
        (Self::Found(FindingKind::ContentMissing), "found_content_missing"),
        (Self::Found(FindingKind::ContentSize), "found_content_size"),
        (Self::Found(FindingKind::ContentChanged), "found_content_changed"),
    ];

    /// The words for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Copied => "two devices answer with this device's key; it was locked",
            Self::StoreWentBack => "an older copy of this device's data was put back; it was locked",
            Self::TokenReuse => "a copied sign-in of this device was used; it was locked",
            Self::BootsAlternate => "two phones seem to take turns as this device",
            Self::TurnMissing => "this device reported without the proof that it is no copy",
            Self::Withheld => "a command that was given does not reach this device",
            Self::Posture => "the policy does not let this phone's state pass",
            Self::Receipt => "this device brought a receipt that proves nothing",
            Self::WipeBreaker => "many wipes in a short time: further ones are held",
            Self::WipeVoid => "the approvals of this device's wipe no longer count: propose it again",
            Self::AuditLog => "entries of this device's audit log are missing or were changed",
            Self::RootExpires => "the root expires: sign it anew with `root renew` and the root key",
            Self::Found(kind) => kind.words(),
            Self::DataDiffers => "this device did not hold what the server has, and fetched it anew",
            Self::EnrolmentRefused => {
                "an enrolment was refused, as the digits did not match: somebody may have seen the code"
            }
        }
    }
}

/// An alert.
#[derive(Clone, Debug)]
pub struct AlertView {
    /// Its id.
    pub id: Uuid,
    /// What was noticed.
    pub kind: AlertKind,
    /// The device it is about.
    pub device: Option<DeviceId>,
    /// That device's name.
    pub device_name: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
    /// Figures to it; may be empty.
    pub detail: String,
    /// Who has seen it, and when.
    pub seen: Option<(String, DateTime<Utc>)>,
}

/// How much waits for somebody, each counted up to [`Pending::MOST`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// Alerts that nobody has seen.
    pub alerts: u64,
    /// Wipes that wait for approvals.
    pub wipes: u64,
    /// Devices whose unsent work nobody has opened, and rescued changes that wait for a decision.
    pub rescue: u64,
}

impl Pending {
    /// Beyond this nobody counts.
    pub const MOST: u64 = 100;
}

impl Admin {
    /// How much waits for somebody.
    ///
    /// # Errors
    /// [`AdminError::Storage`].
    pub fn pending(&self) -> Result<Pending, AdminError> {
        let wipes = self.wipe_proposals()?.len() as u64;
        let tx = self.app.storage.read()?;
        let alerts = tx.alerts(Pending::MOST as usize)?;
        let devices: BTreeSet<DeviceId> = (tx.waiting_segments()?.iter().map(|waiting| waiting.device))
            .chain(tx.waiting_photos()?.iter().map(|waiting| waiting.device))
            .collect();
        let rescue = devices.len() as u64 + tx.rescued_waiting(None)?;
        Ok(Pending {
            alerts: alerts.iter().filter(|alert| alert.seen_ms.is_none()).count() as u64,
            wipes: wipes.min(Pending::MOST),
            rescue: rescue.min(Pending::MOST),
        })
    }

    /// The alerts: those that nobody has seen first, then the latest first.
    ///
    /// # Errors
    /// [`AdminError::Storage`].
    pub fn alerts(&self, limit: usize) -> Result<Vec<AlertView>, AdminError> {
        let tx = self.app.storage.read()?;
        tx.alerts(limit)?
            .into_iter()
            .map(|alert| {
                let device = alert.device.map(|device| tx.device(device)).transpose()?.flatten();
                let seen_by = alert.seen_by.map(|by| actor_name(tx.as_ref(), by)).transpose()?;
                Ok(AlertView {
                    id: alert.id,
                    kind: alert.kind,
                    device: alert.device,
                    device_name: device.map(|device| device.name),
                    at: time(alert.at_ms),
                    detail: alert.detail,
                    seen: seen_by.zip(alert.seen_ms.map(time)),
                })
            })
            .collect()
    }

    /// Notes that an alert was seen. The same thing raises a new one from now on.
    ///
    /// # Errors
    /// [`AdminError::NotFound`] if there is no such alert.
    pub fn acknowledge(&self, actor: UserId, alert: Uuid) -> Result<(), AdminError> {
        let now = self.app.now();
        let mut tx = self.app.storage.write()?;
        allow(tx.as_ref(), actor)?;
        let mut alert = tx.alert(alert)?.ok_or(AdminError::NotFound)?;
        if alert.seen_ms.is_none() {
            alert.seen_by = Some(actor);
            alert.seen_ms = Some(now.timestamp_millis());
            tx.put_alert(&alert)?;
            record(tx.as_mut(), actor, "acknowledge", alert.id, now)?;
        }
        Ok(tx.commit()?)
    }

    /// Takes the next turn and the next change of every device, whatever their numbers are. For the first start after a
    /// backup was put back: the server has forgotten what came since, and would take every device for a copy and wait
    /// for changes that no device has any more.
    ///
    /// # Errors
    /// [`AdminError::Storage`].
    pub fn trust_turns_anew(&self, actor: UserId) -> Result<(), AdminError> {
        let mut tx = self.app.storage.write()?;
        allow(tx.as_ref(), actor)?;
        for device in tx.devices()? {
            watch::trust_again(tx.as_mut(), &device)?;
            apply::resume(tx.as_mut(), device.id)?;
        }
        let now = self.app.now();
        tx.set_setting(PUT_BACK, &now.timestamp_millis().to_be_bytes())?;
        record(tx.as_mut(), actor, "trust_turns_anew", "", now)?;
        Ok(tx.commit()?)
    }
}
