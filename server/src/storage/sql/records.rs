//! SQL of records and the change log.

use super::integrity::{Followed, contents_of};
use super::{Row, Tx, blob, id, json, number, params, to_json};
use crate::storage::{
    LogEntry, LogRow, Notice, RecordsRead, RecordsWrite, Result, StorageError, StoredConflict, StoredRecord,
};
use chrono::NaiveDate;
use roundsman_model::{Bucket, DeviceId, Rev, Seq};
use roundsman_protocol::integrity::Sum;
use uuid::Uuid;

pub(super) const COLUMNS: &str = "entity, id, rev, bucket, removed, fields, marks";

pub(super) fn record(row: &Row<'_>) -> Result<StoredRecord> {
    Ok(StoredRecord {
        entity: row.get("entity")?,
        id: id(row, "id")?,
        rev: Rev(number(row, "rev")?),
        bucket: Bucket(row.get("bucket")?),
        removed: row.get("removed")?,
        fields: json(row, "fields")?,
        marks: json(row, "marks")?,
    })
}

impl RecordsRead for Tx<'_> {
    fn record(&self, entity: &str, id: Uuid) -> Result<Option<StoredRecord>> {
        let sql = format!("SELECT {COLUMNS} FROM record WHERE entity = ?1 AND id = ?2");
        self.one(&sql, params![entity, blob(&id)], record)
    }

    fn bucket_of(&self, entity: &str, id: Uuid) -> Result<Option<Bucket>> {
        let sql = "SELECT bucket FROM record WHERE entity = ?1 AND id = ?2 AND removed = 0";
        self.one(sql, params![entity, blob(&id)], |row| Ok(Bucket(row.get("bucket")?)))
    }

    fn bucket_head(&self, bucket: &Bucket) -> Result<Seq> {
        if let Some(head) = self.in_hand.borrow().get(bucket).and_then(|in_hand| in_hand.head) {
            return Ok(Seq(head));
        }
        let head = self.one("SELECT last_seq FROM bucket WHERE name = ?1", params![&bucket.0], |row| {
            number(row, "last_seq")
        })?;
        Ok(Seq(head.unwrap_or(0)))
    }

    fn log_after(&self, bucket: &Bucket, after: Seq, limit: usize, max_bytes: usize) -> Result<Vec<LogRow>> {
        let mut found = Vec::new();
        let mut total = 0;
        let sql = "SELECT log.seq, log.entity, log.record, log.removed_rev, record.rev, record.fields
             FROM log LEFT JOIN record ON record.entity = log.entity AND record.id = log.record
             WHERE log.bucket = ?1 AND log.seq > ?2 ORDER BY log.seq LIMIT ?3";
        if max_bytes == 0 {
            return Ok(found);
        }
        self.each(sql, params![bucket.0, after.0 as i64, limit as i64], |row| {
            let removed: Option<i64> = row.get("removed_rev")?;
            let (rev, fields) = if let Some(rev) = removed {
                (u64::try_from(rev).map_err(|_| StorageError::Damaged("number"))?, None)
            } else {
                let text: String = row.get("fields")?;
                total += text.len();
                (number(row, "rev")?, Some(text))
            };
            found.push(LogRow {
                seq: Seq(number(row, "seq")?),
                entity: row.get("entity")?,
                record: id(row, "record")?,
                rev: Rev(rev),
                fields,
            });
            Ok(total < max_bytes)
        })?;
        Ok(found)
    }

    fn customer_by_code(&self, code: &str) -> Result<Option<StoredRecord>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM record WHERE entity = 'customer' AND removed = 0 AND fields ->> '$.code' = ?1"
        );
        self.one(&sql, params![code], record)
    }

    fn customers(
        &self,
        search: Option<&str>,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<StoredRecord>> {
        let after_name = match &after {
            Some(after) => self.one(
                "SELECT fields ->> '$.name' AS name FROM record WHERE entity = 'customer' AND id = ?1",
                params![blob(after)],
                |row| Ok(row.get::<_, Option<String>>("name")?.unwrap_or_default()),
            )?,
            None => None,
        };
        let start = (after_name.unwrap_or_default(), after.unwrap_or(Uuid::nil()));
        let search = search.map(|query| self.database.search_query(query));
        let matching = if search.is_some() { self.database.search_clause() } else { "" };
        let sql = format!(
            "SELECT {COLUMNS} FROM record WHERE entity = 'customer' AND removed = 0
             AND (fields ->> '$.name', id) > (?1, ?2) {matching} ORDER BY fields ->> '$.name', id LIMIT ?3"
        );
        match search {
            Some(query) => self.all(&sql, params![start.0, blob(&start.1), limit as i64, query], record),
            None => self.all(&sql, params![start.0, blob(&start.1), limit as i64], record),
        }
    }

    fn record_count(&self, entity: &str) -> Result<u64> {
        let sql = "SELECT count(*) AS n FROM record WHERE entity = ?1 AND removed = 0";
        Ok(self.one(sql, params![entity], |row| number(row, "n"))?.unwrap_or(0))
    }

    fn recent_visits(&self, limit: usize) -> Result<Vec<StoredRecord>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM record WHERE entity = 'visit' AND removed = 0
             AND fields ->> '$.started_at' IS NOT NULL ORDER BY fields ->> '$.started_at' DESC, id LIMIT ?1"
        );
        self.all(&sql, params![limit as i64], record)
    }

    fn visits_on(&self, day: NaiveDate) -> Result<Vec<StoredRecord>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM record WHERE entity = 'visit' AND removed = 0 AND fields ->> '$.day' = ?1
             ORDER BY fields ->> '$.rep' NULLS FIRST, length(fields ->> '$.stop') NULLS FIRST,
             fields ->> '$.stop' NULLS FIRST, id"
        );
        self.all(&sql, params![day.to_string()], record)
    }

    fn conflicts(&self, limit: usize) -> Result<Vec<StoredConflict>> {
        self.all("SELECT * FROM conflict ORDER BY n DESC LIMIT ?1", params![limit as i64], |row| {
            Ok(StoredConflict {
                entity: row.get("entity")?,
                record: id(row, "record")?,
                device: DeviceId(id(row, "device")?),
                at_ms: row.get("at_ms")?,
                conflict: json(row, "conflict")?,
            })
        })
    }
}

