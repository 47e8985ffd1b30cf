//! SQL of what buckets add up to.

use super::records::{COLUMNS, record};
use super::{Row, Tx, blob, bytes, id, maybe_bytes, number, params};
use crate::storage::{
    CheckedRecord, IntegrityRead, IntegrityWrite, LogFault, LogFinding, Result, StorageError, StoredRecord,
};
use roundsman_model::{Bucket, Rev, Value, entity};
use roundsman_protocol::integrity::{self, Sum, Sums, contents};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Records that are read at once.
const SLICE: usize = 1_000;

fn sums_of(row: &Row<'_>) -> Result<Sums> {
    Ok(Sums {
        rows: number(row, "rows")?,
        versions: Sum::from_bytes(&bytes(row, "versions")?),
        contents: Sum::from_bytes(&bytes(row, "contents")?),
    })
}

/// The hash of what a record holds, as every device of this version counts it.
pub(crate) fn contents_of(record: &StoredRecord) -> Sum {
    let Some(def) = entity(&record.entity) else {
        return contents(&record.entity, record.id, record.rev, &record.fields);
    };
    let held = |(name, value): (&String, &Value)| {
        let field = def.field(name)?;
        Some((field.name, field.tolerate(value.clone())))
    };
    let held: Vec<(&str, Value)> = record.fields.iter().filter_map(held).collect();
    integrity::contents_of(
        &record.entity,
        record.id,
        record.rev,
        held.iter().map(|(name, value)| (*name, value)),
    )
}

/// What following a record has found.
pub(super) struct Followed {
    /// The hash of its contents, if it stands.
    pub(super) contents: Option<Sum>,
    /// The number of the record that is there under its id, in whatever state; nothing if there was never one.
    pub(super) n: Option<i64>,
}

impl Tx<'_> {
    /// Follows a record that takes the place of what is stored under its id, before it does.
    pub(super) fn follow(&self, record: &StoredRecord) -> Result<Followed> {
        let old = self.one(
            "SELECT n, rev, bucket, removed, contents FROM record WHERE entity = ?1 AND id = ?2",
            params![record.entity, blob(&record.id)],
            |row| {
                let removed: bool = row.get("removed")?;
                let held = if removed { None } else { maybe_bytes(row, "contents")? };
                Ok((row.get("n")?, Rev(number(row, "rev")?), Bucket(row.get("bucket")?), held))
            },
        )?;
        let n = old.as_ref().map(|(n, ..)| *n);
        // One that is not counted yet takes nothing away.
        if let Some((_, rev, bucket, Some(held))) = old {
            let gone = Sums::of(&record.entity, record.id, rev, Sum::from_bytes(&held));
            self.set_sums(&bucket, self.sums(&bucket)?.minus(gone));
        }
        if record.removed {
            return Ok(Followed { contents: None, n });
        }
        let held = contents_of(record);
        self.count_in(record, held)?;
        Ok(Followed { contents: Some(held), n })
    }

    /// Counts a record that comes into its bucket with these contents.
    pub(super) fn count_in(&self, record: &StoredRecord, contents: Sum) -> Result<()> {
        let come = Sums::of(&record.entity, record.id, record.rev, contents);
        self.set_sums(&record.bucket, self.sums(&record.bucket)?.plus(come));
        Ok(())
    }

    fn set_sums(&self, bucket: &Bucket, sums: Sums) {
        self.in_hand.borrow_mut().entry(bucket.clone()).or_default().sums = Some(sums);
    }

    pub(super) fn write_sums(&self, bucket: &Bucket, sums: Sums) -> Result<()> {
        let (versions, contents) = (sums.versions.to_bytes(), sums.contents.to_bytes());
        self.run(
            "INSERT INTO bucket_sum (bucket, rows, versions, contents) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (bucket) DO UPDATE SET rows = excluded.rows, versions = excluded.versions,
             contents = excluded.contents",
            params![bucket.0, sums.rows as i64, versions.as_slice(), contents.as_slice()],
        )?;
        Ok(())
    }
}

