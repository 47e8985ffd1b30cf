//! The visits.

use crate::worker::local;
use crate::{Day, RoundsmanError};
use roundsman_core::Client;
use roundsman_core::model::customer::Customer;
use roundsman_core::model::geo::Position;
use roundsman_core::model::visit::{Outcome, Visit};
use uuid::Uuid;

/// One stop of a round: a visit with its customer.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Stop {
    /// The visit.
    pub visit: Visit,
    /// Its customer.
    pub customer: Customer,
}

/// The rep's visits.
#[derive(uniffi::Object)]
pub struct Visits {
    pub(crate) client: Client,
}

#[uniffi::export]
impl Visits {
    /// The user's own visits of a day, in the order of the stops, then of their beginning.
    pub async fn round(&self, day: Day) -> Result<Vec<Stop>, RoundsmanError> {
        let client = self.client.clone();
        let stops = local(move || client.visits()?.round(day)).await?;
        Ok(stops.into_iter().map(|stop| Stop { visit: stop.visit, customer: stop.customer }).collect())
    }

    /// The visit with this id.
    pub async fn get(&self, id: Uuid) -> Result<Option<Visit>, RoundsmanError> {
        let client = self.client.clone();
        local(move || client.visits()?.get(id)).await
    }

    /// The visits of a customer, the newest first, at most `limit`.
    pub async fn of_customer(&self, customer: Uuid, limit: u32) -> Result<Vec<Visit>, RoundsmanError> {
        let client = self.client.clone();
        local(move || client.visits()?.of_customer(customer, limit as usize)).await
    }

    /// The visit that is in progress, if there is one.
    pub async fn in_progress(&self) -> Result<Option<Visit>, RoundsmanError> {
        let client = self.client.clone();
        local(move || client.visits()?.in_progress()).await
    }

    /// Plans a visit on a day, at a place of the round if one is given.
    ///
    /// # Errors
    /// `Rule`, `NotFound`.
    #[uniffi::method(default(stop = None))]
    pub async fn plan(&self, customer: Uuid, day: Day, stop: Option<i64>) -> Result<Visit, RoundsmanError> {
        let client = self.client.clone();
        local(move || client.visits()?.plan(customer, day, stop)).await
    }

    /// Checks in at a customer without a plan.
    ///
    /// # Errors
    /// `VisitInProgress`, `NotFound`.
    #[uniffi::method(default(position = None))]
    pub async fn start(&self, customer: Uuid, position: Option<Position>) -> Result<Visit, RoundsmanError> {
        let client = self.client.clone();
        local(move || client.visits()?.start(customer, position)).await
    }

    /// Checks in at a planned visit.
    ///
    /// # Errors
    /// `VisitInProgress`, `Rule`, `NotFound`.
    #[uniffi::method(default(position = None))]
    pub async fn check_in(&self, visit: Uuid, position: Option<Position>) -> Result<Visit, RoundsmanError> {
        let client = self.client.clone();
        local(move || client.visits()?.check_in(visit, position)).await
    }

    /// Writes down what was seen and what is to be done next; nothing leaves a text as it is.
    ///
    /// # Errors
    /// `Rule`, `NotFound`.
    #[uniffi::method(default(notes = None, next_step = None))]
    pub async fn write(
        &self,
        visit: Uuid,
        notes: Option<String>,
        next_step: Option<String>,
    ) -> Result<Visit, RoundsmanError> {
        let client = self.client.clone();
        local(move || client.visits()?.write(visit, notes, next_step)).await
    }

    /// Checks out. `Outcome.Left` needs a reason.
    ///
    /// # Errors
    /// `Rule`, `NotFound`.
    #[uniffi::method(default(reason = None))]
    pub async fn check_out(
        &self,
        visit: Uuid,
        outcome: Outcome,
        reason: Option<String>,
    ) -> Result<Visit, RoundsmanError> {
        let client = self.client.clone();
        local(move || client.visits()?.check_out(visit, outcome, reason)).await
    }

    /// Records that a planned visit was not made, and why.
    ///
    /// # Errors
    /// `Rule`, `NotFound`.
    pub async fn miss(&self, visit: Uuid, reason: String) -> Result<Visit, RoundsmanError> {
        let client = self.client.clone();
        local(move || client.visits()?.miss(visit, &reason)).await
    }

    /// Calls a planned visit off, and why.
    ///
    /// # Errors
    /// `Rule`, `NotFound`.
    pub async fn cancel(&self, visit: Uuid, reason: String) -> Result<Visit, RoundsmanError> {
        let client = self.client.clone();
        local(move || client.visits()?.cancel(visit, &reason)).await
    }

    /// Removes a visit, which only those may who may remove it at the server too: it refuses the others.
    ///
    /// # Errors
    /// `Rule`, `NotFound`.
    pub async fn remove(&self, visit: Uuid) -> Result<(), RoundsmanError> {
        let client = self.client.clone();
        local(move || client.visits()?.remove(visit)).await
    }
}
