//! The outbox: what the server has not taken, in order, and what came of it.

use super::edit::{Edits, Made, counts, lay, overlay};
use super::rows::{self, RowState, Whole, whole};
use super::schema::{self, Table};
use super::shadow::{self, Shadow};
use super::{Store, StoreError, healing, pull, terms};
use roundsman_model::merge::Conflict;
use roundsman_model::{Bucket, DeviceSeq, EntityDef, Fields, HybridClock, Rev, RuleError, Seq, Stamp, Value};
use roundsman_protocol::integrity::Difference;
use roundsman_protocol::sync::{Change, Mutation, MutationResult, Outcome, Own};
use rusqlite::{Connection, OptionalExtension, Row};
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use uuid::Uuid;

/// A change that the server has not taken.
pub(crate) struct Entry {
    pub(crate) seq: DeviceSeq,
    pub(crate) mutation: Uuid,
    pub(crate) def: &'static EntityDef,
    pub(crate) record: Uuid,
    /// The version of the record that the rep saw.
    pub(crate) base: Rev,
    pub(crate) stamp: Stamp,
    pub(crate) change: Change,
    pub(crate) fields: Fields,
    /// What the rep saw in fields whose rule counts the difference.
    pub(crate) was: Fields,
    /// The conflicts that it settles.
    pub(crate) settles: Vec<Uuid>,
    /// Why the server refused it; nothing while it waits.
    pub(crate) reason: Option<RuleError>,
}

/// A change before it has its number.
pub(super) struct Draft {
    pub(super) base: Rev,
    pub(super) change: Change,
    pub(super) fields: Fields,
    pub(super) was: Fields,
    pub(super) settles: Vec<Uuid>,
}

impl Default for Draft {
    fn default() -> Self {
        let (fields, was) = (Fields::new(), Fields::new());
        Self { base: Rev(0), change: Change::Put, fields, was, settles: vec![] }
    }
}

const SELECT: &str =
    "SELECT seq, mutation, entity, record, base, stamp, fields, reason, change, was, settles FROM outbox";

/// Those that wait for an answer. Parameters: a number that theirs are higher than, how many.
const WAITING: &str = "WHERE reason IS NULL AND seq > ?1 ORDER BY seq LIMIT ?2";

/// Changes that wait for an answer.
pub(crate) struct Waiting {
    /// A line of a request for each.
    pub(crate) lines: Vec<u8>,
    pub(crate) count: usize,
    /// The number of the last one.
    pub(crate) last: DeviceSeq,
}

/// What a sync begins with.
pub(crate) struct Beginning {
    pub(crate) waiting: Waiting,
    pub(crate) cursors: BTreeMap<Bucket, Seq>,
    /// How many changes the server has not taken, those that it refused included.
    pub(crate) unsent: u64,
    /// What the server has not been told about buckets that differed.
    pub(crate) differences: Vec<Difference>,
}

fn waiting(connection: &Connection, after: DeviceSeq, limit: usize) -> Result<Waiting, StoreError> {
    let mut statement = connection.prepare_cached(&format!("{SELECT} {WAITING}"))?;
    let mut rows = statement.query((Whole(after.0), limit as i64))?;
    let mut waiting = Waiting { lines: vec![], count: 0, last: after };
    while let Some(row) = rows.next()? {
        let sent = Sent::read(row)?;
        serde_json::to_writer(&mut waiting.lines, &sent)?;
        waiting.lines.push(b'\n');
        waiting.count += 1;
        waiting.last = sent.seq;
    }
    Ok(waiting)
}

/// A change as it is sent: a [`Mutation`], of which what is stored as JSON is passed on.
#[derive(Serialize)]
struct Sent<'r> {
    seq: DeviceSeq,
    id: Uuid,
    entity: &'r str,
    record: Uuid,
    change: Change,
    base: Rev,
    stamp: Stamp,
    fields: &'r RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    was: Option<&'r RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    settles: Option<&'r RawValue>,
}

