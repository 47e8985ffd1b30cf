//! What buckets add up to, kept in memory beside the rows.
//!
//! A bucket's versions are counted from the disk once after each opening, and whenever its contents are compared. From
//! then on each commit brings the sums up to date with what it has changed, so that a sync does not read every row to find
//! that nothing differs. Nothing of this is stored: what is on the disk is counted by whoever opens it next.

use super::digest::Digest;
use roundsman_model::Bucket;
use roundsman_protocol::integrity::Sums;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The sums of versions of the buckets that were counted, at the last commit.
#[derive(Default)]
pub(super) struct Kept(Mutex<BTreeMap<Bucket, Sums>>);

impl Kept {
    /// What a bucket adds up to, if it was counted. Call it while nothing is committed.
    pub(super) fn of(&self, bucket: &Bucket) -> Option<Sums> {
        self.lock().get(bucket).copied()
    }

    /// Keeps what was counted, if `is_last` says that nothing was committed since.
    pub(super) fn counted(&self, bucket: &Bucket, sums: Sums, is_last: impl FnOnce() -> bool) {
        let mut kept = self.lock();
        if is_last() {
            let before = kept.insert(bucket.clone(), sums);
            if before.is_some_and(|before| before != sums) {
                tracing::warn!("what was kept of a bucket is not what was counted");
            }
        }
    }

    /// Takes in what a transaction has changed. It was committed; `note` makes that known to [`counted`](Self::counted).
    pub(super) fn committed(&self, digest: &Digest, note: impl FnOnce()) {
        let mut kept = self.lock();
        note();
        for (bucket, change) in digest.taken() {
            if let Some(sums) = kept.get_mut(&bucket) {
                *sums = sums.plus(change);
            }
        }
    }

    /// Has everything counted anew.
    pub(super) fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Bucket, Sums>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
