//! The platform's keystore, which may be slow hardware, signs once an hour for all that an open vault sends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]

use chrono::{DateTime, TimeDelta, Utc};
use roundsman_core::platform::{
    Clock, KeyAlias, KeyError, OsEntropy, PlatformKeys, SoftwareKeys, SystemClock,
};
use roundsman_core::{Client, Config};
use roundsman_tests::rig::{Rig, passcode, phone_config};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use zeroize::Zeroizing;

/// Keys in files that count what the device's own key signs.
struct CountingKeys {
    keys: SoftwareKeys,
    signed: AtomicU64,
}

impl CountingKeys {
    fn signed(&self) -> u64 {
        self.signed.load(Ordering::SeqCst)
    }
}

impl PlatformKeys for CountingKeys {
    fn create(&self, alias: KeyAlias) -> Result<(), KeyError> {
        self.keys.create(alias)
    }

    fn exists(&self, alias: KeyAlias) -> Result<bool, KeyError> {
        self.keys.exists(alias)
    }

    fn hmac(&self, alias: KeyAlias, data: &[u8]) -> Result<Zeroizing<[u8; 32]>, KeyError> {
        self.keys.hmac(alias, data)
    }

    fn public_key(&self, alias: KeyAlias) -> Result<[u8; 65], KeyError> {
        self.keys.public_key(alias)
    }

    fn sign(&self, alias: KeyAlias, message: &[u8]) -> Result<[u8; 64], KeyError> {
        self.signed.fetch_add(1, Ordering::SeqCst);
        self.keys.sign(alias, message)
    }

    fn delete(&self, alias: KeyAlias) -> Result<(), KeyError> {
        self.keys.delete(alias)
    }

    fn hardware(&self) -> bool {
        self.keys.hardware()
    }
}

/// The machine's clock, some minutes on.
#[derive(Default)]
struct Ahead(AtomicI64);

impl Clock for Ahead {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now() + TimeDelta::minutes(self.0.load(Ordering::SeqCst))
    }

    fn zone_min(&self) -> i32 {
        0
    }
}

/// An enrolled, open phone, with its keys and its clock.
async fn phone(rig: &Rig) -> (Client, Arc<CountingKeys>, Arc<Ahead>) {
    let folder = rig.disk.path().join("ana");
    let keys = Arc::new(CountingKeys {
        keys: SoftwareKeys::new(folder.join("keys"), Arc::new(OsEntropy)),
        signed: AtomicU64::new(0),
    });
    let clock = Arc::new(Ahead::default());
    let config = Config { keys: keys.clone(), clock: clock.clone(), ..phone_config(&folder, "ana") };
    let phone = Client::open(config).expect("the client opens");
    phone.enrol(&rig.ticket(rig.rep("ana")), &passcode()).await.expect("the phone is enrolled");
    phone.sync(&()).await.expect("the first sync");
    (phone, keys, clock)
}

#[tokio::test(flavor = "multi_thread")]
async fn many_syncs_cost_the_keystore_no_signature() {
    let rig = Rig::start().await;
    rig.import_stores(3);
    let (phone, keys, _) = phone(&rig).await;
    let before = keys.signed();
    for _ in 0..5 {
        let report = phone.sync(&()).await.expect("a sync");
        assert_eq!(report.requests, 1);
    }
    assert_eq!(keys.signed(), before);
    // What must be the device's own word is signed by its own key.
    phone.check_in().await.expect("a check-in");
    assert!(keys.signed() > before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_certified_after_its_hour_and_after_each_lock() {
    let rig = Rig::start().await;
    let (phone, keys, clock) = phone(&rig).await;
    let before = keys.signed();
    clock.0.store(51, Ordering::SeqCst);
    phone.sync(&()).await.expect("a sync");
    let hour = keys.signed();
    assert!(hour > before, "the key of an hour ago is not used on");
    phone.sync(&()).await.expect("a sync");
    assert_eq!(keys.signed(), hour);
    phone.lock();
    phone.unlock(&passcode()).expect("the vault opens");
    let opened = keys.signed();
    phone.sync(&()).await.expect("a sync");
    assert!(keys.signed() > opened, "a lock leaves no session key in memory");
}
