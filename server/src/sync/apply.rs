//! Applying a device's mutations.

use crate::app::buckets;
use crate::collisions;
use crate::records::{self, Origin, load, standing};
use crate::refusal::Refusal;
use crate::rescue;
use crate::storage::{self, StorageError, StoredMutation, StoredRecord, StoredRemoval, StoredUser, WriteTx};
use chrono::{DateTime, TimeDelta, Utc};
use roundsman_model::attachment::Attachment;
use roundsman_model::customer::Customer;
use roundsman_model::merge::Edit;
use roundsman_model::visit::Visit;
use roundsman_model::{
    Bucket, DeviceId, DeviceSeq, Entity, EntityDef, Fields, Merge, Rev, Role, RuleError, Scope, Seq, Stamp,
    Value,
};
use roundsman_protocol::sync::{Change, MAX_MUTATIONS, Mutation, MutationResult, Outcome, Own};
use roundsman_protocol::{ErrorCode, Problem};
use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use uuid::Uuid;

/// How many outcomes are kept for repeats: of two requests, the last of which was sent before the answer to the other was
/// stored, and as many to spare.
const KEPT_RESULTS: u64 = 4 * MAX_MUTATIONS as u64;

/// How far ahead of the server's clock an edit's stamp may lie, so that a wrong clock doesn't win for ever.
const MAX_AHEAD: TimeDelta = TimeDelta::minutes(5);

/// Applies mutations in order, each once. A refused one steps aside; the others go on. `cursors` are those of a device
/// that makes rows of its own changes from their results.
pub(super) fn all(
    tx: &mut dyn WriteTx,
    device: DeviceId,
    user: &StoredUser,
    mutations: &[Mutation],
    cursors: Option<&BTreeMap<Bucket, Seq>>,
    now: DateTime<Utc>,
) -> Result<(Vec<MutationResult>, Option<Own>), Refusal> {
    let mut stored = tx.device(device)?.ok_or(ErrorCode::DeviceUnknown)?;
    let mine = Author::new(device, user, now);
    let mut results = Vec::with_capacity(mutations.len());
    let mut kept: Vec<StoredMutation> = Vec::with_capacity(mutations.len());
    let mut own = cursors.map(|cursors| OwnRows::begin(tx, &mine.buckets, cursors)).transpose()?;
    // Most devices never had anything rescued: then no change of theirs has to be looked for.
    let rescued = tx.has_rescued(device)?;
    if let Some(first) = mutations.first()
        && is_resumed(tx, device)?
        && first.seq > stored.applied
    {
        stored.applied = DeviceSeq(first.seq.0 - 1);
    }
    for mutation in mutations {
        let expected = stored.applied.next();
        let answered_before;
        let outcome = match mutation.seq.cmp(&expected) {
            Ordering::Greater => return Err(gap(expected)),
            #[cfg(feature = "planted-bugs")]
            Ordering::Less if crate::simulation::has(crate::simulation::Bug::SkipDuplicateCheck) => {
                answered_before = false;
                mine.outcome(tx, mutation)?.outcome
            }
            Ordering::Less => {
                answered_before = true;
                let known = match kept.iter().find(|known| known.seq == mutation.seq) {
                    Some(known) => Some(known.clone()),
                    None => tx.mutation(device, mutation.seq)?,
                };
                let repeat = known.filter(|known| known.id == mutation.id);
                // Another mutation with a number that was used: the phone was set back to an older state.
                repeat.ok_or_else(|| gap(expected))?.outcome
            }
            Ordering::Equal => {
                let before = if rescued { rescue::taken_before(tx, device, mutation.id)? } else { None };
                answered_before = before.is_some();
                let outcome = match before {
                    Some(outcome) => outcome,
                    None => {
                        let taken = mine.outcome(tx, mutation)?;
                        if let Some(own) = &mut own {
                            own.note(mutation.seq, taken.own);
                        }
                        taken.outcome
                    }
                };
                stored.applied = expected;
                kept.push(StoredMutation { seq: mutation.seq, id: mutation.id, outcome: outcome.clone() });
                outcome
            }
        };
        if let Some(own) = own.as_mut().filter(|_| answered_before) {
            own.repeat(tx, mutation, &outcome)?;
        }
        // The device counted it as unsent when it reported. A refused one it still does.
        if matches!(outcome, Outcome::Applied { .. }) {
            if rescued {
                tx.rescued_arrived(device, mutation.id, now.timestamp_millis())?;
            }
            stored.unsent = stored.unsent.saturating_sub(1);
        }
        results.push(MutationResult { seq: mutation.seq, outcome });
    }
    if !mutations.is_empty() {
        tx.add_mutations(device, &kept)?;
        tx.forget_mutations(device, DeviceSeq(stored.applied.0.saturating_sub(KEPT_RESULTS)))?;
    }
    tx.put_device(&stored)?;
    let own = own.map(|own| own.end(tx)).transpose()?;
    Ok((results, own))
}

