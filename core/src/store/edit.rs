//! Writing: a change of a record and its entry in the outbox, in one transaction.

use super::observe::{Changed, News};
use super::outbox::Draft;
use super::rows::{self, RowState, Version};
use super::schema::{Table, table};
use super::{Records, StoreError, outbox, shadow};
use crate::Error;
use crate::platform::{Clock, Entropy};
use chrono::{DateTime, Utc};
use roundsman_model::merge::over;
use roundsman_model::{Bucket, Entity, EntityDef, Fields, Merge, Rev, RuleError, Value};
use roundsman_protocol::sync::{Change, Mutation};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use uuid::Uuid;

/// A transaction that writes. It reads its own changes.
pub(crate) struct Edits<'c> {
    records: Records<'c>,
    changed: BTreeMap<&'static str, BTreeSet<Uuid>>,
    outbox_changed: bool,
    /// Changes that were added to the outbox.
    pub(super) added: Vec<Mutation>,
    /// How many changes were taken out of it.
    pub(super) removed: u64,
    /// Whether attachments left the device, so that files may belong to nothing any more.
    pub(super) attachments_left: bool,
    /// Names of sealed files whose rows were dropped.
    pub(super) dropped: Vec<Uuid>,
}

/// The name and the time of a change that is made now.
pub(crate) struct Made {
    /// The mutation's id.
    pub(crate) mutation: Uuid,
    /// By the device's clock.
    pub(crate) at: DateTime<Utc>,
}

impl Made {
    /// A change made at this moment, with a new id.
    pub(crate) fn now(clock: &dyn Clock, entropy: &dyn Entropy) -> Result<Self, Error> {
        let at = clock.now();
        Ok(Self { mutation: entropy.uuid(at)?, at })
    }
}

impl<'c> Deref for Edits<'c> {
    type Target = Records<'c>;

    fn deref(&self) -> &Records<'c> {
        &self.records
    }
}

impl<'c> Edits<'c> {
    pub(super) fn new(records: Records<'c>) -> Self {
        Self {
            records,
            changed: BTreeMap::new(),
            outbox_changed: false,
            added: Vec::new(),
            removed: 0,
            attachments_left: false,
            dropped: vec![],
        }
    }

    /// Makes a record or changes one: the fields in `change` that have another value than the stored ones. If
    /// there are none, nothing is recorded.
    pub(crate) fn put<T, E>(&mut self, id: Uuid, change: Fields, made: &Made) -> Result<T, E>
    where
        T: Entity,
        E: From<StoreError> + From<RuleError>,
    {
        self.put_over(id, None, change, made)
    }

    /// The same for a change that was made looking at the record as it was in `seen`. If somebody else's edit of one
    /// of these fields has come in since, the change is sent as based on nothing, so that the server finds the
    /// collision and keeps both values.
    pub(crate) fn put_over<T, E>(
        &mut self,
        id: Uuid,
        seen: Option<&Fields>,
        change: Fields,
        made: &Made,
    ) -> Result<T, E>
    where
        T: Entity,
        E: From<StoreError> + From<RuleError>,
    {
        let fields = self.change::<E>(table(T::DEF)?, id, seen, change, vec![], made)?;
        Ok(T::from_fields(id, &fields)?)
    }

    /// The same for a record of any entity; it may settle conflicts besides. Returns the record's fields.
    pub(super) fn change<E: From<StoreError> + From<RuleError>>(
        &mut self,
        table: &'static Table,
        id: Uuid,
        seen: Option<&Fields>,
        change: Fields,
        settles: Vec<Uuid>,
        made: &Made,
    ) -> Result<Fields, E> {
        let def = table.def;
        let stored = rows::find(self.connection, table, id)?;
        let old = stored.as_ref().map(|stored| &stored.version.fields);
        let nothing = Fields::new();
        let change = recount(def, old.unwrap_or(&nothing), seen, def.admit(change)?)?;
        let change = difference(def, old.unwrap_or(&nothing), change)?;
        let mut new = old.cloned().unwrap_or_default();
        overlay(&mut new, &change);
        if stored.is_some() && change.is_empty() && settles.is_empty() {
            return Ok(new);
        }
        def.check(old, &new)?;
        let was = change.keys().filter(|name| counts(def, name));
        let was = was.filter_map(|name| Some((name.clone(), old?.get(name)?.clone()))).collect();

        let (base, bucket) = match &stored {
            Some(stored) => (stored.version.rev, stored.version.bucket.clone()),
            None => (Rev(0), bucket(def, &new)),
        };
        match &stored {
            Some(stored) if stored.version.state == RowState::Clean => {
                shadow::keep(self.connection, def, id, base, &bucket, old)?;
            }
            Some(_) => {}
            None => shadow::keep(self.connection, def, id, base, &bucket, None)?,
        }
        // A record with a refused change stays marked until the rep has dealt with that.
        let state = match &stored {
            Some(stored) if stored.version.state == RowState::Rejected => RowState::Rejected,
            _ => RowState::Pending,
        };
        rows::put(
            self.connection,
            table,
            id,
            stored.as_ref(),
            &Version { rev: base, bucket, state, fields: new.clone() },
        )?;
        let value = |fields: &Fields, name: &String| fields.get(name).cloned().unwrap_or(Value::Null);
        let stale = seen.zip(old).is_some_and(|(seen, old)| {
            change.keys().any(|name| !counts(def, name) && value(seen, name) != value(old, name))
        });
        let base = if stale { Rev(0) } else { base };
        self.append(def, id, Draft { base, fields: change, was, settles, ..Draft::default() }, made)?;
        self.note(table, id);
        Ok(new)
    }

