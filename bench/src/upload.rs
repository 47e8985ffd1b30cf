//! A day without a signal, and then the upload: visits written on a phone, each on disk and sealed, and then sent over TLS
//! to a real server, beside bare SQLCipher storing the same rows. Server and phone are processes of their own.

use crate::bare::Bare;
use crate::office::{Office, Setting};
use crate::process::{Memory, Process, processor, told};
use crate::report::{Report, Table, median, short, thousands};
use crate::workload::{Customer, Dice, Load};
use anyhow::{Context, Result, ensure};
use chrono::NaiveDate;
use roundsman_core::Client;
use roundsman_core::protocol::sync::MAX_MUTATIONS;
use roundsman_tests::rig::{passcode, phone_config};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Instant;
use uuid::Uuid;

/// What a phone's process tells.
#[derive(Serialize, Deserialize)]
struct Told {
    written_s: f64,
    sent_s: f64,
    sent: u64,
    requests: u32,
    bytes: u64,
    idle_kib: u64,
    peak_kib: u64,
    cpu_s: f64,
}

pub(crate) struct Found {
    pub(crate) report: Report,
    /// Visits a second, of the upload alone.
    pub(crate) rate: f64,
}

pub(crate) fn run(load: &Load, visits: usize, runs: usize) -> Result<Found> {
    ensure!(runs > 0 && visits > 0, "at least one run of one visit");
    let customers = load.read()?;
    let mut office = Office::open(&Setting { load: load.clone(), listen: None, public_url: None })?;
    let (mut single, mut batched, mut told) = (vec![], vec![], vec![]);
    for _ in 0..runs {
        let folder = tempfile::tempdir()?;
        single.push(bare(&folder.path().join("single.db"), &customers, visits, 1)?);
        batched.push(bare(&folder.path().join("batched.db"), &customers, visits, MAX_MUTATIONS)?);
        told.push(phone_of(&office.ticket()?, visits)?);
    }
    for told in &told {
        ensure!(told.sent == visits as u64, "{} visits were sent of {visits}", told.sent);
    }
    let of = |what: fn(&Told) -> f64| median(told.iter().map(what).collect());
    let rate = |seconds: f64| visits as f64 / seconds;
    let mut report = Report::new(
        "Upload of offline visits",
        format!(
            "{} visits planned without a signal, each on disk and sealed to the organisation when its call returns; then \
            one sync over TLS. The phone holds {}. Medians of {runs} runs.",
            thousands(visits as u64),
            load.about()
        ),
    );
    let mut table = Table::new(["", "seconds", "visits/s"]);
    let mut line = |what: &str, seconds: f64| {
        table.row([what.to_owned(), format!("{seconds:.2}"), thousands(rate(seconds) as u64)]);
    };
    let (single, batched) = (median(single), median(batched));
    let (written, sent) = (of(|it| it.written_s), of(|it| it.sent_s));
    line("written offline, one by one", written);
    line("bare SQLCipher: the same, one by one", single);
    line("upload: from the request until the server has all", sent);
    line(&format!("bare SQLCipher: the same, {MAX_MUTATIONS} in a transaction"), batched);
    report.table(table);
    let grown = of(|it| it.peak_kib.saturating_sub(it.idle_kib) as f64) / 1024.0;
    report.note(format!(
        "Time beside bare SQLCipher: {} times as long to write, {} times to upload. Memory of the phone's process during \
        the upload: {} MiB above idle at its peak. Sent: {} MB of bodies in {} requests. Processor time of the phone for \
        the upload: {} s.",
        short(written / single),
        short(sent / batched),
        short(grown),
        short(of(|it| it.bytes as f64) / 1e6),
        of(|it| f64::from(it.requests)),
        short(of(|it| it.cpu_s)),
    ));
    Ok(Found { report, rate: rate(sent) })
}

/// Seconds that bare SQLCipher takes for the visits and their entries of an outbox.
fn bare(path: &Path, customers: &[Customer], visits: usize, batch: usize) -> Result<f64> {
    let bare = Bare::create(path)?.with_visits()?;
    let mut dice = Dice(3);
    let mut left = visits;
    let begun = Instant::now();
    while left > 0 {
        let some = left.min(batch);
        let customers = (0..some).map(|_| customers[dice.below(customers.len())].id);
        bare.plan_all(customers.map(|customer| (Uuid::now_v7(), customer)), "1970-01-01")?;
        left -= some;
    }
    Ok(begun.elapsed().as_secs_f64())
}

fn phone_of(ticket: &str, visits: usize) -> Result<Told> {
    let folder = tempfile::tempdir()?;
    let args = vec![
        "--folder".to_owned(),
        folder.path().display().to_string(),
        "--visits".to_owned(),
        visits.to_string(),
    ];
    let line = Process::start("send-from-a-phone", args)?.ask(ticket)?;
    serde_json::from_str(&line).with_context(|| line.clone())
}

/// The phone's process: takes an enrolment code, writes visits without a signal, sends them, and tells what it took.
pub(crate) async fn phone(folder: &Path, visits: usize) -> Result<()> {
    println!("ready");
    let client = Client::open(phone_config(folder, "phone"))?;
    client.enrol(&told().await?.context("no enrolment code")?, &passcode()).await?;
    client.sync(&()).await?;
    let customers: Vec<_> = client.customers()?.list(None, 1_000)?.iter().map(|it| it.id).collect();
    ensure!(!customers.is_empty(), "no customers");
    let (services, mut dice) = (client.visits()?, Dice(3));
    let begun = Instant::now();
    tokio::task::block_in_place(|| {
        (0..visits).try_for_each(|_| {
            services.plan(customers[dice.below(customers.len())], NaiveDate::default(), None).map(drop)
        })
    })?;
    let written = begun.elapsed();
    let memory = Memory::watch()?;
    let (begun, cpu) = (Instant::now(), processor()?);
    let report = client.sync(&()).await?;
    let sent = begun.elapsed();
    let (idle_kib, peak_kib) = memory.peak()?;
    let told = Told {
        written_s: written.as_secs_f64(),
        sent_s: sent.as_secs_f64(),
        sent: report.sent,
        requests: report.requests,
        bytes: report.bytes_up,
        idle_kib,
        peak_kib,
        cpu_s: processor()?.saturating_sub(cpu).as_secs_f64(),
    };
    ensure!(client.outbox()?.count()? == 0, "something is unsent");
    println!("{}", serde_json::to_string(&told)?);
    Ok(())
}
