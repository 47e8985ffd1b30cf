//! SQL of the content of attachments.

use super::records::{COLUMNS, record};
use super::removed::{REMOVED, removal};
use super::{Row, Tx, blob, id, number, params};
use crate::storage::{
    AttachmentsRead, AttachmentsWrite, Result, StoredContent, StoredRecord, StoredRemoval, Waste,
};
use roundsman_model::DeviceId;
use uuid::Uuid;
use zeroize::Zeroizing;

fn label(attachment: &Uuid) -> String {
    format!("content/{attachment}")
}

const CONTENT: &str = "attachment, device, object, key, size, received, stored, moved_ms";

impl Tx<'_> {
    fn stored_content(&self, row: &Row<'_>) -> Result<StoredContent> {
        let attachment = id(row, "attachment")?;
        let key = Zeroizing::new(row.get("key")?);
        Ok(StoredContent {
            attachment,
            device: DeviceId(id(row, "device")?),
            object: id(row, "object")?,
            key: self.database.opened(&label(&attachment), key)?,
            size: number(row, "size")?,
            received: number(row, "received")?,
            stored: number(row, "stored")? != 0,
            moved_ms: row.get("moved_ms")?,
        })
    }
}

impl AttachmentsRead for Tx<'_> {
    fn content(&self, attachment: Uuid) -> Result<Option<StoredContent>> {
        let sql = format!("SELECT {CONTENT} FROM content WHERE attachment = ?1");
        self.one(&sql, params![blob(&attachment)], |row| self.stored_content(row))
    }

    fn contents_after(&self, attachment: Uuid, limit: usize) -> Result<Vec<StoredContent>> {
        let sql = format!(
            "SELECT {CONTENT} FROM content WHERE stored <> 0 AND attachment > ?1 ORDER BY attachment LIMIT ?2"
        );
        self.all(&sql, params![blob(&attachment), limit as i64], |row| self.stored_content(row))
    }

    fn attachments_of(&self, of: Uuid) -> Result<Vec<StoredRecord>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM record WHERE entity = 'attachment' AND removed = 0
             AND fields ->> '$.record' = ?1 ORDER BY n"
        );
        self.all(&sql, params![of.to_string()], record)
    }

    fn removed_attachments_of(&self, of: Uuid) -> Result<Vec<StoredRemoval>> {
        let sql = format!(
            "SELECT {REMOVED} FROM removed WHERE entity = 'attachment' AND fields ->> '$.record' = ?1
             ORDER BY id"
        );
        self.all(&sql, params![of.to_string()], removal)
    }

    fn content_bytes(&self, device: Option<DeviceId>) -> Result<u64> {
        let (all, device) = (device.is_none(), device.unwrap_or(DeviceId(Uuid::nil())));
        let sql = "SELECT CAST(coalesce(sum(size), 0) AS BIGINT) AS total FROM content
             WHERE ?1 = 1 OR device = ?2";
        let total = self.one(sql, params![all, blob(&device.0)], |row| number(row, "total"))?;
        Ok(total.unwrap_or(0))
    }

    fn contents_of_nothing(&self) -> Result<Vec<Uuid>> {
        let sql = "SELECT attachment FROM content WHERE NOT EXISTS (
                SELECT 1 FROM record WHERE entity = 'attachment' AND id = content.attachment AND removed = 0
             ) AND NOT EXISTS (
                SELECT 1 FROM removed WHERE entity = 'attachment' AND id = content.attachment
             )";
        self.all(sql, params![], |row| id(row, "attachment"))
    }

    fn contents_abandoned(&self, before_ms: i64) -> Result<Vec<Uuid>> {
        let sql = "SELECT attachment FROM content WHERE stored = 0 AND moved_ms < ?1 ORDER BY attachment";
        self.all(sql, params![before_ms], |row| id(row, "attachment"))
    }

    fn waste(&self, limit: usize) -> Result<Vec<Waste>> {
        let sql = "SELECT prefix, at_ms FROM waste ORDER BY at_ms, prefix LIMIT ?1";
        self.all(sql, params![limit as i64], |row| {
            Ok(Waste { prefix: row.get("prefix")?, at_ms: row.get("at_ms")? })
        })
    }
}

impl AttachmentsWrite for Tx<'_> {
    fn put_content(&mut self, content: &StoredContent) -> Result<()> {
        let key = self.database.sealed(&label(&content.attachment), &content.key)?;
        self.run(
            "INSERT INTO content (attachment, device, object, key, size, received, stored, moved_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (attachment) DO UPDATE SET received = excluded.received, stored = excluded.stored,
             moved_ms = excluded.moved_ms",
            params![
                blob(&content.attachment),
                blob(&content.device.0),
                blob(&content.object),
                &*key,
                content.size as i64,
                content.received as i64,
                content.stored,
                content.moved_ms
            ],
        )?;
        Ok(())
    }

    fn drop_content(&mut self, attachment: Uuid) -> Result<()> {
        self.run("DELETE FROM content WHERE attachment = ?1", params![blob(&attachment)])?;
        Ok(())
    }

    fn add_waste(&mut self, waste: &Waste) -> Result<()> {
        self.run(
            "INSERT INTO waste (prefix, at_ms) VALUES (?1, ?2) ON CONFLICT (prefix) DO NOTHING",
            params![waste.prefix, waste.at_ms],
        )?;
        Ok(())
    }

    fn forget_waste(&mut self, prefix: &str) -> Result<()> {
        self.run("DELETE FROM waste WHERE prefix = ?1", params![prefix])?;
        Ok(())
    }
}
