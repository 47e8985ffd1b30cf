//! After a wipe the platform's key is gone. Whoever copied the whole disk before, at any moment, and knows the
//! passcode, opens nothing with the copy.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

mod vault_kit;

use roundsman_core::device::Device;
use roundsman_core::platform::{Disk, KeyAlias, OsEntropy, PlatformKeys, RealDisk, SoftwareKeys};
use roundsman_core::vault::{Seams, Vault, VaultError};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use vault_kit::{App, OTHER, Office, Phone, RIGHT, passcode};

/// Fewer states than this are no proof.
const STATES: usize = 1_100;

/// The files of a folder at one moment.
type Copy = Vec<(PathBuf, Vec<u8>)>;

/// The real disk, copied as a whole after each change.
struct CopiedDisk {
    dir: PathBuf,
    copies: Mutex<BTreeSet<Copy>>,
}

impl CopiedDisk {
    fn copy(&self, done: io::Result<()>) -> io::Result<()> {
        let files = RealDisk.list(&self.dir)?.into_iter();
        let copy = files.filter_map(|path| Some((path.clone(), RealDisk.read(&path).ok()??))).collect();
        self.copies.lock().unwrap().insert(copy);
        done
    }
}

impl Disk for CopiedDisk {
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        RealDisk.read(path)
    }

    fn write_sync(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.copy(RealDisk.write_sync(path, bytes))
    }

    fn rewrite_sync(&self, path: &Path, bytes: &[u8]) -> io::Result<bool> {
        let there = RealDisk.rewrite_sync(path, bytes)?;
        self.copy(Ok(()))?;
        Ok(there)
    }

    fn append_sync(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.copy(RealDisk.append_sync(path, bytes))
    }

    fn write_with(
        &self,
        path: &Path,
        fill: &mut dyn FnMut(&mut dyn io::Write) -> io::Result<()>,
    ) -> io::Result<()> {
        self.copy(RealDisk.write_with(path, fill))
    }

    fn read_at(&self, path: &Path, at: u64, into: &mut [u8]) -> io::Result<usize> {
        RealDisk.read_at(path, at, into)
    }

    fn size(&self, path: &Path) -> io::Result<Option<u64>> {
        RealDisk.size(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.copy(RealDisk.rename(from, to))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.sync_dir(dir)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.copy(RealDisk.remove(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.copy(RealDisk.remove_dir(path))
    }

    fn truncate(&self, path: &Path) -> io::Result<()> {
        self.copy(RealDisk.truncate(path))
    }

    fn overwrite_sync(&self, path: &Path) -> io::Result<()> {
        self.copy(RealDisk.overwrite_sync(path))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        RealDisk.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        RealDisk.create_dir_all(dir)
    }
}

/// The phone's folder and keys as they are for somebody who has a copy.
struct Thief {
    dir: PathBuf,
    keys: Arc<SoftwareKeys>,
    phone: Phone,
}

impl Thief {
    fn lay_out(&self, copy: &Copy, without: &[&str]) {
        let _ = fs::remove_dir_all(&self.dir);
        fs::create_dir_all(&self.dir).unwrap();
        for (path, bytes) in copy {
            let name = path.file_name().unwrap().to_str().unwrap();
            if !without.iter().any(|start| name.starts_with(start)) {
                fs::write(self.dir.join(name), bytes).unwrap();
            }
        }
    }

    /// What the right passcode gives; `None` if the vault is not even there.
    fn tries(&self) -> Option<Result<(), VaultError>> {
        let seams = Seams { keys: self.keys.clone(), disk: Arc::new(RealDisk), ..self.phone.seams() };
        match Vault::at(&self.dir, seams) {
            Ok(vault) if vault.profile().is_none() => None,
            Ok(vault) => Some(vault.unlock(&passcode(RIGHT), &|| ()).map(drop)),
            Err(error) => Some(Err(error)),
        }
    }
}

/// Every state that the disk was in through some days of work.
fn days(phone: &Phone) -> Vec<Copy> {
    let disk = Arc::new(CopiedDisk { dir: phone.dir(), copies: Mutex::default() });
    let mut office = Office::new();
    let vault = || Arc::new(Vault::at(phone.dir(), Seams { disk: disk.clone(), ..phone.seams() }).unwrap());
    let app = |vault: Arc<Vault>| App { device: Device::new(vault.clone()), vault, closed: 0.into() };
    let first = app(vault());
    first.enrol(&mut office).unwrap();
    first.talk(&mut office).unwrap();
    drop(first);
    while disk.copies.lock().unwrap().len() < STATES {
        let app = app(vault());
        app.opens_with(RIGHT).unwrap();
        assert!(app.opens_with(OTHER).is_err());
        app.opens_with(RIGHT).unwrap();
        app.change(RIGHT, OTHER).unwrap();
        app.change(OTHER, RIGHT).unwrap();
        app.talk(&mut office).unwrap();
    }
    std::mem::take(&mut *disk.copies.lock().unwrap()).into_iter().collect()
}

#[test]
fn a_copy_from_before_the_wipe_opens_for_nobody() {
    let phone = Phone::new();
    let copies = days(&phone);
    // The wipe has destroyed the first of the platform's keys; the others are there for the thief.
    let root = tempfile::tempdir().unwrap();
    let keys = Arc::new(SoftwareKeys::new(root.path().join("keystore"), Arc::new(OsEntropy)));
    fs::create_dir_all(root.path().join("keystore")).unwrap();
    for alias in [KeyAlias::Identity, KeyAlias::Control] {
        let name = format!("{}.key", alias.name());
        let from = phone.dir().parent().unwrap().join("keystore").join(&name);
        fs::copy(from, root.path().join("keystore").join(name)).unwrap();
    }
    let thief = Thief { dir: root.path().join("vault"), keys, phone };
    let mut tried = 0;
    for (n, copy) in copies.iter().enumerate() {
        thief.lay_out(copy, &[]);
        let Some(outcome) = thief.tries() else { continue };
        assert!(outcome.is_err(), "state {n} opens without the platform's key");
        tried += 1;
    }
    assert!(tried >= 1_000, "{tried} of {} states hold a vault", copies.len());

    // A key of the thief's own in its place helps no more.
    thief.keys.create(KeyAlias::Wrap).unwrap();
    for (n, copy) in copies.iter().enumerate() {
        thief.lay_out(copy, &[]);
        if let Some(outcome) = thief.tries() {
            assert!(outcome.is_err(), "state {n} opens with another platform key");
        }
    }
    println!("{tried} states of the disk, none opens with the right passcode and without the platform's key");
}

#[test]
fn a_copy_without_share_or_slots_opens_for_nobody() {
    let phone = Phone::new();
    let copies = days(&phone);
    let keystore = phone.dir().parent().unwrap().join("keystore");
    let root = tempfile::tempdir().unwrap();
    let keys = Arc::new(SoftwareKeys::new(keystore, Arc::new(OsEntropy)));
    let thief = Thief { dir: root.path().join("vault"), keys, phone };
    for (n, copy) in copies.iter().enumerate().step_by(5) {
        for gone in ["release.", "slots."] {
            thief.lay_out(copy, &[gone]);
            if let Some(outcome) = thief.tries() {
                assert!(outcome.is_err(), "state {n} opens without {gone}");
            }
        }
    }
}