    /// Removes a record; `false` if it is not here. It comes back if the server refuses that.
    pub(crate) fn take_away<T: Entity>(&mut self, id: Uuid, made: &Made) -> Result<bool, StoreError> {
        let table = table(T::DEF)?;
        let Some(stored) = rows::find(self.connection, table, id)? else { return Ok(false) };
        let Version { rev, bucket, state, fields } = &stored.version;
        if *state == RowState::Clean {
            shadow::keep(self.connection, T::DEF, id, *rev, bucket, Some(fields))?;
        }
        self.append(T::DEF, id, Draft { base: *rev, change: Change::Delete, ..Draft::default() }, made)?;
        self.rebuild(table, id)?;
        Ok(true)
    }

    /// Remembers to tell that a record changed.
    pub(super) fn note(&mut self, table: &Table, id: Uuid) {
        self.changed.entry(table.def.name).or_default().insert(id);
    }

    /// Remembers to tell that the outbox changed.
    pub(super) fn note_outbox(&mut self) {
        self.outbox_changed = true;
    }

    /// What is to be told once this is committed. `before` is how many changes were unsent, if that is known.
    pub(super) fn news(&mut self, before: Option<u64>) -> Result<News, StoreError> {
        let counted = before.and_then(|before| (before + self.added.len() as u64).checked_sub(self.removed));
        let count = || counted.map_or_else(|| outbox::count(self.connection), Ok);
        let unsent = self.outbox_changed.then(count).transpose()?;
        let records = std::mem::take(&mut self.changed).into_iter();
        let records =
            records.map(|(entity, ids)| Changed { entity, ids: ids.into_iter().collect() }).collect();
        Ok(News { records, unsent })
    }
}

/// Whether a field's rule counts the difference to what was seen.
pub(super) fn counts(def: &EntityDef, name: &str) -> bool {
    def.field(name).is_some_and(|field| matches!(field.merge, Merge::Union | Merge::Delta))
}

/// Makes a change that was made looking at `seen` one of `old`, in fields whose rule counts the difference.
fn recount(
    def: &EntityDef,
    old: &Fields,
    seen: Option<&Fields>,
    change: Fields,
) -> Result<Fields, RuleError> {
    let Some(seen) = seen else { return Ok(change) };
    let mut counted = Fields::new();
    for (name, mine) in change {
        let rule = def.field(&name).map(|field| field.merge).filter(|_| counts(def, &name));
        let value = |fields: &Fields| fields.get(&name).cloned().unwrap_or(Value::Null);
        let mine = match rule {
            Some(rule) => over(rule, &value(old), &value(seen), &mine)
                .ok_or_else(|| RuleError::OutOfRange { field: name.clone() })?,
            None => mine,
        };
        counted.insert(name, mine);
    }
    def.admit(counted)
}

/// Lays an entry of the outbox over fields: in those whose rule counts the difference, by as much as it changed them.
pub(super) fn lay(def: &EntityDef, fields: &mut Fields, change: &Fields, was: &Fields) {
    let value = |fields: &Fields, name: &String| fields.get(name).cloned().unwrap_or(Value::Null);
    let mut counted = Fields::new();
    for (name, mine) in change.iter().filter(|(name, _)| counts(def, name)) {
        let rule = def.field(name).map_or(Merge::Latest, |field| field.merge);
        let now = over(rule, &value(fields, name), &value(was, name), mine).unwrap_or_else(|| mine.clone());
        counted.insert(name.clone(), now);
    }
    overlay(fields, change);
    overlay(fields, &counted);
}

/// The fields of `change` that differ from those in `old`.
fn difference(def: &EntityDef, old: &Fields, change: Fields) -> Result<Fields, RuleError> {
    let mut differing = Fields::new();
    for (name, value) in change {
        let before = old.get(&name).unwrap_or(&Value::Null);
        if *before == value {
            continue;
        }
        if !before.is_null() && def.field(&name).is_some_and(|field| field.merge == Merge::Immutable) {
            return Err(RuleError::Immutable { field: name });
        }
        differing.insert(name, value);
    }
    Ok(differing)
}

/// Lays a change over fields; a field without a value is taken away.
pub(super) fn overlay(fields: &mut Fields, change: &Fields) {
    for (name, value) in change {
        if value.is_null() {
            fields.remove(name);
        } else {
            fields.insert(name.clone(), value.clone());
        }
    }
}

/// The bucket of a record that the server has not seen.
pub(super) fn bucket(def: &EntityDef, fields: &Fields) -> Bucket {
    def.bucket(fields).unwrap_or_else(|| Bucket(String::new()))
}
