//! What may be drawn, and what reps do on their phones.

use super::invariants::json;
use super::template::TERRITORIES;
use super::world::World;
use roundsman_core::model::customer::Customer;
use roundsman_core::model::geo::Position;
use roundsman_core::model::visit::{Outcome, State as VisitState, Visit};
use roundsman_core::outbox::Status;
use roundsman_core::platform::Clock;
use roundsman_core::simulation;
use roundsman_core::{Error, State};
use roundsman_model::{Entity, RuleError, Value};
use std::time::Duration;

/// What may be drawn, and how often.
const LOTS: [(u64, Operation); 25] = [
    (200, Operation::Visit),
    (200, Operation::Edit),
    (25, Operation::Add),
    (60, Operation::Attach),
    (20, Operation::Remove),
    (35, Operation::OutboxWork),
    (45, Operation::Office),
    (20, Operation::OfficeRemoves),
    (20, Operation::OfficeSettles),
    (18, Operation::Scope),
    (200, Operation::Sync),
    (15, Operation::Fetch),
    (25, Operation::CheckIn),
    (20, Operation::Push),
    (12, Operation::Lock),
    (3, Operation::Wipe),
    (30, Operation::HangUp),
    (30, Operation::StopInSync),
    (15, Operation::StopInWork),
    (10, Operation::Kill),
    (15, Operation::CloseAndOpen),
    (20, Operation::ServerStops),
    (8, Operation::ServerKilled),
    (25, Operation::DiskFails),
    (40, Operation::TimePasses),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Visit,
    Edit,
    Add,
    Attach,
    Remove,
    OutboxWork,
    Office,
    OfficeRemoves,
    OfficeSettles,
    Scope,
    Sync,
    Fetch,
    CheckIn,
    Push,
    Lock,
    Wipe,
    HangUp,
    StopInSync,
    StopInWork,
    Kill,
    CloseAndOpen,
    ServerStops,
    ServerKilled,
    DiskFails,
    TimePasses,
}

/// How a piece of work ended.
pub(super) enum Done {
    Did(String),
    Nothing,
}

impl World {
    /// Draws an operation and does it.
    pub(super) async fn operation(&mut self) {
        self.clock.advance(Duration::from_millis(500 + self.chance.below(90_000)));
        let all: u64 = LOTS.iter().map(|(weight, _)| weight).sum();
        let mut lot = self.chance.below(all);
        let mut drawn = Operation::Sync;
        for (weight, operation) in LOTS {
            if lot < weight {
                drawn = operation;
                break;
            }
            lot -= weight;
        }
        let slot = self.chance.below(self.phones.len() as u64) as usize;
        let what = match drawn {
            Operation::Visit
            | Operation::Edit
            | Operation::Add
            | Operation::Attach
            | Operation::Remove
            | Operation::OutboxWork => self.work(slot, drawn, false),
            Operation::Office => self.office_edits(),
            Operation::OfficeRemoves => self.office_removes(),
            Operation::OfficeSettles => self.office_settles(),
            Operation::Scope => self.scope_changes(slot),
            Operation::Sync => self.sync(slot).await,
            Operation::Fetch => self.fetch(slot),
            Operation::CheckIn => format!("{:?}", self.phones[slot].client.check_in().await.map_err(name)),
            Operation::Push => self.push(slot).await,
            Operation::Lock => self.lock_or_unlock(slot),
            Operation::Wipe => self.order_wipe(slot),
            Operation::HangUp => self.hang_up(slot).await,
            Operation::StopInSync => self.stop_in_sync(slot).await,
            Operation::StopInWork => self.stop_in_work(slot),
            Operation::Kill => {
                self.killed(slot);
                "as it stood".to_owned()
            }
            Operation::CloseAndOpen => self.close_and_open(slot),
            Operation::ServerStops => self.server_stops(slot).await,
            Operation::ServerKilled => {
                self.kill_server();
                "as it stood".to_owned()
            }
            Operation::DiskFails => self.disk_fails(slot).await,
            Operation::TimePasses => {
                let minutes = 10 + self.chance.below(300);
                self.clock.advance(Duration::from_secs(60 * minutes));
                format!("{minutes} minutes")
            }
        };
        self.note(format!("{} phone {slot} {drawn:?}: {what}", self.counts.operations));
    }

    /// Work on a phone that needs no network. With a fault under it, any error will do; otherwise only those that a
    /// rep can understand.
    pub(super) fn work(&mut self, slot: usize, operation: Operation, fault: bool) -> String {
        if self.phones[slot].client.state() != State::Open {
            return "closed".to_owned();
        }
        let before = self.phones[slot].changes();
        let done = match operation {
            Operation::Visit => self.visit(slot),
            Operation::Edit => self.edit(slot),
            Operation::Add => self.add(slot),
            Operation::Attach => self.attach(slot),
            Operation::Remove => self.remove(slot),
            _ => self.outbox_work(slot),
        };
        self.stored(slot, &before);
        match done {
            Ok(Done::Did(what)) => what,
            Ok(Done::Nothing) => "nothing to do".to_owned(),
            Err(error) => {
                let understood =
                    matches!(error, Error::Rule(_) | Error::NotFound | Error::VisitInProgress { .. });
                if !fault && !understood {
                    let what = format!("{operation:?} on phone {slot}: {error:?}");
                    self.journal.open().find("taps_work", what);
                }
                name(error)
            }
        }
    }

