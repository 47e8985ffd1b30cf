//! The tables: numbered migrations, and a table for each entity of the model.

use super::digest::Digest;
use super::outbox::{counter, set_counter};
use super::{StoreError, connection, terms};
use roundsman_model::{ENTITIES, EntityDef, FieldDef, Kind, Search, search};
use roundsman_protocol::integrity;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::fmt::Write;
use std::sync::LazyLock;

/// In order; never changed once released.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_outbox_and_cursors.sql"),
    include_str!("migrations/0002_digest.sql"),
    include_str!("migrations/0003_sealed_files.sql"),
    include_str!("migrations/0004_sorts_of_changes.sql"),
    include_str!("migrations/0005_search_and_buckets.sql"),
    include_str!("migrations/0006_unsent_files.sql"),
    include_str!("migrations/0007_fewer_indexes.sql"),
    include_str!("migrations/0008_thumbnails.sql"),
    include_str!("migrations/0009_no_index_of_waiting.sql"),
    include_str!("migrations/0010_conflicts_are_records.sql"),
    include_str!("migrations/0011_buckets_in_order.sql"),
];

/// The first version with digests.
const DIGESTS: usize = 2;

/// The first version with sealed files.
const SEALED_FILES: usize = 3;

/// The counter that holds the fingerprint of the declarations the database was last opened with.
const MODEL: &str = "model";

/// The version of the database's tables.
pub(super) fn version(connection: &Connection) -> Result<usize, StoreError> {
    let version = connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))?;
    match usize::try_from(version) {
        Ok(known) if known <= MIGRATIONS.len() => Ok(known),
        Ok(_) => Err(StoreError::Newer { version }),
        Err(_) => Err(StoreError::Corrupt),
    }
}

/// Whether a database of this version has digests and commit numbers.
pub(super) fn has_digests(version: usize) -> bool {
    version >= DIGESTS
}

/// Whether a database of this version has rows of sealed files.
pub(super) fn has_sealed_files(version: usize) -> bool {
    version >= SEALED_FILES
}

/// Brings the tables up to date, in one transaction: after a failure the database is as it was. From then on the
/// digest follows what this connection changes.
pub(super) fn migrate(connection: &Connection, digest: &Digest) -> Result<(), StoreError> {
    let tx = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    let version = version(&tx)?;
    let missing = &MIGRATIONS[version..];
    for sql in missing {
        tx.execute_batch(sql)?;
    }
    let mut grown = false;
    let mut unindexed = Vec::new();
    for table in TABLES.iter() {
        grown |= table.grow(&tx)?;
        if table.make_search(&tx)? {
            unindexed.push(table);
        }
        table.make_indexes(&tx)?;
    }
    digest.watch(&tx)?;
    digest.begin();
    for table in unindexed {
        terms::begin(&tx, table)?;
    }
    let model = fingerprint();
    if grown || counter(&tx, MODEL)? != model {
        // The server may have sent what another version of the app could not hold: read it all once more.
        tx.execute("DELETE FROM cursor", [])?;
    }
    set_counter(&tx, MODEL, model)?;
    if !missing.is_empty() {
        tx.execute_batch(&format!("PRAGMA user_version = {}", MIGRATIONS.len()))?;
    }
    if has_digests(version) {
        digest.settle(&tx)?;
    } else {
        digest.found(&tx)?;
    }
    connection::authentic(&tx)?;
    Ok(tx.commit()?)
}

/// Tells one set of declarations from another.
fn fingerprint() -> u64 {
    let hash = integrity::fingerprint(ENTITIES);
    // SQLite's numbers have a sign.
    hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte)) >> 1
}

/// One entity's table and the statements on it. Columns of the store's own begin with an underscore.
pub(super) struct Table {
    pub(super) def: &'static EntityDef,
    /// The full-text index, if any field is searched by.
    pub(super) index: Option<Index>,
    /// `SELECT` and `FROM` for a whole row: `_n`, `id`, `_rev`, `_bucket`, `_state`, then the fields.
    pub(super) select: String,
    /// Parameters: `id`, `_rev`, `_bucket`, `_state`, the fields, the folded fields.
    pub(super) insert: String,
    /// The same, which leaves a row of this id alone.
    pub(super) add: String,
    /// Makes a row the server's version as it is. Parameters: `id`, `_rev`, `_state`.
    pub(super) clean: String,
    /// The places of the fields in the order of their names.
    pub(super) by_name: Vec<usize>,
}

/// A full-text index and the statements on it.
pub(super) struct Index {
    pub(super) name: String,
    /// Parameters: `_n`, the terms.
    pub(super) insert: String,
    /// Parameter: `_n`.
    pub(super) delete: String,
}

