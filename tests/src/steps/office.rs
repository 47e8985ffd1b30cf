//! The office of one phone, without a network and kept in a file: a journal of everything that it was told. Read
//! anew, the journal makes the same office, since all that the office does follows from it.

#[allow(dead_code, reason = "each kit uses its own part")]
#[path = "../../../core/tests/vault_kit/office.rs"]
mod desk;

use crate::meddler::Whole;
use anyhow::{Context, bail};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use desk::Office;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use roundsman_core::platform::{Request, Response, Transport, TransportError};
use roundsman_model::{Bucket, Fields, Rev, Seq, Value};
use roundsman_protocol::api::{
    Checkin, CheckinAnswer, EnrolAnswer, EnrolRequest, RootAnswer, TokenRequest, Tokens,
};
use roundsman_protocol::attachment::UploadAnswer;
use roundsman_protocol::audit::Head as ChainHead;
use roundsman_protocol::command::Kind;
use roundsman_protocol::keys::DeviceKey;
use roundsman_protocol::policy::Policy;
use roundsman_protocol::rescue::{RescueAnswer, Segment, SignedSegment};
use roundsman_protocol::sync::{Frame, Head, Mutation, MutationResult, Outcome, Page, Row};
use roundsman_protocol::ticket::Ticket;
use roundsman_protocol::{b64, dpop, sha256};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

/// Customers in one page of a pull.
const PAGE: u64 = 25;

/// The territory of everything.
const TERRITORY: &str = "NJ";

/// Something that the office was told.
#[derive(Clone, Serialize, Deserialize)]
pub enum Event {
    /// A device with this key (SEC 1, base64url) is let in.
    Enrolled(String),
    /// A device reports.
    Checkin(Box<Checkin>),
    /// A device sends changes.
    Mutations(Vec<Mutation>),
    /// A device that is being wiped hands over a segment of its sealed outbox (base64url).
    Segment(String),
    /// It hands over a part of a photo's file (base64url).
    PhotoPart(String),
    /// A device asks for new tokens.
    Token(TokenRequest),
    /// The administrator locks the device.
    Lock,
    /// The administrator wipes the device.
    Wipe,
    /// Whether the administrator lets a locked device in again.
    GrantsUnlock(bool),
    /// Whether release shares are confirmed.
    ConfirmsEscrow(bool),
    /// Whether audit entries are countersigned.
    ConfirmsAudit(bool),
    /// The policy has a leash of so many hours, or none.
    Leash(Option<u32>),
    /// So many customers are in the territory.
    Customers(u64),
    /// So many seconds pass.
    Pass(i64),
}

struct Books {
    desk: Office,
    /// Changes by their numbers.
    sent: BTreeMap<u64, Mutation>,
    customers: u64,
    tokens: u64,
    /// The last token request that was answered.
    renewed: Option<TokenRequest>,
    confirms_audit: bool,
    chain: ChainHead,
    /// Audit entries that came.
    entries: BTreeSet<Vec<u8>>,
    /// What no honest phone with a whole vault would have said.
    complaints: Vec<String>,
}

impl Books {
    fn new() -> Self {
        let mut desk = Office::new();
        desk.leases = true;
        Self {
            desk,
            sent: BTreeMap::new(),
            customers: 10,
            tokens: 0,
            renewed: None,
            confirms_audit: true,
            chain: ChainHead::default(),
            entries: BTreeSet::new(),
            complaints: Vec::new(),
        }
    }

    /// Takes a part of a photo's file in.
    fn part(&mut self, part: &str) -> anyhow::Result<UploadAnswer> {
        Ok(self.desk.take_part(&b64::decode(part).context("a part")?))
    }

