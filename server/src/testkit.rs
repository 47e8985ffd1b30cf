//! For tests: an organisation with a clock that is set by hand, and devices with real keys. Its data is in a temporary
//! folder, or in a PostgreSQL where ROUNDSMAN_TEST_STORAGE says `postgres`. And buckets of a server that speaks S3.

pub(crate) mod postgres;
pub(crate) mod s3;
mod script;

use crate::admin::{AdminError, WipeProposal};
use crate::app::App;
use crate::attachments::Contents;
use crate::keyfile::KeyFile;
use crate::keys::{FirstKeys, OrgKeys};
use crate::password::Gate;
use crate::random;
use crate::storage::postgres::Reached;
use crate::storage::sqlite::{self, DatabaseKey, Sqlite};
use crate::storage::{Storage, StoredDevice};
use crate::sync::{self, Answer};
use crate::{Admin, Database, NewAdmin, enrolment};
use chrono::{DateTime, TimeDelta, Utc};
use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::ecdsa::{Signature, SigningKey};
use roundsman_model::{Bucket, DeviceId, DeviceSeq, Fields, Rev, Role, Seq, Stamp, UserId, Value};
use roundsman_protocol::api::{Checkin, CheckinAnswer, DeviceState, EnrolRequest, Tokens};
use roundsman_protocol::keys::DeviceKey;
use roundsman_protocol::receipt::{Progress, Receipt, SignedReceipt};
use roundsman_protocol::sync::{Change, Frame, Head, Mutation};
use roundsman_protocol::ticket::{SpkiPin, Ticket};
use roundsman_protocol::{VERSION, sha256};
use std::collections::BTreeMap;
use std::error::Error;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, RwLock};
use uuid::Uuid;
use zeroize::Zeroizing;

pub(crate) type TestResult<T = ()> = Result<T, Box<dyn Error>>;

pub(crate) const PASSWORD: &str = "a long enough password";
pub(crate) const EMAIL: &str = "admin@example.com";

/// An organisation with one administrator.
pub(crate) struct Org {
    pub(crate) app: Arc<App>,
    pub(crate) admin: Admin,
    pub(crate) boss: UserId,
    pub(crate) totp_secret: String,
    /// The keys that people hold.
    pub(crate) first: FirstKeys,
    now_ms: Arc<AtomicI64>,
    database_key: DatabaseKey,
    database: Option<Database>,
    dir: tempfile::TempDir,
}

impl Org {
    pub(crate) fn new() -> TestResult<Self> {
        Self::with(Contents::nowhere())
    }

    /// One that keeps attachments there.
    pub(crate) fn with(contents: Contents) -> TestResult<Self> {
        let dir = tempfile::tempdir()?;
        let key = Zeroizing::new(random::bytes()?);
        let on_postgres = std::env::var("ROUNDSMAN_TEST_STORAGE").is_ok_and(|name| name == "postgres");
        let database = if on_postgres { Some(empty_database()?) } else { None };
        let storage: Box<dyn Storage> = match &database {
            Some(database) => Box::new(Reached::connect(database)?.open(&DatabaseKey(key.clone()))?),
            None => Box::new(Sqlite::open(&dir.path().join("roundsman.db"), DatabaseKey(key.clone()))?),
        };
        let start = DateTime::from_timestamp(1_800_000_000, 0).ok_or("time")?;
        let new = NewAdmin { email: EMAIL.into(), name: "Boss".into(), password: PASSWORD.into() };
        let mut tx = storage.write()?;
        let first = FirstKeys::make(dir.path(), &new.name)?;
        OrgKeys::create(tx.as_mut(), "Test", &first, start)?;
        let factor = crate::admin::add_first_admin(tx.as_mut(), "Test", &new, start)?;
        let keys = OrgKeys::load(tx.as_ref())?.ok_or("keys")?;
        tx.commit()?;
        let now_ms = Arc::new(AtomicI64::new(start.timestamp_millis()));
        let clock = Arc::clone(&now_ms);
        let app = Arc::new(App {
            storage: storage.into(),
            known_keys: RwLock::new(Arc::new(keys)),
            org_name: "Test".into(),
            public_url: "https://test".into(),
            pins: vec![SpkiPin([1; 32]), SpkiPin([2; 32])],
            contents,
            gate: Gate::new(),
            clock: Arc::new(move || {
                DateTime::from_timestamp_millis(clock.load(Ordering::SeqCst)).unwrap_or_default()
            }),
        });
        let admin = Admin::new(Arc::clone(&app));
        let boss = admin.users()?.first().ok_or("admin")?.id;
        Ok(Self {
            app,
            admin,
            boss,
            totp_secret: factor.secret,
            first,
            now_ms,
            database_key: DatabaseKey(key),
            database,
            dir,
        })
    }

