//! The one object that an app opens.

mod access;
mod ending;
mod poked;
mod standing;

use crate::clock::ForeignClock;
use crate::keys::ForeignKeys;
use crate::observer::ForeignObserver;
use crate::sync::{ForeignProgress, unless_cancelled};
use crate::verify::ForeignCheck;
use crate::worker::{local, online, waited_for};
use crate::{
    AttachmentOptions, Attachments, CancelHandle, CheckProgress, Conflicts, Customers, DeviceEvent,
    HostClock, Observer, Outbox, Passcode, PlatformKeys, RoundsmanError, Subscription, SyncProgress,
    SyncReport, Verified, Visits,
};
use roundsman_core::attachments::AttachmentLimits;
use roundsman_core::platform::{self, Clock, SystemClock};
use roundsman_core::{Client, Closed, Config, State, vault};
use std::sync::{Arc, Mutex};
use uuid::Uuid;

/// Where and as what a client runs.
#[derive(Clone, Debug, uniffi::Record)]
pub struct Options {
    /// The client's own folder, created if it is missing. Nobody else may touch what is inside; exclude it from
    /// the platform's backups.
    pub dir: String,
    /// What the person calls the device; shown to the administrator.
    pub device_name: String,
    /// The platform: `android`, `ios`, `linux`.
    pub platform: String,
    /// How much may be attached, and over which networks it is sent; nothing means 64 MiB for one, 512 MiB for all, and
    /// none over a metered network.
    #[uniffi(default = None)]
    pub attachments: Option<AttachmentOptions>,
}

/// What the client is ready for. Decides which screen to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum ClientState {
    /// No organisation has been joined: scan an enrolment code.
    New,
    /// The vault is closed: ask for the passcode.
    Closed,
    /// Everything works.
    Open,
    /// The administrator has locked the device. No passcode opens it; unsent work is kept. Go on checking in.
    Locked,
    /// A wipe has begun: nothing can be read any more. Go on checking in.
    Wiping,
    /// Wiped, and proven to the server.
    Wiped,
}

/// Why the client has closed the vault by itself.
pub type ClosedReason = Closed;
#[uniffi::remote(Enum)]
pub enum ClosedReason {
    /// Nobody has touched the app for the policy's time: ask for the passcode.
    Idle,
    /// The clock was turned back, or is years ahead: call `check_in`.
    Clock,
    /// The device has been away from its server for too long: call `check_in`, which renews the lease.
    Lease,
    /// The policy refuses the phone in the state that it is in: say what `concerns` says.
    Posture,
    /// The device is on a leash and has not heard its server for the policy's hours: call `check_in`, then `unlock`.
    Leash,
    /// The lease has ended for good, and a wipe has begun: call `check_in` until the state is `Wiped`.
    Wiped,
}

/// Who is enrolled and where, for the screen.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Profile {
    /// The device's id.
    pub device: Uuid,
    /// The user's id: the `rep` of own visits.
    pub user: Uuid,
    /// The user's name.
    pub user_name: String,
    /// The organisation's name.
    pub org_name: String,
    /// The server's address.
    pub url: String,
}

/// The client: one for each folder, for as long as the process lives. May be used from any thread.
#[derive(uniffi::Object)]
pub struct RoundsmanClient {
    pub(crate) client: Client,
}

#[uniffi::export]
impl RoundsmanClient {
    /// Opens the client in its folder. Finishes a lock or a wipe that was interrupted before anything else. Without
    /// a clock of the app the system's own is taken.
    ///
    /// # Errors
    /// `InUse`, `Storage`, `Damaged`, `Keystore`; `KeyGone`, after which `start_over` helps. The files are left as
    /// they are.
    #[uniffi::constructor(default(clock = None))]
    pub async fn open(
        options: Options,
        keys: Arc<dyn PlatformKeys>,
        clock: Option<Arc<dyn HostClock>>,
    ) -> Result<Arc<Self>, RoundsmanError> {
        let config = config(options, Arc::new(ForeignKeys(keys)), clock);
        local(move || Client::open(config).map(|client| Arc::new(Self { client }))).await
    }

    /// What the client is ready for.
    pub fn state(&self) -> ClientState {
        match self.client.state() {
            State::New => ClientState::New,
            State::Closed => ClientState::Closed,
            State::Open => ClientState::Open,
            State::Locked { .. } => ClientState::Locked,
            State::Wiping => ClientState::Wiping,
            State::Wiped => ClientState::Wiped,
        }
    }

    /// Who is enrolled and where; nothing before enrolment and after a wipe.
    pub fn profile(&self) -> Option<Profile> {
        self.client.profile().map(Into::into)
    }

    /// Joins an organisation with the text of its enrolment code, and sets the passcode. Leaves the client open
    /// and empty: `sync` fetches the data. Empties the passcode.
    ///
    /// # Errors
    /// `TicketInvalid`, `TicketExpired`, `TicketUsed`, `WeakPasscode`, `Offline`, `WrongPin`, `AlreadyEnrolled`. The
    /// device is as it was then. `ConfirmationNeeded`: the code is still good, call `beginEnrolment`.
    pub async fn enrol(&self, ticket: String, passcode: Arc<Passcode>) -> Result<(), RoundsmanError> {
        let (client, passcode) = (self.client.clone(), passcode.take()?);
        online(async move { Ok(client.enrol(&ticket, &passcode).await?) }).await
    }

