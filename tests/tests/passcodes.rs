//! Passcodes through the face of the client: rules, age, history, biometrics, and a new key under a day's work.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]

use chrono::{DateTime, TimeDelta, Utc};
use roundsman_core::platform::{Clock, SystemClock};
use roundsman_core::vault::{BiometricsError, Passcode, PasscodeDue, PasscodeError, VaultError};
use roundsman_core::{Client, Config, Error, State};
use roundsman_protocol::lease::Lease;
use roundsman_server::admin::LeaseTerms;
use roundsman_tests::rig::{PASSCODE, Rig, passcode, phone_config};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// The system's clock, some days later.
#[derive(Default)]
struct Later(AtomicI64);

impl Later {
    fn days(&self, days: i64) {
        self.0.store(days, Ordering::Relaxed);
    }
}

impl Clock for Later {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now() + TimeDelta::days(self.0.load(Ordering::Relaxed))
    }

    fn zone_min(&self) -> i32 {
        0
    }
}

/// An enrolled phone, open and synced, whose clock can be moved by months: its lease lasts a year.
async fn phone(rig: &Rig, name: &str) -> (Client, Arc<Later>) {
    let year_s = 365 * Lease::DAY_S;
    let terms = LeaseTerms { warn_after_s: year_s, lock_after_s: year_s, wipe_after_s: None };
    rig.admin.set_lease_terms(rig.actor, terms).unwrap();
    let clock = Arc::new(Later::default());
    let config = Config { clock: clock.clone(), ..phone_config(&rig.disk.path().join(name), name) };
    let phone = Client::open(config).unwrap();
    phone.enrol(&rig.ticket(rig.rep(name)), &passcode()).await.unwrap();
    phone.sync(&()).await.unwrap();
    (phone, clock)
}

fn words(text: &str) -> Passcode {
    Passcode::new(text).unwrap()
}

