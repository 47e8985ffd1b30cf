//! What went between the phones and the server, written down by neither of them.

use super::Counts;
use async_trait::async_trait;
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use roundsman_core::platform::{Body, Request, Response, TransportError};
use roundsman_model::{Fields, Rev};
use roundsman_protocol::attachment::UploadAnswer;
use roundsman_protocol::sync::{Change, Frame, Head, Mutation, Outcome};
use roundsman_server::simulation::Scope;
use roundsman_testkit::{Answers, TestServer};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{BufRead, BufReader, Read};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use uuid::Uuid;

/// What did not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The invariant's name.
    pub invariant: String,
    /// What was seen.
    pub what: String,
}

/// A change, by the device that it came from and its number there.
pub(super) type Key = (u32, u64);

/// A change that reached the server.
pub(super) struct Sent {
    pub(super) id: Uuid,
    pub(super) record: Uuid,
    pub(super) change: Change,
    pub(super) base: Rev,
    pub(super) fields: Fields,
    /// What its author saw in them.
    pub(super) was: Fields,
    /// When it first did, counted over the whole seed.
    pub(super) first: u64,
    /// What the server said, once an answer left it.
    pub(super) outcome: Option<Outcome>,
}

/// A change that the office made to a customer.
pub(super) struct OfficeEdit {
    pub(super) code: String,
    pub(super) at: u64,
}

/// Something that a rep has attached to a record.
#[derive(Clone)]
pub(super) struct Attached {
    /// The number of the device that holds it until it is sent.
    pub(super) number: u32,
    pub(super) content: Arc<[u8]>,
    /// The server has said that it has all of it.
    pub(super) stored: bool,
    /// The rep has removed it on that device.
    pub(super) dropped: bool,
}

/// The office has put another value into a field, and had seen what stood there.
pub(super) struct Ruled {
    pub(super) record: Uuid,
    pub(super) field: String,
    pub(super) at: u64,
}

/// A record was removed, or brought back, and has had this version since.
pub(super) struct Turn {
    pub(super) record: Uuid,
    pub(super) rev: Rev,
    pub(super) stands: bool,
}

/// A field of a change that was taken out of a wiped device's sealed outbox.
pub(super) struct Rescued {
    /// The device's number.
    pub(super) number: u32,
    pub(super) record: Uuid,
    pub(super) field: String,
    /// The version its author saw.
    pub(super) base: Rev,
}

/// Everything that is known from outside.
#[derive(Default)]
pub(super) struct Book {
    /// Counts what happens.
    pub(super) time: u64,
    pub(super) requests: u64,
    pub(super) repeats: u64,
    pub(super) sent: BTreeMap<Key, Sent>,
    /// Changes that a call on a phone stored, with their ids.
    pub(super) stored: BTreeMap<Key, Uuid>,
    /// Refused changes that a rep has discarded or sent anew.
    pub(super) dealt_with: BTreeSet<Key>,
    /// Records of which a rep has discarded a change.
    pub(super) discarded: BTreeSet<Uuid>,
    /// What a call on a phone has attached.
    pub(super) attached: BTreeMap<Uuid, Attached>,
    /// Lost values that somebody has decided about: the record, the field, the value as JSON.
    pub(super) settled: BTreeSet<(Uuid, String, String)>,
    pub(super) office: Vec<OfficeEdit>,
    pub(super) ruled: Vec<Ruled>,
    /// Removals and their opposite that no phone has sent.
    pub(super) turns: Vec<Turn>,
    /// What is counted here.
    pub(super) counted: Counts,
    /// What a wiped device had typed later and the office took.
    pub(super) rescued: Vec<Rescued>,
    /// Devices that are no more.
    pub(super) gone: BTreeSet<u32>,
    pub(super) findings: Vec<Finding>,
}

impl Book {
    pub(super) fn tick(&mut self) -> u64 {
        self.time += 1;
        self.time
    }

    pub(super) fn find(&mut self, invariant: &'static str, what: String) {
        self.findings.push(Finding { invariant: invariant.to_owned(), what });
    }

    /// How the records stand that were ever removed: their version since the last turn, and whether they are there.
    pub(super) fn turned(&self) -> BTreeMap<Uuid, (Rev, bool)> {
        let sent = self.sent.values().filter_map(|sent| match (&sent.outcome, sent.change) {
            (Some(Outcome::Applied { rev, .. }), Change::Delete) => Some((sent.record, *rev, false)),
            (Some(Outcome::Applied { rev, .. }), Change::Restore) => Some((sent.record, *rev, true)),
            _ => None,
        });
        let told = self.turns.iter().map(|turn| (turn.record, turn.rev, turn.stands));
        let mut last: BTreeMap<Uuid, (Rev, bool)> = BTreeMap::new();
        for (record, rev, stands) in sent.chain(told) {
            let known = last.entry(record).or_insert((rev, stands));
            if rev >= known.0 {
                *known = (rev, stands);
            }
        }
        last
    }

    /// What was sent about a record, for a report.
    pub(super) fn history(&self, record: Uuid) -> String {
        let sent = self.sent.iter().filter(|(_, sent)| sent.record == record);
        let lines = sent.map(|((device, seq), sent)| {
            let Sent { change, base, first, outcome, .. } = sent;
            format!("{first}: device {device}, change {seq}, {change:?} over {base:?}: {outcome:?}")
        });
        lines.collect::<Vec<_>>().join("; ")
    }