    /// Whether its data is in PostgreSQL.
    pub(crate) fn on_postgres(&self) -> bool {
        self.database.is_some()
    }

    /// Runs statements past the server's rules, on either database.
    pub(crate) fn tamper(&self, sql: &str) -> TestResult {
        match &self.database {
            Some(database) => Ok(Reached::connect(database)?.batch(sql)?),
            None => Ok(self.raw_database()?.execute_batch(sql)?),
        }
    }

    /// The database file, and its key.
    pub(crate) fn file(&self) -> (std::path::PathBuf, DatabaseKey) {
        (self.dir.path().join("roundsman.db"), DatabaseKey(self.database_key.0.clone()))
    }

    /// The database file past the server's rules.
    pub(crate) fn raw_database(&self) -> TestResult<rusqlite::Connection> {
        Ok(sqlite::connect(&self.dir.path().join("roundsman.db"), &self.database_key)?)
    }

    /// The server's keys under the present root.
    pub(crate) fn keys(&self) -> TestResult<Arc<OrgKeys>> {
        Ok(self.app.keys(self.app.storage.read()?.as_ref())?)
    }

    /// Proposes a wipe and has the first approver approve it.
    pub(crate) fn wipe(&self, phone: &Phone, reason: &str) -> TestResult<WipeProposal> {
        let proposal = self.admin.propose_wipe(self.boss, phone.id, reason, false)?;
        Ok(self.approve(&proposal, &self.first.approver)?)
    }

    /// Has the holder of this key approve a proposed wipe.
    pub(crate) fn approve(&self, proposal: &WipeProposal, key: &KeyFile) -> Result<WipeProposal, AdminError> {
        let signature = proposal.sign(key).map_err(|_| AdminError::Keys)?;
        self.admin.approve_wipe(proposal.id, key.id(), &signature)
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.app.now()
    }

    pub(crate) fn wait(&self, time: TimeDelta) {
        self.now_ms.fetch_add(time.num_milliseconds(), Ordering::SeqCst);
    }

    /// A rep of these territories.
    pub(crate) fn rep(&self, name: &str, territories: &[&str]) -> TestResult<UserId> {
        let territories = territories.iter().map(|code| (*code).to_owned()).collect();
        let email = format!("{name}@example.com");
        let user =
            crate::admin::NewUser { email, name: name.into(), role: Role::Rep, territories, password: None };
        Ok(self.admin.add_user(self.boss, user)?)
    }

    /// A device of this user, enrolled.
    pub(crate) fn phone(&self, user: UserId) -> TestResult<Phone> {
        let ticket = self.admin.issue_ticket(self.boss, user)?;
        let ticket = Ticket::from_text(&ticket.text)?;
        let signing = SigningKey::from_slice(&random::bytes::<32>()?)?;
        let key = DeviceKey::from_sec1(signing.verifying_key().to_sec1_point(false).as_ref())?;
        let answer = enrolment::enrol(&self.app, key.clone(), &request(ticket.token))?;
        Ok(Phone {
            app: Arc::clone(&self.app),
            id: answer.device,
            key,
            signing,
            tokens: answer.tokens,
            next: DeviceSeq(1),
            cursors: BTreeMap::new(),
            last_command: 0,
            state: DeviceState::Active,
            own: None,
        })
    }

    pub(crate) fn stored(&self, phone: &Phone) -> TestResult<StoredDevice> {
        Ok(self.app.storage.read()?.device(phone.id)?.ok_or("device")?)
    }

    /// Brings one customer in and returns its id.
    pub(crate) fn customer(&self, code: &str, name: &str, territory: &str) -> TestResult<Uuid> {
        let file = format!("code,name,territory\n{code},{name},{territory}\n");
        let mapping = crate::admin::Mapping::guess(&["code".into(), "name".into(), "territory".into()]);
        self.admin.import_customers(self.boss, file.as_bytes(), &mapping, &mut |_| {})?;
        let found = self.app.storage.read()?.customer_by_code(code)?.ok_or("customer")?;
        Ok(found.id)
    }
}