impl Tx<'_> {
    /// Puts terms in the place of those that a record is found by. `n` is its number, if that is known.
    fn index_terms(&self, record: &StoredRecord, n: Option<i64>, terms: &str) -> Result<()> {
        let sql = "SELECT n FROM record WHERE entity = ?1 AND id = ?2";
        let find = || self.one(sql, params![record.entity, blob(&record.id)], |row| row.get("n"));
        let n = n.map_or_else(find, |n| Ok(Some(n)))?;
        self.database.index_terms(n.ok_or(StorageError::Damaged("record"))?, terms)
    }

    /// Adds a record, with its fields and marks as JSON; how many rows that changed. `otherwise` is done if its id is taken.
    fn insert(
        &self,
        record: &StoredRecord,
        (fields, marks): &(String, String),
        contents: Option<Sum>,
        otherwise: &str,
    ) -> Result<usize> {
        let sql = format!(
            "INSERT INTO record (entity, id, rev, bucket, removed, fields, marks, contents)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (entity, id) {otherwise}"
        );
        let contents = contents.map(Sum::to_bytes);
        let contents = contents.as_ref().map(<[u8; 32]>::as_slice);
        self.run(
            &sql,
            params![
                record.entity,
                blob(&record.id),
                record.rev.0 as i64,
                record.bucket.0,
                record.removed,
                fields,
                marks,
                contents
            ],
        )
    }

    pub(super) fn write_head(&self, bucket: &Bucket, head: u64) -> Result<()> {
        self.run(
            "INSERT INTO bucket (name, last_seq) VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET last_seq = excluded.last_seq",
            params![bucket.0, head as i64],
        )?;
        Ok(())
    }
}

impl RecordsWrite for Tx<'_> {
    fn put_record(&mut self, record: &StoredRecord, terms: &str) -> Result<()> {
        let json = (to_json(&record.fields)?, to_json(&record.marks)?);
        // Nearly every first version is of a record that never was here, and then nothing has to be looked for.
        if record.rev == Rev(1) && !record.removed {
            let contents = contents_of(record);
            if self.insert(record, &json, Some(contents), "DO NOTHING")? > 0 {
                self.count_in(record, contents)?;
                return if terms.is_empty() { Ok(()) } else { self.index_terms(record, None, terms) };
            }
        }
        let Followed { contents, n } = self.follow(record)?;
        let update = "DO UPDATE SET rev = excluded.rev, bucket = excluded.bucket, removed = excluded.removed,
             fields = excluded.fields, marks = excluded.marks, contents = excluded.contents";
        self.insert(record, &json, contents, update)?;
        let terms = if record.removed { "" } else { terms };
        // One that was never here has no words to be taken away.
        if n.is_none() && terms.is_empty() { Ok(()) } else { self.index_terms(record, n, terms) }
    }

    fn sent_by(&mut self, device: DeviceId) {
        self.sender = Some(device);
    }

    fn append_log(&mut self, bucket: &Bucket, entity: &str, record: Uuid, entry: LogEntry) -> Result<Seq> {
        let seq = self.bucket_head(bucket)?.next().0;
        self.in_hand.borrow_mut().entry(bucket.clone()).or_default().head = Some(seq);
        let removed = match entry {
            LogEntry::Put => None,
            LogEntry::Removal(rev) => Some(rev.0 as i64),
        };
        // Only the newest entry of a record stands.
        self.run(
            "INSERT INTO log (bucket, seq, entity, record, removed_rev) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (bucket, entity, record) DO UPDATE SET seq = excluded.seq, removed_rev = excluded.removed_rev",
            params![bucket.0, seq as i64, entity, blob(&record), removed],
        )?;
        self.notice(match self.sender {
            Some(device) => Notice::Sent(bucket.clone(), device),
            None => Notice::Bucket(bucket.clone()),
        });
        Ok(Seq(seq))
    }

    fn add_conflict(&mut self, conflict: &StoredConflict) -> Result<()> {
        self.run(
            "INSERT INTO conflict (entity, record, device, at_ms, conflict) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                conflict.entity,
                blob(&conflict.record),
                blob(&conflict.device.0),
                conflict.at_ms,
                to_json(&conflict.conflict)?
            ],
        )?;
        Ok(())
    }
}
