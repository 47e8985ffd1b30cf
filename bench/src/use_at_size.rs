//! What a rep waits for, on a phone that holds far more than most: one visit written, a search as it is typed, a page of a
//! list, an unlock without the passcode's hashing.

use crate::bare::Bare;
use crate::report::{Report, Table, ms, percentile, short, thousands};
use crate::store::{KEY, sealed_outbox, timed};
use crate::workload::{Customer, Dice, Load};
use anyhow::Result;
use roundsman_core::customers::Customers;
use roundsman_core::model::{Bucket, Fields, Rev, Seq, UserId, Value};
use roundsman_core::platform::{OsEntropy, SystemClock};
use roundsman_core::protocol::sync::{Page, Row};
use roundsman_core::store::{Arrival, Store};
use roundsman_core::visits::Visits;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Pages that are stored at once.
const PAGES: usize = 10;

/// Rows of a page.
const PAGE: usize = 500;

/// Writes of each kind; both take turns, so that the disk is the same for both.
const WRITES: usize = 500;

/// Searches and pages of the list.
const READS: usize = 2_000;

/// Opens.
const OPENS: usize = 9;

/// Who makes the visits.
const ME: UserId = UserId(Uuid::from_u128(7));

pub(crate) fn run(load: &Load, visits: usize) -> Result<Report> {
    let customers = load.read()?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("store.db");
    let store = Store::create(&path, &KEY, sealed_outbox(folder.path())?)?;
    fill(&store, &customers, visits)?;
    let bare = Bare::create(&folder.path().join("bare.db"))?;
    bare.load(&customers, customers.len())?;
    let bare = bare.with_visits()?;
    bare.fill_visits(&customers, visits)?;

    let mut opens = Vec::new();
    let mut store = store;
    for _ in 0..OPENS {
        store.close();
        let begun = Instant::now();
        store = Store::open(&path, &KEY, sealed_outbox(folder.path())?, 0)?;
        opens.push(begun.elapsed());
    }
    let store = Arc::new(store);
    let services = Customers::new(Arc::clone(&store), Arc::new(SystemClock), Arc::new(OsEntropy));
    let (mut searches, mut pages) = (searches(&services, &customers)?, pages(&services)?);

    let rep = Visits::new(Arc::clone(&store), Arc::new(SystemClock), Arc::new(OsEntropy), ME);
    let day = chrono::NaiveDate::default();
    let (mut own, mut least, mut dice) = (Vec::new(), Vec::new(), Dice(3));
    for _ in 0..WRITES {
        let customer = customers[dice.below(customers.len())].id;
        least.push(timed(|| bare.plan(Uuid::now_v7(), customer, "1970-01-01"))?);
        own.push(timed(|| Ok(rep.plan(customer, day, None).map(drop)?))?);
    }
    let check = timed(|| Ok(store.check()?))?;

    let about = format!("A phone with {} and {} visits.", load.about(), thousands(visits as u64));
    let mut report = Report::new("What a rep waits for", about);
    let mut table = Table::new(["", "median", "p99", "longest"]);
    let mut line = |what: &str, times: &mut [Duration]| {
        let [half, most, longest] = [50, 99, 100].map(|part| ms(percentile(times, part)));
        table.row([what.to_owned(), half, most, longest]);
    };
    line("open, after a clean close", &mut opens);
    line("search, as it is typed", &mut searches);
    line("a page of 50 of the list", &mut pages);
    line("one visit written and sealed", &mut own);
    line("bare SQLCipher: the same write", &mut least);
    report.table(table);
    let millis = |times: &mut [Duration], part| percentile(times, part).as_secs_f64() * 1e3;
    report.at_most("search as it is typed: p99", millis(&mut searches, 99), 10.0, "ms");
    report.at_most("a page of 50 of the list: p99", millis(&mut pages, 99), 2.0, "ms");
    let ratio = millis(&mut own, 99) / millis(&mut least, 99);
    report.at_most("one visit written: p99 beside that of bare SQLCipher", ratio, 1.5, "times as long");
    let size = std::fs::metadata(&path)?.len() as f64 / 1e6;
    report.note(format!("A check of the whole store takes {}. Its file has {} MB.", ms(check), short(size)));
    Ok(report)
}

fn fill(store: &Store, customers: &[Customer], visits: usize) -> Result<()> {
    let mut dice = Dice(5);
    let visit = |n: usize, dice: &mut Dice| {
        let customer = customers[dice.below(customers.len())].id;
        let fields = [
            ("customer", Value::Id(customer)),
            ("rep", Value::Id(Uuid::from_u128(dice.below(20) as u128))),
            ("territory", "NJ".into()),
            ("state", "checked_out".into()),
            ("day", format!("2026-{:02}-{:02}", 1 + dice.below(12), 1 + dice.below(28)).into()),
            ("outcome", "order".into()),
            ("started_at", Value::Int(1_790_000_000_000 + n as i64)),
            ("notes", "delivery mornings only".into()),
        ];
        row("visit", n as u128 + 1, fields.map(|(name, value)| (name.to_owned(), value)).into())
    };
    let rows = customers
        .iter()
        .map(|customer| Row { id: customer.id, ..row("customer", 0, customer.fields()) })
        .chain((0..visits).map(|n| visit(n, &mut dice)));
    let (mut pages, mut page, mut cursor) = (Vec::new(), Vec::new(), 0);
    let head = Seq((customers.len() + visits) as u64);
    for row in rows {
        cursor += 1;
        page.push(row);
        if page.len() == PAGE {
            let rows = std::mem::take(&mut page);
            pages.push(Arrival::from(&Page {
                bucket: Bucket::territory("NJ"),
                rows,
                cursor: Seq(cursor),
                head,
            }));
        }
        if pages.len() == PAGES {
            store.store_pages(&std::mem::take(&mut pages))?;
        }
    }
    pages.push(Arrival::from(&Page {
        bucket: Bucket::territory("NJ"),
        rows: page,
        cursor: Seq(cursor),
        head,
    }));
    store.store_pages(&pages)?;
    Ok(store.settle_indexes()?)
}

fn row(entity: &str, id: u128, fields: Fields) -> Row {
    Row { entity: entity.to_owned(), id: Uuid::from_u128(id), rev: Rev(1), fields: Some(fields) }
}

/// The beginnings of what a rep types: words of a name, one word and the beginning of another, digits of a number.
fn searches(services: &Customers, customers: &[Customer]) -> Result<Vec<Duration>> {
    let mut dice = Dice(11);
    (0..READS)
        .map(|n| {
            let customer = &customers[dice.below(customers.len())];
            let text = match n % 4 {
                0 | 1 => customer.texts[1].clone(),
                2 => format!("{} {}", customer.texts[5], customer.texts[1]),
                _ => customer.texts[9].chars().skip(1 + dice.below(6)).collect(),
            };
            let length = 1 + dice.below(text.chars().count().clamp(1, 12));
            let typed: String = text.chars().take(length).collect();
            timed(|| Ok(services.search(&typed, 50).map(drop)?))
        })
        .collect()
}

/// Pages one after another from places all over the list.
fn pages(services: &Customers) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    let mut last = None;
    while times.len() < READS {
        let mut page = Vec::new();
        times.push(timed(|| {
            page = services.list(last.as_ref(), 50)?;
            Ok(())
        })?);
        last = page.last().map(Into::into);
    }
    Ok(times)
}
