//! Pages of the change log.

use super::cursor;
use crate::app::App;
use crate::refusal::Refusal;
use roundsman_model::{Bucket, Seq};
use roundsman_protocol::ErrorCode;
use roundsman_protocol::sync::{PAGE_CHANGES, Page, Row};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// How much JSON makes a page full, however few its rows: well below the longest line a client reads.
const PAGE_BYTES: usize = 512 * 1024;

/// What is still to be sent. Each page is read in a transaction of its own, so that a slow phone holds none open.
pub(super) struct Feed {
    app: Arc<App>,
    buckets: VecDeque<(Bucket, Seq, Seq)>,
}

impl Feed {
    /// Looks up where each bucket's log ends now.
    pub(super) fn begin(
        app: Arc<App>,
        mine: &[Bucket],
        cursors: &BTreeMap<Bucket, Seq>,
    ) -> Result<Self, Refusal> {
        let tx = app.storage.read()?;
        let mut buckets = VecDeque::new();
        for bucket in mine {
            let (after, head) = (cursor(cursors, bucket), tx.bucket_head(bucket)?);
            if after > head {
                return Err(ErrorCode::CursorAhead.into());
            }
            if after < head {
                buckets.push_back((bucket.clone(), after, head));
            }
        }
        drop(tx);
        Ok(Self { app, buckets })
    }

    /// The next page.
    pub(super) fn next(&mut self) -> Result<Option<Page>, Refusal> {
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
        let rows = rows
            .into_iter()
            .map(|row| Row { entity: row.entity, id: row.record, rev: row.rev, fields: row.fields })
            .collect();
        Ok(Some(Page { bucket, rows, cursor: read_to, head }))
    }
}