impl IntegrityRead for Tx<'_> {
    fn sums(&self, bucket: &Bucket) -> Result<Sums> {
        if let Some(sums) = self.in_hand.borrow().get(bucket).and_then(|in_hand| in_hand.sums) {
            return Ok(sums);
        }
        let sql = "SELECT rows, versions, contents FROM bucket_sum WHERE bucket = ?1";
        Ok(self.one(sql, params![bucket.0], sums_of)?.unwrap_or_default())
    }

    fn all_sums(&self) -> Result<Vec<(Bucket, Sums)>> {
        self.put_down()?;
        let sql = "SELECT bucket, rows, versions, contents FROM bucket_sum ORDER BY bucket";
        self.all(sql, params![], |row| Ok((Bucket(row.get("bucket")?), sums_of(row)?)))
    }

    fn records_after(&self, n: i64, limit: usize) -> Result<Vec<CheckedRecord>> {
        let (index, key) = self.database.search_rows();
        let sql = format!(
            "SELECT n, {COLUMNS}, contents, CASE WHEN EXISTS (SELECT 1 FROM {index} s WHERE s.{key} = record.n) THEN 1 ELSE 0 END
             AS indexed FROM record WHERE removed = 0 AND n > ?1 ORDER BY n LIMIT ?2"
        );
        self.all(&sql, params![n, limit as i64], |row| {
            // Whatever can't be read of it, the others can.
            let whole = record(row).ok();
            let indexed: i64 = row.get("indexed")?;
            Ok(CheckedRecord {
                n: row.get("n")?,
                entity: row.get("entity")?,
                id: id(row, "id").unwrap_or(Uuid::nil()),
                rev: Rev(number(row, "rev").unwrap_or(0)),
                bucket: Bucket(row.get("bucket")?),
                record: whole,
                counted: maybe_bytes(row, "contents").ok().flatten().map(|bytes| Sum::from_bytes(&bytes)),
                indexed: indexed != 0,
            })
        })
    }

    fn log_lines(&self) -> Result<u64> {
        let lines = self.one("SELECT count(*) AS lines FROM log", params![], |row| number(row, "lines"))?;
        Ok(lines.unwrap_or(0))
    }

    fn log_faults(&self, limit: usize) -> Result<Vec<LogFinding>> {
        self.put_down()?;
        let mut found = Vec::new();
        // The newest line of all is never superseded, so the log ends where the bucket says.
        let ends = "SELECT b.name AS bucket FROM bucket b WHERE b.last_seq <>
                (SELECT coalesce(max(l.seq), 0) FROM log l WHERE l.bucket = b.name)
                OR EXISTS (SELECT 1 FROM log l WHERE l.bucket = b.name AND l.seq < 1)
             UNION SELECT l.bucket FROM log l WHERE NOT EXISTS (SELECT 1 FROM bucket b WHERE b.name = l.bucket)
             LIMIT ?1";
        self.each(ends, params![limit as i64], |row| {
            let bucket = Bucket(row.get("bucket")?);
            found.push(LogFinding { fault: LogFault::End, bucket, record: None });
            Ok(true)
        })?;
        for (fault, sql) in LOG_FAULTS {
            self.each(sql, params![limit as i64], |row| {
                let record = Some((row.get("entity")?, id(row, "record").unwrap_or(Uuid::nil())));
                found.push(LogFinding { fault, bucket: Bucket(row.get("bucket")?), record });
                Ok(true)
            })?;
        }
        Ok(found)
    }

    fn words_of_nothing(&self) -> Result<u64> {
        let (index, key) = self.database.search_rows();
        let sql = format!(
            "SELECT count(*) AS words FROM {index} s WHERE NOT EXISTS
             (SELECT 1 FROM record r WHERE r.n = s.{key} AND r.removed = 0)"
        );
        Ok(self.one(&sql, params![], |row| number(row, "words"))?.unwrap_or(0))
    }

    fn database_faults(&self) -> Result<Vec<String>> {
        self.database.faults()
    }
}

/// Each fault of lines and records, and how it is found. `?1` is the most that are told.
const LOG_FAULTS: [(LogFault, &str); 4] = [
    (
        LogFault::NotLogged,
        "SELECT r.entity, r.id AS record, r.bucket FROM record r WHERE r.removed = 0 AND NOT EXISTS (SELECT 1 FROM log l
         WHERE l.bucket = r.bucket AND l.entity = r.entity AND l.record = r.id AND l.removed_rev IS NULL) LIMIT ?1",
    ),
    (
        LogFault::RemovalNotLogged,
        "SELECT r.entity, r.id AS record, r.bucket FROM record r WHERE r.removed <> 0 AND NOT EXISTS (SELECT 1 FROM log l
         WHERE l.bucket = r.bucket AND l.entity = r.entity AND l.record = r.id AND l.removed_rev = r.rev) LIMIT ?1",
    ),
    (
        LogFault::NotThere,
        "SELECT l.entity, l.record, l.bucket FROM log l LEFT JOIN record r ON r.entity = l.entity AND r.id = l.record
         WHERE l.removed_rev IS NULL AND (r.n IS NULL OR r.removed <> 0 OR r.bucket <> l.bucket) LIMIT ?1",
    ),
    (
        LogFault::NotGone,
        "SELECT l.entity, l.record, l.bucket FROM log l LEFT JOIN record r ON r.entity = l.entity AND r.id = l.record
         WHERE l.removed_rev IS NOT NULL AND (r.n IS NULL OR (r.removed = 0 AND r.bucket = l.bucket)
         OR l.removed_rev > r.rev OR l.removed_rev < 1) LIMIT ?1",
    ),
];

impl IntegrityWrite for Tx<'_> {
    fn recount(&mut self) -> Result<()> {
        let mut all: BTreeMap<Bucket, Sums> =
            self.all_sums()?.into_iter().map(|(bucket, _)| (bucket, Sums::default())).collect();
        let mut last = i64::MIN;
        loop {
            let records = self.records_after(last, SLICE)?;
            let Some(end) = records.last() else { break };
            last = end.n;
            for CheckedRecord { n, record, .. } in records {
                let record = record.ok_or(StorageError::Damaged("record"))?;
                let held = contents_of(&record);
                self.run(
                    "UPDATE record SET contents = ?2 WHERE n = ?1",
                    params![n, held.to_bytes().as_slice()],
                )?;
                let sums = all.entry(record.bucket).or_default();
                *sums = sums.plus(Sums::of(&record.entity, record.id, record.rev, held));
            }
        }
        for (bucket, sums) in all {
            self.set_sums(&bucket, sums);
        }
        Ok(())
    }
}
