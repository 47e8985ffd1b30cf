//! What the host's scheduler and push messages wake: a look at the server, bounded in time.

use super::{Client, State};
use crate::Error;
use crate::device::DeviceEvent;
use crate::sync::{Backoff, Report, Retry};
use roundsman_protocol::poke::Poke;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// When to come again after everything was done: the shortest period that Android's scheduler takes.
const DONE: Duration = Duration::from_mins(15);

/// When to come again during a wipe, so that its proof is not late.
const WIPING: Duration = Duration::from_mins(1);

/// No scheduler gives more time than this; moments that are too far away can't be counted.
const LONGEST: Duration = Duration::from_hours(24);

/// How long a push message keeps the phone awake at most: iOS gives 30 seconds.
const PUSH: Duration = Duration::from_secs(25);

/// What became of a look at the server.
#[derive(Clone, Debug, PartialEq)]
pub struct Woken {
    /// Commands that were carried out or refused.
    pub events: Vec<DeviceEvent>,
    /// What was synced; `None` while the vault is closed, or if the time was over.
    pub report: Option<Report>,
    /// Whether everything was done. If not, the server was not reached in time.
    pub done: bool,
    /// When to come again.
    pub next: Next,
}

/// When the host's scheduler should call again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// Not before this has passed.
    pub after: Duration,
}

/// What is to be looked after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) sync: bool,
    pub(super) check_in: bool,
}

impl Wanted {
    pub(super) const ALL: Self = Self { sync: true, check_in: true };
}

/// What a look has brought.
#[derive(Default)]
pub(super) struct Looked {
    pub(super) events: Vec<DeviceEvent>,
    pub(super) report: Option<Report>,
    /// Why the sync can't be done, however often it is tried. The device has checked in.
    pub(super) refused: Option<Error>,
}

impl Client {
    /// Checks in, and syncs if the vault is open, for the host's scheduler (Android's `WorkManager`, iOS's `BGTask`).
    /// Tries again until `deadline` has passed, and says when to come again. Needs no passcode. Dropping the call stops
    /// it at any moment.
    ///
    /// # Errors
    /// What another try would not mend: the device is unknown or not enrolled, the app is too old, the store is damaged.
    /// Schedule no more until it is settled.
    pub async fn background_sync(&self, deadline: Duration) -> Result<Woken, Error> {
        self.wake(Wanted::ALL, deadline).await
    }

    /// Does what a push message asks for: a check-in, and a sync if the vault is open, within 25 seconds. Nothing else
    /// that the message may say is believed. `None` if it is not a message of this system (`{"poke":"sync"}` or
    /// `{"poke":"check_in"}`).
    ///
    /// # Errors
    /// As [`background_sync`](Self::background_sync).
    pub async fn handle_push(&self, payload: &[u8]) -> Result<Option<Woken>, Error> {
        let wanted = match Poke::from_bytes(payload) {
            None | Some(Poke::Here) => return Ok(None),
            Some(Poke::CheckIn) => Wanted { sync: false, check_in: true },
            Some(Poke::Sync | Poke::Unknown) => Wanted::ALL,
        };
        self.wake(wanted, PUSH).await.map(Some)
    }

    async fn wake(&self, wanted: Wanted, deadline: Duration) -> Result<Woken, Error> {
        let until = Instant::now() + deadline.min(LONGEST);
        let (mut backoff, mut events) = (Backoff::default(), Vec::new());
        loop {
            let asked = match timeout_at(until, self.look(wanted)).await {
                Ok(Ok(looked)) => {
                    events.extend(looked.events);
                    if let Some(error) = looked.refused {
                        return Err(error);
                    }
                    let after = if self.state() == State::Wiping { WIPING } else { DONE };
                    return Ok(Woken { events, report: looked.report, done: true, next: Next { after } });
                }
                Ok(Err(error)) => match Retry::of(&error) {
                    Retry::Never => return Err(error),
                    Retry::Later { asked } => asked,
                },
                Err(_) => None,
            };
            let wait = backoff.wait(asked, &*self.inner.config.entropy);
            if Instant::now() + wait >= until {
                let next = Next { after: wait.max(WIPING) };
                return Ok(Woken { events, report: None, done: false, next });
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Looks after what is wanted, once. A sync reports as a check-in does, so an open vault needs no other one.
    pub(super) async fn look(&self, wanted: Wanted) -> Result<Looked, Error> {
        let mut looked = Looked::default();
        let syncs = wanted.sync && self.working().is_ok();
        if !syncs {
            looked.events = self.check_in().await?;
            return Ok(looked);
        }
        match self.sync(&()).await {
            Ok(report) => {
                looked.events.clone_from(&report.events);
                looked.report = Some(report);
            }
            Err(error) if Retry::of(&error) == Retry::Never => {
                // A command must not depend on a sync that is refused.
                looked.events = self.check_in().await?;
                // A vault that was closed meanwhile is no fault.
                looked.refused = self.working().is_ok().then_some(error);
            }
            Err(error) => return Err(error),
        }
        Ok(looked)
    }
}
