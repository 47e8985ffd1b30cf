//! One sync: round trips until nothing is left to send.

use super::answer::Frames;
use super::intake::{self, Intake};
use super::{AccessToken, Progress, Report, Step};
use crate::Error;
use crate::device::{Device, DeviceEvent};
use crate::net::{Api, Content, Endpoint};
use crate::platform::{Clock, Entropy, Response};
use crate::store::{Store, Verdict};
use flate2::Compression;
use flate2::write::GzEncoder;
use roundsman_protocol::ErrorCode;
use roundsman_protocol::api::{Checkin, CheckinAnswer};
use roundsman_protocol::attachment::UploadAnswer;
use roundsman_protocol::rescue::RescueAnswer;
use roundsman_protocol::rescue_photo;
use roundsman_protocol::sync::{Head, Line, MAX_MUTATIONS, Mutation, MutationResult};
use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use uuid::Uuid;
use zeroize::Zeroizing;

/// Check-ins that may follow one another: a command, its receipts, and what the server says to those.
const MAX_CHECKINS: usize = 6;

/// What a sync works with.
pub(crate) struct Syncer<'a> {
    pub(crate) api: &'a Api,
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) device: &'a Arc<Device>,
    pub(crate) access: &'a Mutex<Option<AccessToken>>,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) entropy: &'a dyn Entropy,
    /// Whether photos may go over the present network.
    pub(crate) unmetered: bool,
    /// The number of the store's last commit, if it is open.
    pub(crate) commit: Option<u64>,
    /// Closes the session before keys are destroyed.
    pub(crate) close: Arc<dyn Fn() + Send + Sync>,
}