/// Pieces of one size of a search index that are merged: FTS5's own number.
const MERGED: u32 = 4;

/// Bytes of terms that are gathered in memory before they go to the index.
const GATHERED: usize = 4 * 1024 * 1024;

/// The place of the first field among the columns of [`Table::select`].
pub(super) const FIRST_FIELD: usize = 5;

static TABLES: LazyLock<Vec<Table>> = LazyLock::new(|| ENTITIES.iter().map(|def| Table::new(def)).collect());

/// The tables, in the order of the model.
pub(super) fn tables() -> &'static [Table] {
    &TABLES
}

/// The table of an entity of the model.
pub(super) fn table(def: &EntityDef) -> Result<&'static Table, StoreError> {
    named(def.name).ok_or(StoreError::Corrupt)
}

/// The table of the entity with this name, if this version knows it.
pub(super) fn named(entity: &str) -> Option<&'static Table> {
    TABLES.iter().find(|table| table.def.name == entity)
}

/// The fields that are kept folded beside their own form: lists are sorted by them.
pub(super) fn folded(def: &'static EntityDef) -> impl Iterator<Item = &'static FieldDef> {
    def.fields.iter().filter(|field| field.indexed && field.search == Search::Words)
}

impl Table {
    fn new(def: &'static EntityDef) -> Self {
        let name = def.name;
        let mut read = "_n, id, _rev, _bucket, _state".to_owned();
        let mut written = vec!["_rev".to_owned(), "_bucket".to_owned(), "_state".to_owned()];
        for field in def.fields {
            let _ = write!(read, ", \"{}\"", field.name);
            written.push(format!("\"{}\"", field.name));
        }
        written.extend(folded(def).map(|field| format!("_folded_{}", field.name)));
        let places: Vec<String> = (2..2 + written.len()).map(|place| format!("?{place}")).collect();
        let insert = format!(
            "INSERT OR FAIL INTO \"{name}\" (id, {}) VALUES (?1, {})",
            written.join(", "),
            places.join(", ")
        );
        Self {
            def,
            index: def.fields.iter().any(|field| field.search != Search::No).then(|| Index::new(name)),
            select: format!("SELECT {read} FROM \"{name}\""),
            add: format!("{insert} ON CONFLICT (id) DO NOTHING"),
            insert,
            clean: format!("UPDATE OR FAIL \"{name}\" SET _rev = ?2, _state = ?3 WHERE id = ?1"),
            by_name: {
                let mut places: Vec<usize> = (0..def.fields.len()).collect();
                places.sort_by_key(|at| def.fields[*at].name);
                places
            },
        }
    }

    /// Makes the table, or the columns that it lacks; whether there were any.
    fn grow(&self, connection: &Connection) -> Result<bool, StoreError> {
        let name = self.def.name;
        let there = columns(connection, name)?;
        if there.is_empty() {
            connection.execute_batch(&format!(
                "CREATE TABLE \"{name}\" (
                    _n INTEGER PRIMARY KEY,
                    id BLOB NOT NULL UNIQUE,
                    _rev INTEGER NOT NULL,
                    _bucket TEXT NOT NULL,
                    _state INTEGER NOT NULL
                 ) STRICT"
            ))?;
        }
        let fields = self.def.fields.iter().map(|field| (field.name.to_owned(), column_type(field.kind)));
        let sorted = folded(self.def).map(|field| (format!("_folded_{}", field.name), "TEXT"));
        let mut grown = false;
        for (column, kind) in fields.chain(sorted).filter(|(column, _)| !there.contains(column)) {
            connection.execute_batch(&format!("ALTER TABLE \"{name}\" ADD COLUMN \"{column}\" {kind}"))?;
            grown = true;
        }
        Ok(grown)
    }

    /// Makes the indexes that are missing, but for that of the search; if the table was being filled, that one goes on to merge
    /// its pieces.
    pub(super) fn make_indexes(&self, connection: &Connection) -> Result<(), StoreError> {
        let (name, was_filling) = (self.def.name, self.is_filling(connection)?);
        // Holds all that is asked about a whole bucket: no row has to be read for it. Rows that are added come last in their
        // bucket, so that keeping it in step while the table is filled takes less than reading the table for it.
        let buckets = (format!("{name}_in_bucket"), "_bucket, _state, _n, _rev, id".to_owned());
        for (index, key) in std::iter::once(buckets).chain(self.indexes()) {
            connection
                .execute_batch(&format!("CREATE INDEX IF NOT EXISTS \"{index}\" ON \"{name}\" ({key})"))?;
        }
        if was_filling { self.merge_search(connection, MERGED) } else { Ok(()) }
    }

    /// Readies the table for being filled: drops the indexes on its fields, which take a fraction of the time if they are
    /// made after the rows, and lets the pieces of the search index be.
    pub(super) fn begin_filling(&self, connection: &Connection) -> Result<(), StoreError> {
        for (index, _) in self.indexes() {
            connection.execute_batch(&format!("DROP INDEX IF EXISTS \"{index}\""))?;
        }
        self.merge_search(connection, 0)
    }

    /// Whether the table is being filled, or was when the process was stopped: it lacks an index.
    fn is_filling(&self, connection: &Connection) -> Result<bool, StoreError> {
        let there = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'index' AND name = ?1)";
        for (index, _) in self.indexes() {
            if !connection.prepare_cached(there)?.query_row([index], |row| row.get(0))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Has the search index merge its pieces, a little with each write, where so many are of one size; never for 0
    /// (<https://www.sqlite.org/fts5.html#the_automerge_configuration_option>).
    fn merge_search(&self, connection: &Connection, pieces: u32) -> Result<(), StoreError> {
        if let Some(Index { name, .. }) = &self.index {
            let sql = format!("INSERT INTO \"{name}\" (\"{name}\", rank) VALUES ('automerge', {pieces})");
            connection.execute_batch(&sql)?;
        }
        Ok(())
    }

    /// The names of the indexes on fields, and what they are over.
    fn indexes(&self) -> impl Iterator<Item = (String, String)> {
        let name = self.def.name;
        self.def.fields.iter().filter(|field| field.indexed).map(move |field| {
            let column = field.name;
            let key = if field.search == Search::Words {
                format!("_folded_{column}, id")
            } else {
                format!("\"{column}\"")
            };
            (format!("{name}_by_{column}"), key)
        })
    }

    /// Makes the search index in place of the one that is there; whether there are rows for it.
    pub(super) fn remake_search(&self, connection: &Connection) -> Result<bool, StoreError> {
        if let Some(Index { name, .. }) = &self.index {
            connection.execute_batch(&format!("DROP TABLE IF EXISTS \"{name}\""))?;
        }
        self.make_search(connection)
    }

    /// Makes the search index if it is missing; whether there are rows for it already.
    fn make_search(&self, connection: &Connection) -> Result<bool, StoreError> {
        let Some(Index { name: index, .. }) = &self.index else { return Ok(false) };
        let there = "SELECT count(*) FROM sqlite_schema WHERE name = ?1";
        if connection.query_row(there, [index], |row| row.get::<_, i64>(0))? > 0 {
            return Ok(false);
        }
        // Terms come folded and split from the model, so the tokenizer only has to split at spaces.
        let mark = search::MARK;
        connection.execute_batch(&format!(
            "CREATE VIRTUAL TABLE \"{index}\" USING fts5(
                terms, content = '', contentless_delete = 1, prefix = '2', tokenize = \"ascii tokenchars '{mark}'\"
             );
             INSERT INTO \"{index}\" (\"{index}\", rank) VALUES ('hashsize', {GATHERED})"
        ))?;
        let any = format!("SELECT EXISTS (SELECT 1 FROM \"{}\")", self.def.name);
        Ok(connection.query_row(&any, [], |row| row.get(0))?)
    }
}

