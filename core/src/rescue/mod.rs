//! The sealed outbox: every unsent change once more, in files that only the organisation can read.
//!
//! Each change is sealed to the organisation's rescue key just before it is committed, in segments of the form of
//! [`roundsman_protocol::rescue`], one file each in the folder `outbox`. So work that was not sent outlives what the
//! vault does not: a forgotten passcode, a lock, a wipe. The content of attachments that were not sent stays in their sealed
//! files; the key of each is sealed beside it.
//!
//! # Promises
//! - A change that was committed is in a segment on the disk for as long as the server has not taken it.
//! - Nothing on the device opens a segment, not even the object that wrote it.
//! - A segment is removed, or begun anew, only when none of its changes is unsent, and is never changed otherwise but
//!   for what was cut off.
//! - The highest number of a commit in the segments bears witness against an older copy of the database.
//!
//! # Not promised
//! - That a segment holds nothing else: a change that could not be committed, or one that was sent, may be there
//!   still. The receiver knows both by their ids.

mod error;
mod files;
mod photos;

pub use error::SealedError;
pub(crate) use files::{SegmentFile, folder, paths, segments};
pub(crate) use photos::{PhotoFile, key_path, photo, photos, place, seal_key};

use crate::platform::{Disk, Entropy};
use files::{Summary, path};
use roundsman_model::{DeviceId, OrgId};
use roundsman_protocol::rescue::{FULL, MAX_CHANGES, MAX_SEGMENT, Sealer, SegmentHead};
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use uuid::Uuid;
use zeroize::Zeroizing;

/// Bytes below which a segment stays to be begun anew when its changes were sent: about twenty of them. If the app is killed
/// before the next change, so many are counted as unsent while the vault is closed.
const SMALL: usize = 8 * 1024;

/// Whose changes they are, and who may read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealTo {
    /// The organisation.
    pub org: OrgId,
    /// The device.
    pub device: DeviceId,
    /// The organisation's public rescue key.
    pub rescue_key: [u8; 32],
}

/// A change as it is sealed: its id, and the [`roundsman_protocol::sync::Mutation`] as JSON.
pub(crate) type Plain = (Uuid, Zeroizing<Vec<u8>>);

/// The sealed outbox of an open vault. All calls are safe from any thread.
pub struct SealedOutbox {
    /// The folder of the segments.
    dir: PathBuf,
    to: SealTo,
    disk: Arc<dyn Disk>,
    entropy: Arc<dyn Entropy>,
    state: Mutex<State>,
}

struct State {
    /// What is known of each file.
    segments: BTreeMap<Uuid, Summary>,
    /// The segment that takes the next change.
    open: Option<Open>,
    /// Whether the folder is known to be on the disk. Each segment but the first is spared that step.
    made: bool,
}

struct Open {
    segment: Uuid,
    sealer: Sealer,
    /// What the file begins with, until it is written with the first change.
    head: Vec<u8>,
    bytes: usize,
    changes: usize,
    /// Whether none of its changes was unsent when it was last looked at, and none was added since.
    idle: bool,
}

impl SealedOutbox {
    /// The sealed outbox in the vault's folder. Reads what can be read of the segments that are there; the next
    /// change begins a new one. Nothing is written.
    ///
    /// # Errors
    /// The disk failed.
    pub fn open(
        vault: &Path,
        to: SealTo,
        disk: Arc<dyn Disk>,
        entropy: Arc<dyn Entropy>,
    ) -> io::Result<Self> {
        let dir = folder(vault);
        let segments = own_segments(&*disk, &dir, to.device)?;
        Ok(Self { dir, to, disk, entropy, state: Mutex::new(State { segments, open: None, made: false }) })
    }

    /// The highest number of a commit that is announced and not taken back; `None` if there is no segment.
    pub fn last_commit(&self) -> Option<u64> {
        self.state().segments.values().filter_map(Summary::last_commit).max()
    }

    /// The changes in the segments, but for those of commits that were taken back.
    pub fn changes(&self) -> HashSet<Uuid> {
        self.state().segments.values().flat_map(Summary::live).map(|(change, _)| change).collect()
    }

