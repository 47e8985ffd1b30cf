//! A keyed digest of every table, which shows whether all of its pages are of the same state.
//!
//! SQLCipher authenticates each page by itself, so an old copy of one page, put back among newer ones, passes every
//! check of its own. Against that each table has the sum mod 2^256 of HMAC-SHA256(key, table ‖ row) over its rows,
//! kept in the table `digest` and changed in the same transaction as the rows (a multiset hash, after Bellare and
//! Micciancio, "A New Paradigm for Collision-Free Hashing", 1997; keyed, so that nobody else can compute it).
//! One whole older state is a digest's match too: against that there is the commit's number.
//!
//! The full-text indexes are not covered. They hold nothing that the tables don't, and can be made anew.

use super::incoming::Held;
use super::rows::RowState;
use super::schema::{Table, columns, folded, named, tables};
use super::{StoreError, connection};
use hmac::{Hmac, KeyInit, Mac};
use roundsman_model::{Bucket, Rev, Value};
use roundsman_protocol::integrity::{Sum, Sums};
use rusqlite::functions::{Aggregate, Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension};
use sha2::Sha256;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use uuid::Uuid;
use zeroize::Zeroizing;

/// The tables that belong to no entity.
const OWN: [&str; 11] = [
    "counter",
    "cursor",
    "healing",
    "outbox",
    "passed_over",
    "sealed_file",
    "secret",
    "shadow",
    "thumbnail",
    "unconfirmed",
    "unsent_file",
];

/// What the names of the functions begin with that the triggers call, one for each table: `digest_customer(sign, value,
/// value, …)`, with the values in the order of the table's columns. Names as arguments would take a trigger as long as the
/// hash does.
///
/// They are aggregates over the one row, since a statement that calls any other function keeps what it changes, to be undone
/// by itself: `docs/decisions/0034-following-rows.md`.
const FUNCTION: &str = "digest_";

/// The key, filled up to a block of SHA-256 as HMAC does it (RFC 2104).
type Key = Zeroizing<[u8; 64]>;

/// What a transaction has changed so far.
type Deltas = Arc<Mutex<Changes>>;

#[derive(Default)]
struct Changes {
    /// The digests of tables.
    tables: BTreeMap<String, Sum>,
    /// What buckets add up to, without contents.
    buckets: BTreeMap<Bucket, Sums>,
}

impl Changes {
    fn table(&mut self, table: &str, change: Sum) {
        match self.tables.get_mut(table) {
            Some(delta) => *delta = delta.plus(change),
            None => drop(self.tables.insert(table.to_owned(), change)),
        }
    }

    fn bucket(&mut self, bucket: &str, change: Sums) {
        let bucket = Bucket(bucket.to_owned());
        let delta = self.buckets.entry(bucket).or_default();
        *delta = delta.plus(change);
    }
}

/// The columns by which a row counts in a bucket.
#[derive(Default)]
struct InBucket<'r> {
    entity: Option<&'r str>,
    id: Option<Uuid>,
    rev: Option<Rev>,
    bucket: Option<&'r str>,
    /// Whether it is not the server's version, or no row of the server's at all.
    other: bool,
}

impl<'r> InBucket<'r> {
    /// As [`healing`](super::healing) counts: rows in the state of the server's, versions that are kept aside, rows that
    /// were passed over.
    fn column(&mut self, table: &'r str, name: &str, value: ValueRef<'r>) {
        let entity = !OWN.contains(&table);
        let text = |value: ValueRef<'r>| value.as_str().ok();
        match (name, entity) {
            ("entity", false) => self.entity = text(value),
            ("id", true) | ("record", false) => {
                self.id = value.as_blob().ok().and_then(|id| Uuid::from_slice(id).ok());
            }
            ("_rev", true) | ("rev", false) => {
                self.rev = value.as_i64().ok().and_then(|rev| u64::try_from(rev).ok()).map(Rev);
            }
            ("_bucket", true) | ("bucket", false) => self.bucket = text(value),
            ("_state", true) => self.other = value != ValueRef::Integer(RowState::Clean as i64),
            ("fields", false) if table == "shadow" => self.other = value == ValueRef::Null,
            _ => {}
        }
        if entity {
            self.entity = Some(table);
        }
    }

