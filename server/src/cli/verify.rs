//! `roundsman-server verify`: checks everything.

use super::attachments::PlaceArgs;
use super::table;
use crate::Data;
use anyhow::{Result, bail};
use clap::Args;
use roundsman_server::Admin;
use roundsman_server::verify::{Finding, Part, Report};
use std::io::{IsTerminal, Write};

/// What to check.
#[derive(Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    data: Data,
    /// Reads the content of every attachment through and compares its hash. Without it contents are looked for, and their
    /// sizes compared.
    #[arg(long)]
    contents: bool,
    /// Writes nothing at all, and so raises no alert: for a look at a copy, or at a database that is damaged.
    #[arg(long)]
    no_alerts: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Does it.
pub(crate) fn run(args: Verify) -> Result<()> {
    let Verify { data, contents, no_alerts, place } = args;
    let admin = Admin::open_as_is(&data.dir, data.database().as_ref(), &place.place()?)?;
    let shows = std::io::stderr().is_terminal();
    let report = admin.verify(contents, &mut |part, done| show(shows, part, done))?;
    if shows {
        let _closed = write!(std::io::stderr(), "\r\x1b[K");
    }
    print(&report, contents);
    // What was found is told here whether or not the database can be written.
    if !no_alerts && let Err(error) = admin.note_findings(&report) {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the alerts in the console could not be brought up to date"
        );
    }
    if !report.is_sound() {
        bail!("something is not as it should be; it is named above");
    }
    Ok(())
}

/// Says how far it has come. Progress is a courtesy: a closed terminal must not stop the check.
fn show(shows: bool, part: Part, done: u64) {
    if !shows {
        return;
    }
    let count = if done > 0 { format!(": {done}") } else { String::new() };
    let _closed = write!(std::io::stderr(), "\r\x1b[KChecking {}{count}", part.words());
    let _closed = std::io::stderr().flush();
}

fn print(report: &Report, contents: bool) {
    let checked = report.checked;
    let row = |what: &str, count: u64| vec![what.to_owned(), count.to_string()];
    let mut rows = vec![
        row("buckets", checked.buckets),
        row("records", checked.records),
        row("lines of the logs", checked.log_lines),
        row("audit chains of devices", checked.audit_chains),
        row("audit entries", checked.audit_entries),
        row("contents of attachments", checked.contents),
    ];
    if contents {
        rows.push(row("bytes of them", checked.content_bytes));
    }
    table(&["checked", "count"], 1, &rows);
    println!();
    if report.is_sound() {
        println!("Nothing is wrong.");
        return;
    }
    let rows: Vec<Vec<String>> = report.findings.iter().map(cells).collect();
    table(&["wrong", "bucket", "of", "id", "detail"], 0, &rows);
    if report.more > 0 {
        println!("… and {} more.", report.more);
    }
    let mut told = Vec::new();
    for finding in &report.findings {
        let advice = finding.kind.advice();
        if !told.contains(&advice) {
            told.push(advice);
            println!("\n{advice}");
        }
    }
}

fn cells(finding: &Finding) -> Vec<String> {
    let Finding { kind, bucket, entity, id, detail } = finding;
    vec![
        kind.words().to_owned(),
        bucket.as_ref().map(|bucket| bucket.0.clone()).unwrap_or_default(),
        entity.clone().unwrap_or_default(),
        id.map(|id| id.to_string()).unwrap_or_default(),
        detail.clone().unwrap_or_default(),
    ]
}
