//! What a sync did, how it goes on, and how it is stopped.

use crate::{CallbackError, DeviceEvent, RoundsmanError};
use roundsman_core::sync;
use std::future::Future;
use std::sync::Arc;
use tokio::sync::watch;

/// What a sync did.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct SyncReport {
    /// Changes the server took.
    pub sent: u64,
    /// Changes the server refused; they stay in the outbox with the reason.
    pub rejected: u64,
    /// Values that lost in a collision; they are kept as conflicts.
    pub conflicts: u64,
    /// Rows that came down.
    pub received: u64,
    /// Rows that left the device because they are no longer its user's.
    pub removed: u64,
    /// Bytes of bodies sent.
    pub bytes_up: u64,
    /// Bytes of bodies received.
    pub bytes_down: u64,
    /// Requests made.
    pub requests: u32,
    /// Parts of the data that were not as the server has them, and were fetched anew.
    pub healed: u64,
    /// Commands of the administrator that were carried out or refused.
    pub events: Vec<DeviceEvent>,
}

/// How far a sync has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum SyncStep {
    /// The outbox is on its way.
    Sending {
        /// Changes in this request.
        changes: u64,
    },
    /// The server has settled changes.
    Settled {
        /// How many in all.
        changes: u64,
    },
    /// Rows are stored.
    Receiving {
        /// Rows stored in all.
        rows: u64,
        /// Changes of the present bucket still to come.
        left: u64,
        /// Bytes received.
        bytes: u64,
    },
    /// The search index is made anew, after an update of the app.
    Indexing {
        /// Records still to be indexed.
        left: u64,
    },
}

/// Follows a sync. Called from a thread of the library.
#[uniffi::export(with_foreign)]
pub trait SyncProgress: Send + Sync {
    /// A step is done and stored.
    fn step(&self, step: SyncStep) -> Result<(), CallbackError>;
}

/// Stops a call from outside. For languages whose tasks can't be cancelled from outside, such as Swift.
#[derive(uniffi::Object)]
pub struct CancelHandle(watch::Sender<bool>);

#[uniffi::export]
impl CancelHandle {
    /// A handle for one call.
    #[uniffi::constructor]
    #[allow(clippy::new_without_default, reason = "constructed from other languages")]
    pub fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Stops the call: it fails with `Cancelled`, unless it was done. What was stored stays.
    pub fn cancel(&self) {
        self.0.send_replace(true);
    }
}

/// The work, unless it is cancelled first.
pub(crate) async fn unless_cancelled<T>(
    cancel: Option<Arc<CancelHandle>>,
    work: impl Future<Output = Result<T, RoundsmanError>>,
) -> Result<T, RoundsmanError> {
    let Some(cancel) = cancel else { return work.await };
    let mut cancelled = cancel.0.subscribe();
    tokio::select! {
        result = work => result,
        // The sender lives in `cancel`, so this can't fail.
        _ = cancelled.wait_for(|cancelled| *cancelled) => Err(RoundsmanError::Cancelled),
    }
}

/// The app's progress, as the core takes it.
pub(crate) struct ForeignProgress(pub(crate) Option<Arc<dyn SyncProgress>>);

impl sync::Progress for ForeignProgress {
    fn progress(&self, step: sync::Step) {
        if let Some(progress) = &self.0 {
            // A progress bar that throws does not stop the sync.
            let _ = progress.step(step.into());
        }
    }
}

impl From<sync::Step> for SyncStep {
    fn from(step: sync::Step) -> Self {
        match step {
            sync::Step::Sending { changes } => Self::Sending { changes },
            sync::Step::Settled { changes } => Self::Settled { changes },
            sync::Step::Receiving { rows, left, bytes } => Self::Receiving { rows, left, bytes },
            sync::Step::Indexing { left } => Self::Indexing { left },
        }
    }
}

impl From<sync::Report> for SyncReport {
    fn from(report: sync::Report) -> Self {
        let sync::Report {
            sent,
            rejected,
            conflicts,
            received,
            removed,
            bytes_up,
            bytes_down,
            requests,
            healed,
            events,
        } = report;
        let events = events.into_iter().map(Into::into).collect();
        Self { sent, rejected, conflicts, received, removed, bytes_up, bytes_down, requests, healed, events }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_cancelled_call_ends_though_its_work_never_does() {
        let handle = Arc::new(CancelHandle::new());
        let call =
            unless_cancelled(Some(Arc::clone(&handle)), std::future::pending::<Result<(), RoundsmanError>>());
        let (ended, ()) = tokio::join!(call, async { handle.cancel() });
        assert_eq!(ended, Err(RoundsmanError::Cancelled));
        let late = unless_cancelled(Some(handle), std::future::pending::<Result<(), RoundsmanError>>());
        assert_eq!(late.await, Err(RoundsmanError::Cancelled), "a handle that was used stays used");
    }
}
