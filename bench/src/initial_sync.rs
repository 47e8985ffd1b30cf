//! A phone's first sync: from the request to a store that is whole, indexed and searchable, over TLS from a real server,
//! beside SQLCipher alone storing the same rows. Server and phone are processes of their own.

use crate::bare::{BATCHES, Bare};
use crate::office::{Office, Setting};
use crate::process::{Memory, Process, processor, told};
use crate::report::{Report, Table, median, short, thousands};
use crate::workload::{Customer, Load};
use anyhow::{Context, Result, ensure};
use roundsman_core::sync::{Progress, Step};
use roundsman_core::{Client, Config};
use roundsman_tests::rig::{passcode, phone_config};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a phone's process tells.
#[derive(Serialize, Deserialize)]
struct Told {
    /// Seconds until the first rows were stored, until the last ones were, and until the sync returned.
    first_s: f64,
    last_s: f64,
    done_s: f64,
    rows: u64,
    bytes: u64,
    /// Kibibytes of memory: before the sync, and at most during it.
    idle_kib: u64,
    peak_kib: u64,
    /// Seconds of processor time that the sync took.
    cpu_s: f64,
    /// Rows that a search finds once the sync has returned.
    found: usize,
}

/// What the runs took, for whoever compares others with it.
pub(crate) struct Found {
    pub(crate) report: Report,
    /// Rows a second from the request to a store that can be used.
    pub(crate) rate: f64,
}

pub(crate) fn run(load: &Load, runs: usize) -> Result<Found> {
    ensure!(runs > 0, "at least one run");
    let customers = load.read()?;
    let mut office = Office::open(&Setting { load: load.clone(), listen: None, public_url: None })?;
    let (mut bare_rows, mut bare_all, mut bare_cpu, mut told) = (vec![], vec![], vec![], vec![]);
    for _ in 0..runs {
        let loops = bare(&customers)?;
        let least = |of: fn(&crate::bare::Loaded) -> Duration| loops.iter().map(of).min().unwrap_or_default();
        bare_rows.push(least(|it| it.rows).as_secs_f64());
        bare_all.push(least(|it| it.all).as_secs_f64());
        bare_cpu.push(least(|it| it.cpu).as_secs_f64());
        told.push(sync(&office.ticket()?)?);
    }
    let of = |what: fn(&Told) -> f64| median(told.iter().map(what).collect());
    let count = customers.len() as f64;
    let title = if load.stores.is_some() { "Initial sync of real stores" } else { "Initial sync" };
    let mut report = Report::new(
        title,
        format!(
            "{}: from the request to a store that is whole, indexed and searchable, over TLS from a real server. \
            Medians of {runs} runs.",
            load.about()
        ),
    );
    let mut table = Table::new(["", "seconds", "rows/s"]);
    let mut line = |what: &str, seconds: f64| {
        table.row([what.to_owned(), format!("{seconds:.2}"), thousands((count / seconds) as u64)]);
    };
    let all = median(bare_all);
    line("bare SQLCipher: rows and three indexes", median(bare_rows));
    line("bare SQLCipher: and a trigram index of the same texts", all);
    line("sync: request to the first rows", of(|it| it.first_s));
    line("sync: request to the last row", of(|it| it.last_s));
    line("sync: request to usable, indexed and searchable", of(|it| it.done_s));
    report.table(table);
    let ratio = 100.0 * all / of(|it| it.done_s);
    let goal = |what| format!("{}: {what}", title.to_lowercase());
    report.at_least(&goal("rate beside bare SQLCipher with a search index"), ratio, 60.0, "%");
    let grown = of(|it| it.peak_kib.saturating_sub(it.idle_kib) as f64) / 1024.0;
    report.at_most(&goal("memory of the phone's process above idle"), grown, 64.0, "MiB");
    report.note(format!(
        "The bare loop is the fastest of {} (rows in a transaction: {BATCHES:?}). Processor time of the phone: {} s, of \
        the loop: {} s. Received: {} MB.",
        BATCHES.len(),
        short(of(|it| it.cpu_s)),
        short(median(bare_cpu)),
        short(of(|it| it.bytes as f64) / 1e6)
    ));
    for told in &told {
        ensure!(told.rows == customers.len() as u64, "{} rows came of {}", told.rows, customers.len());
        ensure!(told.found > 0, "a search after the sync found nothing");
    }
    Ok(Found { report, rate: count / of(|it| it.done_s) })
}

/// The bare loop with each number of rows in a transaction.
fn bare(customers: &[Customer]) -> Result<Vec<crate::bare::Loaded>> {
    let run = |batch| {
        let folder = tempfile::tempdir()?;
        Bare::create(&folder.path().join("bare.db"))?.load(customers, batch)
    };
    BATCHES.into_iter().map(run).collect()
}

/// A phone in a process of its own.
fn sync(ticket: &str) -> Result<Told> {
    let folder = tempfile::tempdir()?;
    let args = vec!["--folder".to_owned(), folder.path().display().to_string()];
    let line = Process::start("sync-a-phone", args)?.ask(ticket)?;
    serde_json::from_str(&line).with_context(|| line.clone())
}

/// When rows were stored.
#[derive(Default)]
struct Stored(Mutex<(Option<Instant>, Option<Instant>)>);

impl Progress for Stored {
    fn progress(&self, step: Step) {
        if matches!(step, Step::Receiving { .. }) {
            let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            seen.0.get_or_insert_with(Instant::now);
            seen.1 = Some(Instant::now());
        }
    }
}

/// The phone's process: takes an enrolment code, syncs, and tells what it took.
pub(crate) async fn phone(folder: &Path) -> Result<()> {
    println!("ready");
    let client = Client::open(Config { ..phone_config(folder, "phone") })?;
    client.enrol(&told().await?.context("no enrolment code")?, &passcode()).await?;
    let memory = Memory::watch()?;
    let stored = Stored::default();
    let (begun, cpu) = (Instant::now(), processor()?);
    let report = client.sync(&stored).await?;
    let (done, cpu) = (begun.elapsed(), processor()?.saturating_sub(cpu));
    let found = client.customers()?.search("oak", 50)?.len() + client.customers()?.search("7", 50)?.len();
    let (idle_kib, peak_kib) = memory.peak()?;
    let (first, last) = *stored.0.lock().unwrap_or_else(PoisonError::into_inner);
    let since = |at: Option<Instant>| at.map_or(Duration::ZERO, |at| at - begun).as_secs_f64();
    let told = Told {
        first_s: since(first),
        last_s: since(last),
        done_s: done.as_secs_f64(),
        rows: report.received,
        bytes: report.bytes_down,
        idle_kib,
        peak_kib,
        cpu_s: cpu.as_secs_f64(),
        found,
    };
    println!("{}", serde_json::to_string(&told)?);
    Ok(())
}
