//! The tables: numbered migrations, and a table for each entity of the model.

use super::digest::Digest;
use super::outbox::{counter, set_counter};
use super::{StoreError, connection};
use roundsman_model::{ENTITIES, EntityDef, FieldDef, Kind, Search};
use roundsman_protocol::sha256;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::fmt::Write;
use std::sync::LazyLock;

/// In order; never changed once released.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_outbox_and_cursors.sql"),
    include_str!("migrations/0002_digest.sql"),
    include_str!("migrations/0003_sealed_files.sql"),
    include_str!("migrations/0004_sorts_of_changes.sql"),
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
    for table in TABLES.iter() {
        grown |= table.grow(&tx)?;
    }
    digest.watch(&tx)?;
    digest.begin();
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

/// Tells one set of declarations from another: a new choice or a wider range adds no column.
fn fingerprint() -> u64 {
    let mut declared = String::new();
    for def in ENTITIES {
        let _ = write!(declared, "{}{:?}", def.name, def.fields);
    }
    let hash = sha256(&[declared.as_bytes()]);
    // SQLite's numbers have a sign.
    hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte)) >> 1
}

/// One entity's table and the statements on it. Columns of the store's own begin with an underscore.
pub(super) struct Table {
    pub(super) def: &'static EntityDef,
    /// The full-text index, if any field is searched by.
    pub(super) index: Option<String>,
    /// `SELECT` and `FROM` for a whole row: `_n`, `id`, `_rev`, `_bucket`, `_state`, then the fields.
    pub(super) select: String,
    /// Parameters: `id`, `_rev`, `_bucket`, `_state`, the fields, the folded fields.
    pub(super) insert: String,
    /// Parameters as for `insert`, with `_n` in place of `id`.
    pub(super) update: String,
}

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
        let pairs: Vec<String> =
            written.iter().zip(&places).map(|(name, place)| format!("{name} = {place}")).collect();
        Self {
            def,
            index: def
                .fields
                .iter()
                .any(|field| field.search != Search::No)
                .then(|| format!("{name}_search")),
            select: format!("SELECT {read} FROM \"{name}\""),
            insert: format!(
                "INSERT INTO \"{name}\" (id, {}) VALUES (?1, {})",
                written.join(", "),
                places.join(", ")
            ),
            update: format!("UPDATE \"{name}\" SET {} WHERE _n = ?1", pairs.join(", ")),
        }
    }

    /// Makes the table, or the columns and indexes that it lacks; whether there were any.
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
                 ) STRICT;
                 CREATE INDEX \"{name}_by_bucket\" ON \"{name}\" (_bucket);"
            ))?;
        }
        let fields = self.def.fields.iter().map(|field| (field.name.to_owned(), column_type(field.kind)));
        let sorted = folded(self.def).map(|field| (format!("_folded_{}", field.name), "TEXT"));
        let mut grown = false;
        for (column, kind) in fields.chain(sorted).filter(|(column, _)| !there.contains(column)) {
            connection.execute_batch(&format!("ALTER TABLE \"{name}\" ADD COLUMN \"{column}\" {kind}"))?;
            grown = true;
        }
        for field in self.def.fields.iter().filter(|field| field.indexed) {
            let column = field.name;
            let key = if field.search == Search::Words {
                format!("_folded_{column}, id")
            } else {
                format!("\"{column}\"")
            };
            connection.execute_batch(&format!(
                "CREATE INDEX IF NOT EXISTS \"{name}_by_{column}\" ON \"{name}\" ({key})"
            ))?;
        }
        if let Some(index) = &self.index {
            // Terms come folded and split from the model, so the tokenizer only has to split at spaces.
            connection.execute_batch(&format!(
                "CREATE VIRTUAL TABLE IF NOT EXISTS \"{index}\" USING fts5(
                    terms, content = '', contentless_delete = 1, prefix = '1 2 3',
                    tokenize = \"unicode61 remove_diacritics 0 categories 'L* N* Co M*'\"
                 )"
            ))?;
        }
        Ok(grown)
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
