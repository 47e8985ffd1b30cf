//! Whether a bucket here is what it is on the server, and what is done if it isn't.
//!
//! The sums are made from the rows that are here, once after each opening, and not stored beside them: so they tell of what
//! the disk holds, whatever was written to it and by whom. Which rows there are in which versions is compared with every
//! checkpoint: counted at the first one, and from then on [followed](super::kept) by each commit. What they hold, which
//! takes reading them, is compared once after each opening.
//!
//! A bucket that differs is read anew from its beginning. Its rows stay meanwhile, listed as unconfirmed; what has not
//! come again when the next checkpoint is reached goes. All of that is on disk, so that it goes on after any stop.

use super::edit::Edits;
use super::rows::{self, RowState, whole};
use super::schema::{named, tables};
use super::{Store, StoreError, commit, lock};
use roundsman_model::{Bucket, Rev, Seq};
use roundsman_protocol::integrity::{Checkpoint, Difference, Sum, Sums, contents, declarations};
use rusqlite::{Connection, OptionalExtension};
use std::collections::BTreeSet;
use uuid::Uuid;

/// The counter of how often this store has outlived what its server had: the server was put back from a backup, and what
/// came after that is here alone. Such a store is not healed, since that would take the only copy away.
pub(super) const OUTLIVED: &str = "outlived";

/// What was done since the store was opened.
#[derive(Default)]
pub(super) struct Compared {
    /// Buckets whose contents were compared.
    contents: BTreeSet<Bucket>,
    /// Buckets that were read anew. Once must be enough: a fault that stays is told and not tried again.
    healed: BTreeSet<Bucket>,
    /// Buckets that differed still after that.
    stays: BTreeSet<Bucket>,
    /// Contents are compared also where something came with the answer: somebody waits for the result.
    at_once: bool,
}

/// How the buckets compare with the server's, since [`Store::compare_contents`] was called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Comparison {
    /// How many were compared by what they hold.
    pub(crate) compared: u64,
    /// How many were not: the server said nothing of them.
    pub(crate) unknown: u64,
    /// Those that differed, and whether they are the same now.
    pub(crate) differed: Vec<(Bucket, bool)>,
}

/// How a bucket compares with the server's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the same.
    Same,
    /// It has not been read to the checkpoint's place, so that nothing can be said.
    Elsewhere,
    /// It differs.
    Differs(Difference),
}

impl Store {
    /// Compares a bucket with a checkpoint of the server, and has it read anew from the next request on if it differs.
    /// `quiet` says that nothing of it came with this answer; then what the rows hold is compared too, once after each
    /// opening. Ends the reading anew that was begun before. Nothing is said of a store that has outlived a state of its
    /// server.
    ///
    /// # Errors
    /// The store is closed, damaged, or the disk is full. The next checkpoint does it then.
    pub fn meet(&self, checkpoint: &Checkpoint, quiet: bool) -> Result<Verdict, StoreError> {
        let bucket = &checkpoint.bucket;
        let (outlived, under_way) = self.read_written(|records| {
            let connection = records.connection;
            Ok::<_, StoreError>((has_outlived(connection)?, is_under_way(connection, bucket)?))
        })?;
        if outlived {
            return Ok(Verdict::Elsewhere);
        }
        if under_way && !self.write(|edits| edits.end_healing(checkpoint))? {
            return Ok(Verdict::Elsewhere);
        }
        let contents = under_way || {
            let compared = lock(&self.compared);
            (quiet || compared.at_once) && !compared.contents.contains(bucket)
        };
        let verdict = self.compare(checkpoint, contents)?;
        let mut compared = lock(&self.compared);
        if contents && verdict != Verdict::Elsewhere {
            compared.contents.insert(bucket.clone());
        }
        let Verdict::Differs(difference) = verdict else {
            if verdict == Verdict::Same {
                compared.stays.remove(bucket);
            }
            return Ok(verdict);
        };
        let again = compared.healed.insert(bucket.clone()) && !under_way;
        if !again {
            compared.stays.insert(bucket.clone());
        }
        drop(compared);
        let difference = Difference { stays: !again, ..difference };
        self.write(|edits| edits.begin_healing(&difference))?;
        Ok(Verdict::Differs(difference))
    }

