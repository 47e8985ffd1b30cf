//! A phone's first sync: from the request to a store that is whole, indexed and searchable, over TLS from a real server,
//! beside SQLCipher alone storing the same rows. Server and phone are processes of their own.

use crate::bare::{BATCHES, Bare};
use crate::workload::{self, COLUMNS, Customer};
use anyhow::{Context, Result, ensure};
use roundsman_core::sync::{Progress, Report, Step};
use roundsman_core::{Client, Config};
use roundsman_server::admin::Mapping;
use roundsman_tests::rig::{Rig, passcode, phone_config};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The seed of the made-up customers.
pub(crate) const SEED: u64 = 7;

/// Which customers.
#[derive(clap::Args, Clone)]
pub(crate) struct Load {
    /// How many customers.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) customers: usize,
    /// A CSV file of real stores to take them from, whose columns have the names of fields.
    #[arg(long, value_name = "FILE")]
    pub(crate) stores: Option<PathBuf>,
}

impl Load {
    pub(crate) fn read(&self) -> Result<Vec<Customer>> {
        match &self.stores {
            Some(path) => workload::real(path, self.customers),
            None => Ok(workload::customers(SEED, self.customers).collect()),
        }
    }

    fn to_args(&self) -> Vec<String> {
        let mut args = vec!["--customers".to_owned(), self.customers.to_string()];
        if let Some(path) = &self.stores {
            args.extend(["--stores".to_owned(), path.display().to_string()]);
        }
        args
    }
}

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

pub(crate) fn run(load: &Load, runs: usize) -> Result<()> {
    ensure!(runs > 0, "at least one run");
    let customers = load.read()?;
    println!("{} customers; bringing them into a server …", customers.len());
    let mut server = Process::start("serve-customers", load.to_args())?;
    let (mut bare_rows, mut bare_all, mut bare_cpu, mut told) = (vec![], vec![], vec![], vec![]);
    for _ in 0..runs {
        let mut loops = Vec::new();
        for batch in BATCHES {
            let folder = tempfile::tempdir()?;
            loops.push(Bare::create(&folder.path().join("bare.db"))?.load(&customers, batch)?);
        }
        bare_rows.push(loops.iter().map(|it| it.rows).min().unwrap_or_default().as_secs_f64());
        bare_all.push(loops.iter().map(|it| it.all).min().unwrap_or_default().as_secs_f64());
        bare_cpu.push(loops.iter().map(|it| it.cpu).min().unwrap_or_default().as_secs_f64());
        let ticket = server.ask("ticket")?;
        let folder = tempfile::tempdir()?;
        let args = vec!["--folder".to_owned(), folder.path().display().to_string()];
        let mut phone = Process::start("sync-a-phone", args)?;
        let line = phone.ask(&ticket)?;
        told.push(serde_json::from_str::<Told>(&line).with_context(|| line.clone())?);
    }
    let median = |mut all: Vec<f64>| {
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let of = |what: fn(&Told) -> f64| median(told.iter().map(what).collect());
    let count = customers.len() as f64;
    println!("\nMedians of {runs} runs\n\n{:<58}  {:>9}  {:>12}", "", "seconds", "rows/s");
    let line = |what: &str, seconds: f64| println!("{what:<58}  {seconds:>9.2}  {:>12.0}", count / seconds);
    let (rows, all) = (median(bare_rows), median(bare_all));
    line("bare: rows and three indexes, the fastest of three loops", rows);
    line("bare: and a trigram index of the same texts", all);
    line("sync: request to the first rows", of(|it| it.first_s));
    line("sync: request to the last row", of(|it| it.last_s));
    line("sync: request to usable, indexed and searchable", of(|it| it.done_s));
    let rate = all / of(|it| it.done_s);
    println!("\nrate beside the bare loop with its search index: {:.0} % (goal: 60 %)", rate * 100.0);
    println!(
        "processor time: {:.2} s beside {:.2} s of the loop; what a busy machine can still compare",
        of(|it| it.cpu_s),
        median(bare_cpu)
    );
    let grown = of(|it| it.peak_kib.saturating_sub(it.idle_kib) as f64) / 1024.0;
    println!("memory of the phone's process: {grown:.1} MiB above idle at its peak (goal: 64 MiB)");
    println!("received: {:.1} MB", of(|it| it.bytes as f64) / 1e6);
    for told in &told {
        ensure!(told.rows == customers.len() as u64, "{} rows came of {}", told.rows, customers.len());
        ensure!(told.found > 0, "a search after the sync found nothing");
    }
    Ok(())
}

/// A process of this program that answers a line with a line.
struct Process {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Process {
    fn start(command: &str, args: Vec<String>) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(command)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let answers = BufReader::new(child.stdout.take().context("no output")?);
        let mut process = Self { child, answers };
        ensure!(process.line()? == "ready", "{command} did not start");
        Ok(process)
    }

    fn ask(&mut self, question: &str) -> Result<String> {
        let input = self.child.stdin.as_mut().context("no input")?;
        writeln!(input, "{question}")?;
        input.flush()?;
        self.line()
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Its input ends, and so does it.
        drop(self.child.stdin.take());
        let _ended = self.child.wait();
    }
}

/// The server's process: answers each line with an enrolment code for a new rep.
pub(crate) async fn serve(load: &Load) -> Result<()> {
    let rig = Rig::start().await;
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(COLUMNS)?;
    for customer in load.read()? {
        csv.write_record(&customer.texts)?;
    }
    let csv = csv.into_inner()?;
    let mapping = Mapping::guess(&COLUMNS.map(str::to_owned));
    let report = rig.admin.import_customers(rig.actor, csv.as_slice(), &mapping, &mut |_| {})?;
    ensure!(report.created == load.customers as u64, "{} customers were brought in", report.created);
    drop(csv);
    println!("ready");
    let mut reps = 0;
    loop {
        let line = tokio::task::spawn_blocking(|| std::io::stdin().lines().next().transpose()).await??;
        if line.is_none() {
            return Ok(());
        }
        reps += 1;
        println!("{}", rig.ticket(rig.rep(&format!("rep{reps}"))));
    }
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
    let ticket = tokio::task::spawn_blocking(|| std::io::stdin().lines().next().transpose()).await??;
    let client = Client::open(Config { ..phone_config(folder, "phone") })?;
    client.enrol(&ticket.context("no enrolment code")?, &passcode()).await?;
    let idle_kib = memory("VmRSS")?;
    // From here on the kernel counts the peak anew (proc(5)).
    std::fs::write("/proc/self/clear_refs", "5")?;
    let stored = Stored::default();
    let (begun, cpu) = (Instant::now(), processor()?);
    let report: Report = client.sync(&stored).await?;
    let (done, cpu) = (begun.elapsed(), processor()?.saturating_sub(cpu));
    let found = client.customers()?.search("oak", 50)?.len() + client.customers()?.search("7", 50)?.len();
    let peak_kib = memory("VmHWM")?;
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

/// How long this process has kept processors busy (proc_pid_stat(5): `utime` and `stime`, in hundredths of a second).
pub(crate) fn processor() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name of the program, in brackets, may hold anything.
    let (_, fields) = stat.rsplit_once(')').context("no figures")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    Ok(Duration::from_millis(10 * ticks.sum::<Result<u64, _>>()?))
}

/// A figure of this process's memory in kibibytes.
fn memory(name: &str) -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(name)).context("no such figure")?;
    Ok(line.split_whitespace().nth(1).context("no number")?.parse()?)
}