    /// Writes down what is in the outbox now and was not before: a call that returned has promised it.
    fn stored(&mut self, slot: usize, before: &[simulation::PhoneChange]) {
        let phone = &self.phones[slot];
        let mut book = self.journal.open();
        for change in phone.changes() {
            if !before.iter().any(|known| known.seq == change.seq) {
                book.stored.insert((phone.number, change.seq.0), change.id);
            }
        }
    }

    fn visit(&mut self, slot: usize) -> Result<Done, Error> {
        let text = self.text();
        let lot = self.chance.below(100);
        let customer = self.some_customer(slot)?;
        let phone = &self.phones[slot];
        let visits = phone.client.visits()?;
        let day = phone.clock.now().date_naive();
        let did = |what: &str| Ok(Done::Did(what.to_owned()));
        if let Some(visit) = visits.in_progress()? {
            if lot < 60 {
                let notes = [visit.notes.unwrap_or_default(), text.clone()].join("\n");
                visits.write(visit.id, Some(notes), Some(text))?;
                return did("wrote");
            }
            visits.check_out(visit.id, if lot < 80 { Outcome::Order } else { Outcome::NoOrder }, None)?;
            return did("checked out");
        }
        let planned = visits.round(day)?.into_iter().find(|stop| stop.visit.state == VisitState::Planned);
        match (planned, customer) {
            (Some(stop), _) if lot < 30 => {
                visits.check_in(stop.visit.id, None)?;
                did("checked in as planned")
            }
            (Some(stop), _) if lot < 45 => {
                visits.miss(stop.visit.id, &text)?;
                did("missed")
            }
            (Some(stop), _) if lot < 55 => {
                visits.cancel(stop.visit.id, &text)?;
                did("cancelled")
            }
            (_, Some(customer)) if lot < 70 => {
                let near = Position { lat: 40.0, lon: -74.0, accuracy_m: Some(9.0), mocked: lot == 69 };
                visits.start(customer.id, Some(near))?;
                did("started")
            }
            (_, Some(customer)) => {
                visits.plan(customer.id, day, Some(1 + (lot % 9) as i64))?;
                did("planned")
            }
            _ => Ok(Done::Nothing),
        }
    }

    fn edit(&mut self, slot: usize) -> Result<Done, Error> {
        let (text, field, old) = (self.text(), self.chance.below(7), self.chance.percent(15));
        let Some(found) = self.some_customer(slot)? else { return Ok(Done::Nothing) };
        let phone = &mut self.phones[slot];
        // Now and then somebody saves what has stood on the screen for long.
        let seen = match phone.seen.take() {
            Some(seen) if old => seen,
            _ => found.clone(),
        };
        phone.seen = Some(found);
        let mut edited = seen.clone();
        match field {
            0 => edited.name.clone_from(&text),
            1 => edited.city = Some(text.clone()),
            2 => edited.brand = Some(text.clone()),
            3 => edited.address = Some(text.clone()),
            4 => edited.channel = Some(text.clone()),
            5 => edited.notes = Some([seen.notes.clone().unwrap_or_default(), text.clone()].join("\n")),
            _ => {
                edited.city = Some(text.clone());
                edited.brand = if old { None } else { Some(text.clone()) };
            }
        }
        phone.client.customers()?.save(&seen, &edited)?;
        Ok(Done::Did(format!("{} {field} {text}", seen.code)))
    }

    fn add(&mut self, slot: usize) -> Result<Done, Error> {
        let (text, lot) = (self.text(), self.chance.below(100));
        let anywhere = *self.chance.pick(&TERRITORIES).unwrap_or(&"A");
        let known = self.some_customer(slot)?;
        let phone = &self.phones[slot];
        let territory =
            known.as_ref().filter(|_| lot < 70).map_or(anywhere.to_owned(), |known| known.territory.clone());
        // A code that is taken is refused by the server, and a territory of others too.
        let code = match known {
            Some(known) if lot % 5 == 0 => known.code,
            _ => format!("N{text}"),
        };
        let customers = phone.client.customers()?;
        let added = customers.add(&customers.draft(&code, &text, &territory)?)?;
        Ok(Done::Did(format!("{} in {}", added.code, added.territory)))
    }