    /// Compares a bucket with a checkpoint of the server, and does nothing about it.
    ///
    /// # Errors
    /// The store is closed or damaged.
    pub fn compare(&self, checkpoint: &Checkpoint, contents: bool) -> Result<Verdict, StoreError> {
        #[cfg(feature = "planted-bugs")]
        if crate::simulation::is_blind() {
            return Ok(Verdict::Same);
        }
        // Another version's contents are others; and of a row that was passed over nothing is known.
        let contents = contents && checkpoint.declarations == declarations();
        let kept = if contents { None } else { self.kept_at(checkpoint)? };
        if let Some(at) = kept {
            return Ok(match at {
                At::Place(sums) => judge(checkpoint, Found { sums, passed_over: false }, false),
                At::Elsewhere => Verdict::Elsewhere,
            });
        }
        self.read(|records| {
            let connection = records.connection;
            if cursor(connection, &checkpoint.bucket)? != checkpoint.cursor {
                return Ok(Verdict::Elsewhere);
            }
            let found = sums(connection, &checkpoint.bucket, contents)?;
            let number = commit::number(connection)?;
            let versions = Sums { contents: Sum::default(), ..found.sums };
            self.kept.counted(&checkpoint.bucket, versions, || self.commit_number() == number);
            Ok(judge(checkpoint, found, contents))
        })
    }

    /// What is kept of the versions in a checkpoint's bucket, if it was counted.
    fn kept_at(&self, checkpoint: &Checkpoint) -> Result<Option<At>, StoreError> {
        // Nothing is committed meanwhile, so both are of one moment.
        self.pool.write(|connection| {
            let Some(sums) = self.kept.of(&checkpoint.bucket) else { return Ok(None) };
            let is_there = cursor(connection, &checkpoint.bucket)? == checkpoint.cursor;
            Ok(Some(if is_there { At::Place(sums) } else { At::Elsewhere }))
        })
    }

    /// Has every bucket compared by its contents at the next checkpoint, and read anew if it differs, whatever was done
    /// before.
    pub fn compare_contents(&self) {
        *lock(&self.compared) = Compared { at_once: true, ..Compared::default() };
    }

    /// What has come of that so far.
    ///
    /// # Errors
    /// The store is closed or damaged.
    pub(crate) fn comparison(&self) -> Result<Comparison, StoreError> {
        let buckets: Vec<Bucket> = self.cursors()?.into_keys().collect();
        let known = lock(&self.compared);
        let compared = buckets.iter().filter(|bucket| known.contents.contains(*bucket)).count() as u64;
        let mended = |bucket: &Bucket| known.contents.contains(bucket) && !known.stays.contains(bucket);
        let all = known.healed.union(&known.stays);
        Ok(Comparison {
            compared,
            unknown: buckets.len() as u64 - compared,
            differed: all.map(|bucket| (bucket.clone(), mended(bucket))).collect(),
        })
    }

    /// What the server has not been told about buckets that differed.
    ///
    /// # Errors
    /// The store is closed or damaged.
    pub fn differences(&self) -> Result<Vec<Difference>, StoreError> {
        self.read(|records| differences(records.connection))
    }

    /// The server has been told.
    ///
    /// # Errors
    /// The store is closed, or the disk is full. It is told once more then.
    pub fn told(&self, differences: &[Difference]) -> Result<(), StoreError> {
        if differences.is_empty() {
            return Ok(());
        }
        self.write(|edits| {
            for difference in differences {
                edits
                    .connection
                    .prepare_cached("UPDATE healing SET told = 1 WHERE bucket = ?1 AND difference = ?2")?
                    .execute((&difference.bucket.0, serde_json::to_string(difference)?))?;
            }
            edits.connection.execute("DELETE FROM healing WHERE told AND over", [])?;
            Ok(())
        })
    }
}

pub(super) fn differences(connection: &Connection) -> Result<Vec<Difference>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT difference FROM healing WHERE NOT told ORDER BY bucket")?;
    let found = statement.query_map([], |row| row.get::<_, String>(0))?;
    found.map(|json| Ok(serde_json::from_str(&json?)?)).collect()
}

