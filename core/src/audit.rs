//! Who looked at what: events on their way into the audit chain.
//!
//! What touches security is recorded at once. Views and searches come in bursts while a rep scrolls, so they are
//! gathered and recorded together: after a minute, after fifty, before each report, and when the vault closes. A stop
//! in between loses at most those.

use crate::platform::Clock;
use crate::vault::{Event, Vault, audit_object};
use chrono::{DateTime, TimeDelta, Utc};
pub use roundsman_protocol::audit::Action;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

/// So many events are recorded together at most.
const MAX_GATHERED: usize = 50;

/// So long an event waits at most for others.
const MAX_WAIT: TimeDelta = TimeDelta::seconds(60);

/// Takes events and records them.
pub struct AuditTrail {
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
    gathered: Mutex<Vec<Event>>,
}

impl AuditTrail {
    /// The trail of this vault.
    pub(crate) fn new(vault: Arc<Vault>, clock: Arc<dyn Clock>) -> Self {
        Self { vault, clock, gathered: Mutex::default() }
    }

    /// Records that a record was looked at.
    pub(crate) fn viewed(&self, entity: &str, id: Uuid) {
        self.gather(Action::RecordViewed, Some((entity, id)));
    }

    /// Records that somebody searched; what for is personal, and is not recorded.
    pub(crate) fn searched(&self) {
        self.gather(Action::Searched, None);
    }

    /// Records something that touches security, with everything that waits.
    pub(crate) fn record(&self, action: Action) {
        self.gathered().push(Event { at: self.clock.now(), action, object: None });
        self.flush();
    }

    /// Records everything that waits. What can't be recorded waits on: a full disk never keeps the rep from work.
    pub(crate) fn flush(&self) {
        let mut gathered = self.gathered();
        if let Err(error) = self.vault.record(&gathered) {
            tracing::warn!(%error, "the audit log could not be written yet");
            // Without bounds a disk that stays full would fill the memory too.
            let over = gathered.len().saturating_sub(10 * MAX_GATHERED);
            gathered.drain(..over);
        } else {
            gathered.clear();
        }
    }

    /// Whether anything waits to be recorded.
    pub(crate) fn waits(&self) -> bool {
        !self.gathered().is_empty()
    }

    fn gather(&self, action: Action, object: Option<(&str, Uuid)>) {
        let now = self.clock.now();
        let mut gathered = self.gathered();
        let object = object.map(|(entity, id)| audit_object(entity, id));
        // Looking at the same record again within the burst adds nothing.
        let repeated = gathered.last().is_some_and(|last| last.action == action && last.object == object);
        if !repeated {
            gathered.push(Event { at: now, action, object });
        }
        let due = gathered.len() >= MAX_GATHERED || waited(&gathered, now);
        drop(gathered);
        if due {
            self.flush();
        }
    }

    fn gathered(&self) -> MutexGuard<'_, Vec<Event>> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn waited(gathered: &[Event], now: DateTime<Utc>) -> bool {
    gathered.first().is_some_and(|first| now - first.at >= MAX_WAIT)
}
