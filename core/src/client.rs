//! The face: one object that an app talks to.

mod attachments;
mod background;
mod content;
mod enrolment;
mod listen;
mod passcodes;
mod syncs;
mod verify;

pub use background::{Next, Woken};
pub use enrolment::PendingEnrolment;
pub use listen::{Ended, Heard, Listening, Watcher};

use crate::Error;
use crate::attachments::{AttachmentLimits, Attachments, Network};
use crate::audit::{Action, AuditTrail};
use crate::conflicts::Conflicts;
use crate::customers::Customers;
use crate::device::{Device, DeviceEvent};
use crate::idle::{Closed, Touch};
use crate::net::{Api, Endpoint, HttpsTransport};
use crate::outbox::Outbox;
use crate::platform::{Clock, Disk, Entropy, OsEntropy, PlatformKeys, RealDisk, SystemClock, Transport};
use crate::rescue::SealTo;
use crate::store::{Observer, Store, StoreKey, Subscription};
use crate::sync::{AccessToken, Syncer, blocking};
use crate::vault::{
    DatabaseKey, FileKeys, KdfCost, LeaseStatus, Passcode, Profile, Seams, Vault, VaultError, VaultState,
};
use crate::visits::Visits;
use roundsman_model::UserId;
use roundsman_protocol::policy::Policy;
use roundsman_protocol::posture::{Concern, Posture, Verdict};
use roundsman_protocol::root_bundle::RootBundle;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use syncs::Syncs;

/// What a client is made from.
#[derive(Clone)]
pub struct Config {
    /// The client's own folder. It touches nothing outside it, and nobody else may touch what is inside.
    pub dir: PathBuf,
    /// The platform's keystore.
    pub keys: Arc<dyn PlatformKeys>,
    /// What the person calls the device; shown in the console.
    pub device_name: String,
    /// The platform: `android`, `ios`, `linux`.
    pub platform: String,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The disk, for everything but the database.
    pub disk: Arc<dyn Disk>,
    /// The network.
    pub transport: Arc<dyn Transport>,
    /// The cost of guessing a passcode. Without one the device is measured when a passcode is set, for one that takes
    /// about half a second.
    pub cost: Option<KdfCost>,
    /// How much may be attached to records.
    pub attachments: AttachmentLimits,
    /// Whether attachments are sent over a network that the host app calls metered. Otherwise they wait for another one.
    pub metered_attachments: bool,
}

impl Config {
    /// A client in this folder with these keys; the system's own clock, randomness, disk and network.
    pub fn new(dir: impl Into<PathBuf>, keys: Arc<dyn PlatformKeys>) -> Self {
        Self {
            dir: dir.into(),
            keys,
            device_name: "phone".to_owned(),
            platform: std::env::consts::OS.to_owned(),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(OsEntropy),
            disk: Arc::new(RealDisk),
            transport: Arc::new(HttpsTransport::new()),
            cost: None,
            attachments: AttachmentLimits::default(),
            metered_attachments: false,
        }
    }

    fn seams(&self) -> Seams {
        Seams {
            keys: Arc::clone(&self.keys),
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy),
            disk: Arc::clone(&self.disk),
            cost: self.cost,
        }
    }
}

/// What the client is ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No organisation has been joined: scan an enrolment code.
    New,
    /// The vault is closed: ask for the passcode.
    Closed,
    /// Everything works.
    Open,
    /// The administrator has locked the device. No passcode opens it; unsent work is kept. Go on checking in:
    /// an unlock comes that way.
    Locked {
        /// The local share is still there because it is not in escrow yet.
        soft: bool,
    },
    /// A wipe has begun: nothing can be read any more. Go on checking in to deliver its receipts.
    Wiping,
    /// Wiped, and proven to the server.
    Wiped,
}