impl<'r> Sent<'r> {
    fn read(row: &'r Row<'_>) -> Result<Self, StoreError> {
        let text = |at| row.get_ref(at)?.as_str_or_null().map_err(rusqlite::Error::from);
        let json =
            |at| text(at)?.map(serde_json::from_str::<&RawValue>).transpose().map_err(StoreError::from);
        Ok(Self {
            seq: DeviceSeq(whole(row, 0)?),
            id: Uuid::from_bytes(row.get(1)?),
            entity: text(2)?.ok_or(StoreError::Corrupt)?,
            record: Uuid::from_bytes(row.get(3)?),
            change: text(8)?.map_or(Ok(Change::Put), serde_json::from_str)?,
            base: Rev(whole(row, 4)?),
            stamp: Stamp(whole(row, 5)?),
            fields: json(6)?.ok_or(StoreError::Corrupt)?,
            was: json(9)?,
            settles: json(10)?,
        })
    }
}

impl Store {
    /// The changes to send: those that wait for an answer, oldest first, at most `limit`. Refused ones have had
    /// their answer and are not among them.
    ///
    /// # Errors
    /// The store is closed or damaged.
    pub fn pending(&self, limit: usize) -> Result<Vec<Mutation>, StoreError> {
        self.read(|records| {
            let sql = format!("{SELECT} {WAITING}");
            let entries = read(records.connection, &sql, (Whole(0), limit as i64))?;
            Ok(entries.into_iter().map(Entry::into_mutation).collect())
        })
    }

    /// The same of those with a higher number than this, as lines of a request. Of what is stored as JSON nothing is read,
    /// nor left out.
    pub(crate) fn waiting(&self, after: DeviceSeq, limit: usize) -> Result<Waiting, StoreError> {
        self.read(|records| waiting(records.connection, after, limit))
    }

    /// What a sync begins with: the first `limit` changes that wait among it. Nothing while a search index is to be made
    /// whole.
    pub(crate) fn beginning(&self, limit: usize) -> Result<Option<Beginning>, StoreError> {
        self.read_written(|records| {
            let connection = records.connection;
            if terms::is_indexing(connection)? {
                return Ok(None);
            }
            Ok(Some(Beginning {
                waiting: waiting(connection, DeviceSeq(0), limit)?,
                cursors: pull::cursors(connection)?,
                unsent: count(connection)?,
                differences: healing::differences(connection)?,
            }))
        })
    }

    /// Stores what became of changes, in one transaction. What was taken leaves the outbox; what was refused stays
    /// there with its reason and is not sent again. An answer that was stored before changes nothing.
    ///
    /// # Errors
    /// The store is closed, damaged, or the disk is full. Nothing was stored then.
    pub fn settle(&self, results: &[MutationResult]) -> Result<(), StoreError> {
        self.settle_own(results, &Own::default(), &BTreeMap::new())
    }

    /// The same with what the server says of the rows that the changes have made, in the same transaction. `asked` are the
    /// cursors of the request; a bucket that is read anew meanwhile stays as it is.
    ///
    /// # Errors
    /// As there.
    pub fn settle_own(
        &self,
        results: &[MutationResult],
        own: &Own,
        asked: &BTreeMap<Bucket, Seq>,
    ) -> Result<(), StoreError> {
        self.write(|edits| {
            let mut settled = Settled::default();
            for result in results {
                if !edits.settle_as_made(result, own, &mut settled)? {
                    edits.settle(result, own, &mut settled)?;
                }
            }
            edits.drop_settled(&mut settled)?;
            for (bucket, reached) in &own.cursors {
                let before = asked.get(bucket).copied().unwrap_or_default();
                edits.read_own(bucket, before, *reached)?;
            }
            Ok(())
        })
    }

    /// How many changes the server has not taken, those that it refused included.
    ///
    /// # Errors
    /// The store is closed or damaged.
    pub fn unsent_count(&self) -> Result<u64, StoreError> {
        self.read(|records| count(records.connection))
    }

    /// Everything in the outbox, oldest first.
    pub(crate) fn unsent(&self) -> Result<Vec<Entry>, StoreError> {
        self.read(|records| read(records.connection, &format!("{SELECT} ORDER BY seq"), []))
    }

