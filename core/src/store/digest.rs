//! A keyed digest of every table, which shows whether all of its pages are of the same state.
//!
//! SQLCipher authenticates each page by itself, so an old copy of one page, put back among newer ones, passes every
//! check of its own. Against that each table has the sum mod 2^256 of HMAC-SHA256(key, table ‖ row) over its rows,
//! kept in the table `digest` and changed in the same transaction as the rows (a multiset hash, after Bellare and
//! Micciancio, "A New Paradigm for Collision-Free Hashing", 1997; keyed, so that nobody else can compute it).
//! One whole older state is a digest's match too: against that there is the commit's number.
//!
//! The full-text indexes are not covered. They hold nothing that the tables don't, and can be made anew.

use super::schema::{columns, tables};
use super::{StoreError, connection};
use hmac::{Hmac, KeyInit, Mac};
use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension};
use sha2::Sha256;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use zeroize::Zeroizing;

/// The tables that belong to no entity.
const OWN: [&str; 7] = ["conflict", "counter", "cursor", "outbox", "sealed_file", "secret", "shadow"];

/// The function that the triggers call: `digest_row(sign, table, name, value, name, value, …)`.
const FUNCTION: &str = "digest_row";

/// A sum mod 2^256; the least significant part first.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Sum([u64; 4]);

impl Sum {
    fn plus(self, other: Self) -> Self {
        let mut carry = false;
        let mut sum = [0; 4];
        for (at, limb) in sum.iter_mut().enumerate() {
            let (part, first) = self.0[at].overflowing_add(other.0[at]);
            let (part, second) = part.overflowing_add(u64::from(carry));
            (*limb, carry) = (part, first | second);
        }
        Self(sum)
    }

    /// The sum that adds up with this one to zero: its two's complement.
    fn negated(self) -> Self {
        Self(self.0.map(|limb| !limb)).plus(Self([1, 0, 0, 0]))
    }

    fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut sum = [0; 4];
        for (limb, chunk) in sum.iter_mut().zip(bytes.as_chunks().0) {
            *limb = u64::from_le_bytes(*chunk);
        }
        Self(sum)
    }

    fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (chunk, limb) in bytes.as_chunks_mut().0.iter_mut().zip(self.0) {
            *chunk = limb.to_le_bytes();
        }
        bytes
    }
}

/// The key, filled up to a block of SHA-256 as HMAC does it (RFC 2104).
type Key = Zeroizing<[u8; 64]>;

/// What a transaction has changed so far.
type Deltas = Arc<Mutex<BTreeMap<String, Sum>>>;

/// Computes digests, and follows the changes of one connection.
pub(super) struct Digest {
    key: Key,
    deltas: Deltas,
}

impl Digest {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        let mut block = Key::new([0; 64]);
        block[..32].copy_from_slice(key);
        Self { key: block, deltas: Deltas::default() }
    }

    /// Follows from here on every change that this connection makes to a table. The triggers belong to the
    /// connection and are no part of the database.
    pub(super) fn watch(&self, connection: &Connection) -> Result<(), StoreError> {
        let (key, deltas) = (self.key.clone(), Arc::clone(&self.deltas));
        connection.create_scalar_function(FUNCTION, -1, FunctionFlags::SQLITE_UTF8, move |context| {
            let removed = context.get::<i64>(0)? < 0;
            let table = context.get_raw(1).as_str()?;
            let mut row = RowHash::new(&key, table);
            for at in (2..context.len()).step_by(2) {
                row.column(context.get_raw(at).as_str()?, context.get_raw(at + 1));
            }
            let (hash, mut deltas) = (row.finish(), lock(&deltas));
            let change = if removed { hash.negated() } else { hash };
            match deltas.get_mut(table) {
                Some(delta) => *delta = delta.plus(change),
                None => drop(deltas.insert(table.to_owned(), change)),
            }
            Ok(None::<i64>)
        })?;
        for table in names() {
            let columns = columns(connection, table)?;
            let call = |sign: i64, row: &str| {
                let value = |column: &String| format!(", '{column}', {row}.\"{column}\"");
                let values = columns.iter().map(value).collect::<Vec<_>>().concat();
                format!("SELECT {FUNCTION}({sign}, '{table}'{values});")
            };
            let (put, taken) = (call(1, "NEW"), call(-1, "OLD"));
            connection.execute_batch(&format!(
                "CREATE TEMP TRIGGER \"{table}_put\" AFTER INSERT ON main.\"{table}\" BEGIN {put} END;
                 CREATE TEMP TRIGGER \"{table}_changed\" AFTER UPDATE ON main.\"{table}\" BEGIN {taken} {put} END;
                 CREATE TEMP TRIGGER \"{table}_taken\" AFTER DELETE ON main.\"{table}\" BEGIN {taken} END;"
            ))?;
        }
        Ok(())
    }

    /// Forgets changes that were undone: a transaction begins.
    pub(super) fn begin(&self) {
        lock(&self.deltas).clear();
    }

    /// Brings the stored digests up to the transaction's changes. Call it last.
    pub(super) fn settle(&self, connection: &Connection) -> Result<(), StoreError> {
        let deltas = std::mem::take(&mut *lock(&self.deltas));
        for (table, delta) in deltas {
            let sum = stored(connection, &table)?.unwrap_or_default();
            store(connection, &table, sum.plus(delta))?;
        }
        Ok(())
    }

    /// Computes every digest anew: the database did not have them before.
    pub(super) fn found(&self, connection: &Connection) -> Result<(), StoreError> {
        self.begin();
        for table in names() {
            // A table may be newer than the database.
            if !columns(connection, table)?.is_empty() {
                store(connection, table, self.scan(connection, table)?)?;
            }
        }
        Ok(())
    }

    /// Compares every table with its digest, and the indexes with the tables. Call it in one transaction.
    pub(super) fn check(&self, connection: &Connection) -> Result<(), StoreError> {
        for table in names() {
            if !columns(connection, table)?.is_empty()
                && self.scan(connection, table)? != stored(connection, table)?.unwrap_or_default()
            {
                // A page that is damaged reads as zeros: that is another fault.
                connection::authentic(connection)?;
                return Err(StoreError::PartRolledBack { table });
            }
        }
        let verdict = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0))?;
        if verdict == "ok" { Ok(()) } else { Err(StoreError::Corrupt) }
    }

    fn scan(&self, connection: &Connection, table: &str) -> Result<Sum, StoreError> {
        let columns = columns(connection, table)?;
        // Not by an index: what counts is what the table's own pages hold.
        let mut statement = connection.prepare(&format!("SELECT * FROM \"{table}\" NOT INDEXED"))?;
        let mut rows = statement.query([])?;
        let mut sum = Sum::default();
        while let Some(row) = rows.next()? {
            let mut hash = RowHash::new(&self.key, table);
            for (at, column) in columns.iter().enumerate() {
                hash.column(column, row.get_ref(at)?);
            }
            sum = sum.plus(hash.finish());
        }
        Ok(sum)
    }
}

