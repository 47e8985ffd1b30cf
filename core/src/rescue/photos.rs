//! Attachments that were not sent, in a folder of sealed files: each with its key beside it, sealed to the rescue key.
//!
//! `xx/<file>` is the sealed file and `xx/<file>.key` its key, as [`roundsman_protocol::rescue_photo`] says. What is
//! there can be told without the database.

use super::{SealTo, SealedError};
use crate::platform::{Disk, Entropy};
use roundsman_model::DeviceId;
use roundsman_protocol::rescue_photo::{PhotoHead, SealedKey};
use roundsman_protocol::sealed_file::FileKey;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// What the name of a sealed key ends with, after the name of its file.
pub(crate) const KEY: &str = ".key";

/// Where the sealed key of the file at this path is.
pub(crate) fn key_path(file: &Path) -> PathBuf {
    let mut name: OsString = file.as_os_str().to_owned();
    name.push(KEY);
    name.into()
}

/// The key of a file, sealed to the rescue key: what to keep beside the file.
///
/// # Errors
/// There is no randomness, or the rescue key can't be used.
pub(crate) fn seal_key(
    entropy: &dyn Entropy,
    to: &SealTo,
    attachment: Uuid,
    file: Uuid,
    key: &FileKey,
    size: u64,
) -> Result<Vec<u8>, SealedError> {
    let head = PhotoHead { org: to.org, device: to.device, attachment, file };
    let seed = entropy.secret()?;
    SealedKey::seal(*seed, &to.rescue_key, &head, key, size).map_err(|_| SealedError::Key)
}

/// A file whose content was not sent, and which can be handed over.
pub(crate) struct PhotoFile {
    /// The file's name.
    pub(crate) file: Uuid,
    /// Whose it is.
    pub(crate) device: DeviceId,
    pub(crate) path: PathBuf,
    /// Its sealed key, as it was read.
    pub(crate) key: Vec<u8>,
    /// How many bytes the sealed file has.
    pub(crate) size: u64,
}

impl PhotoFile {
    /// The two files of it.
    pub(crate) fn paths(&self) -> [PathBuf; 2] {
        [key_path(&self.path), self.path.clone()]
    }
}

/// Every sealed file in this folder that has its sealed key beside it, the smallest first. A key that can't be read, or
/// without its file, is left out: nobody could use it.
pub(crate) fn photos(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<PhotoFile>> {
    let mut photos = Vec::new();
    for path in disk.list(dir)? {
        if let Some(file) = of_key(dir, &path) {
            photos.extend(photo(disk, dir, file)?);
        }
    }
    photos.sort_by_key(|photo| (photo.size, photo.file));
    Ok(photos)
}

/// The same of one file.
pub(crate) fn photo(disk: &dyn Disk, dir: &Path, file: Uuid) -> io::Result<Option<PhotoFile>> {
    let path = place(dir, file);
    let key = disk.read(&key_path(&path))?.unwrap_or_default();
    let Some(head) = SealedKey::read(&key).ok().map(|sealed| sealed.head) else { return Ok(None) };
    let size = disk.size(&path)?.unwrap_or(0);
    let whole = size > 0 && head.file == file;
    Ok(whole.then_some(PhotoFile { file, device: head.device, path, key, size }))
}

/// Where the sealed file of this name is in the folder.
pub(crate) fn place(dir: &Path, file: Uuid) -> PathBuf {
    let name = file.simple().to_string();
    dir.join(&name[..2]).join(name)
}

/// The file whose sealed key would be at this path.
fn of_key(dir: &Path, path: &Path) -> Option<Uuid> {
    let name = path.file_name()?.to_str()?.strip_suffix(KEY)?;
    let file = Uuid::try_parse(name).ok()?;
    (key_path(&place(dir, file)) == path).then_some(file)
}
