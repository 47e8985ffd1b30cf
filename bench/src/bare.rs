//! SQLCipher and nothing else: the same rows in a plain loop, which is what a store is measured against.

use crate::process::processor;
use crate::workload::{COLUMNS, Customer, Dice};
use anyhow::Result;
use chrono::NaiveDate;
use rusqlite::{Connection, ToSql, Transaction, TransactionBehavior, params};
use std::path::Path;
use std::time::{Duration, Instant};
use uuid::Uuid;

const KEY: &str =
    "x'777777777777777777777777777777777777777777777777777777777777777777777777777777777777777777777777'";

/// Rows that go into one transaction: the loop is run with each, and the fastest counts.
pub(crate) const BATCHES: [usize; 3] = [5_000, 20_000, 100_000];

/// Days over which visits are spread.
const DAYS: usize = 336;

/// What one loop took.
#[derive(Clone, Copy)]
pub(crate) struct Loaded {
    /// The rows and three indexes.
    pub(crate) rows: Duration,
    /// And the search index, which is built after them.
    pub(crate) all: Duration,
    /// The processor time of all of it.
    pub(crate) cpu: Duration,
}

/// A database of SQLCipher's with its own settings, but for a log that is written ahead.
pub(crate) struct Bare(pub(crate) Connection);

impl Bare {
    /// Makes one in a folder.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let connection = Connection::open(path)?;
        connection.execute_batch(&format!(
            "PRAGMA key = \"{KEY}\"; PRAGMA cipher_log_level = NONE; PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -65536;
             CREATE TABLE customer (n INTEGER PRIMARY KEY, id BLOB NOT NULL, {})",
            COLUMNS.map(|column| format!("{column} TEXT")).join(", ")
        ))?;
        Ok(Self(connection))
    }

    /// Stores customers, so many in a transaction, then builds the indexes.
    pub(crate) fn load(&self, customers: &[Customer], batch: usize) -> Result<Loaded> {
        let (begun, cpu) = (Instant::now(), processor()?);
        let places = (1..=COLUMNS.len() + 1).map(|at| format!("?{at}")).collect::<Vec<_>>().join(", ");
        let insert = format!("INSERT INTO customer (id, {}) VALUES ({places})", COLUMNS.join(", "));
        for rows in customers.chunks(batch) {
            let tx = Transaction::new_unchecked(&self.0, TransactionBehavior::Immediate)?;
            let mut statement = tx.prepare_cached(&insert)?;
            for customer in rows {
                let id: &dyn ToSql = customer.id.as_bytes();
                let texts = customer.texts.iter().map(|text| -> &dyn ToSql { text });
                statement.execute([id].into_iter().chain(texts).collect::<Vec<_>>().as_slice())?;
            }
            drop(statement);
            tx.commit()?;
        }
        self.0.execute_batch(
            "BEGIN; CREATE UNIQUE INDEX customer_id ON customer (id); CREATE INDEX customer_name ON customer (name, id);
             CREATE INDEX customer_territory ON customer (territory); COMMIT",
        )?;
        let rows = begun.elapsed();
        self.0.execute_batch(
            "BEGIN;
             CREATE VIRTUAL TABLE search USING fts5 (terms, content = '', tokenize = 'trigram');
             INSERT INTO search (rowid, terms) SELECT n, code || ' ' || name || ' ' || brand || ' ' || address || ' '
                 || city || ' ' || postcode || ' ' || phone FROM customer;
             COMMIT",
        )?;
        Ok(Loaded { rows, all: begun.elapsed(), cpu: processor()?.saturating_sub(cpu) })
    }

    /// Makes room for visits, with the memory for pages that the store has.
    pub(crate) fn with_visits(self) -> Result<Self> {
        self.0.execute_batch(
            "PRAGMA cache_size = -8192;
             CREATE TABLE visit (
                 n INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, customer BLOB NOT NULL, rep BLOB NOT NULL,
                 territory TEXT NOT NULL, state TEXT NOT NULL, day TEXT NOT NULL
             );
             CREATE INDEX visit_customer ON visit (customer); CREATE INDEX visit_rep ON visit (rep);
             CREATE INDEX visit_state ON visit (state); CREATE INDEX visit_day ON visit (day);
             CREATE TABLE outbox (n INTEGER PRIMARY KEY, change TEXT NOT NULL);",
        )?;
        Ok(self)
    }

    /// Plans a visit and keeps the change to send, in one transaction: what one durable write takes at the least.
    pub(crate) fn plan(&self, visit: Uuid, customer: Uuid, day: &str) -> Result<()> {
        self.plan_all(std::iter::once((visit, customer)), day)
    }

    /// Holds so many visits to these customers, spread over the days of a year, none of which is to be sent.
    pub(crate) fn fill_visits(&self, customers: &[Customer], visits: usize) -> Result<()> {
        let mut dice = Dice(5);
        let visits: Vec<(Uuid, Uuid)> = (1..=visits as u128)
            .map(|n| (Uuid::from_u128(n), customers[dice.below(customers.len())].id))
            .collect();
        for (day, visits) in visits.chunks(visits.len().div_ceil(DAYS).max(1)).enumerate() {
            let day = NaiveDate::from_yo_opt(2026, day as u32 + 1).unwrap_or_default();
            self.plan_all(visits.iter().copied(), &day.to_string())?;
        }
        self.0.execute_batch("DELETE FROM outbox; PRAGMA wal_checkpoint(TRUNCATE)")?;
        Ok(())
    }

    /// The same for several visits, by their ids and their customers', in one transaction.
    pub(crate) fn plan_all(&self, visits: impl Iterator<Item = (Uuid, Uuid)>, day: &str) -> Result<()> {
        let tx = Transaction::new_unchecked(&self.0, TransactionBehavior::Immediate)?;
        for (visit, customer) in visits {
            tx.prepare_cached(
                "INSERT INTO visit (id, customer, rep, territory, state, day)
                 VALUES (?1, ?2, ?3, 'NJ', 'planned', ?4)",
            )?
            .execute(params![visit.as_bytes(), customer.as_bytes(), [7_u8; 16], day])?;
            let change = format!("{{\"id\":\"{visit}\",\"customer\":\"{customer}\",\"day\":\"{day}\"}}");
            tx.prepare_cached("INSERT INTO outbox (change) VALUES (?1)")?.execute([change])?;
        }
        Ok(tx.commit()?)
    }
}