    /// Gives up a refused change; `false` if there is no refused change of that number.
    pub(crate) fn discard(&self, seq: DeviceSeq) -> Result<bool, StoreError> {
        self.write(|edits| {
            let Some((entry, table)) = edits.refused(seq)? else { return Ok(false) };
            edits.remove(seq)?;
            edits.rebuild(table, entry.record)?;
            Ok(true)
        })
    }

    /// Sends a refused change again under a new number, with the values its fields have now; `None` if there is no
    /// refused change of that number.
    pub(crate) fn resend(&self, seq: DeviceSeq, made: &Made) -> Result<Option<DeviceSeq>, StoreError> {
        self.write(|edits| {
            let Some((entry, table)) = edits.refused(seq)? else { return Ok(None) };
            let mut fields = entry.fields;
            if let Some(stored) = rows::find(edits.connection, table, entry.record)? {
                // An amount stays the one it was: what was changed since is a change of its own.
                for (name, value) in fields.iter_mut().filter(|(name, _)| !counts(table.def, name)) {
                    *value = stored.version.fields.get(name).cloned().unwrap_or(Value::Null);
                }
            }
            edits.remove(seq)?;
            // The base stays that of the first attempt: what others changed since must still collide.
            let draft = Draft {
                base: entry.base,
                change: entry.change,
                fields,
                was: entry.was,
                settles: entry.settles,
            };
            let new = edits.append(table.def, entry.record, draft, made)?;
            edits.rebuild(table, entry.record)?;
            Ok(Some(new))
        })
    }

    /// Asks for a record that was removed to be brought back, ahead of whatever is sent about it from now on; `None` if
    /// there is no change of that number that was refused because of the removal.
    pub(crate) fn restore(&self, seq: DeviceSeq, made: &Made) -> Result<Option<DeviceSeq>, StoreError> {
        self.write(|edits| {
            let refused = edits.refused(seq)?.filter(|(entry, _)| entry.reason == Some(RuleError::Removed));
            let Some((entry, table)) = refused else { return Ok(None) };
            let draft = Draft { change: Change::Restore, ..Draft::default() };
            edits.append(table.def, entry.record, draft, made).map(Some)
        })
    }
}

/// What results have made superfluous. It goes many at a time: a statement keeps every page that it changes in memory, to be
/// undone by itself, and a page has many rows.
#[derive(Default)]
struct Settled {
    /// Numbers of entries that were taken.
    entries: BTreeSet<u64>,
    /// Records that have no entry any more, by entity: the server's version is the row.
    shadows: BTreeMap<&'static str, Vec<Uuid>>,
}

/// The entity and the record of a change that waits, with the server's version of the record and whether there is one; nothing
/// if the record has other changes, or is to be removed or brought back by this one.
const ALONE: &str = "SELECT mine.entity, mine.record, shadow.rev, shadow.fields IS NOT NULL
    FROM outbox AS mine CROSS JOIN shadow ON shadow.entity = mine.entity AND shadow.record = mine.record
    WHERE mine.seq = ?1 AND mine.reason IS NULL AND mine.change IS NULL AND NOT EXISTS
    (SELECT 1 FROM outbox AS other WHERE other.record = mine.record AND other.seq <> mine.seq)";

