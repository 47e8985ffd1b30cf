//! A simulated phone: a real client with its own vault, its own keys and a network that can be switched off.
//! Only the platform's keystore and the position are simulated.

mod airplane;
mod keystore;

pub use airplane::Airplane;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use roundsman_core::device::DeviceEvent;
use roundsman_core::model::customer::Customer;
use roundsman_core::model::geo::Position;
use roundsman_core::store::{Changed, Observer, Subscription};
use roundsman_core::sync::{Progress, Report, Step};
use roundsman_core::vault::Passcode;
use roundsman_core::{Client, Config, Error, State};
use serde::Deserialize;
use std::mem::discriminant;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How often a phone asks the server for commands.
const CHECK_IN_EVERY: Duration = Duration::from_secs(2);

/// Degrees of latitude in two kilometres.
const TWO_KM: f64 = 0.018;

/// One phone.
pub struct Phone {
    number: usize,
    dir: PathBuf,
    client: Client,
    airplane: Arc<Airplane>,
    seen: Mutex<Seen>,
    subscription: Mutex<Option<Subscription>>,
    ticks: watch::Sender<u64>,
}

/// What the phone's screen remembers, beside what the core keeps.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// When the server was last reached.
    pub contact: Option<DateTime<Utc>>,
    /// The sync that runs or ran last.
    pub sync: SyncSeen,
    /// Where the rep is, by the last position that was used: degrees north and east.
    pub here: Option<(f64, f64)>,
}

/// How far the last sync has come.
#[derive(Clone, Debug, Default)]
pub enum SyncSeen {
    /// There was none yet.
    #[default]
    Never,
    /// It runs; the step it took last.
    Running(Option<Step>),
    /// It is done.
    Done(DateTime<Utc>, Report),
    /// It failed, with the reason in words.
    Failed(DateTime<Utc>, String),
}

/// Where the phone is to believe that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whereabouts {
    /// In the store.
    AtTheStore,
    /// About two kilometres away.
    TwoKilometresAway,
    /// It has no position: a basement.
    NoSignal,
}

impl Whereabouts {
    /// The position, for a check-in at this customer.
    pub fn position(self, customer: &Customer) -> Option<Position> {
        let (lat, lon) = customer.place()?;
        let at = |lat, accuracy| Some(Position { lat, lon, accuracy_m: Some(accuracy), mocked: false });
        match self {
            Self::AtTheStore => at(lat + 0.000_11, 9.0),
            Self::TwoKilometresAway => at(lat + if lat > 0.0 { -TWO_KM } else { TWO_KM }, 14.0),
            Self::NoSignal => None,
        }
    }
}

impl Phone {
    /// The phone whose files are in `dir`; made on first use.
    ///
    /// # Errors
    /// The folder can't be used, or the vault's files are damaged.
    pub fn open(number: usize, dir: &Path, name: &str) -> Result<Arc<Self>> {
        let vault = dir.join("vault");
        let config = Config::new(&vault, Arc::new(keystore::Keystore::new(&dir.join("keystore"))));
        let airplane = Arc::new(Airplane::over(Arc::clone(&config.transport)));
        let client = Client::open(Config {
            device_name: name.to_owned(),
            transport: Arc::clone(&airplane) as _,
            ..config
        })
        .with_context(|| format!("can't open phone {number}"))?;
        Ok(Arc::new(Self {
            number,
            dir: vault,
            client,
            airplane,
            seen: Mutex::default(),
            subscription: Mutex::default(),
            ticks: watch::Sender::default(),
        }))
    }

    /// Its number, from 1.
    pub fn number(&self) -> usize {
        self.number
    }

    /// The folder of its vault.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The core.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// What its screen remembers.
    pub fn seen(&self) -> Seen {
        self.memory().clone()
    }

    /// A number that changes whenever there is something new to show.
    pub fn ticks(&self) -> watch::Receiver<u64> {
        self.ticks.subscribe()
    }

