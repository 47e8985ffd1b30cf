//! Checking the store from end to end, one part after the other: each is a call of its own, so that whoever waits hears
//! how far it is.

use super::schema::{Index, Table, tables};
use super::{Records, Store, StoreError, outbox, rows, terms};
use rusqlite::types::ValueRef;
use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use uuid::Uuid;

/// How the search stands to the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SearchCheck {
    /// Rows whose words were compared.
    pub(crate) rows: u64,
    /// Rows that are not found by all of their words, or by others.
    pub(crate) wrong: u64,
    /// Rows that are gone and whose words are still there.
    pub(crate) left: u64,
}

/// Words of one row, in any order.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Words {
    count: u64,
    sum: u64,
}

impl Words {
    fn add(&mut self, word: &[u8]) {
        let mut hash = DefaultHasher::new();
        word.hash(&mut hash);
        self.count += 1;
        self.sum = self.sum.wrapping_add(hash.finish());
    }
}

impl Store {
    /// Compares every table with its digest, as [`check`](Self::check) does; how many rows there are, and whether the search
    /// can be read. Nothing is changed.
    pub(crate) fn verify_tables(&self) -> Result<(u64, bool), StoreError> {
        self.read(|records| {
            let mut count = 0;
            for table in tables() {
                let sql = format!("SELECT count(*) FROM \"{}\"", table.def.name);
                count += records.connection.query_row(&sql, [], |row| rows::whole(row, 0))?;
            }
            Ok((count, self.digest.check(records.connection)?))
        })
    }

    /// Compares what the search holds with the words of the rows. An index has no rows of its own to compare with, so its
    /// words are read back from it.
    pub(crate) fn verify_search(&self) -> Result<SearchCheck, StoreError> {
        self.read(|records| {
            let mut check = SearchCheck::default();
            for table in tables() {
                if let Some(index) = &table.index {
                    let held = held(records, index)?;
                    compare(records, table, held, &mut check)?;
                }
            }
            Ok(check)
        })
    }

    /// Compares the sealed outbox on the disk with the outbox, and seals once more what is not in it. How many changes there
    /// are, and how many were sealed anew.
    pub(crate) fn verify_sealed(&self) -> Result<(u64, u64), StoreError> {
        // Nothing is committed meanwhile, so nothing is sealed.
        let (count, missing) = self.pool.write(|connection| {
            let unsent = outbox::ids(connection)?;
            let held = self.sealed.reread()?;
            let missing: HashSet<Uuid> = unsent.difference(&held).copied().collect();
            Ok::<_, StoreError>((unsent.len() as u64, missing))
        })?;
        if missing.is_empty() {
            return Ok((count, 0));
        }
        tracing::warn!(count = missing.len(), "changes are not in the sealed outbox, and are sealed anew");
        let again = self.write(|edits| {
            // Some may have been settled since.
            let mut again = outbox::mutations(edits.connection)?;
            again.retain(|mutation| missing.contains(&mutation.id));
            let count = again.len() as u64;
            edits.added.extend(again);
            Ok::<_, StoreError>(count)
        })?;
        Ok((count, again))
    }
}

/// The words in an index, by row.
fn held(records: &Records<'_>, index: &Index) -> Result<BTreeMap<i64, Words>, StoreError> {
    let connection = records.connection;
    index.refresh(connection)?;
    // A table of this connection's alone, and gone with this transaction (<https://sqlite.org/fts5.html#the_fts5vocab_module>).
    connection.execute_batch(&format!(
        "CREATE VIRTUAL TABLE temp.\"{0}_words\" USING fts5vocab(main, \"{0}\", instance)",
        index.name
    ))?;
    let mut statement =
        connection.prepare(&format!("SELECT term, doc FROM temp.\"{}_words\"", index.name))?;
    let mut found = statement.query([])?;
    let mut held: BTreeMap<i64, Words> = BTreeMap::new();
    while let Some(row) = found.next()? {
        let (ValueRef::Text(word) | ValueRef::Blob(word)) = row.get_ref(0)? else {
            return Err(StoreError::Corrupt);
        };
        held.entry(row.get(1)?).or_default().add(word);
    }
    Ok(held)
}

