//! SQL of segments and rescued changes.

use super::{Row, Tx, blob, by_name, bytes, id, json, name_of, number, params, to_json};
use crate::storage::{
    PhotoState, RescueFilter, RescueRead, RescueState, RescueWrite, Result, StorageError, StoredMutation,
    StoredPhoto, StoredPhotos, StoredRescue, StoredSegment, StoredWaiting,
};
use roundsman_model::{DeviceId, DeviceSeq, UserId};
use serde::de::DeserializeOwned;
use uuid::Uuid;
use zeroize::Zeroizing;

const STATES: [(RescueState, &str); 4] = [
    (RescueState::NeedsReview, "needs_review"),
    (RescueState::Taken, "taken"),
    (RescueState::Dismissed, "dismissed"),
    (RescueState::Known, "known"),
];

const PHOTO_STATES: [(PhotoState, &str); 6] = [
    (PhotoState::Coming, "coming"),
    (PhotoState::Sealed, "sealed"),
    (PhotoState::Opened, "opened"),
    (PhotoState::Filed, "filed"),
    (PhotoState::Known, "known"),
    (PhotoState::Damaged, "damaged"),
];

/// What a secret of a photo is stored under.
fn label(what: &str, device: DeviceId, file: Uuid) -> String {
    format!("{what}/{device}/{file}")
}

impl Tx<'_> {
    fn stored_photo(&self, row: &Row<'_>) -> Result<StoredPhoto> {
        let (device, file) = (DeviceId(id(row, "device")?), id(row, "file")?);
        let secret = |what: &str, column: &str| {
            let stored = Zeroizing::new(row.get::<_, Vec<u8>>(column)?);
            if stored.is_empty() {
                Ok(stored)
            } else {
                self.database.opened(&label(what, device, file), stored)
            }
        };
        Ok(StoredPhoto {
            device,
            file,
            attachment: id(row, "attachment")?,
            sealed_key: row.get("sealed_key")?,
            object: id(row, "object")?,
            key: secret("rescued-photo", "key")?,
            size: number(row, "size")?,
            received: number(row, "received")?,
            state: by_name(&PHOTO_STATES, &row.get::<_, String>("state")?)?,
            opened_key: secret("rescued-key", "opened_key")?,
            moved_ms: row.get("moved_ms")?,
            opened_ms: row.get("opened_ms")?,
        })
    }

    fn secret(
        &self,
        what: &str,
        photo: &StoredPhoto,
        secret: &Zeroizing<Vec<u8>>,
    ) -> Result<Zeroizing<Vec<u8>>> {
        if secret.is_empty() {
            return Ok(Zeroizing::new(Vec::new()));
        }
        self.database.sealed(&label(what, photo.device, photo.file), secret)
    }
}

fn maybe_json<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> Result<Option<T>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| serde_json::from_str(&text).map_err(|_| StorageError::Damaged("value"))).transpose()
}

fn rescue(row: &Row<'_>) -> Result<StoredRescue> {
    Ok(StoredRescue {
        change: id(row, "change_id")?,
        device: DeviceId(id(row, "device")?),
        user: UserId(id(row, "user")?),
        commit: number(row, "commit_seq")?,
        seq: DeviceSeq(number(row, "seq")?),
        entity: row.get("entity")?,
        record: id(row, "record")?,
        made_ms: row.get("made_ms")?,
        void: row.get("void")?,
        state: by_name(&STATES, &row.get::<_, String>("state")?)?,
        reason: row.get("reason")?,
        mutation: maybe_json(row, "mutation")?,
        outcome: maybe_json(row, "outcome")?,
        filed_ms: row.get("filed_ms")?,
        settled_ms: row.get("settled_ms")?,
    })
}

