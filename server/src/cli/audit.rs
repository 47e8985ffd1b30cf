//! `roundsman-server audit`: checks the stored audit logs.

use super::table;
use crate::Data;
use anyhow::{Result, bail};
use clap::Subcommand;
use roundsman_server::Admin;
use roundsman_server::admin::ChainVerdict;

/// What can be done with the audit logs.
#[derive(Subcommand)]
pub(crate) enum AuditCommand {
    /// Recomputes the chain of every device and the server's own, and compares them with what the devices signed.
    /// Ends with an error if an entry was changed, left out or replaced.
    #[command(after_help = "Example:\n  roundsman-server audit verify --data ./data")]
    Verify(Data),
}

/// Does it.
pub(crate) fn run(command: AuditCommand) -> Result<()> {
    let AuditCommand::Verify(data) = command;
    let admin = Admin::open(&data.dir)?;
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
    if !verdict.is_sound() {
        bail!("the audit log is not what it was; the first wrong entry of each chain is named above");
    }
    Ok(())
}

fn row(chain: String, name: String, verdict: &ChainVerdict) -> Vec<String> {
    let result = match verdict.fault {
        None => "sound".to_owned(),
        Some((fault, entry)) => format!("entry {entry}: {fault}"),
    };
    vec![chain, name, result, verdict.entries.to_string()]
}
