//! What must hold when everybody is in step.

use super::journal::{Book, Key, Rescued, Sent};
use super::template::TERRITORIES;
use super::world::World;
use roundsman_core::simulation::{self, PhoneRow, RowState};
use roundsman_core::{Client, State};
use roundsman_model::merge::Conflict;
use roundsman_model::{Bucket, Fields, Rev, Value};
use roundsman_protocol::sha256;
use roundsman_protocol::sync::Outcome;
use roundsman_server::admin::{RescueFilter, RescueState};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use uuid::Uuid;

/// More than a seed ever has.
pub(super) const ALL: usize = 100_000;

/// What the server has: the version and the fields of each record in each bucket.
pub(super) type Buckets = BTreeMap<Bucket, BTreeMap<Uuid, (&'static str, Rev, Fields)>>;

impl World {
    /// Checks everything that must hold after a quiet period.
    pub(super) async fn check(&mut self) {
        let buckets = self.buckets();
        for slot in 0..self.phones.len() {
            self.phone_equals_server(slot, &buckets);
            self.phone_keeps_its_own(slot);
        }
        self.removals_hold(&buckets);
        self.conflicts_are_kept(&buckets);
        self.nothing_acknowledged_is_lost(&buckets);
        self.attached_is_kept(&buckets).await;
        self.audit_is_whole();
        self.note(format!("checked {}", hash(&buckets)));
    }

    pub(super) fn buckets(&self) -> Buckets {
        let office = self.office();
        let users = self.phones.iter().map(|phone| Bucket::user(phone.rep));
        let all = TERRITORIES.iter().map(|code| Bucket::territory(code)).chain(users);
        let rows = |bucket: Bucket| {
            let rows = office.rows(&bucket).expect("the server runs").into_iter();
            let rows = rows.filter_map(|row| {
                let def = roundsman_model::entity(&row.entity)?;
                let fields = def.admit(row.fields?).expect("the server's own fields");
                Some((row.id, (def.name, row.rev, fields)))
            });
            let rows = rows.collect();
            (bucket, rows)
        };
        all.map(rows).collect()
    }

    /// Row by row, what the phone shows is what the server has for it.
    fn phone_equals_server(&self, slot: usize, buckets: &Buckets) {
        let phone = &self.phones[slot];
        let office = self.office();
        let users = office.admin().and_then(|admin| Ok(admin.users()?)).expect("the server runs");
        let territories = users.into_iter().find(|user| user.id == phone.rep).map(|user| user.territories);
        let mine = territories.unwrap_or_default().into_iter().map(|code| Bucket::territory(&code));
        let mut wanted = BTreeMap::new();
        for bucket in mine.chain([Bucket::user(phone.rep)]) {
            wanted.extend(buckets.get(&bucket).into_iter().flatten().map(|(id, row)| (*id, row)));
        }
        let find = |invariant, what: String| {
            self.journal.open().find(invariant, format!("phone {slot}: {what}"));
        };
        let rows = match simulation::rows(&phone.client) {
            Ok(rows) => rows,
            Err(error) => return find("store_is_sound", format!("{error:?}")),
        };
        if let Err(error) = phone.client.check_store() {
            find("store_is_sound", format!("{error:?}"));
        }
        let shown: BTreeMap<Uuid, &PhoneRow> = rows.iter().map(|row| (row.id, row)).collect();
        for (id, (entity, rev, fields)) in &wanted {
            match shown.get(id) {
                None => find("cursor_never_skips", format!("the {entity} {id} is not there")),
                Some(row) if row.state == RowState::Rejected => {}
                Some(row) if row.rev < *rev => {
                    let what = format!("the {entity} {id} is of version {}, not {rev}", row.rev);
                    find("cursor_never_skips", what);
                }
                Some(row) if row.state == RowState::Pending => {
                    find("phones_equal_server", format!("the {entity} {id} is still waiting"));
                }
                Some(row) if row.fields != *fields || row.rev != *rev => {
                    let differ: Vec<_> = differing(&row.fields, fields);
                    let what = format!("the {entity} {id} of version {}: {differ:?}", row.rev);
                    find("phones_equal_server", what);
                }
                Some(_) => {}
            }
        }
        for row in rows.iter().filter(|row| row.state == RowState::Clean && !wanted.contains_key(&row.id)) {
            let what = format!("the {} {} of {} is not the server's", row.entity, row.id, row.bucket.0);
            find("phones_equal_server", what);
        }
    }

    /// Refused changes are on the phone, and nothing waits that should have been sent.
    fn phone_keeps_its_own(&self, slot: usize) {
        let phone = &self.phones[slot];
        let changes = phone.changes();
        let mut book = self.journal.open();
        let book = &mut *book;
        let mut found = Vec::new();
        for ((_, seq), sent) in mine(book, phone.number) {
            let here = changes.iter().find(|change| change.seq.0 == *seq);
            match &sent.outcome {
                Some(Outcome::Rejected { reason }) => {
                    let dealt_with = book.dealt_with.contains(&(phone.number, *seq));
                    if !dealt_with && !here.is_some_and(|change| change.refused) {
                        found.push(("rejected_kept", format!("change {seq}, refused for {reason:?}")));
                    }
                }
                Some(Outcome::Applied { .. }) if here.is_some() => {
                    found.push(("heals", format!("change {seq} was taken and still waits")));
                }
                Some(Outcome::Applied { .. }) => {}
                None => found.push(("heals", format!("change {seq} has no outcome"))),
            }
        }
        for ((_, seq), id) in book.stored.range((phone.number, 0)..(phone.number + 1, 0)) {
            if book.sent.get(&(phone.number, *seq)).is_none_or(|sent| sent.id != *id) {
                found.push(("acknowledged_never_lost", format!("change {seq} was stored and never sent")));
            }
        }
        for (invariant, what) in found {
            book.find(invariant, format!("phone {slot}: {what}"));
        }
    }

    /// What was removed is gone, and what was brought back is there. What it held is the matter of
    /// [`nothing_acknowledged_is_lost`](Self::nothing_acknowledged_is_lost).
    fn removals_hold(&self, buckets: &Buckets) {
        let mut book = self.journal.open();
        for (record, (rev, stands)) in book.turned() {
            let there = buckets.values().any(|rows| rows.contains_key(&record));
            if there != stands {
                let what = format!(
                    "{record} stands: {there}; its last turn made that {stands}, in version {rev}; {}",
                    book.history(record)
                );
                book.find("removals_hold", what);
            }
        }
    }

    /// Every collision that anybody was told of is listed until somebody decides: at the server, and on each phone that
    /// holds the record.
    fn conflicts_are_kept(&self, buckets: &Buckets) {
        let listed =
            self.office().admin().and_then(|admin| Ok(admin.conflicts(ALL)?)).expect("the server runs");
        let listed: BTreeMap<(Uuid, String, String), Uuid> =
            listed.into_iter().map(|view| ((view.record, view.field, json(&view.lost)), view.id)).collect();
        let mut book = self.journal.open();
        let turned = book.turned();
        let gone = |record: &Uuid| turned.get(record).is_some_and(|(_, stands)| !stands);
        let mut found = Vec::new();
        for sent in book.sent.values().filter(|sent| !gone(&sent.record)) {
            for conflict in conflicts(sent) {
                let lost = (sent.record, conflict.field.clone(), json(&conflict.lost));
                if !listed.contains_key(&lost) && !book.settled.contains(&lost) {
                    found.push(format!("the server lists no lost value of {} of {}", lost.1, lost.0));
                }
            }
        }
        for phone in &self.phones {
            let Ok(open) = phone.client.conflicts().and_then(|conflicts| conflicts.list()) else { continue };
            let open: BTreeSet<Uuid> = open.into_iter().map(|conflict| conflict.id).collect();
            let here: BTreeSet<Uuid> = phone
                .rows()
                .into_iter()
                .filter(|row| row.state == RowState::Clean)
                .map(|row| row.id)
                .collect();
            let held = buckets.values().flat_map(|rows| rows.keys()).filter(|id| here.contains(id));
            let held: BTreeSet<&Uuid> = held.collect();
            for ((record, field, _), id) in &listed {
                if held.contains(record) && !open.contains(id) {
                    found.push(format!("phone {} lists no lost value of {field} of {record}", phone.slot));
                }
            }
        }
        for what in found {
            book.find("conflicts_never_vanish", what);
        }
    }

    /// What was typed and taken stands, or has lost and is kept, or was replaced by somebody who had seen it.
    fn nothing_acknowledged_is_lost(&self, buckets: &Buckets) {
        let listed =
            self.office().admin().and_then(|admin| Ok(admin.conflicts(ALL)?)).expect("the server runs");
        let mut standing: BTreeMap<Uuid, &Fields> = BTreeMap::new();
        for rows in buckets.values() {
            standing.extend(rows.iter().map(|(id, (_, _, fields))| (*id, fields)));
        }
        let mut lost: BTreeSet<(Uuid, &str, &str)> = BTreeSet::new();
        for view in &listed {
            lost.extend(view.lost.as_text().map(|text| (view.record, view.field.as_str(), text)));
        }
        let mut by_record: BTreeMap<Uuid, Vec<(&Key, &Sent, Rev)>> = BTreeMap::new();
        let mut book = self.journal.open();
        for (key, sent) in &book.sent {
            if let Some(Outcome::Applied { rev, .. }) = &sent.outcome {
                by_record.entry(sent.record).or_default().push((key, sent, *rev));
            }
        }
        let turned = book.turned();
        let mut found = Vec::new();
        for (record, edits) in &by_record {
            let removed = turned.get(record).filter(|(_, stands)| !stands).map(|(at, _)| *at);
            let row = standing.get(record);
            let code = row.and_then(|fields| fields.get("code")).and_then(Value::as_text);
            for (key, sent, rev) in edits {
                for (field, typed) in
                    sent.fields.iter().filter_map(|(name, value)| Some((name, last_text(value)?)))
                {
                    let stands = row
                        .and_then(|fields| fields.get(field))
                        .and_then(Value::as_text)
                        .is_some_and(|text| text.contains(typed));
                    let kept = lost
                        .iter()
                        .any(|(of, name, text)| of == record && name == field && text.contains(typed));
                    let decided = book
                        .settled
                        .iter()
                        .any(|(of, name, text)| of == record && name == field && text.contains(typed));
                    let saw = |other: &Sent| {
                        let was = other.was.get(field).and_then(Value::as_text);
                        other.base >= *rev || was.is_some_and(|was| was.contains(typed))
                    };
                    let replaced = edits.iter().any(|(by, other, at)| {
                        let took =
                            !conflicts(other).iter().any(|told| told.field == *field && told.lost_is_mine);
                        at > rev && took && other.fields.contains_key(field) && (saw(other) || by.0 == key.0)
                    });
                    let rescued = book.rescued.iter().any(|by| {
                        (by.record, &by.field) == (*record, field) && (by.number == key.0 || by.base >= *rev)
                    });
                    let by_office = book
                        .office
                        .iter()
                        .any(|edit| Some(edit.code.as_str()) == code && edit.at > sent.first);
                    let ruled = book.ruled.iter().any(|ruled| {
                        (ruled.record, &ruled.field) == (*record, field) && ruled.at > sent.first
                    });
                    let gone = removed.is_some_and(|at| at >= *rev);
                    if !(stands || kept || decided || replaced || rescued || by_office || ruled || gone) {
                        found.push(format!(
                            "{typed} that device {} typed into {field} of {record} with change {}, taken as version \
                             {rev}, is nowhere",
                            key.0, key.1
                        ));
                    }
                }
            }
        }
        for what in found {
            book.find("acknowledged_never_lost", what);
        }
    }

    fn audit_is_whole(&self) {
        let admin = self.office().admin().expect("the server runs");
        let verdict = admin.verify_audit().expect("the server reads its log");
        let report = admin.verify(true, &mut |_, _| {}).expect("the server reads its database");
        let mut book = self.journal.open();
        for finding in report.findings {
            book.find("server_is_sound", finding.to_string());
        }
        if !verdict.is_sound() {
            book.find("audit_chain_whole", format!("{verdict:?}"));
        }
        for phone in &self.phones {
            let status = admin.audit_status(phone.device).expect("the server reads its log");
            if let Some(fault) = status.faults.first() {
                let what = format!("phone {}: {fault:?}", phone.slot);
                book.find("audit_chain_whole", what);
            }
        }
    }

    /// A wiped phone holds nothing, and its unsent work is with the organisation.
    pub(super) fn bury(&mut self, slot: usize) {
        self.counts.wipes += 1;
        let office = self.office();
        let phone = &self.phones[slot];
        let mut found = Vec::new();
        let opened = phone.unlock();
        if opened.is_ok() || phone.client.state() != State::Wiped {
            found.push(("wiped_holds_nothing", "it opens with its passcode".to_owned()));
        }
        if !still_wiped(&phone.client) {
            found.push(("wiped_holds_nothing", "it says something else than that it is wiped".to_owned()));
        }
        for file in left(&phone.folder().join("vault")) {
            if file != "tombstone" {
                found.push(("wiped_holds_nothing", format!("it has {file} still")));
            }
        }
        let admin = office.admin().expect("the server runs");
        let key = self.rescue_key().expect("the rescue key");
        let opened = admin.open_rescue(office.actor(), &key).map_err(|error| error.to_string());
        let filter = RescueFilter { device: Some(phone.device), state: None, void: true, limit: ALL };
        let rescued = admin.rescued(&filter).expect("the server lists what was rescued");
        let rescued: BTreeSet<Uuid> = rescued.into_iter().map(|view| view.change).collect();
        let mut book = self.journal.open();
        let number = phone.number;
        for ((_, seq), id) in book.stored.range((number, 0)..(number + 1, 0)) {
            let taken = book.sent.get(&(number, *seq)).is_some_and(|sent| sent.outcome.is_some());
            // What the server took without its answer arriving needs no rescue either.
            if !taken && !rescued.contains(id) && !book.sent.contains_key(&(number, *seq)) {
                found.push(("wiped_work_is_rescued", format!("change {seq} is nowhere; {opened:?}")));
            }
        }
        book.gone.insert(number);
        for (invariant, what) in found {
            book.find(invariant, format!("phone {slot}: {what}"));
        }
        drop(book);
        let taken = admin.take_all_rescued(office.actor(), phone.device);
        let applied = taken.map_or(0, |taken| taken.applied);
        self.counts.rescued += applied;
        let filter = RescueFilter { state: Some(RescueState::Taken), ..filter };
        let of_record = admin.rescued(&filter).expect("the server lists what was rescued");
        for view in &of_record {
            // Nothing but a removal and its opposite sets no field.
            if view.fields.is_empty() {
                self.turned(view.record, !view.removes);
            }
        }
        let mut book = self.journal.open();
        for view in of_record {
            let (record, base) = (view.record, view.base);
            let fields = view.fields.into_iter().map(|(field, _)| Rescued { number, record, field, base });
            book.rescued.extend(fields);
        }
        drop(book);
        self.note(format!("buried phone {slot}, {} rescued, {applied} taken", rescued.len()));
    }
}

fn mine(book: &Book, number: u32) -> impl Iterator<Item = (&Key, &Sent)> {
    book.sent.range((number, 0)..(number + 1, 0))
}

fn conflicts(sent: &Sent) -> &[Conflict] {
    match &sent.outcome {
        Some(Outcome::Applied { conflicts, .. }) => conflicts,
        _ => &[],
    }
}

fn differing<'a>(
    one: &'a Fields,
    other: &'a Fields,
) -> Vec<(&'a String, Option<&'a Value>, Option<&'a Value>)> {
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    names
        .into_iter()
        .filter(|name| one.get(*name) != other.get(*name))
        .map(|name| (name, one.get(name), other.get(name)))
        .collect()
}

/// The last text that was typed into a field; nothing if it holds none of the simulation's.
fn last_text(value: &Value) -> Option<&str> {
    let typed = value.as_text()?.lines().last()?;
    (typed.starts_with('t') && typed.ends_with('.')).then_some(typed)
}

pub(super) fn json(value: &Value) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn still_wiped(client: &Client) -> bool {
    client.customers().is_err() && client.outbox().is_err() && client.profile().is_none()
}

/// The files in a folder, by their names.
fn left(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return vec![] };
    let mut names = Vec::new();
    for entry in entries.flatten() {
        if entry.path().is_dir() {
            names.extend(left(&entry.path()));
        } else {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names
}

fn hash(buckets: &Buckets) -> String {
    let mut hash = [0; 32];
    for (bucket, rows) in buckets {
        for (id, (_, rev, fields)) in rows {
            let fields = serde_json::to_string(fields).unwrap_or_default();
            let line = format!("{} {id} {rev} {fields}", bucket.0);
            hash = sha256(&[&hash, line.as_bytes()]);
        }
    }
    super::short_hex(&hash)
}
