//! What people in the office do.

use super::invariants::{ALL, json};
use super::journal::{OfficeEdit, Ruled, Turn};
use super::template::TERRITORIES;
use super::world::World;
use roundsman_model::{Bucket, Rev, Value};
use roundsman_server::admin::Settlement;
use std::sync::PoisonError;
use uuid::Uuid;

/// So many customers are left, whatever the office removes.
const FEWEST: usize = 9;

impl World {
    /// A file comes in with other names, towns and territories.
    pub(super) fn office_edits(&mut self) -> String {
        let rows = 1 + self.chance.below(3);
        let office = self.office();
        let mut known = office.customers().expect("the server runs");
        known.sort_by_key(|row| row.id);
        let mut csv = "code,name,territory,city\n".to_owned();
        let mut what = Vec::new();
        for _ in 0..rows {
            let (text, moves) = (self.text(), self.chance.percent(45));
            let to = *self.chance.pick(&TERRITORIES).unwrap_or(&"A");
            let Some(fields) = self.chance.pick(&known).and_then(|row| row.fields.as_ref()) else { continue };
            let field = |name| fields.get(name).and_then(Value::as_text).unwrap_or_default().to_owned();
            let (code, territory) = (field("code"), if moves { to.to_owned() } else { field("territory") });
            csv.push_str(&format!("{code},{text},{territory},{text}\n"));
            what.push(format!("{code} to {territory} {text}"));
            let mut book = self.journal.open();
            let at = book.tick();
            book.office.push(OfficeEdit { code, at });
        }
        match office.import(&csv) {
            Ok(report) => format!("{what:?} {} changed, {} not", report.updated, report.rejected.len()),
            Err(error) => format!("{error:?}"),
        }
    }

    pub(super) fn scope_changes(&mut self, slot: usize) -> String {
        let mask = 1 + self.chance.below(7);
        let codes: Vec<String> = (0..TERRITORIES.len())
            .filter(|at| mask >> at & 1 == 1)
            .map(|at| TERRITORIES[at].to_owned())
            .collect();
        let (office, rep) = (self.office(), self.phones[slot].rep);
        let done = office.admin().map(|admin| admin.set_territories(office.actor(), rep, codes.clone()));
        format!("{codes:?} {}", matches!(done, Ok(Ok(()))))
    }

    /// A customer is removed, the first ones more often, or one that was removed comes back.
    pub(super) fn office_removes(&mut self) -> String {
        let (few, back, lot) = (self.chance.percent(60), self.chance.percent(50), self.chance.below(1_000));
        let office = self.office();
        let admin = office.admin().expect("the server runs");
        let mut known = office.customers().expect("the server runs");
        known.sort_by_key(|row| (text(row.fields.as_ref(), "code"), row.id));
        let removed = admin.removed_customers(ALL).expect("the server runs");
        let back = self.chance.pick(&removed).filter(|_| back || known.len() <= FEWEST);
        let (record, stands, done) = match back {
            Some(view) => (view.customer.id, true, admin.restore_customer(office.actor(), view.customer.id)),
            None => {
                let end = if few { known.len().min(4) } else { known.len() };
                let Some(row) = known.get(lot as usize % end.max(1)) else { return "nothing".to_owned() };
                (row.id, false, admin.remove_customer(office.actor(), row.id))
            }
        };
        match done {
            Ok(()) => {
                self.turned(record, stands);
                format!("{record} stands {stands}")
            }
            Err(error) => format!("{record} {error}"),
        }
    }

    /// Somebody in the office decides about a value that lost.
    pub(super) fn office_settles(&mut self) -> String {
        let (written, lot) = (self.text(), self.chance.below(3));
        let office = self.office();
        let admin = office.admin().expect("the server runs");
        let open = admin.conflicts(ALL).expect("the server runs");
        let Some(view) = self.chance.pick(&open) else { return "nothing".to_owned() };
        let settlement = match lot {
            0 => Settlement::Keep,
            1 => Settlement::TakeLost,
            _ => Settlement::Write(Value::Text(written)),
        };
        let what = format!("{} of {}: {settlement:?}", view.field, view.record);
        let writes = settlement != Settlement::Keep;
        if let Err(error) = admin.settle_conflict(office.actor(), view.id, settlement) {
            return format!("{what}: {error}");
        }
        let mut book = self.journal.open();
        book.settled.insert((view.record, view.field.clone(), json(&view.lost)));
        book.counted.settled += 1;
        if writes {
            let at = book.tick();
            book.ruled.push(Ruled { record: view.record, field: view.field.clone(), at });
        }
        what
    }

    /// Writes down that the office has removed a record, or has brought it back.
    pub(super) fn turned(&self, record: Uuid, stands: bool) {
        let rev = self.version(record);
        self.journal.open().turns.push(Turn { record, rev, stands });
    }

    /// The version that the server has of a record, removed or not.
    fn version(&self, record: Uuid) -> Rev {
        let office = self.office();
        let logs = TERRITORIES.iter().map(|code| office.rows(&Bucket::territory(code)).expect("it runs"));
        logs.flatten().filter(|row| row.id == record).map(|row| row.rev).max().unwrap_or(Rev(0))
    }

    pub(super) fn lock_or_unlock(&mut self, slot: usize) -> String {
        let (office, device) = (self.office(), self.phones[slot].device);
        if self.chance.percent(50) {
            format!("lock {}", office.lock(device).is_ok())
        } else {
            format!("unlock {}", office.unlock(device).is_ok())
        }
    }

    pub(super) fn order_wipe(&mut self, slot: usize) -> String {
        let phone = &mut self.phones[slot];
        let ordered = self.server.read().unwrap_or_else(PoisonError::into_inner).wipe(phone.device).is_ok();
        phone.to_be_wiped |= ordered;
        ordered.to_string()
    }
}

fn text(fields: Option<&roundsman_model::Fields>, name: &str) -> Option<String> {
    fields?.get(name).and_then(Value::as_text).map(str::to_owned)
}
