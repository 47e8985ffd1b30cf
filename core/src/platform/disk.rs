//! The disk, for the few small files that must survive a power cut.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Files, with the durability of each step spelt out. An implementation for tests may fail at any call.
pub trait Disk: Send + Sync {
    /// The file's bytes; `None` if there is no such file.
    ///
    /// # Errors
    /// It is there and can't be read.
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>>;

    /// Creates the file or empties it, writes the bytes and brings them to the disk. Only its owner may read it.
    ///
    /// # Errors
    /// The file holds anything from nothing to all of the bytes then.
    fn write_sync(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Writes the bytes over those of a file that is there, cuts it to their length and brings it to the disk. Says whether
    /// it was there; a link is left alone, as if it were not. Where the length stays, the file system has nothing else to
    /// write, which makes it the cheapest of all ways to the disk.
    ///
    /// # Errors
    /// The file holds any mixture of the old and the new bytes then.
    fn rewrite_sync(&self, path: &Path, bytes: &[u8]) -> io::Result<bool>;

    /// Adds bytes to the end of a file, which is created if it is missing, and brings them to the disk. Only its owner
    /// may read it.
    ///
    /// # Errors
    /// Any part of the bytes, or none, is at the end of the file then.
    fn append_sync(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Creates the file or empties it, lets `fill` write to it, and brings it to the disk: for what is too large to be
    /// in memory at once. Only its owner may read it.
    ///
    /// # Errors
    /// What `fill` fails with, or the disk. The file holds anything from nothing to all of the bytes then.
    fn write_with(
        &self,
        path: &Path,
        fill: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()>;

    /// Reads what is in a file from byte `at` on, and returns how much it was: less than fits in `into` only at the
    /// file's end.
    ///
    /// # Errors
    /// There is no such file, or it can't be read.
    fn read_at(&self, path: &Path, at: u64, into: &mut [u8]) -> io::Result<usize>;

    /// How many bytes a file has; `None` if there is no such file.
    ///
    /// # Errors
    /// It can't be told.
    fn size(&self, path: &Path) -> io::Result<Option<u64>>;

    /// Gives a file another name, in place of what had that name. Survives a power cut once the folder is synced.
    ///
    /// # Errors
    /// Nothing was changed.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Brings the folder's names to the disk.
    ///
    /// # Errors
    /// Names changed since the last time may be undone by a power cut.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Removes a file. Not an error if there is none.
    ///
    /// # Errors
    /// The file is still there.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Cuts a file to nothing, on the disk too. Not an error if there is none; a link is left alone.
    ///
    /// # Errors
    /// The file may be as it was.
    fn truncate(&self, path: &Path) -> io::Result<()>;

    /// Writes zeros over a file's whole length, on the disk too. Not an error if there is none; a link is left alone.
    ///
    /// # Errors
    /// Any part of the file may be as it was.
    fn overwrite_sync(&self, path: &Path) -> io::Result<()>;

    /// Removes a folder in which no file is, with the empty folders in it. Not an error if there is none.
    ///
    /// # Errors
    /// The folder is still there, with every file that is in it.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;

    /// Every file in a folder and the folders in it. Links are named, not followed. Empty if there is no folder.
    ///
    /// # Errors
    /// The folder can't be read.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;

    /// Creates a folder and those above it, if they are missing, and brings their names to the disk. Only its owner
    /// may enter.
    ///
    /// # Errors
    /// The folder is not there, or may be undone by a power cut.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Replaces a file as a whole: whatever happens, its name leads to the old bytes or to the new ones.
    ///
    /// # Errors
    /// The old bytes are there, or the new ones if only the last step failed.
    fn replace(&self, dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
        let (path, fresh) = (dir.join(name), fresh(&dir.join(name)));
        self.write_sync(&fresh, bytes)?;
        self.rename(&fresh, &path)?;
        self.sync_dir(dir)
    }
}

/// Where the bytes of a file that is being replaced are written first.
fn fresh(path: &Path) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// The machine's own disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        or_missing(
            None,
            File::open(path).and_then(|mut file| {
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes)?;
                Ok(Some(bytes))
            }),
        )
    }

    fn write_sync(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = owner_only(OpenOptions::new().write(true).create(true).truncate(true)).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    fn rewrite_sync(&self, path: &Path, bytes: &[u8]) -> io::Result<bool> {
        let Some(mut file) = open_own(path)? else { return Ok(false) };
        file.write_all(bytes)?;
        let length = bytes.len() as u64;
        if file.metadata()?.len() != length {
            file.set_len(length)?;
        }
        file.sync_data()?;
        Ok(true)
    }

    fn append_sync(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = owner_only(OpenOptions::new().append(true).create(true)).open(path)?;
        file.write_all(bytes)?;
        file.sync_data()
    }

    fn write_with(
        &self,
        path: &Path,
        fill: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut file = owner_only(OpenOptions::new().write(true).create(true).truncate(true)).open(path)?;
        fill(&mut file)?;
        file.sync_all()
    }

    fn read_at(&self, path: &Path, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(at))?;
        let mut read = 0;
        while read < into.len() {
            match file.read(&mut into[read..]) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn size(&self, path: &Path) -> io::Result<Option<u64>> {
        or_missing(None, fs::metadata(path).map(|found| Some(found.len())))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        // Elsewhere a folder can't be opened as a file, and names are durable by themselves.
        if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        or_missing((), fs::remove_file(path))
    }

    fn truncate(&self, path: &Path) -> io::Result<()> {
        let Some(file) = open_own(path)? else { return Ok(()) };
        file.set_len(0)?;
        file.sync_all()
    }

    fn overwrite_sync(&self, path: &Path) -> io::Result<()> {
        let Some(mut file) = open_own(path)? else { return Ok(()) };
        let length = file.metadata()?.len();
        file.rewind()?;
        io::copy(&mut io::repeat(0).take(length), &mut file)?;
        file.sync_all()
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let Some(entries) = or_missing(None, fs::read_dir(dir).map(Some))? else { return Ok(()) };
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                self.remove_dir(&entry.path())?;
            }
        }
        or_missing((), fs::remove_dir(dir))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let (mut files, mut folders) = (Vec::new(), vec![dir.to_path_buf()]);
        while let Some(folder) = folders.pop() {
            let Some(entries) = or_missing(None, fs::read_dir(&folder).map(Some))? else { continue };
            for entry in entries {
                let entry = entry?;
                let into = if entry.file_type()?.is_dir() { &mut folders } else { &mut files };
                into.push(entry.path());
            }
        }
        files.sort();
        Ok(files)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        let missing = dir.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
        // The folder itself may be left from a start that was stopped before its name was on the disk.
        let mut above: Vec<_> = missing.chain([dir]).filter_map(Path::parent).collect();
        above.dedup();
        builder.recursive(true).create(dir)?;
        for folder in above {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            match self.sync_dir(folder) {
                // What is above the app's own folder is the system's, and was there before.
                Err(error) if error.kind() != ErrorKind::PermissionDenied => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Opens a file for writing over it; `None` if there is none. A link could lead out of the folder, so it is not
/// followed.
fn open_own(path: &Path) -> io::Result<Option<File>> {
    match or_missing(None, fs::symlink_metadata(path).map(Some))? {
        Some(found) if found.is_file() => OpenOptions::new().write(true).open(path).map(Some),
        _ => Ok(None),
    }
}

fn owner_only(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

fn or_missing<T>(missing: T, result: io::Result<T>) -> io::Result<T> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(missing),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_no_error_where_it_may_be_missing() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("none");
        assert_eq!(RealDisk.read(&path)?, None);
        RealDisk.remove(&path)?;
        RealDisk.truncate(&path)?;
        RealDisk.overwrite_sync(&path)?;
        assert!(!RealDisk.rewrite_sync(&path, b"new")?);
        assert!(RealDisk.list(&path)?.is_empty());
        Ok(())
    }

    #[test]
    fn a_file_is_replaced_overwritten_and_cut() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("a");
        RealDisk.replace(dir.path(), "a", b"old")?;
        RealDisk.replace(dir.path(), "a", b"newer")?;
        assert_eq!(RealDisk.read(&path)?.as_deref(), Some(b"newer".as_slice()));
        RealDisk.overwrite_sync(&path)?;
        assert_eq!(RealDisk.read(&path)?.as_deref(), Some([0; 5].as_slice()));
        RealDisk.truncate(&path)?;
        assert_eq!(RealDisk.read(&path)?.as_deref(), Some([].as_slice()));
        assert_eq!(RealDisk.list(dir.path())?, [path]);
        Ok(())
    }

    #[test]
    fn a_file_that_is_rewritten_has_the_new_bytes_and_no_others() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("a");
        RealDisk.write_sync(&path, b"old")?;
        for bytes in [b"the same".as_slice(), b"a length", b"less", b"", b"and more again"] {
            assert!(RealDisk.rewrite_sync(&path, bytes)?);
            assert_eq!(RealDisk.read(&path)?.as_deref(), Some(bytes));
        }
        assert_eq!(RealDisk.list(dir.path())?, [path]);
        Ok(())
    }

    #[test]
    fn a_large_file_is_written_and_read_in_parts() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("a");
        assert_eq!(RealDisk.size(&path)?, None);
        assert!(
            RealDisk.read_at(&path, 0, &mut [0; 4]).is_err_and(|error| error.kind() == ErrorKind::NotFound)
        );
        RealDisk.write_with(&path, &mut |out| out.write_all(b"abc").and_then(|()| out.write_all(b"def")))?;
        assert_eq!(RealDisk.size(&path)?, Some(6));
        let mut into = [0; 4];
        assert_eq!((RealDisk.read_at(&path, 1, &mut into)?, &into), (4, b"bcde"));
        assert_eq!((RealDisk.read_at(&path, 4, &mut into)?, &into[..2]), (2, b"ef".as_slice()));
        assert_eq!(RealDisk.read_at(&path, 9, &mut into)?, 0);
        let failed = RealDisk.write_with(&path, &mut |_| Err(ErrorKind::Other.into()));
        assert!(failed.is_err());
        assert_eq!(RealDisk.size(&path)?, Some(0));
        Ok(())
    }

    #[test]
    fn a_folder_is_removed_with_the_empty_ones_in_it_and_never_with_a_file() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let att = dir.path().join("att");
        RealDisk.create_dir_all(&att.join("00"))?;
        RealDisk.create_dir_all(&att.join("ff"))?;
        RealDisk.write_sync(&att.join("ff/a"), b"kept")?;
        assert!(RealDisk.remove_dir(&att).is_err());
        assert_eq!(RealDisk.read(&att.join("ff/a"))?.as_deref(), Some(b"kept".as_slice()));
        RealDisk.remove(&att.join("ff/a"))?;
        RealDisk.remove_dir(&att)?;
        assert!(!att.exists());
        RealDisk.remove_dir(&att)
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_reads_what_is_written() -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir()?;
        let inner = dir.path().join("x/y");
        RealDisk.create_dir_all(&inner)?;
        RealDisk.replace(&inner, "a", b"secret")?;
        assert_eq!(fs::metadata(&inner)?.permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(inner.join("a"))?.permissions().mode() & 0o777, 0o600);
        Ok(())
    }

    #[cfg(unix)]
    #[test]
    fn a_link_never_leads_out_of_the_folder() -> io::Result<()> {
        let (dir, outside) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let (sentinel, link) = (outside.path().join("mine"), dir.path().join("link"));
        fs::write(&sentinel, b"private photo")?;
        std::os::unix::fs::symlink(&sentinel, &link)?;
        std::os::unix::fs::symlink(outside.path(), dir.path().join("folder"))?;
        RealDisk.truncate(&link)?;
        RealDisk.overwrite_sync(&link)?;
        assert!(!RealDisk.rewrite_sync(&link, b"mine")?);
        assert_eq!(RealDisk.list(dir.path())?, [dir.path().join("folder"), link.clone()]);
        RealDisk.remove(&link)?;
        assert_eq!(fs::read(&sentinel)?, b"private photo");
        Ok(())
    }
}
