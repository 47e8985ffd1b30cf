//! What happened: counts, waits, errors.

use async_trait::async_trait;
use roundsman_core::platform::{Request, Response, Transport, TransportError};
use roundsman_core::{Error, HttpsTransport};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A device's own connection, with its requests counted.
#[derive(Default)]
pub(crate) struct Counted {
    real: HttpsTransport,
    seen: Mutex<Vec<Seen>>,
}

/// A request, until the head of its answer.
pub(crate) struct Seen {
    took: Duration,
    status: Result<u16, TransportError>,
}

impl Counted {
    /// Requests since it was last asked.
    pub(crate) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Transport for Counted {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let begun = Instant::now();
        let answer = self.real.send(request).await;
        let status = answer.as_ref().map(|answer| answer.status).map_err(|error| *error);
        let seen = Seen { took: begun.elapsed(), status };
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
        answer
    }
}

/// Of all devices.
#[derive(Default)]
pub(crate) struct Tally(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    /// From when each sync was due to its end.
    syncs: Vec<Duration>,
    requests: Vec<Duration>,
    sent: u64,
    /// What went wrong, and how often.
    errors: BTreeMap<String, u64>,
}

impl Tally {
    pub(crate) fn note(&self, took: Duration, synced: &Result<u64, Error>, requests: &[Seen]) {
        let mut counts = self.counts();
        for seen in requests {
            counts.requests.push(seen.took);
            let refused = match seen.status {
                Ok(status) if status < 400 => continue,
                Ok(status) => format!("answer {status}"),
                Err(error) => error.to_string(),
            };
            *counts.errors.entry(format!("request: {refused}")).or_default() += 1;
        }
        match synced {
            Ok(sent) => {
                counts.syncs.push(took);
                counts.sent += sent;
            }
            Err(error) => *counts.errors.entry(format!("sync: {error}")).or_default() += 1,
        }
    }

    /// Syncs that succeeded.
    pub(crate) fn synced(&self) -> usize {
        self.counts().syncs.len()
    }

    /// Tells what happened in this time.
    pub(crate) fn print(&self, time: Duration) {
        let mut counts = self.counts();
        let Counts { syncs, requests, sent, errors } = &mut *counts;
        let seconds = time.as_secs_f64();
        println!("\n{:<28}{:>9}{:>9}{:>9}{:>9}{:>9}", "", "count", "a second", "p50 ms", "p95 ms", "p99 ms");
        for (what, times) in [("syncs, from when due", syncs), ("requests, to their answers", requests)] {
            times.sort_unstable();
            let at = |part: usize| {
                let time = times.get(times.len().saturating_sub(1) * part / 100).copied().unwrap_or_default();
                time.as_secs_f64() * 1e3
            };
            println!(
                "{what:<28}{:>9}{:>9.1}{:>9.1}{:>9.1}{:>9.1}",
                times.len(),
                times.len() as f64 / seconds,
                at(50),
                at(95),
                at(99)
            );
        }
        println!("{:<28}{sent:>9}{:>9.1}", "changes taken", *sent as f64 / seconds);
        println!("{:<28}{:>9}", "errors", errors.values().sum::<u64>());
        for (what, count) in errors {
            println!("  {what}: {count}");
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