impl Edits<'_> {
    /// Settles a change that was taken just as it was made and is the only one of its record, as nearly all are: the row is
    /// the server's version already, and is only marked as that. Whether it was such a change.
    fn settle_as_made(
        &mut self,
        result: &MutationResult,
        own: &Own,
        settled: &mut Settled,
    ) -> Result<bool, StoreError> {
        let Outcome::Applied { rev, conflicts } = &result.outcome else { return Ok(false) };
        if !conflicts.is_empty() || own.fields.contains_key(&result.seq) {
            return Ok(false);
        }
        if settled.entries.contains(&result.seq.0) {
            return Ok(true);
        }
        let mut alone = self.connection.prepare_cached(ALONE)?;
        let mut rows = alone.query([Whole(result.seq.0)])?;
        let Some(row) = rows.next()? else { return Ok(false) };
        let table = row.get_ref(0)?.as_str().ok().and_then(schema::named).ok_or(StoreError::Corrupt)?;
        let record = Uuid::from_bytes(row.get(1)?);
        let (server, known) = (Rev(whole(row, 2)?), row.get::<_, bool>(3)?);
        let rev = if is_seen(server, known, *rev) { *rev } else { server };
        let changed = self.connection.prepare_cached(&table.clean)?.execute((
            record.as_bytes(),
            Whole(rev.0),
            RowState::Clean as i64,
        ))?;
        if changed > 0 {
            self.note(table, record);
        }
        settled.entries.insert(result.seq.0);
        settled.shadows.entry(table.def.name).or_default().push(record);
        Ok(true)
    }

    /// `own` says what the server's version has otherwise than the change gives it, and which logs count as read with it.
    fn settle(
        &mut self,
        result: &MutationResult,
        own: &Own,
        settled: &mut Settled,
    ) -> Result<(), StoreError> {
        if settled.entries.contains(&result.seq.0) {
            return Ok(());
        }
        let Some((entry, table)) = self.entry(result.seq)? else { return Ok(()) };
        match &result.outcome {
            Outcome::Applied { rev, conflicts } => {
                settled.entries.insert(entry.seq.0);
                let Some(shadow) = self.take(&entry, *rev, conflicts, own)? else { return Ok(()) };
                let mut entries = others_of_record(self.connection, &entry)?;
                entries.retain(|entry| !settled.entries.contains(&entry.seq.0));
                if entries.is_empty() {
                    settled.shadows.entry(table.def.name).or_default().push(entry.record);
                } else {
                    shadow::keep(
                        self.connection,
                        table.def,
                        entry.record,
                        shadow.rev,
                        &shadow.bucket,
                        shadow.fields.as_ref(),
                    )?;
                }
                self.lay_over(table, entry.record, shadow, &entries)
            }
            Outcome::Rejected { reason } => {
                self.drop_settled(settled)?;
                self.connection
                    .prepare_cached("UPDATE OR FAIL outbox SET reason = ?2 WHERE seq = ?1")?
                    .execute((Whole(entry.seq.0), serde_json::to_string(reason)?))?;
                self.note_outbox();
                self.rebuild(table, entry.record)
            }
        }
    }

    /// Takes what is settled out of the tables.
    fn drop_settled(&mut self, settled: &mut Settled) -> Result<(), StoreError> {
        let Settled { entries, shadows } = std::mem::take(settled);
        let mut entries = entries.into_iter().peekable();
        while let Some(first) = entries.next() {
            let mut last = first;
            while let Some(next) = entries.next_if_eq(&(last + 1)) {
                last = next;
            }
            self.removed += self
                .connection
                .prepare_cached("DELETE FROM outbox WHERE seq BETWEEN ?1 AND ?2")?
                .execute((Whole(first), Whole(last)))? as u64;
            self.note_outbox();
        }
        for (entity, records) in shadows {
            shadow::forget_all(self.connection, entity, &records)?;
        }
        Ok(())
    }

    /// The server's version once it has taken a change; nothing if it has none, or none is known here.
    fn take(
        &mut self,
        entry: &Entry,
        rev: Rev,
        conflicts: &[Conflict],
        own: &Own,
    ) -> Result<Option<Shadow>, StoreError> {
        if entry.change == Change::Delete {
            shadow::forget(self.connection, entry.def, entry.record)?;
            return Ok(None);
        }
        let known = shadow::find(self.connection, entry.def, entry.record)?;
        let Some(server) = known.or_else(|| left(entry, rev, own)) else { return Ok(None) };
        let seen = is_seen(server.rev, server.fields.is_some(), rev);
        let rev = if seen { rev } else { server.rev };
        let mut fields = server.fields.unwrap_or_default();
        lay(entry.def, &mut fields, &entry.fields, &entry.was);
        let kept = conflicts.iter().map(|conflict| (conflict.field.clone(), conflict.kept.clone())).collect();
        overlay(&mut fields, &shadow::tolerate_change(entry.def, kept));
        if let Some(set) = own.fields.get(&entry.seq).filter(|_| seen) {
            overlay(&mut fields, &shadow::tolerate_change(entry.def, set.clone()));
        }
        let bucket =
            if server.rev == Rev(0) { super::edit::bucket(entry.def, &fields) } else { server.bucket };
        Ok(Some(Shadow { rev, bucket, fields: Some(fields) }))
    }

    fn entry(&self, seq: DeviceSeq) -> Result<Option<(Entry, &'static Table)>, StoreError> {
        let entry = read(self.connection, &format!("{SELECT} WHERE seq = ?1"), [Whole(seq.0)])?.pop();
        entry.map(|entry| schema::table(entry.def).map(|table| (entry, table))).transpose()
    }

    fn refused(&self, seq: DeviceSeq) -> Result<Option<(Entry, &'static Table)>, StoreError> {
        Ok(self.entry(seq)?.filter(|(entry, _)| entry.reason.is_some()))
    }

    fn remove(&mut self, seq: DeviceSeq) -> Result<(), StoreError> {
        let mut delete = self.connection.prepare_cached("DELETE FROM outbox WHERE seq = ?1")?;
        self.removed += delete.execute([Whole(seq.0)])? as u64;
        self.note_outbox();
        Ok(())
    }

    /// Adds a change to the outbox, under the device's next number and a stamp later than every one before.
    pub(super) fn append(
        &mut self,
        def: &EntityDef,
        record: Uuid,
        draft: Draft,
        made: &Made,
    ) -> Result<DeviceSeq, StoreError> {
        let connection = self.connection;
        let seq = DeviceSeq(counter(connection, "device_seq")?).next();
        set_counter(connection, "device_seq", seq.0)?;
        let stamp = HybridClock::resume(Stamp(counter(connection, "stamp")?)).tick(made.at);
        set_counter(connection, "stamp", stamp.0)?;
        let Draft { base, change, fields, was, settles } = draft;
        let sort = (change != Change::Put).then(|| serde_json::to_string(&change)).transpose()?;
        let seen = (!was.is_empty()).then(|| serde_json::to_string(&was)).transpose()?;
        let settled = (!settles.is_empty()).then(|| serde_json::to_string(&settles)).transpose()?;
        connection
            .prepare_cached(
                "INSERT INTO outbox (seq, mutation, entity, record, base, stamp, fields, change, was, settles)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?
            .execute((
                Whole(seq.0),
                made.mutation.as_bytes(),
                def.name,
                record.as_bytes(),
                Whole(base.0),
                Whole(stamp.0),
                serde_json::to_string(&fields)?,
                sort,
                seen,
                settled,
            ))?;
        self.added.push(Mutation {
            seq,
            id: made.mutation,
            entity: def.name.to_owned(),
            record,
            change,
            base,
            stamp,
            fields,
            was,
            settles,
        });
        self.note_outbox();
        Ok(seq)
    }
}

