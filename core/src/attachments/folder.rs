//! Where sealed files are: `att/xx/<file>`, with the first two digits of the name as `xx`.

use super::AttachmentError;
use crate::platform::Disk;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

/// What the name of a file ends with until it is whole.
const FRESH: &str = ".new";

/// The folder of a vault's sealed files.
pub(super) struct Files {
    dir: PathBuf,
    /// Files on their way, which no row leads to yet.
    coming: Mutex<BTreeSet<Uuid>>,
}

/// Keeps a file on its way from being taken for one that belongs to nothing, until it is dropped.
pub(super) struct Coming<'a> {
    files: &'a Files,
    file: Uuid,
}

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        self.files.coming().remove(&self.file);
    }
}

/// Where one file is, and where it is written first.
pub(super) struct Place {
    pub(super) dir: PathBuf,
    pub(super) path: PathBuf,
    pub(super) fresh: PathBuf,
}

impl Files {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, coming: Mutex::default() }
    }

    /// A file is about to be written. Hold the guard until its row is.
    pub(super) fn announce(&self, file: Uuid) -> Coming<'_> {
        self.coming().insert(file);
        Coming { files: self, file }
    }

    fn coming(&self) -> MutexGuard<'_, BTreeSet<Uuid>> {
        self.coming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn place(&self, file: Uuid) -> Place {
        let name = file.simple().to_string();
        let dir = self.dir.join(&name[..2]);
        Place { path: dir.join(&name), fresh: dir.join(format!("{name}{FRESH}")), dir }
    }

    /// Removes every file that `wanted` does not name, and says which of the named ones are missing. `wanted` is asked
    /// after the folder was listed: what is there by then is named, or on its way, or belongs to nothing.
    pub(super) fn keep<E: From<AttachmentError>>(
        &self,
        disk: &dyn Disk,
        wanted: impl FnOnce() -> Result<BTreeSet<Uuid>, E>,
    ) -> Result<BTreeSet<Uuid>, E> {
        let found = disk.list(&self.dir).map_err(AttachmentError::from)?;
        let coming = self.coming().clone();
        let mut missing = wanted()?;
        let wanted = missing.clone();
        for path in found {
            match self.named(&path) {
                Some((file, false)) if wanted.contains(&file) => drop(missing.remove(&file)),
                Some((file, _)) if coming.contains(&file) => {}
                _ => disk.remove(&path).map_err(AttachmentError::from)?,
            }
        }
        // Some may have come meanwhile.
        for file in missing.clone() {
            if disk.size(&self.place(file).path).map_err(AttachmentError::from)?.is_some() {
                missing.remove(&file);
            }
        }
        Ok(missing)
    }

    /// The file that belongs at this path, and whether it is on its way there.
    fn named(&self, path: &Path) -> Option<(Uuid, bool)> {
        let name = path.file_name()?.to_str()?;
        let (name, fresh) = name.strip_suffix(FRESH).map_or((name, false), |name| (name, true));
        let file = Uuid::try_parse(name).ok()?;
        let place = self.place(file);
        (path == if fresh { place.fresh } else { place.path }).then_some((file, fresh))
    }
}
