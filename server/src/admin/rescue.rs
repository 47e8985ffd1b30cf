//! Unsent work that devices handed over: opening it, and deciding what to take.

use super::records::customer_name;
use super::{Admin, AdminError, actor_name, allow, record, time};
use crate::attachments;
use crate::records::load;
use crate::refusal::Refusal;
use crate::rescue::{self, RescueCounts};
use crate::storage::{
    PhotoState, ReadTx, RescueFilter, RescueState, StorageError, StoredPhoto, StoredPhotos, StoredRescue,
    StoredWaiting, WriteTx,
};
use crate::sync::apply;
use chrono::{DateTime, Utc};
use roundsman_model::customer::Customer;
use roundsman_model::visit::Visit;
use roundsman_model::{DeviceId, Entity, Rev, RuleError, UserId, Value};
use roundsman_protocol::rescue::SegmentError;
use roundsman_protocol::sync::{Change, Outcome};
use std::collections::HashMap;
use uuid::Uuid;

/// What a device handed over and nobody has opened.
#[derive(Clone, Debug)]
pub struct WaitingView {
    /// The device.
    pub device: DeviceId,
    /// What its owner calls it.
    pub device_name: String,
    /// The owner's name.
    pub user_name: String,
    /// How many segments.
    pub segments: u64,
    /// How many changes they announce.
    pub changes: u64,
    /// How many photos wait beside them.
    pub photos: u64,
    /// When the last one came in.
    pub received_at: DateTime<Utc>,
}

/// What became of the unsent work that one device handed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RescueStanding {
    /// Changes that nobody has opened yet, as the device announced them.
    pub sealed: u64,
    /// Changes that wait for a decision.
    pub to_review: u64,
    /// Changes that were taken into the records.
    pub taken: u64,
    /// Changes that somebody decided not to take.
    pub dismissed: u64,
    /// Changes that the server had already.
    pub known: u64,
    /// What became of photos.
    pub photos: PhotoStanding,
    /// When the last of it came in.
    pub received_at: Option<DateTime<Utc>>,
}

/// What became of the photos that a device handed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PhotoStanding {
    /// Not all of them has come yet.
    pub coming: u64,
    /// Nobody has opened their keys yet.
    pub sealed: u64,
    /// They are opened and wait for their records, or to be filed within the hour.
    pub waiting: u64,
    /// Their content is filed.
    pub filed: u64,
    /// The server had their content already.
    pub known: u64,
    /// They are not what their records say, or can't be read.
    pub damaged: u64,
}

impl PhotoStanding {
    fn of(photos: &[StoredPhoto]) -> Self {
        let mut standing = Self::default();
        for photo in photos {
            *match photo.state {
                PhotoState::Coming => &mut standing.coming,
                PhotoState::Sealed => &mut standing.sealed,
                PhotoState::Opened => &mut standing.waiting,
                PhotoState::Filed => &mut standing.filed,
                PhotoState::Known => &mut standing.known,
                PhotoState::Damaged => &mut standing.damaged,
            } += 1;
        }
        standing
    }
}

/// What came of opening.
#[derive(Clone, Debug, Default)]
pub struct RescueReport {
    /// By device, in the order in which their segments came in.
    pub devices: Vec<DeviceRescue>,
    /// Segments that are sealed to another key; they wait on.
    pub other_key: u64,
    /// Segments whose stored bytes are damaged; they wait on.
    pub unreadable: u64,
    /// Photos that are sealed to another key; they wait on.
    pub photos_other_key: u64,
}

/// What came of opening one device's segments.
#[derive(Clone, Debug)]
pub struct DeviceRescue {
    /// The device.
    pub device: DeviceId,
    /// What its owner calls it.
    pub name: String,
    /// What was in its segments.
    pub counts: RescueCounts,
}

impl RescueReport {
    /// The counts of all devices together.
    pub fn total(&self) -> RescueCounts {
        let mut total = RescueCounts::default();
        for device in &self.devices {
            total += device.counts;
        }
        total
    }

    fn add(&mut self, device: DeviceId, name: String, counts: RescueCounts) {
        match self.devices.iter_mut().find(|known| known.device == device) {
            Some(known) => known.counts += counts,
            None => self.devices.push(DeviceRescue { device, name, counts }),
        }
    }
}

