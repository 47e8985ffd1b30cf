//! `roundsman-bench`: times what a promise is made about, each beside a baseline of the same run.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "the tables go to the terminal")]

mod attachments;
mod bare;
mod initial_sync;
mod store;
mod use_at_size;
mod wipe;
mod workload;

use clap::{Parser, Subcommand};

/// Times what a promise is made about. Build with --release; nothing else should run on the machine.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:\n  cargo run --release -p roundsman-bench -- wipe\n  \
    cargo run --release -p roundsman-bench -- store"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A phone's first sync over TLS from a real server, beside SQLCipher alone.
    #[command(after_help = "Examples:\n  cargo run --release -p roundsman-bench -- initial-sync\n  \
        cargo run --release -p roundsman-bench -- initial-sync --customers 57156 --stores stores.csv")]
    InitialSync {
        #[command(flatten)]
        load: initial_sync::Load,
        /// Runs, of which the median is shown.
        #[arg(long, default_value_t = 3)]
        runs: usize,
    },
    /// What a rep waits for on a phone with many customers and visits: a write, a search, a list, an unlock.
    #[command(after_help = "Example:\n  cargo run --release -p roundsman-bench -- use --customers 100000")]
    Use {
        #[command(flatten)]
        load: initial_sync::Load,
        /// Visits on the phone.
        #[arg(long, default_value_t = 200_000)]
        visits: usize,
    },
    /// The server of `initial-sync`.
    #[command(hide = true)]
    ServeCustomers {
        #[command(flatten)]
        load: initial_sync::Load,
    },
    /// The phone of `initial-sync`.
    #[command(hide = true)]
    SyncAPhone {
        #[arg(long)]
        folder: std::path::PathBuf,
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

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::InitialSync { load, runs } => {
            tokio::task::spawn_blocking(move || initial_sync::run(&load, runs)).await?
        }
        Command::Use { load, visits } => {
            tokio::task::spawn_blocking(move || use_at_size::run(&load, visits)).await?
        }
        Command::ServeCustomers { load } => initial_sync::serve(&load).await,
        Command::SyncAPhone { folder } => initial_sync::phone(&folder).await,
        Command::Attachments { runs } => tokio::task::spawn_blocking(move || attachments::run(runs)).await?,
        Command::Wipe { runs } => wipe::run(runs).await,
        Command::Store { runs, customers } => store::run(runs, customers),
    }
}
