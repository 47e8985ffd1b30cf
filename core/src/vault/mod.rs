//! The vault: the key of the database, and who may have it when.
//!
//! The key is rebuilt from three parts in three places: the passcode in the person's head, a key in the platform's
//! keystore, and the release share in a file. A lock takes the share away, a wipe destroys all that can be
//! destroyed. What must be known without a passcode (who is enrolled, what was ordered, how many passcodes were
//! tried) is in the control file, authenticated and never secret.
//!
//! # Promises
//! - Without all three parts nothing opens; ten wrong passcodes lock the device or wipe it, and no kill
//!   gives one back.
//! - Each change of state is durable before its effects count, and is finished by the next [`Vault::at`].
//! - A damaged or missing file is an error that names it. No file is made anew over another, and none is changed
//!   because it could not be read.
//! - A vault that is marked for a wipe never opens again.
//! - A device that stays away from its server for longer than its lease allows does not open, and wipes itself only
//!   when that is certain: never on a single reading of a clock that anybody may set.
//! - On a leash a copy of the disk lacks one of the three parts, even where the keystore is on the same disk.
//!
//! # Not promised
//! - Resistance to somebody who puts a whole earlier state of files *and* keystore back. Where the keystore keeps a
//!   mark, an earlier control file alone is noticed, and the vault stays closed.
//! - Secrecy of the key while the database is open.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `control.a`, `control.b` | the control file, twice |
//! | `slots.a`, `slots.b` | the vault's key, wrapped for the passcode and for biometrics, twice |
//! | `release.bin` | the release share, wrapped by the platform's key; `release.next` while it is changed; not on a leash |
//! | `vault.db` | the database |
//! | `att/` | sealed attachments; their keys are in the database, and those of unsent ones beside them too, sealed to the organisation |
//! | `audit.log` | audit entries that the server has not countersigned; no personal data |
//! | `creating` | only while the vault is made: what is here is of no value yet |
//! | `in-use` | empty; locked by the process that uses the vault |
//! | `outbox/` | unsent work, sealed to the organisation; [`Vault::start_over`] leaves it, and unsent attachments, where it is |
//! | `tombstone` | after a wipe, alone: which command it was |

mod audit;
mod biometrics;
mod cost;
mod erase;
mod error;
mod file_keys;
mod files;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod handover;
mod history;
mod key_change;
mod keys;
mod last_attempt;
mod lease;
mod leash;
mod lock;
mod marks;
mod open;
mod passcode;
mod passcode_rules;
mod receipts;
mod record;
mod rules;
mod share;
mod slots;
#[cfg(test)]
mod testbench;
mod time;
mod wipe;

pub use biometrics::BiometricsError;
pub use cost::KdfCost;
pub use error::VaultError;
pub use file_keys::{FileKey, FileKeys};
pub use keys::DatabaseKey;
pub use lease::{LeaseState, LeaseStatus};
pub use open::Unlocked;
pub use passcode::{Passcode, PasscodeError};
pub use passcode_rules::{PasscodeDue, PasscodeRules};
pub use record::Profile;

pub(crate) use audit::{Event, object as audit_object};
pub(crate) use history::PasscodeHistory;
pub(crate) use lease::Renewal;
pub(crate) use lock::Order;
pub(crate) use record::{Cause, Record, Status};
pub(crate) use share::Share;
pub(crate) use time::Moment;
pub(crate) use wipe::Why;

use crate::platform::{Clock, Disk, Entropy, PlatformKeys};
use crate::rescue::{SealTo, SealedOutbox};
use files::{Folder, Pair, Sort};
use roundsman_protocol::posture::Posture;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

const CONTROL: Sort = Sort { magic: *b"fv1/ctrl", name: "control" };
const CONTROL_NAMES: [&str; 2] = ["control.a", "control.b"];
const DATABASE: &str = "vault.db";
const ATTACHMENTS: &str = "att";
const CREATING: &str = "creating";
const IN_USE: &str = "in-use";
const TOMBSTONE: &str = "tombstone";

/// What the vault takes from outside.
#[derive(Clone)]
pub struct Seams {
    /// The platform's keystore.
    pub keys: Arc<dyn PlatformKeys>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// What guessing a passcode costs at least; slots that cost less are raised to it when they are next opened. Without
    /// one it is measured when a passcode is set: [`KdfCost::calibrate`].
    pub cost: Option<KdfCost>,
}

/// What the vault may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VaultState {
    /// There is none yet.
    New,
    /// The right passcode opens it.
    Ready,
    /// No passcode opens it; an unlock by the administrator does.
    Locked {
        /// Whether the release share is still on the device, because it is not in escrow yet.
        soft: bool,
    },
    /// A wipe has begun, and its proof is not all at the server yet.
    Wiping,
    /// Wiped, and proven to the server. Only the tombstone is left.
    Wiped,
}

