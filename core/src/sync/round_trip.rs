//! One sync: round trips until nothing is left to send.

use super::answer::Frames;
use super::intake::{self, Intake};
use super::{AccessToken, Progress, Report, Step};
use crate::Error;
use crate::device::{Device, DeviceEvent};
use crate::net::{Api, Content, Endpoint};
use crate::platform::{Clock, Entropy, Response};
use crate::store::{Store, StoreError, Verdict, Waiting};
use flate2::Compression;
use flate2::write::GzEncoder;
use roundsman_model::{Bucket, DeviceSeq, Seq};
use roundsman_protocol::ErrorCode;
use roundsman_protocol::api::{Checkin, CheckinAnswer};
use roundsman_protocol::attachment::UploadAnswer;
use roundsman_protocol::integrity::{Checkpoint, Difference, declarations};
use roundsman_protocol::rescue::RescueAnswer;
use roundsman_protocol::rescue_photo;
use roundsman_protocol::sync::{Head, Line, MAX_MUTATIONS, MutationResult, Outcome, Own};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinHandle;
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
        let (mut next, mut most) = (Next::Ask, MAX_MUTATIONS);
        while !matches!(next, Next::Nothing) {
            // On the heap: whoever waits for a sync would hold all of it otherwise.
            next = match Box::pin(self.turn(store, next, most, progress, report)).await {
                // Large ones together, or a server of before that takes fewer.
                Err(error) if error.server_code() == Some(ErrorCode::TooLarge) && most > 1 => {
                    most /= 2;
                    Next::Ask
                }
                turned => turned?,
            };
            if report.events.iter().any(DeviceEvent::closes) {
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

    /// One request, unless it was sent before, and its answer. `most` is how many changes a request may have.
    async fn turn(
        &self,
        store: &Arc<Store>,
        next: Next,
        most: usize,
        progress: &dyn Progress,
        report: &mut Report,
    ) -> Result<Next, Error> {
        let asked = match next {
            Next::Answer(asked) => *asked,
            _ => {
                cancelled(progress)?;
                let (ask, device) = loop {
                    match self.prepare(store, most).await? {
                        Some(prepared) => break prepared,
                        None => index(store, progress).await?,
                    }
                };
                self.ask(store, ask, device, progress, report).await?
            }
        };
        self.take_answer(store, asked, progress, report).await
    }

    /// What a request says, the device's report with it; nothing while a search index is to be made whole. All in one
    /// go: to hand work to another thread takes about as long as the reading.
    async fn prepare(&self, store: &Arc<Store>, most: usize) -> Result<Option<(Ask, Checkin)>, Error> {
        let (store, device) = (Arc::clone(store), Arc::clone(self.device));
        let prepared = blocking(move || {
            let Some(begin) = store.beginning(most)? else { return Ok(None) };
            let ask = Ask {
                batch: Batch::of(begin.waiting, most)?,
                cursors: begin.cursors,
                unsent: begin.unsent,
                told: begin.differences,
                buckets: None,
            };
            let checkin = device.report(Some(ask.unsent))?;
            Ok(Some((ask, checkin)))
        });
        Ok(prepared.await?.map(|(ask, checkin)| (ask, self.with_commit(checkin))))
    }

    /// Sends what is unsent, and waits until the server has begun to answer.
    async fn ask(
        &self,
        store: &Arc<Store>,
        ask: Ask,
        device: Checkin,
        progress: &dyn Progress,
        report: &mut Report,
    ) -> Result<Asked, Error> {
        let Ask { batch, cursors, unsent, told, buckets } = ask;
        let own = Some(declarations().to_owned());
        let head = Head { cursors: cursors.clone(), device, differences: told.clone(), own };
        let body = batch.after(&head)?;
        progress.progress(Step::Sending { changes: batch.waiting.count as u64 });
        let (most, last) = (batch.most, batch.waiting.last);
        let full = batch.waiting.count == most;
        // The next ones are read while the server has these.
        let following = async {
            if full {
                on(store, move |store| Batch::read(store, last, most)).await.map(Some)
            } else {
                Ok(None)
            }
        };
        let (answer, following) = tokio::join!(self.send(store, body, report), following);
        let following = following?.filter(|batch| batch.waiting.count > 0);
        Ok(Asked { answer: answer?, count: batch.waiting.count, cursors, unsent, told, following, buckets })
    }

    /// Takes an answer, and says what is to follow. While the results of a full request are stored, the next one is under
    /// way already: it says how far the device will have read then. If storing fails, its answer is not looked at, as if
    /// it were lost.
    async fn take_answer(
        &self,
        store: &Arc<Store>,
        asked: Asked,
        progress: &dyn Progress,
        report: &mut Report,
    ) -> Result<Next, Error> {
        let Asked { mut answer, count, cursors, unsent, told, following, buckets } = asked;
        let waits = following.is_some() && told.is_empty();
        let mut taking = Taking { count, cursors, waits, kept: buckets, ..Taking::default() };
        let any_follow = following.is_some();
        let taken = self.take_frames(store, &mut answer, unsent, &mut taking, progress, report).await;
        if taken.is_ok()
            && taking.waits
            && let Some(batch) = following
        {
            return self.go_on(store, taking, batch, unsent, progress, report).await;
        }
        // Even after a cut: nobody should wait for a list until the next sync.
        intake::settle(store).await?;
        let more = taken?;
        if !told.is_empty() {
            on(store, move |store| store.told(&told)).await?;
        }
        Ok(if more || any_follow { Next::Ask } else { Next::Nothing })
    }

    /// Stores what an answer has brought, and sends the next changes meanwhile.
    async fn go_on(
        &self,
        store: &Arc<Store>,
        mut taking: Taking,
        batch: Batch,
        unsent: u64,
        progress: &dyn Progress,
        report: &mut Report,
    ) -> Result<Next, Error> {
        let mut cursors = taking.cursors.clone();
        cursors.extend(taking.own.cursors.clone());
        let ahead = Ask {
            batch,
            cursors,
            unsent: unsent.saturating_sub(taking.applied()),
            told: vec![],
            buckets: taking.buckets.clone().or_else(|| taking.kept.clone()),
        };
        // Before the store is at work: the server waits for it. What was received is stored whatever becomes of it.
        let device = match cancelled(progress) {
            Ok(()) => self.report(Some(ahead.unsent)).await,
            Err(cancelled) => Err(cancelled),
        };
        let mut asking = Report::default();
        let store_it = async {
            let more = self.store_waiting(store, &mut taking, progress, report).await?;
            intake::settle(store).await?;
            Ok::<_, Error>(more)
        };
        let ask = async { self.ask(store, ahead, device?, progress, &mut asking).await };
        // What is read and what is written at the same time is not the same twice.
        #[cfg(feature = "simulation")]
        let (more, asked) = if crate::simulation::is_entered() {
            let more = store_it.await;
            (more, ask.await)
        } else {
            tokio::join!(store_it, ask)
        };
        #[cfg(not(feature = "simulation"))]
        let (more, asked) = tokio::join!(store_it, ask);
        report.requests += asking.requests;
        report.bytes_up += asking.bytes_up;
        // A bucket that is to be read anew was said to be whole: that answer would be of no use.
        Ok(if more? { Next::Ask } else { Next::Answer(Box::new(asked?)) })
    }

    /// Carries out an answer, and says whether another request is to follow. If `taking` waits still when this returns, all
    /// but the device's frame is in it.
    async fn take_frames(
        &self,
        store: &Arc<Store>,
        answer: &mut Response,
        unsent: u64,
        taking: &mut Taking,
        progress: &dyn Progress,
        report: &mut Report,
    ) -> Result<bool, Error> {
        let taken = self.take_each_frame(store, answer, unsent, taking, progress, report).await;
        // Of an answer that was cut off too: on a line that never holds for long a lease must not end.
        let Some(answer) = taking.device.take() else { return taken };
        self.device.committed(store.commit_number());
        let events = match self.take(answer, Some(unsent)).await {
            Err(_) if taken.is_err() => return taken,
            events => events?,
        };
        let stop = events.iter().any(DeviceEvent::closes);
        report.events.extend(events);
        taken.map(|more| more && !stop)
    }

    async fn take_each_frame(
        &self,
        store: &Arc<Store>,
        answer: &mut Response,
        unsent: u64,
        taking: &mut Taking,
        progress: &dyn Progress,
        report: &mut Report,
    ) -> Result<bool, Error> {
        let mut frames = Frames::new(answer.body.as_mut());
        let mut intake = Intake::new(store, progress, report.received);
        let (mut ended, mut more) = (false, false);
        loop {
            let frame = match intake.meanwhile(frames.next()).await? {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                // What came before a cut is kept: a line that never holds for long would bring nothing otherwise.
                Err(error) => {
                    if std::mem::take(&mut taking.waits) {
                        self.store_waiting(store, taking, progress, report).await?;
                    }
                    intake.finish().await?;
                    self.keep_buckets(store, taking, report).await?;
                    report.received = intake.rows;
                    report.bytes_down += frames.bytes;
                    return Err(error);
                }
            };
            intake.bytes = frames.bytes;
            match frame {
                // Results come in a row: they are stored together, before whatever follows them.
                Line::Result(result) => {
                    taking.results.push(result);
                    continue;
                }
                Line::Own(own) => {
                    taking.own = own;
                    continue;
                }
                // What is not to be here any more goes when the rows are stored.
                Line::Buckets(buckets) => {
                    taking.buckets = Some(buckets);
                    continue;
                }
                Line::Checkpoint(checkpoint) if taking.waits => {
                    taking.checkpoints.push(checkpoint);
                    continue;
                }
                Line::End { .. } if taking.waits && taking.is_whole() => {
                    ended = true;
                    continue;
                }
                // Whoever looks at a list waits for the rows.
                Line::Device(answer) if self.device.may_wait(&answer) => {
                    taking.device = Some(answer);
                    continue;
                }
                Line::Device(answer) => {
                    intake.finish().await?;
                    let events = self.take(answer, Some(unsent)).await?;
                    let stop = events.iter().any(DeviceEvent::closes);
                    // Whatever the server has asked for is done before more is sent.
                    taking.waits &= events.is_empty();
                    report.events.extend(events);
                    if stop {
                        report.bytes_down += frames.bytes;
                        return Ok(false);
                    }
                    continue;
                }
                _ => {}
            }
            // Something else came: from here on everything is done in its turn.
            if std::mem::take(&mut taking.waits) {
                more |= self.store_waiting(store, taking, progress, report).await?;
            }
            self.settle(store, taking, progress, report).await?;
            cancelled(progress)?;
            if let Line::Page(page) = frame {
                taking.paged.insert(page.bucket.clone());
                intake.take(page).await?;
                continue;
            }
            intake.finish().await?;
            report.received = intake.rows;
            match frame {
                Line::Checkpoint(checkpoint) => more |= self.meet(store, checkpoint, taking, report).await?,
                Line::End { .. } => ended = true,
                Line::Result(_) | Line::Own(_) | Line::Page(_) | Line::Device(_) | Line::Buckets(_) => {}
            }
        }
        if !ended && std::mem::take(&mut taking.waits) {
            self.store_waiting(store, taking, progress, report).await?;
        }
        intake.finish().await?;
        if !taking.waits {
            self.keep_buckets(store, taking, report).await?;
        }
        report.received = intake.rows;
        report.bytes_down += frames.bytes;
        if ended { Ok(more) } else { Err(Error::BadAnswer) }
    }

    /// Stores what has waited: results, buckets, checkpoints. Whether another request is to follow.
    async fn store_waiting(
        &self,
        store: &Arc<Store>,
        taking: &mut Taking,
        progress: &dyn Progress,
        report: &mut Report,
    ) -> Result<bool, Error> {
        self.settle(store, taking, progress, report).await?;
        self.keep_buckets(store, taking, report).await?;
        let mut more = false;
        for checkpoint in std::mem::take(&mut taking.checkpoints) {
            more |= self.meet(store, checkpoint, taking, report).await?;
        }
        Ok(more)
    }

    /// Removes what is of other buckets than the answer has named.
    async fn keep_buckets(
        &self,
        store: &Arc<Store>,
        taking: &mut Taking,
        report: &mut Report,
    ) -> Result<(), Error> {
        // Nothing of others has come since these were said to be all.
        if let Some(buckets) = taking.buckets.take().filter(|buckets| taking.kept.as_ref() != Some(buckets)) {
            report.removed += on(store, move |store| store.keep_buckets(&buckets)).await?;
        }
        Ok(())
    }

    /// Compares a bucket with the server's; whether it is to be read anew.
    async fn meet(
        &self,
        store: &Arc<Store>,
        checkpoint: Checkpoint,
        taking: &Taking,
        report: &mut Report,
    ) -> Result<bool, Error> {
        let quiet = !taking.paged.contains(&checkpoint.bucket);
        let met = on(store, move |store| store.meet(&checkpoint, quiet)).await?;
        let Verdict::Differs(difference) = met else { return Ok(false) };
        tracing::warn!(rows = difference.found.rows, "a bucket differs from the server's");
        report.healed += u64::from(!difference.stays);
        Ok(!difference.stays)
    }

    async fn settle(
        &self,
        store: &Arc<Store>,
        taking: &mut Taking,
        progress: &dyn Progress,
        report: &mut Report,
    ) -> Result<(), Error> {
        if taking.results.is_empty() {
            return Ok(());
        }
        let results = std::mem::take(&mut taking.results);
        let mut own = std::mem::take(&mut taking.own);
        if results.len() < taking.count {
            // How far the log is read is said of all results together.
            own.cursors.clear();
        }
        taking.paged.extend(own.cursors.keys().cloned());
        report.count(&results);
        let asked = std::mem::take(&mut taking.cursors);
        on(store, move |store| store.settle_own(&results, &own, &asked)).await?;
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
        Ok(self.with_commit(blocking(move || device.report(unsent).map_err(Error::from)).await?))
    }

    fn with_commit(&self, checkin: Checkin) -> Checkin {
        Checkin { commit: checkin.commit.max(self.commit), ..checkin }
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
    work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Error> {
    let store = Arc::clone(store);
    blocking(move || work(&store).map_err(Error::from)).await
}

/// Runs work that touches disk or keystore away from the executor. Once begun it is finished, even if the
/// caller is cancelled meanwhile.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    begin(work).await.unwrap_or(Err(Error::Cancelled))
}

/// Begins such work.
pub(super) fn begin<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> JoinHandle<Result<T, Error>> {
    // A simulation plays on one thread: to change to another and back takes longer than the work does.
    #[cfg(feature = "simulation")]
    if crate::simulation::is_entered() {
        return tokio::spawn(async move { work() });
    }
    tokio::task::spawn_blocking(work)
}

/// Changes as they are sent.
struct Batch {
    waiting: Waiting,
    /// Their lines packed, if there may be more: while the server has those before them there is time for it.
    packed: Vec<u8>,
    /// How many there may be.
    most: usize,
}

impl Batch {
    /// Those that follow this number, at most so many.
    fn read(store: &Store, after: DeviceSeq, most: usize) -> Result<Self, StoreError> {
        Self::of(store.waiting(after, most)?, most)
    }

    fn of(waiting: Waiting, most: usize) -> Result<Self, StoreError> {
        let packed = if waiting.count == most { pack(&[&waiting.lines])? } else { vec![] };
        Ok(Self { waiting, packed, most })
    }

    /// A request's body. What is packed apart follows as a member of its own (RFC 1952, section 2.2).
    fn after(&self, head: &Head) -> Result<Vec<u8>, Error> {
        let mut head = serde_json::to_vec(head).map_err(|_| Error::BadAnswer)?;
        head.push(b'\n');
        if self.packed.is_empty() {
            return pack(&[&head, &self.waiting.lines]).map_err(|_| Error::BadAnswer);
        }
        let mut body = pack(&[&head]).map_err(|_| Error::BadAnswer)?;
        body.extend_from_slice(&self.packed);
        Ok(body)
    }
}

fn pack(parts: &[&[u8]]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for part in parts {
        encoder.write_all(part)?;
    }
    encoder.finish()
}

/// What a request says. The one after a full one says what will be so once the answer to that is stored.
struct Ask {
    batch: Batch,
    /// How far each bucket is read.
    cursors: BTreeMap<Bucket, Seq>,
    /// How many changes are unsent.
    unsent: u64,
    told: Vec<Difference>,
    /// The buckets that are kept, if an answer of this sync has said it: nothing of others is here.
    buckets: Option<Vec<Bucket>>,
}

/// A request that the server has begun to answer.
struct Asked {
    answer: Response,
    /// How many changes it had.
    count: usize,
    cursors: BTreeMap<Bucket, Seq>,
    unsent: u64,
    told: Vec<Difference>,
    /// The changes that follow, if it had as many as it takes.
    following: Option<Batch>,
    /// The buckets that were kept before, of the same sync.
    buckets: Option<Vec<Bucket>>,
}

/// What follows an answer.
enum Next {
    Nothing,
    Ask,
    Answer(Box<Asked>),
}

/// An answer as far as it was read.
#[derive(Default)]
struct Taking {
    /// How many changes the request had.
    count: usize,
    cursors: BTreeMap<Bucket, Seq>,
    own: Own,
    results: Vec<MutationResult>,
    /// The device's frame, if it asks for nothing.
    device: Option<CheckinAnswer>,
    /// Buckets that something came of.
    paged: BTreeSet<Bucket>,
    /// Whether what comes is to wait until the answer was read, so that the next request can go before it is stored.
    waits: bool,
    buckets: Option<Vec<Bucket>>,
    /// Those of the answer before, if nothing but results came with it.
    kept: Option<Vec<Bucket>>,
    checkpoints: Vec<Checkpoint>,
}

impl Taking {
    /// Whether the results of all changes are here, and say how far a log is read.
    fn is_whole(&self) -> bool {
        self.results.len() == self.count && !self.own.cursors.is_empty()
    }

    /// How many changes were taken.
    fn applied(&self) -> u64 {
        let applied = |result: &&MutationResult| matches!(result.outcome, Outcome::Applied { .. });
        self.results.iter().filter(applied).count() as u64
    }
}
