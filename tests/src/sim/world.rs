//! One seed: its world, and how it is played.

use super::database::Database;
use super::journal::{Journal, Present, Recorder};
use super::phone::{Around, Phone};
use super::template::{Template, copy, phone_folder, scratch, start_server};
use super::{Bug, Counts, Played, Settings};
use roundsman_core::platform::Clock;
use roundsman_core::simulation as phones;
use roundsman_protocol::sha256;
use roundsman_protocol::sync::{Change, Outcome};
use roundsman_server::simulation as office;
use roundsman_testkit::{
    Answers, Chance, FakeTransport, FaultyDisk, ManualClock, SeededEntropy, TestServer, Weather,
};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// How many of the last operations a report shows.
const LAST: usize = 40;

/// Operations between two quiet periods, at most.
const BUSY: u64 = 60;

/// How long an operation may take, by the runtime's clock. One that takes longer waits for what never comes.
const PATIENCE: Duration = Duration::from_mins(1);

/// What the threads of one seed run under.
#[derive(Clone)]
pub(super) struct Scopes {
    pub(super) phones: Arc<phones::Scope>,
    pub(super) server: Arc<office::Scope>,
}

impl Scopes {
    pub(super) fn new(seed: u64, bug: Option<Bug>, blind: bool, clock: &Arc<ManualClock>) -> Self {
        let (entropy, clock) = (SeededEntropy::new(!seed), Arc::clone(clock));
        let server = office::Scope::new(
            Box::new(move |out| entropy.bytes(out)),
            Box::new(move || u64::try_from(clock.now().timestamp_millis()).unwrap_or_default()),
        );
        let at_server = bug.and_then(|bug| match bug {
            Bug::SkipDuplicateCheck => Some(office::Bug::SkipDuplicateCheck),
            Bug::LoseOneConflict => Some(office::Bug::LoseOneConflict),
            Bug::IgnoreOneRemoval | Bug::NonAtomicCursor => None,
        });
        let on_phones = bug.and_then(|bug| match bug {
            Bug::SkipDuplicateCheck | Bug::LoseOneConflict => None,
            Bug::IgnoreOneRemoval => Some(phones::Bug::IgnoreOneRemoval),
            Bug::NonAtomicCursor => Some(phones::Bug::NonAtomicCursor),
        });
        let phones = phones::Scope::with(on_phones).blind(blind);
        Self { phones: Arc::new(phones), server: Arc::new(server.with(at_server)) }
    }

    /// Sets this thread under them.
    pub(super) fn enter(&self) {
        phones::enter(Some(Arc::clone(&self.phones)));
        office::enter(Some(Arc::clone(&self.server)));
    }
}

/// A runtime on which one thing happens after the other, on one thread; there is another for the few jobs that wait for what
/// the first one does. Nobody waits for its clock, which leaps to whatever is waited for once nothing is left to do.
pub(super) fn runtime(scopes: &Scopes) -> Runtime {
    let scopes = scopes.clone();
    Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .max_blocking_threads(1)
        .thread_keep_alive(Duration::from_hours(1))
        .on_thread_start(move || scopes.enter())
        .build()
        .expect("a runtime")
}

pub(super) struct World {
    pub(super) folder: TempDir,
    pub(super) chance: Chance,
    pub(super) clock: Arc<ManualClock>,
    pub(super) scopes: Scopes,
    pub(super) journal: Journal,
    pub(super) server: Present,
    pub(super) keys: Arc<roundsman_server::FirstKeys>,
    pub(super) phones: Vec<Phone>,
    pub(super) weather: Weather,
    pub(super) counts: Counts,
    /// Makes every text that is typed another one.
    pub(super) texts: u64,
    /// How many devices there were.
    pub(super) devices: u32,
    servers: u32,
    trace: [u8; 32],
    last: VecDeque<String>,
    /// Last, so that nobody is connected any more when it goes.
    database: Option<Database>,
}

/// Plays one seed.
pub(super) fn play(seed: u64, settings: Settings) -> Played {
    let template = Template::of(settings.phones, settings.postgres);
    let clock = Arc::new(ManualClock::at(
        chrono::DateTime::from_timestamp_millis(template.millis).unwrap_or_default(),
    ));
    let scopes = Scopes::new(seed, settings.bug, settings.blind, &clock);
    scopes.enter();
    let runtime = runtime(&scopes);
    let played = runtime.block_on(async {
        let mut world = World::new(seed, &template, clock, scopes.clone());
        let mut next_quiet = 20 + world.chance.below(BUSY);
        for at in 0..u64::from(settings.operations) {
            world.counts.operations += 1;
            if timeout(PATIENCE, world.operation()).await.is_err() {
                world.journal.open().find("heals", "an operation does not come to an end".to_owned());
                break;
            }
            if at >= next_quiet {
                next_quiet = at + 20 + world.chance.below(BUSY);
                world.quiet().await;
            }
            if world.found() {
                break;
            }
        }
        if !world.found() {
            world.quiet().await;
        }
        world.end(seed)
    });
    phones::enter(None);
    office::enter(None);
    played
}