    /// Whether airplane mode is on.
    pub fn airplane(&self) -> bool {
        self.airplane.is_on()
    }

    /// Switches airplane mode.
    pub fn set_airplane(&self, on: bool) {
        self.airplane.switch(on);
        self.tick();
    }

    /// Joins the organisation. Leaves the phone open and empty.
    ///
    /// # Errors
    /// As [`Client::enrol`].
    pub async fn enrol(self: &Arc<Self>, ticket: &str, passcode: &Passcode) -> Result<(), Error> {
        self.client.enrol(ticket, passcode).await?;
        self.watch()
    }

    /// Opens the vault. Blocks for about half a second.
    ///
    /// # Errors
    /// As [`Client::unlock`].
    pub fn unlock(self: &Arc<Self>, passcode: &Passcode) -> Result<(), Error> {
        self.client.unlock(passcode)?;
        self.watch()
    }

    /// Closes the vault.
    pub fn lock(&self) {
        self.client.lock();
        *self.subscription.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.tick();
    }

    /// Where the phone believes to be at this customer; the rep is there from now on.
    pub fn go_to(&self, whereabouts: Whereabouts, customer: &Customer) -> Option<Position> {
        let position = whereabouts.position(customer);
        if let Some(position) = position {
            self.memory().here = Some((position.lat, position.lon));
        }
        position
    }

    /// Syncs, and lets the screen follow.
    ///
    /// # Errors
    /// As [`Client::sync`].
    pub async fn sync(&self) -> Result<Report, Error> {
        self.show(SyncSeen::Running(None));
        let report = self.client.sync(self).await;
        let now = Utc::now();
        self.show(match &report {
            Ok(report) => SyncSeen::Done(now, report.clone()),
            Err(error) => SyncSeen::Failed(now, error.to_string()),
        });
        if report.is_ok() {
            self.memory().contact = Some(now);
        }
        report
    }

    /// Asks the server for commands once.
    ///
    /// # Errors
    /// As [`Client::check_in`].
    pub async fn check_in(&self) -> Result<Vec<DeviceEvent>, Error> {
        let before = self.client.state();
        let events = self.client.check_in().await;
        let contact = events.is_ok().then(Utc::now);
        let reached = std::mem::replace(&mut self.memory().contact, contact).is_some();
        let changed = before != self.client.state() || reached != events.is_ok();
        if changed || events.as_ref().is_ok_and(|events| !events.is_empty()) {
            self.tick();
        }
        events
    }

    /// Asks the server for commands for ever, as the background work of an app does; ends with the wipe.
    pub async fn stay_in_touch(self: Arc<Self>) {
        // The screen also follows what time alone changes.
        let lease = || self.client.lease().ok().map(|lease| discriminant(&lease.state));
        let mut shown = lease();
        while self.client.state() != State::Wiped {
            if !self.airplane() && self.client.state() != State::New {
                // No connection, or a server that says no: the next try is two seconds away.
                let _ = self.check_in().await;
            }
            if shown != lease() {
                shown = lease();
                self.tick();
            }
            tokio::time::sleep(CHECK_IN_EVERY).await;
        }
    }

    fn watch(self: &Arc<Self>) -> Result<(), Error> {
        let subscription = self.client.observe(Arc::new(Screen(self.ticks.clone())))?;
        *self.subscription.lock().unwrap_or_else(PoisonError::into_inner) = Some(subscription);
        self.tick();
        Ok(())
    }

    fn show(&self, sync: SyncSeen) {
        self.memory().sync = sync;
        self.tick();
    }

    fn tick(&self) {
        self.ticks.send_modify(|tick| *tick += 1);
    }

    fn memory(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Phone {
    fn progress(&self, step: Step) {
        self.show(SyncSeen::Running(Some(step)));
    }
}

/// The screen, told of every commit.
struct Screen(watch::Sender<u64>);

impl Observer for Screen {
    fn changed(&self, _: &Changed) {
        self.0.send_modify(|tick| *tick += 1);
    }
}