pub(crate) fn request(ticket: [u8; 16]) -> EnrolRequest {
    EnrolRequest {
        ticket,
        install: Uuid::now_v7(),
        name: "Test phone".into(),
        platform: "linux".into(),
        hardware_keys: false,
        core: "0.1.0".into(),
    }
}

/// A new, empty database of PostgreSQL.
pub(crate) fn empty_database() -> TestResult<Database> {
    Ok(Database { url: postgres::empty_database()?.as_str().into(), ca: None })
}

/// A device as the server sees it.
pub(crate) struct Phone {
    app: Arc<App>,
    pub(crate) id: DeviceId,
    pub(crate) key: DeviceKey,
    signing: SigningKey,
    pub(crate) tokens: Tokens,
    next: DeviceSeq,
    pub(crate) cursors: BTreeMap<Bucket, Seq>,
    pub(crate) last_command: u64,
    pub(crate) state: DeviceState,
    /// The declarations by which it makes rows of its own changes from their results, if it does.
    pub(crate) own: Option<String>,
}

impl Phone {
    pub(crate) fn report(&self) -> Checkin {
        Checkin { unsent: Some(0), ..Checkin::of(self.state, "0.1.0", self.last_command) }
    }

    pub(crate) fn check_in(&self, report: &Checkin) -> TestResult<CheckinAnswer> {
        let mut tx = self.app.storage.write()?;
        let mut device = tx.device(self.id)?.ok_or("device")?;
        let keys = self.app.keys(tx.as_ref())?;
        let answer = crate::devices::check_in(tx.as_mut(), &keys, &mut device, report, self.app.now())?;
        tx.commit()?;
        Ok(answer)
    }

    /// An ES256 signature by the device's key.
    pub(crate) fn es256(&self, message: &[u8]) -> Result<[u8; 64], p256::ecdsa::Error> {
        let signature: Signature = self.signing.sign_prehash(&sha256(&[message]))?;
        Ok(signature.to_bytes().into())
    }

    pub(crate) fn sign(&self, receipt: &Receipt) -> TestResult<Vec<u8>> {
        Ok(SignedReceipt::sign(receipt, |message| self.es256(message))?.to_bytes())
    }

    pub(crate) fn receipt(&self, command: Uuid, hash: [u8; 32], progress: Progress) -> Receipt {
        Receipt {
            v: VERSION,
            device: *self.id.0.as_bytes(),
            vault: [7; 16],
            command: *command.as_bytes(),
            command_hash: hash,
            progress,
            at_ms: self.app.now().timestamp_millis(),
            core: "0.1.0".into(),
        }
    }

    /// The next mutation: a put of these fields.
    pub(crate) fn put(
        &mut self,
        entity: &str,
        record: Uuid,
        base: u64,
        fields: &[(&str, Value)],
    ) -> Mutation {
        let seq = self.next;
        self.next = seq.next();
        let fields: Fields = fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        Mutation {
            seq,
            id: Uuid::now_v7(),
            entity: entity.into(),
            record,
            change: Change::Put,
            was: Fields::new(),
            settles: vec![],
            base: Rev(base),
            stamp: Stamp((self.app.now().timestamp_millis() as u64) << 16),
            fields,
        }
    }

    pub(crate) fn delete(&mut self, entity: &str, record: Uuid) -> Mutation {
        Mutation { change: Change::Delete, ..self.put(entity, record, 1, &[]) }
    }

    /// One sync; cursors move with the pages.
    pub(crate) fn sync(&mut self, mutations: &[Mutation]) -> TestResult<Vec<Frame>> {
        let device = Checkin { unsent: Some(mutations.len() as u64), ..self.report() };
        let head = Head { cursors: self.cursors.clone(), device, differences: vec![], own: self.own.clone() };
        let answer = sync::run(&self.app, &self.key, &self.tokens.access, &head, mutations)?;
        let frames = all(answer)?;
        for frame in &frames {
            match frame {
                Frame::Page(page) => drop(self.cursors.insert(page.bucket.clone(), page.cursor)),
                Frame::Own(own) => self.cursors.extend(own.cursors.clone()),
                _ => {}
            }
        }
        Ok(frames)
    }
}

fn all(mut answer: Answer) -> TestResult<Vec<Frame>> {
    let mut frames = Vec::new();
    while let Some(frame) = answer.next()? {
        // As it comes to a device.
        frames.push(serde_json::from_str(&serde_json::to_string(&frame)?)?);
    }
    Ok(frames)
}