    /// Takes an event in. The answer is for a report.
    fn take(&mut self, event: &Event) -> anyhow::Result<Option<CheckinAnswer>> {
        match event {
            Event::Enrolled(key) => {
                // A device that was let in and has lost that comes back as a new one.
                let (customers, confirms) = (self.customers, self.desk.confirms_escrow);
                *self = Self { customers, ..Self::new() };
                self.desk.confirms_escrow = confirms;
                let key = b64::decode(key).context("a key in base64url")?;
                self.desk.knows(DeviceKey::from_sec1(&key)?);
            }
            Event::Checkin(checkin) => return Ok(Some(self.answer(checkin))),
            Event::Mutations(mutations) => self.push(mutations),
            Event::Segment(segment) => self.desk.take_segment(&b64::decode(segment).context("a segment")?),
            Event::PhotoPart(part) => drop(self.part(part)?),
            Event::Token(request) => self.renew(request),
            Event::Lock => drop(self.desk.order(Kind::Lock)),
            Event::Wipe => {
                let wipe = self.desk.wipe();
                self.desk.order(wipe);
            }
            Event::GrantsUnlock(grants) => self.desk.grants_unlock = *grants,
            Event::ConfirmsEscrow(confirms) => self.desk.confirms_escrow = *confirms,
            Event::ConfirmsAudit(confirms) => self.confirms_audit = *confirms,
            Event::Leash(hours) => {
                let version = self.desk.policy.as_ref().map_or(1, |policy| policy.version + 1);
                self.desk.policy = Some(Policy { leash_h: *hours, ..Office::rules(version) });
            }
            Event::Customers(count) => self.customers = *count,
            Event::Pass(seconds) => self.desk.now_ms += seconds * 1000,
        }
        Ok(None)
    }

    fn answer(&mut self, checkin: &Checkin) -> CheckinAnswer {
        let mut answer = self.desk.answer(checkin);
        answer.server_time = self.now();
        if let Some(audit) = &checkin.audit {
            let device = self.desk.profile().device;
            for bytes in &audit.entries {
                // What was not countersigned, or whose answer was lost, is sent again.
                if self.entries.contains(bytes) {
                    continue;
                }
                match self.chain.extend(device, bytes) {
                    Ok((head, _)) => {
                        self.chain = head;
                        self.entries.insert(bytes.clone());
                    }
                    Err(error) => self.complaints.push(error.to_string()),
                }
            }
            if audit.head.seq < self.chain.seq {
                self.complaints.push("the audit chain has become shorter".to_owned());
            }
            if self.confirms_audit {
                answer.audit_checkpoint = Some(self.desk.checkpoint(self.chain));
            }
        }
        answer
    }

    fn push(&mut self, mutations: &[Mutation]) {
        for mutation in mutations {
            let seq = mutation.seq.0;
            match self.sent.get(&seq) {
                Some(known) if known.id == mutation.id && known.fields == mutation.fields => {}
                Some(_) => self.complaints.push(format!("two changes have the number {seq}")),
                None if seq != self.sent.len() as u64 + 1 => {
                    self.complaints.push(format!("a change is missing before number {seq}"));
                }
                None => drop(self.sent.insert(seq, mutation.clone())),
            }
        }
    }

    fn renew(&mut self, request: &TokenRequest) {
        let repeated = self
            .renewed
            .as_ref()
            .is_some_and(|known| known.request == request.request && known.refresh == request.refresh);
        if request.refresh == refresh_token(self.tokens) {
            self.tokens += 1;
            self.renewed = Some(request.clone());
        } else if !repeated {
            self.complaints.push("an old refresh token was used again".to_owned());
        }
    }

    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.desk.now_ms).unwrap_or_default()
    }

    fn tokens(&self) -> Tokens {
        let access = format!("access-{}", self.tokens);
        Tokens { access, expires_in_s: 3600, refresh: refresh_token(self.tokens) }
    }

    /// The answer to a sync: everything after the cursors.
    fn frames(&self, head: &Head, mutations: &[Mutation], answer: CheckinAnswer) -> Vec<Frame> {
        let bucket = Bucket::territory(TERRITORY);
        let mut frames = vec![Frame::Device(answer)];
        frames.extend(mutations.iter().map(|mutation| {
            let rev = Rev(1_000 + mutation.seq.0);
            Frame::Result(MutationResult {
                seq: mutation.seq,
                outcome: Outcome::Applied { rev, conflicts: vec![] },
            })
        }));
        frames.push(Frame::Buckets(vec![bucket.clone(), Bucket::user(self.desk.profile().user)]));
        let mut cursor = head.cursors.get(&bucket).map_or(0, |seq| seq.0);
        while cursor < self.customers {
            let to = (cursor + PAGE).min(self.customers);
            frames.push(Frame::Page(Page {
                bucket: bucket.clone(),
                rows: (cursor..to).map(customer).collect(),
                cursor: Seq(to),
                head: Seq(self.customers),
            }));
            cursor = to;
        }
        frames.push(Frame::End { server_time: self.now() });
        frames
    }
}

