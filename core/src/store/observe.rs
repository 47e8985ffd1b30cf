//! Telling others what changed, after it is committed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use uuid::Uuid;

/// The records of one entity that one transaction changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The entity.
    pub entity: &'static str,
    /// The records that were made, changed or removed, each once.
    pub ids: Vec<Uuid>,
}

/// Is told what changed.
///
/// It is called on the thread that made the change, after the commit and outside of any lock, so it may call the
/// client again. It should be quick. If it panics, the change stands and the other observers are told.
pub trait Observer: Send + Sync {
    /// Records of one entity changed.
    fn changed(&self, changed: &Changed);

    /// The outbox changed; it now holds so many changes, those that were refused included.
    fn outbox(&self, unsent: u64) {
        let _ = unsent;
    }
}

/// Ends the observing when it is dropped.
#[must_use = "the observer is called only as long as this lives"]
pub struct Subscription {
    id: u64,
    observers: Weak<Observers>,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(observers) = self.observers.upgrade() {
            observers.with(|list| list.entries.retain(|(id, _)| *id != self.id));
        }
    }
}

/// Those who are told.
#[derive(Default)]
pub(super) struct Observers(Mutex<List>);

#[derive(Default)]
struct List {
    last: u64,
    entries: Vec<(u64, Arc<dyn Observer>)>,
}

/// What one transaction changed.
#[derive(Default)]
pub(super) struct News {
    pub(super) records: Vec<Changed>,
    /// The number of unsent changes, if the outbox changed.
    pub(super) unsent: Option<u64>,
}

impl Observers {
    pub(super) fn add(self: &Arc<Self>, observer: Arc<dyn Observer>) -> Subscription {
        let id = self.with(|list| {
            list.last += 1;
            list.entries.push((list.last, observer));
            list.last
        });
        Subscription { id, observers: Arc::downgrade(self) }
    }

    pub(super) fn tell(&self, news: &News) {
        let observers = self.with(|list| list.entries.clone());
        for (_, observer) in &observers {
            // A fault of the app's screen must not look like a failed write: what it is told of is committed.
            let _ = catch_unwind(AssertUnwindSafe(|| {
                news.records.iter().for_each(|changed| observer.changed(changed));
                news.unsent.into_iter().for_each(|unsent| observer.outbox(unsent));
            }));
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut List) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