impl Syncer<'_> {
    /// Sends and receives until both sides have everything.
    pub(crate) async fn sync(
        &self,
        store: &Arc<Store>,
        progress: &dyn Progress,
        report: &mut Report,
    ) -> Result<(), Error> {
        index(store, progress).await?;
        loop {
            let more = self.round_trip(store, progress, report).await?;
            if !more || report.events.iter().any(DeviceEvent::closes) {
                break;
            }
        }
        // The server should know at once what became of its commands, and keep the release share.
        if self.device.has_news()? {
            let events = self.check_in(|| store.unsent_count().ok(), &mut report.requests).await?;
            report.events.extend(events);
        }
        Ok(())
    }

    /// Reports to the server and carries out its commands, until neither has anything to say. During a wipe, hands
    /// the sealed outbox over.
    pub(crate) async fn check_in(
        &self,
        unsent: impl Fn() -> Option<u64>,
        requests: &mut u32,
    ) -> Result<Vec<DeviceEvent>, Error> {
        let mut events = self.converse(&unsent, requests).await?;
        if let Err(error) = self.hand_over(requests).await {
            // What was reported stands; the next report goes on.
            tracing::warn!(%error, "the sealed outbox could not be handed over yet");
        } else if self.device.has_news()? {
            events.extend(self.converse(&unsent, requests).await?);
        }
        Ok(events)
    }

    async fn converse(
        &self,
        unsent: &impl Fn() -> Option<u64>,
        requests: &mut u32,
    ) -> Result<Vec<DeviceEvent>, Error> {
        let mut events = Vec::new();
        for _ in 0..MAX_CHECKINS {
            let checkin = self.report(unsent()).await?;
            *requests += 1;
            let answer: CheckinAnswer =
                self.api.post(self.endpoint, "/v1/device/checkin", None, &checkin).await?;
            events.extend(self.take(answer, unsent()).await?);
            if !self.device.has_news()? {
                break;
            }
        }
        Ok(events)
    }

    /// Sends the segments that wait for it, and then the photos. Each is removed here when the server has stored it.
    async fn hand_over(&self, requests: &mut u32) -> Result<(), Error> {
        let device = Arc::clone(self.device);
        for segment in blocking(move || Ok(device.waiting_segments()?)).await? {
            let device = Arc::clone(self.device);
            let Some(bytes) = blocking(move || Ok(device.signed_segment(segment)?)).await? else { continue };
            *requests += 1;
            let answer: RescueAnswer =
                match self.api.post_bytes(self.endpoint, "/v1/device/rescue", bytes).await {
                    // One that the server can't take must not keep back the others.
                    Err(error)
                        if matches!(
                            error.server_code(),
                            Some(ErrorCode::Malformed | ErrorCode::TooLarge | ErrorCode::RescueFull)
                        ) =>
                    {
                        tracing::warn!(%error, "a segment was not taken");
                        continue;
                    }
                    answer => answer?,
                };
            if answer.stored != segment {
                return Err(Error::BadAnswer);
            }
            let device = Arc::clone(self.device);
            blocking(move || Ok(device.segment_stored(segment)?)).await?;
        }
        let (device, unmetered) = (Arc::clone(self.device), self.unmetered);
        for file in blocking(move || Ok(device.waiting_photos(unmetered)?)).await? {
            self.hand_over_photo(file, requests).await?;
        }
        Ok(())
    }

    /// Sends the file of a photo from where the server has come to. It is removed here when the server has all of it.
    async fn hand_over_photo(&self, file: Uuid, requests: &mut u32) -> Result<(), Error> {
        let mut offset = None;
        loop {
            let device = Arc::clone(self.device);
            let part = blocking(move || Ok(device.signed_part(file, offset)?)).await?;
            let Some((bytes, size)) = part else { return Ok(()) };
            *requests += 1;
            let path = rescue_photo::path(file, offset.unwrap_or(0));
            let answer: UploadAnswer = match self.api.post_bytes(self.endpoint, &path, bytes).await {
                // One that the server can't take must not keep back the others.
                Err(error)
                    if matches!(
                        error.server_code(),
                        Some(ErrorCode::Malformed | ErrorCode::TooLarge | ErrorCode::RescueFull)
                    ) =>
                {
                    tracing::warn!(%error, "a photo was not taken");
                    return Ok(());
                }
                answer => answer?,
            };
            if answer.stored {
                let device = Arc::clone(self.device);
                return blocking(move || Ok(device.photo_stored(file)?)).await;
            }
            offset = Some(rescue_photo::next(answer, size, offset).ok_or(Error::BadAnswer)?);
        }
    }

    /// One request; `true` if there is more to send.
    async fn round_trip(
        &self,
        store: &Arc<Store>,
        progress: &dyn Progress,
        report: &mut Report,
    ) -> Result<bool, Error> {
        cancelled(progress)?;
        let (mutations, cursors, unsent, told) = on(store, |store| {
            let mutations = store.pending(MAX_MUTATIONS)?;
            Ok((mutations, store.cursors()?, store.unsent_count()?, store.differences()?))
        })
        .await?;
        let device = self.report(Some(unsent)).await?;
        let head = Head { cursors, device, differences: told.clone() };
        let body = pack(&head, &mutations)?;
        progress.progress(Step::Sending { changes: mutations.len() as u64 });

        let answer = self.send(store, body, report).await?;
        let taken = self.take_answer(store, answer, unsent, progress, report).await;
        // Even after a cut: nobody should wait for a list until the next sync.
        intake::settle(store).await?;
        let more = taken?;
        if !told.is_empty() {
            on(store, move |store| store.told(&told)).await?;
        }
        Ok(more || mutations.len() == MAX_MUTATIONS)
    }

    /// Carries out an answer frame by frame, and says whether another request is to follow.
    async fn take_answer(
        &self,
        store: &Arc<Store>,
        mut answer: Response,
        unsent: u64,
        progress: &dyn Progress,
        report: &mut Report,
    ) -> Result<bool, Error> {
        let mut frames = Frames::new(answer.body.as_mut());
        let mut intake = Intake::new(store, progress, report.received);
        let mut paged = BTreeSet::new();
        let mut results = Vec::new();
        let (mut ended, mut more) = (false, false);
        loop {
            let frame = match intake.meanwhile(frames.next()).await? {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                // What came before a cut is kept: a line that never holds for long would bring nothing otherwise.
                Err(error) => {
                    intake.finish().await?;
                    report.received = intake.rows;
                    report.bytes_down += frames.bytes;
                    return Err(error);
                }
            };
            intake.bytes = frames.bytes;
            // Results come in a row: they are stored together, before whatever follows them.
            if let Line::Result(result) = frame {
                results.push(result);
                continue;
            }
            self.settle(store, &mut results, progress, report).await?;
            cancelled(progress)?;
            if let Line::Page(page) = frame {
                paged.insert(page.bucket.clone());
                intake.take(page).await?;
                continue;
            }
            intake.finish().await?;
            report.received = intake.rows;
            match frame {
                Line::Result(_) | Line::Page(_) => {}
                Line::Device(answer) => {
                    let events = self.take(answer, Some(unsent)).await?;
                    let stop = events.iter().any(DeviceEvent::closes);
                    report.events.extend(events);
                    if stop {
                        report.bytes_down += frames.bytes;
                        return Ok(false);
                    }
                }
                Line::Buckets(buckets) => {
                    report.removed += on(store, move |store| store.keep_buckets(&buckets)).await?;
                }
                Line::Checkpoint(checkpoint) => {
                    let quiet = !paged.contains(&checkpoint.bucket);
                    let met = on(store, move |store| {
                        // Without the index of buckets every row would have to be read.
                        store.settle_indexes()?;
                        store.meet(&checkpoint, quiet)
                    });
                    if let Verdict::Differs(difference) = met.await? {
                        tracing::warn!(rows = difference.found.rows, "a bucket differs from the server's");
                        report.healed += u64::from(!difference.stays);
                        more |= !difference.stays;
                    }
                }
                Line::End { .. } => ended = true,
            }
        }
        intake.finish().await?;
        report.received = intake.rows;
        report.bytes_down += frames.bytes;
        if ended { Ok(more) } else { Err(Error::BadAnswer) }
    }

    async fn settle(
        &self,
        store: &Arc<Store>,
        results: &mut Vec<MutationResult>,
        progress: &dyn Progress,
        report: &mut Report,
    ) -> Result<(), Error> {
        if results.is_empty() {
            return Ok(());
        }
        let results = std::mem::take(results);
        report.count(&results);
        on(store, move |store| store.settle(&results)).await?;
        progress.progress(Step::Settled { changes: report.sent + report.rejected });
        Ok(())
    }

    /// Sends a sync request; a token that is too old is renewed once.
    async fn send(&self, store: &Arc<Store>, body: Vec<u8>, report: &mut Report) -> Result<Response, Error> {
        let body = bytes::Bytes::from(body);
        let mut renewed = false;
        loop {
            let token = self.token(store, report, renewed).await?;
            report.requests += 1;
            report.bytes_up += body.len() as u64;
            let content =
                Content { kind: "application/x-ndjson", encoding: Some("gzip"), bytes: body.clone() };
            match self.api.send(self.endpoint, "/v1/sync", Some(&token), content).await {
                Err(error) if error.server_code() == Some(ErrorCode::TokenExpired) && !renewed => {
                    renewed = true;
                }
                other => return other,
            }
        }
    }

    /// A token for a request beside sync; call it in a conversation of one's own. `renew` is for one that was refused.
    pub(crate) async fn access(&self, store: &Arc<Store>, renew: bool) -> Result<Zeroizing<String>, Error> {
        self.token(store, &mut Report::default(), renew).await
    }

    pub(super) async fn token(
        &self,
        store: &Arc<Store>,
        report: &mut Report,
        renew: bool,
    ) -> Result<Zeroizing<String>, Error> {
        let now = self.clock.now();
        match self.kept_token() {
            Some(token) if !renew => Ok(token),
            _ => {
                report.requests += 1;
                let token =
                    AccessToken::refresh(self.api, self.endpoint, store, self.clock, self.entropy).await?;
                let text = token.valid(now).ok_or(Error::BadAnswer)?;
                *self.access.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
                Ok(text)
            }
        }
    }

    async fn report(&self, unsent: Option<u64>) -> Result<Checkin, Error> {
        let device = Arc::clone(self.device);
        let checkin = blocking(move || device.report(unsent).map_err(Error::from)).await?;
        let commit = checkin.commit.max(self.commit);
        Ok(Checkin { commit, ..checkin })
    }

    async fn take(&self, answer: CheckinAnswer, unsent: Option<u64>) -> Result<Vec<DeviceEvent>, Error> {
        let (device, close) = (Arc::clone(self.device), Arc::clone(&self.close));
        blocking(move || device.take(&answer, unsent, &*close).map_err(Error::from)).await
    }
}

