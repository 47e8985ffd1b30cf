//! Plays many seeds of the simulation, and says what did not hold.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program for the command line")]

use clap::Parser;
use roundsman_tests::sim::{Bug, Failed, INVARIANTS, Played, Settings, clear, play, play_all, short_hex};
use std::process::ExitCode;

/// Plays phones and their server in one process: a clock, a network, disks and stops that are drawn from a seed.
///
/// After every quiet period everything that must hold is checked. A seed that fails is printed with the command that plays
/// it again, step by step the same.
#[derive(Parser)]
#[command(after_help = "Examples:
  simulate --seeds 10000 --phones 5 --operations 200   the long run
  simulate --first 4711 --seeds 1 --trace              one seed, with its last operations
  simulate --bug lose-one-conflict                     is it found, and at which seed?
  simulate --postgres $(scripts/postgres start)        with the server's database in PostgreSQL")]
struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first one.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// How many phones.
    #[arg(long, default_value_t = 5)]
    phones: usize,
    /// How many operations a seed has, on all phones together.
    #[arg(long, default_value_t = 200)]
    operations: u32,
    /// A bug to plant: skip-duplicate-check, ignore-one-removal, lose-one-conflict or non-atomic-cursor. Ends at the first
    /// seed that finds it.
    #[arg(long)]
    bug: Option<Bug>,
    /// Phones don't compare what buckets add up to, so that they don't heal what a bug has done.
    #[arg(long)]
    blind: bool,
    /// The address of a PostgreSQL to keep the server's databases on, one for each seed, in place of files.
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
    /// How many seeds are played at a time; without it one for each core.
    #[arg(long)]
    threads: Option<usize>,
    /// Ends after so many seeds that found something.
    #[arg(long, default_value_t = 10)]
    enough: usize,
    /// Prints the hash and the last operations of each seed.
    #[arg(long)]
    trace: bool,
}

fn main() -> ExitCode {
    let ended = run(Args::parse());
    clear();
    ended
}

fn run(args: Args) -> ExitCode {
    let Args { operations, bug, blind, .. } = args;
    // It is needed to the end.
    let postgres = args.postgres.map(|url| &*url.leak());
    let settings = Settings { phones: args.phones.max(1), operations, bug, blind, postgres };
    let threads = args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let enough = if args.bug.is_some() { 1 } else { args.enough.max(1) };
    println!(
        "{} seeds from {} on, {} phones, {} operations each, {threads} at a time",
        args.seeds, args.first, settings.phones, settings.operations
    );
    let every = (args.seeds / 20).max(1);
    let progress = |played: &Played, done: u64| {
        if args.trace {
            println!("seed {}: {}", played.seed, short_hex(&played.trace));
            played.last.iter().for_each(|line| println!("  {line}"));
        }
        if played.finding.is_some() {
            println!("{}", Failed(played, settings));
        } else if done.is_multiple_of(every) {
            println!("{done} of {}", args.seeds);
        }
    };
    let end = args.first.saturating_add(args.seeds);
    let summary = play_all(args.first..end, settings, threads, enough, &progress);
    let counts = summary.counts;
    println!("\n{:<34}{:>12}", "seeds", summary.seeds);
    for (what, count) in [
        ("operations", counts.operations),
        ("requests that reached the server", counts.requests),
        ("changes taken", counts.applied),
        ("changes refused", counts.refused),
        ("changes that came again", counts.repeats),
        ("values that lost and were kept", counts.conflicts),
        ("conflicts settled by the office", counts.settled),
        ("records removed", counts.removed),
        ("records brought back", counts.restored),
        ("phones stopped", counts.phone_stops),
        ("servers stopped", counts.server_stops),
        ("disks that failed", counts.disk_faults),
        ("phones wiped", counts.wipes),
        ("changes rescued from them", counts.rescued),
        ("photos attached", counts.attached),
        ("photos sent", counts.stored),
        ("photos rescued", counts.filed),
        ("quiet periods checked", counts.quiets),
    ] {
        println!("{what:<34}{count:>12}");
    }
    println!();
    for (name, _) in INVARIANTS {
        let broken = |played: &&Played| played.finding.as_ref().is_some_and(|found| found.invariant == name);
        let broken = summary.failed.iter().filter(broken).count();
        println!(
            "{name:<34}{:>12}",
            if broken == 0 { "holds".to_owned() } else { format!("{broken} broke it") }
        );
    }
    println!("\n{:.1} s", summary.took.as_secs_f64());
    if let Some(first) = summary.failed.first() {
        let again = play(first.seed, settings);
        let same = again.trace == first.trace && again.finding == first.finding;
        println!("seed {} played again: {}", first.seed, if same { "the same" } else { "NOT THE SAME" });
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
