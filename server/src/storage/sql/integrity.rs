//! SQL of what buckets add up to.

use super::records::{COLUMNS, record};
use super::{Row, Tx, blob, bytes, id, maybe_bytes, number, params};
use crate::storage::{IntegrityRead, IntegrityWrite, LogLine, Result, StorageError, StoredRecord};
use roundsman_model::{Bucket, Rev, Seq, entity};
use roundsman_protocol::integrity::{Sum, Sums, contents};
use std::collections::BTreeMap;

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
pub(super) fn contents_of(record: &StoredRecord) -> Sum {
    let fields = record.fields.clone();
    let fields = entity(&record.entity).map_or_else(|| record.fields.clone(), |def| def.tolerate(fields));
    contents(&record.entity, record.id, record.rev, &fields)
}

impl Tx<'_> {
    /// Follows a record that takes the place of what is stored under its id, before it does; the hash of its contents.
    pub(super) fn follow(&self, record: &StoredRecord) -> Result<Option<Sum>> {
        let old = self.one(
            "SELECT rev, bucket, contents FROM record WHERE entity = ?1 AND id = ?2 AND removed = 0",
            params![record.entity, blob(&record.id)],
            |row| Ok((Rev(number(row, "rev")?), Bucket(row.get("bucket")?), maybe_bytes(row, "contents")?)),
        )?;
        // One that is not counted yet takes nothing away.
        if let Some((rev, bucket, Some(held))) = old {
            let gone = Sums::of(&record.entity, record.id, rev, Sum::from_bytes(&held));
            self.set_sums(&bucket, self.sums(&bucket)?.minus(gone))?;
        }
        if record.removed {
            return Ok(None);
        }
        let held = contents_of(record);
        let come = Sums::of(&record.entity, record.id, record.rev, held);
        self.set_sums(&record.bucket, self.sums(&record.bucket)?.plus(come))?;
        Ok(Some(held))
    }

    fn set_sums(&self, bucket: &Bucket, sums: Sums) -> Result<()> {
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
        let sql = "SELECT rows, versions, contents FROM bucket_sum WHERE bucket = ?1";
        Ok(self.one(sql, params![bucket.0], sums_of)?.unwrap_or_default())
    }

    fn all_sums(&self) -> Result<Vec<(Bucket, Sums)>> {
        let sql = "SELECT bucket, rows, versions, contents FROM bucket_sum ORDER BY bucket";
        self.all(sql, params![], |row| Ok((Bucket(row.get("bucket")?), sums_of(row)?)))
    }

    fn heads(&self) -> Result<Vec<(Bucket, Seq)>> {
        let sql = "SELECT name, last_seq FROM bucket ORDER BY name";
        self.all(sql, params![], |row| Ok((Bucket(row.get("name")?), Seq(number(row, "last_seq")?))))
    }

    fn records_after(&self, n: i64, limit: usize) -> Result<Vec<(i64, StoredRecord)>> {
        let sql = format!("SELECT n, {COLUMNS} FROM record WHERE removed = 0 AND n > ?1 ORDER BY n LIMIT ?2");
        self.all(&sql, params![n, limit as i64], |row| Ok((row.get("n")?, record(row)?)))
    }

    fn log_lines(&self, bucket: &Bucket, after: Seq, limit: usize) -> Result<Vec<LogLine>> {
        let sql = "SELECT seq, entity, record, removed_rev FROM log WHERE bucket = ?1 AND seq > ?2
             ORDER BY seq LIMIT ?3";
        self.all(sql, params![bucket.0, after.0 as i64, limit as i64], |row| {
            let removed: Option<i64> = row.get("removed_rev")?;
            let removed = removed.map(u64::try_from).transpose();
            Ok(LogLine {
                seq: Seq(number(row, "seq")?),
                entity: row.get("entity")?,
                record: id(row, "record")?,
                removed: removed.map_err(|_| StorageError::Damaged("number"))?.map(Rev),
            })
        })
    }
}

impl IntegrityWrite for Tx<'_> {
    fn recount(&mut self) -> Result<()> {
        let mut all: BTreeMap<Bucket, Sums> =
            self.all_sums()?.into_iter().map(|(bucket, _)| (bucket, Sums::default())).collect();
        let mut last = i64::MIN;
        loop {
            let records = self.records_after(last, SLICE)?;
            let Some((end, _)) = records.last() else { break };
            last = *end;
            for (n, record) in records {
                let held = contents_of(&record);
                self.run(
                    "UPDATE record SET contents = ?2 WHERE n = ?1",
                    params![n, held.to_bytes().as_slice()],
                )?;
                let sums = all.entry(record.bucket).or_default();
                *sums = sums.plus(Sums::of(&record.entity, record.id, record.rev, held));
            }
        }
        all.into_iter().try_for_each(|(bucket, sums)| self.set_sums(&bucket, sums))
    }
}