impl Edits<'_> {
    /// Notes a difference to be told, and has the bucket read anew unless that was of no use.
    fn begin_healing(&mut self, difference: &Difference) -> Result<(), StoreError> {
        let (connection, bucket) = (self.connection, &difference.bucket);
        connection
            .prepare_cached(
                "INSERT INTO healing (bucket, difference, told, over) VALUES (?1, ?2, 0, ?3)
                 ON CONFLICT DO UPDATE SET difference = ?2, told = 0, over = ?3",
            )?
            .execute((&bucket.0, serde_json::to_string(difference)?, difference.stays))?;
        if difference.stays {
            return Ok(());
        }
        connection.execute("DELETE FROM cursor WHERE bucket = ?1", [&bucket.0])?;
        for table in tables() {
            let name = table.def.name;
            connection.execute(
                &format!(
                    "INSERT OR IGNORE INTO unconfirmed SELECT ?1, ?2, id FROM \"{name}\"
                     WHERE _bucket = ?1 AND _state = {}",
                    RowState::Clean as i64
                ),
                (&bucket.0, name),
            )?;
        }
        for other in ["shadow WHERE fields IS NOT NULL AND", "passed_over WHERE"] {
            let sql = format!(
                "INSERT OR IGNORE INTO unconfirmed SELECT ?1, entity, record FROM {other} bucket = ?1"
            );
            connection.execute(&sql, [&bucket.0])?;
        }
        Ok(())
    }

    /// All of a bucket has been read anew: what has not come again goes, and unsent work about it stays. Nothing is done
    /// and `false` returned if the bucket has not been read to the checkpoint's place.
    fn end_healing(&mut self, checkpoint: &Checkpoint) -> Result<bool, StoreError> {
        let (connection, bucket) = (self.connection, &checkpoint.bucket);
        if cursor(connection, bucket)? != checkpoint.cursor {
            return Ok(false);
        }
        let gone: Vec<(String, Uuid)> = {
            let mut statement =
                connection.prepare_cached("SELECT entity, record FROM unconfirmed WHERE bucket = ?1")?;
            let rows =
                statement.query_map([&bucket.0], |row| Ok((row.get(0)?, Uuid::from_bytes(row.get(1)?))))?;
            rows.collect::<Result<_, _>>()?
        };
        for (entity, record) in &gone {
            connection
                .prepare_cached("DELETE FROM passed_over WHERE entity = ?1 AND record = ?2 AND bucket = ?3")?
                .execute((entity, record.as_bytes(), &bucket.0))?;
            if let Some(table) = named(entity) {
                self.withdraw(table, *record, bucket)?;
            }
        }
        connection.execute("DELETE FROM unconfirmed WHERE bucket = ?1", [&bucket.0])?;
        connection.execute("UPDATE healing SET over = 1 WHERE bucket = ?1", [&bucket.0])?;
        connection.execute("DELETE FROM healing WHERE told AND over", [])?;
        Ok(true)
    }
}

fn has_outlived(connection: &Connection) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM counter WHERE name = ?1)";
    Ok(connection.prepare_cached(sql)?.query_row([OUTLIVED], |row| row.get(0))?)
}

/// Whether a bucket is read anew.
pub(super) fn is_under_way(connection: &Connection, bucket: &Bucket) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM healing WHERE bucket = ?1 AND NOT over)";
    Ok(connection.prepare_cached(sql)?.query_row([&bucket.0], |row| row.get(0))?)
}

/// A row of a bucket that is read anew has come again, or is known to be gone.
pub(super) fn confirm(
    connection: &Connection,
    bucket: &Bucket,
    entity: &str,
    record: Uuid,
) -> Result<(), StoreError> {
    connection
        .prepare_cached("DELETE FROM unconfirmed WHERE bucket = ?1 AND entity = ?2 AND record = ?3")?
        .execute((&bucket.0, entity, record.as_bytes()))?;
    Ok(())
}

