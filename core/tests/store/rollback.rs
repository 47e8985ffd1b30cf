//! Files that were put back: an older database, a log without its end, one old page among newer ones.

use crate::kit::{self, KEY, Phone, RESCUE, applied, customer, id};
use roundsman_core::model::Entity;
use roundsman_core::platform::{Disk, RealDisk};
use roundsman_core::protocol::hpke_seal;
use roundsman_core::protocol::rescue::Segment;
use roundsman_core::store::{Store, StoreError};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const PAGE: usize = 4_096;

/// The size of a frame in SQLite's log: a header and a page (sqlite.org/fileformat2.html, section 4.1).
const FRAME: usize = 24 + PAGE;

fn copy_tree(from: &Path, to: &Path) {
    for path in RealDisk.list(from).unwrap() {
        let target = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&path, &target).unwrap();
    }
}

fn copied(from: &Path) -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    copy_tree(from, dir.path());
    let path = dir.path().join("vault.db");
    (dir, path)
}

fn bytes(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = RealDisk.list(dir).unwrap().into_iter().map(|path| (path.clone(), fs::read(path).unwrap()));
    // An empty log holds nothing, nor does SQLite's index of it.
    files.filter(|(path, bytes)| !path.ends_with("vault.db-shm") && !bytes.is_empty()).collect()
}

/// What a rep can see, but for the search's index. Written out as JSON: what is printed for a log shows no fields.
fn seen(store: Store) -> Result<String, StoreError> {
    let (pending, cursors) = (store.pending(1_000)?, store.cursors()?);
    let token = store.secret("refresh_token")?;
    let list = Phone::reading(store).list(None, 10_000).unwrap();
    let list: Vec<_> = list.iter().map(|customer| (customer.id, customer.to_fields())).collect();
    Ok(serde_json::to_string(&(pending, cursors, token.as_deref(), list)).unwrap())
}

/// A phone with so many changes in its outbox, closed.
fn phone_with(changes: u128) -> Phone {
    let phone = Phone::new();
    phone.pull((1..=9).map(|n| customer(n, 1, "Corner", &[])).collect());
    rename(&phone, 1..=changes);
    phone
}

fn rename(phone: &Phone, customers: impl Iterator<Item = u128>) {
    for n in customers {
        phone.rename(id(n), &format!("Corner {n}"));
    }
}

#[test]
fn an_older_copy_of_the_database_is_refused_and_left_alone() {
    let phone = phone_with(2).restarted();
    phone.store.close();
    let older = fs::read(phone.path()).unwrap();
    let phone = phone.restarted();
    rename(&phone, 3..=6);
    let last = phone.store.commit_number();
    phone.store.close();
    fs::write(phone.path(), &older).unwrap();
    let before = bytes(phone.dir.path());
    // The sealed outbox bears witness.
    assert_eq!(kit::open(&phone.path(), KEY, 0).err(), Some(StoreError::RolledBack));
    assert!(bytes(phone.dir.path()) == before, "a refused open changed a file");
    // So does whoever saw a later commit, if the outbox was removed.
    fs::remove_dir_all(phone.dir.path().join("outbox")).unwrap();
    assert_eq!(kit::open(&phone.path(), KEY, last).err(), Some(StoreError::RolledBack));
    assert!(fs::read(phone.path()).unwrap() == older);
}

#[test]
fn a_log_that_has_lost_its_end_is_refused_and_left_alone() {
    let phone = phone_with(0).restarted();
    rename(&phone, 1..=6);
    let last = phone.store.commit_number();
    let log = fs::read(phone.dir.path().join("vault.db-wal")).unwrap();
    let (mut refused, mut opened) = (0, 0);
    for length in (32..log.len()).step_by(FRAME).chain([log.len()]) {
        let (dir, path) = copied(phone.dir.path());
        fs::write(dir.path().join("vault.db-wal"), &log[..length]).unwrap();
        let before = bytes(dir.path());
        match kit::open(&path, KEY, last) {
            Ok(store) => assert_eq!(store.commit_number(), last, "{length} bytes of the log"),
            Err(error) => {
                assert_eq!(error, StoreError::RolledBack, "{length} bytes of the log");
                assert!(bytes(dir.path()) == before, "{length} bytes of the log");
            }
        }
        // Nobody but the sealed outbox knows: the last commit may not have happened, those before it must have.
        match kit::open(&path, KEY, 0) {
            Ok(store) => {
                opened += 1;
                assert!(store.commit_number() + 1 >= last, "{length} bytes of the log");
            }
            Err(error) => {
                refused += 1;
                assert_eq!(error, StoreError::RolledBack, "{length} bytes of the log");
            }
        }
    }
    assert!(refused > 10 && opened > 1, "{refused} refused, {opened} opened");
}