    /// The server's answer to a part of a content.
    fn stored(&mut self, attachment: Uuid, pieces: &VecDeque<Bytes>) {
        let text: Vec<u8> = pieces.iter().flatten().copied().collect();
        let whole = serde_json::from_slice(&text).is_ok_and(|answer: UploadAnswer| answer.stored);
        if let Some(attached) = self.attached.get_mut(&attachment).filter(|_| whole) {
            attached.stored = true;
        }
    }

    fn delivered(&mut self, device: u32, mutations: Vec<Mutation>) {
        for mutation in mutations {
            let now = self.tick();
            let key = (device, mutation.seq.0);
            match self.sent.get(&key) {
                None => {
                    let Mutation { id, record, change, base, fields, was, .. } = mutation;
                    let sent = Sent { id, record, change, base, fields, was, first: now, outcome: None };
                    self.sent.insert(key, sent);
                }
                Some(known) if known.id == mutation.id => {
                    self.repeats += u64::from(known.outcome.is_some());
                }
                Some(_) => {
                    self.find("numbers_used_once", format!("device {device} used number {} twice", key.1));
                }
            }
        }
    }

    fn answered(&mut self, device: u32, frames: Vec<Frame>) {
        for frame in frames {
            let Frame::Result(result) = frame else { continue };
            let Some(sent) = self.sent.get_mut(&(device, result.seq.0)) else { continue };
            match &sent.outcome {
                None => sent.outcome = Some(result.outcome),
                Some(known) if *known == result.outcome => {}
                Some(known) => {
                    let what = format!(
                        "change {} of device {device} had {known:?}, then {:?}",
                        result.seq, result.outcome
                    );
                    self.find("applied_exactly_once", what);
                }
            }
        }
    }
}

/// The book, shared by all that write in it.
#[derive(Clone, Default)]
pub(super) struct Journal(Arc<Mutex<Book>>);

impl Journal {
    pub(super) fn open(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server that phones reach now.
pub(super) type Present = Arc<RwLock<Arc<TestServer>>>;

/// Stands between one phone and the server.
pub(super) struct Recorder {
    pub(super) server: Present,
    pub(super) scope: Arc<Scope>,
    pub(super) journal: Journal,
    /// The number of the device that the phone is now.
    pub(super) device: AtomicU32,
}

#[async_trait]
impl Answers for Recorder {
    async fn answer(&self, request: &Request) -> Result<Response, TransportError> {
        let device = self.device.load(Ordering::SeqCst);
        let is_sync = request.url.ends_with("/v1/sync");
        let server = Arc::clone(&self.server.read().unwrap_or_else(PoisonError::into_inner));
        if self.scope.is_stopped() {
            return Err(TransportError::Offline);
        }
        self.journal.open().requests += 1;
        if is_sync {
            let (head, mutations) = read_request(&request.body).expect("a phone's own request");
            let mut book = self.journal.open();
            if let Some(difference) = head.differences.first() {
                book.find("buckets_add_up", format!("device {device}: {difference:?}"));
            }
            book.delivered(device, mutations);
        }
        let mut answer = server.answer(request).await?;
        let mut pieces = VecDeque::new();
        let whole = loop {
            match answer.body.chunk().await {
                Ok(Some(piece)) => pieces.push_back(piece),
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        // What a server that stops had ready does not leave it.
        if self.scope.is_stopped() {
            return Err(TransportError::Offline);
        }
        if is_sync && answer.status == 200 {
            self.journal.open().answered(device, read_answer(&pieces));
        }
        if let Some(attachment) = sent_content(request).filter(|_| answer.status == 200) {
            self.journal.open().stored(attachment, &pieces);
        }
        Ok(Response { body: Box::new(Pieces { pieces, whole }), ..answer })
    }
}

/// The attachment whose content a request sends.
fn sent_content(request: &Request) -> Option<Uuid> {
    let (_, path) = request.url.split_once("/v1/attachments/").filter(|_| request.method == "POST")?;
    path.split('/').next()?.parse().ok()
}

fn read_request(body: &[u8]) -> Option<(Head, Vec<Mutation>)> {
    let mut lines = BufReader::new(MultiGzDecoder::new(body)).lines();
    let head: Head = serde_json::from_str(&lines.next()?.ok()?).ok()?;
    let mutations = lines.map(|line| serde_json::from_str(&line.ok()?).ok()).collect::<Option<_>>()?;
    Some((head, mutations))
}

/// The frames that can be read, up to where the answer ends.
fn read_answer(pieces: &VecDeque<Bytes>) -> Vec<Frame> {
    let packed: Vec<u8> = pieces.iter().flatten().copied().collect();
    let mut text = Vec::new();
    // An answer that was cut is read as far as it goes.
    let _cut = MultiGzDecoder::new(packed.as_slice()).read_to_end(&mut text);
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    lines.map_while(|line| serde_json::from_slice(line).ok()).collect()
}

/// An answer that was read once already.
struct Pieces {
    pieces: VecDeque<Bytes>,
    whole: bool,
}

#[async_trait]
impl Body for Pieces {
    async fn chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        match self.pieces.pop_front() {
            Some(piece) => Ok(Some(piece)),
            None if self.whole => Ok(None),
            None => Err(TransportError::Offline),
        }
    }
}
