//! For tests: an organisation in a temporary folder with a clock that is set by hand, and devices with real keys.

use crate::app::App;
use crate::keys::OrgKeys;
use crate::password::Gate;
use crate::random;
use crate::storage::sqlite::{DatabaseKey, Sqlite};
use crate::storage::{Storage, StoredDevice};
use crate::sync::{self, Answer};
use crate::{Admin, NewAdmin, enrolment};
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
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
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
    now_ms: Arc<AtomicI64>,
    _dir: tempfile::TempDir,
}

impl Org {
    pub(crate) fn new() -> TestResult<Self> {
        let dir = tempfile::tempdir()?;
        let key = DatabaseKey(Zeroizing::new(random::bytes()?));
        let storage = Sqlite::open(&dir.path().join("roundsman.db"), key)?;
        let start = DateTime::from_timestamp(1_800_000_000, 0).ok_or("time")?;
        let new = NewAdmin { email: EMAIL.into(), name: "Boss".into(), password: PASSWORD.into() };
        let mut tx = storage.write()?;
        OrgKeys::create(tx.as_mut(), "Test", &new.password, start)?;
        let factor = crate::admin::add_first_admin(tx.as_mut(), "Test", &new, start)?;
        let keys = OrgKeys::load(tx.as_ref())?.ok_or("keys")?;
        tx.commit()?;
        let now_ms = Arc::new(AtomicI64::new(start.timestamp_millis()));
        let clock = Arc::clone(&now_ms);
        let app = Arc::new(App {
            storage: Box::new(storage),
            keys,
            public_url: "https://test".into(),
            pins: vec![SpkiPin([1; 32]), SpkiPin([2; 32])],
            gate: Gate::new(),
            clock: Box::new(move || {
                DateTime::from_timestamp_millis(clock.load(Ordering::SeqCst)).unwrap_or_default()
            }),
        });
        let admin = Admin::new(Arc::clone(&app));
        let boss = admin.users()?.first().ok_or("admin")?.id;
        Ok(Self { app, admin, boss, totp_secret: factor.secret, now_ms, _dir: dir })
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
}

impl Phone {
    pub(crate) fn report(&self) -> Checkin {
        Checkin {
            state: self.state,
            unsent: Some(0),
            core: "0.1.0".into(),
            last_command: self.last_command,
            receipts: vec![],
            escrow: None,
            unlock: None,
        }
    }

    pub(crate) fn check_in(&self, report: &Checkin) -> TestResult<CheckinAnswer> {
        let mut tx = self.app.storage.write()?;
        let mut device = tx.device(self.id)?.ok_or("device")?;
        let answer =
            crate::devices::check_in(tx.as_mut(), &self.app.keys, &mut device, report, self.app.now())?;
        tx.commit()?;
        Ok(answer)
    }

    pub(crate) fn sign(&self, receipt: &Receipt) -> TestResult<Vec<u8>> {
        let signed = SignedReceipt::sign(receipt, |message| {
            let signature: Signature = self.signing.sign_prehash(&sha256(&[message]))?;
            Ok::<_, p256::ecdsa::Error>(signature.to_bytes().into())
        })?;
        Ok(signed.to_bytes())
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
        let head = Head { cursors: self.cursors.clone(), device };
        let answer = sync::run(&self.app, &self.key, &self.tokens.access, &head, mutations)?;
        let frames = all(answer)?;
        for frame in &frames {
            if let Frame::Page(page) = frame {
                self.cursors.insert(page.bucket.clone(), page.cursor);
            }
        }
        Ok(frames)
    }
}

fn all(mut answer: Answer) -> TestResult<Vec<Frame>> {
    let mut frames = Vec::new();
    while let Some(frame) = answer.next()? {
        frames.push(frame);
    }
    Ok(frames)
}