/// The client. Cheap to clone; every clone is the same client.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    vault: Arc<Vault>,
    device: Arc<Device>,
    audit: Arc<AuditTrail>,
    api: Api,
    session: Arc<RwLock<Option<Session>>>,
    access: Mutex<Option<AccessToken>>,
    /// When the person last touched the app.
    touch: Touch,
    /// What the host app says of the network.
    network: Mutex<Network>,
    /// Attachments are sent one after the other.
    sending: tokio::sync::Mutex<()>,
    /// One conversation with the server at a time.
    conversation: tokio::sync::Mutex<()>,
    /// Which syncs have begun and ended.
    syncs: Syncs,
    /// Asks a sync that runs to step aside for a check-in.
    urgent: tokio::sync::Notify,
    /// How often the vault was opened.
    opened: tokio::sync::watch::Sender<u64>,
    /// One listens at a time.
    listening: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Session {
    store: Arc<Store>,
    attachments: Attachments,
    user: UserId,
    /// When the passcode was chosen: milliseconds since 1970.
    passcode_set_ms: i64,
}

impl Client {
    /// Opens the client in its folder. Finishes a lock or a wipe that was interrupted before anything else.
    ///
    /// # Errors
    /// The folder can't be used, another process uses it, or the vault's own files are damaged; they are left as
    /// they are.
    pub fn open(config: Config) -> Result<Self, Error> {
        let vault = Arc::new(Vault::at(&config.dir, config.seams())?);
        let device = Arc::new(Device::new(Arc::clone(&vault)));
        let audit = Arc::new(AuditTrail::new(Arc::clone(&vault), Arc::clone(&config.clock)));
        let api = Api::new(
            Arc::clone(&config.transport),
            Arc::clone(&config.keys),
            Arc::clone(&config.clock),
            Arc::clone(&config.entropy),
        );
        Ok(Self {
            inner: Arc::new(Inner {
                config,
                vault,
                device,
                audit,
                api,
                session: Arc::default(),
                access: Mutex::new(None),
                touch: Touch::default(),
                network: Mutex::default(),
                sending: tokio::sync::Mutex::new(()),
                conversation: tokio::sync::Mutex::new(()),
                syncs: Syncs::default(),
                urgent: tokio::sync::Notify::new(),
                opened: tokio::sync::watch::Sender::new(0),
                listening: tokio::sync::Mutex::new(()),
            }),
        })
    }

    /// Removes a vault that the platform has lost the key of, and opens the client as a new one, to be enrolled
    /// anew. It is for the user to decide, after [`open`](Self::open) has failed with [`VaultError::KeyGone`]: what
    /// was not sent and not sealed is lost. Sealed segments (the folder `outbox`) stay.
    ///
    /// # Errors
    /// [`VaultError::PasscodeNeeded`] if the key is not gone, with everything as it was; the disk or the keystore
    /// failed, and a repeat goes on.
    pub fn start_over(config: Config) -> Result<Self, Error> {
        Vault::start_over(&config.dir, config.seams())?;
        Self::open(config)
    }

    /// What the client is ready for.
    pub fn state(&self) -> State {
        match self.inner.vault.state() {
            VaultState::New => State::New,
            VaultState::Ready if self.session().is_ok() => State::Open,
            VaultState::Ready => State::Closed,
            VaultState::Locked { soft } => State::Locked { soft },
            VaultState::Wiping => State::Wiping,
            VaultState::Wiped => State::Wiped,
        }
    }

    /// Who is enrolled and where, for the screen; `None` before enrolment and after a wipe.
    pub fn profile(&self) -> Option<Profile> {
        self.inner.vault.profile()
    }

    /// Closes the vault: connections are closed and keys leave memory. Unsent work stays.
    pub fn lock(&self) {
        if self.session().is_ok() {
            self.inner.audit.record(Action::Closed);
        }
        self.inner.end();
    }

    /// The person has touched the app: the idle lock starts anew.
    pub fn touch(&self) {
        self.inner.touch.now(&self.inner.vault);
    }

