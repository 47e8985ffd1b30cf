//! SQL of removed records and of open collisions.

use super::records::{COLUMNS, record};
use super::{Row, Tx, blob, id, json, maybe_bytes, number, params, to_json};
use crate::storage::{RemovedRead, RemovedWrite, Result, StoredRecord, StoredRemoval};
use roundsman_model::{Bucket, Rev, UserId};
use uuid::Uuid;

pub(super) const REMOVED: &str = "entity, id, rev, bucket, at_ms, \"by\", along, fields, marks";

pub(super) fn removal(row: &Row<'_>) -> Result<StoredRemoval> {
    let by = maybe_bytes(row, "by")?;
    Ok(StoredRemoval {
        record: StoredRecord {
            entity: row.get("entity")?,
            id: id(row, "id")?,
            rev: Rev(number(row, "rev")?),
            bucket: Bucket(row.get("bucket")?),
            removed: true,
            fields: json(row, "fields")?,
            marks: json(row, "marks")?,
        },
        at_ms: row.get("at_ms")?,
        by: by.map(|bytes| UserId(Uuid::from_bytes(bytes))),
        along: row.get("along")?,
    })
}

impl RemovedRead for Tx<'_> {
    fn removal(&self, entity: &str, id: Uuid) -> Result<Option<StoredRemoval>> {
        let sql = format!("SELECT {REMOVED} FROM removed WHERE entity = ?1 AND id = ?2");
        self.one(&sql, params![entity, blob(&id)], removal)
    }

    fn removals(&self, entity: &str, limit: usize) -> Result<Vec<StoredRemoval>> {
        let sql = format!("SELECT {REMOVED} FROM removed WHERE entity = ?1 ORDER BY at_ms DESC, id LIMIT ?2");
        self.all(&sql, params![entity, limit as i64], removal)
    }

    fn newest(&self, entity: &str, limit: usize) -> Result<Vec<StoredRecord>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM record WHERE entity = ?1 AND removed = 0 ORDER BY n DESC LIMIT ?2"
        );
        self.all(&sql, params![entity, limit as i64], record)
    }

    fn collisions_of(&self, of: Uuid) -> Result<Vec<StoredRecord>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM record WHERE entity = 'collision' AND removed = 0
             AND fields ->> '$.record' = ?1 ORDER BY n"
        );
        self.all(&sql, params![of.to_string()], record)
    }
}

impl RemovedWrite for Tx<'_> {
    fn keep_removal(&mut self, removal: &StoredRemoval) -> Result<()> {
        let record = &removal.record;
        self.run(
            "INSERT INTO removed (entity, id, rev, bucket, at_ms, \"by\", along, fields, marks)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT (entity, id) DO UPDATE SET rev = excluded.rev, bucket = excluded.bucket,
             at_ms = excluded.at_ms, \"by\" = excluded.\"by\", along = excluded.along, fields = excluded.fields,
             marks = excluded.marks",
            params![
                record.entity,
                blob(&record.id),
                record.rev.0 as i64,
                record.bucket.0,
                removal.at_ms,
                removal.by.as_ref().map(|by| blob(&by.0)),
                removal.along,
                to_json(&record.fields)?,
                to_json(&record.marks)?
            ],
        )?;
        Ok(())
    }

    fn forget_removal(&mut self, entity: &str, id: Uuid) -> Result<()> {
        self.run("DELETE FROM removed WHERE entity = ?1 AND id = ?2", params![entity, blob(&id)])?;
        Ok(())
    }

    fn forget_removals_before(&mut self, at_ms: i64) -> Result<u64> {
        Ok(self.run("DELETE FROM removed WHERE at_ms < ?1", params![at_ms])? as u64)
    }
}