/// What a device needs besides the results to have the rows that its mutations have made, without a page.
struct OwnRows {
    /// Buckets of which the device had everything: where their logs ended, and how many entries since are rows that it
    /// has made.
    buckets: BTreeMap<Bucket, (Seq, u64)>,
    fields: BTreeMap<DeviceSeq, Fields>,
    repeats: BTreeSet<DeviceSeq>,
}

impl OwnRows {
    fn begin(tx: &dyn WriteTx, mine: &[Bucket], cursors: &BTreeMap<Bucket, Seq>) -> storage::Result<Self> {
        let mut buckets = BTreeMap::new();
        for bucket in mine {
            let head = tx.bucket_head(bucket)?;
            if super::cursor(cursors, bucket) == head {
                buckets.insert(bucket.clone(), (head, 0));
            }
        }
        Ok(Self { buckets, fields: BTreeMap::new(), repeats: BTreeSet::new() })
    }

    fn note(&mut self, seq: DeviceSeq, row: Option<OwnRow>) {
        let Some(OwnRow { bucket, set, logged }) = row else { return };
        if let Some((_, entries)) = self.buckets.get_mut(&bucket).filter(|_| logged) {
            *entries += 1;
        }
        if !set.is_empty() {
            self.fields.insert(seq, set);
        }
    }

    /// A mutation that was answered before. If the record that it made is in another bucket than the device would put it, the
    /// device must be told: in the log of its own there never was an entry of it.
    fn repeat(&mut self, tx: &dyn WriteTx, mutation: &Mutation, outcome: &Outcome) -> storage::Result<()> {
        self.repeats.insert(mutation.seq);
        let made = matches!(outcome, Outcome::Applied { .. }) && mutation.base == Rev(0);
        let Some(def) = roundsman_model::entity(&mutation.entity).filter(|_| made) else { return Ok(()) };
        let (Scope::Territory(field), Some(record)) = (def.scope, tx.record(def.name, mutation.record)?)
        else {
            return Ok(());
        };
        let code =
            record.bucket.code().filter(|_| def.bucket(&mutation.fields).as_ref() != Some(&record.bucket));
        if let Some(code) = code {
            let set = Fields::from([(field.to_owned(), Value::Text(code.to_owned()))]);
            self.fields.insert(mutation.seq, set);
        }
        Ok(())
    }

    /// The buckets whose logs have nothing else since the beginning. What followed from a change in some other way, as a
    /// collision, comes by a page, and so does all of that bucket.
    fn end(self, tx: &dyn WriteTx) -> storage::Result<Own> {
        let mut own = Own { cursors: BTreeMap::new(), fields: self.fields, repeats: self.repeats };
        for (bucket, (head, entries)) in self.buckets {
            let now = tx.bucket_head(&bucket)?;
            if entries > 0 && now.0 - head.0 == entries {
                own.cursors.insert(bucket, now);
            }
        }
        if own.cursors.is_empty() {
            own.repeats.clear();
        }
        Ok(own)
    }
}

/// The row that a mutation has made.
struct OwnRow {
    bucket: Bucket,
    /// Fields that the device would not know: see [`Own::fields`].
    set: Fields,
    /// Whether the bucket's log has an entry of it, and nothing else because of this mutation.
    logged: bool,
}

