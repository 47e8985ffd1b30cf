//! Devices that wait for a person to compare digits.

use super::{Admin, AdminError, AlertKind, allow, record};
use crate::devices::alerts::raise;
use crate::enrolment::{self, CONFIRM_MINUTES};
use crate::storage::{EnrolmentState, EnrolmentsRead, StoredEnrolment};
use chrono::{DateTime, TimeDelta, Utc};
use roundsman_model::UserId;
use roundsman_protocol::enrolment::Digits;
use uuid::Uuid;

/// A device that waits to be let in.
#[derive(Clone, Debug)]
pub struct EnrolmentView {
    /// The enrolment's id.
    pub id: Uuid,
    /// Whose ticket it was.
    pub user_name: String,
    /// What its owner calls the device, as it says.
    pub device_name: String,
    /// `android`, `ios`, `linux`, as it says.
    pub platform: String,
    /// Whether its keys are in secure hardware, as it says.
    pub hardware_keys: bool,
    /// What the device must show too; none until it has revealed its random value, which takes it a moment.
    pub digits: Option<Digits>,
    /// Whether the digits were confirmed; the device comes for the answer by itself.
    pub confirmed: bool,
    /// Until when it waits.
    pub until: DateTime<Utc>,
}

impl Admin {
    /// Whether a person compares digits before a device is let in. Off at first.
    ///
    /// # Errors
    /// [`AdminError::Storage`].
    pub fn confirms_enrolments(&self) -> Result<bool, AdminError> {
        Ok(enrolment::needs_confirmation(self.app.storage.read()?.as_ref())?)
    }

    /// Sets whether a person compares digits before a device is let in.
    ///
    /// # Errors
    /// [`AdminError::NotAllowed`].
    pub fn set_confirms_enrolments(&self, actor: UserId, on: bool) -> Result<(), AdminError> {
        let mut tx = self.app.storage.write()?;
        allow(tx.as_ref(), actor)?;
        enrolment::set_needs_confirmation(tx.as_mut(), on)?;
        let object = if on { "on" } else { "off" };
        record(tx.as_mut(), actor, "set_confirm_enrolments", object, self.app.now())?;
        Ok(tx.commit()?)
    }

    /// The devices that wait to be let in, the first one first.
    ///
    /// # Errors
    /// [`AdminError::Storage`].
    pub fn waiting_enrolments(&self) -> Result<Vec<EnrolmentView>, AdminError> {
        let now = self.app.now();
        let tx = self.app.storage.read()?;
        let since = now - TimeDelta::minutes(CONFIRM_MINUTES + 1);
        let mut waiting = Vec::new();
        for it in tx.enrolments_since(since.timestamp_millis())? {
            if !it.is_open(now) {
                continue;
            }
            waiting.push(EnrolmentView {
                id: it.id,
                user_name: tx.user(it.user)?.map(|user| user.name).unwrap_or_default(),
                until: it.until(),
                device_name: it.name,
                platform: it.platform,
                hardware_keys: it.hardware_keys,
                digits: it.digits,
                confirmed: it.state == EnrolmentState::Confirmed,
            });
        }
        Ok(waiting)
    }

    /// The device shows the same digits: it is let in when it next asks.
    ///
    /// # Errors
    /// [`AdminError::EnrolmentClosed`] if it has shown no digits yet, was refused, let in, or has waited too long.
    pub fn confirm_enrolment(&self, actor: UserId, enrolment: Uuid) -> Result<(), AdminError> {
        let now = self.app.now();
        let mut tx = self.app.storage.write()?;
        allow(tx.as_ref(), actor)?;
        let mut it = open(tx.as_ref(), enrolment, now)?;
        if it.digits.is_none() {
            return Err(AdminError::EnrolmentClosed);
        }
        if it.state == EnrolmentState::Waiting {
            it.state = EnrolmentState::Confirmed;
            tx.set_enrolment(&it)?;
            record(tx.as_mut(), actor, "confirm_enrolment", it.id, now)?;
        }
        Ok(tx.commit()?)
    }

    /// The device shows other digits, or none: it is refused for good, and an alert is raised.
    ///
    /// # Errors
    /// [`AdminError::EnrolmentClosed`] if it was refused, let in, or has waited too long.
    pub fn refuse_enrolment(&self, actor: UserId, enrolment: Uuid) -> Result<(), AdminError> {
        let now = self.app.now();
        let mut tx = self.app.storage.write()?;
        allow(tx.as_ref(), actor)?;
        let mut it = open(tx.as_ref(), enrolment, now)?;
        it.state = EnrolmentState::Refused;
        tx.set_enrolment(&it)?;
        raise(tx.as_mut(), AlertKind::EnrolmentRefused, None, format!("enrolment {}", it.id), now)?;
        record(tx.as_mut(), actor, "refuse_enrolment", it.id, now)?;
        Ok(tx.commit()?)
    }
}

fn open(
    tx: &(impl EnrolmentsRead + ?Sized),
    enrolment: Uuid,
    now: DateTime<Utc>,
) -> Result<StoredEnrolment, AdminError> {
    let found = tx.enrolment(enrolment)?.ok_or(AdminError::NotFound)?;
    if found.is_open(now) { Ok(found) } else { Err(AdminError::EnrolmentClosed) }
}

impl StoredEnrolment {
    fn is_open(&self, now: DateTime<Utc>) -> bool {
        !matches!(self.state, EnrolmentState::Refused | EnrolmentState::Done) && !self.is_over(now)
    }
}
