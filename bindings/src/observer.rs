//! Word of each commit.

use crate::CallbackError;
use roundsman_core::store;
use std::sync::{Arc, Mutex, PoisonError};
use uuid::Uuid;

/// What a commit changed.
#[derive(Clone, Debug, PartialEq, uniffi::Enum)]
pub enum Change {
    /// Records were made, changed or removed: read those that are on the screen again.
    Records {
        /// `customer`, `visit` or `attachment`.
        entity: String,
        /// The records, each once.
        ids: Vec<Uuid>,
    },
    /// The outbox changed.
    Outbox {
        /// How many changes the server has not taken, those it refused included.
        unsent: u64,
    },
}

/// Hears of every commit that changed something.
///
/// Called after the commit from the thread that made it, with no lock held: the callback may use the client. Be
/// quick, or the call that made the change waits.
#[uniffi::export(with_foreign)]
pub trait Observer: Send + Sync {
    /// Something changed.
    fn changed(&self, change: Change) -> Result<(), CallbackError>;
}

/// An observer's registration. Ends when it is ended, when it is dropped, or when the vault closes.
#[derive(uniffi::Object)]
pub struct Subscription(pub(crate) Mutex<Option<store::Subscription>>);

#[uniffi::export]
impl Subscription {
    /// Ends it: the observer is not called for any later commit.
    pub fn end(&self) {
        let subscription = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(subscription);
    }
}

/// The app's observer, as the core takes it.
pub(crate) struct ForeignObserver(pub(crate) Arc<dyn Observer>);

// An observer that throws has missed this change, nothing else.
impl store::Observer for ForeignObserver {
    fn changed(&self, changed: &store::Changed) {
        let _ =
            self.0.changed(Change::Records { entity: changed.entity.to_owned(), ids: changed.ids.clone() });
    }

    fn outbox(&self, unsent: u64) {
        let _ = self.0.changed(Change::Outbox { unsent });
    }
}