/// The vault in one folder. It holds no key: a [`DatabaseKey`] is given away and forgotten.
pub struct Vault {
    dir: PathBuf,
    seams: Seams,
    /// The id for an installation that has none yet.
    install: Uuid,
    /// One change of state at a time; [`Vault::state`] does not wait for it.
    gate: Mutex<()>,
    /// One writer of the audit log at a time.
    auditing: Mutex<()>,
    held: Mutex<Held>,
    /// What the host app has found out about the phone.
    posture: Mutex<Option<Posture>>,
    /// The release share of a device on a leash.
    on_leash: Mutex<Option<leash::OnLeash>>,
    /// Keeps other processes out for as long as it is open.
    _in_use: Option<File>,
}

/// What was found in the folder.
enum Held {
    New,
    Alive(Box<Control>),
    Buried,
}

/// The control file.
struct Control {
    pair: Pair,
    record: Record,
    /// The number of a commit of the database that is to be noted with the next change.
    commit: u64,
}

impl Control {
    fn load(folder: &Folder<'_>) -> Result<Self, VaultError> {
        let (pair, body) = Pair::load(folder, CONTROL, CONTROL_NAMES)?;
        Ok(Self { pair, record: Record::from_bytes(&body, CONTROL.name)?, commit: 0 })
    }
}

impl Vault {
    /// The vault in this folder, which is created if it is missing. Finishes a lock or a wipe that was interrupted,
    /// and removes what is left of a creation that was.
    ///
    /// # Errors
    /// Another process uses it; its files are damaged or the platform's key is gone. They are left as they are.
    pub fn at(dir: impl Into<PathBuf>, seams: Seams) -> Result<Self, VaultError> {
        let dir = dir.into();
        seams.disk.create_dir_all(&dir)?;
        let folder = Folder { dir: &dir, disk: &*seams.disk, keys: &*seams.keys };
        let buried = folder.has(TOMBSTONE)? && !folder.has_any(&CONTROL_NAMES)?;
        let vault = Self::closed(dir, seams, if buried { Held::Buried } else { Held::New })?;
        if !buried {
            vault.find()?;
        }
        Ok(vault)
    }

    /// The vault in this folder before anything in it was looked at.
    fn closed(dir: PathBuf, seams: Seams, held: Held) -> Result<Self, VaultError> {
        let in_use = if matches!(held, Held::Buried) { None } else { Some(hold(&dir)?) };
        let install = seams.entropy.uuid(seams.clock.now())?;
        let (gate, held, posture) = (Mutex::new(()), Mutex::new(held), Mutex::default());
        let (auditing, on_leash) = (Mutex::new(()), Mutex::default());
        Ok(Self { dir, seams, install, gate, auditing, held, posture, on_leash, _in_use: in_use })
    }

    /// What it may be used for.
    pub fn state(&self) -> VaultState {
        match &*self.held() {
            Held::New => VaultState::New,
            Held::Buried => VaultState::Wiped,
            Held::Alive(control) => match control.record.status {
                Status::Ready { .. } => VaultState::Ready,
                Status::Locking(_) | Status::SoftLocked(_) => VaultState::Locked { soft: true },
                Status::Locked => VaultState::Locked { soft: false },
                Status::Wiping(_) => VaultState::Wiping,
            },
        }
    }

    /// Who is enrolled; `None` before enrolment, and after a wipe that the server has proof of.
    pub fn profile(&self) -> Option<Profile> {
        self.read(|record| record.profile.clone()).ok()
    }

    /// The random id of this installation. It is kept once the vault is created.
    pub fn install(&self) -> Uuid {
        self.read(|record| record.install).unwrap_or(self.install)
    }

    /// The vault's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the database is, or is to be created.
    pub fn database_path(&self) -> PathBuf {
        self.dir.join(DATABASE)
    }

    /// The folder of the attachments.
    pub fn attachments_path(&self) -> PathBuf {
        self.dir.join(ATTACHMENTS)
    }

    /// The sealed outbox of this profile, which is the vault's or about to be.
    ///
    /// # Errors
    /// The organisation's keys can't be used; the disk failed.
    pub fn sealed_outbox(&self, profile: &Profile) -> Result<SealedOutbox, VaultError> {
        let to = self.seal_to(profile)?;
        let Seams { disk, entropy, .. } = &self.seams;
        Ok(SealedOutbox::open(&self.dir, to, Arc::clone(disk), Arc::clone(entropy))?)
    }