    /// The bucket and what the row adds to it.
    fn sums(&self) -> Option<(&'r str, Sums)> {
        let Self { entity: Some(entity), id: Some(id), rev: Some(rev), bucket: Some(bucket), other: false } =
            *self
        else {
            return None;
        };
        Some((bucket, Sums::of(entity, id, rev, Sum::default())))
    }
}

/// Whether rows of a table count in buckets.
fn counts(table: &str) -> bool {
    matches!(table, "shadow" | "passed_over") || !OWN.contains(&table)
}

/// Computes digests, and follows the changes of one connection.
pub(super) struct Digest {
    key: Key,
    deltas: Deltas,
    /// The table whose added rows the triggers do not follow, as they are [`Adding`].
    still: Mutex<Option<&'static Table>>,
    /// The columns of the entities' tables as they are.
    layouts: Mutex<BTreeMap<&'static str, Arc<[Column]>>>,
}

impl Digest {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        let mut block = Key::new([0; 64]);
        block[..32].copy_from_slice(key);
        Self { key: block, deltas: Deltas::default(), still: Mutex::default(), layouts: Mutex::default() }
    }

    /// Follows from here on every change that this connection makes to a table. The triggers belong to the
    /// connection and are no part of the database.
    pub(super) fn watch(&self, connection: &Connection) -> Result<(), StoreError> {
        for table in names() {
            let columns = columns(connection, table)?;
            let follower = Follower {
                table,
                columns: columns.clone(),
                row: RowHash::new(&self.key, table),
                deltas: Arc::clone(&self.deltas),
            };
            let name = format!("{FUNCTION}{table}");
            connection.create_aggregate_function(name.as_str(), -1, FunctionFlags::SQLITE_UTF8, follower)?;
            if let Some(table) = named(table) {
                lock(&self.layouts).insert(table.def.name, layout(table, &columns));
            }
            let (put, taken) = (call(1, table, "NEW", &columns), call(-1, table, "OLD", &columns));
            follow_added(connection, table, &columns)?;
            connection.execute_batch(&format!(
                "CREATE TEMP TRIGGER \"{table}_changed\" AFTER UPDATE ON main.\"{table}\" BEGIN {taken} {put} END;
                 CREATE TEMP TRIGGER \"{table}_taken\" AFTER DELETE ON main.\"{table}\" BEGIN {taken} END;"
            ))?;
        }
        Ok(())
    }

    /// Follows rows that are added to an entity's table many at a time: they are hashed as they were given, and nothing
    /// has to be read back for it. A statement with a trigger keeps what it changes in memory to be undone by itself,
    /// which is most of what adding a row takes; so until [`follow`](Self::follow) there is no trigger for rows that are
    /// added in any other way.
    pub(super) fn adding(
        &self,
        connection: &Connection,
        table: &'static Table,
    ) -> Result<Adding<'_>, StoreError> {
        let columns = lock(&self.layouts).get(table.def.name).cloned().ok_or(StoreError::Corrupt)?;
        if lock(&self.still).is_none_or(|still| !std::ptr::eq(still, table)) {
            self.follow(connection)?;
            connection.execute_batch(&format!("DROP TRIGGER temp.\"{}_put\"", table.def.name))?;
            *lock(&self.still) = Some(table);
        }
        let row = RowHash::new(&self.key, table.def.name);
        Ok(Adding { digest: self, table, columns, row, sum: Sum::default(), counted: None })
    }

    /// Follows every row again.
    pub(super) fn follow(&self, connection: &Connection) -> Result<(), StoreError> {
        let Some(table) = *lock(&self.still) else { return Ok(()) };
        let columns = lock(&self.layouts).get(table.def.name).cloned().ok_or(StoreError::Corrupt)?;
        let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        follow_added(connection, table.def.name, &names)?;
        *lock(&self.still) = None;
        Ok(())
    }

    /// What the transaction that was settled has changed of buckets.
    pub(super) fn taken(&self) -> BTreeMap<Bucket, Sums> {
        std::mem::take(&mut lock(&self.deltas).buckets)
    }

    /// Forgets changes that were undone: a transaction begins. Triggers that one dropped are back with its rollback.
    pub(super) fn begin(&self) {
        *lock(&self.deltas) = Changes::default();
        *lock(&self.still) = None;
    }

    /// Brings the stored digests up to the transaction's changes. Call it last.
    pub(super) fn settle(&self, connection: &Connection) -> Result<(), StoreError> {
        self.follow(connection)?;
        let deltas = std::mem::take(&mut lock(&self.deltas).tables);
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

    /// Compares every table with its digest, and the indexes with the tables; whether the search indexes are sound. Call
    /// it in one transaction.
    pub(super) fn check(&self, connection: &Connection) -> Result<bool, StoreError> {
        for table in names() {
            if !columns(connection, table)?.is_empty()
                && self.scan(connection, table)? != stored(connection, table)?.unwrap_or_default()
            {
                // A page that is damaged reads as zeros: that is another fault.
                connection::authentic(connection)?;
                return Err(StoreError::PartRolledBack { table });
            }
        }
        let mut sound = true;
        // An index as this connection last saw it lacks what others have merged since, and would be called damaged.
        for index in tables().iter().filter_map(|table| table.index.as_ref()) {
            // An older database may not have it yet.
            if columns(connection, &index.name)?.is_empty() {
                continue;
            }
            match index.refresh(connection) {
                // One that can't even be searched is made anew.
                Err(StoreError::Corrupt) => sound = false,
                looked => looked?,
            }
        }
        let mut statement = connection.prepare("PRAGMA integrity_check")?;
        let mut verdicts = statement.query([])?;
        while let Some(row) = verdicts.next()? {
            let verdict: String = row.get(0)?;
            // FTS5 speaks of itself by name. What it indexes is in the tables, which are as they should be.
            if verdict.to_ascii_lowercase().contains("fts5") {
                sound = false;
            } else if verdict != "ok" {
                return Err(StoreError::Corrupt);
            }
        }
        Ok(sound)
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

/// What the triggers of one table call with each row that was changed.
struct Follower {
    table: &'static str,
    columns: Vec<String>,
    /// The beginning of each row's hash.
    row: RowHash,
    deltas: Deltas,
}

impl Aggregate<(), Option<i64>> for Follower {
    fn init(&self, _: &mut Context<'_>) -> rusqlite::Result<()> {
        Ok(())
    }

    fn step(&self, context: &mut Context<'_>, (): &mut ()) -> rusqlite::Result<()> {
        let removed = context.get::<i64>(0)? < 0;
        let (mut row, mut counted) = (self.row.clone(), InBucket::default());
        let counts = counts(self.table);
        for (name, at) in self.columns.iter().zip(1..context.len()) {
            let value = context.get_raw(at);
            row.column(name, value);
            if counts {
                counted.column(self.table, name, value);
            }
        }
        let (hash, mut deltas) = (row.finish(), lock(&self.deltas));
        deltas.table(self.table, if removed { hash.negated() } else { hash });
        if let Some((bucket, sums)) = counted.sums() {
            deltas.bucket(bucket, if removed { Sums::default().minus(sums) } else { sums });
        }
        Ok(())
    }

    fn finalize(&self, _: &mut Context<'_>, _: Option<()>) -> rusqlite::Result<Option<i64>> {
        Ok(None)
    }
}

/// A column of an entity's table, and what of a row it holds.
struct Column {
    name: String,
    part: Part,
}

enum Part {
    N,
    Id,
    Rev,
    Bucket,
    State,
    Field(usize),
    Folded(usize),
    /// Of a field that this version does not know.
    Nothing,
}

/// The call of a table's function for a row of a trigger.
fn call(sign: i64, table: &str, row: &str, columns: &[String]) -> String {
    let value = |column: &String| format!(", {row}.\"{column}\"");
    let values = columns.iter().map(value).collect::<Vec<_>>().concat();
    format!("SELECT {FUNCTION}{table}({sign}{values});")
}

fn follow_added(connection: &Connection, table: &str, columns: &[String]) -> Result<(), StoreError> {
    let put = call(1, table, "NEW", columns);
    Ok(connection.execute_batch(&format!(
        "CREATE TEMP TRIGGER \"{table}_put\" AFTER INSERT ON main.\"{table}\" BEGIN {put} END"
    ))?)
}

fn layout(table: &Table, columns: &[String]) -> Arc<[Column]> {
    let part = |name: &str| match name {
        "_n" => Part::N,
        "id" => Part::Id,
        "_rev" => Part::Rev,
        "_bucket" => Part::Bucket,
        "_state" => Part::State,
        name => {
            let field = table.def.fields.iter().position(|field| field.name == name);
            let folded = || {
                let name = name.strip_prefix("_folded_")?;
                folded(table.def).position(|field| field.name == name)
            };
            field.map(Part::Field).or_else(|| folded().map(Part::Folded)).unwrap_or(Part::Nothing)
        }
    };
    columns.iter().map(|name| Column { name: name.clone(), part: part(name) }).collect()
}

/// Rows that are being added to one table.
pub(super) struct Adding<'d> {
    digest: &'d Digest,
    table: &'static Table,
    columns: Arc<[Column]>,
    row: RowHash,
    sum: Sum,
    /// The bucket of the rows, and what they add to it.
    counted: Option<(String, Sums)>,
}

impl Adding<'_> {
    /// A row was added, in the state of the server's.
    pub(super) fn added(
        &mut self,
        n: i64,
        id: &[u8; 16],
        rev: u64,
        bucket: &str,
        held: &Held,
    ) -> Result<(), StoreError> {
        let mut row = self.row.clone();
        for Column { name, part } in &*self.columns {
            let value = match part {
                Part::N => ValueRef::Integer(n),
                Part::Id => ValueRef::Blob(id),
                Part::Rev => ValueRef::Integer(rev as i64),
                Part::Bucket => ValueRef::Text(bucket.as_bytes()),
                Part::State => ValueRef::Integer(RowState::Clean as i64),
                Part::Folded(at) => match held.folded.get(*at) {
                    Some(Some(text)) => ValueRef::Text(text.as_bytes()),
                    _ => ValueRef::Null,
                },
                Part::Field(at) => match &held.values[*at] {
                    Value::Null | Value::Other {} => ValueRef::Null,
                    Value::Bool(bool) => ValueRef::Integer(i64::from(*bool)),
                    Value::Int(int) => ValueRef::Integer(*int),
                    Value::Real(real) => ValueRef::Real(*real),
                    Value::Text(text) => ValueRef::Text(text.as_bytes()),
                    Value::Id(id) => ValueRef::Blob(id.as_bytes()),
                    Value::Set(words) => {
                        let text = serde_json::to_string(words)?;
                        row.column(name, ValueRef::Text(text.as_bytes()));
                        ValueRef::Null
                    }
                },
                Part::Nothing => ValueRef::Null,
            };
            row.column(name, value);
        }
        self.sum = self.sum.plus(row.finish());
        let sums = Sums::of(self.table.def.name, Uuid::from_bytes(*id), Rev(rev), Sum::default());
        match &mut self.counted {
            Some((of, counted)) if of == bucket => *counted = counted.plus(sums),
            counted => {
                if let Some((bucket, sums)) = counted.replace((bucket.to_owned(), sums)) {
                    lock(&self.digest.deltas).bucket(&bucket, sums);
                }
            }
        }
        Ok(())
    }
}

impl Drop for Adding<'_> {
    fn drop(&mut self) {
        let mut deltas = lock(&self.digest.deltas);
        deltas.table(self.table.def.name, self.sum);
        if let Some((bucket, sums)) = self.counted.take() {
            deltas.bucket(&bucket, sums);
        }
    }
}

/// The keyed hash of one row. Columns that hold nothing don't count, so that a new column changes no digest. Each
/// part is preceded by its length, and each value by its type, so that no two rows are hashed alike.
#[derive(Clone)]
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
