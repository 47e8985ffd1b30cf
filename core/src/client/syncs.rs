//! Conversations with the server: one at a time, a check-in before a sync, and one sync for all who have asked for it.

use super::{Client, Session};
use crate::Error;
use crate::audit::Action;
use crate::device::DeviceEvent;
use crate::sync::{Progress, Report, blocking};
use roundsman_protocol::ErrorCode;
use std::sync::{Mutex, PoisonError};
use tokio::sync::MutexGuard;

impl Client {
    /// Sends what is unsent and fetches what is new, but for the content of attachments: see
    /// [`send_attachments`](Self::send_attachments). May be called at any time and cut at any moment; whatever
    /// was not done is done by the next one. Of calls that wait for a running sync, one begins another; that one's report
    /// is the others' too.
    ///
    /// # Errors
    /// The vault is not open, or the passcode is to be changed first; no connection; the server refused. What was stored
    /// before stays.
    pub async fn sync(&self, progress: &dyn Progress) -> Result<Report, Error> {
        let syncs = &self.inner.syncs;
        let asked = syncs.begun();
        let mut report = Report::default();
        loop {
            let conversation = self.inner.conversation.lock().await;
            // Without the server's word the session is over: a check-in brings it, the passcode begins a new one.
            self.enforce(false);
            let session = self.working()?;
            if let Some(done) = syncs.done_since(asked) {
                return done;
            }
            let number = syncs.begin();
            let synced = tokio::select! {
                biased;
                synced = self.sync_now(&session, progress, &mut report) => synced.map(|()| report),
                () = self.inner.urgent.notified() => {
                    // What was stored stays. The check-in waits in front of the next turn of this loop.
                    drop(conversation);
                    continue;
                }
            };
            syncs.end(number, &synced);
            return synced;
        }
    }

    async fn sync_now(
        &self,
        session: &Session,
        progress: &dyn Progress,
        report: &mut Report,
    ) -> Result<(), Error> {
        let endpoint = self.endpoint()?;
        self.inner.gathered().await?;
        let synced = self.talk(&endpoint).sync(&session.store, progress, report).await;
        self.inner.note_commit(&session.store).await;
        let synced = match synced {
            // The server was restored to an earlier state: read its log anew.
            Err(error) if error.server_code() == Some(ErrorCode::CursorAhead) => {
                session.store.forget_cursors()?;
                let synced = self.talk(&endpoint).sync(&session.store, progress, report).await;
                self.inner.note_commit(&session.store).await;
                synced
            }
            // A device that is blocked, or whose tokens are revoked, may still have a command waiting.
            Err(error)
                if matches!(
                    error.server_code(),
                    Some(ErrorCode::DeviceBlocked | ErrorCode::TokenInvalid)
                ) =>
            {
                let unsent = || session.store.unsent_count().ok();
                let events = self.talk(&endpoint).check_in(unsent, &mut report.requests).await?;
                let any = !events.is_empty();
                report.events.extend(events);
                if any { Ok(()) } else { Err(error) }
            }
            other => other,
        };
        let attachments = session.attachments.clone();
        blocking(move || {
            attachments.sweep();
            Ok(())
        })
        .await?;
        if synced.is_ok() {
            if report.healed > 0 {
                self.inner.audit.record(Action::DataHealed);
            }
            self.inner.note(&report.events).await?;
        }
        synced
    }

    /// Reports to the server and carries out its commands. Needs no passcode and no user: call it from the
    /// background, while locked, and during a wipe. A sync that runs steps aside and goes on afterwards.
    ///
    /// # Errors
    /// Not enrolled; no connection; the server does not know the device.
    pub async fn check_in(&self) -> Result<Vec<DeviceEvent>, Error> {
        let _conversation = self.first_in_line().await;
        let endpoint = self.endpoint()?;
        let session = self.session().ok();
        self.inner.gathered().await?;
        let events = self.talk(&endpoint).check_in(|| self.unsent(), &mut 0).await;
        if let Some(Session { store, .. }) = session {
            self.inner.note_commit(&store).await;
        }
        let events = events?;
        self.inner.note(&events).await?;
        Ok(events)
    }

    /// Waits for the conversation, which a sync that runs gives away.
    async fn first_in_line(&self) -> MutexGuard<'_, ()> {
        let (conversation, urgent) = (&self.inner.conversation, &self.inner.urgent);
        tokio::select! {
            // Its place in the line is taken before the sync hears of it.
            biased;
            turn = conversation.lock() => turn,
            never = async {
                urgent.notify_waiters();
                std::future::pending().await
            } => never,
        }
    }
}

/// Which syncs have begun, and how the last one ended.
#[derive(Default)]
pub(super) struct Syncs(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    begun: u64,
    last: Option<(u64, Result<Report, Unreached>)>,
}

/// Why there was no server: it would not be there for the next one in the line either.
#[derive(Clone, Copy)]
enum Unreached {
    Offline,
    WrongPin,
}

impl Syncs {
    /// How many have begun.
    fn begun(&self) -> u64 {
        self.with(|counted| counted.begun)
    }

    /// How one ended that began after so many.
    fn done_since(&self, asked: u64) -> Option<Result<Report, Error>> {
        self.with(|counted| match &counted.last {
            Some((number, ended)) if *number > asked => Some(match ended {
                Ok(report) => Ok(report.clone()),
                Err(Unreached::Offline) => Err(Error::Offline),
                Err(Unreached::WrongPin) => Err(Error::WrongPin),
            }),
            _ => None,
        })
    }

    /// One begins; its number.
    fn begin(&self) -> u64 {
        self.with(|counted| {
            counted.begun += 1;
            counted.begun
        })
    }

    fn end(&self, number: u64, ended: &Result<Report, Error>) {
        let ended = match ended {
            Ok(report) => Ok(report.clone()),
            Err(Error::Offline) => Err(Unreached::Offline),
            Err(Error::WrongPin) => Err(Unreached::WrongPin),
            // Whoever waits finds out by itself.
            Err(_) => return,
        };
        self.with(|counted| counted.last = Some((number, ended)));
    }

    fn with<T>(&self, work: impl FnOnce(&mut Counted) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
