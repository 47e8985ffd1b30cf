//! A phone in a process of its own, made to be killed.
//!
//! `phone FOLDER enrol TICKET` enrols it and syncs once. `phone FOLDER day MARK` unlocks it, prints `open`, and then
//! makes visits and syncs without end; after each call that returned `Ok` it prints what is now promised:
//! `started <visit>`, `wrote <visit> <notes>`, `out <visit>`, `synced`. Notes begin with MARK and are never the same
//! twice. `phone FOLDER drain` syncs until nothing is unsent.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "its output is what is promised")]

use anyhow::{Context, bail};
use roundsman_core::Client;
use roundsman_core::model::visit::Outcome;
use roundsman_tests::rig::{passcode, phone_config};
use std::io::Write;
use std::path::Path;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let [folder, rest @ ..] = args.as_slice() else { bail!("phone FOLDER enrol TICKET | day MARK | drain") };
    let client = Client::open(phone_config(Path::new(folder), "phone"))?;
    match rest {
        ["enrol", ticket] => {
            client.enrol(ticket, &passcode()).await?;
            client.sync(&()).await?;
            Ok(())
        }
        ["day", mark] => {
            client.unlock(&passcode())?;
            say("open")?;
            day(&client, mark).await
        }
        ["drain"] => {
            client.unlock(&passcode())?;
            while client.outbox()?.count()? > 0 {
                client.sync(&()).await?;
            }
            Ok(())
        }
        _ => bail!("phone FOLDER enrol TICKET | day MARK | drain"),
    }
}

async fn day(client: &Client, mark: &str) -> anyhow::Result<()> {
    let visits = client.visits()?;
    // A visit that was in progress at the last kill still is.
    if let Some(open) = visits.in_progress()? {
        visits.check_out(open.id, Outcome::Left, Some("the phone was killed".to_owned()))?;
        say(&format!("out {}", open.id))?;
    }
    let stores = client.customers()?.list(None, 100)?;
    for n in 0.. {
        let store = stores.get(n % stores.len().max(1)).context("no customers")?;
        let visit = visits.start(store.id, None)?;
        say(&format!("started {}", visit.id))?;
        let notes = format!("{mark}-{n}");
        visits.write(visit.id, Some(notes.clone()), None)?;
        say(&format!("wrote {} {notes}", visit.id))?;
        visits.check_out(visit.id, Outcome::NoOrder, None)?;
        say(&format!("out {}", visit.id))?;
        if n % 3 == 2 {
            client.sync(&()).await?;
            say("synced")?;
        }
    }
    Ok(())
}

fn say(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
