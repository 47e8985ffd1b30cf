//! What every storage promises, on each of them: the same tests with the same rows.

mod rows;
mod together;

use super::postgres::Reached;
use super::sqlite::{DatabaseKey, Sqlite};
use super::{LogEntry, Storage, StorageError, StoredRecord};
use crate::Database;
use crate::testkit::{TestResult, empty_database};
use roundsman_model::merge::Marks;
use roundsman_model::{Bucket, Entity, Fields, Rev, customer::Customer, search};
use std::process::Command;
use uuid::Uuid;
use zeroize::Zeroizing;

/// A database that any number of instances open.
enum Place {
    File(tempfile::TempDir),
    Postgres(Database),
}

impl Place {
    fn both() -> TestResult<[Self; 2]> {
        Ok([Self::File(tempfile::tempdir()?), Self::Postgres(empty_database()?)])
    }

    fn open(&self) -> TestResult<Box<dyn Storage>> {
        Ok(self.open_with([7; 32])?)
    }

    fn open_with(&self, key: [u8; 32]) -> Result<Box<dyn Storage>, StorageError> {
        let key = DatabaseKey(Zeroizing::new(key));
        Ok(match self {
            Self::File(dir) => Box::new(Sqlite::open(&dir.path().join("roundsman.db"), key)?),
            Self::Postgres(database) => Box::new(Reached::connect(database)?.open(&key)?),
        })
    }

    /// Runs statements past the storage.
    fn tamper(&self, sql: &str) -> TestResult {
        match self {
            Self::File(dir) => {
                let key = DatabaseKey(Zeroizing::new([7; 32]));
                Ok(super::sqlite::connect(&dir.path().join("roundsman.db"), &key)?.execute_batch(sql)?)
            }
            Self::Postgres(database) => Ok(Reached::connect(database)?.batch(sql)?),
        }
    }
}

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

/// A customer with these fields.
fn customer(n: u128, code: &str, name: &str) -> StoredRecord {
    let fields = Fields::from([("code".to_owned(), code.into()), ("name".to_owned(), name.into())]);
    StoredRecord {
        entity: "customer".into(),
        id: id(n),
        rev: Rev(1),
        bucket: Bucket::territory("NJ"),
        removed: false,
        fields,
        marks: Marks::default(),
    }
}

fn put(storage: &dyn Storage, records: &[StoredRecord]) -> TestResult {
    let mut tx = storage.write()?;
    for record in records {
        tx.put_record(record, &search::index_text(Customer::DEF, &record.fields))?;
        tx.append_log(&record.bucket, &record.entity, record.id, LogEntry::Put)?;
    }
    Ok(tx.commit()?)
}

fn found(storage: &dyn Storage, typed: &str) -> TestResult<Vec<u128>> {
    let query = search::query(typed).ok_or("nothing to search for")?;
    let found = storage.read()?.customers(Some(&query), None, 100)?;
    Ok(found.iter().map(|record| record.id.as_u128()).collect())
}

/// Both say the same, and the file says what is expected.
fn both_find(storages: &[Box<dyn Storage>], typed: &str, expected: &[u128]) -> TestResult {
    for (n, storage) in storages.iter().enumerate() {
        assert_eq!(found(storage.as_ref(), typed)?, expected, "storage {n}, typed {typed:?}");
    }
    Ok(())
}

#[test]
fn search_finds_the_same_customers_everywhere() -> TestResult {
    let long = "x".repeat(4_000);
    let records = [
        customer(1, "A1", "Crème Brûlée Deli"),
        customer(2, "A2", "沈阳 北京 店"),
        customer(3, "A3", "O'Hara \\ \"Quote\" Market"),
        customer(4, "A4", "서울 Market 24"),
        customer(5, "A5", &long),
        customer(6, "A6", "Ⅷ ½ naïve ﬁne ID_7 a.b-c İstanbul"),
        customer(7, "A7", "deli Creme"),
    ];
    let places = Place::both()?;
    let storages = [places[0].open()?, places[1].open()?];
    for storage in &storages {
        put(storage.as_ref(), &records)?;
    }
    both_find(&storages, "crem del", &[1, 7])?;
    both_find(&storages, "DELI", &[1, 7])?;
    both_find(&storages, "沈", &[2])?;
    both_find(&storages, "阳北", &[2])?;
    both_find(&storages, "阳 店", &[2])?;
    both_find(&storages, "京阳", &[])?;
    both_find(&storages, "mark", &[3, 4])?;
    both_find(&storages, "o'h quot", &[3])?;
    both_find(&storages, "서 mar", &[4])?;
    both_find(&storages, &long, &[5])?;
    both_find(&storages, "fine naive 7", &[6])?;
    both_find(&storages, "b c", &[1, 6])?;
    both_find(&storages, "b c a", &[1, 6])?;
    both_find(&storages, "ist", &[6])?;
    both_find(&storages, "remel", &[])?;

    // A record that changed is found by its new terms alone, and a removed one by none.
    let mut gone = records[6].clone();
    (gone.rev, gone.removed) = (Rev(2), true);
    let renamed = customer(1, "A1", "Bakery");
    for storage in &storages {
        put(storage.as_ref(), &[gone.clone(), renamed.clone()])?;
    }
    both_find(&storages, "deli", &[])?;
    both_find(&storages, "bak", &[1])
}

