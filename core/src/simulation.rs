//! Faults that a simulation sets for what runs on a thread: a process that stops before a commit, and bugs that it plants.
//!
//! Only with the feature `simulation`, which no build for a phone has. Without a [`Scope`] on the thread nothing here does
//! anything.

use crate::Client;
use crate::store::StoreError;
use roundsman_model::{Bucket, DeviceSeq, Fields, Rev};
use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use uuid::Uuid;

pub use crate::store::RowState;

/// A bug that can be planted, to see that the simulation finds it.
#[cfg(feature = "planted-bugs")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A row that has left its bucket stays on the phone, once.
    IgnoreOneRemoval,
    /// The cursor of a page is committed before its rows.
    NonAtomicCursor,
}

/// What is set for the threads of one simulation.
#[derive(Default)]
pub struct Scope {
    /// Commits until the process stops; below 0 it goes on.
    left: AtomicI64,
    armed: AtomicBool,
    stopped: AtomicBool,
    #[cfg(feature = "planted-bugs")]
    bug: Option<Bug>,
    #[cfg(feature = "planted-bugs")]
    blind: bool,
    #[cfg(feature = "planted-bugs")]
    fired: AtomicBool,
}

thread_local! {
    static SCOPE: RefCell<Option<Arc<Scope>>> = const { RefCell::new(None) };
}

/// Sets what this thread runs under, until it is set anew.
pub fn enter(scope: Option<Arc<Scope>>) {
    SCOPE.set(scope);
}

impl Scope {
    /// A scope with this bug.
    #[cfg(feature = "planted-bugs")]
    pub fn with(bug: Option<Bug>) -> Self {
        Self { bug, ..Self::default() }
    }

    /// The same with phones that don't compare what buckets add up to, so that they heal nothing: then others must find
    /// what is wrong.
    #[cfg(feature = "planted-bugs")]
    #[must_use]
    pub fn blind(self, blind: bool) -> Self {
        Self { blind, ..self }
    }

    /// Stops the process instead of the commit after so many others: it and all that follow fail.
    pub fn stop_after(&self, commits: u32) {
        self.left.store(i64::from(commits), Ordering::SeqCst);
        self.armed.store(true, Ordering::SeqCst);
    }

    /// Goes on as if nothing had been set. Says whether the process had stopped.
    pub fn go_on(&self) -> bool {
        self.armed.store(false, Ordering::SeqCst);
        self.stopped.swap(false, Ordering::SeqCst)
    }

    /// Whether the process has stopped. A disk under it must fail too.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Whether a planted bug has done something. Always false without the feature `planted-bugs`.
    pub fn has_fired(&self) -> bool {
        #[cfg(feature = "planted-bugs")]
        return self.fired.load(Ordering::SeqCst);
        #[cfg(not(feature = "planted-bugs"))]
        false
    }
}

/// Whether this thread runs under a scope.
pub(crate) fn is_entered() -> bool {
    SCOPE.with_borrow(Option::is_some)
}

/// Called in place of a commit's last step.
pub(crate) fn before_commit() -> Result<(), StoreError> {
    SCOPE.with_borrow(|scope| {
        let Some(scope) = scope else { return Ok(()) };
        if scope.armed.load(Ordering::SeqCst) && scope.left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            scope.stopped.store(true, Ordering::SeqCst);
            return Err(StoreError::Io { kind: io::ErrorKind::Interrupted });
        }
        Ok(())
    })
}

/// Whether this bug is planted.
#[cfg(feature = "planted-bugs")]
pub(crate) fn has(bug: Bug) -> bool {
    SCOPE.with_borrow(|scope| {
        let planted = scope.as_ref().filter(|scope| scope.bug == Some(bug));
        if let Some(scope) = planted {
            scope.fired.store(true, Ordering::SeqCst);
        }
        planted.is_some()
    })
}

/// Whether phones don't compare what buckets add up to.
#[cfg(feature = "planted-bugs")]
pub(crate) fn is_blind() -> bool {
    SCOPE.with_borrow(|scope| scope.as_ref().is_some_and(|scope| scope.blind))
}

/// Whether this bug is planted and has not done anything yet.
#[cfg(feature = "planted-bugs")]
pub(crate) fn once(bug: Bug) -> bool {
    SCOPE.with_borrow(|scope| {
        let planted = scope.as_ref().filter(|scope| scope.bug == Some(bug));
        planted.is_some_and(|scope| !scope.fired.swap(true, Ordering::SeqCst))
    })
}

/// A row on the phone, as it is stored.
#[derive(Clone, PartialEq)]
pub struct PhoneRow {
    /// The entity.
    pub entity: &'static str,
    /// The record.
    pub id: Uuid,
    /// The server's version that it is based on.
    pub rev: Rev,
    /// The bucket it came in.
    pub bucket: Bucket,
    /// How it stands to the server's.
    pub state: RowState,
    /// Its fields.
    pub fields: Fields,
}

/// A change in the phone's outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhoneChange {
    /// Its number.
    pub seq: DeviceSeq,
    /// Its own id.
    pub id: Uuid,
    /// The record it changes.
    pub record: Uuid,
    /// Whether the server has refused it.
    pub refused: bool,
}

/// Everything in the phone's outbox, oldest first.
///
/// # Errors
/// The vault is not open, or the store is damaged.
pub fn changes(client: &Client) -> Result<Vec<PhoneChange>, crate::Error> {
    Ok(client.simulated_store()?.every_change()?)
}

/// Every row on the phone, whoever may see it, by entity and id.
///
/// # Errors
/// The vault is not open, or the store is damaged.
pub fn rows(client: &Client) -> Result<Vec<PhoneRow>, crate::Error> {
    Ok(client.simulated_store()?.every_row()?)
}

/// Changes the phone's database by a statement of SQL, past everything that keeps it in step: damage that only a
/// comparison finds. How many rows it changed.
///
/// # Errors
/// The vault is not open, or the statement can't be run.
pub fn behind(client: &Client, sql: &str) -> Result<usize, crate::Error> {
    Ok(client.simulated_store()?.behind(sql)?)
}