/// Makes the search index whole, in short steps.
async fn index(store: &Arc<Store>, progress: &dyn Progress) -> Result<(), Error> {
    while on(store, Store::is_indexing).await? {
        cancelled(progress)?;
        let left = on(store, Store::index_more).await?;
        progress.progress(Step::Indexing { left });
    }
    Ok(())
}

fn cancelled(progress: &dyn Progress) -> Result<(), Error> {
    if progress.cancelled() { Err(Error::Cancelled) } else { Ok(()) }
}

/// Runs a piece of work on the store away from the executor.
pub(super) async fn on<T: Send + 'static>(
    store: &Arc<Store>,
    work: impl FnOnce(&Store) -> Result<T, crate::store::StoreError> + Send + 'static,
) -> Result<T, Error> {
    let store = Arc::clone(store);
    blocking(move || work(&store).map_err(Error::from)).await
}

/// Runs work that touches disk or keystore away from the executor. Once begun it is finished, even if the
/// caller is cancelled meanwhile.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Error::Cancelled))
}

fn pack(head: &Head, mutations: &[Mutation]) -> Result<Vec<u8>, Error> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let mut line = |value: serde_json::Result<Vec<u8>>| -> Option<()> {
        encoder.write_all(&value.ok()?).ok()?;
        encoder.write_all(b"\n").ok()
    };
    line(serde_json::to_vec(head)).ok_or(Error::BadAnswer)?;
    for mutation in mutations {
        line(serde_json::to_vec(mutation)).ok_or(Error::BadAnswer)?;
    }
    encoder.finish().map_err(|_| Error::BadAnswer)
}
