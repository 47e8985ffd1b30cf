//! Another key for the database.
//!
//! SQLCipher writes every page anew into the write-ahead log and commits once. Until that commit the database opens with
//! the old key, after it with the new one; nothing in between opens with both or neither. The keys of sealed files are
//! wrapped anew after that, while both keys are still at hand.

use super::digest::Digest;
use super::{Rewrap, Store, StoreError, StoreKey, connection, schema, sealed_files};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::path::Path;
use std::sync::Arc;

impl Store {
    /// Gives the database at `path` the key `new` in place of `old`, both as for [`Store::create`]. When this returns it
    /// would survive a power cut, every page was read back with the new key, and no page of the old one is left. One that
    /// has the new key already is brought to that end. `rewrap` wraps the keys of sealed files anew. Nobody else may
    /// have it open.
    ///
    /// # Errors
    /// As [`Store::open`]; the disk is full or failed. The database has one of the two keys then, and all its rows:
    /// [`Store::finish_rekey`] tells which.
    pub fn rekey(
        path: &Path,
        old: &StoreKey<'_>,
        new: &StoreKey<'_>,
        rewrap: &Rewrap<'_>,
    ) -> Result<(), StoreError> {
        let rekeyed = match open(path, new) {
            Err(StoreError::WrongKey | StoreError::Corrupt) => {
                let connection = open(path, old)?;
                // What is not of one state must not come to look so under new digests.
                if schema::has_digests(schema::version(&connection)?) {
                    Digest::new(old.digest).check(&connection)?;
                }
                // What the old key wrote leaves the log before the new key writes there.
                connection::checkpoint(&connection)?;
                connection::rekey(&connection, new.cipher)?;
                connection
            }
            opened => opened?,
        };
        settle(rekeyed, path, new, rewrap)
    }

    /// Finds out which of two keys the database has after a [`Store::rekey`] that did not return, and brings it to that
    /// key's end: `true` for the new key, with the same promises as there; `false` for the old one.
    ///
    /// # Errors
    /// As [`Store::open`]; it opens with neither, or can't be read for now. Nothing was decided then.
    pub fn finish_rekey(
        path: &Path,
        old: &StoreKey<'_>,
        new: &StoreKey<'_>,
        rewrap: &Rewrap<'_>,
    ) -> Result<bool, StoreError> {
        match open(path, new) {
            // Of a committed change the first page is the new key's: this one was not.
            Err(StoreError::WrongKey | StoreError::Corrupt) => open(path, old).map(|_| false),
            opened => settle(opened?, path, new, rewrap).map(|()| true),
        }
    }
}

fn open(path: &Path, key: &StoreKey<'_>) -> Result<Connection, StoreError> {
    connection::open(path, key.cipher, &Arc::default())
}