impl OwnRow {
    fn of(def: &EntityDef, before: Option<&StoredRecord>, sent: Fields, change: &records::Change) -> Self {
        let after = &change.record.fields;
        let mut laid = before.map(|record| record.fields.clone()).unwrap_or_default();
        laid.extend(sent);
        // What a device makes of an amount or a set depends on more than its mutation.
        let counts = |name: &str| {
            def.field(name).is_some_and(|field| matches!(field.merge, Merge::Union | Merge::Delta))
        };
        let mut set = Fields::new();
        for (name, value) in after {
            if counts(name) || laid.get(name) != Some(value) {
                set.insert(name.clone(), value.clone());
            }
        }
        let gone = laid.into_iter().filter(|(name, value)| !value.is_null() && !after.contains_key(name));
        set.extend(gone.map(|(name, _)| (name, Value::Null)));
        let stays = before.is_none_or(|record| record.bucket == change.record.bucket);
        Self { bucket: change.record.bucket.clone(), set, logged: change.differs && stays }
    }
}

/// What came of a mutation.
struct Taken {
    outcome: Outcome,
    own: Option<OwnRow>,
}

impl From<Outcome> for Taken {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, own: None }
    }
}

/// Applies one change that came another way than by sync, as its author and by the same rules.
pub(crate) fn one(
    tx: &mut dyn WriteTx,
    device: DeviceId,
    user: &StoredUser,
    mutation: &Mutation,
    now: DateTime<Utc>,
) -> storage::Result<Outcome> {
    Author::new(device, user, now).outcome(tx, mutation).map(|taken| taken.outcome)
}

/// Takes the next change of this device whatever its number is: a backup of the server was put back, which does not know
/// how far the device has come.
pub(crate) fn resume(tx: &mut dyn WriteTx, device: DeviceId) -> storage::Result<()> {
    tx.set_setting(&resume_key(device), &[1])
}

/// Whether the device's next change is taken whatever its number is. Holds once.
fn is_resumed(tx: &mut dyn WriteTx, device: DeviceId) -> storage::Result<bool> {
    let resumed = tx.setting(&resume_key(device))?.is_some_and(|set| !set.is_empty());
    if resumed {
        tx.set_setting(&resume_key(device), &[])?;
    }
    Ok(resumed)
}

fn resume_key(device: DeviceId) -> String {
    format!("resume/{device}")
}

fn gap(expected: DeviceSeq) -> Refusal {
    Problem { expected: Some(expected), ..ErrorCode::SeqGap.into() }.into()
}

enum Failure {
    Rule(RuleError),
    Storage(StorageError),
}

impl From<RuleError> for Failure {
    fn from(error: RuleError) -> Self {
        Self::Rule(error)
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

/// Whose mutations are applied.
struct Author<'a> {
    device: DeviceId,
    user: &'a StoredUser,
    buckets: Vec<Bucket>,
    now: DateTime<Utc>,
    /// Buckets of customers that were visited, until something else than a visit is changed.
    visited: RefCell<HashMap<Uuid, Option<Bucket>>>,
}

impl<'a> Author<'a> {
    fn new(device: DeviceId, user: &'a StoredUser, now: DateTime<Utc>) -> Self {
        let buckets = buckets(user.id, &user.territories);
        Self { device, user, buckets, now, visited: RefCell::default() }
    }

    fn outcome(&self, tx: &mut dyn WriteTx, mutation: &Mutation) -> storage::Result<Taken> {
        match self.apply(tx, mutation) {
            Ok(taken) => Ok(taken),
            Err(Failure::Rule(reason)) => Ok(Outcome::Rejected { reason }.into()),
            Err(Failure::Storage(error)) => Err(error),
        }
    }