    /// What time brings: keeps trusted time on disk, closes the vault after the policy's time without a touch, and
    /// closes or wipes it when the lease has ended, closes it when a leash has. Call it at least every five minutes while the app runs. Says why
    /// the vault was closed by it, if it was.
    ///
    /// # Errors
    /// The disk or the keystore failed; the next call tries again. What had to be closed is closed.
    pub fn tick(&self) -> Result<Option<Closed>, Error> {
        let inner = &self.inner;
        let kept = inner.device.tick(self.unsent(), &|| inner.shut());
        if matches!(kept, Ok(true)) {
            inner.end();
            return Ok(Some(Closed::Wiped));
        }
        let closed = self.enforce(true);
        kept?;
        Ok(closed)
    }

    /// How long the device may stay away from its server, for a screen.
    ///
    /// # Errors
    /// Not enrolled, or wiped.
    pub fn lease(&self) -> Result<LeaseStatus, Error> {
        Ok(self.inner.vault.lease()?)
    }

    /// The organisation's rules.
    pub fn policy(&self) -> Policy {
        self.inner.vault.policy()
    }

    /// Takes what the host app found out about the phone, which the next report tells the server. It is kept in
    /// memory only: call it after each start, before the passcode is asked for. Says whether the vault was closed,
    /// because the policy refuses such a phone.
    pub fn set_posture(&self, posture: Posture) -> Option<Closed> {
        self.inner.vault.set_posture(posture);
        self.enforce(false)
    }

    /// What about the phone the policy warns of or refuses.
    pub fn concerns(&self) -> Vec<(Concern, Verdict)> {
        self.inner.vault.concerns()
    }

    /// Erases the device on its user's wish. It can't be taken back. Go on checking in, so that sealed unsent work
    /// and the proof reach the server.
    ///
    /// # Errors
    /// As [`unlock`](Self::unlock); nothing is erased then.
    pub fn erase(&self, passcode: &Passcode) -> Result<(), Error> {
        let (inner, unsent) = (&self.inner, self.unsent());
        self.erased(inner.vault.erase(passcode, unsent, &|| inner.shut()))
    }

    /// Erases a device that no passcode opens any more: locked, without the platform's key, or damaged.
    ///
    /// # Errors
    /// [`VaultError::PasscodeNeeded`] if a passcode may still open it. Nothing is erased then.
    pub fn erase_without_passcode(&self) -> Result<(), Error> {
        let inner = &self.inner;
        self.erased(inner.vault.erase_without_passcode(&|| inner.shut()))
    }

    /// The customers.
    ///
    /// # Errors
    /// The vault is not open, or the passcode is to be changed first.
    pub fn customers(&self) -> Result<Customers, Error> {
        let Session { store, .. } = self.working()?;
        let config = &self.inner.config;
        let customers = Customers::new(store, Arc::clone(&config.clock), Arc::clone(&config.entropy));
        Ok(customers.audited(Arc::clone(&self.inner.audit)))
    }

    /// The visits.
    ///
    /// # Errors
    /// The vault is not open, or the passcode is to be changed first.
    pub fn visits(&self) -> Result<Visits, Error> {
        let Session { store, user, .. } = self.working()?;
        let config = &self.inner.config;
        let visits = Visits::new(store, Arc::clone(&config.clock), Arc::clone(&config.entropy), user);
        Ok(visits.audited(Arc::clone(&self.inner.audit)))
    }

    /// What was not sent, or was refused. A passcode that is to be changed does not keep a rep from their own unsent work.
    ///
    /// # Errors
    /// The vault is not open.
    pub fn outbox(&self) -> Result<Outbox, Error> {
        let Session { store, .. } = self.session()?;
        let config = &self.inner.config;
        Ok(Outbox::new(store, Arc::clone(&config.clock), Arc::clone(&config.entropy)))
    }