    /// Closes the vault: connections are closed and keys leave memory. Unsent work stays. Returns when it is done,
    /// so that it can be called while the app goes to the background. Don't call it while the platform asks for a
    /// finger or face: it waits for the answer.
    pub fn lock(&self) {
        let client = self.client.clone();
        if waited_for(move || client.lock()).is_err() {
            self.client.lock();
        }
    }

    /// The customers. The object stays good over locking and unlocking; its calls fail with `Locked` in between.
    pub fn customers(&self) -> Arc<Customers> {
        Arc::new(Customers { client: self.client.clone() })
    }

    /// The visits. The object stays good over locking and unlocking; its calls fail with `Locked` in between.
    pub fn visits(&self) -> Arc<Visits> {
        Arc::new(Visits { client: self.client.clone() })
    }

    /// What was not sent, or was refused. The object stays good over locking and unlocking; its calls fail with
    /// `Locked` in between.
    pub fn outbox(&self) -> Arc<Outbox> {
        Arc::new(Outbox { client: self.client.clone() })
    }

    /// Values that lost in a collision of two edits. The object stays good over locking and unlocking; its calls fail
    /// with `Locked` in between.
    pub fn conflicts(&self) -> Arc<Conflicts> {
        Arc::new(Conflicts { client: self.client.clone() })
    }

    /// Photos, signatures and files of visits and customers. The object stays good over locking and unlocking; its calls
    /// fail with `Locked` in between.
    pub fn attachments(&self) -> Arc<Attachments> {
        Arc::new(Attachments { client: self.client.clone() })
    }

    /// Calls the observer after each commit that changed something, until the subscription ends or the vault
    /// closes.
    ///
    /// # Errors
    /// `Locked`, or why else the vault is closed; `PasscodeExpired`.
    pub fn observe(&self, observer: Arc<dyn Observer>) -> Result<Arc<Subscription>, RoundsmanError> {
        let client = self.client.clone();
        // Whether the passcode is due may be a question to the keystore.
        let subscription = waited_for(move || client.observe(Arc::new(ForeignObserver(observer))))??;
        Ok(Arc::new(Subscription(Mutex::new(Some(subscription)))))
    }

    /// Sends what is unsent and fetches what is new. May be called at any time and cut at any moment; whatever was
    /// not done is done by the next one.
    ///
    /// # Errors
    /// `Locked`, `PasscodeExpired`, `LeaseEnded`, `Offline`, `WrongPin`, `ServerBusy`, `UnknownDevice`, `Server`, `Cancelled`. What was stored before
    /// stays.
    #[uniffi::method(default(progress = None, cancel = None))]
    pub async fn sync(
        &self,
        progress: Option<Arc<dyn SyncProgress>>,
        cancel: Option<Arc<CancelHandle>>,
    ) -> Result<SyncReport, RoundsmanError> {
        let (client, progress) = (self.client.clone(), ForeignProgress(progress));
        let sync = async move { Ok(client.sync(&progress).await?.into()) };
        online(unless_cancelled(cancel, sync)).await
    }

    /// Checks everything, end to end: the tables and their indexes, the search, the sealed copies of unsent changes, the
    /// audit chain, the files of attachments, and, if there is a network, what the records add up to on the server. What
    /// differs is mended where that is possible; unsent work is never touched. What is wrong is a finding, and no error.
    ///
    /// Takes as long as reading everything once: about 0.3 seconds for ten thousand customers on a laptop, and then every
    /// photo. Call it from a screen of the app's, or now and then while the phone is charged. It syncs, and says how that
    /// went in `Verified.server`.
    ///
    /// # Errors
    /// `Locked`, `PasscodeExpired`, `Cancelled`. What was mended before stays so.
    #[uniffi::method(default(progress = None, cancel = None))]
    pub async fn verify(
        &self,
        progress: Option<Arc<dyn CheckProgress>>,
        cancel: Option<Arc<CancelHandle>>,
    ) -> Result<Verified, RoundsmanError> {
        let (client, progress) = (self.client.clone(), ForeignCheck(progress));
        let verified = async move { Ok(client.verify(&progress).await?.into()) };
        online(unless_cancelled(cancel, verified)).await
    }

    /// Reports to the server and carries out the administrator's commands. Needs no passcode: call it from the
    /// background, while locked, and during a wipe.
    ///
    /// # Errors
    /// `NotEnrolled`, `Offline`, `WrongPin`, `ServerBusy`, `UnknownDevice`, `Server`.
    pub async fn check_in(&self) -> Result<Vec<DeviceEvent>, RoundsmanError> {
        let client = self.client.clone();
        online(async move { Ok(client.check_in().await?.into_iter().map(Into::into).collect()) }).await
    }
}

/// What the core's client is made from.
pub(crate) fn config(
    options: Options,
    keys: Arc<dyn platform::PlatformKeys>,
    clock: Option<Arc<dyn HostClock>>,
) -> Config {
    let Options { dir, device_name, platform, attachments } = options;
    let clock: Arc<dyn Clock> = match clock {
        Some(clock) => Arc::new(ForeignClock(clock)),
        None => Arc::new(SystemClock),
    };
    let config = Config { device_name, platform, clock, ..Config::new(dir, keys) };
    match attachments {
        Some(AttachmentOptions { one, all, metered }) => {
            Config { attachments: AttachmentLimits { one, all }, metered_attachments: metered, ..config }
        }
        None => config,
    }
}

impl From<vault::Profile> for Profile {
    fn from(profile: vault::Profile) -> Self {
        Self {
            device: profile.device.0,
            user: profile.user.0,
            user_name: profile.user_name,
            org_name: profile.org_name,
            url: profile.url,
        }
    }
}
