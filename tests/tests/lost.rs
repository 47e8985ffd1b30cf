//! The phone that is lost, copied, put back, turned back in time or given up, and what its organisation keeps.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]

use chrono::{DateTime, TimeDelta, Utc};
use roundsman_core::device::DeviceEvent;
use roundsman_core::model::visit::Outcome;
use roundsman_core::platform::{BootTime, Clock, SystemClock};
use roundsman_core::store::StoreError;
use roundsman_core::vault::{LeaseState, VaultError};
use roundsman_core::{Client, Closed, Config, Error, State};
use roundsman_protocol::envelope::Domain;
use roundsman_protocol::policy::Policy;
use roundsman_protocol::posture::{Concern, Posture, Verdict};
use roundsman_server::admin::{AdminError, AlertKind, DeviceStatus, RootChange};
use roundsman_server::keyfile::{KeyFile, KeyKind};
use roundsman_tests::rig::{Rig, passcode, phone_config};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Makes a visit to each of the first stores, without a signal; the notes.
fn work(phone: &Client, mark: &str, count: usize) -> Vec<String> {
    let (customers, visits) = (phone.customers().unwrap(), phone.visits().unwrap());
    let stores = customers.list(None, count).unwrap();
    let visited = stores.iter().enumerate().map(|(n, store)| {
        let notes = format!("{mark} {n}");
        let visit = visits.start(store.id, None).unwrap();
        visits.write(visit.id, Some(notes.clone()), None).unwrap();
        visits.check_out(visit.id, Outcome::NoOrder, None).unwrap();
        notes
    });
    visited.collect()
}

fn notes_at_the_office(rig: &Rig) -> Vec<String> {
    let mut notes: Vec<String> =
        rig.admin.recent_visits(1_000).unwrap().into_iter().filter_map(|visit| visit.notes).collect();
    notes.sort();
    notes
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The system's clock, moved by hand; a phone's start that never ends.
#[derive(Default)]
struct Moved(AtomicI64);

impl Moved {
    fn days(&self, days: i64) {
        self.hours(days * 24);
    }

    fn hours(&self, hours: i64) {
        self.0.fetch_add(hours * 3600, Ordering::Relaxed);
    }
}

impl Clock for Moved {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now() + TimeDelta::seconds(self.0.load(Ordering::Relaxed))
    }

    fn zone_min(&self) -> i32 {
        0
    }

    fn boot(&self) -> Option<BootTime> {
        None
    }
}

async fn phone_with_clock(rig: &Rig, name: &str) -> (Client, Arc<Moved>) {
    let clock = Arc::new(Moved::default());
    let config = Config { clock: clock.clone(), ..phone_config(&rig.disk.path().join(name), name) };
    let phone = Client::open(config).unwrap();
    phone.enrol(&rig.ticket(rig.rep(name)), &passcode()).await.unwrap();
    phone.sync(&()).await.unwrap();
    (phone, clock)
}