    /// The values that lost in collisions with other people's edits, and their settlement.
    ///
    /// # Errors
    /// The vault is not open.
    pub fn conflicts(&self) -> Result<Conflicts, Error> {
        let Session { store, .. } = self.working()?;
        let config = &self.inner.config;
        Ok(Conflicts::new(store, Arc::clone(&config.clock), Arc::clone(&config.entropy)))
    }

    /// Calls the observer after each commit that changed something, until the subscription is dropped or the
    /// vault closes.
    ///
    /// # Errors
    /// The vault is not open, or the passcode is to be changed first.
    pub fn observe(&self, observer: Arc<dyn Observer>) -> Result<Subscription, Error> {
        Ok(self.working()?.store.observe(observer))
    }

    /// Takes the organisation's signed keys by hand, from the text of a QR code or a file, without a network: the way
    /// back when every pin that this device knows is dead and it says [`Error::WrongPin`] to its own server. Works
    /// while the vault is closed or locked. Returns the version of the root that is trusted from now on.
    ///
    /// # Errors
    /// [`Error::RootBundle`] with the reason: no bundle, another organisation's, older than what is known, or not
    /// signed as it must be. What was trusted before still is then. Not enrolled, or wiped.
    pub fn take_root_bundle(&self, text: &str) -> Result<u32, Error> {
        let bundle = RootBundle::from_text(text)?;
        Ok(self.inner.device.take_root_bundle(&bundle)??)
    }

    /// Reads the whole store once and looks whether every part of it is of the same state, which an old page put
    /// back among newer ones is not. Takes about 0.2 seconds for ten thousand customers on a laptop; call it once a
    /// week, away from the screen's thread. It is done at an unlock by itself if the app was stopped before.
    ///
    /// # Errors
    /// The vault is not open; a part of the store was put back to an earlier state, or is damaged.
    pub fn check_store(&self) -> Result<(), Error> {
        Ok(self.session()?.store.check()?)
    }

    /// Changes that were not sent. A closed vault can't be asked: what it last reported stands.
    fn unsent(&self) -> Option<u64> {
        self.session().ok()?.store.unsent_count().ok()
    }

    /// Closes the session if it may not go on.
    fn enforce(&self, idle: bool) -> Option<Closed> {
        self.session().ok()?;
        let vault = &self.inner.vault;
        let why = match vault.admit() {
            Err(VaultError::ClockTurnedBack | VaultError::ClockImplausible) => Closed::Clock,
            Err(VaultError::LeaseEnded) => Closed::Lease,
            Err(VaultError::PostureRefused { .. }) => Closed::Posture,
            Err(VaultError::ShareNeeded) => Closed::Leash,
            _ if idle && self.inner.touch.is_over(vault) => Closed::Idle,
            _ => return None,
        };
        self.inner.end();
        Some(why)
    }

    /// Closes the session if the vault is no longer there to be used. Once a wipe has begun it is a fact.
    fn erased(&self, outcome: Result<(), VaultError>) -> Result<(), Error> {
        let state = self.inner.vault.state();
        if state != VaultState::Ready {
            self.inner.end();
        }
        match outcome {
            Err(error) if state == VaultState::Wiping && !matches!(error, VaultError::Wiping) => {
                tracing::warn!(%error, "the wipe goes on with the next report");
                Ok(())
            }
            outcome => Ok(outcome?),
        }
    }

    fn talk<'a>(&'a self, endpoint: &'a Endpoint) -> Syncer<'a> {
        let (session, inner) = (Arc::clone(&self.inner.session), &self.inner);
        Syncer {
            api: &inner.api,
            endpoint,
            device: &inner.device,
            access: &inner.access,
            clock: &*inner.config.clock,
            entropy: &*inner.config.entropy,
            unmetered: self.may_send(),
            commit: self.session().ok().map(|session| session.store.commit_number()),
            close: Arc::new(move || drop(close(&session))),
        }
    }

