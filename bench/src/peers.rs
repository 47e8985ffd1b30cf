//! Other systems for clients that work offline, with the same customers and visits on the same machine, from the folder
//! `peers`. Each client is a process of its own, as each server is.

use crate::process::Process;
use crate::report::{Report, Table, median, ms, percentile, short, thousands};
use crate::workload::{Dice, Load};
use crate::{initial_sync, latency, upload};
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use uuid::Uuid;

/// What this system took, for the ratios.
pub(crate) struct Ours {
    /// Customers a second of a first sync.
    pub(crate) pull: f64,
    /// Visits a second of an upload.
    pub(crate) upload: f64,
    /// Half of the changes were on the other phone after this.
    pub(crate) p50: Duration,
}

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) visits: usize,
    pub(crate) changes: usize,
    pub(crate) runs: usize,
}

/// A system, and a way to run it.
struct Peer {
    name: &'static str,
    script: &'static str,
    /// Whether client and server keep their data in folders.
    on_disk: bool,
    /// What the client is told besides.
    way: Option<&'static str>,
    package: &'static str,
    /// What it does not do that this system does, and what it does beside that.
    about: &'static str,
}

const PEERS: [Peer; 3] = [
    Peer {
        name: "PouchDB, as it comes",
        script: "pouchdb.mjs",
        on_disk: true,
        way: Some("own"),
        package: "pouchdb",
        about: "On LevelDB in Node, before express-pouchdb on LevelDB, over plain HTTP. No TLS, nothing encrypted, no \
                search index, writes are not synced to the disk, one server for everyone without scopes or signatures. \
                It keeps revision trees, which this system does not.",
    },
    Peer {
        name: "PouchDB, tuned",
        script: "pouchdb.mjs",
        on_disk: true,
        way: Some("tuned"),
        package: "pouchdb",
        about: "The same with batches of 1,000 documents, ten at a time.",
    },
    Peer {
        name: "RxDB, in memory",
        script: "rxdb.mjs",
        on_disk: false,
        way: None,
        package: "rxdb",
        about: "With its storage in memory on both sides, before its own websocket server. Nothing reaches a disk at all: \
                no durability, no TLS, nothing encrypted, no search index, no scopes or signatures. It has two indexes \
                and resolves conflicts by whole documents.",
    },
];

/// What a client tells of a pull or an upload.
#[derive(Deserialize)]
struct Took {
    seconds: f64,
    idle_kib: u64,
    peak_kib: u64,
    rows: u64,
    #[serde(default)]
    written_s: f64,
}

#[derive(Deserialize)]
struct Times {
    times_ms: Vec<f64>,
}

#[derive(Deserialize)]
struct Bytes {
    up: u64,
    down: u64,
}

/// Measures this system, then the others.
pub(crate) async fn run(load: &Load, size: Size) -> Result<Vec<Report>> {
    let few = Load { customers: load.customers.min(1_000), stores: None };
    let pull = tokio::task::block_in_place(|| initial_sync::run(load, size.runs))?;
    let upload = tokio::task::block_in_place(|| upload::run(&few, size.visits, size.runs))?;
    let latency = latency::run(&few, size.changes).await?;
    let ours = Ours { pull: pull.rate, upload: upload.rate, p50: latency.p50 };
    let peers = tokio::task::block_in_place(|| beside(&ours, load, size))?;
    Ok(vec![pull.report, upload.report, latency.report, peers])
}

/// Measures the others.
pub(crate) fn beside(ours: &Ours, load: &Load, size: Size) -> Result<Report> {
    install()?;
    let folder = tempfile::tempdir()?;
    let (customers, visits) = (folder.path().join("customers"), folder.path().join("visits"));
    write_out(load, size.visits.max(size.changes), &customers, &visits)?;
    let mut report = Report::new(
        "Beside other systems",
        format!(
            "The same {} pulled by a new client, {} visits written one by one without a connection and then sent, and \
            {} changes from one client to another. Medians of {} runs; server and client are processes of their own.",
            load.about(),
            thousands(size.visits as u64),
            size.changes,
            size.runs
        ),
    );
    let mut table = Table::new([
        "",
        "pull, rows/s",
        "on the wire, MB",
        "memory, MiB",
        "written, visits/s",
        "upload, visits/s",
        "change p50",
        "p99",
    ]);
    let mut beside = Table::new(["this system is", "pull", "upload", "change p50"]);
    for peer in &PEERS {
        let mut found = measure(peer, folder.path(), load, size, [&customers, &visits])
            .with_context(|| peer.name.to_owned())?;
        let p50 = percentile(&mut found.changes, 50);
        table.row([
            peer.name.to_owned(),
            thousands(found.pull as u64),
            short(found.megabytes),
            short(found.mebibytes),
            thousands(found.written as u64),
            thousands(found.upload as u64),
            ms(p50),
            ms(percentile(&mut found.changes, 99)),
        ]);
        let times = |ratio: f64| format!("{} x", short(ratio));
        let (pull, upload) = (ours.pull / found.pull, ours.upload / found.upload);
        let quicker = p50.as_secs_f64() / ours.p50.as_secs_f64();
        beside.row([format!("beside {}", peer.name), times(pull), times(upload), times(quicker)]);
        if peer.way == Some("own") {
            report.at_least("initial sync: rate beside PouchDB as it comes", pull, 8.0, "x");
            report.at_least("upload: rate beside PouchDB as it comes", upload, 8.0, "x");
        }
        report.note(format!("{} ({}). {}", peer.name, version(peer.package)?, peer.about));
    }
    table.row([
        "this system".to_owned(),
        thousands(ours.pull as u64),
        "see above".to_owned(),
        "see above".to_owned(),
        "see above".to_owned(),
        thousands(ours.upload as u64),
        ms(ours.p50),
        "see above".to_owned(),
    ]);
    report.table(table);
    report.table(beside);
    report.note(
        "This system does all of it over TLS into encrypted stores, synced to the disk on both sides, with a search index, \
        and the upload sealed besides. Memory is that of the pulling client above idle, at its peak. A pull of this \
        system counts until the search index is there.",
    );
    Ok(report)
}

