//! What a simulation sets for what the server does on a thread: its randomness, a stop before a commit, and a bug that it
//! plants.
//!
//! Only with the feature `simulation`, which no server that is run has. Without a [`Scope`] on the thread nothing here does
//! anything.

use crate::storage::StorageError;
use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use uuid::Uuid;

/// A bug that can be planted, to see that the simulation finds it.
#[cfg(feature = "planted-bugs")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A change that was taken before is taken anew when it comes again.
    SkipDuplicateCheck,
    /// A value that lost in a collision is kept nowhere, once.
    LoseOneConflict,
}

/// Where random bytes come from.
pub type Fill = Box<dyn Fn(&mut [u8]) + Send + Sync>;

/// What time it is: milliseconds since 1970.
pub type Now = Box<dyn Fn() -> u64 + Send + Sync>;

/// What is set for the threads of one simulation.
pub struct Scope {
    fill: Fill,
    now_ms: Now,
    left: AtomicI64,
    armed: AtomicBool,
    stopped: AtomicBool,
    #[cfg(feature = "planted-bugs")]
    bug: Option<Bug>,
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
    /// A scope with this randomness and this time.
    pub fn new(fill: Fill, now_ms: Now) -> Self {
        Self {
            fill,
            now_ms,
            left: AtomicI64::new(0),
            armed: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            #[cfg(feature = "planted-bugs")]
            bug: None,
            fired: AtomicBool::new(false),
        }
    }

    /// The same with this bug.
    #[cfg(feature = "planted-bugs")]
    #[must_use]
    pub fn with(self, bug: Option<Bug>) -> Self {
        Self { bug, ..self }
    }

    /// Stops the server instead of the commit after so many others: it and all that follow fail.
    pub fn stop_after(&self, commits: u32) {
        self.left.store(i64::from(commits), Ordering::SeqCst);
        self.armed.store(true, Ordering::SeqCst);
    }

    /// Goes on as if nothing had been set. Says whether the server had stopped.
    pub fn go_on(&self) -> bool {
        self.armed.store(false, Ordering::SeqCst);
        self.stopped.swap(false, Ordering::SeqCst)
    }

    /// Whether the server has stopped. No answer may leave it then.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Whether a planted bug has done something.
    pub fn has_fired(&self) -> bool {
        self.fired.load(Ordering::SeqCst)
    }
}

fn with<T>(work: impl FnOnce(&Scope) -> T) -> Option<T> {
    SCOPE.with_borrow(|scope| scope.as_deref().map(work))
}

/// Whether this thread runs under a scope.
pub(crate) fn is_entered() -> bool {
    SCOPE.with_borrow(Option::is_some)
}

/// Fills `out` if a simulation gives the randomness.
pub(crate) fn fill(out: &mut [u8]) -> bool {
    with(|scope| (scope.fill)(out)).is_some()
}

/// An id, if a simulation gives the randomness.
pub(crate) fn uuid() -> Option<Uuid> {
    with(|scope| {
        let mut random = [0; 10];
        (scope.fill)(&mut random);
        uuid::Builder::from_unix_timestamp_millis((scope.now_ms)(), &random).into_uuid()
    })
}

/// Called before a commit.
pub(crate) fn before_commit() -> Result<(), StorageError> {
    let stopped = with(|scope| {
        let stop = scope.armed.load(Ordering::SeqCst) && scope.left.fetch_sub(1, Ordering::SeqCst) <= 0;
        if stop {
            scope.stopped.store(true, Ordering::SeqCst);
        }
        stop
    });
    if stopped == Some(true) {
        return Err(StorageError::Database(io::Error::from(io::ErrorKind::Interrupted).into()));
    }
    Ok(())
}

/// Whether this bug is planted.
#[cfg(feature = "planted-bugs")]
pub(crate) fn has(bug: Bug) -> bool {
    with(|scope| {
        let planted = scope.bug == Some(bug);
        if planted {
            scope.fired.store(true, Ordering::SeqCst);
        }
        planted
    }) == Some(true)
}

/// Whether this bug is planted and has not done anything yet.
#[cfg(feature = "planted-bugs")]
pub(crate) fn once(bug: Bug) -> bool {
    with(|scope| scope.bug == Some(bug) && !scope.fired.swap(true, Ordering::SeqCst)) == Some(true)
}