    fn endpoint(&self) -> Result<Endpoint, Error> {
        let profile = self.inner.vault.profile().ok_or_else(|| self.closed())?;
        Ok(Endpoint { url: profile.url, pins: profile.pins })
    }

    /// The store, past the rules of use.
    #[cfg(feature = "simulation")]
    pub(crate) fn simulated_store(&self) -> Result<Arc<Store>, Error> {
        Ok(self.session()?.store)
    }

    fn session(&self) -> Result<Session, Error> {
        let session = self.inner.session.read().unwrap_or_else(PoisonError::into_inner).clone();
        session.ok_or_else(|| self.closed())
    }

    /// Why there is no session.
    fn closed(&self) -> Error {
        match self.inner.vault.state() {
            VaultState::New => Error::NotEnrolled,
            VaultState::Ready => self.inner.vault.admit().err().map_or(Error::Locked, Error::from),
            VaultState::Locked { .. } => VaultError::Locked.into(),
            VaultState::Wiping => VaultError::Wiping.into(),
            VaultState::Wiped => VaultError::Wiped.into(),
        }
    }
}

impl Inner {
    fn begin(&self, store: Store, files: FileKeys, user: UserId, seal_to: SealTo, passcode_set_ms: i64) {
        let store = Arc::new(store);
        let attachments = self.attachments(Arc::clone(&store), files, user, seal_to);
        let session = Session { store, attachments, user, passcode_set_ms };
        self.touch.now(&self.vault);
        *self.session.write().unwrap_or_else(PoisonError::into_inner) = Some(session);
        self.opened.send_modify(|times| *times += 1);
    }

    /// Records what was looked at, so that the next report has it.
    async fn gathered(&self) -> Result<(), Error> {
        if !self.audit.waits() {
            return Ok(());
        }
        let audit = Arc::clone(&self.audit);
        blocking(move || {
            audit.flush();
            Ok(())
        })
        .await
    }

    /// Records what commands have done.
    async fn note(&self, events: &[DeviceEvent]) -> Result<(), Error> {
        if events.is_empty() {
            return Ok(());
        }
        let (audit, events) = (Arc::clone(&self.audit), events.to_vec());
        blocking(move || {
            for event in events {
                let refused = matches!(event, DeviceEvent::Refused(_));
                audit.record(if refused { Action::CommandRefused } else { Action::CommandDone });
            }
            Ok(())
        })
        .await
    }

    /// Notes how far the store has come, where a copy of its files that is put back is known by it.
    async fn note_commit(&self, store: &Store) {
        let (vault, commit) = (Arc::clone(&self.vault), store.commit_number());
        if let Err(error) = blocking(move || Ok(vault.note_commit(commit)?)).await {
            tracing::warn!(%error, "the number of the last commit could not be noted");
        }
    }

    /// Closes the session for the vault, which is changing its state and can't be asked for anything.
    fn shut(&self) {
        drop(close(&self.session));
        self.api.forget_session();
        *self.access.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Closes the session, and notes how far its store had come.
    fn end(&self) {
        self.audit.flush();
        self.api.forget_session();
        if let Some(store) = close(&self.session)
            && let Err(error) = self.vault.note_commit(store.commit_number())
        {
            tracing::warn!(%error, "the number of the last commit could not be noted");
        }
        *self.access.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.end();
    }
}

/// Closes the session; its store, if there was one, is closed.
fn close(session: &RwLock<Option<Session>>) -> Option<Arc<Store>> {
    // Taken out first: whoever asks from here on is told that the vault is closed.
    let session = session.write().unwrap_or_else(PoisonError::into_inner).take()?;
    session.attachments.close();
    session.store.close();
    Some(session.store)
}

/// Lends the keys of the vault's database.
fn with_key<T>(key: &DatabaseKey, work: impl FnOnce(&StoreKey<'_>) -> T) -> T {
    work(&StoreKey { cipher: &key.pragma_text(), digest: key.digest_key() })
}