    /// Everything is judged before the first row is written, so a refusal leaves nothing behind.
    fn apply(&self, tx: &mut dyn WriteTx, mutation: &Mutation) -> Result<Taken, Failure> {
        let def = roundsman_model::entity(&mutation.entity).ok_or(RuleError::UnknownEntity)?;
        if def.name != Visit::DEF.name {
            self.visited.borrow_mut().clear();
        }
        let stored = tx.record(def.name, mutation.record)?;
        let gone = stored.as_ref().filter(|record| record.removed).map(|record| record.bucket.clone());
        let before = stored.map(|record| standing(def, record)).transpose()?.flatten();
        if def.scope == Scope::Record {
            return Err(RuleError::NotAllowed.into());
        }
        if before.as_ref().is_some_and(|record| !self.buckets.contains(&record.bucket)) {
            return Err(RuleError::NoSuchRecord.into());
        }
        match mutation.change {
            Change::Put => {}
            Change::Delete => return Ok(self.delete(tx, def, mutation, before)?.into()),
            Change::Restore => return Ok(self.restore(tx, def, mutation, before)?.into()),
            Change::Other => return Err(RuleError::Other.into()),
        }
        if before.is_none() {
            self.may_be_new(gone.as_ref(), mutation)?;
        }
        let mut fields = def.admit(mutation.fields.clone())?;
        let sent = fields.clone();
        let was = def.admit(mutation.was.clone())?;
        let old = before.as_ref().map(|record| &record.fields);
        if def.name == Visit::DEF.name {
            self.settle_visit(tx, old, &mut fields)?;
        }
        if def.name == Attachment::DEF.name {
            self.settle_attachment(tx, old, &mut fields)?;
        }
        let edit = Edit {
            fields: &fields,
            was: &was,
            base: mutation.base,
            stamp: self.plausible(mutation.stamp),
            device: Some(self.device),
        };
        let change = records::change(def, before.as_ref(), mutation.record, edit)?;
        if !self.buckets.contains(&change.record.bucket) {
            return Err(RuleError::NotAllowed.into());
        }
        records::code_is_free(tx, def, mutation.record, &change.record.fields)??;
        let at_ms = self.now.timestamp_millis();
        let origin = Origin { device: self.device, user: self.user.id, at_ms };
        records::store(tx, def, before.as_ref(), &change, Some(origin))?;
        collisions::settle(tx, mutation.record, &mutation.settles)?;
        let own = OwnRow::of(def, before.as_ref(), sent, &change);
        Ok(Taken {
            outcome: Outcome::Applied { rev: change.record.rev, conflicts: change.conflicts },
            own: Some(own),
        })
    }

    fn delete(
        &self,
        tx: &mut dyn WriteTx,
        def: &EntityDef,
        mutation: &Mutation,
        before: Option<StoredRecord>,
    ) -> Result<Outcome, Failure> {
        let Some(record) = before else {
            // Somebody else was first: both wanted the same.
            let removal = self.removal(tx, def, mutation)?.ok_or(RuleError::NoSuchRecord)?;
            self.may_delete(def, &def.admit(removal.record.fields.clone())?)?;
            let rev = removal.record.rev;
            if removal.along {
                // Nor does it come back with what it went along with.
                let (at_ms, by) = (self.now.timestamp_millis(), Some(self.user.id));
                tx.keep_removal(&StoredRemoval { at_ms, by, along: false, ..removal })?;
            }
            return Ok(Outcome::Applied { rev, conflicts: vec![] });
        };
        self.may_delete(def, &record.fields)?;
        let rev = records::remove(tx, record, Some(self.user.id), self.now.timestamp_millis())?;
        Ok(Outcome::Applied { rev, conflicts: vec![] })
    }

    fn restore(
        &self,
        tx: &mut dyn WriteTx,
        def: &EntityDef,
        mutation: &Mutation,
        before: Option<StoredRecord>,
    ) -> Result<Outcome, Failure> {
        if let Some(record) = before {
            return Ok(Outcome::Applied { rev: record.rev, conflicts: vec![] });
        }
        let removal = self.removal(tx, def, mutation)?.ok_or(RuleError::NoSuchRecord)?;
        self.may_delete(def, &def.admit(removal.record.fields.clone())?)?;
        let rev = records::restore(tx, def, removal)??;
        Ok(Outcome::Applied { rev, conflicts: vec![] })
    }