/// A rescued change in a list.
#[derive(Clone, Debug)]
pub struct RescuedView {
    /// Its own id.
    pub change: Uuid,
    /// The device it comes from.
    pub device: DeviceId,
    /// What the device's owner calls it.
    pub device_name: String,
    /// Who made it.
    pub user: UserId,
    /// That person's name.
    pub user_name: String,
    /// The entity.
    pub entity: String,
    /// The record.
    pub record: Uuid,
    /// The customer's name, of the record itself or of the visit's customer; empty if it isn't known.
    pub customer_name: String,
    /// When it was made, by the device's clock.
    pub made_at: DateTime<Utc>,
    /// Whether the device says that it was not saved.
    pub void: bool,
    /// Whether it removes the record.
    pub removes: bool,
    /// What became of it.
    pub state: RescueState,
    /// Why it was refused, when it was sent or when somebody wanted to take it.
    pub reason: Option<String>,
    /// The fields it sets; none some time after it was settled.
    pub fields: Vec<(String, Value)>,
    /// The record's version that its author saw; 0 if there was none, or some time after it was settled.
    pub base: Rev,
}

/// What came of taking a change.
#[derive(Clone, Debug, PartialEq)]
pub enum Taken {
    /// It is part of the record now.
    Applied,
    /// The rules refuse it. It waits on, with the reason.
    Refused(RuleError),
}

/// What came of taking all of a device's changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TakenAll {
    /// How many are part of their records now.
    pub applied: u64,
    /// Those that the rules refuse, with the reasons. They wait on.
    pub refused: Vec<(Uuid, RuleError)>,
}

impl Admin {
    /// What devices handed over and nobody has opened.
    ///
    /// # Errors
    /// [`AdminError::Storage`].
    pub fn rescue_waiting(&self) -> Result<Vec<WaitingView>, AdminError> {
        let tx = self.app.storage.read()?;
        let (photos, mut waiting) = (tx.waiting_photos()?, tx.waiting_segments()?);
        for StoredPhotos { device, received_ms, .. } in &photos {
            match waiting.iter_mut().find(|waiting| waiting.device == *device) {
                Some(waiting) => waiting.received_ms = waiting.received_ms.max(*received_ms),
                None => waiting.push(StoredWaiting {
                    device: *device,
                    segments: 0,
                    changes: 0,
                    received_ms: *received_ms,
                }),
            }
        }
        waiting
            .into_iter()
            .map(|waiting| {
                let device = tx.device(waiting.device)?.ok_or(AdminError::NotFound)?;
                Ok(WaitingView {
                    device: device.id,
                    device_name: device.name,
                    user_name: actor_name(tx.as_ref(), device.user)?,
                    segments: waiting.segments,
                    changes: waiting.changes,
                    photos: photos.iter().find(|it| it.device == waiting.device).map_or(0, |it| it.photos),
                    received_at: time(waiting.received_ms),
                })
            })
            .collect()
    }

    /// What became of the unsent work that this device handed over.
    ///
    /// # Errors
    /// [`AdminError::Storage`].
    pub fn rescue_standing(&self, device: DeviceId) -> Result<RescueStanding, AdminError> {
        let tx = self.app.storage.read()?;
        let mut standing = RescueStanding::default();
        if let Some(waiting) = tx.waiting_segments()?.into_iter().find(|waiting| waiting.device == device) {
            standing.sealed = waiting.changes;
            standing.received_at = Some(time(waiting.received_ms));
        }
        let filter =
            RescueFilter { device: Some(device), state: None, void: false, limit: i64::MAX as usize };
        for change in tx.rescued(&filter)? {
            match change.state {
                RescueState::NeedsReview => standing.to_review += 1,
                RescueState::Taken => standing.taken += 1,
                RescueState::Dismissed => standing.dismissed += 1,
                RescueState::Known => standing.known += 1,
            }
        }
        let photos = tx.photos(Some(device), None)?;
        standing.photos = PhotoStanding::of(&photos);
        let last = photos.iter().map(|photo| time(photo.moved_ms)).max();
        standing.received_at = standing.received_at.max(last);
        Ok(standing)
    }