/// Moves what is in the log into the database, and reads all of it back.
fn settle(
    rekeyed: Connection,
    path: &Path,
    key: &StoreKey<'_>,
    rewrap: &Rewrap<'_>,
) -> Result<(), StoreError> {
    let version = schema::version(&rekeyed)?;
    if schema::has_digests(version) {
        // The digests' key has changed with the database's. Pages of the old key can't be among those of the new one,
        // so that what is here is of one state.
        let tx = Transaction::new_unchecked(&rekeyed, TransactionBehavior::Immediate)?;
        if schema::has_sealed_files(version) {
            sealed_files::rewrap(&tx, rewrap)?;
        }
        Digest::new(key.digest).found(&tx)?;
        connection::authentic(&tx)?;
        tx.commit()?;
    }
    connection::checkpoint(&rekeyed)?;
    drop(rekeyed);
    // A connection that has cached no page.
    let fresh = open(path, key)?;
    let sound: String = fresh.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    connection::authentic(&fresh)?;
    if sound == "ok" { Ok(()) } else { Err(StoreError::Corrupt) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use super::*;
    use crate::platform::EntropyError;
    use crate::store::tests::sealed;
    use std::fs;
    use std::path::PathBuf;
    use tempfile::TempDir;
    use uuid::Uuid;

    const ROWS: u32 = 300;

    /// There are no sealed files.
    const KEEP: fn(Uuid, &[u8]) -> Result<Option<Vec<u8>>, EntropyError> = |_, _| Ok(None);

    fn key(n: u8) -> StoreKey<'static> {
        // Each key has a salt of its own.
        let cipher = format!("x'{}'", format!("{n:02x}").repeat(48));
        StoreKey { cipher: cipher.leak(), digest: Box::leak(Box::new([n; 32])) }
    }

    fn whole(path: &Path, key: &StoreKey<'_>) -> Result<Store, StoreError> {
        Store::open(path, key, sealed(path), 0)
    }

    fn filled(dir: &Path) -> PathBuf {
        let path = dir.join("vault.db");
        let store = Store::create(&path, &key(1), sealed(&path)).unwrap();
        for n in 0..ROWS {
            store.set_secret(&format!("name {n}"), &format!("value {n} {}", "x".repeat(200))).unwrap();
        }
        store.close();
        path
    }

    fn assert_whole(path: &Path, key: &StoreKey<'_>, what: &str) {
        let store = whole(path, key).unwrap_or_else(|error| panic!("{what}: {error}"));
        for n in 0..ROWS {
            let value = store.secret(&format!("name {n}")).unwrap();
            let expected = format!("value {n} {}", "x".repeat(200));
            assert_eq!(value.as_deref(), Some(&expected), "{what}: row {n}");
        }
        store.check().unwrap_or_else(|error| panic!("{what}: {error}"));
        store.close();
    }

    fn leave(path: &Path, dir: &Path, wal: &[u8]) -> PathBuf {
        let left = dir.join("left.db");
        for end in ["-wal", "-shm"] {
            let _ = fs::remove_file(connection::beside(&left, end));
        }
        fs::copy(path, &left).unwrap();
        fs::write(connection::beside(&left, "-wal"), wal).unwrap();
        left
    }

    #[test]
    fn a_database_with_a_new_key_opens_with_no_other_and_has_every_row() {
        let dir = TempDir::new().unwrap();
        let path = filled(dir.path());
        let old = fs::read(&path).unwrap();
        Store::rekey(&path, &key(1), &key(2), &KEEP).unwrap();
        assert_whole(&path, &key(2), "re-keyed");
        assert_eq!(whole(&path, &key(1)).err(), Some(StoreError::WrongKey));
        // Not one page is as it was, and nothing is in the log.
        let new = fs::read(&path).unwrap();
        assert!(old.chunks(4096).zip(new.chunks(4096)).all(|(old, new)| old != new));
        assert!(fs::metadata(connection::beside(&path, "-wal")).map_or(0, |log| log.len()) == 0);
        Store::rekey(&path, &key(1), &key(2), &KEEP).unwrap();
        assert_whole(&path, &key(2), "re-keyed once more");
        assert_eq!(Store::rekey(&path, &key(3), &key(4), &KEEP).err(), Some(StoreError::WrongKey));
        assert_whole(&path, &key(2), "not re-keyed");
    }

    #[test]
    fn a_re_key_whose_log_was_cut_anywhere_has_one_of_the_two_keys_and_every_row() {
        let (dir, lab) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let path = filled(dir.path());
        let connection = open(&path, &key(1)).unwrap();
        connection::checkpoint(&connection).unwrap();
        connection::rekey(&connection, key(2).cipher).unwrap();
        // As a power cut leaves it: what was committed is in the log alone.
        let log = fs::read(connection::beside(&path, "-wal")).unwrap();
        let frame = 4096 + 24;
        let frames = (log.len() - 32) / frame;
        assert!(frames > 10, "{frames}");
        let (mut old, mut new) = (0, 0);
        let cuts = (0..=frames).flat_map(|n| [32 + n * frame, 32 + n * frame + frame / 2]);
        for cut in cuts.chain([0, 20]).filter(|cut| *cut <= log.len()) {
            let left = leave(&path, lab.path(), &log[..cut]);
            let changed = Store::finish_rekey(&left, &key(1), &key(2), &KEEP).unwrap();
            *(if changed { &mut new } else { &mut old }) += 1;
            assert_eq!(changed, cut == log.len(), "cut at {cut} of {}", log.len());
            let (right, wrong) = if changed { (key(2), key(1)) } else { (key(1), key(2)) };
            assert_whole(&left, &right, &format!("cut at {cut}"));
            assert!(whole(&left, &wrong).is_err(), "cut at {cut}");
            // Whichever it was, the change can be gone on with.
            Store::rekey(&left, &key(1), &key(2), &KEEP).unwrap();
            assert_whole(&left, &key(2), &format!("cut at {cut}, repeated"));
        }
        assert!(old > 10 && new == 1, "{old} {new}");
    }

    #[test]
    fn a_re_key_that_stops_while_its_log_is_moved_is_finished_with_the_new_key() {
        let (dir, lab) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let path = filled(dir.path());
        let connection = open(&path, &key(1)).unwrap();
        connection::checkpoint(&connection).unwrap();
        connection::rekey(&connection, key(2).cipher).unwrap();
        let log = fs::read(connection::beside(&path, "-wal")).unwrap();
        let before = fs::read(&path).unwrap();
        connection::checkpoint(&connection).unwrap();
        let after = fs::read(&path).unwrap();
        assert_eq!(before.len(), after.len());
        for moved in 0..=after.len() / 4096 {
            let left = leave(&path, lab.path(), &log);
            let half = [&after[..moved * 4096], &before[moved * 4096..]].concat();
            fs::write(&left, half).unwrap();
            assert!(Store::finish_rekey(&left, &key(1), &key(2), &KEEP).unwrap(), "{moved} pages moved");
            assert_whole(&left, &key(2), &format!("{moved} pages moved"));
        }
    }

    #[test]
    fn a_database_of_an_older_version_is_re_keyed_too() {
        let dir = TempDir::new().unwrap();
        let path = filled(dir.path());
        let older = open(&path, &key(1)).unwrap();
        older
            .execute_batch(
                "CREATE TABLE conflict (id INTEGER PRIMARY KEY, entity TEXT NOT NULL, record BLOB NOT NULL,
                 conflict TEXT NOT NULL) STRICT;
                 INSERT INTO conflict VALUES (1, 'customer', x'00', '{}');
                 DROP TABLE sealed_file; DROP TABLE passed_over; DROP TABLE healing; DROP TABLE unconfirmed;
                 DROP TABLE unsent_file; DROP TABLE thumbnail;
                 DELETE FROM digest
                 WHERE name IN ('sealed_file', 'passed_over', 'healing', 'unconfirmed', 'unsent_file', 'thumbnail');
                 ALTER TABLE outbox DROP COLUMN change; ALTER TABLE outbox DROP COLUMN was;
                 ALTER TABLE outbox DROP COLUMN settles; PRAGMA user_version = 2",
            )
            .unwrap();
        connection::settle_on_close(&older).unwrap();
        drop(older);
        Store::rekey(&path, &key(1), &key(2), &KEEP).unwrap();
        assert_whole(&path, &key(2), "re-keyed");
    }

    #[test]
    fn a_damaged_database_is_neither_finished_nor_undone() {
        let dir = TempDir::new().unwrap();
        let path = filled(dir.path());
        let mut bytes = fs::read(&path).unwrap();
        bytes[100] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert!(Store::finish_rekey(&path, &key(1), &key(2), &KEEP).is_err());
        assert!(Store::rekey(&path, &key(1), &key(2), &KEEP).is_err());
        assert!(fs::read(&path).unwrap() == bytes);
    }
}
