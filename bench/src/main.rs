//! `roundsman-bench`: times what a promise is made about, each beside a baseline of the same run.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "the tables go to the terminal")]

mod attachments;
mod bare;
mod store;
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
        Command::Attachments { runs } => tokio::task::spawn_blocking(move || attachments::run(runs)).await?,
        Command::Wipe { runs } => wipe::run(runs).await,
        Command::Store { runs, customers } => store::run(runs, customers),
    }
}
