//! A disk that fails when it is told to.

use roundsman_core::platform::{Disk, RealDisk};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// How a disk fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// One call fails; a write leaves half of its bytes.
    Once,
    /// From that call on nothing more can be written, until it is [healed](FaultyDisk::heal).
    Full,
    /// From that call on everything fails: the process was stopped.
    Stopped,
}

/// Says whether the process has stopped.
type Stopped = Box<dyn Fn() -> bool + Send + Sync>;

/// The real disk, until it fails. The database is not on it: SQLite writes by itself.
pub struct FaultyDisk {
    plan: Mutex<Option<(u32, DiskFault)>>,
    stopped: Stopped,
}

impl Default for FaultyDisk {
    fn default() -> Self {
        Self::unless(|| false)
    }
}

impl FaultyDisk {
    /// A disk on which everything fails while this says so, besides the faults that are planned.
    pub fn unless(stopped: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { plan: Mutex::new(None), stopped: Box::new(stopped) }
    }

    /// Fails after so many calls that go well, of those that write.
    pub fn fail_after(&self, calls: u32, fault: DiskFault) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = Some((calls, fault));
    }

    /// Works again.
    pub fn heal(&self) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn reads(&self) -> io::Result<()> {
        let plan = *self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        if (self.stopped)() || plan == Some((0, DiskFault::Stopped)) { Err(broken()) } else { Ok(()) }
    }

    /// A call that changes something. `Err` with whether half of what it writes reaches the disk.
    fn writes(&self) -> Result<(), (bool, io::Error)> {
        if (self.stopped)() {
            return Err((false, broken()));
        }
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((left, fault)) = *plan else { return Ok(()) };
        if left > 0 {
            *plan = Some((left - 1, fault));
            return Ok(());
        }
        match fault {
            DiskFault::Once => {
                *plan = None;
                Err((true, broken()))
            }
            DiskFault::Full => Err((true, io::ErrorKind::StorageFull.into())),
            DiskFault::Stopped => Err((false, broken())),
        }
    }

    /// A call that needs no room.
    fn changes(&self) -> io::Result<()> {
        match self.writes() {
            Err((_, error)) if error.kind() != io::ErrorKind::StorageFull => Err(error),
            _ => Ok(()),
        }
    }
}

/// The first half of the bytes, over what is there.
fn half_over(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let Some(mut mixture) = RealDisk.read(path)? else { return Ok(()) };
    let half = bytes.len() / 2;
    mixture.splice(..half.min(mixture.len()), bytes[..half].iter().copied());
    RealDisk.rewrite_sync(path, &mixture).map(drop)
}

fn broken() -> io::Error {
    io::Error::other("the disk fails as planned")
}

impl Disk for FaultyDisk {
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        self.reads()?;
        RealDisk.read(path)
    }

    fn write_sync(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if let Err((half, error)) = self.writes() {
            if half {
                RealDisk.write_sync(path, &bytes[..bytes.len() / 2])?;
            }
            return Err(error);
        }
        RealDisk.write_sync(path, bytes)
    }

    fn rewrite_sync(&self, path: &Path, bytes: &[u8]) -> io::Result<bool> {
        if let Err((half, error)) = self.writes() {
            if half {
                half_over(path, bytes)?;
            }
            return Err(error);
        }
        RealDisk.rewrite_sync(path, bytes)
    }

    fn append_sync(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if let Err((half, error)) = self.writes() {
            if half {
                RealDisk.append_sync(path, &bytes[..bytes.len() / 2])?;
            }
            return Err(error);
        }
        RealDisk.append_sync(path, bytes)
    }

    fn write_with(
        &self,
        path: &Path,
        fill: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        self.writes().map_err(|(_, error)| error)?;
        RealDisk.write_with(path, fill)
    }

    fn read_at(&self, path: &Path, at: u64, into: &mut [u8]) -> io::Result<usize> {
        self.reads()?;
        RealDisk.read_at(path, at, into)
    }

    fn size(&self, path: &Path) -> io::Result<Option<u64>> {
        self.reads()?;
        RealDisk.size(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.changes()?;
        RealDisk.rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.changes()?;
        RealDisk.sync_dir(dir)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.changes()?;
        RealDisk.remove(path)
    }

    fn truncate(&self, path: &Path) -> io::Result<()> {
        self.changes()?;
        RealDisk.truncate(path)
    }

    fn overwrite_sync(&self, path: &Path) -> io::Result<()> {
        self.changes()?;
        RealDisk.overwrite_sync(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.changes()?;
        RealDisk.remove_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.reads()?;
        RealDisk.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.writes().map_err(|(_, error)| error)?;
        RealDisk.create_dir_all(dir)
    }
}