    /// Opens every segment that waits with the private rescue key, and files the changes in them for review, and
    /// the keys of photos that wait. Nothing is applied; opening twice changes nothing. The key is used and not kept. What
    /// was opened 30 days ago or earlier is deleted.
    ///
    /// # Errors
    /// [`AdminError::NotAllowed`]; [`AdminError::WrongRescueKey`] if something waits and the key opens none of it.
    pub fn open_rescue(&self, actor: UserId, rescue_private: &[u8; 32]) -> Result<RescueReport, AdminError> {
        let tx = self.app.storage.read()?;
        allow(tx.as_ref(), actor)?;
        let sealed = tx.sealed_segments()?;
        let photos = tx.photos(None, Some(PhotoState::Sealed))?;
        drop(tx);
        let now = self.app.now();
        let mut report = RescueReport::default();
        for (device, segment) in sealed {
            // One at a time: segments are large, and devices must not wait for all of them.
            let mut tx = self.app.storage.write()?;
            let device = tx.device(device)?.ok_or(AdminError::NotFound)?;
            let stored = tx.segment(device.id, segment)?.filter(|stored| stored.opened_ms.is_none());
            let Some(stored) = stored else { continue };
            match rescue::open(tx.as_mut(), &device, stored, rescue_private, now)? {
                Ok(counts) => {
                    record(tx.as_mut(), actor, "open_rescue", segment, now)?;
                    tx.commit()?;
                    report.add(device.id, device.name, counts);
                }
                Err(SegmentError::OtherKey) => report.other_key += 1,
                Err(_) => report.unreadable += 1,
            }
        }
        for photo in photos {
            let mut tx = self.app.storage.write()?;
            let device = tx.device(photo.device)?.ok_or(AdminError::NotFound)?;
            let stored = tx.photo(device.id, photo.file)?.filter(|stored| stored.state == PhotoState::Sealed);
            let Some(stored) = stored else { continue };
            match rescue::open_photo(tx.as_mut(), stored, rescue_private, now)? {
                Ok(counts) => {
                    record(tx.as_mut(), actor, "open_rescued_photo", photo.attachment, now)?;
                    tx.commit()?;
                    report.add(device.id, device.name, counts);
                }
                Err(_) => report.photos_other_key += 1,
            }
        }
        let mut tx = self.app.storage.write()?;
        rescue::forget_old(tx.as_mut(), now)?;
        tx.commit()?;
        if report.devices.is_empty() && report.other_key + report.photos_other_key > 0 {
            return Err(AdminError::WrongRescueKey);
        }
        Ok(report)
    }

    /// Files the content of rescued photos whose keys are opened and whose records are here, as if their phones had sent
    /// it. A running server does it by itself once an hour. Returns how many were filed.
    ///
    /// # Errors
    /// [`AdminError::Storage`]. What can't be filed for now is tried again the next time.
    pub async fn file_rescued_photos(&self) -> Result<u64, AdminError> {
        attachments::file_rescued(&self.app).await.map_err(|refusal| match refusal {
            Refusal::Storage(error) => AdminError::Storage(error),
            _ => AdminError::Storage(StorageError::Damaged("photo")),
        })
    }

    /// Rescued changes, by device and in the order in which they were made.
    ///
    /// # Errors
    /// [`AdminError::Storage`].
    pub fn rescued(&self, filter: &RescueFilter) -> Result<Vec<RescuedView>, AdminError> {
        let tx = self.app.storage.read()?;
        // A visit that is not taken yet tells its later changes' customer.
        let mut visits = HashMap::new();
        tx.rescued(filter)?.into_iter().map(|rescue| view(tx.as_ref(), rescue, &mut visits)).collect()
    }

    /// How many rescued changes of a device, or of all, wait for somebody.
    ///
    /// # Errors
    /// [`AdminError::Storage`].
    pub fn rescued_count(&self, device: Option<DeviceId>) -> Result<u64, AdminError> {
        Ok(self.app.storage.read()?.rescued_waiting(device)?)
    }

    /// Takes a rescued change into the records: as the person who made it, at the time it was made, by the same rules
    /// as if the device had sent it. If the device sends it later all the same, it gets this outcome.
    ///
    /// # Errors
    /// [`AdminError::NotAllowed`], [`AdminError::NotFound`]; [`AdminError::AlreadySettled`] if it doesn't wait.
    pub fn take_rescued(&self, actor: UserId, change: Uuid) -> Result<Taken, AdminError> {
        let now = self.app.now();
        let mut tx = self.app.storage.write()?;
        allow(tx.as_ref(), actor)?;
        let rescue = tx.rescued_change(change)?.ok_or(AdminError::NotFound)?;
        let taken = take(tx.as_mut(), actor, rescue, now)?;
        tx.commit()?;
        Ok(taken)
    }

    /// Takes all changes of a device that wait, in the order in which they were made; those that the device says were
    /// not saved are left out.
    ///
    /// # Errors
    /// [`AdminError::NotAllowed`], [`AdminError::NotFound`].
    pub fn take_all_rescued(&self, actor: UserId, device: DeviceId) -> Result<TakenAll, AdminError> {
        let now = self.app.now();
        let mut tx = self.app.storage.write()?;
        allow(tx.as_ref(), actor)?;
        tx.device(device)?.ok_or(AdminError::NotFound)?;
        let filter = RescueFilter {
            device: Some(device),
            state: Some(RescueState::NeedsReview),
            void: false,
            limit: i64::MAX as usize,
        };
        let mut all = TakenAll::default();
        for rescue in tx.rescued(&filter)? {
            let change = rescue.change;
            match take(tx.as_mut(), actor, rescue, now)? {
                Taken::Applied => all.applied += 1,
                Taken::Refused(reason) => all.refused.push((change, reason)),
            }
        }
        tx.commit()?;
        Ok(all)
    }