/// Compares them with the rows.
fn compare(
    records: &Records<'_>,
    table: &Table,
    mut held: BTreeMap<i64, Words>,
    check: &mut SearchCheck,
) -> Result<(), StoreError> {
    let last = terms::frontier(records.connection, table)?;
    let mut statement = records.connection.prepare(&table.select)?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        let n: i64 = row.get(0)?;
        let mut words = Words::default();
        // Rows that the index has not come to have none in it yet.
        if last.is_none_or(|last| n <= last) {
            let terms = terms::terms_of(table, row)?;
            terms.split(' ').filter(|term| !term.is_empty()).for_each(|term| words.add(term.as_bytes()));
        }
        check.rows += 1;
        check.wrong += u64::from(held.remove(&n).unwrap_or_default() != words);
    }
    check.left += held.len() as u64;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use super::super::tests::{KEY, sealed};
    use super::*;
    use crate::Error;
    use crate::platform::{OsEntropy, SystemClock};
    use crate::store::{Edits, Made};
    use roundsman_model::customer::Customer;
    use roundsman_model::{Fields, Value};
    use std::fs;
    use std::path::PathBuf;
    use tempfile::TempDir;

    const NAMES: [&str; 5] = ["Crème Brûlée Deli", "沈阳 北京 店", "O'Hara 24 24", "İstanbul ½ Ⅷ", ""];

    fn store() -> (TempDir, PathBuf, Store) {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("vault.db");
        let store = Store::create(&path, &KEY, sealed(&path)).unwrap();
        for (n, name) in (1..).zip(NAMES) {
            put(&store, n, name);
        }
        (dir, path, store)
    }

    fn put(store: &Store, n: u128, name: &str) {
        let fields = [("code", "C-1"), ("name", name), ("territory", "NJ"), ("phone", "+1 732 555 0100")];
        let fields = fields.map(|(field, text)| (field.to_owned(), Value::from(text)));
        let made = Made::now(&SystemClock, &OsEntropy).unwrap();
        let put = |edits: &mut Edits<'_>| {
            edits.put::<Customer, Error>(Uuid::from_u128(n), Fields::from(fields), &made)
        };
        store.write(put).unwrap();
    }

    fn behind(store: &Store, sql: &str) {
        store.write(|edits| Ok::<_, StoreError>(edits.connection.execute_batch(sql)?)).unwrap();
    }

    #[test]
    fn a_search_that_is_in_step_has_nothing_wrong_whatever_the_words_are() {
        let (_dir, _, store) = store();
        let rows = store.verify_search().unwrap().rows;
        assert_eq!(rows, 5);
        assert_eq!(store.verify_search().unwrap(), SearchCheck { rows, wrong: 0, left: 0 });
        put(&store, 1, "Bakery");
        assert_eq!(store.verify_search().unwrap(), SearchCheck { rows, wrong: 0, left: 0 });
        store.index_anew().unwrap();
        assert_eq!(
            store.verify_search().unwrap(),
            SearchCheck { rows, wrong: 0, left: 0 },
            "none are indexed"
        );
        while store.is_indexing().unwrap() {
            store.index_more().unwrap();
        }
        assert_eq!(store.verify_search().unwrap(), SearchCheck { rows, wrong: 0, left: 0 });
        store.check().unwrap();
    }

    #[test]
    fn words_without_a_row_and_rows_without_their_words_are_found() {
        for (sql, wrong, left) in [
            ("DELETE FROM customer WHERE _n = 2", 0, 1),
            ("UPDATE customer SET name = 'Other' WHERE _n = 2", 1, 0),
            ("DELETE FROM customer_search WHERE rowid = 1", 1, 0),
            ("INSERT INTO customer_search (rowid, terms) VALUES (900, 'nobody')", 0, 1),
            ("INSERT INTO customer_search (customer_search) VALUES ('delete-all')", 5, 0),
        ] {
            let (_dir, _, store) = store();
            behind(&store, sql);
            let found = store.verify_search().unwrap();
            assert_eq!((found.wrong, found.left), (wrong, left), "{sql}");
            assert!(store.verify_tables().unwrap().1, "{sql}: nothing else tells of it");
        }
    }

    #[test]
    fn a_change_that_is_not_sealed_on_the_disk_is_sealed_anew_and_what_follows_too() {
        let (dir, path, store) = store();
        let folder = dir.path().join("outbox");
        let count = store.unsent_count().unwrap();
        assert_eq!(store.verify_sealed().unwrap(), (count, 0));
        for damage in ["gone", "cut"] {
            for file in fs::read_dir(&folder).unwrap() {
                let file = file.unwrap().path();
                if damage == "gone" {
                    fs::remove_file(file).unwrap();
                } else {
                    let bytes = fs::read(&file).unwrap();
                    fs::write(&file, &bytes[..bytes.len() - 5]).unwrap();
                }
            }
            let again = store.verify_sealed().unwrap();
            assert!(again.0 == count && again.1 > 0, "{damage}: {again:?}");
            assert_eq!(store.verify_sealed().unwrap(), (count, 0), "{damage}");
        }
        put(&store, 1, "Once more");
        assert_eq!(store.verify_sealed().unwrap(), (count + 1, 0));
        store.check().unwrap();
        store.close();
        let again = Store::open(&path, &KEY, sealed(&path), 0).unwrap();
        assert_eq!(again.verify_sealed().unwrap(), (count + 1, 0), "as after a start");
    }
}