/// Forgets all of this about every bucket but these.
pub(super) fn keep_buckets(connection: &Connection, buckets: &[Bucket]) -> Result<(), StoreError> {
    for table in ["passed_over", "unconfirmed", "healing"] {
        let known: Vec<Bucket> = {
            let mut statement = connection.prepare_cached(&format!("SELECT DISTINCT bucket FROM {table}"))?;
            let rows = statement.query_map([], |row| row.get(0).map(Bucket))?;
            rows.collect::<Result<_, _>>()?
        };
        for gone in known.iter().filter(|bucket| !buckets.contains(bucket)) {
            connection.execute(&format!("DELETE FROM {table} WHERE bucket = ?1"), [&gone.0])?;
        }
    }
    Ok(())
}

/// How far a bucket's log was read.
pub(super) fn cursor(connection: &Connection, bucket: &Bucket) -> Result<Seq, StoreError> {
    let mut statement = connection.prepare_cached("SELECT seq FROM cursor WHERE bucket = ?1")?;
    Ok(Seq(statement.query_row([&bucket.0], |row| whole(row, 0)).optional()?.unwrap_or(0)))
}

/// Where a bucket is read to, beside a checkpoint.
enum At {
    /// At its place, with what is kept of its versions.
    Place(Sums),
    Elsewhere,
}

fn judge(checkpoint: &Checkpoint, found: Found, contents: bool) -> Verdict {
    let mut expected = checkpoint.sums;
    if !contents || found.passed_over {
        expected.contents = found.sums.contents;
    }
    if found.sums == expected {
        return Verdict::Same;
    }
    Verdict::Differs(Difference {
        bucket: checkpoint.bucket.clone(),
        cursor: checkpoint.cursor,
        expected,
        found: found.sums,
        stays: false,
    })
}

/// What a bucket's rows add up to.
struct Found {
    sums: Sums,
    /// Whether there are rows among them whose contents are not known.
    passed_over: bool,
}

/// Adds up the server's versions of a bucket's rows: those that are here unchanged, and those that changes are laid over.
fn sums(connection: &Connection, bucket: &Bucket, with_contents: bool) -> Result<Found, StoreError> {
    let mut sums = Sums::default();
    for table in tables() {
        let (name, clean) = (table.def.name, RowState::Clean as i64);
        let columns = if with_contents { table.select.as_str() } else { "SELECT 0, id, _rev" };
        let from = if with_contents { String::new() } else { format!(" FROM \"{name}\"") };
        let sql = format!("{columns}{from} WHERE _bucket = ?1 AND _state = {clean}");
        let mut statement = connection.prepare_cached(&sql)?;
        let mut found = statement.query([&bucket.0])?;
        while let Some(row) = found.next()? {
            let (id, rev) = (Uuid::from_bytes(row.get(1)?), Rev(whole(row, 2)?));
            let held = if with_contents { rows::contents(table, id, rev, row)? } else { Sum::default() };
            sums = sums.plus(Sums::of(name, id, rev, held));
        }
    }
    let mut statement = connection.prepare_cached(
        "SELECT entity, record, rev, fields FROM shadow WHERE bucket = ?1 AND fields IS NOT NULL",
    )?;
    let mut found = statement.query([&bucket.0])?;
    while let Some(row) = found.next()? {
        let (entity, id): (String, _) = (row.get(0)?, Uuid::from_bytes(row.get(1)?));
        let (rev, json): (_, String) = (Rev(whole(row, 2)?), row.get(3)?);
        let held = match named(&entity) {
            Some(table) => contents(&entity, id, rev, &table.def.tolerate(serde_json::from_str(&json)?)),
            None => Sum::default(),
        };
        sums = sums.plus(Sums::of(&entity, id, rev, if with_contents { held } else { Sum::default() }));
    }
    let mut statement =
        connection.prepare_cached("SELECT entity, record, rev FROM passed_over WHERE bucket = ?1")?;
    let mut found = statement.query([&bucket.0])?;
    let mut passed_over = false;
    while let Some(row) = found.next()? {
        let entity: String = row.get(0)?;
        passed_over = true;
        let (id, rev) = (Uuid::from_bytes(row.get(1)?), Rev(whole(row, 2)?));
        sums = sums.plus(Sums::of(&entity, id, rev, Sum::default()));
    }
    Ok(Found { sums, passed_over })
}

#[cfg(test)]
mod tests;