fn flaw(done: Result<(), Error>) -> PasscodeError {
    match done {
        Err(Error::Vault(VaultError::Passcode(flaw))) => flaw,
        other => panic!("not a refused passcode: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_easy_passcode_is_refused_before_the_enrolment_code_is_used_up() {
    let rig = Rig::start().await;
    let phone = rig.phone("ana");
    let ticket = rig.ticket(rig.rep("ana"));
    let rules = phone.passcode_rules();
    assert!(rules.strong && rules.min_characters == 10, "its keys are in files");
    let easy = words("831492");
    assert_eq!(rules.check("831492"), [PasscodeError::TooShort { least: 10 }]);
    assert_eq!(flaw(phone.enrol(&ticket, &easy).await), PasscodeError::TooShort { least: 10 });
    assert_eq!(phone.state(), State::New);
    phone.enrol(&ticket, &passcode()).await.unwrap();
    assert_eq!(phone.passcode_rules().check("Ana likes 9 kayaks"), [PasscodeError::Personal]);
    assert_eq!(phone.passcode_due(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passcode_of_ninety_days_opens_only_its_own_change_and_the_unsent_work() {
    let rig = Rig::start().await;
    rig.import_stores(3);
    let (phone, clock) = phone(&rig, "ana").await;
    let store = phone.customers().unwrap().list(None, 1).unwrap().remove(0);
    phone.visits().unwrap().start(store.id, None).unwrap();
    for (days, due) in
        [(79, None), (80, Some(PasscodeDue::Warn { days: 10 })), (89, Some(PasscodeDue::Warn { days: 1 }))]
    {
        clock.days(days);
        assert_eq!(phone.passcode_due(), due, "{days}");
        assert_eq!(phone.customers().unwrap().count().unwrap(), 3, "{days}");
    }
    clock.days(90);
    for restarted in [false, true] {
        if restarted {
            phone.lock();
            phone.unlock(&passcode()).unwrap();
        }
        assert_eq!(phone.passcode_due(), Some(PasscodeDue::Now));
        assert!(matches!(phone.customers(), Err(Error::PasscodeExpired)));
        assert!(matches!(phone.visits(), Err(Error::PasscodeExpired)));
        assert!(matches!(phone.sync(&()).await, Err(Error::PasscodeExpired)));
        assert!(phone.outbox().unwrap().count().unwrap() > 0);
    }
    phone.change_passcode(&passcode(), &words("blue Heron 31")).unwrap();
    assert_eq!(phone.passcode_due(), None);
    assert_eq!(phone.customers().unwrap().count().unwrap(), 3);
    phone.lock();
    phone.unlock(&words("blue Heron 31")).unwrap();
    assert_eq!(phone.passcode_due(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_five_passcodes_are_not_taken_again_and_that_is_told_only_to_who_knows_the_present_one() {
    let rig = Rig::start().await;
    let (phone, _) = phone(&rig, "ana").await;
    let used: Vec<String> = (1..=5).map(|n| format!("blue Heron {n}{n}7")).collect();
    let mut present = PASSCODE.to_owned();
    for next in &used {
        phone.change_passcode(&words(&present), &words(next)).unwrap();
        present.clone_from(next);
    }
    assert_eq!(flaw(phone.change_passcode(&words(&present), &words(&present))), PasscodeError::Unchanged);
    for old in &used[..4] {
        assert_eq!(flaw(phone.change_passcode(&words(&present), &words(old))), PasscodeError::UsedBefore);
    }
    let guessed = phone.change_passcode(&words(PASSCODE), &words(&used[0]));
    assert!(
        matches!(guessed, Err(Error::Vault(VaultError::WrongPasscode { .. }))),
        "nothing is told of the history"
    );
    // A closed vault knows it too, and stays closed.
    phone.lock();
    assert_eq!(flaw(phone.change_passcode(&words(&present), &words(&used[1]))), PasscodeError::UsedBefore);
    assert_eq!(phone.state(), State::Closed);
    phone.change_passcode(&words(&present), &passcode()).unwrap();
    assert_eq!(phone.state(), State::Closed);
    phone.unlock(&passcode()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finger_opens_the_work_of_the_day_and_a_new_passcode_takes_it_away() {
    let rig = Rig::start().await;
    rig.import_stores(2);
    let (phone, clock) = phone(&rig, "ana").await;
    phone.enable_biometrics(&passcode()).unwrap();
    phone.lock();
    phone.unlock_with_biometrics().unwrap();
    assert_eq!(phone.customers().unwrap().count().unwrap(), 2);
    phone.lock();
    clock.days(3);
    let expired = phone.unlock_with_biometrics();
    assert!(matches!(expired, Err(Error::Vault(VaultError::Biometrics(BiometricsError::Expired)))));
    assert_eq!(phone.state(), State::Closed);
    assert!(matches!(phone.enable_biometrics(&passcode()), Err(Error::Locked)), "only in an open vault");
    phone.unlock(&passcode()).unwrap();
    assert!(phone.biometrics());
    phone.change_passcode(&passcode(), &words("blue Heron 31")).unwrap();
    assert!(!phone.biometrics());
    assert_eq!(phone.state(), State::Open);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_keeps_every_row_and_the_unsent_work_while_others_read() {
    let rig = Rig::start().await;
    rig.import_stores(200);
    let (phone, _) = phone(&rig, "ana").await;
    let store = phone.customers().unwrap().list(None, 1).unwrap().remove(0);
    let visit = phone.visits().unwrap().start(store.id, None).unwrap();
    let unsent = phone.outbox().unwrap().count().unwrap();
    let database = rig.disk.path().join("ana/vault/vault.db");

    let wrong = phone.rotate_vault_key(&words("blue Heron 31"));
    assert!(matches!(wrong, Err(Error::Vault(VaultError::WrongPasscode { .. }))));
    assert_eq!(phone.state(), State::Open, "a wrong passcode closes nothing");

    let done = Arc::new(AtomicBool::new(false));
    let reader = std::thread::spawn({
        let (phone, done) = (phone.clone(), Arc::clone(&done));
        move || {
            let mut reads = 0_u32;
            while !done.load(Ordering::Relaxed) {
                match phone.customers().and_then(|customers| customers.count()) {
                    Ok(count) => assert_eq!(count, 200),
                    Err(Error::Locked) => {}
                    Err(other) => panic!("{other:?}"),
                }
                reads += 1;
            }
            reads
        }
    });
    let salt = |bytes: Vec<u8>| bytes[..16].to_vec();
    for _ in 0..3 {
        let before = salt(std::fs::read(&database).unwrap());
        phone.rotate_vault_key(&passcode()).unwrap();
        assert_ne!(salt(std::fs::read(&database).unwrap()), before);
        assert_eq!(phone.state(), State::Open);
    }
    done.store(true, Ordering::Relaxed);
    assert!(reader.join().unwrap() > 0);

    phone.lock();
    phone.rotate_vault_key(&passcode()).unwrap();
    assert_eq!(phone.state(), State::Closed);
    phone.unlock(&passcode()).unwrap();
    assert_eq!(phone.customers().unwrap().count().unwrap(), 200);
    assert_eq!(phone.outbox().unwrap().count().unwrap(), unsent);
    phone.sync(&()).await.unwrap();
    assert!(phone.visits().unwrap().get(visit.id).unwrap().is_some());
    assert_eq!(phone.outbox().unwrap().count().unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_wrong_passcode_wipes_a_phone_without_secure_hardware_and_the_console_hears_why() {
    let rig = Rig::start().await;
    let (phone, clock) = phone(&rig, "ana").await;
    phone.lock();
    for attempt in 1..=10 {
        clock.days(attempt);
        match phone.unlock(&words("blue Heron 31")) {
            Err(Error::Vault(VaultError::WrongPasscode { attempts_left })) => {
                assert_eq!(i64::from(attempts_left), 10 - attempt);
            }
            Err(Error::Vault(VaultError::Wiping)) => assert_eq!(attempt, 10),
            other => panic!("attempt {attempt}: {other:?}"),
        }
    }
    assert_eq!(phone.state(), State::Wiping);
    clock.days(0);
    assert!(matches!(phone.unlock(&passcode()), Err(Error::Vault(VaultError::Wiping))));
    phone.check_in().await.unwrap();
    assert_eq!(phone.state(), State::Wiped);
    assert_eq!(rig.device("ana").state, roundsman_server::admin::DeviceStatus::Wiped);
}
