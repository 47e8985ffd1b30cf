//! Visits: the round of a day, and what the rep does at each stop.

use crate::Error;
use crate::audit::AuditTrail;
use crate::platform::{Clock, Entropy};
use crate::store::{Edits, Made, Order, Records, Select, Store, StoreError};
use chrono::NaiveDate;
use roundsman_model::customer::Customer;
use roundsman_model::geo::Position;
use roundsman_model::visit::{Moment, Outcome, State, Step, Visit, step};
use roundsman_model::{Entity, FieldType, Fields, RuleError, UserId, Value};
use std::sync::Arc;
use uuid::Uuid;

/// The least exact position that is kept as such, in metres; the model allows no more.
const MAX_ACCURACY_M: f64 = 1_000_000.0;

/// The visits on this device.
///
/// ```no_run
/// # use roundsman_core::{Client, Error, model::visit::Outcome};
/// # fn visit(client: &Client, store: uuid::Uuid) -> Result<(), Error> {
/// let visits = client.visits()?;
/// let visit = visits.start(store, None)?;
/// visits.write(visit.id, Some("shelf is empty".into()), Some("bring samples".into()))?;
/// visits.check_out(visit.id, Outcome::Order, None)?;
/// # Ok(()) }
/// ```
///
/// What a call has written is on disk, with its entry in the outbox, when it returns; if it fails, nothing was
/// written.
#[derive(Clone)]
pub struct Visits {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    user: UserId,
    audit: Option<Arc<AuditTrail>>,
}

/// A stop of the round.
#[derive(Clone, Debug, PartialEq)]
pub struct Stop {
    /// The visit.
    pub visit: Visit,
    /// Whom it is made to.
    pub customer: Customer,
}

impl Visits {
    /// The visits in this store, made by this user.
    pub fn new(store: Arc<Store>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>, user: UserId) -> Self {
        Self { store, clock, entropy, user, audit: None }
    }

    /// The same, with each view recorded.
    pub(crate) fn audited(self, audit: Arc<AuditTrail>) -> Self {
        Self { audit: Some(audit), ..self }
    }

    /// The rep's own visits of a day: planned ones in the order of their stops, then the others as they were begun.
    /// A visit whose customer has left this device is not among them.
    ///
    /// # Errors
    /// The vault is not open, or the store is damaged.
    pub fn round(&self, day: NaiveDate) -> Result<Vec<Stop>, Error> {
        self.store.read(|records| {
            let visits = records.select::<Visit>(&Select {
                of: &[("day", day.to_value()), ("rep", self.user.0.to_value())],
                by: &[("stop", Order::Up), ("started_at", Order::Up)],
                limit: None,
            })?;
            let mut stops = Vec::with_capacity(visits.len());
            for visit in visits {
                if let Some(customer) = records.get(visit.customer)? {
                    stops.push(Stop { visit, customer });
                }
            }
            Ok(stops)
        })
    }

    /// The visit with this id, if it is on this device.
    ///
    /// # Errors
    /// The vault is not open, or the store is damaged.
    pub fn get(&self, visit: Uuid) -> Result<Option<Visit>, Error> {
        let found: Option<Visit> = self.store.read(|records| Ok::<_, Error>(records.get(visit)?))?;
        if let (Some(audit), Some(_)) = (&self.audit, &found) {
            audit.viewed(Visit::DEF.name, visit);
        }
        Ok(found)
    }

    /// At most `limit` visits to a customer, by whomever, newest first.
    ///
    /// # Errors
    /// The vault is not open, or the store is damaged.
    pub fn of_customer(&self, customer: Uuid, limit: usize) -> Result<Vec<Visit>, Error> {
        let select = Select {
            of: &[("customer", customer.to_value())],
            by: &[("day", Order::Down), ("started_at", Order::Down)],
            limit: Some(limit),
        };
        self.store.read(|records| Ok(records.select(&select)?))
    }

    /// The visit that the rep has checked in to and not checked out of.
    ///
    /// # Errors
    /// The vault is not open, or the store is damaged.
    pub fn in_progress(&self) -> Result<Option<Visit>, Error> {
        self.store.read(|records| Ok(in_progress(records, self.user)?))
    }

    /// Puts a customer on the rep's round of a day, at this stop or at none in particular.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the customer is not on this device; the stop is not from 1 to 10,000; the vault is
    /// not open; the disk is full.
    pub fn plan(&self, customer: Uuid, day: NaiveDate, stop: Option<i64>) -> Result<Visit, Error> {
        self.make(customer, |_, _| {
            Ok(Fields::from([
                ("state".to_owned(), State::Planned.to_value()),
                ("day".to_owned(), day.to_value()),
                ("stop".to_owned(), stop.to_value()),
            ]))
        })
    }

    /// Checks in to a visit that was not planned.
    ///
    /// # Errors
    /// [`Error::VisitInProgress`] if there is one; [`Error::NotFound`] if the customer is not on this device; the
    /// vault is not open; the disk is full.
    pub fn start(&self, customer: Uuid, position: Option<Position>) -> Result<Visit, Error> {
        let now = self.moment();
        self.make(customer, |edits, customer| {
            self.free(edits)?;
            let mut fields =
                step(State::Planned, Step::CheckIn { now, position: sound(position), customer })?;
            fields.insert("day".to_owned(), now.day().to_value());
            Ok(fields)
        })
    }

