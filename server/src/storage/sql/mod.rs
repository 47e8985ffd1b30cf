//! The traits of the storage over any database that speaks SQL: each query is written once, for all of them.
//!
//! What the databases do differently is behind [`Database`]: how a statement is run, how full text is found, and
//! whether secrets are sealed before they reach it. Statements are written so that both SQLite and PostgreSQL read
//! them: parameters are `?1`, fields of JSON are `fields ->> '$.name'`, flags are 0 and 1.

mod alerts;
mod approvals;
mod attachments;
mod audit;
mod enrolments;
mod fleet;
mod integrity;
mod people;
mod records;
mod removed;
mod rescue;
mod value;

pub(crate) use integrity::contents_of;
pub(super) use value::{Cell, Cells, Param, Row};

use super::{Notice, ReadTx, Result, StorageError, WriteTx};
use roundsman_model::{Bucket, DeviceId};
use roundsman_protocol::integrity::Sums;
use std::cell::RefCell;
use std::collections::BTreeMap;
use uuid::Uuid;
use value::params;
use zeroize::Zeroizing;

/// What a transaction needs of a database. One value is one transaction: dropped without [`Database::commit`], it has had
/// no effect.
pub(super) trait Database {
    /// Runs a statement that changes rows, and says how many.
    fn run(&self, sql: &str, params: &[Param<'_>]) -> Result<usize>;

    /// Hands rows over until there are no more or the reader answers false, and makes sure that none was held back.
    fn each(
        &self,
        sql: &str,
        params: &[Param<'_>],
        read: &mut dyn FnMut(&Row<'_>) -> Result<bool>,
    ) -> Result<()>;

    /// What a condition on `record` says to find those that match the query in the parameter `?4`.
    fn search_clause(&self) -> &'static str;

    /// A query as [`roundsman_model::search::query`] makes it, as this database takes it.
    fn search_query(&self, query: &str) -> String;

    /// The table with a row for each record that the search has words of, and its column with the record's number.
    fn search_rows(&self) -> (&'static str, &'static str);

    /// What the database finds wrong with its own tables and indexes.
    fn faults(&self) -> Result<Vec<String>>;

    /// Puts terms in the place of those that a record was found by.
    fn index_terms(&self, n: i64, terms: &str) -> Result<()>;

    /// A secret as it is to be stored under this label.
    fn sealed(&self, label: &str, secret: &[u8]) -> Result<Zeroizing<Vec<u8>>>;

    /// The secret that was stored under this label.
    fn opened(&self, label: &str, stored: Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>>;

    /// Makes the change durable, and then tells every instance.
    fn commit(self: Box<Self>, notices: Vec<Notice>) -> Result<()>;
}

/// A transaction.
pub(super) struct Tx<'a> {
    database: Box<dyn Database + 'a>,
    notices: Vec<Notice>,
    sender: Option<DeviceId>,
    /// Where logs end and what buckets add up to, as this transaction has changed it. Written once, at its end: nobody else
    /// writes meanwhile.
    in_hand: RefCell<BTreeMap<Bucket, InHand>>,
}

/// What a transaction has changed of a bucket.
#[derive(Default)]
struct InHand {
    head: Option<u64>,
    sums: Option<Sums>,
}

impl<'a> Tx<'a> {
    pub(super) fn new(database: impl Database + 'a) -> Self {
        Self { database: Box::new(database), notices: Vec::new(), sender: None, in_hand: RefCell::default() }
    }

    /// Writes what was kept in hand, for statements that read it.
    fn put_down(&self) -> Result<()> {
        for (bucket, InHand { head, sums }) in std::mem::take(&mut *self.in_hand.borrow_mut()) {
            if let Some(head) = head {
                self.write_head(&bucket, head)?;
            }
            if let Some(sums) = sums {
                self.write_sums(&bucket, sums)?;
            }
        }
        Ok(())
    }

    /// To be told after the commit, once.
    fn notice(&mut self, notice: Notice) {
        if !self.notices.contains(&notice) {
            self.notices.push(notice);
        }
    }

    /// Runs a statement that changes rows, and says how many.
    fn run(&self, sql: &str, params: &[Param<'_>]) -> Result<usize> {
        self.database.run(sql, params)
    }

    /// Reads rows until the reader answers false.
    fn each(
        &self,
        sql: &str,
        params: &[Param<'_>],
        mut read: impl FnMut(&Row<'_>) -> Result<bool>,
    ) -> Result<()> {
        self.database.each(sql, params, &mut read)
    }

    /// Reads at most one row.
    fn one<T>(
        &self,
        sql: &str,
        params: &[Param<'_>],
        mut read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        let mut found = None;
        self.each(sql, params, |row| {
            found = Some(read(row)?);
            Ok(false)
        })?;
        Ok(found)
    }

    /// Reads every row.
    fn all<T>(
        &self,
        sql: &str,
        params: &[Param<'_>],
        mut read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut found = Vec::new();
        self.each(sql, params, |row| {
            found.push(read(row)?);
            Ok(true)
        })?;
        Ok(found)
    }
}

impl ReadTx for Tx<'_> {}

impl WriteTx for Tx<'_> {
    fn commit(self: Box<Self>) -> Result<()> {
        self.put_down()?;
        self.database.commit(self.notices)
    }
}

/// An id's bytes, for a parameter.
fn blob(id: &Uuid) -> &[u8] {
    id.as_bytes()
}

/// Fixed-size bytes of a column.
fn bytes<const N: usize>(row: &Row<'_>, column: &str) -> Result<[u8; N]> {
    let bytes: Vec<u8> = row.get(column)?;
    bytes.try_into().map_err(|_| StorageError::Damaged("key or hash"))
}

/// Fixed-size bytes of a column that may be empty.
fn maybe_bytes<const N: usize>(row: &Row<'_>, column: &str) -> Result<Option<[u8; N]>> {
    let bytes: Option<Vec<u8>> = row.get(column)?;
    bytes.map(|bytes| bytes.try_into().map_err(|_| StorageError::Damaged("key or hash"))).transpose()
}

fn id(row: &Row<'_>, column: &str) -> Result<Uuid> {
    bytes(row, column).map(Uuid::from_bytes)
}

fn number(row: &Row<'_>, column: &str) -> Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| StorageError::Damaged("number"))
}

fn to_json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|_| StorageError::Damaged("value"))
}

/// The name that a value is stored under.
fn name_of<T: PartialEq>(names: &[(T, &'static str)], value: &T) -> Result<&'static str> {
    names
        .iter()
        .find(|(known, _)| known == value)
        .map(|(_, name)| *name)
        .ok_or(StorageError::Damaged("state"))
}

/// The value that is stored under a name.
fn by_name<T: Copy>(names: &[(T, &'static str)], text: &str) -> Result<T> {
    names
        .iter()
        .find(|(_, name)| *name == text)
        .map(|(value, _)| *value)
        .ok_or(StorageError::Damaged("state"))
}

fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: &str) -> Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|_| StorageError::Damaged("value"))
}
