//! A store in a folder of its own, and a server that says what a test wants.

use chrono::{DateTime, TimeDelta, Utc};
use roundsman_core::customers::Customers;
use roundsman_core::model::merge::Conflict;
use roundsman_core::model::{Bucket, DeviceId, DeviceSeq, Fields, OrgId, Rev, RuleError, Seq, UserId, Value};
use roundsman_core::outbox::Outbox;
use roundsman_core::platform::{Clock, Disk, OsEntropy, RealDisk};
use roundsman_core::protocol::hpke_seal;
use roundsman_core::protocol::sync::{MutationResult, Outcome, Page, Row};
use roundsman_core::rescue::{SealTo, SealedOutbox};
use roundsman_core::store::{Store, StoreError, StoreKey};
use roundsman_core::visits::Visits;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tempfile::TempDir;
use uuid::Uuid;

/// A key with its salt, as the vault gives it.
pub(crate) const KEY: &str =
    "x'00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff0f1e2d3c4b5a69788796a5b4c3d2e1f0'";

/// What the organisation's rescue key is made from.
pub(crate) const RESCUE: [u8; 32] = [6; 32];

/// Makes a database with its sealed outbox beside it.
pub(crate) fn create(path: &Path, key: &str) -> Result<Store, StoreError> {
    Store::create(path, &StoreKey { cipher: key, digest: &[9; 32] }, sealed(path))
}

/// Opens a database with its sealed outbox beside it; a commit of number `seen` was seen.
pub(crate) fn open(path: &Path, key: &str, seen: u64) -> Result<Store, StoreError> {
    Store::open(path, &StoreKey { cipher: key, digest: &[9; 32] }, sealed(path), seen)
}

/// The sealed outbox beside a database.
pub(crate) fn sealed(path: &Path) -> SealedOutbox {
    sealed_on(path, Arc::new(RealDisk))
}

pub(crate) fn sealed_on(path: &Path, disk: Arc<dyn Disk>) -> SealedOutbox {
    let to = SealTo {
        org: OrgId(Uuid::from_u128(9)),
        device: DeviceId(Uuid::from_u128(7)),
        rescue_key: hpke_seal::key_pair(&RESCUE).1,
    };
    SealedOutbox::open(path.parent().unwrap(), to, disk, Arc::new(OsEntropy)).unwrap()
}

pub(crate) const ME: UserId = UserId(Uuid::from_u128(1));

/// A clock that stands still until it is told otherwise.
pub(crate) struct Hands(AtomicI64);

impl Hands {
    pub(crate) fn forward(&self, by: TimeDelta) {
        self.0.fetch_add(by.num_milliseconds(), Ordering::Relaxed);
    }
}

impl Clock for Hands {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.0.load(Ordering::Relaxed)).unwrap()
    }

    fn zone_min(&self) -> i32 {
        120
    }
}

/// A phone's store with its services.
pub(crate) struct Phone {
    pub(crate) dir: TempDir,
    pub(crate) store: Arc<Store>,
    pub(crate) clock: Arc<Hands>,
    pub(crate) customers: Customers,
    pub(crate) visits: Visits,
    pub(crate) outbox: Outbox,
}

impl Phone {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let store = create(&dir.path().join("vault.db"), KEY).unwrap();
        Self::over(dir, store)
    }

    pub(crate) fn over(dir: TempDir, store: Store) -> Self {
        let (store, clock) = (Arc::new(store), Arc::new(Hands(AtomicI64::new(1_790_000_000_000))));
        let entropy = Arc::new(OsEntropy);
        Self {
            dir,
            customers: Customers::new(store.clone(), clock.clone(), entropy.clone()),
            visits: Visits::new(store.clone(), clock.clone(), entropy.clone(), ME),
            outbox: Outbox::new(store.clone(), clock.clone(), entropy),
            store,
            clock,
        }
    }

    /// The customers of a store that is only read.
    pub(crate) fn reading(store: Store) -> Customers {
        let clock = Arc::new(Hands(AtomicI64::new(0)));
        Customers::new(Arc::new(store), clock, Arc::new(OsEntropy))
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("vault.db")
    }

    /// Closes the app and starts it again.
    pub(crate) fn restarted(self) -> Self {
        self.store.close();
        let store = open(&self.path(), KEY, 0).unwrap();
        Self::over(self.dir, store)
    }

    pub(crate) fn pull(&self, rows: Vec<Row>) {
        self.store.apply_page(&page("nj", 1, rows)).unwrap();
    }

    pub(crate) fn settle(&self, seq: u64, outcome: Outcome) {
        self.store.settle(&[MutationResult { seq: DeviceSeq(seq), outcome }]).unwrap();
    }

    pub(crate) fn name(&self, id: Uuid) -> Option<String> {
        self.customers.get(id).unwrap().map(|customer| customer.name)
    }

    /// The rep types a new name.
    pub(crate) fn rename(&self, id: Uuid, name: &str) {
        let seen = self.customers.get(id).unwrap().unwrap();
        let mut customer = seen.clone();
        name.clone_into(&mut customer.name);
        self.customers.save(&seen, &customer).unwrap();
    }

    pub(crate) fn found(&self, typed: &str) -> Vec<String> {
        self.customers.search(typed, 10).unwrap().into_iter().map(|customer| customer.name).collect()
    }

    /// The numbers of the changes that wait.
    pub(crate) fn waiting(&self) -> Vec<u64> {
        self.store.pending(100).unwrap().into_iter().map(|mutation| mutation.seq.0).collect()
    }
}

pub(crate) fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

pub(crate) fn territory(code: &str) -> Bucket {
    Bucket::territory(code)
}

pub(crate) fn page(code: &str, cursor: u64, rows: Vec<Row>) -> Page {
    Page { bucket: territory(code), rows, cursor: Seq(cursor), head: Seq(cursor) }
}

/// A customer as the server has it, with fields besides.
pub(crate) fn customer(n: u128, rev: u64, name: &str, more: &[(&str, &str)]) -> Row {
    let code = format!("C{n}");
    let mut fields: Fields = [("code", code.as_str()), ("name", name), ("territory", "nj")]
        .map(|(field, text)| (field.to_owned(), Value::from(text)))
        .into();
    fields.extend(more.iter().map(|(field, text)| ((*field).to_owned(), Value::from(*text))));
    Row { entity: "customer".to_owned(), id: id(n), rev: Rev(rev), fields: Some(fields) }
}

/// A removal of a customer.
pub(crate) fn gone(n: u128, rev: u64) -> Row {
    Row { entity: "customer".to_owned(), id: id(n), rev: Rev(rev), fields: None }
}

pub(crate) fn applied(rev: u64, conflicts: Vec<Conflict>) -> Outcome {
    Outcome::Applied { rev: Rev(rev), conflicts }
}

pub(crate) fn rejected() -> Outcome {
    Outcome::Rejected { reason: RuleError::NotAllowed }
}
