//! `POST /v1/sync`: takes a device's changes in, exactly once, and gives it what changed elsewhere.

pub(crate) mod apply;
#[cfg(test)]
mod merge_tests;
mod pull;
#[cfg(test)]
mod tests;

use crate::admin::{AlertKind, DeviceStatus};
use crate::app::{App, buckets};
use crate::devices::alerts;
use crate::refusal::Refusal;
use crate::storage::{StoredDevice, StoredUser, WriteTx};
use crate::{devices, tokens};
use chrono::{DateTime, Utc};
pub(crate) use pull::PUT_BACK;
use pull::{Feed, StoredPage};
use roundsman_model::{Bucket, Seq};
use roundsman_protocol::ErrorCode;
use roundsman_protocol::api::CheckinAnswer;
use roundsman_protocol::integrity::{Difference, declarations};
use roundsman_protocol::keys::DeviceKey;
use roundsman_protocol::sync::{Head, Line, Mutation, MutationResult, Own};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

/// A frame with a page as it is stored.
pub(crate) type Sent = Line<StoredPage>;

/// What a request leads to: frames that are ready, and the pages still to be read.
pub(crate) struct Answer {
    ready: VecDeque<Sent>,
    feed: Option<Feed>,
    server_time: DateTime<Utc>,
    ended: bool,
}

/// Does a request's work: check-in, mutations, and where its pages begin.
///
/// All of it is one commit. The check-in is committed also if the changes are refused: what the device has reported stands.
pub(crate) fn run(
    app: &Arc<App>,
    key: &DeviceKey,
    access: &str,
    head: &Head,
    mutations: &[Mutation],
) -> Result<Answer, Refusal> {
    let now = app.now();
    let mut tx = app.storage.write()?;
    let Reported { device, user, report } = check_in(app, tx.as_mut(), key, access, head, now)?;

    // Work that was done before a lock or a wipe arrives is the rep's, and is taken.
    let takes_changes =
        matches!(device.status, DeviceStatus::Active | DeviceStatus::LockPending | DeviceStatus::WipePending);
    let (results, own) = if takes_changes && !mutations.is_empty() {
        tx.sent_by(device.id);
        // A device of other declarations would make other rows of its changes.
        let cursors = (head.own.as_deref() == Some(declarations())).then_some(&head.cursors);
        match apply::all(tx.as_mut(), device.id, &user, mutations, cursors, now) {
            Ok(done) => done,
            Err(refused) => {
                drop(tx);
                let mut tx = app.storage.write()?;
                check_in(app, tx.as_mut(), key, access, head, now)?;
                tx.commit()?;
                return Err(refused);
            }
        }
    } else {
        (vec![], None)
    };
    tx.commit()?;
    let mine = buckets(user.id, &user.territories);
    let feed = if device.status == DeviceStatus::Active {
        let mut cursors = Cow::Borrowed(&head.cursors);
        if let Some(own) = own.as_ref().filter(|own| !own.cursors.is_empty()) {
            cursors.to_mut().extend(own.cursors.clone());
        }
        Some(Feed::begin(Arc::clone(app), &mine, &cursors, device.enrolled_ms)?)
    } else {
        None
    };
    Ok(Answer::new(report, own, results, mine, feed, now))
}

/// A device that has reported.
struct Reported {
    device: StoredDevice,
    user: StoredUser,
    report: CheckinAnswer,
}

/// Takes a request's report in.
fn check_in(
    app: &App,
    tx: &mut dyn WriteTx,
    key: &DeviceKey,
    access: &str,
    head: &Head,
    now: DateTime<Utc>,
) -> Result<Reported, Refusal> {
    let mut device = tokens::authorise(tx, key, access, now.timestamp_millis())?;
    let user = tx.user(device.user)?.ok_or(ErrorCode::TokenInvalid)?;
    let keys = app.keys(tx)?;
    let report = devices::check_in(tx, &keys, &mut device, &head.device, now)?;
    for difference in &head.differences {
        tell(tx, &device, difference, now)?;
    }
    Ok(Reported { device, user, report })
}

/// Raises an alert about a bucket that a device did not hold as it was sent.
fn tell(
    tx: &mut dyn WriteTx,
    device: &StoredDevice,
    difference: &Difference,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    let (bucket, found, expected) = (&difference.bucket, difference.found.rows, difference.expected.rows);
    let short: String = bucket.0.chars().take(MAX_NAME).collect();
    let stays = if difference.stays { "; it still differs after all of it was fetched anew" } else { "" };
    let detail = format!("{short}: {found} records on the device, {expected} here{stays}");
    Ok(alerts::raise(tx, AlertKind::DataDiffers, Some(device.id), detail, now)?)
}

/// The most characters of a bucket's name in an alert: a device may say anything.
const MAX_NAME: usize = 80;

impl Answer {
    fn new(
        report: CheckinAnswer,
        own: Option<Own>,
        results: Vec<MutationResult>,
        mine: Vec<Bucket>,
        feed: Option<Feed>,
        server_time: DateTime<Utc>,
    ) -> Self {
        let mut ready: VecDeque<Sent> = [Sent::Device(report)].into();
        ready.extend(own.filter(|own| *own != Own::default()).map(Sent::Own));
        ready.extend(results.into_iter().map(Sent::Result));
        if feed.is_some() {
            ready.push_back(Sent::Buckets(mine));
        }
        Self { ready, feed, server_time, ended: false }
    }

    /// The next frame; `None` after the end.
    pub(crate) fn next(&mut self) -> Result<Option<Sent>, Refusal> {
        if let Some(frame) = self.ready.pop_front() {
            return Ok(Some(frame));
        }
        if let Some(feed) = &mut self.feed {
            if let Some(page) = feed.next()? {
                return Ok(Some(Sent::Page(page)));
            }
            self.ready.extend(feed.checkpoints()?.into_iter().map(Sent::Checkpoint));
            self.feed = None;
            if let Some(frame) = self.ready.pop_front() {
                return Ok(Some(frame));
            }
        }
        if self.ended {
            return Ok(None);
        }
        self.ended = true;
        Ok(Some(Sent::End { server_time: self.server_time }))
    }

    /// Whether frames are ready without reading pages.
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }
}

/// How far a client has read a bucket.
fn cursor(cursors: &std::collections::BTreeMap<Bucket, Seq>, bucket: &Bucket) -> Seq {
    cursors.get(bucket).copied().unwrap_or_default()
}
