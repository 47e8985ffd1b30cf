//! Whatever happens to a phone before it is locked or wiped, the server and the sealed outbox hold all that was
//! committed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

mod vault_kit;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use roundsman_core::platform::{Entropy, OsEntropy};
use roundsman_core::protocol::command::Kind;
use std::collections::BTreeSet;
use std::fs;
use uuid::Uuid;
use vault_kit::{Fault, Session, TEMPLATE, sealed};

/// Random histories in one run; `ROUNDSMAN_HISTORIES` sets another number, and `ROUNDSMAN_SEED` the seed of a run before.
const HISTORIES: u64 = 1_000;

/// Threads that play them. A fixed number, so that a seed makes the same histories everywhere.
const THREADS: u64 = 4;

/// What happens to a phone.
#[derive(Clone, Debug)]
enum Event {
    Add,
    Settle(usize, bool),
    /// The next call to the disk after so many fails, once or from then on.
    Fault(usize, bool),
    Kill,
    /// The app is stopped after a change is sealed and before it is committed.
    CutCommit,
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => Just(Event::Add),
        3 => (any::<usize>(), prop::bool::weighted(0.3)).prop_map(|(n, reject)| Event::Settle(n, reject)),
        2 => (0usize..9, any::<bool>()).prop_map(|(n, once)| Event::Fault(n, once)),
        1 => Just(Event::Kill),
        1 => Just(Event::CutCommit),
        1 => Just(Event::Restart),
    ]
}

/// What happens to a phone, and how it ends.
#[derive(Clone, Debug)]
struct History {
    events: Vec<Event>,
    /// Whether it is locked at the end, or wiped.
    lock: bool,
    /// Whether the number of the last commit has been noted outside the store.
    seen: bool,
    /// The app is killed after so many calls to the disk while it is locked or wiped.
    stop: Option<usize>,
}

fn history() -> impl Strategy<Value = History> {
    let events = prop::collection::vec(event(), 1..24);
    (events, any::<bool>(), any::<bool>(), prop::option::of(0usize..40))
        .prop_map(|(events, lock, seen, stop)| History { events, lock, seen, stop })
}

#[test]
fn the_server_and_the_outbox_hold_all_that_was_committed() {
    let number = |name: &str| std::env::var(name).ok().map(|number| number.parse::<u64>().unwrap());
    let histories = number("ROUNDSMAN_HISTORIES").unwrap_or(HISTORIES);
    let seed = number("ROUNDSMAN_SEED")
        .unwrap_or_else(|| u64::from_be_bytes((&OsEntropy as &dyn Entropy).bytes().unwrap()));
    println!("{histories} random histories, seed {seed}");
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                let mut bytes = [0; 32];
                bytes[..8].copy_from_slice(&seed.to_be_bytes());
                bytes[8..16].copy_from_slice(&thread.to_be_bytes());
                let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
                let cases = (histories + THREADS - 1 - thread) / THREADS;
                let config = ProptestConfig {
                    cases: u32::try_from(cases).unwrap(),
                    failure_persistence: None,
                    ..ProptestConfig::default()
                };
                if let Err(error) = TestRunner::new_with_rng(config, rng).run(&history(), play) {
                    panic!("seed {seed}: {error}");
                }
            });
        }
    });
}

fn play(History { events, lock, seen, stop }: History) -> Result<(), TestCaseError> {
    let (template, office) = &*TEMPLATE;
    let (mut phone, mut office) = (template.copy(), office.clone());
    let mut session = Session::open(&phone, &office);
    let mut server = BTreeSet::new();
    let mut committed = BTreeSet::new();
    let mut failed = 0;
    for event in events {
        match event {
            Event::Add => {
                let before = session.unsent();
                let added = session.add();
                let now: BTreeSet<Uuid> = session.unsent().difference(&before).copied().collect();
                prop_assert_eq!(now.len(), usize::from(added.is_ok()));
                failed += usize::from(added.is_err());
                committed.extend(now);
            }
            Event::Settle(number, reject) => server.extend(session.settle(number, reject)),
            Event::Fault(number, once) => {
                phone.disk.fail_at(number, if once { Fault::Once } else { Fault::Kill });
                continue;
            }
            Event::Kill => {
                phone = phone.copy();
                session = Session::open(&phone, &office);
            }
            Event::CutCommit => {
                phone.heal();
                let left = phone.copy();
                session.add().unwrap();
                let after = phone.copy();
                let _ = fs::remove_dir_all(left.file("outbox"));
                fs::rename(after.file("outbox"), left.file("outbox")).unwrap();
                phone = left;
                session = Session::open(&phone, &office);
            }
            Event::Restart => {
                phone.heal();
                session.close(&phone);
                session = Session::open(&phone, &office);
            }
        }
        if phone.disk.failed() {
            phone.heal();
        }
    }
    phone.heal();
    let unsent: BTreeSet<Uuid> = committed.difference(&server).copied().collect();
    prop_assert!(session.unsent().is_subset(&unsent));
    if seen {
        session.app.vault.note_commit(session.store.commit_number()).unwrap();
    }
    let Session { mut app, store, .. } = session;
    drop(store);
    let kind = office.wipe();
    office.order(if lock { Kind::Lock } else { kind });
    if let Some(number) = stop {
        phone.disk.fail_at(number, Fault::Kill);
        let _ = app.talk(&mut office);
        phone.heal();
        drop(app);
        app = phone.start().unwrap();
    }
    app.talk(&mut office).unwrap();
    let held = if lock { sealed(&phone) } else { office.rescued() };
    prop_assert!(unsent.is_subset(&held));
    // A change that failed may be held too, if the disk broke before it could be taken back.
    prop_assert!(held.difference(&committed).count() <= failed);
    Ok(())
}