fn refresh_token(number: u64) -> String {
    format!("refresh-{number}")
}

fn customer(number: u64) -> Row {
    let fields = [
        ("code", format!("S{number}")),
        ("name", format!("Store {number}")),
        ("address", format!("{number} Ocean Avenue")),
        ("territory", TERRITORY.to_owned()),
    ];
    Row {
        entity: "customer".to_owned(),
        id: Uuid::from_u128(10_000 + u128::from(number)),
        rev: Rev(number + 1),
        fields: Some(
            fields.map(|(name, value)| (name.to_owned(), Value::from(value.as_str()))).into_iter().collect(),
        ),
    }
}

/// The office.
pub struct SavedOffice {
    journal: PathBuf,
    books: Mutex<Books>,
}

impl SavedOffice {
    /// The office whose journal is this file; a new one if there is none.
    ///
    /// # Errors
    /// The journal can't be read.
    pub fn at(journal: &Path) -> anyhow::Result<Arc<Self>> {
        let mut books = Books::new();
        let text = fs::read_to_string(journal).unwrap_or_default();
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        for line in text[..whole].lines() {
            books.take(&serde_json::from_str(line)?)?;
        }
        // A line that a kill has cut was never answered, and must not become the beginning of the next.
        if whole < text.len() {
            OpenOptions::new().write(true).open(journal)?.set_len(whole as u64)?;
        }
        Ok(Arc::new(Self { journal: journal.to_owned(), books: Mutex::new(books) }))
    }

    /// Tells the office something, which is in the journal before it has an effect.
    ///
    /// # Errors
    /// The journal can't be written.
    pub fn tell(&self, event: Event) -> anyhow::Result<Option<CheckinAnswer>> {
        let mut books = self.books();
        let mut line = serde_json::to_vec(&event)?;
        line.push(b'\n');
        OpenOptions::new().create(true).append(true).open(&self.journal)?.write_all(&line)?;
        books.take(&event)
    }

    /// The office's time, which is the phone's too.
    pub fn now(&self) -> DateTime<Utc> {
        self.books().now()
    }

    /// The text of an enrolment code.
    pub fn ticket(&self) -> String {
        let profile = self.books().desk.profile();
        let ticket = Ticket {
            v: roundsman_protocol::VERSION,
            url: profile.url,
            org_name: profile.org_name,
            token: [7; 16],
            pins: profile.pins,
            root_sha256: sha256(&[&profile.root]),
            expires_ms: i64::MAX,
        };
        ticket.to_text()
    }

