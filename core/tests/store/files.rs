//! The files: encrypted, refused when they are not what they should be, and never changed by a refusal.

use crate::kit::{self, KEY, Phone, customer, id};
use roundsman_core::Error;
use roundsman_core::platform::{Disk, RealDisk};
use roundsman_core::store::{Store, StoreError};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

fn filled() -> Phone {
    let phone = Phone::new();
    phone.pull(
        (0..400).map(|n| customer(n, 1, &format!("Canary{n} Market"), &[("phone", "7328701133")])).collect(),
    );
    phone
}

/// The bytes of the database of a store that was closed.
fn closed() -> (TempDir, Vec<u8>) {
    let phone = filled();
    phone.store.close();
    let bytes = fs::read(phone.path()).unwrap();
    (phone.dir, bytes)
}

fn open(dir: &TempDir, key: &str) -> Result<Store, StoreError> {
    kit::open(&dir.path().join("vault.db"), key, 0)
}

fn refused(dir: &TempDir, key: &str) -> StoreError {
    open(dir, key).err().expect("it opened")
}

#[test]
fn nothing_can_be_read_from_any_file() {
    let phone = filled();
    phone.rename(id(7), "Canaryseven");
    phone.store.set_secret("refresh_token", "canarytoken").unwrap();
    let look = |dir: &Path, least: usize| {
        let files = RealDisk.list(dir).unwrap();
        assert!(files.len() >= least, "{files:?}");
        for file in files {
            let bytes = fs::read(&file).unwrap().to_ascii_lowercase();
            for canary in [&b"canary"[..], b"7328701133", b"sqlite format", b"create table"] {
                assert!(!bytes.windows(canary.len()).any(|part| part == canary), "{}", file.display());
            }
        }
    };
    look(phone.dir.path(), 3);
    phone.store.close();
    look(phone.dir.path(), 1);
}

#[test]
fn a_closed_store_tells_nothing_and_opens_again() {
    let phone = filled();
    let key = phone.customers.list(None, 1).unwrap().remove(0);
    phone.store.close();
    phone.store.close();
    assert!(matches!(phone.customers.get(key.id), Err(Error::Locked)));
    assert!(matches!(phone.customers.save(&key, &key), Err(Error::Locked)));
    assert!(matches!(phone.visits.in_progress(), Err(Error::Locked)));
    assert_eq!(phone.store.cursors(), Err(StoreError::Closed));
    let left: Vec<_> =
        fs::read_dir(phone.dir.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left, ["vault.db"], "the log is part of the database now");
    let phone = phone.restarted();
    assert_eq!(phone.customers.count().unwrap(), 400);
}

#[test]
fn closing_stops_what_runs() {
    let phone = filled();
    std::thread::scope(|scope| {
        let reads = scope.spawn(|| {
            loop {
                if let Err(error) = phone.customers.search("c", 400) {
                    return error;
                }
            }
        });
        let writes = scope.spawn(|| {
            for n in 0.. {
                let seen = match phone.customers.get(id(1)) {
                    Ok(found) => found.unwrap(),
                    Err(error) => return error,
                };
                let mut one = seen.clone();
                one.name = format!("Name {n}");
                if let Err(error) = phone.customers.save(&seen, &one) {
                    return error;
                }
            }
            unreachable!()
        });
        while phone.outbox.count().unwrap() < 3 {
            std::thread::yield_now();
        }
        phone.store.close();
        for error in [reads.join().unwrap(), writes.join().unwrap()] {
            assert!(matches!(error, Error::Locked), "{error}");
        }
    });
}

#[test]
fn another_key_is_refused_and_changes_nothing() {
    let (dir, bytes) = closed();
    // The salt is derived with the key, so both differ.
    let other = KEY.replace("00", "a0").replace("0f1e", "1f1e");
    let without_salt = format!("x'{}'", "7".repeat(64));
    for key in [other.as_str(), &without_salt, "x'00'", "a passphrase"] {
        assert_eq!(refused(&dir, key), StoreError::WrongKey);
        assert_eq!(fs::read(dir.path().join("vault.db")).unwrap(), bytes);
    }
    assert!(open(&dir, KEY).is_ok());
}

