//! Pages on their way into the store: read here while the ones before them are stored on another thread.

use super::round_trip::{begin, on};
use super::{Progress, Step};
use crate::Error;
use crate::store::{Arrival, Store};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// Rows that go into one transaction where many come: each has a price that does not depend on how many they are.
const ENOUGH: usize = 8_000;

/// Rows that go into the first: somebody looks at an empty list until then.
const FIRST: usize = 2_000;

/// Rows that are kept in memory while others are stored.
const MOST: usize = 8_000;

/// How long rows wait for more. Over a slow connection each page is stored by itself.
const LINGER: Duration = Duration::from_millis(150);

/// Pages that wait, and those that are being stored.
pub(super) struct Intake<'a> {
    store: &'a Arc<Store>,
    progress: &'a dyn Progress,
    waiting: Vec<Arrival>,
    waiting_rows: usize,
    /// When those that wait have waited long enough.
    due: Instant,
    storing: Option<Storing>,
    /// Rows that were stored.
    pub(super) rows: u64,
    /// Bytes of the answer that were received.
    pub(super) bytes: u64,
}

struct Storing {
    job: JoinHandle<Result<(), Error>>,
    rows: usize,
    left: u64,
}

impl<'a> Intake<'a> {
    /// None are on their way; `rows` were stored by earlier answers.
    pub(super) fn new(store: &'a Arc<Store>, progress: &'a dyn Progress, rows: u64) -> Self {
        Self {
            store,
            progress,
            waiting: Vec::new(),
            waiting_rows: 0,
            due: Instant::now(),
            storing: None,
            rows,
            bytes: 0,
        }
    }

    /// Waits for something else, usually the next page, and stores meanwhile what is there. What was begun is finished,
    /// so the other is never dropped half-way.
    pub(super) async fn meanwhile<T>(&mut self, other: impl Future<Output = T>) -> Result<T, Error> {
        let mut other = pin!(other);
        loop {
            if self.storing.is_none() && self.is_due() {
                self.begin();
            }
            match &mut self.storing {
                None if self.waiting.is_empty() => return Ok(other.await),
                None => tokio::select! {
                    biased;
                    done = &mut other => return Ok(done),
                    () = sleep_until(self.due) => {}
                },
                Some(storing) => tokio::select! {
                    biased;
                    stored = &mut storing.job => self.stored(stored)?,
                    done = &mut other => return Ok(done),
                },
            }
        }
    }

    /// Takes a page; waits while too many are there.
    pub(super) async fn take(&mut self, page: Arrival) -> Result<(), Error> {
        if self.waiting.is_empty() {
            self.due = Instant::now() + LINGER;
        }
        if page.left() == 0 {
            self.due = Instant::now();
        }
        self.waiting_rows += page.rows();
        self.waiting.push(page);
        // How many pages go into one commit is a matter of how fast they are stored, which is not the same twice.
        #[cfg(feature = "simulation")]
        if crate::simulation::is_entered() {
            return self.finish().await;
        }
        if self.storing.is_none() && self.is_due() {
            self.begin();
        }
        while self.waiting_rows > MOST {
            self.finish_one().await?;
            self.begin();
        }
        Ok(())
    }

    /// Stores everything that is there.
    pub(super) async fn finish(&mut self) -> Result<(), Error> {
        while self.storing.is_some() || !self.waiting.is_empty() {
            self.finish_one().await?;
            self.begin();
        }
        Ok(())
    }

    fn is_due(&self) -> bool {
        let enough = if self.rows == 0 { FIRST } else { ENOUGH };
        !self.waiting.is_empty() && (self.waiting_rows >= enough || Instant::now() >= self.due)
    }

    fn begin(&mut self) {
        if self.storing.is_some() || self.waiting.is_empty() {
            return;
        }
        let pages = std::mem::take(&mut self.waiting);
        let rows = std::mem::take(&mut self.waiting_rows);
        let left = pages.last().map_or(0, Arrival::left);
        let store = Arc::clone(self.store);
        let job = begin(move || Ok(store.store_pages(&pages)?));
        self.storing = Some(Storing { job, rows, left });
    }

    async fn finish_one(&mut self) -> Result<(), Error> {
        match &mut self.storing {
            Some(storing) => {
                let stored = (&mut storing.job).await;
                self.stored(stored)
            }
            None => Ok(()),
        }
    }

    fn stored(&mut self, stored: Result<Result<(), Error>, tokio::task::JoinError>) -> Result<(), Error> {
        let done = self.storing.take();
        stored.unwrap_or(Err(Error::Cancelled))?;
        if let Some(Storing { rows, left, .. }) = done {
            self.rows += rows as u64;
            self.progress.progress(Step::Receiving { rows: self.rows, left, bytes: self.bytes });
        }
        Ok(())
    }
}

/// Makes the indexes that waited for rows, and ends the log they came by, however the answer ended.
pub(super) async fn settle(store: &Arc<Store>) -> Result<(), Error> {
    on(store, |store| {
        store.settle_indexes()?;
        // A log that stays long is no fault of the sync's; and the answer may have closed the store.
        if let Err(error) = store.catch_up() {
            tracing::debug!(%error, "the log stays as it is for now");
        }
        Ok(())
    })
    .await
}
