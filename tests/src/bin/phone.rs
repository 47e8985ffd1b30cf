//! A phone in a process of its own, made to be killed.
//!
//! `phone FOLDER enrol TICKET` enrols it and syncs once. `phone FOLDER day MARK` unlocks it, prints `open`, and then
//! makes visits and syncs without end; after each call that returned `Ok` it prints what is now promised:
//! `started <visit>`, `wrote <visit> <notes>`, `out <visit>`, `synced`. Notes begin with MARK and are never the same
//! twice. `phone FOLDER drain` syncs until nothing is unsent.
//!
//! `phone FOLDER look [leaky]` reads the passcode from its input, one line; opens, looks at every customer and writes
//! a visit, prints `open`, waits for a line, closes, prints `closed`, and waits for another. It never has the passcode
//! in a buffer that is not wiped. A leaky one keeps what it saw, in memory and in a file.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "its output is what is promised")]

use anyhow::{Context, bail};
use roundsman_core::Client;
use roundsman_core::model::visit::Outcome;
use roundsman_core::vault::Passcode;
use roundsman_tests::rig::{passcode, phone_config};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

/// As in the bindings: memory is wiped when it is given back.
#[global_allocator]
static MEMORY: zeroizing_alloc::ZeroAlloc<std::alloc::System> =
    zeroizing_alloc::ZeroAlloc(std::alloc::System);

const USAGE: &str = "phone FOLDER enrol TICKET | day MARK | drain | look [leaky]";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let [folder, rest @ ..] = args.as_slice() else { bail!(USAGE) };
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
        ["look"] => look(&client, None),
        ["look", "leaky"] => look(&client, Some(&Path::new(folder).join("vault/cache"))),
        _ => bail!(USAGE),
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

fn look(client: &Client, leak: Option<&Path>) -> anyhow::Result<()> {
    // Without a buffer of its own, which would keep the passcode.
    let mut input = File::open("/dev/stdin")?;
    let mut typed = zeroize::Zeroizing::new(String::with_capacity(64));
    line(&mut input, &mut typed)?;
    client.unlock(&Passcode::new(&typed)?)?;
    let mut kept = Vec::new();
    let stores = client.customers()?.list(None, 1_000)?;
    for store in &stores {
        client.customers()?.search(&store.name, 5)?;
        if leak.is_some() {
            kept.push(format!(
                "{} {} {}",
                typed.as_str(),
                store.name,
                store.address.as_deref().unwrap_or_default()
            ));
        }
    }
    let visit = client.visits()?.start(stores.first().context("no customers")?.id, None)?;
    client.visits()?.write(visit.id, Some(stores.iter().map(|store| store.name.as_str()).collect()), None)?;
    client.visits()?.check_out(visit.id, Outcome::NoOrder, None)?;
    if let Some(path) = leak {
        std::fs::write(path, kept.join("\n"))?;
    }
    drop((stores, visit, typed));
    let mut answer = String::new();
    say("open")?;
    line(&mut input, &mut answer)?;
    client.lock();
    say("closed")?;
    line(&mut input, &mut answer)?;
    // Held until here.
    drop(kept);
    Ok(())
}

/// Reads a line, byte by byte.
fn line(input: &mut File, text: &mut String) -> anyhow::Result<()> {
    let mut byte = [0];
    while input.read(&mut byte)? == 1 && byte != [b'\n'] {
        text.push(char::from(byte[0]));
    }
    Ok(())
}

fn say(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