#[tokio::test(flavor = "multi_thread")]
async fn unsent_work_outlives_a_wipe_and_is_taken_once() {
    let rig = Rig::start().await;
    rig.import_stores(8);
    let phone = rig.enrolled("ana").await;
    let mut made = work(&phone, "sent", 3);
    phone.sync(&()).await.unwrap();
    made.extend(work(&phone, "unsent", 6));
    phone.lock();

    let device = rig.device("ana").id;
    rig.wipe(device, "left in a taxi");
    phone.check_in().await.unwrap();
    assert_eq!(phone.state(), State::Wiped);
    assert_eq!(rig.device("ana").state, DeviceStatus::Wiped);
    assert_eq!(notes_at_the_office(&rig).len(), 3, "nothing is taken by itself");

    let waiting = rig.admin.rescue_waiting().unwrap();
    assert!(waiting.len() == 1 && waiting[0].changes >= 18, "{waiting:?}");
    let first = rig.server.first_keys().unwrap();
    let other = KeyFile::generate(KeyKind::Rescue, "other").unwrap();
    let none = rig.admin.open_rescue(rig.actor, &other.opening_key().unwrap());
    assert!(matches!(none, Err(AdminError::WrongRescueKey)), "another key opens nothing");
    let report = rig.admin.open_rescue(rig.actor, &first.rescue.opening_key().unwrap()).unwrap();
    assert_eq!((report.total().filed, report.total().damaged), (18, 0));
    let taken = rig.admin.take_all_rescued(rig.actor, device).unwrap();
    assert_eq!((taken.applied, taken.refused.len()), (18, 0));
    let again = rig.admin.open_rescue(rig.actor, &first.rescue.opening_key().unwrap()).unwrap();
    assert_eq!(again.total().filed, 0, "opening twice files nothing twice");
    made.sort();
    assert_eq!(notes_at_the_office(&rig), made);
    let detail = rig.admin.device(device).unwrap().unwrap();
    let receipts = &detail.commands.last().unwrap().receipts;
    assert!(receipts.iter().all(|receipt| receipt.verified) && receipts.len() == 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_phone_hands_its_unsent_work_over_and_keeps_it() {
    let rig = Rig::start().await;
    rig.import_stores(5);
    let phone = rig.enrolled("ana").await;
    let mut made = work(&phone, "unsent", 4);
    phone.lock();
    let device = rig.device("ana").id;
    rig.admin.lock(rig.actor, device, "not seen since noon").unwrap();
    phone.check_in().await.unwrap();
    assert_eq!(phone.state(), State::Locked { soft: false });
    let waiting = rig.admin.rescue_waiting().unwrap();
    assert!(waiting.len() == 1 && waiting[0].changes >= 12, "{waiting:?}");
    phone.check_in().await.unwrap();
    let again = rig.admin.rescue_waiting().unwrap();
    assert_eq!((again.len(), again[0].changes), (1, waiting[0].changes), "once is enough");

    // The office takes it; then the phone is found and sends all by itself.
    let rescue = rig.server.first_keys().unwrap().rescue.opening_key().unwrap();
    assert_eq!(rig.admin.open_rescue(rig.actor, &rescue).unwrap().total().filed, 12);
    let taken = rig.admin.take_all_rescued(rig.actor, device).unwrap();
    assert_eq!((taken.applied, taken.refused.len()), (12, 0));
    rig.admin.unlock(rig.actor, device).unwrap();
    phone.check_in().await.unwrap();
    phone.unlock(&passcode()).unwrap();
    assert_eq!(phone.outbox().unwrap().count().unwrap(), 12, "nothing was taken off the phone");
    made.extend(work(&phone, "later", 2));
    phone.sync(&()).await.unwrap();
    assert_eq!(phone.outbox().unwrap().count().unwrap(), 0);
    made.sort();
    assert_eq!(notes_at_the_office(&rig), made, "nothing is lost and nothing is there twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wipe_takes_as_many_approvers_as_the_root_says_on_the_phone_too() {
    let rig = Rig::start().await;
    let phone = rig.enrolled("ana").await;
    let first = rig.server.first_keys().unwrap();
    let second = KeyFile::generate(KeyKind::Approver, "Grace").unwrap();
    let change = RootChange {
        approvers: Some(vec![("Ada".into(), first.approver.public()), ("Grace".into(), second.public())]),
        approver_threshold: Some(2),
        ..RootChange::default()
    };
    let draft = rig.admin.propose_root(rig.actor, change).unwrap();
    let signature = first.root.sign(Domain::Root, &draft.payload).unwrap();
    rig.admin.publish_root(draft.payload.clone(), &[(first.root.id(), signature)]).unwrap();
    phone.sync(&()).await.unwrap();

    let device = rig.device("ana").id;
    let proposal = rig.admin.propose_wipe(rig.actor, device, "stolen", false).unwrap();
    assert!(!proposal.is_one_persons());
    for _ in 0..2 {
        let signature = proposal.sign(&first.approver).unwrap();
        let _ = rig.admin.approve_wipe(proposal.id, first.approver.id(), &signature);
        phone.check_in().await.unwrap();
        assert_eq!(phone.state(), State::Open, "one person is one, however often");
    }
    let signature = proposal.sign(&second).unwrap();
    rig.admin.approve_wipe(proposal.id, second.id(), &signature).unwrap();
    phone.check_in().await.unwrap();
    assert_eq!(phone.state(), State::Wiped);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_on_a_phone_is_countersigned_and_an_edit_is_found() {
    let rig = Rig::start().await;
    rig.import_stores(4);
    let phone = rig.enrolled("ana").await;
    for store in phone.customers().unwrap().list(None, 4).unwrap() {
        phone.customers().unwrap().get(store.id).unwrap();
    }
    phone.lock();
    assert!(phone.unlock(&roundsman_core::vault::Passcode::new("not the right one").unwrap()).is_err());
    phone.check_in().await.unwrap();
    let device = rig.device("ana").id;
    let entries = rig.admin.audit_entries(device, None, 100).unwrap();
    let actions: Vec<&str> = entries.iter().rev().map(|entry| entry.action.as_str()).collect();
    let viewed = "record viewed";
    assert_eq!(
        actions,
        ["joined the organisation", viewed, viewed, viewed, viewed, "closed", "wrong passcode"]
    );
    assert!(entries.iter().any(|entry| entry.customer_name == "Store 0"));
    assert!(rig.admin.verify_audit().unwrap().is_sound());

    // The phone's owner writes another history before it is sent.
    let log = rig.disk.path().join("ana/vault/audit.log");
    phone.unlock(&passcode()).unwrap();
    phone.lock();
    let bytes = fs::read(&log).unwrap();
    let mut edited = bytes.clone();
    let end = edited.len() - 2;
    edited[end] ^= 3;
    fs::write(&log, edited).unwrap();
    phone.check_in().await.unwrap();
    let status = rig.admin.audit_status(device).unwrap();
    assert!(!status.faults.is_empty(), "the edit is found");
    assert!(rig.admin.alerts(10).unwrap().iter().any(|alert| alert.kind == AlertKind::AuditLog));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_phones_with_one_key_the_second_report_locks() {
    let rig = Rig::start().await;
    let phone = rig.enrolled("ana").await;
    let (original, clone) = (rig.disk.path().join("ana"), rig.disk.path().join("clone"));
    copy(&original, &clone);
    let twin = Client::open(phone_config(&clone, "ana")).unwrap();
    phone.check_in().await.unwrap();
    phone.check_in().await.unwrap();
    twin.check_in().await.unwrap();
    assert!(matches!(twin.state(), State::Locked { .. }), "{:?}", twin.state());
    assert!(rig.admin.alerts(10).unwrap().iter().any(|alert| alert.kind == AlertKind::Copied));
    phone.check_in().await.unwrap();
    assert_ne!(phone.state(), State::Open, "which of the two is the real one, nobody knows");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_copy_of_the_vault_put_back_is_refused() {
    let rig = Rig::start().await;
    rig.import_stores(4);
    let phone = rig.enrolled("ana").await;
    work(&phone, "first", 2);
    phone.lock();
    let vault = rig.disk.path().join("ana/vault");
    let old = rig.disk.path().join("old");
    copy(&vault, &old);
    phone.unlock(&passcode()).unwrap();
    work(&phone, "second", 3);
    phone.sync(&()).await.unwrap();
    phone.lock();
    drop(phone);
    // The whole folder; the keystore stays as it is.
    fs::remove_dir_all(&vault).unwrap();
    copy(&old, &vault);
    let phone = Client::open(phone_config(&rig.disk.path().join("ana"), "ana")).unwrap();
    assert!(matches!(phone.unlock(&passcode()), Err(Error::Vault(VaultError::RolledBack))));
    // The database alone.
    let rig = Rig::start().await;
    rig.import_stores(4);
    let phone = rig.enrolled("bo").await;
    phone.lock();
    let database = rig.disk.path().join("bo/vault/vault.db");
    let old = fs::read(&database).unwrap();
    phone.unlock(&passcode()).unwrap();
    work(&phone, "later", 2);
    phone.lock();
    fs::write(&database, old).unwrap();
    assert!(matches!(phone.unlock(&passcode()), Err(Error::Store(StoreError::RolledBack))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_that_stays_away_closes_and_a_check_in_opens_it_again() {
    let rig = Rig::start().await;
    let (phone, clock) = phone_with_clock(&rig, "ana").await;
    assert_eq!(phone.lease().unwrap().state, LeaseState::Fresh);
    clock.days(4);
    assert!(matches!(phone.lease().unwrap().state, LeaseState::Warn { .. }));
    assert_eq!(phone.tick().unwrap(), Some(Closed::Idle));
    phone.unlock(&passcode()).unwrap();
    clock.days(4);
    assert_eq!(phone.tick().unwrap(), Some(Closed::Lease));
    assert_eq!(phone.state(), State::Closed);
    assert!(matches!(phone.unlock(&passcode()), Err(Error::Vault(VaultError::LeaseEnded))));
    // The phone's clock is eight days ahead of the server's; the server's word counts.
    phone.check_in().await.unwrap();
    phone.unlock(&passcode()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_that_never_comes_back_wipes_itself_but_not_on_one_look_at_the_clock() {
    let rig = Rig::start().await;
    let (phone, clock) = phone_with_clock(&rig, "ana").await;
    phone.lock();
    clock.days(31);
    assert_eq!(phone.tick().unwrap(), None);
    assert_eq!(phone.state(), State::Closed, "one look is none");
    clock.days(2);
    phone.tick().unwrap();
    assert_eq!(phone.state(), State::Wiping);
    phone.check_in().await.unwrap();
    assert_eq!(phone.state(), State::Wiped);
    let detail = rig.admin.device(rig.device("ana").id).unwrap().unwrap();
    let because = detail.local_receipts.iter().flat_map(|receipt| &receipt.details);
    assert!(because.into_iter().any(|(_, value)| value.contains("stayed away too long")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rooted_phone_is_refused_where_the_policy_says_so() {
    let rig = Rig::start().await;
    let phone = rig.enrolled("ana").await;
    let rooted = Posture { rooted: Some(true), ..Posture::default() };
    assert_eq!(phone.set_posture(rooted.clone()), None);
    assert_eq!(phone.concerns(), [(Concern::Rooted, Verdict::Warn)]);
    phone.sync(&()).await.unwrap();
    assert_eq!(rig.device("ana").posture.unwrap().verdict, Verdict::Warn);

    let mut policy: Policy = rig.admin.policy().unwrap();
    policy.posture.rooted = Verdict::Lock;
    rig.admin.set_policy(rig.actor, policy).unwrap();
    phone.check_in().await.unwrap();
    phone.tick().unwrap();
    assert_eq!(phone.state(), State::Closed);
    assert!(matches!(phone.unlock(&passcode()), Err(Error::Vault(VaultError::PostureRefused { .. }))));
    phone.set_posture(Posture { rooted: Some(false), ..Posture::default() });
    phone.check_in().await.unwrap();
    phone.unlock(&passcode()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rep_who_leaves_erases_the_phone_and_the_office_has_the_work() {
    let rig = Rig::start().await;
    rig.import_stores(3);
    let phone = rig.enrolled("ana").await;
    let beside = rig.disk.path().join("ana/holiday.jpg");
    fs::write(&beside, b"private").unwrap();
    work(&phone, "last day", 2);
    phone.erase(&passcode()).unwrap();
    let events = phone.check_in().await.unwrap();
    assert!(!events.iter().any(|event| matches!(event, DeviceEvent::Refused(_))));
    assert_eq!(phone.state(), State::Wiped);
    let rescue = rig.server.first_keys().unwrap().rescue.opening_key().unwrap();
    assert_eq!(rig.admin.open_rescue(rig.actor, &rescue).unwrap().total().filed, 6);
    assert_eq!(fs::read(beside).unwrap(), b"private", "what is not the app's is left alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_wrong_passcodes_on_a_phone_with_keys_in_files_wipe_it_and_lose_nothing() {
    let rig = Rig::start().await;
    rig.import_stores(3);
    let (phone, clock) = phone_with_clock(&rig, "ana").await;
    work(&phone, "before", 3);
    phone.lock();
    let wrong = roundsman_core::vault::Passcode::new("gold Piano 51").unwrap();
    for _ in 0..10 {
        clock.hours(1);
        assert!(phone.unlock(&wrong).is_err());
    }
    assert_eq!(phone.state(), State::Wiping);
    phone.check_in().await.unwrap();
    assert_eq!(phone.state(), State::Wiped);
    let rescue = rig.server.first_keys().unwrap().rescue.opening_key().unwrap();
    assert_eq!(rig.admin.open_rescue(rig.actor, &rescue).unwrap().total().filed, 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_on_a_leash_opens_only_after_the_server_was_heard() {
    let rig = Rig::start().await;
    rig.import_stores(3);
    let (phone, clock) = phone_with_clock(&rig, "ana").await;
    let folder = rig.disk.path().join("ana");
    let start =
        |folder: &Path| Client::open(Config { clock: clock.clone(), ..phone_config(folder, "ana") }).unwrap();
    let on_disk = || {
        let names = fs::read_dir(folder.join("vault")).unwrap().map(|entry| entry.unwrap().file_name());
        names.into_iter().any(|name| name.to_string_lossy().starts_with("release"))
    };
    let needs_share =
        |phone: &Client| matches!(phone.unlock(&passcode()), Err(Error::Vault(VaultError::ShareNeeded)));
    let leash = |leash_h| {
        let policy = Policy { leash_h, ..rig.admin.policy().unwrap() };
        rig.admin.set_policy(rig.actor, policy).unwrap();
    };
    assert!(on_disk());
    leash(Some(8));
    phone.sync(&()).await.unwrap();
    assert!(!on_disk());

    // Without a signal all works as ever, for eight hours; a copy of all that is on the disk is worth nothing.
    phone.lock();
    phone.unlock(&passcode()).unwrap();
    let made = work(&phone, "in the basement", 3);
    let stolen = rig.disk.path().join("stolen");
    copy(&folder, &stolen);
    let thief = start(&stolen);
    assert!(needs_share(&thief));
    drop(thief);
    clock.hours(9);
    assert_eq!(phone.tick().unwrap(), Some(Closed::Leash));
    assert!(needs_share(&phone) && phone.state() == State::Closed);
    phone.check_in().await.unwrap();
    phone.unlock(&passcode()).unwrap();
    phone.sync(&()).await.unwrap();
    assert_eq!(notes_at_the_office(&rig), made);

    // After a restart too.
    drop(phone);
    let phone = start(&folder);
    assert!(needs_share(&phone));
    phone.check_in().await.unwrap();
    phone.unlock(&passcode()).unwrap();
    phone.lock();

    // A lock is as good as without a leash: only a release brings the share back.
    let device = rig.device("ana").id;
    rig.admin.lock(rig.actor, device, "left in a taxi").unwrap();
    for _ in 0..2 {
        phone.check_in().await.unwrap();
        assert!(matches!(phone.unlock(&passcode()), Err(Error::Vault(VaultError::Locked))));
    }
    rig.admin.unlock(rig.actor, device).unwrap();
    phone.check_in().await.unwrap();
    assert!(!on_disk());
    phone.unlock(&passcode()).unwrap();
    phone.sync(&()).await.unwrap();
    assert!(!on_disk(), "the share that came after the lock is on the leash as well");

    // Without a leash it opens with no signal again.
    leash(None);
    phone.check_in().await.unwrap();
    drop(phone);
    start(&folder).unlock(&passcode()).unwrap();
}
