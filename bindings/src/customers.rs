//! The customers.

use crate::RoundsmanError;
use crate::worker::local;
use roundsman_core::Client;
use roundsman_core::model::customer::Customer;
use uuid::Uuid;

/// The customers of the user's territories.
#[derive(uniffi::Object)]
pub struct Customers {
    pub(crate) client: Client,
}

#[uniffi::export]
impl Customers {
    /// Finds customers by the beginnings of words in any order, by single Chinese, Japanese or Korean characters, or
    /// by digits of the telephone in any format; at most `limit`.
    pub async fn search(&self, text: String, limit: u32) -> Result<Vec<Customer>, RoundsmanError> {
        let client = self.client.clone();
        local(move || client.customers()?.search(&text, limit as usize)).await
    }

    /// The customer with this id.
    pub async fn get(&self, id: Uuid) -> Result<Option<Customer>, RoundsmanError> {
        let client = self.client.clone();
        local(move || client.customers()?.get(id)).await
    }

    /// Customers by name, at most `limit` after the one given: pass the last one of a page to get the next page.
    #[uniffi::method(default(after = None))]
    pub async fn list(&self, after: Option<Customer>, limit: u32) -> Result<Vec<Customer>, RoundsmanError> {
        let client = self.client.clone();
        local(move || client.customers()?.list(after.as_ref().map(Into::into).as_ref(), limit as usize)).await
    }

    /// How many there are.
    pub async fn count(&self) -> Result<u64, RoundsmanError> {
        let client = self.client.clone();
        local(move || client.customers()?.count()).await
    }

    /// A customer with nothing but these three, to be filled in and given to `add`. Nothing is stored.
    ///
    /// # Errors
    /// `Rule`.
    pub async fn draft(
        &self,
        code: String,
        name: String,
        territory: String,
    ) -> Result<Customer, RoundsmanError> {
        let client = self.client.clone();
        local(move || client.customers()?.draft(&code, &name, &territory)).await
    }

    /// Adds a customer under a new id, whatever id it has.
    ///
    /// # Errors
    /// `Rule`.
    pub async fn add(&self, customer: Customer) -> Result<Customer, RoundsmanError> {
        let client = self.client.clone();
        local(move || client.customers()?.add(&customer)).await
    }

    /// Saves the fields in which `edited` differs from `seen`, the customer as it was on the screen. No change is no
    /// work, and nothing to send. What others changed meanwhile stays, or becomes a conflict that keeps both values.
    ///
    /// # Errors
    /// `Rule`, `NotFound`.
    pub async fn save(&self, seen: Customer, edited: Customer) -> Result<Customer, RoundsmanError> {
        let client = self.client.clone();
        local(move || client.customers()?.save(&seen, &edited)).await
    }

    /// Removes a customer from here, and with the next sync from everywhere; its visits stay. If the server refuses
    /// that, the customer comes back with the reason in the outbox.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn remove(&self, customer: Uuid) -> Result<(), RoundsmanError> {
        let client = self.client.clone();
        local(move || client.customers()?.remove(customer)).await
    }
}
