//! The server of a measurement, in a process of its own: it answers lines.

use crate::process::{Process, told};
use crate::workload::{COLUMNS, Customer, Load};
use anyhow::{Context, Result, bail, ensure};
use roundsman_server::admin::{ImportReport, Mapping};
use roundsman_tests::rig::Rig;
use std::net::SocketAddr;

/// How the server is run.
#[derive(clap::Args, Clone)]
pub(crate) struct Setting {
    #[command(flatten)]
    pub(crate) load: Load,
    /// Where to listen; a free port without it.
    #[arg(long)]
    pub(crate) listen: Option<SocketAddr>,
    /// The address by which phones reach it, if it is another one.
    #[arg(long)]
    pub(crate) public_url: Option<String>,
}

/// The server's process, seen from the one that measures.
pub(crate) struct Office(Process);

impl Office {
    /// Starts a server that holds these customers.
    pub(crate) fn open(setting: &Setting) -> Result<Self> {
        let mut args = setting.load.to_args();
        if let Some(listen) = setting.listen {
            args.extend(["--listen".to_owned(), listen.to_string()]);
        }
        if let Some(url) = &setting.public_url {
            args.extend(["--public-url".to_owned(), url.clone()]);
        }
        Ok(Self(Process::start("office", args)?))
    }

    /// An enrolment code for a new rep.
    pub(crate) fn ticket(&mut self) -> Result<String> {
        self.0.ask("ticket")
    }

    /// Changes the notes of the first `count` customers.
    pub(crate) fn change(&mut self, count: usize) -> Result<()> {
        let answer = self.0.ask(&format!("change {count}"))?;
        ensure!(answer == count.to_string(), "{answer} customers were changed of {count}");
        Ok(())
    }
}

/// The process itself.
pub(crate) async fn serve(setting: &Setting) -> Result<()> {
    let listen = setting.listen.unwrap_or(([127, 0, 0, 1], 0).into());
    let rig = Rig::start_at(listen, setting.public_url.clone()).await;
    let customers = setting.load.read()?;
    let report = import(&rig, &customers, None)?;
    ensure!(report.created == customers.len() as u64, "{} customers were brought in", report.created);
    // Only what may be changed later.
    let customers: Vec<_> = customers.into_iter().take(CHANGEABLE).collect();
    println!("ready");
    let (mut reps, mut changes) = (0, 0);
    while let Some(line) = told().await? {
        match line.split_once(' ') {
            None if line == "ticket" => {
                reps += 1;
                println!("{}", rig.ticket(rig.rep(&format!("rep{reps}"))));
            }
            Some(("change", count)) => {
                changes += 1;
                let some = customers.get(..count.parse()?).context("more than there are")?;
                println!("{}", import(&rig, some, Some(changes))?.updated);
            }
            _ => bail!("not understood: {line}"),
        }
    }
    Ok(())
}

/// The most customers that are changed at once.
const CHANGEABLE: usize = 1_000;

/// Brings customers in from a file, as an administrator does; with other notes if this is a change of them.
fn import(rig: &Rig, customers: &[Customer], change: Option<u64>) -> Result<ImportReport> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(COLUMNS)?;
    for Customer { texts, .. } in customers {
        let mut texts = texts.clone();
        if let Some(change) = change {
            let notes = &mut texts[COLUMNS.len() - 1];
            *notes = format!("visit {change}: {notes}");
        }
        csv.write_record(&texts)?;
    }
    let csv = csv.into_inner()?;
    let mapping = Mapping::guess(&COLUMNS.map(str::to_owned));
    Ok(rig.admin.import_customers(rig.actor, csv.as_slice(), &mapping, &mut |_| {})?)
}
