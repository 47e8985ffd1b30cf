//! Every durable step fails in every way, and the phone is whole or finished after it; and every sync that is left
//! out is missed. `docs/testing.md` says how to read the tables.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]

use roundsman_tests::steps::scenarios::SCENARIOS;
use roundsman_tests::steps::shim::{Fault, Kind};
use roundsman_tests::steps::sweep::{Recorded, Sweep, Verdict, parallel};
use std::collections::{BTreeMap, BTreeSet};

/// Fewer named points than this are not all there are.
const LEAST_POINTS: usize = 400;

/// Whether every call is hit, in place of one of each name.
fn full() -> bool {
    std::env::var("ROUNDSMAN_POINTS").is_ok_and(|mode| mode == "full")
}

fn record() -> Sweep {
    let all: Vec<_> = SCENARIOS.iter().collect();
    Sweep::record(env!("CARGO_BIN_EXE_steps"), &all).unwrap_or_else(|error| panic!("{error:#}"))
}

/// One step, to be hit in one way.
struct Hit<'a> {
    recorded: &'a Recorded,
    name: &'a str,
    number: usize,
    kind: Kind,
}

/// The steps to hit: all, or of each name one for each kind, at different places of the run.
fn hits(sweep: &Sweep) -> Vec<Hit<'_>> {
    let mut hits = Vec::new();
    for recorded in &sweep.recorded {
        for (name, numbers) in recorded.points() {
            for (n, kind) in Kind::ALL.into_iter().enumerate() {
                let some = [numbers[n * numbers.len() / Kind::ALL.len()]];
                let chosen = if full() { numbers.as_slice() } else { &some };
                hits.extend(chosen.iter().map(|&number| Hit { recorded, name, number, kind }));
            }
        }
        // After the last step what was promised must outlast the power.
        for kind in [Kind::Power, Kind::Torn] {
            hits.push(Hit { recorded, name: "(end)", number: 0, kind });
        }
    }
    hits
}

#[test]
fn a_fault_at_any_durable_step_leaves_the_phone_whole_or_finished() {
    let sweep = record();
    let hits = hits(&sweep);
    let verdicts = parallel(&hits, |hit| {
        let fault = Fault { at: hit.number, kind: Some(hit.kind), nosync: vec![] };
        sweep.play(hit.recorded, fault)
    });
    let mut table: BTreeMap<(&str, &str), BTreeMap<Kind, BTreeSet<&str>>> = BTreeMap::new();
    let mut broken = Vec::new();
    for (hit, verdict) in hits.iter().zip(&verdicts) {
        let word = match verdict {
            Verdict::Legal(word) => word,
            Verdict::Broken(why) => {
                let kind = hit.kind.name();
                broken.push(format!(
                    "{}: {kind} at step {} ({}): {why}",
                    hit.recorded.scenario.name, hit.number, hit.name
                ));
                "BROKEN"
            }
        };
        let row = table.entry((hit.recorded.scenario.name, hit.name)).or_default();
        row.entry(hit.kind).or_default().insert(word);
    }
    println!(
        "{:<20} {:<28} {}",
        "scenario",
        "point",
        Kind::ALL.map(|kind| format!("{:<16}", kind.name())).concat()
    );
    for ((scenario, name), row) in &table {
        let words = row.values().map(|words| {
            let words: Vec<&str> = words.iter().copied().collect();
            format!("{:<16}", words.join("/"))
        });
        println!("{scenario:<20} {name:<28} {}", words.collect::<String>());
    }
    println!("{} named points, {} cases, {} broken", table.len(), hits.len(), broken.len());
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(table.len() >= LEAST_POINTS, "only {} named points", table.len());
}

/// Syncs that no single power cut misses, with the reason why they stay.
const SPARE: &[(&str, &str)] = &[
    ("creating.new", "the mark is empty: its name says all, and the folder's sync keeps that"),
    (
        "keys/mark.new",
        "the first mark: without it, or with a part of it, the vault is known as it was before",
    ),
    (
        "vault.db-journal",
        "SQLite's own, while the database is made: until the control file is there it is cleared away",
    ),
];

/// A sync that is left out, each time that a scenario comes to it.
struct Mutant<'a> {
    recorded: &'a Recorded,
    files: Vec<String>,
    /// The number of the first step that is such a sync.
    first: usize,
}

impl Mutant<'_> {
    /// The power cuts that come `later` steps after the first one; with 0, those at the end of the run.
    fn cuts(&self, later: usize) -> Vec<Fault> {
        let at = if later == 0 { 0 } else { self.first + later };
        let kinds = if at <= self.recorded.steps.len() { [Kind::Power, Kind::Torn].as_slice() } else { &[] };
        kinds.iter().map(|&kind| Fault { at, kind: Some(kind), nosync: self.files.clone() }).collect()
    }

    /// What was broken by the first of these power cuts that broke anything.
    fn caught(&self, sweep: &Sweep, later: usize) -> Option<String> {
        self.cuts(later).into_iter().find_map(|fault| match sweep.play(self.recorded, fault) {
            Verdict::Broken(why) => Some(format!("{}: {why}", self.recorded.scenario.name)),
            Verdict::Legal(_) => None,
        })
    }
}

/// The sync that a step is: the two files of a pair are synced in the same place.
fn sync_of(step: &str) -> Option<String> {
    let file = step.strip_prefix("sync ")?;
    let of_pair = ["control", "slots"].into_iter().find(|pair| file.starts_with(pair));
    Some(of_pair.map_or_else(|| file.to_owned(), |pair| format!("{pair}.*{}", &file[pair.len() + 2..])))
}

#[test]
fn every_sync_that_is_left_out_is_missed() {
    let sweep = record();
    let mut syncs: BTreeMap<String, Vec<Mutant<'_>>> = BTreeMap::new();
    for recorded in &sweep.recorded {
        let mut here: BTreeMap<String, Mutant<'_>> = BTreeMap::new();
        for (name, numbers) in recorded.points() {
            let Some(sync) = sync_of(name) else { continue };
            let mutant =
                here.entry(sync).or_insert(Mutant { recorded, files: vec![], first: recorded.steps.len() });
            mutant.files.extend(name.strip_prefix("sync ").map(str::to_owned));
            mutant.first = mutant.first.min(numbers[0]);
        }
        for (sync, mutant) in here {
            syncs.entry(sync).or_default().push(mutant);
        }
    }
    // It is caught if any scenario misses it: at its end, or one step after the sync, or two, and so on.
    let longest = sweep.recorded.iter().map(|recorded| recorded.steps.len()).max().unwrap_or_default();
    let depth = if full() { longest } else { 12 };
    let names: Vec<_> = syncs.iter().collect();
    let caught = parallel(&names, |(_, mutants)| {
        (0..=depth).find_map(|later| mutants.iter().find_map(|mutant| mutant.caught(&sweep, later)))
    });
    let mut missed = Vec::new();
    for ((name, mutants), caught) in names.iter().zip(&caught) {
        let spare = SPARE.iter().find(|(spare, _)| spare == name);
        println!(
            "{name:<28} {:>3} runs  {}",
            mutants.len(),
            match (caught, spare) {
                (Some(why), _) => format!("caught    {why}"),
                (None, Some((_, why))) => format!("spare     {why}"),
                (None, None) => "NOT CAUGHT".to_owned(),
            }
        );
        if caught.is_none() && spare.is_none() {
            missed.push(name);
        }
    }
    let count = caught.iter().flatten().count();
    println!("{} syncs by name, {count} caught when left out, {} spare", names.len(), names.len() - count);
    assert!(missed.is_empty(), "nobody misses {missed:?}");
}