impl RescueRead for Tx<'_> {
    fn segment(&self, device: DeviceId, segment: Uuid) -> Result<Option<StoredSegment>> {
        self.one(
            "SELECT * FROM segment WHERE device = ?1 AND segment = ?2",
            params![blob(&device.0), blob(&segment)],
            |row| {
                Ok(StoredSegment {
                    device,
                    segment,
                    sha256: bytes(row, "sha256")?,
                    length: number(row, "length")?,
                    changes: number(row, "changes")?,
                    bytes: row.get("bytes")?,
                    received_ms: row.get("received_ms")?,
                    opened_ms: row.get("opened_ms")?,
                })
            },
        )
    }

    fn sealed_segments(&self) -> Result<Vec<(DeviceId, Uuid)>> {
        self.all("SELECT device, segment FROM segment WHERE opened_ms IS NULL ORDER BY n", params![], |row| {
            Ok((DeviceId(id(row, "device")?), id(row, "segment")?))
        })
    }

    fn waiting_segments(&self) -> Result<Vec<StoredWaiting>> {
        self.all(
            "SELECT device, count(*) AS segments, CAST(sum(changes) AS BIGINT) AS changes, max(received_ms) AS received_ms
             FROM segment WHERE opened_ms IS NULL GROUP BY device ORDER BY max(received_ms) DESC, device",
            params![],
            |row| {
                Ok(StoredWaiting {
                    device: DeviceId(id(row, "device")?),
                    segments: number(row, "segments")?,
                    changes: number(row, "changes")?,
                    received_ms: row.get("received_ms")?,
                })
            },
        )
    }

    fn segment_bytes(&self, device: DeviceId) -> Result<u64> {
        let sql = "SELECT CAST(coalesce(sum(CASE WHEN length(bytes) > 1024 THEN length(bytes) ELSE 1024 END), 0) AS BIGINT)
                   AS total FROM segment WHERE device = ?1";
        Ok(self.one(sql, params![blob(&device.0)], |row| number(row, "total"))?.unwrap_or(0))
    }

    fn has_rescued(&self, device: DeviceId) -> Result<bool> {
        let sql = "SELECT change_id FROM rescued WHERE device = ?1 LIMIT 1";
        Ok(self.one(sql, params![blob(&device.0)], |_| Ok(()))?.is_some())
    }

    fn rescued_change(&self, change: Uuid) -> Result<Option<StoredRescue>> {
        self.one("SELECT * FROM rescued WHERE change_id = ?1", params![blob(&change)], rescue)
    }

    fn rescued(&self, filter: &RescueFilter) -> Result<Vec<StoredRescue>> {
        let state = filter.state.map(|state| name_of(&STATES, &state)).transpose()?;
        self.all(
            "SELECT * FROM rescued WHERE device = coalesce(?1, device) AND state = coalesce(?2, state)
             AND (?3 = 1 OR void = 0) ORDER BY device, commit_seq, seq LIMIT ?4",
            params![
                filter.device.as_ref().map(|device| blob(&device.0)),
                state,
                filter.void,
                filter.limit as i64
            ],
            rescue,
        )
    }

    fn rescued_waiting(&self, device: Option<DeviceId>) -> Result<u64> {
        let sql = "SELECT count(*) AS n FROM rescued
                   WHERE device = coalesce(?1, device) AND state = 'needs_review' AND void = 0";
        let device = device.as_ref().map(|device| blob(&device.0));
        Ok(self.one(sql, params![device], |row| number(row, "n"))?.unwrap_or(0))
    }

    fn photo(&self, device: DeviceId, file: Uuid) -> Result<Option<StoredPhoto>> {
        let sql = "SELECT * FROM rescued_photo WHERE device = ?1 AND file = ?2";
        self.one(sql, params![blob(&device.0), blob(&file)], |row| self.stored_photo(row))
    }

    fn photos(&self, device: Option<DeviceId>, state: Option<PhotoState>) -> Result<Vec<StoredPhoto>> {
        let state = state.map(|state| name_of(&PHOTO_STATES, &state)).transpose()?;
        let sql =
            "SELECT * FROM rescued_photo WHERE device = coalesce(?1, device) AND state = coalesce(?2, state)
                   ORDER BY n";
        self.all(sql, params![device.as_ref().map(|device| blob(&device.0)), state], |row| {
            self.stored_photo(row)
        })
    }

    fn waiting_photos(&self) -> Result<Vec<StoredPhotos>> {
        self.all(
            "SELECT device, count(*) AS photos, max(moved_ms) AS received_ms FROM rescued_photo
             WHERE state = 'sealed' GROUP BY device ORDER BY max(moved_ms) DESC, device",
            params![],
            |row| {
                Ok(StoredPhotos {
                    device: DeviceId(id(row, "device")?),
                    photos: number(row, "photos")?,
                    received_ms: row.get("received_ms")?,
                })
            },
        )
    }

    fn photo_bytes(&self, device: DeviceId) -> Result<u64> {
        let sql = "SELECT CAST(coalesce(sum(CASE WHEN size > 16384 THEN size ELSE 16384 END), 0) AS BIGINT)
                   AS total FROM rescued_photo
                   WHERE device = ?1 AND state IN ('coming', 'sealed', 'opened')";
        Ok(self.one(sql, params![blob(&device.0)], |row| number(row, "total"))?.unwrap_or(0))
    }

    fn old_photos(&self, before_ms: i64) -> Result<Vec<StoredPhoto>> {
        let sql = "SELECT * FROM rescued_photo
                   WHERE (opened_ms < ?1 OR (state = 'coming' AND moved_ms < ?1)) AND NOT EXISTS (
                      SELECT 1 FROM rescued WHERE record = rescued_photo.attachment
                      AND rescued.state = 'needs_review' AND rescued.void = 0
                   ) ORDER BY n";
        self.all(sql, params![before_ms], |row| self.stored_photo(row))
    }

    fn mutations(&self, device: DeviceId) -> Result<Vec<StoredMutation>> {
        self.all("SELECT * FROM mutation WHERE device = ?1 ORDER BY seq", params![blob(&device.0)], |row| {
            Ok(StoredMutation {
                seq: DeviceSeq(number(row, "seq")?),
                id: id(row, "id")?,
                outcome: json(row, "outcome")?,
            })
        })
    }
}

