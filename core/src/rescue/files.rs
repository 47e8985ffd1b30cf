//! The files of the segments, as far as they can be read without the rescue key.

use crate::platform::Disk;
use roundsman_model::DeviceId;
use roundsman_protocol::rescue::{Segment, void};
use std::io;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// The name of the folder in the vault's.
pub(crate) const FOLDER: &str = "outbox";

/// The ending of a segment's name.
const ENDING: &str = "seg";

/// The folder of the segments in this vault's folder.
pub(crate) fn folder(vault: &Path) -> PathBuf {
    vault.join(FOLDER)
}

pub(super) fn path(dir: &Path, segment: Uuid) -> PathBuf {
    dir.join(format!("{segment}.{ENDING}"))
}

/// A segment's file.
pub(crate) struct SegmentFile {
    /// The segment, by the file's name.
    pub(crate) id: Uuid,
    pub(crate) path: PathBuf,
    pub(crate) summary: Summary,
}

/// What can be read of a segment. A file that is no segment has nothing in it.
#[derive(Default)]
pub(crate) struct Summary {
    /// Whose it is; `None` for a file that is no segment.
    pub(crate) device: Option<DeviceId>,
    /// The changes, with the numbers of their commits.
    pub(crate) changes: Vec<(Uuid, u64)>,
    /// The commits that did not happen.
    void: Vec<u64>,
}

impl Summary {
    fn of(segment: &Segment<'_>) -> Self {
        let changes = segment.changes.iter().map(|sealed| (sealed.change, sealed.commit)).collect();
        Self { device: Some(segment.head.device), changes, void: segment.void.clone() }
    }

    /// The changes whose commits were not taken back.
    pub(crate) fn live(&self) -> impl Iterator<Item = (Uuid, u64)> {
        self.changes.iter().copied().filter(|(_, commit)| !self.void.contains(commit))
    }

    pub(super) fn last_commit(&self) -> Option<u64> {
        self.live().map(|(_, commit)| commit).max()
    }
}

/// The names of every segment in this folder.
pub(crate) fn paths(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<(Uuid, PathBuf)>> {
    let named = |path: PathBuf| named(dir, &path).map(|id| (id, path));
    Ok(disk.list(dir)?.into_iter().filter_map(named).collect())
}

/// Every segment in this folder.
pub(crate) fn segments(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<SegmentFile>> {
    let mut segments = Vec::new();
    for (id, path) in paths(disk, dir)? {
        let bytes = disk.read(&path)?.unwrap_or_default();
        let summary = Segment::read(&bytes).map(|segment| Summary::of(&segment)).unwrap_or_default();
        segments.push(SegmentFile { id, path, summary });
    }
    Ok(segments)
}

fn named(dir: &Path, path: &Path) -> Option<Uuid> {
    let name = path.strip_prefix(dir).ok()?.to_str()?;
    Uuid::parse_str(name.strip_suffix(ENDING)?.strip_suffix('.')?).ok()
}

/// Notes in a segment that a commit did not happen, if the segment announces it, and removes what was cut off at
/// its end. The file is replaced as a whole: a note after a torn record could not be read. Returns what the segment
/// holds now; `None` if it was left as it is.
pub(super) fn take_back(
    disk: &dyn Disk,
    dir: &Path,
    segment: Uuid,
    commit: u64,
) -> io::Result<Option<Summary>> {
    let path = path(dir, segment);
    let Some(bytes) = disk.read(&path)? else { return Ok(None) };
    let Ok(read) = Segment::read(&bytes) else { return Ok(None) };
    let mut summary = Summary::of(&read);
    if !summary.live().any(|(_, announced)| announced == commit) {
        return Ok(None);
    }
    let mut whole = bytes[..bytes.len() - read.torn].to_vec();
    whole.extend(void(commit));
    let name = path.file_name().and_then(|name| name.to_str()).ok_or(io::ErrorKind::InvalidInput)?;
    disk.replace(dir, name, &whole)?;
    summary.void.push(commit);
    Ok(Some(summary))
}
