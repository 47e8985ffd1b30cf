//! The simulation: phones and their server in one process, with one clock, one network that fails, disks that fail and
//! processes that stop, all drawn from one seed. The core and the server are the real ones over the real storage.
//!
//! [`play`] plays one seed. After every quiet period it checks the [`invariants`](INVARIANTS), against a journal that is
//! kept between the phones and the server and knows nothing of how either works. A seed that fails is played again by its
//! number, step by step the same: the hash of all that happened says so.

mod attached;
mod database;
mod faults;
mod invariants;
mod journal;
mod office;
mod operations;
mod phone;
mod quiet;
mod run;
mod template;
mod world;

pub use journal::Finding;
pub use run::{Player, Progress, Summary, play_all, play_by};

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What must hold after every quiet period, and what breaks it.
pub const INVARIANTS: [(&str, &str); 19] = [
    ("phones_equal_server", "a phone that is in step holds a row that the server has not, or has otherwise"),
    (
        "cursor_never_skips",
        "a phone that has read a log to its end lacks a row of it, or has an older version",
    ),
    ("buckets_add_up", "a phone found that a bucket did not hold what the server has"),
    ("applied_exactly_once", "a change that came twice had two outcomes"),
    ("numbers_used_once", "a phone gave two changes one number"),
    ("acknowledged_never_lost", "what a call stored, or the server took, is nowhere"),
    ("rejected_kept", "a refused change is not on its phone"),
    ("removals_hold", "what was removed is there, or what was brought back is not"),
    ("conflicts_never_vanish", "a value that lost is not on its phone, or not at the server"),
    ("sent_content_is_kept", "a photo that the server said it has is not there, or is another"),
    ("unsent_content_stays", "a photo that was not sent is not on its phone, or is another"),
    ("wiped_holds_nothing", "a wiped phone still opens, or holds a database, photos or keys"),
    ("wiped_work_is_rescued", "unsent work of a wiped phone did not reach the organisation"),
    ("wiped_content_is_rescued", "an unsent photo of a wiped phone did not reach the organisation"),
    ("audit_chain_whole", "a chain of the audit log is broken, or a phone's report did not fit"),
    ("store_is_sound", "a phone's store is not of one state, or a check of the phone found something"),
    ("server_is_sound", "the server's sums, logs, chains, search or contents don't agree"),
    ("heals", "with the network back, a phone does not come into step with the server"),
    ("taps_work", "work on a phone failed though nothing was wrong"),
];

/// How a seed is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many phones.
    pub phones: usize,
    /// How many operations in all.
    pub operations: u32,
    /// The bug that is planted, if one is.
    pub bug: Option<Bug>,
    /// Phones don't compare what buckets add up to, and heal nothing by that.
    pub blind: bool,
    /// The PostgreSQL on which the server keeps what it has, each seed in a database of its own; without it: in files.
    pub postgres: Option<&'static str>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { phones: 5, operations: 200, bug: None, blind: false, postgres: None }
    }
}

/// A bug that can be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The server takes a change that it knows anew.
    SkipDuplicateCheck,
    /// A phone keeps one row that has left its bucket.
    IgnoreOneRemoval,
    /// The server keeps one value that lost nowhere.
    LoseOneConflict,
    /// A phone commits the cursor of a page before its rows.
    NonAtomicCursor,
}

impl Bug {
    /// Every bug, with the invariant that finds it.
    pub const ALL: [(Self, &'static str); 4] = [
        (Self::SkipDuplicateCheck, "applied_exactly_once"),
        (Self::IgnoreOneRemoval, "phones_equal_server"),
        (Self::LoseOneConflict, "conflicts_never_vanish"),
        (Self::NonAtomicCursor, "cursor_never_skips"),
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::SkipDuplicateCheck => "skip-duplicate-check",
            Self::IgnoreOneRemoval => "ignore-one-removal",
            Self::LoseOneConflict => "lose-one-conflict",
            Self::NonAtomicCursor => "non-atomic-cursor",
        }
    }
}

