//! Customers: finding, reading, adding and changing them.

use crate::Error;
use crate::audit::AuditTrail;
use crate::platform::{Clock, Entropy};
use crate::store::{Made, Store};
use roundsman_model::customer::Customer;
use roundsman_model::{Entity, Fields, Value};
use std::sync::Arc;
use uuid::Uuid;

/// The field by which customers are listed.
const BY: &str = "name";

/// The customers on this device.
///
/// ```no_run
/// # fn show(client: &roundsman_core::Client) -> Result<(), roundsman_core::Error> {
/// let customers = client.customers()?;
/// for customer in customers.search("oak 沈", 20)? {
///     // show customer.name
/// }
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Customers {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    audit: Option<Arc<AuditTrail>>,
}

/// A customer's place in the list.
#[derive(Clone, PartialEq, Eq)]
pub struct CustomerKey {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: Uuid,
}

impl From<&Customer> for CustomerKey {
    fn from(customer: &Customer) -> Self {
        Self { name: customer.name.clone(), id: customer.id }
    }
}

impl Customers {
    /// The customers in this store. Every user of the device sees the same ones.
    pub fn new(store: Arc<Store>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { store, clock, entropy, audit: None }
    }

    /// The same, with each view and search recorded.
    pub(crate) fn audited(self, audit: Arc<AuditTrail>) -> Self {
        Self { audit: Some(audit), ..self }
    }

    /// At most `limit` customers that hold everything that was typed: beginnings of words in any order, single
    /// Chinese, Japanese or Korean characters, digits of a telephone number. Those whose name begins with it come
    /// first. When very many match, not all of them are weighed.
    ///
    /// # Errors
    /// The vault is not open, or the store is damaged.
    pub fn search(&self, typed: &str, limit: usize) -> Result<Vec<Customer>, Error> {
        let found = self.store.read(|records| Ok::<_, Error>(records.search(typed, BY, limit)?))?;
        if let Some(audit) = &self.audit {
            audit.searched();
        }
        Ok(found)
    }

    /// The customer with this id, if it is on this device.
    ///
    /// # Errors
    /// The vault is not open, or the store is damaged.
    pub fn get(&self, id: Uuid) -> Result<Option<Customer>, Error> {
        let found: Option<Customer> = self.store.read(|records| Ok::<_, Error>(records.get(id)?))?;
        if let (Some(audit), Some(_)) = (&self.audit, &found) {
            audit.viewed(Customer::DEF.name, id);
        }
        Ok(found)
    }

    /// The next `limit` customers by name, from the first or after one of them.
    ///
    /// # Errors
    /// The vault is not open, or the store is damaged.
    pub fn list(&self, after: Option<&CustomerKey>, limit: usize) -> Result<Vec<Customer>, Error> {
        let after = after.map(|key| (key.name.as_str(), key.id));
        self.store.read(|records| Ok(records.list(BY, after, limit)?))
    }

    /// How many customers there are.
    ///
    /// # Errors
    /// The vault is not open, or the store is damaged.
    pub fn count(&self) -> Result<u64, Error> {
        self.store.read(|records| Ok(records.count::<Customer>()?))
    }

    /// A customer with nothing but these three, to be filled in and given to [`add`](Self::add). Nothing is stored.
    ///
    /// # Errors
    /// One of the three is not what its field allows.
    pub fn draft(&self, code: &str, name: &str, territory: &str) -> Result<Customer, Error> {
        let fields = [("code", code), ("name", name), ("territory", territory)];
        let fields = fields.map(|(field, text)| (field.to_owned(), Value::from(text)));
        Ok(Customer::from_fields(Uuid::nil(), &Customer::DEF.admit(Fields::from(fields))?)?)
    }

    /// Adds a customer under a new id, whatever id it has; it and its entry in the outbox are on disk when this
    /// returns.
    ///
    /// # Errors
    /// A field is not valid; the vault is not open; the disk is full. Nothing was stored then.
    pub fn add(&self, customer: &Customer) -> Result<Customer, Error> {
        let made = Made::now(&*self.clock, &*self.entropy)?;
        let id = self.entropy.uuid(made.at)?;
        self.store.write(|edits| edits.put(id, customer.to_fields(), &made))
    }

    /// Removes a customer from here, and with the next sync from everywhere; its visits stay. If the server refuses that,
    /// because the user's role does not allow it, the customer comes back with the reason. The removal is on disk when
    /// this returns.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the customer is not on this device; the vault is not open; the disk is full.
    pub fn remove(&self, customer: Uuid) -> Result<(), Error> {
        let made = Made::now(&*self.clock, &*self.entropy)?;
        self.store
            .write(|edits| Ok(edits.take_away::<Customer>(customer, &made)?))
            .and_then(|found: bool| found.then_some(()).ok_or(Error::NotFound))
    }

    /// Stores the fields in which `edited` differs from `seen`, the customer as it was on the screen; if there are
    /// none, nothing is recorded. What others changed meanwhile in other fields stays, and in the same field it
    /// becomes a conflict that keeps both values. The change and its entry in the outbox are on disk when this
    /// returns.
    ///
    /// # Errors
    /// There is no such customer; a field is not valid or can't be changed; the vault is not open; the disk is full.
    /// Nothing was stored then.
    pub fn save(&self, seen: &Customer, edited: &Customer) -> Result<Customer, Error> {
        let made = Made::now(&*self.clock, &*self.entropy)?;
        let (before, after) = (seen.to_fields(), edited.to_fields());
        let change = Customer::DEF
            .fields
            .iter()
            .filter(|field| before.get(field.name) != after.get(field.name))
            .map(|field| (field.name.to_owned(), after.get(field.name).cloned().unwrap_or(Value::Null)))
            .collect();
        self.store.write(|edits| {
            edits.get::<Customer>(edited.id)?.ok_or(Error::NotFound)?;
            edits.put_over(edited.id, Some(&before), change, &made)
        })
    }
}
