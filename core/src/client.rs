//! The face: one object that an app talks to.

use crate::customers::Customers;
use crate::device::{Device, DeviceEvent};
use crate::net::{Api, Endpoint, HttpsTransport};
use crate::outbox::Outbox;
use crate::platform::{Clock, Disk, Entropy, OsEntropy, PlatformKeys, RealDisk, SystemClock, Transport};
use crate::store::{Observer, Store, Subscription};
use crate::sync::{AccessToken, Progress, Report, Syncer, blocking};
use crate::vault::{KdfCost, Passcode, Profile, Seams, Vault, VaultError, VaultState};
use crate::visits::Visits;
use crate::{Error, VERSION};
use roundsman_model::UserId;
use roundsman_protocol::ErrorCode;
use roundsman_protocol::api::{EnrolAnswer, EnrolRequest, RootAnswer};
use roundsman_protocol::root::Root;
use roundsman_protocol::ticket::Ticket;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

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
    /// The cost of guessing a passcode.
    pub cost: KdfCost,
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
            cost: KdfCost::default(),
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
    api: Api,
    session: Arc<RwLock<Option<Session>>>,
    access: Mutex<Option<AccessToken>>,
    /// One conversation with the server at a time.
    conversation: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Session {
    store: Arc<Store>,
    user: UserId,
}

