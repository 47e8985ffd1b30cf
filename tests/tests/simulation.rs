//! The simulation in small: many seeds hold, each plays the same twice, and planted bugs are found.
//!
//! The long run is a program: `cargo run --release -p roundsman-tests --bin simulate -- --help`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::print_stdout)]

use roundsman_tests::postgres::empty_database;
use roundsman_tests::sim::{Bug, Failed, Played, Settings, play, play_all};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

/// Small enough for every change of the code: many phones and long histories are for the long run.
const SMALL: Settings = Settings { phones: 3, operations: 60, bug: None, blind: false, postgres: None };

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[test]
fn two_hundred_seeds_hold() {
    let summary = play_all(0..200, SMALL, threads(), 1, &|_: &Played, _: u64| {});
    if let Some(failed) = summary.failed.first() {
        panic!("{}", Failed(failed, SMALL));
    }
    assert_eq!(summary.seeds, 200);
    let counts = summary.counts;
    println!("{counts:?} in {:?}", summary.took);
    // What never happens is not tested.
    for (what, count) in [
        ("taken", counts.applied),
        ("refused", counts.refused),
        ("repeats", counts.repeats),
        ("conflicts", counts.conflicts),
        ("settled", counts.settled),
        ("removed", counts.removed),
        ("restored", counts.restored),
        ("phones stopped", counts.phone_stops),
        ("servers stopped", counts.server_stops),
        ("disks failed", counts.disk_faults),
        ("wipes", counts.wipes),
        ("attached", counts.attached),
        ("sent", counts.stored),
    ] {
        assert!(count > 0, "{what}");
    }
}

#[test]
fn a_seed_plays_the_same_twice() {
    for seed in 1_000..1_020 {
        let (one, other) = (play(seed, SMALL), play(seed, SMALL));
        assert_eq!(one.last, other.last, "seed {seed}");
        assert_eq!((one.trace, one.counts), (other.trace, other.counts), "seed {seed}");
    }
}

/// The same promises with the server's database in PostgreSQL, and the same seeds play the same there too.
#[test]
fn twenty_seeds_hold_on_postgresql_and_play_the_same_twice() {
    let base: &'static str = empty_database().url.expose().to_owned().leak();
    let settings = Settings { postgres: Some(base), ..SMALL };
    let traces = Mutex::new([BTreeMap::new(), BTreeMap::new()]);
    for turn in 0..2 {
        let keep = |played: &Played, _: u64| {
            traces.lock().unwrap()[turn].insert(played.seed, (played.trace, played.last.clone()));
        };
        let summary = play_all(0..20, settings, threads(), 1, &keep);
        if let Some(failed) = summary.failed.first() {
            panic!("{}", Failed(failed, settings));
        }
        assert!(summary.counts.server_stops > 0 && summary.counts.applied > 0);
    }
    let [one, other] = traces.into_inner().unwrap();
    for (seed, played) in &one {
        assert_eq!(Some(played), other.get(seed), "seed {seed}");
    }
}

/// Phones are blind for sums, so that they don't heal what the bug does: the simulation's own eyes must see it.
#[test]
fn planted_bugs_are_caught() {
    for (bug, invariant) in Bug::ALL {
        let settings =
            Settings { phones: 5, operations: 200, bug: Some(bug), blind: true, ..Settings::default() };
        // A bug may show in more than one way: what it breaks by its nature is among the first.
        let summary = play_all(0..200, settings, threads(), 4, &|_: &Played, _: u64| {});
        let named = |played: &&Played| played.finding.as_ref().is_some_and(|it| it.invariant == invariant);
        let first = summary.failed.first().unwrap_or_else(|| panic!("{} was not found", bug.name()));
        let caught = summary.failed.iter().find(named);
        let caught = caught.unwrap_or_else(|| panic!("{}: {}", bug.name(), Failed(first, settings)));
        println!("{}: {invariant} at seed {}", bug.name(), caught.seed);
    }
}

/// What phones do about it by themselves: a bucket that is not what it should be is noticed, and told to the server.
#[test]
fn phones_notice_a_removal_that_was_ignored_by_their_sums() {
    let settings =
        Settings { phones: 5, operations: 200, bug: Some(Bug::IgnoreOneRemoval), ..Settings::default() };
    let summary = play_all(0..200, settings, threads(), 1, &|_: &Played, _: u64| {});
    let found = summary.failed.first().and_then(|caught| caught.finding.as_ref()).unwrap();
    assert_eq!(found.invariant, "buckets_add_up", "{}", found.what);
}

#[test]
fn nothing_that_is_shipped_has_the_seams_of_the_simulation() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut looked_at = 0;
    for entry in fs::read_dir(root).unwrap() {
        let folder = entry.unwrap();
        let (name, manifest) = (folder.file_name(), folder.path().join("Cargo.toml"));
        let Ok(text) = fs::read_to_string(manifest) else { continue };
        looked_at += 1;
        let defines = name == "core" || name == "server";
        let named = |line: &&str| line.contains("planted-bugs") || line.contains("\"simulation\"");
        let uses: Vec<&str> = text.lines().filter(named).collect();
        if defines {
            assert_eq!(uses, ["planted-bugs = [\"simulation\"]"], "{name:?} has it in no other feature");
        } else if name != "tests" {
            assert!(uses.is_empty(), "{name:?}: {uses:?}");
        }
    }
    assert!(looked_at > 6, "{looked_at}");
}
