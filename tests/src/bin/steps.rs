//! A phone that plays one scenario in a process of its own, while its disk fails.
//!
//! `steps FOLDER SCENARIO` plays it on the phone in FOLDER and prints each promise when it is made. It ends with 0,
//! or with 3 if the client returned an error.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its output is what is promised")]

use roundsman_tests::steps::phone::Phone;
use roundsman_tests::steps::{scenarios, shim};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, scenario] = args.as_slice() else { anyhow::bail!("steps FOLDER SCENARIO") };
    let act = scenarios::named(scenario)?.act;
    Ok(match act(&Phone::at(Path::new(folder)), &mut say) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(shim::REFUSED)
        }
    })
}

fn say(line: String) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
