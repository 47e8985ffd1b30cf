//! Whatever happened before, a bucket adds up to what the server has; and what was changed behind the store's back is
//! found and healed at the next sync.
#![allow(clippy::unwrap_used, reason = "test code")]

use super::super::edit::Made;
use super::super::{Arrival, StoreKey, tests};
use super::*;
use crate::Error;
use crate::platform::{OsEntropy, SystemClock};
use proptest::prelude::*;
use roundsman_model::customer::Customer;
use roundsman_model::{Entity, Fields, Value};
use roundsman_protocol::sync::{Page, Row};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tempfile::TempDir;

const KEY: StoreKey<'static> = StoreKey {
    cipher: "x'444444444444444444444444444444444444444444444444444444444444444444444444444444444444444444444444'",
    digest: &[4; 32],
};

const BUCKETS: [&str; 3] = ["north", "south", "west"];

fn bucket(at: usize) -> Bucket {
    Bucket::territory(BUCKETS[at])
}

/// A record as the server has it.
struct Record {
    rev: u64,
    name: u64,
    at: usize,
    removed: bool,
}

/// A server with nothing but customers and their log.
#[derive(Default)]
struct Office {
    records: BTreeMap<u128, Record>,
    logs: [Vec<(u64, u128, Option<u64>)>; 3],
    heads: [u64; 3],
}

impl Office {
    fn fields(record: &Record) -> Fields {
        let text = |name: &str, text: String| (name.to_owned(), Value::from(text.as_str()));
        Fields::from([
            text("code", "C".to_owned()),
            text("name", format!("The store {}", record.name)),
            text("territory", BUCKETS[record.at].to_owned()),
            ("lat".to_owned(), Value::Real(40.5)),
        ])
    }

    /// Appends to a bucket's log; what it supersedes is compacted.
    fn log(&mut self, at: usize, id: u128, removed: Option<u64>) {
        self.heads[at] += 1;
        self.logs[at].retain(|(_, of, _)| *of != id);
        self.logs[at].push((self.heads[at], id, removed));
    }

    fn put(&mut self, id: u128, name: u64, at: usize) {
        let old = self.records.get(&id).map(|record| (record.rev, record.at, record.removed));
        if old.is_some_and(|(_, _, removed)| removed) {
            return;
        }
        let rev = old.map_or(1, |(rev, _, _)| rev + 1);
        self.records.insert(id, Record { rev, name, at, removed: false });
        if let Some((_, from, _)) = old.filter(|(_, from, _)| *from != at) {
            self.log(from, id, Some(rev));
        }
        self.log(at, id, None);
    }

    fn remove(&mut self, id: u128) {
        let Some(record) = self.records.get_mut(&id).filter(|record| !record.removed) else { return };
        record.rev += 1;
        record.removed = true;
        let (at, rev) = (record.at, record.rev);
        self.log(at, id, Some(rev));
    }

    /// The log of a bucket after a place, in pages of so many entries.
    fn pages(&self, at: usize, after: u64, size: usize) -> Vec<Page> {
        let lines: Vec<_> = self.logs[at].iter().filter(|(seq, ..)| *seq > after).collect();
        let row = |(_, id, removed): &(u64, u128, Option<u64>)| {
            let record = &self.records[id];
            Row {
                entity: "customer".to_owned(),
                id: Uuid::from_u128(*id),
                rev: Rev(removed.unwrap_or(record.rev)),
                fields: removed.is_none().then(|| Self::fields(record)),
            }
        };
        let page = |lines: &[&(u64, u128, Option<u64>)]| Page {
            bucket: bucket(at),
            rows: lines.iter().map(|line| row(line)).collect(),
            cursor: Seq(lines.last().map_or(after, |line| line.0)),
            head: Seq(self.heads[at]),
        };
        lines.chunks(size).map(page).collect()
    }

