//! `roundsman-server audit`: checks the stored audit logs.

use super::table;
use crate::Data;
use anyhow::{Context, Result, bail};
use clap::Subcommand;
use roundsman_server::Admin;
use roundsman_server::admin::{Anchored, ChainVerdict};
use std::path::{Path, PathBuf};

/// What can be done with the audit logs.
#[derive(Subcommand)]
pub(crate) enum AuditCommand {
    /// Recomputes the chain of every device and the server's own, and compares them with what the devices signed.
    /// Ends with an error if an entry was changed, left out or replaced.
    ///
    /// With an anchor that was kept elsewhere, a database that was replaced or put back is found out too.
    #[command(after_help = "Examples:\n  roundsman-server audit verify --data ./data\n  \
        roundsman-server audit verify --data ./data --anchor /mnt/worm/audit-2026-11-25.anchor")]
    Verify {
        #[command(flatten)]
        data: Data,
        /// An anchor to compare with; may be repeated.
        #[arg(long = "anchor", value_name = "FILE")]
        anchors: Vec<PathBuf>,
    },
    /// Prints the end of the server's chain, signed. A running server writes one a day by itself: see `serve --anchors`.
    #[command(
        after_help = "Example:\n  roundsman-server audit anchor --data ./data > /mnt/worm/today.anchor"
    )]
    Anchor(Data),
}

/// Does it.
pub(crate) fn run(command: AuditCommand) -> Result<()> {
    match command {
        AuditCommand::Verify { data, anchors } => verify(&data, &anchors),
        AuditCommand::Anchor(data) => {
            print!("{}", data.admin()?.audit_anchor()?);
            Ok(())
        }
    }
}

fn verify(data: &Data, anchors: &[PathBuf]) -> Result<()> {
    let admin = data.admin()?;
    let verdict = admin.verify_audit()?;
    let names = admin.devices()?;
    let mut rows: Vec<Vec<String>> = verdict
        .devices
        .iter()
        .map(|(id, chain)| {
            let name = names.iter().find(|device| device.id == *id).map(|device| device.name.clone());
            row(id.to_string(), name.unwrap_or_default(), chain)
        })
        .collect();
    rows.push(row("the server's chain".to_owned(), String::new(), &verdict.server));
    table(&["chain", "name", "result", "entries"], 1, &rows);
    let mut held = true;
    for file in anchors {
        held &= compare(&admin, file)?;
    }
    if !verdict.is_sound() {
        bail!("the audit log is not what it was; the first wrong entry of each chain is named above");
    }
    if !held {
        bail!(
            "the audit log is not the one that an anchor vouches for: another or older database is in its place"
        );
    }
    Ok(())
}

/// Whether an anchor holds.
fn compare(admin: &Admin, file: &Path) -> Result<bool> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{} can't be read", file.display()))?;
    let anchored = admin.compare_anchor(&text).with_context(|| file.display().to_string())?;
    let words = match anchored {
        Anchored::Holds { entries } => format!("the first {entries} entries are as they were"),
        Anchored::Shorter { entries, stored } => format!("there were {entries} entries, {stored} are left"),
        Anchored::Other { entries } => format!("the first {entries} entries are other ones"),
        Anchored::Unsigned => "not signed by this organisation's server".to_owned(),
    };
    println!("{}: {words}", file.display());
    Ok(matches!(anchored, Anchored::Holds { .. }))
}

fn row(chain: String, name: String, verdict: &ChainVerdict) -> Vec<String> {
    let result = match verdict.fault {
        None => "sound".to_owned(),
        Some((fault, entry)) => format!("entry {entry}: {fault}"),
    };
    vec![chain, name, result, verdict.entries.to_string()]
}
