//! A disk and a keystore that fail at a given call.

use roundsman_core::platform::{Disk, KeyAlias, KeyError, PlatformKeys, RealDisk, SoftwareKeys};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use zeroize::Zeroizing;

/// What happens at the call that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Only that call fails.
    Once,
    /// That call and all after it: the process was killed. A write leaves half of its bytes.
    Kill,
    /// As a kill, and every name that was not synced is as it was before.
    PowerCut,
    /// From that call on nothing more can be written, but everything else works. A write leaves half of its bytes.
    Full,
}

#[derive(Default)]
struct Plan {
    calls: usize,
    fail_at: Option<(usize, Fault)>,
}

impl Plan {
    /// Counts a call. `Err` if it is to fail.
    fn call(&mut self) -> Result<(), Fault> {
        let number = self.calls;
        self.calls += 1;
        match self.fail_at {
            Some((at, fault)) if number == at || (number > at && fault != Fault::Once) => Err(fault),
            _ => Ok(()),
        }
    }

    /// Whether the call that was to fail was reached.
    fn reached(&self) -> bool {
        self.fail_at.is_some_and(|(at, _)| self.calls > at)
    }
}

/// The real disk, until it fails.
#[derive(Default)]
pub(crate) struct FaultyDisk {
    plan: Mutex<Plan>,
    /// What to put back if the power goes: names whose folder was not synced, with what they led to.
    unsynced: Mutex<Vec<(PathBuf, Option<Vec<u8>>)>>,
    writes: AtomicUsize,
}

impl FaultyDisk {
    /// How many files were written so far.
    pub(crate) fn writes(&self) -> usize {
        self.writes.load(Ordering::SeqCst)
    }

    /// Fails at the call with this number, counted from now.
    pub(crate) fn fail_at(&self, number: usize, fault: Fault) {
        *self.plan.lock().unwrap() = Plan { calls: 0, fail_at: Some((number, fault)) };
    }

    /// Whether the call that was to fail was reached.
    pub(crate) fn failed(&self) -> bool {
        self.plan.lock().unwrap().reached()
    }

    /// Works again. After a power cut, what was not synced is undone.
    pub(crate) fn heal(&self) {
        let plan = std::mem::take(&mut *self.plan.lock().unwrap());
        let unsynced = std::mem::take(&mut *self.unsynced.lock().unwrap());
        if matches!(plan.fail_at, Some((at, Fault::PowerCut)) if plan.calls > at) {
            for (path, before) in unsynced.into_iter().rev() {
                match before {
                    Some(bytes) => std::fs::write(path, bytes).unwrap(),
                    None => RealDisk.remove(&path).unwrap(),
                }
            }
        }
    }

    fn call(&self) -> io::Result<()> {
        match self.plan.lock().unwrap().call() {
            Err(Fault::Full) | Ok(()) => Ok(()),
            Err(_) => Err(io::Error::other("fault")),
        }
    }

    /// A call that needs room. `Err` with whether the first half of its bytes reach the disk.
    fn write_call(&self) -> Result<(), (bool, io::Error)> {
        let mut plan = self.plan.lock().unwrap();
        let dead = plan.reached();
        match plan.call() {
            Ok(()) => Ok(()),
            Err(Fault::Full) => Err((!dead, io::ErrorKind::StorageFull.into())),
            Err(_) => Err((!dead, io::Error::other("fault"))),
        }
    }

    fn remember(&self, path: &Path) {
        let before = RealDisk.read(path).unwrap();
        self.unsynced.lock().unwrap().push((path.to_path_buf(), before));
    }
}