/// There is no bug of this name.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error(
    "there is no such bug: skip-duplicate-check, ignore-one-removal, lose-one-conflict or non-atomic-cursor"
)]
pub struct UnknownBug;

impl FromStr for Bug {
    type Err = UnknownBug;

    fn from_str(name: &str) -> Result<Self, UnknownBug> {
        Self::ALL.iter().map(|(bug, _)| *bug).find(|bug| bug.name() == name).ok_or(UnknownBug)
    }
}

/// What came of a seed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Played {
    /// The seed.
    pub seed: u64,
    /// A hash of all that happened.
    pub trace: [u8; 32],
    /// What happened, counted.
    pub counts: Counts,
    /// What did not hold first, if anything.
    pub finding: Option<Finding>,
    /// The last operations, the latest last.
    pub last: Vec<String>,
}

/// What happened, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Operations.
    pub operations: u64,
    /// Requests that reached the server.
    pub requests: u64,
    /// Changes that the server took.
    pub applied: u64,
    /// Changes that it refused.
    pub refused: u64,
    /// Changes that came again after they were taken or refused.
    pub repeats: u64,
    /// Values that lost in a collision.
    pub conflicts: u64,
    /// Conflicts that the office has settled.
    pub settled: u64,
    /// Records that were removed, by reps and the office.
    pub removed: u64,
    /// Records that were brought back.
    pub restored: u64,
    /// Phones that stopped and started again.
    pub phone_stops: u64,
    /// Servers that stopped and started again.
    pub server_stops: u64,
    /// Disks that failed or were full.
    pub disk_faults: u64,
    /// Phones that were wiped.
    pub wipes: u64,
    /// Changes that were rescued from wiped phones.
    pub rescued: u64,
    /// Photos, signatures and files that were attached.
    pub attached: u64,
    /// Those of them that the server has.
    pub stored: u64,
    /// Those that it has got from wiped phones.
    pub filed: u64,
    /// Quiet periods, after each of which everything was checked.
    pub quiets: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.operations += other.operations;
        self.requests += other.requests;
        self.applied += other.applied;
        self.refused += other.refused;
        self.repeats += other.repeats;
        self.conflicts += other.conflicts;
        self.settled += other.settled;
        self.removed += other.removed;
        self.restored += other.restored;
        self.phone_stops += other.phone_stops;
        self.server_stops += other.server_stops;
        self.disk_faults += other.disk_faults;
        self.wipes += other.wipes;
        self.rescued += other.rescued;
        self.attached += other.attached;
        self.stored += other.stored;
        self.filed += other.filed;
        self.quiets += other.quiets;
    }
}

/// Removes what all seeds begin with. It is made again when it is needed.
pub fn clear() {
    template::Template::clear();
}

/// Plays one seed, on a runtime and with folders of its own.
pub fn play(seed: u64, settings: Settings) -> Played {
    world::play(seed, settings)
}

/// A report of a seed that failed, with the command that plays it again.
pub struct Failed<'a>(pub &'a Played, pub Settings);

impl fmt::Display for Failed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(played, settings) = self;
        let Some(finding) = &played.finding else { return writeln!(f, "seed {} is green", played.seed) };
        writeln!(f, "seed {}: {} does not hold: {}", played.seed, finding.invariant, finding.what)?;
        writeln!(f, "the last operations:")?;
        for line in &played.last {
            writeln!(f, "  {line}")?;
        }
        write!(
            f,
            "again: cargo run --release -p roundsman-tests --bin simulate -- --first {} --seeds 1 --phones {} \
             --operations {}",
            played.seed, settings.phones, settings.operations
        )?;
        if let Some(bug) = settings.bug {
            write!(f, " --bug {}", bug.name())?;
        }
        if settings.blind {
            write!(f, " --blind")?;
        }
        if let Some(url) = settings.postgres {
            write!(f, " --postgres {url}")?;
        }
        Ok(())
    }
}

/// The first eight bytes in hex: enough to tell two hashes apart.
pub fn short_hex(hash: &[u8; 32]) -> String {
    hash.iter().take(8).fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}