#[test]
fn a_file_cut_short_anywhere_is_refused_and_left_alone() {
    let (dir, bytes) = closed();
    let path = dir.path().join("vault.db");
    for length in
        [1, 15, 16, 100, 4_095, 4_096, 5_000, 8_192, bytes.len() / 2, bytes.len() - 4_096, bytes.len() - 1]
    {
        fs::write(&path, &bytes[..length]).unwrap();
        assert_eq!(refused(&dir, KEY), StoreError::Corrupt, "{length} bytes");
        assert_eq!(fs::read(&path).unwrap(), &bytes[..length], "{length} bytes");
    }
    fs::write(&path, b"").unwrap();
    assert_eq!(refused(&dir, KEY), StoreError::Missing);
    assert_eq!(fs::read(&path).unwrap(), b"");
    fs::remove_file(&path).unwrap();
    assert_eq!(refused(&dir, KEY), StoreError::Missing);
    assert!(!path.exists(), "a missing database is never made anew");
    fs::write(&path, &bytes).unwrap();
    assert!(open(&dir, KEY).is_ok());
}

#[test]
fn a_flipped_bit_is_noticed_and_nothing_is_made_worse() {
    let (dir, bytes) = closed();
    let path = dir.path().join("vault.db");
    // The salt of the first page is not authenticated; the key brings its own.
    for place in (16..bytes.len()).step_by(bytes.len() / 60) {
        let mut flipped = bytes.clone();
        flipped[place] ^= 1 << (place % 8);
        fs::write(&path, &flipped).unwrap();
        let read = open(&dir, KEY).and_then(|store| {
            let phone = Phone::reading(store);
            let list = phone.list(None, 1_000).map_err(storage)?;
            let search = phone.search("canary", 1_000).map_err(storage)?;
            Ok((list.len(), search.len()))
        });
        // Pages that no list and no search reads may be the damaged ones.
        if let Err(error) = read {
            assert_eq!(error, StoreError::Corrupt, "byte {place}");
        } else {
            assert_eq!(read.unwrap(), (400, 400), "byte {place}");
        }
        assert_eq!(fs::read(&path).unwrap(), flipped, "byte {place}");
    }
    fs::write(&path, &bytes).unwrap();
    assert!(open(&dir, KEY).is_ok());
}

fn storage(error: Error) -> StoreError {
    match error {
        Error::Store(error) => error,
        error => panic!("{error}"),
    }
}

#[test]
fn a_log_that_was_left_behind_survives_a_refused_open() {
    let phone = filled();
    phone.rename(id(7), "In the log");
    // As a kill leaves the files: the database beside its log.
    let dir = TempDir::new().unwrap();
    for name in ["vault.db", "vault.db-wal"] {
        fs::copy(phone.dir.path().join(name), dir.path().join(name)).unwrap();
    }
    let read = || ["vault.db", "vault.db-wal"].map(|name| fs::read(dir.path().join(name)).unwrap());
    let before = read();
    assert!(!before[1].is_empty());
    let other = KEY.replace("00", "a0").replace("0f1e", "1f1e");
    assert_eq!(refused(&dir, &other), StoreError::WrongKey);
    assert!(read() == before, "a refused open changed the files");
    let store = open(&dir, KEY).unwrap();
    assert_eq!(store.pending(1).unwrap()[0].fields["name"].as_text(), Some("In the log"));
}

#[test]
fn a_file_that_is_there_is_never_overwritten() {
    let (dir, bytes) = closed();
    let path = dir.path().join("vault.db");
    assert_eq!(kit::create(&path, KEY).err(), Some(StoreError::Exists));
    assert_eq!(fs::read(&path).unwrap(), bytes);
    let mut plain = b"SQLite format 3\0".to_vec();
    plain.resize(4_096, 0);
    fs::write(&path, &plain).unwrap();
    assert_eq!(refused(&dir, KEY), StoreError::NotEncrypted);
    assert_eq!(fs::read(&path).unwrap(), plain);
}

#[test]
fn a_database_that_could_not_be_made_leaves_no_file() {
    let dir = TempDir::new().unwrap();
    assert_eq!(kit::create(&dir.path().join("none/vault.db"), KEY).err(), Some(StoreError::Missing));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn secrets_are_kept_over_a_restart() {
    let phone = Phone::new();
    assert!(phone.store.secret("refresh_token").unwrap().is_none());
    phone.store.set_secret("refresh_token", "one").unwrap();
    phone.store.set_secret("refresh_token", "two").unwrap();
    let phone = phone.restarted();
    assert_eq!(phone.store.secret("refresh_token").unwrap().unwrap().as_str(), "two");
}