    /// Checks in to a planned visit. Where the rep is never stops it: a position away from the store, or none, is
    /// kept and flagged.
    ///
    /// # Errors
    /// [`Error::VisitInProgress`] if there is another; [`Error::NotFound`] if the visit or its customer is not on
    /// this device; the visit is not planned, or somebody else's; the vault is not open; the disk is full.
    pub fn check_in(&self, visit: Uuid, position: Option<Position>) -> Result<Visit, Error> {
        self.take(visit, |edits, visit| {
            self.free(edits)?;
            let customer = edits.get(visit.customer)?.ok_or(Error::NotFound)?;
            Ok(step(
                visit.state,
                Step::CheckIn { now: self.moment(), position: sound(position), customer: &customer },
            )?)
        })
    }

    /// Replaces what is written about a visit: everything noted so far, and what is to be done next.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the visit is not on this device; it is not begun, or somebody else's; a text is too
    /// long; the vault is not open; the disk is full.
    pub fn write(
        &self,
        visit: Uuid,
        notes: Option<String>,
        next_step: Option<String>,
    ) -> Result<Visit, Error> {
        self.take(visit, |_, visit| Ok(step(visit.state, Step::Write { notes, next_step })?))
    }

    /// Checks out of the visit.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the visit is not on this device; it is not in progress, or somebody else's; it was
    /// left early without a reason; the vault is not open; the disk is full.
    pub fn check_out(&self, visit: Uuid, outcome: Outcome, reason: Option<String>) -> Result<Visit, Error> {
        self.take(visit, |_, visit| {
            let mut now = self.moment();
            // The phone's clock may have been set back during the visit; that must not keep the rep in it.
            now.at = visit.started_at.map_or(now.at, |started| now.at.max(started));
            Ok(step(visit.state, Step::CheckOut { now, outcome, reason })?)
        })
    }

    /// Says that a planned visit is not made, and why.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the visit is not on this device; it is not planned, or somebody else's; there is no
    /// reason; the vault is not open; the disk is full.
    pub fn miss(&self, visit: Uuid, reason: &str) -> Result<Visit, Error> {
        self.take(visit, |_, visit| Ok(step(visit.state, Step::Miss { reason: reason.to_owned() })?))
    }

    /// Calls a planned visit off, and says why.
    ///
    /// # Errors
    /// As [`miss`](Self::miss).
    pub fn cancel(&self, visit: Uuid, reason: &str) -> Result<Visit, Error> {
        self.take(visit, |_, visit| Ok(step(visit.state, Step::Cancel { reason: reason.to_owned() })?))
    }

    /// Removes a visit of the rep that was made by mistake, from here and with the next sync from everywhere. That is on
    /// disk when this returns.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the visit is not on this device; it is somebody else's; the vault is not open; the disk is
    /// full.
    pub fn remove(&self, visit: Uuid) -> Result<(), Error> {
        let made = Made::now(&*self.clock, &*self.entropy)?;
        self.store.write(|edits| {
            let visit: Visit = edits.get(visit)?.ok_or(Error::NotFound)?;
            if visit.rep != self.user.0 {
                return Err(RuleError::NotAllowed.into());
            }
            edits.take_away::<Visit>(visit.id, &made)?;
            Ok(())
        })
    }

    /// Makes a visit of the rep to a customer, with these fields besides.
    fn make(
        &self,
        customer: Uuid,
        fields: impl FnOnce(&Edits<'_>, &Customer) -> Result<Fields, Error>,
    ) -> Result<Visit, Error> {
        let made = Made::now(&*self.clock, &*self.entropy)?;
        let id = self.entropy.uuid(made.at)?;
        self.store.write(|edits| {
            let customer: Customer = edits.get(customer)?.ok_or(Error::NotFound)?;
            let mut fields = fields(edits, &customer)?;
            fields.insert("customer".to_owned(), customer.id.to_value());
            fields.insert("rep".to_owned(), self.user.0.to_value());
            fields.insert("territory".to_owned(), Value::Text(customer.territory));
            edits.put(id, fields, &made)
        })
    }

    /// Takes a step in a visit of the rep.
    fn take(
        &self,
        visit: Uuid,
        change: impl FnOnce(&Edits<'_>, &Visit) -> Result<Fields, Error>,
    ) -> Result<Visit, Error> {
        let made = Made::now(&*self.clock, &*self.entropy)?;
        self.store.write(|edits| {
            let visit: Visit = edits.get(visit)?.ok_or(Error::NotFound)?;
            if visit.rep != self.user.0 {
                return Err(RuleError::NotAllowed.into());
            }
            let change = change(edits, &visit)?;
            edits.put(visit.id, change, &made)
        })
    }

    /// Nothing is in progress.
    fn free(&self, records: &Records<'_>) -> Result<(), Error> {
        match in_progress(records, self.user)? {
            Some(visit) => Err(Error::VisitInProgress { visit: visit.id }),
            None => Ok(()),
        }
    }

    fn moment(&self) -> Moment {
        Moment { at: self.clock.now(), zone_min: self.clock.zone_min() }
    }
}

fn in_progress(records: &Records<'_>, user: UserId) -> Result<Option<Visit>, StoreError> {
    let select = Select {
        of: &[("state", State::CheckedIn.to_value()), ("rep", user.0.to_value())],
        by: &[("started_at", Order::Up)],
        limit: Some(1),
    };
    Ok(records.select(&select)?.pop())
}

/// A position that can be kept. One that is none at all, as a receiver without a fix may give it, counts as none:
/// it must not keep the rep from checking in.
fn sound(position: Option<Position>) -> Option<Position> {
    let position = position?;
    let on_earth = position.lat.abs() <= 90.0 && position.lon.abs() <= 180.0;
    let accuracy_m = position.accuracy_m.filter(|metres| (0.0..=MAX_ACCURACY_M).contains(metres));
    on_earth.then_some(Position { accuracy_m, ..position })
}