    /// What a bucket holds, added up from its records.
    fn checkpoint(&self, at: usize) -> Checkpoint {
        let mut sums = Sums::default();
        for (id, record) in self.records.iter().filter(|(_, record)| record.at == at && !record.removed) {
            let (id, rev) = (Uuid::from_u128(*id), Rev(record.rev));
            let held = contents("customer", id, rev, &Customer::DEF.tolerate(Self::fields(record)));
            sums = sums.plus(Sums::of("customer", id, rev, held));
        }
        let cursor = Seq(self.heads[at]);
        Checkpoint { bucket: bucket(at), cursor, sums, declarations: declarations().to_owned() }
    }
}

struct Phone {
    _dir: TempDir,
    path: PathBuf,
    store: Store,
}

/// Where a sync is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Never,
    /// The app is stopped after so many pages.
    Page(usize),
}

impl Phone {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("vault.db");
        let store = Store::create(&path, &KEY, tests::sealed(&path)).unwrap();
        Self { _dir: dir, path, store }
    }

    fn reopen(&mut self) {
        self.store.close();
        self.store = Store::open(&self.path, &KEY, tests::sealed(&self.path), 0).unwrap();
    }

    /// As a sync does it: pages, checkpoints, and again while something was healed; how many buckets were.
    fn sync(&mut self, office: &Office, size: usize, cut: Cut) -> usize {
        let (mut healed, mut pages_left) = (0, if let Cut::Page(pages) = cut { pages } else { usize::MAX });
        loop {
            let cursors = self.store.cursors().unwrap();
            let mut quiet = [true; 3];
            for (at, quiet) in quiet.iter_mut().enumerate() {
                let after = cursors.get(&bucket(at)).map_or(0, |seq| seq.0);
                for page in office.pages(at, after, size) {
                    if pages_left == 0 {
                        self.reopen();
                        return healed;
                    }
                    pages_left -= 1;
                    *quiet = false;
                    self.store.store_pages(&[Arrival::from(&page)]).unwrap();
                }
            }
            self.store.settle_indexes().unwrap();
            let mut more = false;
            for (at, quiet) in quiet.into_iter().enumerate() {
                let verdict = self.store.meet(&office.checkpoint(at), quiet).unwrap();
                if let Verdict::Differs(difference) = verdict {
                    assert!(!difference.stays, "reading it anew was of no use: {difference:?}");
                    healed += 1;
                    more = true;
                }
            }
            let told = self.store.differences().unwrap();
            self.store.told(&told).unwrap();
            if !more {
                return healed;
            }
        }
    }

    /// The rep changes or makes a customer; nothing of it is sent.
    fn write(&self, id: u128, name: &str) {
        let fields = ["code", "name", "territory"].map(|field| (field.to_owned(), Value::from("north")));
        let known = self.rows().contains_key(&id);
        let mut fields = Fields::from(fields);
        fields.insert("name".to_owned(), Value::from(name));
        if known {
            fields.retain(|field, _| field == "name");
        }
        let made = Made::now(&SystemClock, &OsEntropy).unwrap();
        let put = |edits: &mut Edits<'_>| edits.put::<Customer, Error>(Uuid::from_u128(id), fields, &made);
        self.store.write(put).unwrap();
    }

    /// How many customers a search finds, once the index is whole.
    fn found(&self, typed: &str) -> usize {
        while self.store.is_indexing().unwrap() {
            self.store.index_more().unwrap();
        }
        self.store.read(|records| records.search::<Customer>(typed, "name", 50)).unwrap().len()
    }

    /// The names of all customers that are here.
    fn rows(&self) -> BTreeMap<u128, String> {
        self.store
            .read(|records| {
                let mut statement = records.connection.prepare("SELECT id, name FROM customer")?;
                let rows = statement.query_map([], |row| {
                    Ok((Uuid::from_bytes(row.get(0)?).as_u128(), row.get::<_, String>(1)?))
                })?;
                Ok::<_, StoreError>(rows.collect::<Result<_, _>>()?)
            })
            .unwrap()
    }

    /// Whether a bucket is read anew.
    fn is_healing(&self) -> bool {
        let sql = "SELECT EXISTS (SELECT 1 FROM healing WHERE NOT over)";
        self.store
            .read(|records| Ok::<_, StoreError>(records.connection.query_row(sql, [], |row| row.get(0))?))
            .unwrap()
    }

    /// Changes the database past everything that keeps it.
    fn behind(&self, sql: &str) -> usize {
        let raw = |edits: &mut Edits<'_>| edits.connection.execute(sql, []).map_err(StoreError::from);
        self.store.write(raw).unwrap()
    }

    /// What is kept of the buckets is what is counted.
    fn assert_kept(&self) {
        for (at, name) in BUCKETS.iter().enumerate() {
            let Some(kept) = self.store.kept.of(&bucket(at)) else { continue };
            let counted = self.store.read(|records| sums(records.connection, &bucket(at), false)).unwrap();
            assert_eq!(kept, counted.sums, "{name}");
        }
    }

    /// Everything adds up, contents and all, and the store's own digests hold.
    fn assert_same(&self, office: &Office) {
        for (at, name) in BUCKETS.iter().enumerate() {
            // A bucket whose log is empty was never read.
            let verdict = self.store.compare(&office.checkpoint(at), true).unwrap();
            assert_eq!(verdict, Verdict::Same, "{name}");
        }
        self.assert_kept();
        self.store.check().unwrap();
    }
}

