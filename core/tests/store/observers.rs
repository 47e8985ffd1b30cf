//! Observers are told what changed, after it is committed, and can't do harm.

use crate::kit::{Phone, customer, gone, id};
use roundsman_core::customers::Customers;
use roundsman_core::store::{Changed, Observer};
use std::sync::{Arc, Mutex};
use uuid::Uuid;

#[derive(Default)]
struct Log {
    changed: Mutex<Vec<Changed>>,
    unsent: Mutex<Vec<u64>>,
}

impl Observer for Log {
    fn changed(&self, changed: &Changed) {
        self.changed.lock().unwrap().push(changed.clone());
    }

    fn outbox(&self, unsent: u64) {
        self.unsent.lock().unwrap().push(unsent);
    }
}

#[test]
fn one_transaction_is_told_once() {
    let phone = Phone::new();
    let log = Arc::new(Log::default());
    let subscription = phone.store.observe(log.clone());
    phone.pull(vec![customer(1, 1, "A", &[]), customer(2, 1, "B", &[]), customer(1, 2, "C", &[])]);
    phone.pull(vec![customer(1, 2, "C", &[])]);
    phone.rename(id(1), "Mine");
    phone.pull(vec![gone(2, 3)]);
    drop(subscription);
    phone.rename(id(1), "Unheard");
    let told: Vec<Vec<Uuid>> =
        log.changed.lock().unwrap().iter().map(|changed| changed.ids.clone()).collect();
    assert_eq!(told, [vec![id(1), id(2)], vec![id(1)], vec![id(2)]]);
    assert!(log.changed.lock().unwrap().iter().all(|changed| changed.entity == "customer"));
    assert_eq!(*log.unsent.lock().unwrap(), [1]);
}

/// Reads, writes and then panics on the first change.
struct Meddler {
    customers: Customers,
    seen: Mutex<Vec<String>>,
}

impl Observer for Meddler {
    fn changed(&self, changed: &Changed) {
        let stored = self.customers.get(changed.ids[0]).unwrap().unwrap();
        let mut customer = stored.clone();
        self.seen.lock().unwrap().push(customer.name.clone());
        if customer.brand.is_none() {
            customer.brand = Some("seen".to_owned());
            self.customers.save(&stored, &customer).unwrap();
        }
        panic!("an observer panics");
    }
}

#[test]
fn an_observer_may_call_back_and_even_panic() {
    let phone = Phone::new();
    let meddler = Arc::new(Meddler { customers: phone.customers.clone(), seen: Mutex::default() });
    let log = Arc::new(Log::default());
    let _meddling = phone.store.observe(meddler.clone());
    let _logging = phone.store.observe(log.clone());
    phone.pull(vec![customer(1, 1, "Corner", &[])]);
    assert_eq!(*meddler.seen.lock().unwrap(), ["Corner", "Corner"], "the change was committed and visible");
    assert_eq!(log.changed.lock().unwrap().len(), 2);
    phone.rename(id(1), "Still works");
    assert_eq!(phone.name(id(1)).as_deref(), Some("Still works"));
}
