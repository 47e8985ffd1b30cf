//! A device on a desk: a vault in a temporary folder, with a disk and a keystore that fail when told to, and the
//! office it reports to.
#![allow(dead_code, unused_imports, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

mod faults;
mod office;
mod session;
mod sweep;

#[allow(unused_imports, reason = "each test file uses its own part")]
pub(crate) use faults::{Fault, FaultyDisk, FaultyKeys};
pub(crate) use office::Office;
pub(crate) use session::{Session, TEMPLATE, sealed};
pub(crate) use sweep::sweep;

use chrono::{DateTime, TimeDelta, Utc};
use roundsman_core::device::{Device, DeviceEvent};
use roundsman_core::platform::{BootTime, Clock, OsEntropy, SoftwareKeys};
use roundsman_core::protocol::rescue_photo::next;
use roundsman_core::rescue::SealedOutbox;
use roundsman_core::store::{Store, StoreError, StoreKey};
use roundsman_core::vault::{DatabaseKey, KdfCost, Passcode, Seams, Unlocked, Vault, VaultError};
use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use uuid::Uuid;

pub(crate) const RIGHT: &str = "red kayak 7";
pub(crate) const OTHER: &str = "blue heron 3";

/// The name of the store that takes the place of the vault's own, and its key.
const WORK: &str = "work.db";
const STORE_KEY: StoreKey<'static> = StoreKey {
    cipher: "x'777777777777777777777777777777777777777777777777777777777777777777777777777777777777777777777777'",
    digest: &[7; 32],
};

pub(crate) fn passcode(text: &str) -> Passcode {
    Passcode::new(text).unwrap()
}

/// A clock that stands still until it is moved.
pub(crate) struct HandClock(Mutex<DateTime<Utc>>, Mutex<Option<BootTime>>);

impl HandClock {
    pub(crate) fn advance(&self, seconds: i64) {
        self.set_forward(seconds);
        if let Some(now) = self.1.lock().unwrap().as_mut() {
            now.elapsed += Duration::from_secs(seconds.unsigned_abs());
        }
    }

    /// Somebody sets the wall clock.
    pub(crate) fn set_forward(&self, seconds: i64) {
        *self.0.lock().unwrap() += TimeDelta::seconds(seconds);
    }

    /// The phone is started, and can tell this start from others from now on.
    pub(crate) fn boot(&self, boot: u128) {
        *self.1.lock().unwrap() = Some(BootTime { boot: Uuid::from_u128(boot), elapsed: Duration::ZERO });
    }
}

impl Clock for HandClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap()
    }

    fn zone_min(&self) -> i32 {
        0
    }

    fn boot(&self) -> Option<BootTime> {
        *self.1.lock().unwrap()
    }
}

/// A phone: what survives a restart.
pub(crate) struct Phone {
    root: TempDir,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) disk: Arc<FaultyDisk>,
    pub(crate) keys: Arc<FaultyKeys>,
}

impl Phone {
    pub(crate) fn new() -> Self {
        Self::on(scratch())
    }

    fn on(root: TempDir) -> Self {
        let start = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        let keys = SoftwareKeys::new(root.path().join("keystore"), Arc::new(OsEntropy));
        Self {
            clock: Arc::new(HandClock(Mutex::new(start), Mutex::default())),
            disk: Arc::new(FaultyDisk::default()),
            keys: Arc::new(FaultyKeys::new(keys)),
            root,
        }
    }

    /// Another phone in exactly this state.
    pub(crate) fn copy(&self) -> Self {
        let root = scratch();
        copy_tree(self.root.path(), root.path());
        let copy = Self::on(root);
        *copy.clock.0.lock().unwrap() = self.clock.now();
        copy
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.root.path().join("vault")
    }

    pub(crate) fn seams(&self) -> Seams {
        Seams {
            keys: self.keys.clone(),
            clock: self.clock.clone(),
            entropy: Arc::new(OsEntropy),
            disk: self.disk.clone(),
            cost: Some(KdfCost::FLOOR),
        }
    }

    /// Starts the app.
    pub(crate) fn start(&self) -> Result<App, VaultError> {
        let vault = Arc::new(Vault::at(self.dir(), self.seams())?);
        Ok(App { device: Device::new(vault.clone()), vault, closed: Cell::new(0) })
    }

    /// A phone that is enrolled, and whose release share is in escrow.
    pub(crate) fn enrolled(office: &mut Office) -> Self {
        let phone = Self::new();
        let app = phone.start().unwrap();
        app.enrol(office).unwrap();
        app.talk(office).unwrap();
        phone
    }

    pub(crate) fn heal(&self) {
        self.disk.heal();
        self.keys.heal();
    }

