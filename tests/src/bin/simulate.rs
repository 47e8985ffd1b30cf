//! Plays many seeds of the simulation, and says what did not hold.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program for the command line")]

use anyhow::{Context, Result, bail};
use clap::Parser;
use roundsman_tests::sim::{
    Bug, Failed, INVARIANTS, Played, Player, Settings, Summary, clear, play, play_by, short_hex,
};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

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
    /// How many seeds are played at a time, each in a process of its own; without it one for each core.
    #[arg(long)]
    processes: Option<usize>,
    /// Ends after so many seeds that found something.
    #[arg(long, default_value_t = 10)]
    enough: usize,
    /// Prints the hash and the last operations of each seed.
    #[arg(long)]
    trace: bool,
    /// Plays the seeds that are asked for on standard input, a line for each, and answers with a line for each.
    #[arg(long, hide = true)]
    work: bool,
}

fn main() -> Result<ExitCode> {
    let ended = run(Args::parse());
    clear();
    ended
}

/// A process that plays one seed after the other. Several threads of one process would wait for each other in OpenSSL and
/// in SQLite, about a tenth of the time.
struct Worker {
    process: Child,
    ask: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    fn start() -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(std::env::args_os().skip(1))
            .arg("--work")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let ask = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().context("its output is piped")?);
        Ok(Self { process, ask, answers })
    }

    fn ask(&mut self, seed: u64) -> Result<Played> {
        writeln!(self.ask.as_mut().context("its input is piped")?, "{seed}")?;
        let mut answer = String::new();
        if self.answers.read_line(&mut answer)? == 0 {
            bail!("its process ended: {}", self.process.wait()?);
        }
        Ok(serde_json::from_str(&answer)?)
    }
}

impl Drop for Worker {
    /// Nothing more is asked for; waits until it has tidied up.
    fn drop(&mut self) {
        self.ask = None;
        let _ = self.process.wait();
    }
}

impl Player for Worker {
    #[allow(clippy::panic, reason = "a seed that can't be played is none that holds")]
    fn play(&mut self, seed: u64) -> Played {
        self.ask(seed).unwrap_or_else(|error| panic!("seed {seed} was not played: {error:#}"))
    }
}

/// Plays what is asked for, until nothing more is.
fn work(settings: Settings) -> Result<()> {
    for seed in std::io::stdin().lines() {
        let played = play(seed?.parse()?, settings);
        println!("{}", serde_json::to_string(&played)?);
    }
    Ok(())
}

fn run(args: Args) -> Result<ExitCode> {
    let Args { operations, bug, blind, .. } = args;
    // It is needed to the end.
    let postgres = args.postgres.map(|url| &*url.leak());
    let settings = Settings { phones: args.phones.max(1), operations, bug, blind, postgres };
    if args.work {
        work(settings)?;
        return Ok(ExitCode::SUCCESS);
    }
    let processes =
        args.processes.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let enough = if args.bug.is_some() { 1 } else { args.enough.max(1) };
    println!(
        "{} seeds from {} on, {} phones, {} operations each, {processes} at a time",
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
    let workers = (0..processes.max(1)).map(|_| Worker::start()).collect::<Result<Vec<_>>>()?;
    let summary = play_by(workers, args.first..end, enough, &progress);
    print(&summary);
    if let Some(first) = summary.failed.first() {
        let again = play(first.seed, settings);
        let same = again.trace == first.trace && again.finding == first.finding;
        println!("seed {} played again: {}", first.seed, if same { "the same" } else { "NOT THE SAME" });
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(summary: &Summary) {
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
}