impl Index {
    fn new(entity: &str) -> Self {
        let name = format!("{entity}_search");
        Self {
            insert: format!("INSERT INTO \"{name}\" (rowid, terms) VALUES (?1, ?2)"),
            delete: format!("DELETE FROM \"{name}\" WHERE rowid = ?1"),
            name,
        }
    }

    /// Has this connection look at the index as it is now. FTS5 keeps what it knows of an index's pieces until it is next
    /// searched, which its part of SQLite's integrity check is not: that takes pieces for lost which another connection
    /// has merged since.
    pub(super) fn refresh(&self, connection: &Connection) -> Result<(), StoreError> {
        let any = format!("SELECT EXISTS (SELECT 1 FROM \"{0}\" WHERE \"{0}\" MATCH 'a')", self.name);
        connection.prepare_cached(&any)?.query_row([], |_| Ok(()))?;
        Ok(())
    }
}

/// The columns of a table as it is, in order; none if there is no table.
pub(super) fn columns(connection: &Connection, table: &str) -> Result<Vec<String>, StoreError> {
    let mut statement = connection.prepare(&format!("PRAGMA table_info(\"{table}\")"))?;
    let names = statement.query_map([], |row| row.get(1))?;
    Ok(names.collect::<Result<_, _>>()?)
}

fn column_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool | Kind::Int | Kind::Time => "INTEGER",
        Kind::Real => "REAL",
        Kind::Text | Kind::Date | Kind::Set | Kind::Choice(_) => "TEXT",
        Kind::Id => "BLOB",
    }
}