/// What one of them took: medians.
struct Found {
    pull: f64,
    megabytes: f64,
    mebibytes: f64,
    written: f64,
    upload: f64,
    changes: Vec<Duration>,
}

fn measure(
    peer: &Peer,
    folder: &Path,
    load: &Load,
    size: Size,
    [customers, visits]: [&PathBuf; 2],
) -> Result<Found> {
    // A folder for each process, if it keeps anything.
    let fresh = || -> Result<Option<PathBuf>> {
        let made = tempfile::tempdir_in(folder)?.keep();
        Ok(peer.on_disk.then_some(made))
    };
    let node = |command: &str| {
        let mut node = Command::new("node");
        node.current_dir(folder_of_peers()).arg(peer.script).arg(command);
        node
    };
    let mut server = node("serve");
    server.args(fresh()?).arg(customers);
    let mut server = Process::of(server).context("its server does not start")?;
    let port = server.ask("port")?;
    let bytes = |server: &mut Process| -> Result<Bytes> { Ok(serde_json::from_str(&server.ask("bytes")?)?) };
    let (mut pulls, mut sent, mut downs) = (vec![], vec![], vec![]);
    for run in 0..size.runs {
        let before = bytes(&mut server)?;
        let pull: Took = tell(node("pull").arg(&port).args(fresh()?).args(peer.way))?;
        ensure!(pull.rows == load.customers as u64, "{} rows came", pull.rows);
        let after = bytes(&mut server)?;
        downs.push((after.down - before.down + after.up - before.up) as f64 / 1e6);
        pulls.push(pull);
        let name = format!("visits{run}");
        server.ask(&format!("make {name}"))?;
        let upload: Took =
            tell(node("upload").arg(&port).args(fresh()?).arg(&name).arg(visits).args(peer.way))?;
        let there = server.ask(&format!("count {name}"))?;
        ensure!(there == upload.rows.to_string(), "{there} visits came");
        sent.push(upload);
    }
    server.ask("make changes")?;
    let changes: Times = tell(
        node("latency").arg(&port).args(fresh()?).args(["changes"]).arg(visits).arg(size.changes.to_string()),
    )?;
    let of = |all: &[Took], figure: fn(&Took) -> f64| median(all.iter().map(figure).collect());
    Ok(Found {
        pull: load.customers as f64 / of(&pulls, |it| it.seconds),
        megabytes: median(downs),
        mebibytes: of(&pulls, |it| it.peak_kib.saturating_sub(it.idle_kib) as f64) / 1024.0,
        written: size.visits as f64 / of(&sent, |it| it.written_s),
        upload: size.visits as f64 / of(&sent, |it| it.seconds),
        changes: changes.times_ms.into_iter().map(|ms| Duration::from_secs_f64(ms / 1e3)).collect(),
    })
}

/// Runs a client to its end; it tells one line.
fn tell<T: DeserializeOwned>(command: &mut Command) -> Result<T> {
    let output = command.output().context("node can't be run")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let line = said.lines().last().unwrap_or_default();
    if !output.status.success() {
        bail!("{}{line}", String::from_utf8_lossy(&output.stderr));
    }
    serde_json::from_str(line).with_context(|| line.to_owned())
}

/// The same rows as this system's, one JSON object a line.
fn write_out(load: &Load, visits: usize, to: &Path, visits_to: &Path) -> Result<()> {
    let (mut out, mut dice, customers) = (BufWriter::new(File::create(to)?), Dice(3), load.read()?);
    for customer in &customers {
        let mut record = serde_json::to_value(customer.fields())?;
        record["_id"] = json!(customer.id);
        writeln!(out, "{record}")?;
    }
    out.flush()?;
    let mut out = BufWriter::new(File::create(visits_to)?);
    for _ in 0..visits {
        let record = json!({
            "_id": Uuid::now_v7(),
            "customer": customers[dice.below(customers.len())].id,
            "rep": Uuid::from_u128(7),
            "territory": "NJ",
            "state": "planned",
            "day": "1970-01-01",
        });
        writeln!(out, "{record}")?;
    }
    Ok(out.flush()?)
}

fn folder_of_peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

/// Brings in what `package-lock.json` says, from the registry. None of it runs a script of its own for that.
fn install() -> Result<()> {
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]);
    let output =
        npm.current_dir(folder_of_peers()).output().context("npm can't be run; it comes with Node 20")?;
    ensure!(output.status.success(), "npm ci: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// The version that is installed.
fn version(package: &str) -> Result<String> {
    let path = folder_of_peers().join("node_modules").join(package).join("package.json");
    let text = std::fs::read_to_string(path)?;
    let read: serde_json::Value = serde_json::from_str(&text)?;
    Ok(format!("{package} {}", read["version"].as_str().unwrap_or("of no version")))
}
