//! Everything, one after the other, and a page of it.

use crate::peers::{self, Ours, Size};
use crate::report::{Goal, Report};
use crate::workload::Load;
use crate::{attachments, initial_sync, latency, store, upload, use_at_size, wipe, wire};
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use tokio::task::block_in_place;

/// How much, and what of it.
#[derive(clap::Args)]
pub(crate) struct Choice {
    /// The page to write.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Tiny sizes, only to see that everything runs. Its figures mean nothing.
    #[arg(long)]
    quick: bool,
    /// Leaves out the other systems, which need Node and the npm registry.
    #[arg(long)]
    no_peers: bool,
    /// Also with real stores from this CSV file, whose columns have the names of fields.
    #[arg(long, value_name = "FILE")]
    stores: Option<PathBuf>,
}

/// How much of everything.
struct Sizes {
    customers: usize,
    few: usize,
    visits: usize,
    held: usize,
    changes: usize,
    runs: usize,
}

const WHOLE: Sizes =
    Sizes { customers: 100_000, few: 1_000, visits: 10_000, held: 200_000, changes: 200, runs: 5 };

const QUICK: Sizes = Sizes { customers: 600, few: 200, visits: 40, held: 600, changes: 3, runs: 1 };

pub(crate) async fn run(choice: &Choice) -> Result<()> {
    let sizes = if choice.quick { QUICK } else { WHOLE };
    let Sizes { runs, .. } = sizes;
    let load = Load { customers: sizes.customers, stores: None };
    let few = load.with(sizes.few);
    let mut page = Page::default();

    let pull = block_in_place(|| initial_sync::run(&load, runs))?;
    page.add(pull.report);
    if let Some(stores) = &choice.stores {
        let customers = block_in_place(|| lines(stores))?.min(sizes.customers);
        let real = Load { customers, stores: Some(stores.clone()) };
        page.add(block_in_place(|| initial_sync::run(&real, runs))?.report);
    }
    let upload = block_in_place(|| upload::run(&few, sizes.visits, runs))?;
    page.add(upload.report);
    let latency = latency::run(&few, sizes.changes).await?;
    page.add(latency.report);
    page.add(wire::run(&few, runs).await?);
    if !choice.no_peers {
        let ours = Ours { pull: pull.rate, upload: upload.rate, p50: latency.p50 };
        let size = Size { visits: sizes.visits, changes: sizes.changes, runs };
        page.add(block_in_place(|| peers::beside(&ours, &load, size))?);
    }
    page.add(block_in_place(|| use_at_size::run(&load, sizes.held))?);
    page.add(block_in_place(|| store::run(runs, if choice.quick { 500 } else { 10_000 }))?);
    page.add(wipe::run(runs, choice.quick).await?);
    page.add(block_in_place(|| attachments::run(runs, choice.quick))?);
    if let Some(path) = &choice.write {
        std::fs::write(path, page.text(choice)?).with_context(|| path.display().to_string())?;
        println!("Written: {}", path.display());
    }
    Ok(())
}

/// Reports, as they come.
#[derive(Default)]
struct Page(Vec<Report>);

impl Page {
    fn add(&mut self, report: Report) {
        println!("{report}");
        self.0.push(report);
    }

    fn text(&self, choice: &Choice) -> Result<String> {
        let mut text = String::from("# Benchmarks\n\n");
        if choice.quick {
            text.push_str("**A smoke run of tiny sizes: the figures mean nothing.**\n\n");
        }
        writeln!(
            text,
            "This page is the output of one command, and is not written by hand:\n\n```console\n{COMMAND}{}\n```\n\n\
            {}\n\nEach figure stands beside a baseline of the same run, so that the ratio says more than the machine. Bare \
            SQLCipher is its own plain loop with the same ciphers and durability; a round trip is an HTTPS request to the \
            same server that touches no disk.\n\n## Goals\n",
            if choice.stores.is_some() { " --stores stores.csv" } else { "" },
            machine()?
        )?;
        writeln!(text, "{}", Goal::table(self.0.iter().flat_map(|report| &report.goals)))?;
        for report in &self.0 {
            write!(text, "{report}")?;
        }
        Ok(text.trim_end().to_owned() + "\n")
    }
}

const COMMAND: &str = "$ cargo run --release -p roundsman-bench -- all --write docs/benchmarks.md";

/// What it was run on.
fn machine() -> Result<String> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?.split_once(':')?.1.trim().to_owned();
        Some(line)
    };
    let processor = field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "a processor".to_owned());
    let cores = std::thread::available_parallelism()?;
    let memory_kib = field(&read("/proc/meminfo"), "MemTotal")
        .and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok())
        .unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease").trim().to_owned();
    let load = read("/proc/loadavg");
    let load = load.split_whitespace().next().unwrap_or("?").to_owned();
    let said = |program: &str| {
        let output = Command::new(program).arg("--version").output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let versions: Vec<_> = ["rustc", "node"].into_iter().filter_map(|it| Some((it, said(it)?))).collect();
    let versions =
        versions.iter().map(|(name, said)| format!("{name}: {said}")).collect::<Vec<_>>().join("; ");
    let cipher: String = crate::bare::Bare::create(&tempfile::tempdir()?.path().join("x.db"))?.0.query_row(
        "PRAGMA cipher_version",
        [],
        |row| row.get(0),
    )?;
    Ok(format!(
        "Machine: {processor}, {cores} cores, {:.0} GiB; Linux {kernel}; load at the end {load}. Roundsman {}; SQLCipher \
        {cipher} on SQLite {}; {versions}.",
        memory_kib / 1024.0 / 1024.0,
        env!("CARGO_PKG_VERSION"),
        rusqlite::version()
    ))
}

/// Rows of a CSV file.
fn lines(path: &Path) -> Result<usize> {
    Ok(csv::Reader::from_path(path)?.records().flatten().count())
}
