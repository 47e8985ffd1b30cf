//! A phone that does what it is told.
//!
//! `told FOLDER [leaky]` reads orders from its input, one JSON line each, and says after each what came of it; see
//! `roundsman_tests::told`. Its log, at the finest level, goes to standard error. A leaky one writes what it sees into
//! files.
#![forbid(unsafe_code)]

use roundsman_tests::told::{Leaks, obey};
use std::path::Path;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (folder, leaks) = match args.as_slice() {
        [folder] => (Path::new(folder), None),
        [folder, "leaky"] => (Path::new(folder), Some(Leaks::new(Path::new(folder)))),
        _ => anyhow::bail!("told FOLDER [leaky]"),
    };
    tracing_subscriber::fmt().with_env_filter("roundsman_core=trace").with_writer(std::io::stderr).init();
    obey(folder, leaks).await
}