/// Whether everything in the version that the server has made of a change has come down. One further on than that before it
/// holds changes of others that have not: counting them as seen would let the rep's next edit overwrite them without a
/// collision. `known` says whether the server had the record.
fn is_seen(server: Rev, known: bool, made: Rev) -> bool {
    !known || made == server.next()
}

/// A new record that had left this device, with its territory, before it was sent again: no page brings its row if its log
/// counts as read. One that was taken before may have gone elsewhere since.
fn left(entry: &Entry, rev: Rev, own: &Own) -> Option<Shadow> {
    let mut fields = entry.fields.clone();
    overlay(&mut fields, own.fields.get(&entry.seq).unwrap_or(&Fields::new()));
    let bucket = super::edit::bucket(entry.def, &fields);
    let now = own.cursors.contains_key(&bucket) && !own.repeats.contains(&entry.seq);
    let made = entry.change == Change::Put && rev == Rev(1) && now;
    made.then_some(Shadow { rev: Rev(0), bucket, fields: None })
}

/// How many entries there are.
pub(super) fn count(connection: &Connection) -> Result<u64, StoreError> {
    Ok(connection.prepare_cached("SELECT count(*) FROM outbox")?.query_row([], |row| whole(row, 0))?)
}

/// The ids of all changes in the outbox.
pub(super) fn ids(connection: &Connection) -> Result<HashSet<Uuid>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT mutation FROM outbox")?;
    let ids = statement.query_map([], |row| row.get(0).map(Uuid::from_bytes))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// All changes in the outbox, as they are sent.