#[test]
fn customers_come_by_the_bytes_of_their_names_page_after_page() -> TestResult {
    let names = ["b", "B", "a b", "a-b", "ä", "Z", "_", "é", "店", "a", "", "aa", "A", "ß", "z", "😀"];
    let mut orders = Vec::new();
    for place in Place::both()? {
        let storage = place.open()?;
        let records: Vec<StoredRecord> =
            names.iter().zip(1..).map(|(name, n)| customer(n, &format!("C{n}"), name)).collect();
        put(storage.as_ref(), &records)?;
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = storage.read()?.customers(None, after, 3)?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            seen.extend(
                page.iter().map(|record| record.fields["name"].as_text().unwrap_or_default().to_owned()),
            );
        }
        let mut sorted: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        sorted.sort();
        assert_eq!(seen, sorted);
        orders.push(seen);
    }
    assert_eq!(orders[0], orders[1]);
    Ok(())
}

#[test]
fn a_text_with_any_character_comes_back_as_it_was() -> TestResult {
    for place in Place::both()? {
        let storage = place.open()?;
        let text = "nul \0, the words \\u0000, a slash \\, quotes \"', \u{10FFFF}0, \u{1}, 😀";
        put(storage.as_ref(), &[customer(1, text, text)])?;
        let stored = storage.read()?.record("customer", id(1))?.ok_or("record")?;
        assert_eq!(stored.fields["name"].as_text(), Some(text));
        assert!(storage.read()?.customer_by_code(text)?.is_some());
        let mut tx = storage.write()?;
        tx.add_admin_act(&super::AdminAct {
            at_ms: 1,
            actor: crate::Admin::OPERATOR,
            action: text.into(),
            object: String::new(),
        })?;
        tx.commit()?;
        assert_eq!(storage.read()?.admin_acts(1)?[0].action, text);
    }
    Ok(())
}

#[test]
fn one_code_belongs_to_one_customer_who_was_not_removed() -> TestResult {
    for place in Place::both()? {
        let storage = place.open()?;
        put(storage.as_ref(), &[customer(1, "A1", "One")])?;
        assert!(put(storage.as_ref(), &[customer(2, "A1", "Two")]).is_err());
        assert!(storage.read()?.record("customer", id(2))?.is_none());
        let mut gone = customer(1, "A1", "One");
        (gone.rev, gone.removed) = (Rev(2), true);
        put(storage.as_ref(), &[gone, customer(2, "A1", "Two")])?;
        assert_eq!(storage.read()?.customer_by_code("A1")?.map(|record| record.id), Some(id(2)));
    }
    Ok(())
}

