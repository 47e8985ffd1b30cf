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
use crate::storage::{StoredDevice, WriteTx};
use crate::{devices, tokens};
use chrono::{DateTime, Utc};
pub(crate) use pull::PUT_BACK;
use pull::{Feed, StoredPage};
use roundsman_model::{Bucket, Seq};
use roundsman_protocol::ErrorCode;
use roundsman_protocol::api::CheckinAnswer;
use roundsman_protocol::integrity::Difference;
use roundsman_protocol::keys::DeviceKey;
use roundsman_protocol::sync::{Head, Line, Mutation, MutationResult};
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
/// The check-in is committed first and by itself: a command reaches the device even if its changes are refused.
pub(crate) fn run(
    app: &Arc<App>,
    key: &DeviceKey,
    access: &str,
    head: &Head,
    mutations: &[Mutation],
) -> Result<Answer, Refusal> {
    let now = app.now();
    let mut tx = app.storage.write()?;
    let mut device = tokens::authorise(tx.as_ref(), key, access, now.timestamp_millis())?;
    let user = tx.user(device.user)?.ok_or(ErrorCode::TokenInvalid)?;
    let keys = app.keys(tx.as_ref())?;
    let report = devices::check_in(tx.as_mut(), &keys, &mut device, &head.device, now)?;
    for difference in &head.differences {
        tell(tx.as_mut(), &device, difference, now)?;
    }
    tx.commit()?;

    // Work that was done before a lock or a wipe arrives is the rep's, and is taken.
    let takes_changes =
        matches!(device.status, DeviceStatus::Active | DeviceStatus::LockPending | DeviceStatus::WipePending);
    let results = if takes_changes && !mutations.is_empty() {
        let mut tx = app.storage.write()?;
        tx.sent_by(device.id);
        let results = apply::all(tx.as_mut(), device.id, &user, mutations, now)?;
        tx.commit()?;
        results
    } else {
        vec![]
    };
    let mine = buckets(user.id, &user.territories);
    let feed = if device.status == DeviceStatus::Active {
        Some(Feed::begin(Arc::clone(app), &mine, &head.cursors, device.enrolled_ms)?)
    } else {
        None
    };
    Ok(Answer::new(report, results, mine, feed, now))
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
        results: Vec<MutationResult>,
        mine: Vec<Bucket>,
        feed: Option<Feed>,
        server_time: DateTime<Utc>,
    ) -> Self {
        let mut ready: VecDeque<Sent> = [Sent::Device(report)].into();
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
