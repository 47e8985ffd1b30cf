//! A foreground app listens: the server pokes it, and it syncs or checks in.

use super::background::{Looked, Wanted};
use super::{Client, State};
use crate::Error;
use crate::device::DeviceEvent;
use crate::sync::{Backoff, Channel, Report, Retry};
use crate::vault::VaultError;
use chrono::{DateTime, Utc};
use roundsman_protocol::ErrorCode;
use roundsman_protocol::poke::Poke;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// Syncs begin at least so far apart, however often they are poked. A check-in does not wait.
const PACE: Duration = Duration::from_millis(200);

/// Everything is looked after so often though nobody pokes: a wipe that is held back comes with time alone.
const SAFETY: Duration = Duration::from_mins(15);

/// The same where the server has no channel, because it is older than this.
const POLL: Duration = Duration::from_mins(2);

/// A channel that held so long was a good one: the next failure is a first one.
const HELD: Duration = Duration::from_secs(30);

/// What a listening app may show.
#[derive(Debug)]
pub enum Heard<'a> {
    /// The channel is open: changes and commands come by themselves.
    Connected,
    /// The channel is not open. What the app does goes on without it.
    Offline {
        /// Since when.
        since: DateTime<Utc>,
        /// When it is tried again. Earlier after [`Listening::try_now`].
        retry_in: Duration,
        /// Why.
        error: Option<&'a Error>,
    },
    /// A sync begins.
    Syncing,
    /// A sync is done.
    Synced(&'a Report),
    /// What was to be done failed. It is tried again if waiting may mend it.
    Failed(&'a Error),
    /// Commands were carried out or refused, by a check-in or a sync.
    Device(&'a [DeviceEvent]),
}

/// Is told how the listening goes. Called from the task that listens, so it must be quick.
pub trait Watcher: Send + Sync {
    /// Something happened.
    fn heard(&self, heard: &Heard<'_>);
}

/// Nobody looks on.
impl Watcher for () {
    fn heard(&self, _: &Heard<'_>) {}
}

/// Why a listening ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was stopped.
    Stopped,
    /// The device is wiped, and its server has the proof.
    Wiped,
    /// Another call listens already.
    Already,
}

/// Directs a listening from outside. Cheap to clone; one for each call of [`Client::listen`].
#[derive(Clone, Default)]
pub struct Listening(Arc<Control>);

#[derive(Default)]
struct Control {
    stop: watch::Sender<bool>,
    now: Notify,
}

impl Listening {
    /// For one call.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the listening, at once or as soon as it begins. A write that had begun is finished.
    pub fn stop(&self) {
        self.0.stop.send_replace(true);
    }

    /// The network is back, or is another one: tries at once, with a new connection.
    pub fn try_now(&self) {
        self.0.now.notify_waiters();
    }
}

impl Client {
    /// Listens until it is stopped: keeps a channel to the server open, syncs when there are changes and checks in when
    /// there is a command. Begins with a sync. Call it when the app comes to the front, and stop it, or drop the call,
    /// when it leaves. Works while the vault is closed or locked, for commands alone. Connections that are lost are made
    /// again, after waits that grow to five minutes.
    ///
    /// # Errors
    /// What another try would not mend: the device is unknown or not enrolled, the app is too old. A sync that the server
    /// refuses for good ends nothing: the watcher is told, and commands still come.
    pub async fn listen(&self, listening: &Listening, watcher: &dyn Watcher) -> Result<Ended, Error> {
        let Ok(_only) = self.inner.listening.try_lock() else { return Ok(Ended::Already) };
        let mut stop = listening.0.stop.subscribe();
        let ear = Ear {
            client: self,
            control: &listening.0,
            watcher,
            wanted: Mutex::default(),
            bell: Notify::new(),
            connected: Notify::new(),
        };
        let ended = tokio::select! {
            biased;
            // An error would mean that nobody can stop it any more; it lives in `listening`.
            _ = stop.wait_for(|stop| *stop) => return Ok(Ended::Stopped),
            ended = ear.work() => ended,
            error = ear.keep_channel() => Err(error),
        };
        match ended {
            Err(Error::Vault(VaultError::Wiped)) => Ok(Ended::Wiped),
            other => other,
        }
    }
}

/// One call of `listen`: one part keeps the channel, the other one works.
struct Ear<'a> {
    client: &'a Client,
    control: &'a Control,
    watcher: &'a dyn Watcher,
    wanted: Mutex<Wanted>,
    bell: Notify,
    connected: Notify,
}

/// Why a channel is no longer read.
enum Over {
    /// The server has ended it.
    Closed,
    /// Another one is to be opened at once.
    Renew,
}

impl Ear<'_> {
    fn want(&self, more: Wanted) {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.sync |= more.sync;
        wanted.check_in |= more.check_in;
        drop(wanted);
        self.bell.notify_one();
    }

    fn tell(&self, heard: &Heard<'_>) {
        self.watcher.heard(heard);
    }

    /// Looks after what is wanted, one thing at a time, until there is nothing left of the device.
    async fn work(&self) -> Result<Ended, Error> {
        let (mut backoff, mut last_sync) = (Backoff::default(), None);
        loop {
            let wanted = self.next(last_sync).await;
            if wanted.sync {
                last_sync = Some(Instant::now());
            }
            let mut again = wanted;
            let asked = match self.look(wanted).await {
                Ok(()) if self.client.state() == State::Wiped => return Ok(Ended::Wiped),
                // Its proof, and the work that was not sent, are still to be delivered.
                Ok(()) if self.client.state() == State::Wiping => {
                    again = Wanted { sync: false, check_in: true };
                    None
                }
                Ok(()) => {
                    backoff.reset();
                    continue;
                }
                Err(error) => {
                    let Retry::Later { asked } = Retry::of(&error) else { return Err(error) };
                    self.tell(&Heard::Failed(&error));
                    asked
                }
            };
            let wait = backoff.wait(asked, &*self.client.inner.config.entropy);
            self.rest(wait, asked.is_some()).await;
            self.want(again);
        }
    }

    /// Waits before another try. A server that has `asked` for the time gets it; otherwise a channel that opens again
    /// ends the wait, and so does a command.
    async fn rest(&self, wait: Duration, asked: bool) {
        let until = Instant::now() + wait;
        while asked || !self.wanted.lock().unwrap_or_else(PoisonError::into_inner).check_in {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return,
                () = self.control.now.notified() => return,
                () = self.connected.notified(), if !asked => return,
                () = self.bell.notified() => {}
            }
        }
    }

    /// Waits until something is wanted and may be done.
    async fn next(&self, last_sync: Option<Instant>) -> Wanted {
        loop {
            let wanted = *self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
            let rest = last_sync.map_or(Duration::ZERO, |last| PACE.saturating_sub(last.elapsed()));
            if wanted.check_in || (wanted.sync && rest.is_zero()) {
                return std::mem::take(&mut *self.wanted.lock().unwrap_or_else(PoisonError::into_inner));
            }
            let wait = if wanted.sync { rest } else { SAFETY };
            if tokio::time::timeout(wait, self.bell.notified()).await.is_err() && !wanted.sync {
                self.want(Wanted::ALL);
            }
        }
    }

    async fn look(&self, wanted: Wanted) -> Result<(), Error> {
        // A command comes first, and with less.
        if wanted.check_in && wanted.sync {
            self.told(self.client.look(Wanted { sync: false, ..wanted }).await?);
        }
        if wanted.sync && self.client.working().is_ok() {
            self.tell(&Heard::Syncing);
        } else if wanted == (Wanted { sync: true, check_in: false }) {
            // Changes are of no use to a closed vault; the passcode opens it with a sync.
            return Ok(());
        } else if wanted == Wanted::ALL {
            return Ok(());
        }
        self.told(self.client.look(wanted).await?);
        Ok(())
    }

    fn told(&self, looked: Looked) {
        if !looked.events.is_empty() {
            self.tell(&Heard::Device(&looked.events));
        }
        if let Some(report) = &looked.report {
            self.tell(&Heard::Synced(report));
        }
        if let Some(error) = &looked.refused {
            self.tell(&Heard::Failed(error));
        }
    }

    /// Keeps a channel open. Returns what no other try would mend.
    async fn keep_channel(&self) -> Error {
        let mut backoff = Backoff::default();
        let mut since = None;
        let mut opened = self.client.inner.opened.subscribe();
        loop {
            opened.mark_unchanged();
            let begun = Instant::now();
            let over = self.hear(&mut opened, &mut since).await;
            if begun.elapsed() >= HELD {
                backoff.reset();
            }
            let (error, asked) = match over {
                Ok(Over::Renew) => continue,
                Ok(Over::Closed) => (None, None),
                Err(error) => match Retry::of(&error) {
                    Retry::Later { asked } => (Some(error), asked),
                    // A server from before there were channels, or a gate before it that lets none through.
                    Retry::Never
                        if matches!(
                            error.server_code(),
                            Some(ErrorCode::NotFound | ErrorCode::Malformed)
                        ) =>
                    {
                        self.want(Wanted::ALL);
                        (Some(error), Some(POLL))
                    }
                    Retry::Never => return error,
                },
            };
            let retry_in = backoff.wait(asked, &*self.client.inner.config.entropy);
            let since = *since.get_or_insert_with(|| self.client.inner.config.clock.now());
            self.tell(&Heard::Offline { since, retry_in, error: error.as_ref() });
            tokio::select! {
                () = tokio::time::sleep(retry_in) => {}
                () = self.control.now.notified() => {}
                // The sender lives in the client, so this can't fail.
                _ = opened.changed() => {}
            }
        }
    }

    /// Opens a channel and hands on what is heard, until it ends.
    async fn hear(
        &self,
        opened: &mut watch::Receiver<u64>,
        since: &mut Option<DateTime<Utc>>,
    ) -> Result<Over, Error> {
        let renewed = async {
            tokio::select! {
                _ = opened.changed() => {}
                () = self.control.now.notified() => {}
            }
        };
        let heard = async {
            let mut channel = self.open().await?;
            let mut connected = false;
            while let Some(poke) = channel.next().await? {
                if !std::mem::replace(&mut connected, true) {
                    *since = None;
                    self.connected.notify_waiters();
                    self.tell(&Heard::Connected);
                    // What happened while nobody listened is not known.
                    self.want(self.everything());
                }
                match poke {
                    Poke::Here => {}
                    Poke::Sync => self.want(Wanted { sync: true, check_in: false }),
                    Poke::CheckIn => self.want(Wanted { sync: false, check_in: true }),
                    Poke::Unknown => self.want(self.everything()),
                }
            }
            Ok(Over::Closed)
        };
        tokio::select! {
            biased;
            () = renewed => Ok(Over::Renew),
            over = heard => over,
        }
    }

    /// A sync reports too.
    fn everything(&self) -> Wanted {
        let open = self.client.working().is_ok();
        Wanted { sync: open, check_in: !open }
    }

    /// Opens the channel, with a token while the vault is open.
    async fn open(&self) -> Result<Channel, Error> {
        let client = self.client;
        let endpoint = client.endpoint()?;
        let talk = client.talk(&endpoint);
        let session = client.working().ok();
        let mut renew = false;
        loop {
            let token = match (&session, talk.kept_token()) {
                (None, _) => None,
                (Some(_), Some(token)) if !renew => Some(token),
                (Some(session), _) => {
                    let _conversation = client.inner.conversation.lock().await;
                    talk.channel_token(&session.store, renew).await?
                }
            };
            match talk.open_channel(token.as_deref().map(String::as_str)).await {
                Err(error) if token.is_some() && !renew => match error.server_code() {
                    Some(ErrorCode::TokenExpired) => renew = true,
                    // Commands still come, though the tokens are worth nothing any more.
                    Some(ErrorCode::TokenInvalid) => return talk.open_channel(None).await,
                    _ => return Err(error),
                },
                other => return other,
            }
        }
    }
}