pub(super) fn mutations(connection: &Connection) -> Result<Vec<Mutation>, StoreError> {
    let entries = read(connection, &format!("{SELECT} ORDER BY seq"), [])?;
    Ok(entries.into_iter().map(Entry::into_mutation).collect())
}

/// A record's entries, oldest first.
pub(super) fn of_record(
    connection: &Connection,
    def: &EntityDef,
    record: Uuid,
) -> Result<Vec<Entry>, StoreError> {
    let sql = format!("{SELECT} WHERE record = ?1 AND entity = ?2 ORDER BY seq");
    read(connection, &sql, (record.as_bytes(), def.name))
}

/// The other entries of an entry's record, oldest first.
fn others_of_record(connection: &Connection, of: &Entry) -> Result<Vec<Entry>, StoreError> {
    let sql = format!("{SELECT} WHERE record = ?1 AND entity = ?2 AND seq <> ?3 ORDER BY seq");
    read(connection, &sql, (of.record.as_bytes(), of.def.name, Whole(of.seq.0)))
}

fn read(connection: &Connection, sql: &str, params: impl rusqlite::Params) -> Result<Vec<Entry>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        entries.push(Entry::read(row)?);
    }
    Ok(entries)
}

impl Entry {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        let def = schema::named(&row.get::<_, String>(2)?).ok_or(StoreError::Corrupt)?.def;
        let fields = serde_json::from_str(&row.get::<_, String>(6)?)?;
        let reason: Option<String> = row.get(7)?;
        let change: Option<String> = row.get(8)?;
        let was: Option<String> = row.get(9)?;
        let settles: Option<String> = row.get(10)?;
        Ok(Self {
            seq: DeviceSeq(whole(row, 0)?),
            mutation: Uuid::from_bytes(row.get(1)?),
            def,
            record: Uuid::from_bytes(row.get(3)?),
            base: Rev(whole(row, 4)?),
            stamp: Stamp(whole(row, 5)?),
            change: change.map_or(Ok(Change::Put), |json| serde_json::from_str(&json))?,
            fields: shadow::tolerate_change(def, fields),
            was: def.tolerate(was.map_or(Ok(Fields::new()), |json| serde_json::from_str(&json))?),
            settles: settles.map_or(Ok(vec![]), |json| serde_json::from_str(&json))?,
            reason: reason.map(|json| serde_json::from_str(&json)).transpose()?,
        })
    }

    fn into_mutation(self) -> Mutation {
        Mutation {
            seq: self.seq,
            id: self.mutation,
            entity: self.def.name.to_owned(),
            record: self.record,
            change: self.change,
            base: self.base,
            stamp: self.stamp,
            fields: self.fields,
            was: self.was,
            settles: self.settles,
        }
    }
}

pub(super) fn counter(connection: &Connection, name: &str) -> Result<u64, StoreError> {
    let mut statement = connection.prepare_cached("SELECT value FROM counter WHERE name = ?1")?;
    Ok(statement.query_row([name], |row| whole(row, 0)).optional()?.unwrap_or(0))
}

