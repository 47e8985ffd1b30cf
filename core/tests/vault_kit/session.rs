//! The app at work: a phone with its store and its sealed outbox.

use super::{App, Office, Phone};
use roundsman_core::Error;
use roundsman_core::customers::Customers;
use roundsman_core::model::{Rev, RuleError};
use roundsman_core::outbox::Outbox;
use roundsman_core::platform::{Disk, OsEntropy, PlatformKeys, RealDisk};
use roundsman_core::protocol::sync::{MutationResult, Outcome};
use roundsman_core::store::Store;
use std::collections::BTreeSet;
use std::fs;
use std::sync::{Arc, LazyLock};
use uuid::Uuid;

/// A phone with an empty store, its share in escrow.
pub(crate) static TEMPLATE: LazyLock<(Phone, Office)> = LazyLock::new(|| {
    let mut office = Office::new();
    let phone = Phone::enrolled(&mut office);
    phone.start().unwrap().make_store(&office).close();
    (phone, office)
});

/// The app with its store open. Without a close it is left as by a kill.
pub(crate) struct Session {
    pub(crate) app: App,
    pub(crate) store: Arc<Store>,
    pub(crate) customers: Customers,
    pub(crate) outbox: Outbox,
}

impl Session {
    pub(crate) fn open(phone: &Phone, office: &Office) -> Self {
        let app = phone.start().unwrap();
        let store = Arc::new(app.open_store(office).unwrap());
        let (clock, entropy) = (phone.clock.clone(), Arc::new(OsEntropy));
        Self {
            customers: Customers::new(store.clone(), clock.clone(), entropy.clone()),
            outbox: Outbox::new(store.clone(), clock, entropy),
            store,
            app,
        }
    }

    pub(crate) fn add(&self) -> Result<(), Error> {
        let draft = self.customers.draft("C1", "Corner", "nj")?;
        self.customers.add(&draft).map(drop)
    }

    pub(crate) fn unsent(&self) -> BTreeSet<Uuid> {
        // The refused ones are not pending, but sealed like the others.
        let refused = self.outbox.unsent().unwrap().len();
        let pending = self.store.pending(1_000).unwrap();
        assert!(pending.len() <= refused);
        pending.into_iter().map(|mutation| mutation.id).collect()
    }

    pub(crate) fn settle(&self, number: usize, reject: bool) -> Option<Uuid> {
        let pending = self.store.pending(1_000).unwrap();
        let mutation = pending.get(number % pending.len().max(1))?;
        let outcome = if reject {
            Outcome::Rejected { reason: RuleError::NotAllowed }
        } else {
            Outcome::Applied { rev: Rev(1), conflicts: vec![] }
        };
        self.store.settle(&[MutationResult { seq: mutation.seq, outcome }]).unwrap();
        (!reject).then_some(mutation.id)
    }

    pub(crate) fn close(self, phone: &Phone) {
        self.store.close();
        self.app.vault.note_commit(self.store.commit_number()).unwrap();
        assert_eq!(phone.keys.mark().unwrap().unwrap().len(), 33);
    }
}

/// What is in the segments on the phone, as the rescue key opens it.
pub(crate) fn sealed(phone: &Phone) -> BTreeSet<Uuid> {
    let files = RealDisk.list(&phone.file("outbox")).unwrap();
    files.iter().flat_map(|file| Office::opened(&fs::read(file).unwrap())).collect()
}
