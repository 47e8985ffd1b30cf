//! Where sealed files are: `att/xx/<file>`, with the first two digits of the name as `xx`, and `att/xx/<file>.key` with the
//! key of one that was not sent, sealed to the organisation.

use super::AttachmentError;
use crate::platform::Disk;
use crate::rescue::{self, PhotoFile, key_path};
use roundsman_model::DeviceId;
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

/// What is to be in the folder.
pub(super) struct Wanted {
    /// The files.
    pub(super) files: BTreeSet<Uuid>,
    /// Those of them that have a sealed key beside them.
    pub(super) keys: BTreeSet<Uuid>,
}

/// What is at a path.
enum Sort {
    /// The sealed file.
    Content,
    /// The same on its way there.
    Fresh,
    /// Its sealed key.
    Key,
}

/// Where one file is with its sealed key, and where it is written first.
pub(super) struct Place {
    pub(super) dir: PathBuf,
    pub(super) path: PathBuf,
    pub(super) key: PathBuf,
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
        let path = rescue::place(&self.dir, file);
        let dir = path.parent().unwrap_or(&self.dir).to_owned();
        let mut fresh = path.clone().into_os_string();
        fresh.push(FRESH);
        Place { key: key_path(&path), fresh: fresh.into(), path, dir }
    }

    /// The files that have their sealed key beside them.
    pub(super) fn rescuable(&self, disk: &dyn Disk) -> Result<Vec<PhotoFile>, AttachmentError> {
        Ok(rescue::photos(disk, &self.dir)?)
    }

    /// Removes every file that `wanted` does not name, and says which of the named ones are missing. `wanted` is asked
    /// after the folder was listed: what is there by then is named, or on its way, or belongs to nothing. It names the
    /// files, and those that have a sealed key beside them. What another device than `own` has left sealed here stays: it
    /// is the organisation's.
    pub(super) fn keep<E: From<AttachmentError>>(
        &self,
        disk: &dyn Disk,
        own: DeviceId,
        wanted: impl FnOnce() -> Result<Wanted, E>,
    ) -> Result<BTreeSet<Uuid>, E> {
        let found = disk.list(&self.dir).map_err(AttachmentError::from)?;
        let mut others = BTreeSet::new();
        for photo in self.rescuable(disk)?.into_iter().filter(|photo| photo.device != own) {
            others.extend(photo.paths());
        }
        let coming = self.coming().clone();
        let Wanted { files, keys } = wanted()?;
        let mut missing = files.clone();
        for path in found {
            match self.named(&path) {
                Some((file, Sort::Content)) if files.contains(&file) => drop(missing.remove(&file)),
                Some((file, Sort::Key)) if keys.contains(&file) => {}
                Some((file, _)) if coming.contains(&file) => {}
                _ if others.contains(&path) => {}
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

    /// The file that belongs at this path, and what of it.
    fn named(&self, path: &Path) -> Option<(Uuid, Sort)> {
        let name = path.file_name()?.to_str()?;
        let file = Uuid::try_parse(name.split('.').next()?).ok()?;
        let Place { path: content, fresh, key, .. } = self.place(file);
        let sorts = [(content, Sort::Content), (fresh, Sort::Fresh), (key, Sort::Key)];
        sorts.into_iter().find(|(known, _)| known == path).map(|(_, sort)| (file, sort))
    }
}