#[test]
fn a_log_keeps_the_newest_entry_of_each_record_in_order_and_no_more_than_is_asked() -> TestResult {
    for place in Place::both()? {
        let storage = place.open()?;
        let bucket = Bucket::territory("NJ");
        put(
            storage.as_ref(),
            &[customer(1, "A1", "One"), customer(2, "A2", "Two"), customer(3, "A3", "Three")],
        )?;
        put(storage.as_ref(), &[customer(1, "A1", "One again")])?;
        let mut tx = storage.write()?;
        let seq = tx.append_log(&bucket, "customer", id(2), LogEntry::Removal(Rev(9)))?;
        tx.commit()?;
        assert_eq!(seq.0, 5);
        let tx = storage.read()?;
        assert_eq!(tx.bucket_head(&bucket)?.0, 5);
        let rows = tx.log_after(&bucket, roundsman_model::Seq(0), 10, 1_000_000)?;
        let told: Vec<(u64, u128, u64, bool)> = rows
            .iter()
            .map(|row| (row.seq.0, row.record.as_u128(), row.rev.0, row.fields.is_some()))
            .collect();
        assert_eq!(told, [(3, 3, 1, true), (4, 1, 1, true), (5, 2, 9, false)]);
        assert_eq!(tx.log_after(&bucket, roundsman_model::Seq(3), 1, 1_000_000)?.len(), 1);
        assert_eq!(tx.log_after(&bucket, roundsman_model::Seq(0), 10, 1)?.len(), 1, "a byte, so one row");
        assert!(tx.log_after(&bucket, roundsman_model::Seq(0), 10, 0)?.is_empty());
    }
    Ok(())
}

#[test]
fn damaged_values_are_errors_and_the_next_row_is_read() -> TestResult {
    for place in Place::both()? {
        let storage = place.open()?;
        put(storage.as_ref(), &[customer(1, "A1", "One"), customer(2, "A2", "Two")])?;
        place.tamper("UPDATE record SET marks = '{' WHERE rev = 1 AND fields ->> 'code' = 'A1'")?;
        let tx = storage.read()?;
        assert!(matches!(tx.record("customer", id(1)), Err(StorageError::Damaged(_))));
        assert!(tx.record("customer", id(2))?.is_some());
        drop(tx);
        place.tamper("UPDATE record SET rev = -1")?;
        assert!(matches!(storage.read()?.record("customer", id(2)), Err(StorageError::Damaged(_))));
    }
    Ok(())
}

#[test]
fn a_database_opens_with_its_own_key_alone() -> TestResult {
    for place in Place::both()? {
        let storage = place.open()?;
        let mut tx = storage.write()?;
        tx.set_setting("a", b"kept")?;
        tx.commit()?;
        drop(storage);
        assert!(matches!(place.open_with([8; 32]), Err(StorageError::WrongKey)));
        assert_eq!(place.open()?.read()?.setting("a")?.ok_or("setting")?.as_slice(), b"kept");
    }
    Ok(())
}

/// Runs the tests of this crate once more, with every organisation in PostgreSQL.
#[test]
fn the_servers_rules_hold_on_postgresql() -> TestResult {
    let this = std::env::current_exe()?;
    let run = Command::new(this)
        .args([
            "sync::",
            "devices::",
            "tokens::",
            "enrolment::",
            "admin::",
            "rescue::",
            "console::",
            "upkeep::",
            "verify::",
        ])
        .arg("--test-threads=2")
        .env("ROUNDSMAN_TEST_STORAGE", "postgres")
        .output()?;
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{said}{}", String::from_utf8_lossy(&run.stderr));
    let passed = said.split("test result: ok. ").nth(1).and_then(|rest| rest.split(' ').next());
    assert!(passed.ok_or("no result")?.parse::<u32>()? > 60, "{said}");
    Ok(())
}

#[test]
fn a_database_that_is_opened_as_it_is_stays_so_and_must_be_of_this_version() -> TestResult {
    for place in Place::both()? {
        let as_is = || -> Result<Box<dyn Storage>, StorageError> {
            let key = DatabaseKey(Zeroizing::new([7; 32]));
            Ok(match &place {
                Place::File(dir) => Box::new(Sqlite::open_as_is(&dir.path().join("roundsman.db"), key)?),
                Place::Postgres(database) => Box::new(Reached::connect(database)?.open_as_is(&key)?),
            })
        };
        put(place.open()?.as_ref(), &[customer(1, "A1", "One")])?;
        assert!(as_is()?.read()?.record("customer", id(1))?.is_some());
        let (older, newer) = match &place {
            Place::File(_) => ("PRAGMA user_version = 3", "PRAGMA user_version = 99"),
            Place::Postgres(_) => ("UPDATE roundsman SET version = 3", "UPDATE roundsman SET version = 99"),
        };
        place.tamper(older)?;
        assert!(matches!(as_is(), Err(StorageError::Older)));
        assert!(matches!(as_is(), Err(StorageError::Older)), "it was not brought up to date");
        place.tamper(newer)?;
        assert!(matches!(as_is(), Err(StorageError::Newer)));
    }
    Ok(())
}