    /// What the record held when it was removed from one of the author's buckets.
    fn removal(
        &self,
        tx: &dyn WriteTx,
        def: &EntityDef,
        mutation: &Mutation,
    ) -> storage::Result<Option<StoredRemoval>> {
        let removal = tx.removal(def.name, mutation.record)?;
        Ok(removal.filter(|removal| self.buckets.contains(&removal.record.bucket)))
    }

    /// Whether a record that does not stand may be made. The id of one that was removed is never used again.
    /// `gone` is the bucket of one that was removed.
    fn may_be_new(&self, gone: Option<&Bucket>, mutation: &Mutation) -> Result<(), RuleError> {
        match gone {
            Some(bucket) if self.buckets.contains(bucket) => Err(RuleError::Removed),
            None if mutation.base.0 == 0 => Ok(()),
            _ => Err(RuleError::NoSuchRecord),
        }
    }

    fn may_delete(&self, def: &EntityDef, fields: &Fields) -> Result<(), RuleError> {
        let own_visit = def.name == Visit::DEF.name && self.is_own(fields);
        let own_attachment = def.name == Attachment::DEF.name && self.is_author(fields);
        if self.user.role == Role::Admin || own_visit || own_attachment {
            Ok(())
        } else {
            Err(RuleError::NotAllowed)
        }
    }

    fn is_own(&self, visit: &Fields) -> bool {
        visit.get("rep").and_then(Value::as_id) == Some(self.user.id.0)
    }

    fn is_author(&self, attachment: &Fields) -> bool {
        attachment.get("author").and_then(Value::as_id) == Some(self.user.id.0)
    }

    /// A rep adds attachments of their own, to records that they have. The territory is that of the record, and whether
    /// the content is there is the server's to say.
    fn settle_attachment(
        &self,
        tx: &dyn WriteTx,
        old: Option<&Fields>,
        fields: &mut Fields,
    ) -> Result<(), Failure> {
        fields.remove("territory");
        fields.remove("stored_at");
        if !self.is_author(old.unwrap_or(fields)) {
            return Err(RuleError::NotAllowed.into());
        }
        if old.is_none() {
            let required = |name: &str| RuleError::Required { field: name.to_owned() };
            let id = fields.get("record").and_then(Value::as_id).ok_or_else(|| required("record"))?;
            let of = fields.get("of").and_then(Value::as_text).ok_or_else(|| required("of"))?;
            let of = roundsman_model::entity(of).ok_or(RuleError::UnknownEntity)?;
            let record = load(tx, of, id)?
                .filter(|record| self.buckets.contains(&record.bucket))
                .ok_or(RuleError::NoSuchRecord)?;
            let territory = record.fields.get("territory").cloned().ok_or(RuleError::NoSuchRecord)?;
            fields.insert("territory".to_owned(), territory);
        }
        Ok(())
    }

    /// A rep writes own visits only. The territory is the server's to set: the customer's at the time the visit is
    /// made, for good.
    fn settle_visit(
        &self,
        tx: &dyn WriteTx,
        old: Option<&Fields>,
        fields: &mut Fields,
    ) -> Result<(), Failure> {
        fields.remove("territory");
        if !self.is_own(old.unwrap_or(fields)) {
            return Err(RuleError::NotAllowed.into());
        }
        if old.is_none() {
            let id = fields
                .get("customer")
                .and_then(Value::as_id)
                .ok_or_else(|| RuleError::Required { field: "customer".to_owned() })?;
            let mut visited = self.visited.borrow_mut();
            let bucket = match visited.entry(id) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(tx.bucket_of(Customer::DEF.name, id)?),
            };
            let bucket = bucket.as_ref().filter(|bucket| self.buckets.contains(bucket));
            let territory = bucket.and_then(Bucket::code).ok_or(RuleError::NoSuchRecord)?;
            fields.insert("territory".to_owned(), Value::Text(territory.to_owned()));
        }
        Ok(())
    }

    fn plausible(&self, stamp: Stamp) -> Stamp {
        let latest = (self.now + MAX_AHEAD).timestamp_millis().max(0) as u64;
        if stamp.millis() > latest { Stamp(latest << 16) } else { stamp }
    }
}