pub(super) fn set_counter(connection: &Connection, name: &str, value: u64) -> Result<(), StoreError> {
    // What `ON CONFLICT DO UPDATE` does can't be told to fail.
    let mut update = connection.prepare_cached("UPDATE OR FAIL counter SET value = ?2 WHERE name = ?1")?;
    if update.execute((name, Whole(value)))? == 0 {
        let mut insert = connection.prepare_cached("INSERT OR FAIL INTO counter VALUES (?1, ?2)")?;
        insert.execute((name, Whole(value)))?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::Error;
    use crate::platform::{OsEntropy, SystemClock};
    use crate::store::tests::{KEY, sealed};
    use roundsman_model::customer::Customer;
    use roundsman_protocol::sync::{Page, Row};
    use tempfile::TempDir;

    /// A phone with a customer that the server has in version 3, changed once, one changed twice, one changed and removed, and one
    /// that was made here.
    fn phone() -> (TempDir, Store) {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("vault.db");
        let store = Store::create(&path, &KEY, sealed(&path)).unwrap();
        let bucket = Bucket::territory("nj");
        let row = |n: u128| {
            let fields = [("code", format!("C{n}")), ("name", "Theirs".into()), ("territory", "nj".into())];
            let fields = fields.map(|(name, text)| (name.to_owned(), Value::Text(text)));
            let fields = Some(Fields::from(fields));
            Row { entity: "customer".to_owned(), id: Uuid::from_u128(n), rev: Rev(3), fields }
        };
        let rows = (1..=3).map(row).collect();
        store.apply_page(&Page { bucket, rows, cursor: Seq(3), head: Seq(3) }).unwrap();
        for (n, name) in [(1, "Mine"), (2, "Mine"), (2, "Mine again"), (3, "Mine"), (4, "New")] {
            let mut fields = Fields::from([("name".to_owned(), Value::from(name))]);
            if n == 4 {
                fields.insert("code".to_owned(), Value::from("C4"));
                fields.insert("territory".to_owned(), Value::from("nj"));
            }
            let made = Made::now(&SystemClock, &OsEntropy).unwrap();
            store
                .write(|edits| edits.put::<Customer, Error>(Uuid::from_u128(n), fields, &made).map(drop))
                .unwrap();
        }
        let made = Made::now(&SystemClock, &OsEntropy).unwrap();
        store.write(|edits| edits.take_away::<Customer>(Uuid::from_u128(3), &made)).unwrap();
        (dir, store)
    }

    /// What is stored, but for ids and stamps of the changes themselves.
    fn stored(store: &Store) -> Vec<String> {
        let mut found = Vec::new();
        for sql in [
            "SELECT hex(id) || ' ' || _rev || ' ' || _bucket || ' ' || _state || ' ' || name || ' ' || code FROM customer ORDER BY id",
            "SELECT hex(record) || ' ' || rev || ' ' || bucket || ' ' || coalesce(fields, '-') FROM shadow ORDER BY record",
            "SELECT seq || ' ' || hex(record) || ' ' || base || ' ' || fields || ' ' || coalesce(reason, '-') FROM outbox",
        ] {
            let rows = store.read(|records| {
                let mut statement = records.connection.prepare(sql)?;
                let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
                Ok::<_, StoreError>(rows.collect::<Result<Vec<_>, _>>()?)
            });
            found.extend(rows.unwrap());
            found.push(String::new());
        }
        found
    }

    #[test]
    fn what_is_sent_is_what_waits() {
        let (_dir, store) = phone();
        let waiting = store.waiting(DeviceSeq(0), 100).unwrap();
        let lines = waiting.lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let sent: Vec<Mutation> = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
        assert_eq!(sent, store.pending(100).unwrap());
        assert_eq!((waiting.count, waiting.last), (6, DeviceSeq(6)));
        assert_eq!(sent.last().map(|last| last.change), Some(Change::Delete));
        let some = store.waiting(DeviceSeq(2), 3).unwrap();
        assert_eq!((some.count, some.last), (3, DeviceSeq(5)));
        assert_eq!(store.waiting(DeviceSeq(6), 3).unwrap().last, DeviceSeq(6));
    }

    #[test]
    fn what_was_taken_as_it_was_made_is_settled_as_anything_else_is() {
        let applied = |seq, rev| {
            let outcome = Outcome::Applied { rev: Rev(rev), conflicts: vec![] };
            MutationResult { seq: DeviceSeq(seq), outcome }
        };
        // The version after the one that was seen, one further on, some of the changes, all of them, one of them twice.
        for results in [
            vec![applied(1, 4)],
            vec![applied(1, 6)],
            vec![applied(2, 4)],
            vec![applied(1, 4), applied(2, 4), applied(3, 5), applied(4, 4), applied(5, 1), applied(6, 5)],
            vec![applied(1, 4), applied(1, 4), applied(5, 1)],
        ] {
            let (_here, quick) = phone();
            let (_there, slow) = phone();
            assert_eq!(stored(&quick), stored(&slow));
            quick.settle(&results).unwrap();
            slow.write(|edits| {
                let mut settled = Settled::default();
                for result in &results {
                    edits.settle(result, &Own::default(), &mut settled)?;
                }
                edits.drop_settled(&mut settled)
            })
            .unwrap();
            assert_eq!(stored(&quick), stored(&slow), "{results:?}");
            quick.check().unwrap();
        }
    }
}
