//! A phone is killed at any moment of what it does, again and again: no acknowledged row is lost, and exactly one
//! passcode opens it, or none for good.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]

use roundsman_tests::steps::scenarios;
use roundsman_tests::steps::sweep::{Sweep, Verdict, parallel};
use std::collections::BTreeMap;
use std::time::Duration;

/// Kills in one run; `ROUNDSMAN_KILLS` sets another number.
const KILLS: usize = 1_000;

/// What is killed.
const KINDS: [&str; 6] =
    ["unlock", "many visits", "change passcode", "new share", "lock while open", "wipe while open"];

#[test]
fn no_kill_loses_an_acknowledged_row_or_leaves_a_half_state() {
    let kills = std::env::var("ROUNDSMAN_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(KILLS);
    let kinds: Vec<_> = KINDS.iter().map(|kind| scenarios::named(kind).expect("a scenario")).collect();
    let sweep =
        Sweep::record(env!("CARGO_BIN_EXE_steps"), &kinds).unwrap_or_else(|error| panic!("{error:#}"));
    let rounds: Vec<usize> = (0..kills).collect();
    let done = parallel(&rounds, |round| {
        let recorded = &sweep.recorded[round % KINDS.len()];
        // Spread over the whole run, in steps that share no factor with the work's own rhythm.
        let span = recorded.took.as_micros().max(1) as u64;
        let after = Duration::from_micros((round / KINDS.len()) as u64 * 7_919 % span);
        sweep.kill(recorded, after)
    });
    let mut broken = Vec::new();
    for (n, recorded) in sweep.recorded.iter().enumerate() {
        let mut words: BTreeMap<&str, usize> = BTreeMap::new();
        let mut promises = 0;
        let of_kind: Vec<_> = done.iter().skip(n).step_by(KINDS.len()).collect();
        for (verdict, said) in &of_kind {
            promises += said;
            match verdict {
                Verdict::Legal(word) => *words.entry(word).or_default() += 1,
                Verdict::Broken(why) => broken.push(format!("{}: {why}", recorded.scenario.name)),
            }
        }
        let words: Vec<String> = words.iter().map(|(word, count)| format!("{count} {word}")).collect();
        let (name, words) = (recorded.scenario.name, words.join(", "));
        println!("{name}: {} kills, {promises} promises, all kept: {words}", of_kind.len());
    }
    println!("{kills} kills, {} broken", broken.len());
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