impl World {
    fn new(seed: u64, template: &Template, clock: Arc<ManualClock>, scopes: Scopes) -> Self {
        let folder = scratch();
        template.copy_to(folder.path());
        let mut chance = Chance::new(seed);
        let database = template.copy_database();
        let (place, keys) = (folder.path().join("server"), Some(Arc::clone(&template.keys)));
        let server = start_server(&place, database.as_ref(), Arc::clone(&clock), keys);
        let server: Present = Arc::new(RwLock::new(server));
        let journal = Journal::default();
        let bad = chance.below(20) as u32;
        let weather = Weather {
            lose_request: bad,
            lose_answer: bad,
            double: bad / 3,
            late: bad / 3,
            cut: bad,
            latency_ms: 900,
        };
        let mut phones = Vec::new();
        for (slot, rep) in template.reps.iter().enumerate() {
            let recorder = Arc::new(Recorder {
                server: Arc::clone(&server),
                scope: Arc::clone(&scopes.server),
                journal: journal.clone(),
                device: AtomicU32::new(slot as u32),
            });
            let answers: Arc<dyn Answers> = Arc::<Recorder>::clone(&recorder);
            let network = FakeTransport::new(answers, Arc::clone(&clock));
            network.weather(weather, chance.below(u64::MAX));
            let stopped = Arc::clone(&scopes.phones);
            let around = Around {
                network,
                recorder,
                disk: Arc::new(FaultyDisk::unless(move || stopped.is_stopped())),
                entropy: Arc::new(SeededEntropy::new(chance.below(u64::MAX))),
                clock: Arc::clone(&clock),
            };
            let place = phone_folder(folder.path(), slot);
            let phone = Phone::start(slot, *rep, folder.path(), place, around).expect("the phone opens");
            phone.unlock().expect("the passcode is right");
            phones.push(phone);
        }
        let devices = phones.len() as u32;
        Self {
            folder,
            chance,
            clock,
            scopes,
            journal,
            server,
            keys: Arc::clone(&template.keys),
            phones,
            weather,
            counts: Counts::default(),
            texts: 0,
            devices,
            servers: 0,
            trace: [0; 32],
            last: VecDeque::new(),
            database,
        }
    }

    /// The server as it is now.
    pub(super) fn office(&self) -> Arc<TestServer> {
        Arc::clone(&self.server.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The server is killed and started again, from its files as they are, or on its database, which has lost its
    /// connections.
    pub(super) fn kill_server(&mut self) {
        self.counts.server_stops += 1;
        self.servers += 1;
        let old = self.office();
        let left: PathBuf = self.folder.path().join(format!("server-{}", self.servers));
        copy(old.dir(), &left);
        self.scopes.server.go_on();
        if self.database.is_some() {
            old.stop();
        }
        let (clock, keys) = (Arc::clone(&self.clock), Some(Arc::clone(&self.keys)));
        let next = start_server(&left, self.database.as_ref(), clock, keys);
        *self.server.write().unwrap_or_else(PoisonError::into_inner) = next;
        let gone = old.dir().to_owned();
        drop(old);
        let _ = std::fs::remove_dir_all(gone);
    }

    /// Writes down what happened, for the hash and for the report.
    pub(super) fn note(&mut self, line: String) {
        self.trace = sha256(&[&self.trace, line.as_bytes()]);
        if self.last.len() == LAST {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    pub(super) fn found(&self) -> bool {
        !self.journal.open().findings.is_empty()
    }

    /// A text that nobody typed before.
    pub(super) fn text(&mut self) -> String {
        self.texts += 1;
        format!("t{}.", self.texts)
    }

    fn end(self, seed: u64) -> Played {
        let book = self.journal.open();
        let mut counts = self.counts;
        counts += book.counted;
        (counts.requests, counts.repeats) = (book.requests, book.repeats);
        counts.attached = book.attached.len() as u64;
        counts.stored = book.attached.values().filter(|attached| attached.stored).count() as u64;
        for turn in &book.turns {
            *if turn.stands { &mut counts.restored } else { &mut counts.removed } += 1;
        }
        for sent in book.sent.values() {
            match &sent.outcome {
                Some(Outcome::Applied { conflicts, .. }) => {
                    counts.applied += 1;
                    counts.conflicts += conflicts.len() as u64;
                    counts.removed += u64::from(sent.change == Change::Delete);
                    counts.restored += u64::from(sent.change == Change::Restore);
                }
                Some(Outcome::Rejected { .. }) => counts.refused += 1,
                None => {}
            }
        }
        Played {
            seed,
            trace: self.trace,
            counts,
            finding: book.findings.first().cloned(),
            last: self.last.iter().cloned().collect(),
        }
    }
}
