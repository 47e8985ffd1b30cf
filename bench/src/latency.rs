//! How long a change takes from one phone to another that listens: from the call that writes it to the observer on the
//! other phone, over TLS on loopback. The server is a process of its own; both phones are in this one, so that they have
//! one clock.

use crate::line::{Event, Line};
use crate::office::{Office, Setting};
use crate::report::{Report, Table, ms, percentile};
use crate::workload::Load;
use anyhow::{Context, Result, ensure};
use chrono::NaiveDate;
use roundsman_core::store::{Changed, Observer};
use roundsman_core::{Client, Config, Heard, Listening, Watcher};
use roundsman_tests::rig::{passcode, phone_config};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Between one change and the next: longer than a listening phone lets pass between two syncs.
const PAUSE: Duration = Duration::from_millis(250);

/// How long anything may take before the run is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of a write to the disk that is timed: a page of the database.
const PAGE: [u8; 4096] = [0x5a; 4096];

/// What a change goes through, in this order.
const STAGES: [&str; 6] = [
    "written and sealed on the first phone",
    "its sync reads the outbox, reports and asks",
    "server: takes it, and answers the first phone",
    "server: pokes the second phone",
    "the second phone reports and asks",
    "server: answers; stored and told",
];

/// One change.
struct Change {
    all: Duration,
    /// Until the first phone's own sync returned.
    sent: Duration,
    stages: [Duration; 6],
}

/// A phone and its line.
struct Phone {
    client: Client,
    line: Line,
}

impl Phone {
    async fn enrolled(folder: &Path, name: &str, ticket: &str) -> Result<Self> {
        let line = Line::new();
        let config = Config { transport: Arc::new(line.clone()), ..phone_config(&folder.join(name), name) };
        let client = Client::open(config)?;
        client.enrol(ticket, &passcode()).await?;
        client.sync(&()).await?;
        Ok(Self { client, line })
    }
}

pub(crate) struct Found {
    pub(crate) report: Report,
    /// Half of the changes took no longer.
    pub(crate) p50: Duration,
}

pub(crate) async fn run(load: &Load, changes: usize) -> Result<Found> {
    ensure!(changes > 0, "at least one change");
    let setting = Setting { load: load.clone(), listen: None, public_url: None };
    let mut office = tokio::task::block_in_place(|| Office::open(&setting))?;
    let tickets = [office.ticket()?, office.ticket()?];
    let folder = tempfile::tempdir()?;
    let first = Phone::enrolled(folder.path(), "ana", &tickets[0]).await?;
    let second = Phone::enrolled(folder.path(), "bo", &tickets[1]).await?;
    let customer = first.client.customers()?.list(None, 1)?.first().context("no customer")?.id;

    let (tell_synced, mut synced) = unbounded_channel();
    let listening = Listening::new();
    let (control, client) = (listening.clone(), second.client.clone());
    let ear = tokio::spawn(async move { client.listen(&control, &Ear(tell_synced)).await });
    soon(&mut synced).await?;
    let (tell_seen, mut seen) = unbounded_channel();
    let _watching = second.client.observe(Arc::new(Watch(tell_seen)))?;

    let disk = folder.path().join("disk");
    let (mut taken, mut trips, mut syncs) = (vec![], vec![], vec![]);
    for _ in 0..changes {
        // The pause is between people, not for anything to become ready.
        tokio::time::sleep(PAUSE).await;
        trips.push(first.line.round_trip(&first.client).await?);
        syncs.push(tokio::task::block_in_place(|| write_through(&disk))?);
        taken.push(change(&first, &second, customer, &mut seen).await?);
        soon(&mut synced).await?;
    }
    listening.stop();
    ear.await??;

    let mut all: Vec<_> = taken.iter().map(|it| it.all).collect();
    let mut sent: Vec<_> = taken.iter().map(|it| it.sent).collect();
    let mut least: Vec<_> = trips.iter().zip(&syncs).map(|(trip, sync)| 2 * *trip + 3 * *sync).collect();
    let mut report = Report::new(
        "Latency of a change",
        format!(
            "One visit written on one phone, seen by the observer on another one that listens, over TLS on loopback; \
            {}, {changes} changes.",
            load.about()
        ),
    );
    let mut table = Table::new(["", "p50", "p99", "longest"]);
    let mut line = |what: &str, times: &mut Vec<Duration>| {
        let [half, most, longest] = [50, 99, 100].map(|part| ms(percentile(times, part)));
        table.row([what.to_owned(), half, most, longest]);
    };
    line("from the write to the other phone's observer", &mut all);
    line("from the write to the end of the first phone's sync", &mut sent);
    line("bare: one HTTPS round trip on the same connection", &mut trips);
    line("bare: 4 KiB appended to a file and synced", &mut syncs);
    line("bare: two round trips and three such writes", &mut least);
    report.table(table);
    let mut table = Table::new(["where the time goes", "p50", "p99"]);
    for (at, stage) in STAGES.iter().enumerate() {
        let mut times: Vec<_> = taken.iter().map(|it| it.stages[at]).collect();
        table.row([(*stage).to_owned(), ms(percentile(&mut times, 50)), ms(percentile(&mut times, 99))]);
    }
    report.table(table);
    let p50 = percentile(&mut all, 50);
    report.at_most("a change, seen on another phone: p50", p50.as_secs_f64() * 1e3, 10.0, "ms");
    report.note(
        "Two round trips and three writes are the least that any such system needs whose changes survive a power cut: \
        a commit on the first phone, one on the server, one on the second phone; the way to the server, the poke, and \
        the second phone's request.",
    );
    Ok(Found { report, p50 })
}

