//! Customers, rounds, visits and collisions.

use super::{Admin, AdminError, CustomerView, VisitView, actor_name, allow, record};
use crate::app::buckets;
use crate::records::{change, load, store, text};
use crate::storage::{ReadTx, StorageError, StoredRecord};
use chrono::NaiveDate;
use roundsman_model::customer::Customer;
use roundsman_model::merge::Edit;
use roundsman_model::search;
use roundsman_model::visit::{State, Visit};
use roundsman_model::{Entity, FieldType, Fields, Rev, Role, Stamp, UserId, Value};
use std::collections::BTreeSet;
use uuid::Uuid;

impl Admin {
    /// Plans visits of one rep on one day, in the order given, and returns their ids. They reach the rep's devices
    /// with the next sync.
    ///
    /// # Errors
    /// [`AdminError::NotFound`] if there is no such rep, [`AdminError::RoundInvalid`] if a customer is named twice
    /// or lies in no territory of the rep.
    pub fn plan_round(
        &self,
        actor: UserId,
        rep: UserId,
        day: NaiveDate,
        customers: &[Uuid],
    ) -> Result<Vec<Uuid>, AdminError> {
        if customers.is_empty() || customers.iter().collect::<BTreeSet<_>>().len() != customers.len() {
            return Err(AdminError::RoundInvalid);
        }
        let now = self.app.now();
        let mut tx = self.app.storage.write()?;
        allow(tx.as_ref(), actor)?;
        let user = tx.user(rep)?.filter(|user| user.role == Role::Rep).ok_or(AdminError::NotFound)?;
        let theirs = buckets(user.id, &user.territories);
        let mut ids = Vec::with_capacity(customers.len());
        for (stop, customer) in (1..).zip(customers) {
            let customer = load(tx.as_ref(), Customer::DEF, *customer)?
                .filter(|customer| theirs.contains(&customer.bucket))
                .ok_or(AdminError::RoundInvalid)?;
            let fields: Fields = [
                ("customer", Value::Id(customer.id)),
                ("rep", Value::Id(rep.0)),
                ("territory", customer.fields.get("territory").cloned().unwrap_or(Value::Null)),
                ("state", State::Planned.to_value()),
                ("day", day.to_value()),
                ("stop", Value::Int(stop)),
            ]
            .map(|(name, value)| (name.to_owned(), value))
            .into();
            let edit =
                Edit { fields: &fields, was: &Fields::new(), base: Rev(0), stamp: Stamp(0), device: None };
            let visit = change(Visit::DEF, None, crate::random::uuid(), edit)
                .map_err(|_| AdminError::RoundInvalid)?;
            store(tx.as_mut(), Visit::DEF, None, &visit, None)?;
            ids.push(visit.record.id);
        }
        record(tx.as_mut(), actor, "plan_round", rep, now)?;
        tx.commit()?;
        Ok(ids)
    }

    /// Customers by name, those that match `query` if it is not blank; at most `limit` after the one named. Found as
    /// people type: any word's beginning in any order, or one Chinese, Japanese or Korean character.
    ///
    /// # Errors
    /// [`AdminError::Storage`].
    pub fn customers(
        &self,
        query: &str,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<CustomerView>, AdminError> {
        let expression = search::query(query);
        if expression.is_none() && !query.trim().is_empty() {
            return Ok(vec![]);
        }
        let found = self.app.storage.read()?.customers(expression.as_deref(), after, limit)?;
        Ok(found.into_iter().map(customer_view).collect::<Result<_, _>>()?)
    }

    /// One customer.
    ///
    /// # Errors
    /// [`AdminError::Storage`].
    pub fn customer(&self, id: Uuid) -> Result<Option<CustomerView>, AdminError> {
        let found = load(self.app.storage.read()?.as_ref(), Customer::DEF, id)?;
        Ok(found.map(customer_view).transpose()?)
    }

    /// How many customers there are.
    ///
    /// # Errors
    /// [`AdminError::Storage`].
    pub fn customer_count(&self) -> Result<u64, AdminError> {
        Ok(self.app.storage.read()?.record_count(Customer::DEF.name)?)
    }

    /// The visits that began last, the latest first.
    ///
    /// # Errors
    /// [`AdminError::Storage`].
    pub fn recent_visits(&self, limit: usize) -> Result<Vec<VisitView>, AdminError> {
        let tx = self.app.storage.read()?;
        tx.recent_visits(limit)?.into_iter().map(|visit| visit_view(tx.as_ref(), visit)).collect()
    }

    /// The visits of one day's rounds, by rep and stop.
    ///
    /// # Errors
    /// [`AdminError::Storage`].
    pub fn visits_on(&self, day: NaiveDate) -> Result<Vec<VisitView>, AdminError> {
        let tx = self.app.storage.read()?;
        tx.visits_on(day)?.into_iter().map(|visit| visit_view(tx.as_ref(), visit)).collect()
    }
}

pub(super) fn customer_view(record: StoredRecord) -> Result<CustomerView, StorageError> {
    let damaged = |_| StorageError::Damaged("customer");
    let fields = Customer::DEF.admit(record.fields).map_err(damaged)?;
    let customer = Customer::from_fields(record.id, &fields).map_err(damaged)?;
    Ok(CustomerView {
        id: customer.id,
        code: customer.code,
        name: customer.name,
        brand: customer.brand,
        channel: customer.channel,
        address: customer.address,
        city: customer.city,
        region: customer.region,
        postcode: customer.postcode,
        country: customer.country,
        phone: customer.phone,
        lat: customer.lat,
        lon: customer.lon,
        territory: customer.territory,
        notes: customer.notes,
        tags: customer.tags,
        samples: customer.samples,
    })
}

pub(super) fn customer_name(tx: &dyn ReadTx, id: Option<Uuid>) -> Result<String, AdminError> {
    let Some(id) = id else { return Ok(String::new()) };
    let customer = tx.record(Customer::DEF.name, id)?;
    Ok(customer.and_then(|customer| text(&customer.fields, "name")).unwrap_or_default())
}

fn visit_view(tx: &dyn ReadTx, record: StoredRecord) -> Result<VisitView, AdminError> {
    let damaged = |_| StorageError::Damaged("visit");
    let fields = Visit::DEF.admit(record.fields).map_err(damaged)?;
    let visit = Visit::from_fields(record.id, &fields).map_err(damaged)?;
    Ok(VisitView {
        id: visit.id,
        customer: visit.customer,
        customer_name: customer_name(tx, Some(visit.customer))?,
        rep: UserId(visit.rep),
        rep_name: actor_name(tx, UserId(visit.rep))?,
        state: visit.state,
        day: visit.day,
        stop: visit.stop,
        started_at: visit.started_at,
        ended_at: visit.ended_at,
        outcome: visit.outcome,
        verdict: visit.verdict,
        distance_m: visit.distance_m,
        reason: visit.reason,
        notes: visit.notes,
        next_step: visit.next_step,
        attachments: tx.attachments_of(visit.id)?.len(),
    })
}