#[test]
fn a_commit_that_was_announced_and_did_not_happen_is_taken_back() {
    let phone = phone_with(2);
    let (dir, path) = copied(phone.dir.path());
    rename(&phone, 3..=3);
    let lost = phone.store.pending(9).unwrap().pop().unwrap();
    // As a stop between the two leaves it: sealed, and not committed.
    copy_tree(&phone.dir.path().join("outbox"), &dir.path().join("outbox"));
    let store = kit::open(&path, KEY, 0).unwrap();
    assert_eq!(store.pending(9).unwrap().len(), 2);
    let voided = |store: &Store| {
        let files = RealDisk.list(&dir.path().join("outbox")).unwrap();
        let opened: Vec<_> = files
            .iter()
            .flat_map(|file| {
                Segment::read(&fs::read(file).unwrap())
                    .unwrap()
                    .open(&hpke_seal::key_pair(&RESCUE).0)
                    .unwrap()
            })
            .collect();
        assert_eq!(opened.iter().filter(|change| !change.void).count(), store.pending(9).unwrap().len());
        opened.iter().filter(|change| change.void).map(|change| change.change).collect::<Vec<_>>()
    };
    assert_eq!(voided(&store), [lost.id]);
    // Its number is given to another commit, which stands.
    let phone = Phone::over(dir, store);
    rename(&phone, 4..=4);
    let phone = phone.restarted();
    assert_eq!(phone.waiting(), [1, 2, 3]);
    let outbox = phone.dir.path().join("outbox");
    let live = phone.store.pending(9).unwrap().into_iter().map(|mutation| mutation.id).collect();
    assert_eq!(kit::sealed(&phone.path()).changes(), live);
    assert_eq!(RealDisk.list(&outbox).unwrap().len(), 2, "each session has a segment of its own");
}

#[test]
fn one_old_page_among_newer_ones_never_makes_a_mix() {
    let phone = Phone::new();
    let many = |rev: u64, name: &str| {
        (1..=400).map(|n| customer(n, rev, &format!("{name} {n}"), &[("phone", name)])).collect()
    };
    phone.pull(many(1, "Old"));
    phone.store.set_secret("refresh_token", "old").unwrap();
    rename(&phone, 1..=5);
    phone.store.close();
    let older = fs::read(phone.path()).unwrap();
    let old = seen(kit::open(&phone.path(), KEY, 0).unwrap()).unwrap();
    let phone = phone.restarted();
    phone.pull(many(2, "New"));
    phone.store.set_secret("refresh_token", "new").unwrap();
    rename(&phone, 300..=320);
    phone.settle(2, applied(3, vec![]));
    phone.store.close();
    let newer = fs::read(phone.path()).unwrap();
    let new = seen(kit::open(&phone.path(), KEY, 0).unwrap()).unwrap();
    let pages = older.len() / PAGE;
    assert!(pages >= 60 && old != new, "{pages} pages");

    let (mut refused, mut differing) = (0, 0);
    for page in 0..pages {
        let place = page * PAGE..(page + 1) * PAGE;
        differing += usize::from(older[place.clone()] != newer[place.clone()]);
        let mut mixed = newer.clone();
        mixed[place.clone()].copy_from_slice(&older[place]);
        fs::write(phone.path(), &mixed).unwrap();
        let opened = kit::open(&phone.path(), KEY, 0).and_then(|store| {
            store.check()?;
            seen(store)
        });
        match opened {
            Ok(read) => assert!(read == old || read == new, "page {page}: a mix"),
            Err(StoreError::PartRolledBack { .. } | StoreError::RolledBack | StoreError::Corrupt) => {
                refused += 1;
            }
            Err(error) => panic!("page {page}: {error}"),
        }
    }
    assert!(refused * 2 > differing && refused > 30, "{refused} of {differing} pages were refused");
    fs::write(phone.path(), &newer).unwrap();
    kit::open(&phone.path(), KEY, 0).unwrap().check().unwrap();
}

