//! What the store costs beside SQLCipher alone: digests, the index and the bookkeeping of a sync in a pull, the check of
//! every digest, and the seal of each change.

use crate::report::{Report, Table, ms, short};
use anyhow::{Context, Result};
use roundsman_core::customers::Customers;
use roundsman_core::model::{Bucket, DeviceId, Fields, OrgId, Rev, Seq, Value};
use roundsman_core::platform::{OsEntropy, RealDisk, SystemClock};
use roundsman_core::protocol::hpke_seal;
use roundsman_core::protocol::sync::{Page, Row};
use roundsman_core::rescue::{SealTo, SealedOutbox};
use roundsman_core::store::{Store, StoreKey};
use rusqlite::{Connection, TransactionBehavior, params};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Rows of one page of a sync.
const PAGE: usize = 500;

/// Changes and pages of one row, each a commit of its own.
const COMMITS: usize = 200;

/// The fields of a customer.
const FIELDS: [&str; 6] = ["code", "name", "territory", "city", "phone", "brand"];

pub(crate) const KEY: StoreKey<'static> = StoreKey {
    cipher: "x'777777777777777777777777777777777777777777777777777777777777777777777777777777777777777777777777'",
    digest: &[7; 32],
};

/// What one run took.
struct Times {
    bare: [Duration; 2],
    store: [Duration; 2],
    own_check: Duration,
    check: Duration,
    pulled: Duration,
    sealed: Duration,
}

pub(crate) fn run(runs: usize, customers: usize) -> Result<Report> {
    anyhow::ensure!(runs > 0 && customers >= PAGE, "at least one run, of {PAGE} customers or more");
    let times = (0..runs).map(|_| measure(customers)).collect::<Result<Vec<_>>>()?;
    let median = |of: fn(&Times) -> Duration| {
        let mut all: Vec<Duration> = times.iter().map(of).collect();
        all.sort_unstable();
        all[all.len() / 2]
    };
    let mut report = Report::new(
        "The store beside SQLCipher alone",
        format!("Medians of {runs} runs; each line beside its baseline of the same run."),
    );
    let mut table = Table::new(["", "baseline", "store", "ratio"]);
    let mut line = |what: &str, baseline: Duration, store: Duration| {
        let ratio = store.as_secs_f64() / baseline.as_secs_f64();
        table.row([what.to_owned(), ms(baseline), ms(store), short(ratio)]);
    };
    line(&format!("{customers} new customers"), median(|it| it.bare[0]), median(|it| it.store[0]));
    line(&format!("{customers} changed customers"), median(|it| it.bare[1]), median(|it| it.store[1]));
    line("check of all of them", median(|it| it.own_check), median(|it| it.check));
    line("one change, sealed", median(|it| it.pulled), median(|it| it.sealed));
    report.table(table);
    report.note(format!(
        "Baselines: the same rows in a table of SQLCipher's with an index for the search, {PAGE} in a transaction; \
        SQLCipher's and SQLite's own integrity checks of the same file; the same customer as a page of one row from the \
        server, which is a commit that seals nothing."
    ));
    Ok(report)
}

fn measure(customers: usize) -> Result<Times> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("store.db");
    let bare = Bare::create(&folder.path().join("bare.db"))?;
    let bare = [bare.take(customers, 1)?, bare.take(customers, 2)?];
    let store = Arc::new(Store::create(&path, &KEY, sealed_outbox(folder.path())?)?);
    let pull = |rev| {
        timed(|| (0..customers / PAGE).try_for_each(|n| Ok(store.apply_page(&page(n * PAGE, PAGE, rev))?)))
    };
    let pulled = [pull(1)?, pull(2)?];
    let check = timed(|| Ok(store.check()?))?;
    let own_check = own_check(&path)?;

    let one = timed(|| (0..COMMITS).try_for_each(|n| Ok(store.apply_page(&page(customers + n, 1, 3))?)))?
        / COMMITS as u32;
    let services = Customers::new(Arc::clone(&store), Arc::new(SystemClock), Arc::new(OsEntropy));
    let draft = services.draft("code", "name", "nj")?;
    let sealed =
        timed(|| (0..COMMITS).try_for_each(|_| Ok(services.add(&draft).map(drop)?)))? / COMMITS as u32;
    Ok(Times { bare, store: pulled, own_check, check, pulled: one, sealed })
}

