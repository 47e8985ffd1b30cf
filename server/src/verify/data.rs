//! What the database holds: its own tables, the records with their sums, and the logs.

use super::{Finding, FindingKind, MOST, Part, Progress, Report};
use crate::storage::{CheckedRecord, LogFinding, ReadTx, Result, contents_of};
use roundsman_model::attachment::Attachment;
use roundsman_model::{Bucket, Entity, Value, entity, search};
use roundsman_protocol::integrity::{Sum, Sums};
use std::collections::BTreeMap;

/// Records that are read at once.
const SLICE: usize = 1_000;

/// What the database itself finds.
pub(super) fn database(tx: &dyn ReadTx, report: &mut Report) -> Result<()> {
    for fault in tx.database_faults()? {
        report.add(Finding::detailed(FindingKind::Database, fault));
    }
    Ok(())
}

/// Reads every record, compares it with what was counted when it was written, and the sums of the buckets with what the
/// records add up to.
pub(super) fn records(tx: &dyn ReadTx, report: &mut Report, progress: &mut Progress<'_>) -> Result<()> {
    let mut sums: BTreeMap<Bucket, Sums> = BTreeMap::new();
    let mut last = i64::MIN;
    loop {
        progress(Part::Records, report.checked.records);
        let page = tx.records_after(last, SLICE)?;
        let Some(end) = page.last() else { break };
        last = end.n;
        for checked in page {
            report.checked.records += 1;
            let held = record(tx, &checked, report)?;
            let bucket = sums.entry(checked.bucket).or_default();
            *bucket = bucket.plus(Sums::of(&checked.entity, checked.id, checked.rev, held));
        }
    }
    let stored: BTreeMap<Bucket, Sums> = tx.all_sums()?.into_iter().collect();
    let buckets: std::collections::BTreeSet<&Bucket> = sums.keys().chain(stored.keys()).collect();
    report.checked.buckets = buckets.len() as u64;
    for bucket in buckets {
        let sum = |of: &BTreeMap<Bucket, Sums>| of.get(bucket).copied().unwrap_or_default();
        let (found, expected) = (sum(&sums), sum(&stored));
        if found != expected {
            let detail = format!("{} records, {} counted", found.rows, expected.rows);
            let finding = Finding::bucket(FindingKind::BucketSum, bucket.clone());
            report.add(Finding { detail: Some(detail), ..finding });
        }
    }
    let words = tx.words_of_nothing()?;
    if words > 0 {
        report.add(Finding::detailed(
            FindingKind::Search,
            format!("words of {words} records that don't stand"),
        ));
    }
    Ok(())
}

/// Checks one record; the hash of what it holds.
fn record(tx: &dyn ReadTx, checked: &CheckedRecord, report: &mut Report) -> Result<Sum> {
    let mut wrong = |kind| {
        let (bucket, entity) = (checked.bucket.clone(), checked.entity.clone());
        report.add(Finding::record(kind, bucket, entity, checked.id));
    };
    let Some(record) = &checked.record else {
        wrong(FindingKind::RecordUnreadable);
        return Ok(checked.counted.unwrap_or_default());
    };
    let held = contents_of(record);
    if checked.counted != Some(held) {
        wrong(FindingKind::RecordChanged);
    }
    // An entity of a later version is kept as it came.
    let Some(def) = entity(&record.entity) else { return Ok(held) };
    let Ok(fields) = def.admit(record.fields.clone()) else {
        wrong(FindingKind::RecordUnreadable);
        return Ok(held);
    };
    if def.bucket(&fields).is_some_and(|bucket| bucket != record.bucket) {
        wrong(FindingKind::RecordInOtherBucket);
    }
    if checked.indexed == search::index_text(def, &fields).is_empty() {
        wrong(FindingKind::Search);
    }
    if def.name == Attachment::DEF.name {
        let says_stored = fields.get("stored_at").is_some_and(|at| *at != Value::Null);
        let content = tx.content(record.id)?;
        let is_stored = content.is_some_and(|content| content.stored);
        if says_stored != is_stored {
            wrong(FindingKind::ContentUnknown);
        }
    }
    Ok(held)
}

/// Compares the logs with the records.
pub(super) fn logs(tx: &dyn ReadTx, report: &mut Report) -> Result<()> {
    report.checked.log_lines = tx.log_lines()?;
    // One more than is told of each, to know that there are more.
    for LogFinding { fault, bucket, record } in tx.log_faults(MOST + 1)? {
        report.add(match record {
            Some((entity, id)) => Finding::record(fault.into(), bucket, entity, id),
            None => Finding::bucket(fault.into(), bucket),
        });
    }
    Ok(())
}