    /// Decides not to take a rescued change. Its content is deleted 30 days later.
    ///
    /// # Errors
    /// [`AdminError::NotAllowed`], [`AdminError::NotFound`]; [`AdminError::AlreadySettled`] if it doesn't wait.
    pub fn dismiss_rescued(&self, actor: UserId, change: Uuid) -> Result<(), AdminError> {
        let now = self.app.now();
        let mut tx = self.app.storage.write()?;
        allow(tx.as_ref(), actor)?;
        let mut rescue = tx.rescued_change(change)?.ok_or(AdminError::NotFound)?;
        if rescue.state != RescueState::NeedsReview {
            return Err(AdminError::AlreadySettled);
        }
        rescue.state = RescueState::Dismissed;
        rescue.settled_ms = Some(now.timestamp_millis());
        tx.put_rescued(&rescue)?;
        record(tx.as_mut(), actor, "dismiss_rescued", change, now)?;
        Ok(tx.commit()?)
    }
}

fn take(
    tx: &mut dyn WriteTx,
    actor: UserId,
    mut rescue: StoredRescue,
    now: DateTime<Utc>,
) -> Result<Taken, AdminError> {
    let Some(mutation) = rescue.mutation.as_ref().filter(|_| rescue.state == RescueState::NeedsReview) else {
        return Err(AdminError::AlreadySettled);
    };
    let author = tx.user(rescue.user)?.ok_or(AdminError::NotFound)?;
    let outcome = apply::one(tx, rescue.device, &author, mutation, now)?;
    let (taken, act) = match &outcome {
        Outcome::Applied { .. } => (Taken::Applied, "take_rescued"),
        Outcome::Rejected { reason } => (Taken::Refused(reason.clone()), "try_rescued"),
    };
    if let Taken::Refused(reason) = &taken {
        rescue.reason = Some(reason.to_string());
    } else {
        rescue.state = RescueState::Taken;
        rescue.reason = None;
        rescue.settled_ms = Some(now.timestamp_millis());
        rescue.outcome = Some(outcome);
    }
    tx.put_rescued(&rescue)?;
    record(tx, actor, act, rescue.change, now)?;
    Ok(taken)
}

fn view(
    tx: &dyn ReadTx,
    rescue: StoredRescue,
    visits: &mut HashMap<Uuid, Uuid>,
) -> Result<RescuedView, AdminError> {
    let removes = rescue.mutation.as_ref().is_some_and(|mutation| mutation.change == Change::Delete);
    let (fields, base) = rescue.mutation.map(|mutation| (mutation.fields, mutation.base)).unwrap_or_default();
    let customer = if rescue.entity == Visit::DEF.name {
        let named = fields.get("customer").and_then(id);
        if let Some(customer) = named {
            visits.insert(rescue.record, customer);
        }
        match named.or_else(|| visits.get(&rescue.record).copied()) {
            Some(customer) => Some(customer),
            None => load(tx, Visit::DEF, rescue.record)?
                .and_then(|visit| visit.fields.get("customer").and_then(Value::as_id)),
        }
    } else {
        Some(rescue.record).filter(|_| rescue.entity == Customer::DEF.name)
    };
    let mut name = customer_name(tx, customer)?;
    if name.is_empty() && rescue.entity == Customer::DEF.name {
        fields.get("name").and_then(Value::as_text).unwrap_or_default().clone_into(&mut name);
    }
    Ok(RescuedView {
        change: rescue.change,
        device: rescue.device,
        device_name: tx.device(rescue.device)?.map(|device| device.name).unwrap_or_default(),
        user: rescue.user,
        user_name: actor_name(tx, rescue.user)?,
        entity: rescue.entity,
        record: rescue.record,
        customer_name: name,
        made_at: time(rescue.made_ms),
        void: rescue.void,
        removes,
        state: rescue.state,
        reason: rescue.reason,
        fields: fields.into_iter().collect(),
        base,
    })
}

/// An id as JSON has it: still a text, until its entity admits it.
fn id(value: &Value) -> Option<Uuid> {
    value.as_id().or_else(|| value.as_text()?.parse().ok())
}
