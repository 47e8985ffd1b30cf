//! `roundsman-bench`: times what a promise is made about, each beside a baseline of the same run.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "the tables go to the terminal")]

mod all;
mod attachments;
mod bare;
mod initial_sync;
mod latency;
mod line;
mod office;
mod peers;
mod process;
mod report;
mod store;
mod upload;
mod use_at_size;
mod wipe;
mod wire;
mod workload;

use clap::{Parser, Subcommand};
use report::Report;
use std::path::PathBuf;
use tokio::task::block_in_place;
use workload::Load;

/// Times what a promise is made about. Build with --release; nothing else should run on the machine.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:\n  cargo run --release -p roundsman-bench -- all --write docs/benchmarks.md\n  \
    cargo run --release -p roundsman-bench -- wipe"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything, one after the other, and a page of it. Takes about half an hour.
    #[command(after_help = "Examples:\n  \
        cargo run --release -p roundsman-bench -- all --write docs/benchmarks.md\n  \
        cargo run -p roundsman-bench -- all --quick --no-peers")]
    All {
        #[command(flatten)]
        choice: all::Choice,
    },
    /// The same work done by other systems: installs them with npm, and needs Node 20.
    #[command(after_help = "Examples:\n  cargo run --release -p roundsman-bench -- peers\n  \
        cargo run --release -p roundsman-bench -- peers --customers 10000 --visits 1000 --runs 3")]
    Peers {
        #[command(flatten)]
        load: Load,
        /// Visits to send.
        #[arg(long, default_value_t = 10_000)]
        visits: usize,
        /// Changes from one client to another.
        #[arg(long, default_value_t = 200)]
        changes: usize,
        /// Runs, of which the median is shown.
        #[arg(long, default_value_t = 5)]
        runs: usize,
    },
    /// A phone's first sync over TLS from a real server, beside SQLCipher alone.
    #[command(after_help = "Examples:\n  cargo run --release -p roundsman-bench -- initial-sync\n  \
        cargo run --release -p roundsman-bench -- initial-sync --customers 57156 --stores stores.csv")]
    InitialSync {
        #[command(flatten)]
        load: Load,
        /// Runs, of which the median is shown.
        #[arg(long, default_value_t = 5)]
        runs: usize,
    },
    /// Visits written without a signal and then sent, beside SQLCipher alone.
    #[command(after_help = "Example:\n  cargo run --release -p roundsman-bench -- upload --visits 10000")]
    Upload {
        #[command(flatten)]
        size: Few,
        /// Visits to send.
        #[arg(long, default_value_t = 10_000)]
        visits: usize,
        /// Runs, of which the median is shown.
        #[arg(long, default_value_t = 5)]
        runs: usize,
    },
    /// From a write on one phone to the observer on another that listens.
    #[command(after_help = "Example:\n  cargo run --release -p roundsman-bench -- latency --changes 200")]
    Latency {
        #[command(flatten)]
        size: Few,
        /// Changes, one after another.
        #[arg(long, default_value_t = 200)]
        changes: usize,
    },
    /// Requests and bytes on the wire of a sync: nothing new, one visit out, 100 changed customers in.
    #[command(after_help = "Example:\n  cargo run --release -p roundsman-bench -- wire")]
    Wire {
        #[command(flatten)]
        size: Few,
        /// Syncs of each kind.
        #[arg(long, default_value_t = 5)]
        runs: usize,
    },
    /// What a rep waits for on a phone with many customers and visits: a write, a search, a list, an unlock.
    #[command(after_help = "Example:\n  cargo run --release -p roundsman-bench -- use --customers 100000")]
    Use {
        #[command(flatten)]
        load: Load,
        /// Visits on the phone.
        #[arg(long, default_value_t = 200_000)]
        visits: usize,
    },
    /// The server of a measurement.
    #[command(hide = true)]
    Office {
        #[command(flatten)]
        setting: office::Setting,
    },
    /// The phone of `initial-sync`.
    #[command(hide = true)]
    SyncAPhone {
        #[arg(long)]
        folder: PathBuf,
    },
    /// The phone of `upload`.
    #[command(hide = true)]
    SendFromAPhone {
        #[arg(long)]
        folder: PathBuf,
        #[arg(long)]
        visits: usize,
    },
    /// Sealing and opening attachments, beside a copy of the same bytes without a cipher.
    #[command(after_help = "Example:\n  cargo run --release -p roundsman-bench -- attachments --runs 5")]
    Attachments {
        /// Files of each size.
        #[arg(long, default_value_t = 5)]
        runs: usize,
    },
    /// From a verified wipe to destroyed keys, with 1 MB, 100 MB and 1 GB in the vault's folder.
    #[command(after_help = "Example:\n  cargo run --release -p roundsman-bench -- wipe --runs 5")]
    Wipe {
        /// Wipes of each size.
        #[arg(long, default_value_t = 5)]
        runs: usize,
    },
    /// What digests, the index, the check and the seal of a change cost beside SQLCipher alone.
    #[command(after_help = "Example:\n  cargo run --release -p roundsman-bench -- store --customers 10000")]
    Store {
        /// Runs, of which the median is shown.
        #[arg(long, default_value_t = 5)]
        runs: usize,
        /// Customers in the store, in whole pages of 500.
        #[arg(long, default_value_t = 10_000)]
        customers: usize,
    },
}

/// Customers of a phone that is not measured for their number.
#[derive(clap::Args)]
struct Few {
    /// How many customers the phone holds.
    #[arg(long, default_value_t = 1_000)]
    customers: usize,
}

impl Few {
    fn load(&self) -> Load {
        Load { customers: self.customers, stores: None }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let report: Report = match Cli::parse().command {
        Command::Office { setting } => return office::serve(&setting).await,
        Command::SyncAPhone { folder } => return initial_sync::phone(&folder).await,
        Command::SendFromAPhone { folder, visits } => return upload::phone(&folder, visits).await,
        Command::All { choice } => return all::run(&choice).await,
        Command::Peers { load, visits, changes, runs } => {
            let reports = peers::run(&load, peers::Size { visits, changes, runs }).await?;
            for report in reports {
                println!("{report}");
            }
            return Ok(());
        }
        Command::InitialSync { load, runs } => block_in_place(|| initial_sync::run(&load, runs))?.report,
        Command::Upload { size, visits, runs } => {
            block_in_place(|| upload::run(&size.load(), visits, runs))?.report
        }
        Command::Latency { size, changes } => latency::run(&size.load(), changes).await?.report,
        Command::Wire { size, runs } => wire::run(&size.load(), runs).await?,
        Command::Use { load, visits } => block_in_place(|| use_at_size::run(&load, visits))?,
        Command::Attachments { runs } => block_in_place(|| attachments::run(runs, false))?,
        Command::Wipe { runs } => wipe::run(runs, false).await?,
        Command::Store { runs, customers } => block_in_place(|| store::run(runs, customers))?,
    };
    println!("{report}");
    Ok(())
}