impl Client {
    /// Opens the client in its folder. Finishes a lock or a wipe that was interrupted before anything else.
    ///
    /// # Errors
    /// The folder can't be used, another process uses it, or the vault's own files are damaged; they are left as
    /// they are.
    pub fn open(config: Config) -> Result<Self, Error> {
        let seams = Seams {
            keys: Arc::clone(&config.keys),
            clock: Arc::clone(&config.clock),
            entropy: Arc::clone(&config.entropy),
            disk: Arc::clone(&config.disk),
            cost: config.cost,
        };
        let vault = Arc::new(Vault::at(&config.dir, seams)?);
        let device = Arc::new(Device::new(Arc::clone(&vault)));
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
                api,
                session: Arc::default(),
                access: Mutex::new(None),
                conversation: tokio::sync::Mutex::new(()),
            }),
        })
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

    /// Joins an organisation with the text of its enrolment code, and sets the passcode. Leaves the client open
    /// and empty: [`sync`](Self::sync) fetches the data.
    ///
    /// # Errors
    /// The code is no code, expired or used before; the server can't be reached or is not the one the code names;
    /// the device is enrolled already. The device is as it was then.
    pub async fn enrol(&self, ticket: &str, passcode: &Passcode) -> Result<(), Error> {
        let _conversation = self.inner.conversation.lock().await;
        if self.inner.vault.state() != VaultState::New {
            return Err(Error::AlreadyEnrolled);
        }
        let ticket = Ticket::from_text(ticket)?;
        let endpoint = Endpoint { url: ticket.url.clone(), pins: ticket.pins.clone() };
        let root: RootAnswer = self.inner.api.get(&endpoint, "/v1/root").await?;
        let trusted = Root::open_first(&root.root, &ticket.root_sha256).map_err(|_| Error::WrongPin)?;

        let inner = Arc::clone(&self.inner);
        let install = blocking(move || {
            inner.device.identity()?;
            Ok(inner.vault.install())
        })
        .await?;
        let config = &self.inner.config;
        let request = EnrolRequest {
            ticket: ticket.token,
            install,
            name: config.device_name.clone(),
            platform: config.platform.clone(),
            hardware_keys: config.keys.hardware(),
            core: VERSION.to_owned(),
        };
        let answer: EnrolAnswer = self.inner.api.post(&endpoint, "/v1/enrol", None, &request).await?;
        if answer.org != trusted.org() {
            return Err(Error::BadAnswer);
        }
        let profile = Profile {
            device: answer.device,
            org: answer.org,
            user: answer.user,
            user_name: answer.user_name,
            org_name: ticket.org_name,
            url: ticket.url,
            pins: ticket.pins,
            root: root.root,
        };
        let (inner, passcode) = (Arc::clone(&self.inner), passcode.duplicate());
        blocking(move || {
            let (user, now) = (profile.user, inner.config.clock.now());
            let path = inner.vault.database_path();
            let mut made = None;
            // The store and its tokens exist before the vault counts as made: a stop in between leaves a new
            // device, never a vault without a database.
            inner.vault.create(profile, &passcode, |key| {
                let store = Store::create(&path, &key.pragma_text())?;
                let token = AccessToken::keep(answer.tokens, &store, now)?;
                made = Some((store, token));
                Ok::<_, Error>(())
            })?;
            if let Some((store, token)) = made {
                inner.begin(store, user);
                *inner.access.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
            }
            Ok(())
        })
        .await?;
        // The release share should be in escrow before the first lock; if this fails, the next sync does it.
        let _ = self.talk(&endpoint).check_in(|| Some(0), &mut 0).await;
        Ok(())
    }

    /// Opens the vault. Takes about half a second of work by design: call it away from the screen's thread.
    ///
    /// # Errors
    /// The wrong passcode, with the attempts left; too soon after wrong ones; locked or wiped by the
    /// administrator; the platform's key is gone; the files are damaged.
    pub fn unlock(&self, passcode: &Passcode) -> Result<(), Error> {
        let inner = &self.inner;
        if self.session().is_ok() {
            return Ok(());
        }
        let user = inner.vault.profile().ok_or_else(|| self.closed())?.user;
        let key = inner.vault.unlock(passcode)?;
        let store = Store::open(&inner.vault.database_path(), &key.pragma_text())?;
        inner.vault.opened()?;
        inner.begin(store, user);
        // A lock or a wipe that came in meanwhile found no session to close.
        if inner.vault.state() == VaultState::Ready {
            Ok(())
        } else {
            inner.end();
            Err(self.closed())
        }
    }

    /// Closes the vault: connections are closed and keys leave memory. Unsent work stays.
    pub fn lock(&self) {
        self.inner.end();
    }

    /// Changes the passcode. The vault stays as it is, open or closed, unless the last attempt was wrong too: then
    /// the device is locked.
    ///
    /// # Errors
    /// As [`unlock`](Self::unlock) for the old passcode.
    pub fn change_passcode(&self, old: &Passcode, new: &Passcode) -> Result<(), Error> {
        let changed = self.inner.vault.change_passcode(old, new);
        // The last wrong attempt locks the device, and the open session with it.
        if self.inner.vault.state() != VaultState::Ready {
            self.inner.end();
        }
        Ok(changed?)
    }

    /// The customers.
    ///
    /// # Errors
    /// The vault is not open.
    pub fn customers(&self) -> Result<Customers, Error> {
        let Session { store, .. } = self.session()?;
        let config = &self.inner.config;
        Ok(Customers::new(store, Arc::clone(&config.clock), Arc::clone(&config.entropy)))
    }

    /// The visits.
    ///
    /// # Errors
    /// The vault is not open.
    pub fn visits(&self) -> Result<Visits, Error> {
        let Session { store, user } = self.session()?;
        let config = &self.inner.config;
        Ok(Visits::new(store, Arc::clone(&config.clock), Arc::clone(&config.entropy), user))
    }

    /// What was not sent, or was refused.
    ///
    /// # Errors
    /// The vault is not open.
    pub fn outbox(&self) -> Result<Outbox, Error> {
        let Session { store, .. } = self.session()?;
        let config = &self.inner.config;
        Ok(Outbox::new(store, Arc::clone(&config.clock), Arc::clone(&config.entropy)))
    }

    /// Calls the observer after each commit that changed something, until the subscription is dropped or the
    /// vault closes.
    ///
    /// # Errors
    /// The vault is not open.
    pub fn observe(&self, observer: Arc<dyn Observer>) -> Result<Subscription, Error> {
        Ok(self.session()?.store.observe(observer))
    }

    /// Sends what is unsent and fetches what is new. May be called at any time and cut at any moment; whatever
    /// was not done is done by the next one.
    ///
    /// # Errors
    /// The vault is not open; no connection; the server refused. What was stored before stays.
    pub async fn sync(&self, progress: &dyn Progress) -> Result<Report, Error> {
        let _conversation = self.inner.conversation.lock().await;
        let session = self.session()?;
        let endpoint = self.endpoint()?;
        let synced = self.talk(&endpoint).sync(&session.store, progress).await;
        match synced {
            // The server was restored to an earlier state: read its log anew.
            Err(error) if error.server_code() == Some(ErrorCode::CursorAhead) => {
                session.store.forget_cursors()?;
                self.talk(&endpoint).sync(&session.store, progress).await
            }
            // A device that is blocked, or whose tokens are revoked, may still have a command waiting.
            Err(error)
                if matches!(
                    error.server_code(),
                    Some(ErrorCode::DeviceBlocked | ErrorCode::TokenInvalid)
                ) =>
            {
                let mut report = Report::default();
                let unsent = || session.store.unsent_count().ok();
                report.events = self.talk(&endpoint).check_in(unsent, &mut report.requests).await?;
                if report.events.is_empty() { Err(error) } else { Ok(report) }
            }
            other => other,
        }
    }

    /// Reports to the server and carries out its commands. Needs no passcode and no user: call it from the
    /// background, while locked, and during a wipe.
    ///
    /// # Errors
    /// Not enrolled; no connection; the server does not know the device.
    pub async fn check_in(&self) -> Result<Vec<DeviceEvent>, Error> {
        let _conversation = self.inner.conversation.lock().await;
        let endpoint = self.endpoint()?;
        // A closed vault can't be asked: what it last reported stands.
        let unsent = || self.session().ok()?.store.unsent_count().ok();
        self.talk(&endpoint).check_in(unsent, &mut 0).await
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
            close: Arc::new(move || close(&session)),
        }
    }

    fn endpoint(&self) -> Result<Endpoint, Error> {
        let profile = self.inner.vault.profile().ok_or_else(|| self.closed())?;
        Ok(Endpoint { url: profile.url, pins: profile.pins })
    }

    fn session(&self) -> Result<Session, Error> {
        let session = self.inner.session.read().unwrap_or_else(PoisonError::into_inner).clone();
        session.ok_or_else(|| self.closed())
    }

    /// Why there is no session.
    fn closed(&self) -> Error {
        match self.inner.vault.state() {
            VaultState::New => Error::NotEnrolled,
            VaultState::Ready => Error::Locked,
            VaultState::Locked { .. } => VaultError::Locked.into(),
            VaultState::Wiping => VaultError::Wiping.into(),
            VaultState::Wiped => VaultError::Wiped.into(),
        }
    }
}

impl Inner {
    fn begin(&self, store: Store, user: UserId) {
        let session = Session { store: Arc::new(store), user };
        *self.session.write().unwrap_or_else(PoisonError::into_inner) = Some(session);
    }

    fn end(&self) {
        close(&self.session);
        *self.access.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.end();
    }
}

fn close(session: &RwLock<Option<Session>>) {
    // Taken out first: whoever asks from here on is told that the vault is closed.
    let session = session.write().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(session) = session {
        session.store.close();
    }
}