    /// Whom the unsent work of this profile is sealed to.
    ///
    /// # Errors
    /// The organisation's keys can't be used.
    pub fn seal_to(&self, profile: &Profile) -> Result<SealTo, VaultError> {
        let rescue_key = profile.root()?.rescue_key;
        Ok(SealTo { org: profile.org, device: profile.device, rescue_key })
    }

    pub(crate) fn seams(&self) -> &Seams {
        &self.seams
    }

    /// Keeps other changes of state away until it is dropped.
    pub(crate) fn gate(&self) -> MutexGuard<'_, ()> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps other writers of the audit log away until it is dropped.
    fn audit_gate(&self) -> MutexGuard<'_, ()> {
        self.auditing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the control record.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Record) -> T) -> Result<T, VaultError> {
        match &*self.held() {
            Held::New => Err(VaultError::NotEnrolled),
            Held::Buried => Err(VaultError::Wiped),
            Held::Alive(control) => Ok(look(&control.record)),
        }
    }

    /// Changes the control record, durably. After an error the disk says which of the two states holds.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut Record) -> T) -> Result<T, VaultError> {
        let folder = self.folder();
        let mut held = self.held();
        let control = match &mut *held {
            Held::New => return Err(VaultError::NotEnrolled),
            Held::Buried => return Err(VaultError::Wiped),
            Held::Alive(control) => control,
        };
        let mut record = control.record.clone();
        let value = change(&mut record);
        record.time.note(self.reading());
        if record.notes_commits() {
            record.commit = record.commit.max(control.commit);
        }
        match control.pair.store(&folder, &record.to_bytes()?) {
            Ok(()) => {
                control.record = record;
                Ok(value)
            }
            Err(error) => {
                if let Ok(found) = Control::load(&folder) {
                    control.pair = found.pair;
                    // A wipe that has begun is not undone by a disk that can't record it.
                    if found.record.is_wiping() || !control.record.is_wiping() {
                        control.record = found.record;
                    }
                }
                Err(error)
            }
        }
    }

    /// Changes the control record where the disk refuses to, until the next [`update`](Self::update) that succeeds.
    fn mark_in_memory(&self, change: impl FnOnce(&mut Record)) {
        if let Held::Alive(control) = &mut *self.held() {
            change(&mut control.record);
        }
    }

    /// Goes on with what was interrupted. Call it with the gate held.
    pub(crate) fn resume(&self) -> Result<(), VaultError> {
        match self.read(|record| record.status.clone()) {
            Ok(Status::Ready { .. }) => self.settle_share().and_then(|()| self.finish_leash()),
            Ok(Status::Locking(cause)) => self.finish_lock(cause),
            Ok(Status::SoftLocked(cause)) => self.harden(cause).map(drop),
            Ok(Status::Locked) => self.destroy_share(),
            Ok(Status::Wiping(_)) => self.wipe_on().and_then(|()| self.bury()),
            Err(_) => Ok(()),
        }
    }

    fn folder(&self) -> Folder<'_> {
        Folder { dir: &self.dir, disk: &*self.seams.disk, keys: &*self.seams.keys }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds out what the folder holds.
    fn find(&self) -> Result<(), VaultError> {
        let folder = self.folder();
        if folder.has(TOMBSTONE)? {
            return self.finish_burial();
        }
        if !folder.has_any(&CONTROL_NAMES)? {
            if folder.has(CREATING)? {
                return self.clear_half_made();
            }
            if !folder.named(&["slots.", "release.", DATABASE])?.is_empty() {
                return Err(VaultError::Missing { file: CONTROL.name });
            }
            return share::destroy(&folder, &folder.named(&["creating."])?);
        }
        *self.held() = Held::Alive(Box::new(Control::load(&folder)?));
        self.check_mark()?;
        // The vault is whole, so the mark that it is being made is out of date.
        if let Err(error) = folder.disk.remove(&folder.path(CREATING)) {
            tracing::warn!(%error, "the mark of a finished creation is still there");
        }
        // Only a start can find one: the process that began it knows of it.
        if let Err(error) = self.find_unrecorded_wipe().and_then(|()| self.resume()) {
            // Its state keeps the vault closed; the next report goes on.
            tracing::warn!(%error, "an interrupted change could not be finished yet");
        }
        if let Err(error) = self.keep_time(None, &|| ()) {
            tracing::warn!(%error, "the time could not be kept yet");
        }
        Ok(())
    }
}

/// Takes the vault for this process.
fn hold(dir: &Path) -> Result<File, VaultError> {
    let file = File::options().read(true).write(true).create(true).truncate(false).open(dir.join(IN_USE))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(VaultError::InUse),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}
