//! SQL of what is watched about each device, and of alerts.

use super::{Row, Tx, blob, by_name, id, json, maybe_bytes, name_of, params, to_json};
use crate::admin::AlertKind;
use crate::storage::{AlertsRead, AlertsWrite, Result, StoredAlert, StoredWatch};
use roundsman_model::{DeviceId, UserId};
use uuid::Uuid;

fn alert(row: &Row<'_>) -> Result<StoredAlert> {
    Ok(StoredAlert {
        id: id(row, "id")?,
        device: maybe_bytes(row, "device")?.map(|id| DeviceId(Uuid::from_bytes(id))),
        kind: by_name(&AlertKind::NAMES, &row.get::<_, String>("kind")?)?,
        at_ms: row.get("at_ms")?,
        detail: row.get("detail")?,
        seen_by: maybe_bytes(row, "seen_by")?.map(|id| UserId(Uuid::from_bytes(id))),
        seen_ms: row.get("seen_ms")?,
    })
}

impl AlertsRead for Tx<'_> {
    fn watch(&self, device: DeviceId) -> Result<StoredWatch> {
        let found =
            self.one("SELECT watch FROM watch WHERE device = ?1", params![blob(&device.0)], |row| {
                json(row, "watch")
            })?;
        Ok(found.unwrap_or_default())
    }

    fn alerts(&self, limit: usize) -> Result<Vec<StoredAlert>> {
        self.all(
            "SELECT * FROM alert ORDER BY seen_ms IS NOT NULL, n DESC LIMIT ?1",
            params![limit as i64],
            alert,
        )
    }

    fn alert(&self, id: Uuid) -> Result<Option<StoredAlert>> {
        self.one("SELECT * FROM alert WHERE id = ?1", params![blob(&id)], alert)
    }

    fn unseen(&self, kind: AlertKind, device: Option<DeviceId>) -> Result<Option<StoredAlert>> {
        self.one(
            "SELECT * FROM alert WHERE kind = ?1 AND device IS NOT DISTINCT FROM ?2 AND seen_ms IS NULL
             ORDER BY n DESC LIMIT 1",
            params![name_of(&AlertKind::NAMES, &kind)?, device.as_ref().map(|device| blob(&device.0))],
            alert,
        )
    }
}

impl AlertsWrite for Tx<'_> {
    fn put_watch(&mut self, device: DeviceId, watch: &StoredWatch) -> Result<()> {
        self.run(
            "INSERT INTO watch (device, watch) VALUES (?1, ?2)
             ON CONFLICT (device) DO UPDATE SET watch = excluded.watch",
            params![blob(&device.0), to_json(watch)?],
        )?;
        Ok(())
    }

    fn put_alert(&mut self, alert: &StoredAlert) -> Result<()> {
        self.run(
            "INSERT INTO alert (id, device, kind, at_ms, detail, seen_by, seen_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (id) DO UPDATE
             SET detail = excluded.detail, seen_by = excluded.seen_by, seen_ms = excluded.seen_ms",
            params![
                blob(&alert.id),
                alert.device.as_ref().map(|device| blob(&device.0)),
                name_of(&AlertKind::NAMES, &alert.kind)?,
                alert.at_ms,
                alert.detail,
                alert.seen_by.as_ref().map(|by| blob(&by.0)),
                alert.seen_ms
            ],
        )?;
        Ok(())
    }
}
