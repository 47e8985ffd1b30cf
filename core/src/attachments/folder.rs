//! Where sealed files are: `att/xx/<file>`, with the first two digits of the name as `xx`.

use crate::platform::Disk;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// The folder of a vault's sealed files.
pub(super) struct Files {
    pub(super) dir: PathBuf,
}

/// Where one file is, and where it is written first.
pub(super) struct Place {
    pub(super) dir: PathBuf,
    pub(super) path: PathBuf,
    pub(super) fresh: PathBuf,
}

impl Files {
    pub(super) fn place(&self, file: Uuid) -> Place {
        let name = file.simple().to_string();
        let dir = self.dir.join(&name[..2]);
        Place { path: dir.join(&name), fresh: dir.join(format!("{name}.new")), dir }
    }

    /// Removes every file that is none of `wanted`, and says which of those are there.
    pub(super) fn keep(&self, disk: &dyn Disk, wanted: &BTreeSet<Uuid>) -> io::Result<BTreeSet<Uuid>> {
        let mut there = BTreeSet::new();
        for path in disk.list(&self.dir)? {
            match self.named(&path).filter(|file| wanted.contains(file)) {
                Some(file) => drop(there.insert(file)),
                None => disk.remove(&path)?,
            }
        }
        Ok(there)
    }

    /// The file that belongs at this path.
    fn named(&self, path: &Path) -> Option<Uuid> {
        let file = Uuid::try_parse(path.file_name()?.to_str()?).ok()?;
        (self.place(file).path == path).then_some(file)
    }
}