/// The keyed hash of one row. Columns that hold nothing don't count, so that a new column changes no digest. Each
/// part is preceded by its length, and each value by its type, so that no two rows are hashed alike.
struct RowHash(Hmac<Sha256>);

impl RowHash {
    fn new(key: &Key, table: &str) -> Self {
        let mut hash = Self(Hmac::new(&(**key).into()));
        hash.bytes(table.as_bytes());
        hash
    }

    fn column(&mut self, name: &str, value: ValueRef<'_>) {
        if matches!(value, ValueRef::Null) {
            return;
        }
        self.bytes(name.as_bytes());
        match value {
            ValueRef::Null => {}
            ValueRef::Integer(number) => {
                self.0.update(b"i");
                self.0.update(&number.to_be_bytes());
            }
            ValueRef::Real(number) => {
                // SQLite stores a negative zero as zero.
                let number = if number == 0.0 { 0.0 } else { number };
                self.0.update(b"r");
                self.0.update(&number.to_bits().to_be_bytes());
            }
            ValueRef::Text(text) => {
                self.0.update(b"t");
                self.bytes(text);
            }
            ValueRef::Blob(blob) => {
                self.0.update(b"b");
                self.bytes(blob);
            }
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    fn finish(self) -> Sum {
        Sum::from_bytes(&self.0.finalize().into_bytes().into())
    }
}

/// The tables that have a digest.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    OWN.into_iter().chain(tables().iter().map(|table| table.def.name))
}

fn stored(connection: &Connection, table: &str) -> Result<Option<Sum>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT sum FROM digest WHERE name = ?1")?;
    let sum = statement.query_row([table], |row| row.get::<_, [u8; 32]>(0)).optional()?;
    Ok(sum.map(|bytes| Sum::from_bytes(&bytes)))
}

fn store(connection: &Connection, table: &str, sum: Sum) -> Result<(), StoreError> {
    connection
        .prepare_cached("INSERT INTO digest VALUES (?1, ?2) ON CONFLICT DO UPDATE SET sum = ?2")?
        .execute((table, sum.to_bytes()))?;
    Ok(())
}

fn lock<T>(deltas: &Mutex<T>) -> MutexGuard<'_, T> {
    deltas.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_added_and_taken_away_leaves_no_trace(a: [u8; 32], b: [u8; 32]) {
            let (x, y) = (Sum::from_bytes(&a), Sum::from_bytes(&b));
            prop_assert!(x.plus(y) == y.plus(x));
            prop_assert!(x.plus(y).plus(y.negated()) == x);
            prop_assert_eq!(x.to_bytes(), a);
        }
    }

    #[test]
    fn a_sum_carries_over_its_parts_and_wraps_at_its_end() {
        let most = Sum([u64::MAX; 4]);
        let one = Sum([1, 0, 0, 0]);
        assert!(most.plus(one) == Sum::default());
        assert!(Sum([u64::MAX, u64::MAX, 0, 7]).plus(one) == Sum([0, 0, 1, 7]));
    }
}
