//! Pages of the change log, and what buckets add up to at their end.

use super::cursor;
use crate::app::App;
use crate::refusal::Refusal;
use crate::storage::{LogRow, StorageError};
use roundsman_model::{Bucket, Rev, Seq};
use roundsman_protocol::ErrorCode;
use roundsman_protocol::integrity::{Checkpoint, declarations};
use roundsman_protocol::sync::PAGE_CHANGES;
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use uuid::Uuid;

/// How much JSON makes a page full, however few its rows: well below the longest line a client reads.
const PAGE_BYTES: usize = 512 * 1024;

/// A page whose fields are the JSON that is stored: nothing of it is read here.
/// [`Page`](roundsman_protocol::sync::Page) says what it is.
#[derive(Serialize)]
pub(crate) struct StoredPage {
    bucket: Bucket,
    rows: Vec<StoredRow>,
    cursor: Seq,
    head: Seq,
}

#[derive(Serialize)]
struct StoredRow {
    // First: a reader that knows the entity reads the fields straight into their places.
    entity: String,
    id: Uuid,
    rev: Rev,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<Box<RawValue>>,
}

impl StoredRow {
    fn new(row: LogRow) -> Result<Self, StorageError> {
        let fields = row.fields.map(RawValue::from_string).transpose();
        let fields = fields.map_err(|_| StorageError::Damaged("value"))?;
        Ok(Self { entity: row.entity, id: row.record, rev: row.rev, fields })
    }
}

/// What is still to be sent. Each page is read in a transaction of its own, so that a slow phone holds none open.
pub(super) struct Feed {
    app: Arc<App>,
    buckets: VecDeque<(Bucket, Seq, Seq)>,
    /// How far each bucket will have been read when nothing is left.
    reached: BTreeMap<Bucket, Seq>,
    /// When the device was enrolled: milliseconds since 1970.
    enrolled_ms: i64,
}

/// The setting with the moment at which the server was put back from a backup: milliseconds since 1970, big-endian.
pub(crate) const PUT_BACK: &str = "put_back_ms";

impl Feed {
    /// Looks up where each bucket's log ends now.
    pub(super) fn begin(
        app: Arc<App>,
        mine: &[Bucket],
        cursors: &BTreeMap<Bucket, Seq>,
        enrolled_ms: i64,
    ) -> Result<Self, Refusal> {
        let tx = app.storage.read()?;
        let mut buckets = VecDeque::new();
        let mut reached = BTreeMap::new();
        for bucket in mine {
            let (after, head) = (cursor(cursors, bucket), tx.bucket_head(bucket)?);
            if after > head {
                return Err(ErrorCode::CursorAhead.into());
            }
            if after < head {
                buckets.push_back((bucket.clone(), after, head));
            }
            reached.insert(bucket.clone(), after);
        }
        drop(tx);
        Ok(Self { app, buckets, reached, enrolled_ms })
    }

    /// The next page.
    pub(super) fn next(&mut self) -> Result<Option<StoredPage>, Refusal> {
        let Some((bucket, after, head)) = self.buckets.pop_front() else { return Ok(None) };
        let tx = self.app.storage.read()?;
        let rows = tx.log_after(&bucket, after, PAGE_CHANGES, PAGE_BYTES)?;
        let now_head = tx.bucket_head(&bucket)?;
        drop(tx);
        // Superseded entries leave holes, so the cursor comes from the rows, not from their number.
        let read_to = rows.last().map_or(now_head, |row| row.seq);
        if read_to < head {
            self.buckets.push_front((bucket.clone(), read_to, head));
        }
        self.reached.insert(bucket.clone(), read_to);
        let rows = rows.into_iter().map(StoredRow::new).collect::<Result<_, _>>()?;
        Ok(Some(StoredPage { bucket, rows, cursor: read_to, head }))
    }

    /// What the buckets add up to that were read to their end, all at one moment: a record that moves from one to another
    /// moves both their ends. Of the others nothing can be said this time. A device from before the server was put back is
    /// told nothing: it may have the only copy of what came after the backup, and would take that for a fault.
    pub(super) fn checkpoints(&self) -> Result<Vec<Checkpoint>, Refusal> {
        let tx = self.app.storage.read()?;
        let mut checkpoints = Vec::new();
        let put_back =
            tx.setting(PUT_BACK)?.and_then(|at| at.as_slice().try_into().ok()).map(i64::from_be_bytes);
        if put_back.is_some_and(|at| self.enrolled_ms <= at) {
            return Ok(checkpoints);
        }
        for (bucket, cursor) in &self.reached {
            if tx.bucket_head(bucket)? == *cursor {
                checkpoints.push(Checkpoint {
                    bucket: bucket.clone(),
                    cursor: *cursor,
                    sums: tx.sums(bucket)?,
                    declarations: declarations().to_owned(),
                });
            }
        }
        Ok(checkpoints)
    }
}