pub(crate) fn timed(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let begun = Instant::now();
    work()?;
    Ok(begun.elapsed())
}

pub(crate) fn sealed_outbox(folder: &Path) -> Result<SealedOutbox> {
    let to = SealTo {
        org: OrgId(Uuid::from_u128(1)),
        device: DeviceId(Uuid::from_u128(2)),
        rescue_key: hpke_seal::key_pair(&[3; 32]).1,
    };
    Ok(SealedOutbox::open(folder, to, Arc::new(RealDisk), Arc::new(OsEntropy))?)
}

/// The text of a field of a customer.
fn text(field: &str, customer: usize, rev: u64) -> String {
    format!("{field} {customer} {rev}")
}

fn page(from: usize, rows: usize, rev: u64) -> Page {
    let row = |n: usize| {
        let fields = FIELDS.map(|field| (field.to_owned(), Value::from(text(field, n, rev).as_str())));
        Row {
            entity: "customer".to_owned(),
            id: Uuid::from_u128(n as u128),
            rev: Rev(rev),
            fields: Some(Fields::from(fields)),
        }
    };
    let rows = (from..from + rows).map(row).collect();
    Page { bucket: Bucket::territory("nj"), rows, cursor: Seq(rev), head: Seq(rev) }
}

/// SQLCipher with the store's settings and nothing else.
struct Bare(Connection);

impl Bare {
    fn create(path: &Path) -> Result<Self> {
        let connection = open(path)?;
        let columns = FIELDS.map(|field| format!("{field} TEXT")).join(", ");
        connection.execute_batch(&format!(
            "CREATE TABLE customer (n INTEGER PRIMARY KEY, id BLOB UNIQUE, {columns});
             CREATE INDEX customer_name ON customer (name);
             CREATE VIRTUAL TABLE search USING fts5(
                 terms, content = '', contentless_delete = 1, prefix = '1 2 3',
                 tokenize = \"unicode61 remove_diacritics 0 categories 'L* N* Co M*'\");"
        ))?;
        Ok(Self(connection))
    }

    /// Stores the customers of this version.
    fn take(&self, customers: usize, rev: u64) -> Result<Duration> {
        timed(|| {
            for from in (0..customers / PAGE).map(|n| n * PAGE) {
                let tx = rusqlite::Transaction::new_unchecked(&self.0, TransactionBehavior::Immediate)?;
                for n in from..from + PAGE {
                    let [code, name, territory, city, phone, brand] = FIELDS.map(|field| text(field, n, rev));
                    let terms = [&code, &name, &city, &phone, &brand].map(String::as_str).join(" ");
                    let place = i64::try_from(n).context("a number")?;
                    tx.prepare_cached(
                        "INSERT OR REPLACE INTO customer VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                    )?
                    .execute(params![
                        place,
                        (n as u128).to_be_bytes(),
                        code,
                        name,
                        territory,
                        city,
                        phone,
                        brand
                    ])?;
                    tx.prepare_cached("INSERT OR REPLACE INTO search (rowid, terms) VALUES (?1, ?2)")?
                        .execute(params![place, terms])?;
                }
                tx.commit()?;
            }
            Ok(())
        })
    }
}

/// What SQLCipher and SQLite check by themselves.
fn own_check(path: &Path) -> Result<Duration> {
    let connection = open(path)?;
    timed(|| {
        for check in ["cipher_integrity_check", "integrity_check"] {
            connection.prepare(&format!("PRAGMA {check}"))?.query([])?.next()?;
        }
        Ok(())
    })
}

fn open(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.execute_batch(&format!(
        "PRAGMA cipher_log_level = NONE; PRAGMA cipher_memory_security = ON; PRAGMA key = \"{}\";
         PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;
         PRAGMA temp_store = MEMORY; PRAGMA cache_size = -8192;",
        KEY.cipher
    ))?;
    Ok(connection)
}