impl Disk for FaultyDisk {
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        self.call()?;
        RealDisk.read(path)
    }

    fn write_sync(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        if let Err((half, error)) = self.write_call() {
            if half {
                RealDisk.write_sync(path, &bytes[..bytes.len() / 2])?;
            }
            return Err(error);
        }
        if !path.exists() {
            self.remember(path);
        }
        RealDisk.write_sync(path, bytes)
    }

    fn rewrite_sync(&self, path: &Path, bytes: &[u8]) -> io::Result<bool> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        if let Err((half, error)) = self.write_call() {
            if let Some(mut mixture) = RealDisk.read(path)?.filter(|_| half) {
                let half = bytes.len() / 2;
                mixture.splice(..half.min(mixture.len()), bytes[..half].iter().copied());
                RealDisk.rewrite_sync(path, &mixture)?;
            }
            return Err(error);
        }
        RealDisk.rewrite_sync(path, bytes)
    }

    fn append_sync(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if let Err((half, error)) = self.write_call() {
            if half {
                RealDisk.append_sync(path, &bytes[..bytes.len() / 2])?;
            }
            return Err(error);
        }
        if !path.exists() {
            self.remember(path);
        }
        RealDisk.append_sync(path, bytes)
    }

    fn write_with(
        &self,
        path: &Path,
        fill: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        self.write_call().map_err(|(_, error)| error)?;
        if !path.exists() {
            self.remember(path);
        }
        RealDisk.write_with(path, &mut |file| fill(&mut FaultyFile { disk: self, file }))?;
        // The sync that the write ended with.
        self.write_call().map_err(|(_, error)| error)
    }

    fn read_at(&self, path: &Path, at: u64, into: &mut [u8]) -> io::Result<usize> {
        self.call()?;
        RealDisk.read_at(path, at, into)
    }

    fn size(&self, path: &Path) -> io::Result<Option<u64>> {
        self.call()?;
        RealDisk.size(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call()?;
        self.remember(from);
        self.remember(to);
        RealDisk.rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.call()?;
        self.unsynced.lock().unwrap().retain(|(path, _)| path.parent() != Some(dir));
        RealDisk.sync_dir(dir)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call()?;
        self.remember(path);
        RealDisk.remove(path)
    }

    fn truncate(&self, path: &Path) -> io::Result<()> {
        self.call()?;
        RealDisk.truncate(path)
    }

    fn overwrite_sync(&self, path: &Path) -> io::Result<()> {
        self.call()?;
        RealDisk.overwrite_sync(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.call()?;
        RealDisk.remove_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.call()?;
        RealDisk.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.call()?;
        RealDisk.create_dir_all(dir)
    }
}

/// A file that is written in parts, each of which may be the call that fails.
struct FaultyFile<'a> {
    disk: &'a FaultyDisk,
    file: &'a mut dyn Write,
}

impl Write for FaultyFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err((half, error)) = self.disk.write_call() {
            if half {
                self.file.write_all(&bytes[..bytes.len() / 2])?;
            }
            return Err(error);
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A keystore in files, until it fails.
pub(crate) struct FaultyKeys {
    keys: SoftwareKeys,
    plan: Mutex<Plan>,
    /// Whether it says of itself that it is in secure hardware.
    pub(crate) hardware: AtomicBool,
    /// What the person answers when they are asked for a finger.
    pub(crate) finger: Mutex<Result<(), KeyError>>,
}

impl FaultyKeys {
    pub(crate) fn new(keys: SoftwareKeys) -> Self {
        Self { keys, plan: Mutex::default(), hardware: AtomicBool::new(true), finger: Mutex::new(Ok(())) }
    }

    /// Fails at the call with this number, counted from now.
    pub(crate) fn fail_at(&self, number: usize, fault: Fault) {
        *self.plan.lock().unwrap() = Plan { calls: 0, fail_at: Some((number, fault)) };
    }

    /// Whether the call that was to fail was reached.
    pub(crate) fn failed(&self) -> bool {
        self.plan.lock().unwrap().reached()
    }

    pub(crate) fn heal(&self) {
        *self.plan.lock().unwrap() = Plan::default();
    }

    fn call(&self) -> Result<(), KeyError> {
        self.plan.lock().unwrap().call().map_err(|_| KeyError::Transient)
    }
}

impl PlatformKeys for FaultyKeys {
    fn create(&self, alias: KeyAlias) -> Result<(), KeyError> {
        self.call()?;
        self.keys.create(alias)
    }

    fn exists(&self, alias: KeyAlias) -> Result<bool, KeyError> {
        self.call()?;
        self.keys.exists(alias)
    }

    fn hmac(&self, alias: KeyAlias, data: &[u8]) -> Result<Zeroizing<[u8; 32]>, KeyError> {
        self.call()?;
        if alias == KeyAlias::Biometric {
            (*self.finger.lock().unwrap())?;
        }
        self.keys.hmac(alias, data)
    }

    fn public_key(&self, alias: KeyAlias) -> Result<[u8; 65], KeyError> {
        self.call()?;
        self.keys.public_key(alias)
    }

    fn sign(&self, alias: KeyAlias, message: &[u8]) -> Result<[u8; 64], KeyError> {
        self.call()?;
        self.keys.sign(alias, message)
    }

    fn delete(&self, alias: KeyAlias) -> Result<(), KeyError> {
        self.call()?;
        self.keys.delete(alias)
    }

    fn hardware(&self) -> bool {
        self.hardware.load(Ordering::Relaxed)
    }

    fn mark(&self) -> Result<Option<Vec<u8>>, KeyError> {
        self.call()?;
        self.keys.mark()
    }

    fn set_mark(&self, mark: &[u8]) -> Result<(), KeyError> {
        self.call()?;
        self.keys.set_mark(mark)
    }
}