    /// Reads the segments on the disk anew, and goes on from what is there. The changes in them, as
    /// [`changes`](Self::changes) says. Call it while nothing is committed.
    ///
    /// # Errors
    /// The disk failed; what was known stands.
    pub(crate) fn reread(&self) -> Result<HashSet<Uuid>, SealedError> {
        {
            let mut state = self.state();
            let State { segments, open, made } = &mut *state;
            *made = false;
            *segments = own_segments(&*self.disk, &self.dir, self.to.device)?;
            // What follows something that can't be read could not be read either.
            open.take_if(|open| {
                let there = segments.get(&open.segment).map_or(0, |summary| summary.changes.len());
                there != open.changes
            });
        }
        Ok(self.changes())
    }

    /// Seals the changes of a commit. They are on the disk when this returns: one write, unless they are too many
    /// for one segment.
    ///
    /// # Errors
    /// The disk failed or is full, or there is no randomness. The commit must not happen then: what was written of
    /// it is taken back, or will be by [`void`](Self::void).
    pub(crate) fn seal(&self, commit: u64, changes: &[Plain]) -> Result<(), SealedError> {
        let mut state = self.state();
        let sealed = self.seal_all(&mut state, commit, changes);
        if sealed.is_err()
            && let Err(error) = self.take_back(&mut state, commit)
        {
            tracing::warn!(%error, "a change that was not committed is still in the sealed outbox");
        }
        sealed
    }

    /// Seals changes that were committed, this commit being the last one.
    ///
    /// # Errors
    /// The disk failed or is full, or there is no randomness. What was sealed, now or before, stays.
    pub(crate) fn seal_anew(&self, commit: u64, changes: &[Plain]) -> Result<(), SealedError> {
        self.seal_all(&mut self.state(), commit, changes)
    }

    fn seal_all(&self, state: &mut State, commit: u64, changes: &[Plain]) -> Result<(), SealedError> {
        let mut rest = changes;
        while !rest.is_empty() {
            rest = self.seal_some(state, commit, rest).inspect_err(|_| {
                // What is torn must stay the last of its file.
                state.open = None;
                state.made = false;
            })?;
        }
        Ok(())
    }

    /// Notes in every segment that announces this commit that it did not happen.
    ///
    /// # Errors
    /// The disk failed. Some segments may still announce it; each is as it was or has the note.
    pub fn void(&self, commit: u64) -> Result<(), SealedError> {
        let mut state = self.state();
        // Its number is given again, and must not be taken back in the same segment then.
        state.open = None;
        self.take_back(&mut state, commit)
    }

    /// Removes the segments that hold no change which is still unsent. A small one that takes the next change stays until
    /// [`close`](Self::close), to be begun anew with it: to make a file takes longer than to write over one, and a rep waits
    /// for it.
    ///
    /// # Errors
    /// The disk failed. Some of them may still be there.
    pub fn retain(&self, unsent: impl Fn(Uuid) -> bool) -> Result<(), SealedError> {
        let mut state = self.state();
        let idle = |summary: &Summary| !summary.changes.iter().any(|(change, _)| unsent(*change));
        let mut done: Vec<Uuid> =
            state.segments.iter().filter(|(_, summary)| idle(summary)).map(|(id, _)| *id).collect();
        if let Some(open) = &mut state.open {
            open.idle = done.contains(&open.segment);
            if open.bytes < SMALL {
                done.retain(|segment| *segment != open.segment);
            }
        }
        self.remove(&mut state, done)
    }

    /// Removes the segment that takes the next change, if none of its changes is unsent. The next change begins a new one.
    ///
    /// # Errors
    /// The disk failed. It may still be there.
    pub fn close(&self) -> Result<(), SealedError> {
        let mut state = self.state();
        let idle = state.open.take().filter(|open| open.idle);
        self.remove(&mut state, idle.map(|open| open.segment).into_iter().collect())
    }