    /// Names in the vault's folder.
    pub(crate) fn files(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.dir())
            .map(|entries| entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect())
            .unwrap_or_default();
        names.sort();
        names
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// Everything in the folder, to see that nothing was touched.
    pub(crate) fn bytes(&self) -> Vec<(String, Vec<u8>)> {
        self.files().into_iter().map(|name| (name.clone(), fs::read(self.file(&name)).unwrap())).collect()
    }
}

/// The app while it runs. Dropping it is killing it.
pub(crate) struct App {
    pub(crate) vault: Arc<Vault>,
    pub(crate) device: Device,
    /// How often the database was closed by an order.
    pub(crate) closed: Cell<u32>,
}

impl App {
    pub(crate) fn enrol(&self, office: &mut Office) -> Result<(), VaultError> {
        office.knows(self.device.identity()?);
        let database = self.vault.database_path();
        self.vault.create(office.profile(), &passcode(RIGHT), |key: &DatabaseKey| {
            // Stands for the database: readable by whoever has the key.
            fs::write(&database, key.pragma_text().as_bytes()).map_err(VaultError::from)
        })
    }

    /// Whether this passcode opens the database.
    pub(crate) fn opens_with(&self, text: &str) -> Result<(), VaultError> {
        let key = self.unlock(text)?.key;
        let database = fs::read(self.vault.database_path())?;
        assert_eq!(database, key.pragma_text().as_bytes(), "the key is the one the database was made with");
        self.vault.opened()
    }

    /// The key for this passcode, without opening anything with it.
    pub(crate) fn unlock(&self, text: &str) -> Result<Unlocked, VaultError> {
        self.vault.unlock(&passcode(text), &|| self.closed.set(self.closed.get() + 1))
    }

    pub(crate) fn change(&self, old: &str, new: &str) -> Result<(), VaultError> {
        let close = || self.closed.set(self.closed.get() + 1);
        self.vault.change_passcode(&passcode(old), &passcode(new), &close, || Ok(()))
    }

    /// One report and its answer.
    pub(crate) fn exchange(&self, office: &mut Office) -> Result<Vec<DeviceEvent>, VaultError> {
        let answer = office.answer(&self.device.report(Some(7))?);
        self.take(&answer)
    }

    pub(crate) fn take(
        &self,
        answer: &roundsman_core::protocol::api::CheckinAnswer,
    ) -> Result<Vec<DeviceEvent>, VaultError> {
        self.device.take(answer, Some(7), &|| self.closed.set(self.closed.get() + 1))
    }

    /// Reports until neither side has news.
    pub(crate) fn talk(&self, office: &mut Office) -> Result<Vec<DeviceEvent>, VaultError> {
        let mut events = self.exchange(office)?;
        for _ in 0..6 {
            self.hand_over(office)?;
            if !self.device.has_news()? {
                break;
            }
            events.extend(self.exchange(office)?);
        }
        Ok(events)
    }

    /// Hands over the segments and photos that wait for it, if the office takes them.
    fn hand_over(&self, office: &mut Office) -> Result<(), VaultError> {
        for segment in self.device.waiting_segments()? {
            let bytes = self.device.signed_segment(segment)?;
            if let Some(bytes) = bytes.filter(|_| office.takes_segments) {
                office.take_segment(&bytes);
                self.device.segment_stored(segment)?;
            }
        }
        for file in self.device.waiting_photos(true)? {
            let mut offset = None;
            while let Some((bytes, size)) =
                self.device.signed_part(file, offset)?.filter(|_| office.takes_segments)
            {
                let answer = office.take_part(&bytes);
                if answer.stored {
                    self.device.photo_stored(file)?;
                    break;
                }
                offset = next(answer, size, offset);
                assert!(offset.is_some(), "it gets no further");
            }
        }
        Ok(())
    }

    /// Makes a store with its sealed outbox in the vault's folder.
    pub(crate) fn make_store(&self, office: &Office) -> Store {
        let sealed = self.vault.sealed_outbox(&office.profile()).unwrap();
        Store::create(&self.vault.dir().join(WORK), &STORE_KEY, sealed).unwrap()
    }

    /// Opens that store.
    pub(crate) fn open_store(&self, office: &Office) -> Result<Store, StoreError> {
        self.open_store_with(self.vault.sealed_outbox(&office.profile()).unwrap())
    }

    pub(crate) fn open_store_with(&self, sealed: SealedOutbox) -> Result<Store, StoreError> {
        Store::open(&self.vault.dir().join(WORK), &STORE_KEY, sealed, self.vault.seen_commit().unwrap())
    }
}

/// A folder for a phone. In memory if there is such a place: power cuts are played by the disk of the kit, so that real
/// syncs would only cost time.
fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