/// What happens.
#[derive(Clone, Debug)]
enum Event {
    Put(u128, u64, usize),
    Remove(u128),
    Write(u128),
    Sync(usize, Cut),
    /// Somebody changes a row, removes one or adds one in the database itself, and the app is started anew.
    Behind(usize),
    Reopen,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        10 => (0u128..12, 0u64..4, 0usize..3).prop_map(|(id, name, at)| Event::Put(id, name, at)),
        3 => (0u128..12).prop_map(Event::Remove),
        3 => (0u128..16).prop_map(Event::Write),
        4 => (1usize..5).prop_map(|size| Event::Sync(size, Cut::Never)),
        3 => (1usize..4, 0usize..5).prop_map(|(size, pages)| Event::Sync(size, Cut::Page(pages))),
        2 => (0usize..3).prop_map(Event::Behind),
        1 => Just(Event::Reopen),
    ]
}

const BEHIND: [&str; 3] = [
    "UPDATE customer SET name = name || '?' WHERE _n IN (SELECT _n FROM customer WHERE _state = 0 LIMIT 1)",
    "DELETE FROM customer WHERE _n IN (SELECT min(_n) FROM customer WHERE _state = 0)",
    "INSERT OR IGNORE INTO customer (id, _rev, _bucket, _state, code, name, territory)
     VALUES (x'0000000000000000000000000000ffff', 1, 'territory/south', 0, 'C', 'Nobody', 'south')",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_ends_with_what_the_server_has_and_with_all_unsent_work(
        events in prop::collection::vec(event(), 1..40)
    ) {
        let (mut office, mut phone, mut unsent) = (Office::default(), Phone::new(), 0);
        // Contents are compared where a sync brought nothing: what was done behind the back may be found later only.
        let mut behind = false;
        for event in events {
            match event {
                Event::Put(id, name, at) => office.put(id, name, at),
                Event::Remove(id) => office.remove(id),
                Event::Write(id) => {
                    unsent += 1;
                    phone.write(id, &format!("It is mine {unsent}"));
                }
                Event::Sync(size, cut) => {
                    phone.sync(&office, size, cut);
                    if cut == Cut::Never && !behind {
                        phone.assert_same(&office);
                    }
                }
                // What is damaged while a bucket is read anew is told, and healed after the next opening only.
                Event::Behind(_) if phone.is_healing() => {}
                Event::Behind(sort) => {
                    behind = true;
                    phone.behind(BEHIND[sort]);
                    phone.reopen();
                }
                Event::Reopen => phone.reopen(),
            }
            phone.assert_kept();
        }
        // The second finds by their contents those that had pages in the first.
        phone.store.compare_contents();
        phone.sync(&office, 3, Cut::Never);
        phone.reopen();
        phone.sync(&office, 3, Cut::Never);
        phone.assert_same(&office);
        prop_assert_eq!(phone.store.pending(100).unwrap().len(), unsent);
        if behind {
            // A row that went behind the store's back leaves its words in the index, for the next row of its number.
            phone.store.index_anew().unwrap();
        }
        prop_assert_eq!(phone.found("store") + phone.found("mine"), phone.rows().len());
        prop_assert!(phone.store.differences().unwrap().is_empty());
    }
}