    fn remove(&self, state: &mut State, done: Vec<Uuid>) -> Result<(), SealedError> {
        if done.is_empty() {
            return Ok(());
        }
        state.open.take_if(|open| done.contains(&open.segment));
        for segment in done {
            self.disk.remove(&path(&self.dir, segment))?;
            state.segments.remove(&segment);
        }
        Ok(self.disk.sync_dir(&self.dir)?)
    }

    /// Seals as many changes as the open segment takes, in one write; the others are returned.
    fn seal_some<'c>(
        &self,
        state: &mut State,
        commit: u64,
        changes: &'c [Plain],
    ) -> Result<&'c [Plain], SealedError> {
        let State { segments, open, made } = state;
        open.take_if(|open| open.changes >= MAX_CHANGES || open.bytes >= FULL);
        let again = open.as_ref().filter(|open| open.idle).map(|open| open.segment);
        if let Some(segment) = again {
            *open = Some(self.begin(segment)?);
        }
        let open = match open {
            Some(open) => open,
            none => none.insert(self.begin(self.fresh_id()?)?),
        };
        let fresh = !open.head.is_empty();
        let mut bytes = std::mem::take(&mut open.head);
        let mut sealed = 0;
        for (change, plaintext) in changes {
            if open.changes + sealed >= MAX_CHANGES || open.bytes + bytes.len() >= FULL {
                break;
            }
            if FULL + plaintext.len() + 256 > MAX_SEGMENT {
                return Err(SealedError::TooLarge);
            }
            bytes.extend(open.sealer.seal(*change, commit, plaintext).map_err(|_| SealedError::Key)?);
            sealed += 1;
        }
        if fresh {
            if !*made {
                self.disk.create_dir_all(&self.dir)?;
                *made = true;
            }
            // Known before it is written: a part of it may come to be there.
            segments.insert(open.segment, Summary::default());
        }
        let path = path(&self.dir, open.segment);
        if again.is_some() {
            // Emptied first: what was sealed with another key must not follow a write that was cut off.
            self.disk.write_sync(&path, &bytes)?;
        } else {
            self.disk.append_sync(&path, &bytes)?;
            if fresh {
                self.disk.sync_dir(&self.dir)?;
            }
        }
        open.bytes += bytes.len();
        open.changes += sealed;
        open.idle = false;
        let (done, rest) = changes.split_at(sealed);
        let summary = segments.entry(open.segment).or_default();
        summary.changes.extend(done.iter().map(|(change, _)| (*change, commit)));
        Ok(rest)
    }

    fn fresh_id(&self) -> Result<Uuid, SealedError> {
        Ok(uuid::Builder::from_random_bytes(self.entropy.bytes()?).into_uuid())
    }

    /// Begins this segment. Its seed is another one each time, so two segments of one id share no key.
    fn begin(&self, segment: Uuid) -> Result<Open, SealedError> {
        let seed = self.entropy.secret()?;
        let head = SegmentHead { org: self.to.org, device: self.to.device, segment };
        let (sealer, head) =
            Sealer::begin(*seed, &self.to.rescue_key, &head).map_err(|_| SealedError::Key)?;
        Ok(Open { segment, sealer, head, bytes: 0, changes: 0, idle: false })
    }

    fn take_back(&self, state: &mut State, commit: u64) -> Result<(), SealedError> {
        let mut outcome = Ok(());
        for (segment, summary) in &mut state.segments {
            match files::take_back(&*self.disk, &self.dir, *segment, commit) {
                Ok(Some(read)) => *summary = read,
                Ok(None) => {}
                Err(error) => outcome = Err(error.into()),
            }
        }
        outcome
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What can be read of the segments in this folder. What this phone held under an identity it has no more is not this
/// vault's, and bears no witness for it.
fn own_segments(disk: &dyn Disk, dir: &Path, device: DeviceId) -> io::Result<BTreeMap<Uuid, Summary>> {
    let own = |file: &SegmentFile| file.summary.device.is_none_or(|of| of == device);
    Ok(segments(disk, dir)?.into_iter().filter(own).map(|file| (file.id, file.summary)).collect())
}