    /// What the device has proven, in the order it came.
    pub fn proven(&self) -> Vec<&'static str> {
        self.books().desk.proven()
    }

    /// What no honest phone with a whole vault would have said, and the commands that were refused.
    pub fn complaints(&self) -> Vec<String> {
        let books = self.books();
        books.complaints.iter().cloned().chain(books.desk.refusals()).collect()
    }

    /// The content of the photos that were handed over, by attachment.
    pub fn photos(&self) -> BTreeMap<Uuid, Vec<u8>> {
        self.books().desk.rescued_photos()
    }

    /// The records that changes were sent of, but for attachments, with the fields that they have together.
    pub fn records(&self) -> BTreeMap<Uuid, Fields> {
        let mut records: BTreeMap<Uuid, Fields> = BTreeMap::new();
        let books = self.books();
        for mutation in books.sent.values().filter(|mutation| mutation.entity != "attachment") {
            records.entry(mutation.record).or_default().extend(mutation.fields.clone());
        }
        records
    }

    /// How many changes came, by a sync or in a sealed segment.
    pub fn changes(&self) -> usize {
        let books = self.books();
        let mut changes = books.desk.rescued();
        changes.extend(books.sent.values().map(|mutation| mutation.id));
        changes.len()
    }

    /// How many customers a phone has after a sync.
    pub fn customers(&self) -> u64 {
        self.books().customers
    }

    /// How many audit entries came.
    pub fn audited(&self) -> u64 {
        self.books().chain.seq
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, request: &Request) -> anyhow::Result<Vec<u8>> {
        let (_, path) = request.url.split_once("/v1/").context("a path of the protocol")?;
        Ok(match path {
            "root" => serde_json::to_vec(&RootAnswer { root: self.books().desk.profile().root })?,
            "enrol" => {
                let _: EnrolRequest = serde_json::from_slice(&request.body)?;
                let proof = request.headers.iter().find(|(name, _)| *name == "dpop").context("a proof")?;
                let (key, _) = dpop::verify(&proof.1, request.method, &request.url, None)?;
                self.tell(Event::Enrolled(b64::encode(key.as_sec1())))?;
                let books = self.books();
                let profile = books.desk.profile();
                serde_json::to_vec(&EnrolAnswer {
                    device: profile.device,
                    org: profile.org,
                    user: profile.user,
                    user_name: profile.user_name,
                    tokens: books.tokens(),
                    server_time: books.now(),
                })?
            }
            "token" => {
                self.tell(Event::Token(serde_json::from_slice(&request.body)?))?;
                serde_json::to_vec(&self.books().tokens())?
            }
            "device/checkin" => serde_json::to_vec(&self.report(serde_json::from_slice(&request.body)?)?)?,
            "device/rescue" => {
                let signed = SignedSegment::open(&request.body, self.books().desk.device_key())?;
                let stored = Segment::read(&signed)?.head.segment;
                self.tell(Event::Segment(b64::encode(&request.body)))?;
                serde_json::to_vec(&RescueAnswer { stored })?
            }
            path if path.starts_with("device/rescue/photos/") => {
                let part = b64::encode(&request.body);
                self.tell(Event::PhotoPart(part.clone()))?;
                // It was taken; the same once more asks how far that is.
                serde_json::to_vec(&self.books().part(&part)?)?
            }
            "sync" => {
                let mut text = String::new();
                GzDecoder::new(&request.body[..]).read_to_string(&mut text)?;
                let mut lines = text.lines();
                let head: Head = serde_json::from_str(lines.next().context("a head")?)?;
                let mutations: Vec<Mutation> = lines.map(serde_json::from_str).collect::<Result<_, _>>()?;
                let answer = self.report(head.device.clone())?;
                self.tell(Event::Mutations(mutations.clone()))?;
                let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
                for frame in self.books().frames(&head, &mutations, answer) {
                    serde_json::to_writer(&mut packed, &frame)?;
                    packed.write_all(b"\n")?;
                }
                packed.finish()?
            }
            other => bail!("the office has no {other}"),
        })
    }

    fn report(&self, checkin: Checkin) -> anyhow::Result<CheckinAnswer> {
        self.tell(Event::Checkin(Box::new(checkin)))?.context("a report is answered")
    }
}

#[async_trait]
impl Transport for SavedOffice {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let body = self.serve(&request).map_err(|error| {
            self.books().complaints.push(format!("{error:#}"));
            TransportError::Offline
        })?;
        Ok(Response { status: 200, dpop_nonce: None, retry_after_s: None, body: Whole::of(body) })
    }
}
