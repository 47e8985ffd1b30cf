//! `roundsman-load`: many devices at work against one server, each a real client with its own vault, keys and connection.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "what was measured goes to the terminal")]

mod devices;
mod tally;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use roundsman_model::Role;
use roundsman_server::Admin;
use roundsman_server::admin::NewUser;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tally::Tally;
use uuid::Uuid;

/// Lets many devices sync with a server, and tells how long they wait. For servers for tests: it writes visits, and they stay.
#[derive(Parser)]
#[command(
    version,
    name = "roundsman-load",
    after_help = "Examples:\n  \
    roundsman-load --data ./data --territory NJ --devices 200 --rate 0.5 --seconds 60\n  \
    roundsman-load --data ./data --devices 1000 --rate 0.02 --seconds 300 --writes 5\n  \
    roundsman-load --codes codes --rate 2 --writes 0\n\n\
    Enrolment codes hold for 15 minutes and for one device each. A latency counts from the moment a sync is due, not from \
    when it gets its turn, so a server that falls behind shows it."
)]
struct Cli {
    /// A file with an enrolment code on each line: one device for each.
    #[arg(long, value_name = "FILE", required_unless_present = "data", conflicts_with = "data")]
    codes: Option<PathBuf>,
    /// The data folder of a server on this machine, in which a new rep with a code is made for each device.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The territory of the new reps.
    #[arg(long, default_value = "NJ", requires = "data")]
    territory: String,
    /// How many devices; without it, one for each code, or ten.
    #[arg(long)]
    devices: Option<usize>,
    /// Syncs a second of each device.
    #[arg(long, default_value_t = 0.2)]
    rate: f64,
    /// Visits that a device writes before each sync.
    #[arg(long, default_value_t = 1)]
    writes: u32,
    /// How long they work, in seconds, from when all are enrolled.
    #[arg(long, default_value_t = 30.0)]
    seconds: f64,
    /// Where the devices' vaults are kept while it runs; a temporary folder without it.
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    ensure!(cli.rate > 0.0 && cli.rate.is_finite(), "the rate must be above 0");
    let span = Duration::try_from_secs_f64(cli.seconds).context("that is no time")?;
    let codes = match (&cli.codes, &cli.data) {
        (Some(file), _) => from_file(file, cli.devices)?,
        (None, Some(data)) => made(data, &cli.territory, cli.devices.unwrap_or(10))?,
        (None, None) => Vec::new(),
    };
    ensure!(!codes.is_empty(), "no enrolment codes");
    let folder = match &cli.folder {
        Some(folder) => {
            std::fs::create_dir_all(folder)?;
            tempfile::tempdir_in(folder)?
        }
        None => tempfile::tempdir()?,
    };

    let begun = Instant::now();
    let devices = devices::enrol(codes, folder.path()).await?;
    println!("{} devices enrolled and synced in {:.1} s", devices.len(), begun.elapsed().as_secs_f64());
    let tally = Arc::new(Tally::default());
    let begun = Instant::now();
    devices::work(devices, cli.rate, cli.writes, span, &tally).await;
    tally.print(begun.elapsed());
    ensure!(tally.synced() > 0, "not one sync succeeded");
    Ok(())
}

fn from_file(path: &Path, count: Option<usize>) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let codes = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned);
    let codes: Vec<_> = codes.take(count.unwrap_or(usize::MAX)).collect();
    let wanted = count.unwrap_or(codes.len());
    ensure!(codes.len() == wanted, "{} codes for {wanted} devices", codes.len());
    Ok(codes)
}

/// New reps, each with a code.
fn made(data: &Path, territory: &str, count: usize) -> Result<Vec<String>> {
    let admin = Admin::open(data)?;
    let code = |n| {
        let user = NewUser {
            email: format!("load-{}@load.invalid", Uuid::now_v7().simple()),
            name: format!("Load {n}"),
            role: Role::Rep,
            territories: vec![territory.to_owned()],
            password: None,
        };
        let rep = admin.add_user(Admin::OPERATOR, user)?;
        Ok(admin.issue_ticket(Admin::OPERATOR, rep)?.text)
    };
    (0..count).map(code).collect()
}