/// Makes a change on the first phone and waits for it on the second.
async fn change(
    first: &Phone,
    second: &Phone,
    customer: uuid::Uuid,
    seen: &mut UnboundedReceiver<Instant>,
) -> Result<Change> {
    let _before = (first.line.take(), second.line.take());
    while seen.try_recv().is_ok() {}
    let begun = Instant::now();
    let visits = first.client.visits()?;
    tokio::task::block_in_place(|| visits.plan(customer, NaiveDate::default(), None))?;
    let written = Instant::now();
    let report = first.client.sync(&()).await?;
    let sent = begun.elapsed();
    ensure!(report.sent == 1, "{} changes were sent", report.sent);
    let told = soon(seen).await?;
    let (one, other) = (first.line.take(), second.line.take());
    let at = |log: &[(Instant, Event, &str)], event, path| {
        log.iter().find(|it| it.1 == event && it.2 == path).map(|it| it.0).context("a step is missing")
    };
    let asked = at(&one, Event::Sent, "/v1/sync")?;
    let answered = at(&one, Event::Answered, "/v1/sync")?;
    let poked = at(&other, Event::Piece, "/v1/poke")?;
    let pulling = at(&other, Event::Sent, "/v1/sync")?;
    let moments = [begun, written, asked, answered, poked, pulling, told];
    // The poke may come before the answer to the first phone.
    let stages = std::array::from_fn(|at| moments[at + 1].saturating_duration_since(moments[at]));
    Ok(Change { all: told - begun, sent, stages })
}

/// Appends a page to a file and brings it to the medium, as a commit does.
fn write_through(path: &Path) -> Result<Duration> {
    let mut file = File::options().create(true).append(true).open(path)?;
    let begun = Instant::now();
    file.write_all(&PAGE)?;
    file.sync_data()?;
    Ok(begun.elapsed())
}

async fn soon<T>(what: &mut UnboundedReceiver<T>) -> Result<T> {
    let came = tokio::time::timeout(PATIENCE, what.recv()).await.context("it did not happen")?;
    came.context("nobody is there to tell")
}

/// Says when the listening phone has synced.
struct Ear(UnboundedSender<()>);

impl Watcher for Ear {
    fn heard(&self, heard: &Heard<'_>) {
        if let Heard::Synced(_) = heard {
            let _gone = self.0.send(());
        }
    }
}

/// Says when visits have changed.
struct Watch(UnboundedSender<Instant>);

impl Observer for Watch {
    fn changed(&self, changed: &Changed) {
        if changed.entity == "visit" {
            let _gone = self.0.send(Instant::now());
        }
    }
}