impl RescueWrite for Tx<'_> {
    fn put_segment(&mut self, segment: &StoredSegment) -> Result<()> {
        self.run(
            "INSERT INTO segment (device, segment, sha256, length, changes, bytes, received_ms, opened_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (device, segment) DO UPDATE SET sha256 = excluded.sha256, length = excluded.length,
             changes = excluded.changes, bytes = excluded.bytes, received_ms = excluded.received_ms,
             opened_ms = excluded.opened_ms",
            params![
                blob(&segment.device.0),
                blob(&segment.segment),
                segment.sha256.as_slice(),
                segment.length as i64,
                segment.changes as i64,
                segment.bytes,
                segment.received_ms,
                segment.opened_ms
            ],
        )?;
        Ok(())
    }

    fn put_rescued(&mut self, rescue: &StoredRescue) -> Result<()> {
        self.run(
            "INSERT INTO rescued (change_id, device, \"user\", commit_seq, seq, entity, record, made_ms,
             void, state, reason, mutation, outcome, filed_ms, settled_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
             ON CONFLICT (change_id) DO UPDATE SET device = excluded.device, \"user\" = excluded.\"user\",
             commit_seq = excluded.commit_seq, seq = excluded.seq, entity = excluded.entity,
             record = excluded.record, made_ms = excluded.made_ms, void = excluded.void,
             state = excluded.state, reason = excluded.reason, mutation = excluded.mutation,
             outcome = excluded.outcome, filed_ms = excluded.filed_ms, settled_ms = excluded.settled_ms",
            params![
                blob(&rescue.change),
                blob(&rescue.device.0),
                blob(&rescue.user.0),
                rescue.commit as i64,
                rescue.seq.0 as i64,
                rescue.entity,
                blob(&rescue.record),
                rescue.made_ms,
                rescue.void,
                name_of(&STATES, &rescue.state)?,
                rescue.reason,
                rescue.mutation.as_ref().map(to_json).transpose()?,
                rescue.outcome.as_ref().map(to_json).transpose()?,
                rescue.filed_ms,
                rescue.settled_ms
            ],
        )?;
        Ok(())
    }

    fn put_photo(&mut self, photo: &StoredPhoto) -> Result<()> {
        let key = self.secret("rescued-photo", photo, &photo.key)?;
        let opened_key = self.secret("rescued-key", photo, &photo.opened_key)?;
        self.run(
            "INSERT INTO rescued_photo (device, file, attachment, sealed_key, object, key, size, received, state,
             opened_key, moved_ms, opened_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
             ON CONFLICT (device, file) DO UPDATE SET attachment = excluded.attachment,
             sealed_key = excluded.sealed_key, object = excluded.object, key = excluded.key, size = excluded.size,
             received = excluded.received, state = excluded.state, opened_key = excluded.opened_key,
             moved_ms = excluded.moved_ms, opened_ms = excluded.opened_ms",
            params![
                blob(&photo.device.0),
                blob(&photo.file),
                blob(&photo.attachment),
                photo.sealed_key,
                blob(&photo.object),
                &*key,
                photo.size as i64,
                photo.received as i64,
                name_of(&PHOTO_STATES, &photo.state)?,
                &*opened_key,
                photo.moved_ms,
                photo.opened_ms
            ],
        )?;
        Ok(())
    }

    fn drop_photo(&mut self, device: DeviceId, file: Uuid) -> Result<()> {
        let sql = "DELETE FROM rescued_photo WHERE device = ?1 AND file = ?2";
        self.run(sql, params![blob(&device.0), blob(&file)])?;
        Ok(())
    }

    fn rescued_arrived(&mut self, device: DeviceId, change: Uuid, at_ms: i64) -> Result<()> {
        self.run(
            "UPDATE rescued SET state = 'known', mutation = NULL, settled_ms = ?3
             WHERE change_id = ?2 AND device = ?1 AND state IN ('needs_review', 'dismissed')",
            params![blob(&device.0), blob(&change), at_ms],
        )?;
        Ok(())
    }

    fn forget_rescued(&mut self, before_ms: i64) -> Result<()> {
        self.run(
            "UPDATE segment SET bytes = ?2 WHERE opened_ms < ?1 AND length(bytes) > 0",
            params![before_ms, [].as_slice()],
        )?;
        self.run(
            "UPDATE rescued SET mutation = NULL WHERE settled_ms < ?1 AND mutation IS NOT NULL",
            params![before_ms],
        )?;
        Ok(())
    }
}