#[test]
fn a_search_index_that_was_lost_is_made_anew_and_finds_everything() {
    let (_, mut phone) = settled();
    phone.behind("INSERT INTO customer_search (customer_search) VALUES ('delete-all')");
    assert_eq!(phone.found("store"), 0);
    phone.store.index_anew().unwrap();
    assert!(phone.store.is_indexing().unwrap());
    assert_eq!([phone.found("store"), phone.found("mine")], [8, 1]);
    phone.store.check().unwrap();
    phone.reopen();
    assert_eq!(phone.found("store"), 8);
}

/// A phone that has everything, with an unsent change of one row.
fn settled() -> (Office, Phone) {
    let (mut office, mut phone) = (Office::default(), Phone::new());
    for id in 0..9 {
        office.put(id, 1, usize::from(id > 5));
    }
    phone.sync(&office, 4, Cut::Never);
    phone.write(2, "It is mine");
    (office, phone)
}

#[test]
fn a_row_changed_removed_or_added_behind_the_stores_back_is_healed_at_the_next_sync() {
    for (sql, which) in BEHIND.iter().zip(["changed", "removed", "added"]) {
        let (office, mut phone) = settled();
        let before = phone.rows();
        assert_eq!(phone.behind(sql), 1, "a row is {which}");
        assert_ne!(phone.rows(), before);
        phone.reopen();
        assert_eq!(phone.sync(&office, 4, Cut::Never), 1, "a row that was {which} is found");
        assert_eq!(phone.rows(), before, "and is as it was");
        phone.assert_same(&office);
        assert_eq!(phone.store.pending(9).unwrap().len(), 1, "unsent work stays");
        assert_eq!([phone.found("store"), phone.found("nobody"), phone.found("mine")], [8, 0, 1]);
        assert_eq!(phone.sync(&office, 4, Cut::Never), 0, "and no more is to be done");
    }
}

#[test]
fn a_healing_that_is_stopped_at_any_page_goes_on() {
    for pages in 0..4 {
        let (office, mut phone) = settled();
        let before = phone.rows();
        phone.behind(BEHIND[1]);
        phone.behind(BEHIND[2].replace("south", "north").as_str());
        phone.reopen();
        phone.sync(&office, 2, Cut::Page(pages));
        assert!(phone.rows().len() >= before.len(), "nothing that is here goes before all has come");
        phone.sync(&office, 2, Cut::Never);
        assert_eq!(phone.rows(), before, "stopped after {pages} pages");
        phone.assert_same(&office);
        assert_eq!(phone.store.pending(9).unwrap().len(), 1);
    }
}

#[test]
fn a_fault_that_reading_anew_does_not_heal_is_told_and_not_tried_for_ever() {
    let (office, mut phone) = settled();
    let mut wrong = office.checkpoint(0);
    wrong.sums.rows += 1;
    let meet = |phone: &Phone| phone.store.meet(&wrong, true).unwrap();
    assert!(matches!(meet(&phone), Verdict::Differs(Difference { stays: false, .. })));
    for page in office.pages(0, 0, 500) {
        phone.store.apply_page(&page).unwrap();
    }
    for _ in 0..3 {
        assert!(matches!(meet(&phone), Verdict::Differs(Difference { stays: true, .. })));
        assert_eq!(phone.store.cursors().unwrap()[&bucket(0)], wrong.cursor, "it is not read again");
    }
    let told = phone.store.differences().unwrap();
    assert_eq!((told.len(), told[0].stays), (1, true));
    phone.store.told(&told).unwrap();
    assert!(phone.store.differences().unwrap().is_empty(), "the server is told once");
    // The server was mended.
    phone.reopen();
    assert_eq!(phone.sync(&office, 4, Cut::Never), 0);
    phone.assert_same(&office);
}