    /// A visit that was made by mistake goes; a customer too, which the server refuses a rep.
    fn remove(&mut self, slot: usize) -> Result<Done, Error> {
        let (lot, own) = (self.chance.below(100), self.chance.percent(90));
        if lot < 15 {
            let Some(customer) = self.some_customer(slot)? else { return Ok(Done::Nothing) };
            self.phones[slot].client.customers()?.remove(customer.id)?;
            return Ok(Done::Did(format!("customer {}", customer.code)));
        }
        if lot < 35 {
            return self.detach(slot, own);
        }
        let phone = &self.phones[slot];
        let mut visits = simulation::rows(&phone.client)?;
        visits.retain(|row| row.entity == Visit::DEF.name);
        if own {
            visits.retain(|row| row.fields.get("rep").and_then(Value::as_id) == Some(phone.rep.0));
        }
        let Some(visit) = self.chance.pick(&visits) else { return Ok(Done::Nothing) };
        phone.client.visits()?.remove(visit.id)?;
        Ok(Done::Did(format!("visit {}", visit.id)))
    }

    /// The rep looks after what was refused and what lost.
    fn outbox_work(&mut self, slot: usize) -> Result<Done, Error> {
        let (text, lot) = (self.text(), self.chance.below(100));
        let phone = &self.phones[slot];
        let outbox = phone.client.outbox()?;
        let mut refused = outbox.unsent()?;
        refused.retain(|change| matches!(change.status, Status::Rejected { .. }));
        if lot < 60
            && let Some(change) = self.chance.pick(&refused)
        {
            let key = (phone.number, change.seq.0);
            let removed = change.status == Status::Rejected { reason: RuleError::Removed };
            if removed && lot < 45 {
                let last = phone.changes().last().map_or(0, |last| last.seq.0);
                outbox.restore(change.seq)?;
                let mut made = phone.changes();
                made.retain(|made| made.seq.0 > last && made.record == change.record);
                if made.len() != 2 {
                    let what = format!("phone {slot} restores {}, and has made {made:?}", change.record);
                    self.journal.open().find("taps_work", what);
                }
            } else if lot < 30 {
                outbox.discard(change.seq)?;
                self.journal.open().discarded.insert(change.record);
            } else {
                outbox.resend(change.seq)?;
            }
            self.journal.open().dealt_with.insert(key);
            return Ok(Done::Did(format!("dealt with {}", change.seq)));
        }
        let conflicts = phone.client.conflicts()?;
        if let Some(open) = self.chance.pick(&conflicts.list()?) {
            let settled = match (lot % 3, &open.lost) {
                (0, Some(_)) => conflicts.take_lost(open.id),
                (1, _) => conflicts.write(open.id, Value::Text(text)),
                _ => conflicts.keep(open.id),
            };
            if let Some(lost) = open.lost.as_ref().filter(|_| settled.is_ok()) {
                let decided = (open.record, open.field.clone(), json(lost));
                self.journal.open().settled.insert(decided);
            }
            return settled.map(|()| Done::Did(format!("settled {} {}", open.field, lot % 3)));
        }
        Ok(Done::Nothing)
    }

    /// A customer on the phone; the first ones more often, so that people meet.
    pub(super) fn some_customer(&mut self, slot: usize) -> Result<Option<Customer>, Error> {
        let (few, lot) = (self.chance.percent(70), self.chance.below(1_000));
        let mut rows = simulation::rows(&self.phones[slot].client)?;
        rows.retain(|row| row.entity == Customer::DEF.name);
        rows.sort_by(|a, b| code(&a.fields).cmp(&code(&b.fields)).then(a.id.cmp(&b.id)));
        let end = if few { rows.len().min(4) } else { rows.len() };
        let Some(row) = rows.get(lot as usize % end.max(1)) else { return Ok(None) };
        // By the way that an app takes, so that it is recorded.
        self.phones[slot].client.customers()?.get(row.id)
    }

    /// A sync, and after it what was attached, as an app does it.
    pub(super) async fn sync(&mut self, slot: usize) -> String {
        let sends = self.chance.percent(60);
        let client = &self.phones[slot].client;
        let report = match client.sync(&()).await {
            Ok(report) => report,
            Err(error) => return name(error),
        };
        if !sends {
            return format!("{report:?}");
        }
        format!("{report:?}, {:?}", client.send_attachments(&()).await.map_err(name))
    }

    /// A push message wakes the app: one of this system's, or another. It tries again until its time is over.
    async fn push(&mut self, slot: usize) -> String {
        let messages =
            ["{\"poke\":\"sync\"}", "{\"poke\":\"check_in\"}", "{\"poke\":\"later\"}", "{\"news\":1}"];
        let message = *self.chance.pick(&messages).unwrap_or(&"");
        let woken = self.phones[slot].client.handle_push(message.as_bytes()).await;
        format!("{message} {:?}", woken.map_err(name))
    }
}

/// An error for the trace.
pub(super) fn name(error: Error) -> String {
    format!("{error:?}")
}

fn code(fields: &roundsman_model::Fields) -> Option<String> {
    fields.get("code").and_then(Value::as_text).map(str::to_owned)
}