#[test]
fn an_old_page_that_fits_every_index_is_found_by_a_digest() {
    let phone = Phone::new();
    // Nothing is listed or searched by a region.
    let many = |rev: u64, region: &str| {
        (1..=400).map(|n| customer(n, rev, &format!("Corner {n}"), &[("region", region)])).collect()
    };
    phone.pull(many(1, "Old"));
    phone.store.close();
    let older = fs::read(phone.path()).unwrap();
    let phone = phone.restarted();
    phone.pull(many(2, "New"));
    phone.store.close();
    let newer = fs::read(phone.path()).unwrap();
    let new = seen(kit::open(&phone.path(), KEY, 0).unwrap()).unwrap();

    let mut found = 0;
    for page in 0..older.len() / PAGE {
        let place = page * PAGE..(page + 1) * PAGE;
        let mut mixed = newer.clone();
        mixed[place.clone()].copy_from_slice(&older[place]);
        fs::write(phone.path(), &mixed).unwrap();
        let opened = kit::open(&phone.path(), KEY, 0).and_then(|store| {
            store.check()?;
            seen(store)
        });
        match opened {
            Ok(read) => assert!(read == new, "page {page}: a mix"),
            Err(StoreError::PartRolledBack { table }) => found += usize::from(table == "customer"),
            Err(StoreError::RolledBack | StoreError::Corrupt) => {}
            Err(error) => panic!("page {page}: {error}"),
        }
    }
    assert!(found >= 5, "{found} pages of customers were told from newer ones");
}

#[test]
fn a_mix_of_pages_is_found_at_the_start_after_a_stop() {
    let phone = Phone::new();
    phone.pull((1..=400).map(|n| customer(n, 1, "Old", &[])).collect());
    let phone = phone.restarted();
    phone.store.close();
    let older = fs::read(phone.path()).unwrap();
    let phone = phone.restarted();
    phone.pull((1..=400).map(|n| customer(n, 2, "New", &[])).collect());
    let phone = phone.restarted();
    phone.store.close();
    let newer = fs::read(phone.path()).unwrap();
    // A commit stays in the log, as a stop leaves it.
    let phone = phone.restarted();
    phone.store.set_secret("a", "b").unwrap();
    let (dir, path) = copied(phone.dir.path());
    let mut refused = 0;
    for page in 1..older.len() / PAGE {
        let place = page * PAGE..(page + 1) * PAGE;
        let mut mixed = newer.clone();
        mixed[place.clone()].copy_from_slice(&older[place]);
        fs::write(&path, &mixed).unwrap();
        let before = bytes(dir.path());
        if let Err(error) = kit::open(&path, KEY, 0) {
            refused += 1;
            assert!(bytes(dir.path()) == before, "page {page}: {error}");
        } else {
            let (again, _) = copied(phone.dir.path());
            copy_tree(again.path(), dir.path());
        }
    }
    assert!(refused > 15, "{refused}");
}

#[test]
fn every_write_has_a_number_of_its_own() {
    let phone = phone_with(3);
    let last = phone.store.commit_number();
    phone.store.set_secret("a", "b").unwrap();
    phone.settle(1, applied(2, vec![]));
    assert_eq!(phone.store.commit_number(), last + 2);
    let store = phone.store.clone();
    let phone = phone.restarted();
    assert_eq!((phone.store.commit_number(), store.commit_number()), (last + 2, last + 2));
    phone.store.check().unwrap();
}
