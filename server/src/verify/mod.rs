//! Checking everything that the server keeps, end to end, beside the running server.
//!
//! # Promises
//! - A check changes nothing. What the database holds is read at one moment, so that what is written meanwhile is no
//!   finding.
//! - What is wrong is named by its kind, its bucket and its id; no field of a record is told.
//! - A part that can't be read is a finding, and the other parts are checked all the same.
//! - Administrators learn of it only if somebody says so after the check:
//!   [`Admin::note_findings`](crate::Admin::note_findings).
//!
//! # Not promised
//! - Whoever can write to the database can write a whole other history into it. Against that there are the devices'
//!   signatures on their audit chains, and [anchors](crate::Admin::compare_anchor) that are kept elsewhere.
//! - Pages of PostgreSQL are PostgreSQL's to check: `pg_amcheck`, and checksums of pages.

mod alerts;
mod contents;
mod data;
mod finding;
#[cfg(test)]
mod tests;

pub(crate) use alerts::note;
pub use finding::{Finding, FindingKind};

use crate::app::App;
use crate::audit;
use crate::storage::{ReadTx, StorageError};
use roundsman_model::DeviceId;

/// The most findings of one kind that are told one by one.
const MOST: usize = 200;

/// What is checked, part by part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The database itself.
    Database,
    /// The records, and what the buckets add up to.
    Records,
    /// The buckets' logs.
    Logs,
    /// The audit chains.
    Audit,
    /// The content of attachments.
    Contents,
}

impl Part {
    /// The words for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Database => "the database",
            Self::Records => "records",
            Self::Logs => "lines of the logs",
            Self::Audit => "audit entries",
            Self::Contents => "contents of attachments",
        }
    }
}

/// How much was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Buckets whose sums were compared.
    pub buckets: u64,
    /// Records that stand.
    pub records: u64,
    /// Lines of all logs.
    pub log_lines: u64,
    /// Devices whose audit chains were recomputed.
    pub audit_chains: u64,
    /// Entries of those chains.
    pub audit_entries: u64,
    /// Contents of attachments that were looked for.
    pub contents: u64,
    /// Bytes of them that were read and hashed.
    pub content_bytes: u64,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Whether the content of attachments was read through too.
    pub whole: bool,
    /// How much was checked.
    pub checked: Checked,
    /// What is wrong: by kind, then in the order in which it was found.
    pub findings: Vec<Finding>,
    /// How many more things are wrong than are told one by one.
    pub more: u64,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    /// Whether something of this kind is wrong.
    pub fn has(&self, kind: FindingKind) -> bool {
        self.findings.iter().any(|finding| finding.kind == kind)
    }

    /// Whether something of this kind would have been found, had it been there.
    pub fn tells_of(&self, kind: FindingKind) -> bool {
        // What can't be read hides what is wrong behind it.
        let hidden = self.has(FindingKind::Unreadable) || self.has(FindingKind::Database);
        let needs_whole = matches!(kind, FindingKind::ContentChanged | FindingKind::Unreadable);
        self.has(kind) || !hidden && (self.whole || !needs_whole)
    }

    fn add(&mut self, finding: Finding) {
        let told = self.findings.iter().filter(|known| known.kind == finding.kind).count();
        if told < MOST {
            self.findings.push(finding);
        } else {
            self.more += 1;
        }
    }

    /// Takes a part that could not be read for a finding; only a database that is not there ends the check.
    fn survive(&mut self, part: Part, checked: Result<(), StorageError>) -> Result<(), StorageError> {
        match checked {
            Err(error @ StorageError::Unreachable(_)) => Err(error),
            Err(_) => {
                self.add(Finding::detailed(FindingKind::Unreadable, part.words().to_owned()));
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}

/// Follows a check: a part, and how much of it was checked so far.
pub type Progress<'a> = dyn FnMut(Part, u64) + Send + 'a;

/// Checks everything. `contents` says that the content of attachments is read through too, not only looked for.
pub(crate) fn verify(app: &App, contents: bool, progress: &mut Progress<'_>) -> Result<Report, StorageError> {
    let mut report = Report { whole: contents, ..Report::default() };
    one_moment(app.storage.read()?.as_ref(), &mut report, progress)?;
    // None is held open while files are read: on a busy server that could take an hour.
    contents::check(app, contents, &mut report, progress)?;
    report.findings.sort_by_key(|finding| finding.kind);
    Ok(report)
}

/// Checks what the database holds.
fn one_moment(tx: &dyn ReadTx, report: &mut Report, progress: &mut Progress<'_>) -> Result<(), StorageError> {
    progress(Part::Database, 0);
    let checked = data::database(tx, report);
    report.survive(Part::Database, checked)?;
    let checked = data::records(tx, report, progress);
    report.survive(Part::Records, checked)?;
    progress(Part::Logs, 0);
    let checked = data::logs(tx, report);
    report.survive(Part::Logs, checked)?;
    progress(Part::Audit, 0);
    let checked = chains(tx, report);
    report.survive(Part::Audit, checked)
}

/// Recomputes the audit chains.
fn chains(tx: &dyn ReadTx, report: &mut Report) -> Result<(), StorageError> {
    let audit::Verdict { devices, server } = audit::verify(tx)?;
    report.checked.audit_chains = devices.len() as u64;
    report.checked.audit_entries = server.entries;
    let entry = |place: u64, fault: roundsman_protocol::audit::AuditError| format!("entry {place}: {fault}");
    if let Some((fault, place)) = server.fault {
        report.add(Finding::detailed(FindingKind::ServerAudit, entry(place, fault)));
    }
    for (DeviceId(device), chain) in devices {
        if let Some((fault, place)) = chain.fault {
            let finding = Finding::detailed(FindingKind::DeviceAudit, entry(place, fault));
            report.add(Finding { id: Some(device), ..finding });
        }
    }
    Ok(())
}
