//! A first sync is stopped before every commit and goes on from there, and the app works while it runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]

use roundsman_core::model::visit::Outcome;
use roundsman_core::simulation::{self, Scope};
use roundsman_core::sync::{Progress, Step};
use roundsman_core::vault::VaultError;
use roundsman_core::{Client, Error, State};
use roundsman_tests::rig::{Rig, passcode, phone_config};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// A runtime whose threads stop at the commit that the scope says.
fn runtime(scope: &Arc<Scope>) -> Runtime {
    let scope = Arc::clone(scope);
    let enter = move || simulation::enter(Some(Arc::clone(&scope)));
    Builder::new_multi_thread().worker_threads(2).enable_all().on_thread_start(enter).build().unwrap()
}

/// The steps of a sync, in order.
#[derive(Default)]
struct Steps(Mutex<Vec<Step>>);

impl Progress for Steps {
    fn progress(&self, step: Step) {
        self.0.lock().unwrap().push(step);
    }
}

/// The app after its process has stopped, open again; nothing if it had not stopped.
async fn restarted(folder: &Path, scope: &Scope) -> Option<Client> {
    let name = folder.file_name().unwrap().to_str().unwrap();
    for _ in 0..2_000 {
        match Client::open(phone_config(folder, name)) {
            // What the process before has begun still goes to its end.
            Err(Error::Vault(VaultError::InUse)) => tokio::time::sleep(Duration::from_millis(5)).await,
            opened => {
                let phone = opened.unwrap();
                let stopped = scope.go_on();
                phone.unlock(&passcode()).unwrap();
                return stopped.then_some(phone);
            }
        }
    }
    panic!("the vault stays in use");
}

#[test]
fn a_first_sync_stopped_before_any_commit_goes_on_from_there() {
    const STORES: u64 = 5_000;
    let scope = Arc::new(Scope::default());
    let mut counts = Vec::new();
    runtime(&scope).block_on(async {
        let rig = Rig::start().await;
        rig.import_stores(STORES as usize);
        for commits in 0.. {
            assert!(commits < 100, "it never ends: {counts:?}");
            let name = format!("ana{commits}");
            let folder = rig.disk.path().join(&name);
            let phone = rig.phone(&name);
            phone.enrol(&rig.ticket(rig.rep(&name)), &passcode()).await.unwrap();
            scope.stop_after(commits);
            let synced = phone.sync(&()).await;
            drop(phone);
            let phone = restarted(&folder, &scope).await;
            let Some(phone) = phone else {
                synced.unwrap();
                break;
            };
            // What was stored is usable at once.
            let customers = phone.customers().unwrap();
            let count = customers.count().unwrap();
            assert_eq!(customers.list(None, 50).unwrap().len() as u64, count.min(50));
            assert_eq!(customers.search("ocean ave", 5).unwrap().len() as u64, count.min(5));
            counts.push(count);

            let report = phone.sync(&()).await.unwrap();
            assert_eq!((report.received, customers.count().unwrap()), (STORES - count, STORES));
            let found = phone.verify(&()).await.unwrap();
            assert_eq!((found.findings, found.rows, found.searchable), (vec![], STORES, STORES));
            assert_eq!(customers.search("store 4999", 1).unwrap()[0].name, "Store 4999");
        }
    });
    assert!(counts.contains(&0) && counts.iter().any(|count| (1..STORES).contains(count)), "{counts:?}");
    assert!(counts.contains(&STORES), "it was never stopped while it made its indexes: {counts:?}");
    println!("first sync of {STORES} customers, stopped at each commit: rows at that moment {counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_app_lists_searches_and_writes_while_its_first_sync_runs() {
    const STORES: u64 = 12_000;
    let rig = Rig::start().await;
    rig.import_stores(STORES as usize);
    let phone = rig.phone("ana");
    phone.enrol(&rig.ticket(rig.rep("ana")), &passcode()).await.unwrap();
    let steps = Arc::new(Steps::default());
    let over = Arc::new(AtomicBool::new(false));
    let sync = {
        let (phone, steps, over) = (phone.clone(), Arc::clone(&steps), Arc::clone(&over));
        tokio::spawn(async move {
            let synced = phone.sync(&*steps).await;
            over.store(true, Ordering::SeqCst);
            synced
        })
    };
    let used = tokio::task::spawn_blocking({
        let (phone, over) = (phone.clone(), Arc::clone(&over));
        move || {
            let (customers, visits) = (phone.customers().unwrap(), phone.visits().unwrap());
            let (mut partly, mut found, mut made) = (BTreeSet::new(), 0, Vec::new());
            while !over.load(Ordering::SeqCst) {
                let count = customers.count().unwrap();
                let first = customers.list(None, 1).unwrap();
                let hits = customers.search("ocean ave", 5).unwrap();
                if let Some(first) = first.first().filter(|_| made.len() < 20) {
                    let visit = visits.start(first.id, None).unwrap();
                    visits.check_out(visit.id, Outcome::NoOrder, None).unwrap();
                    made.push(visit.id);
                }
                if (1..STORES).contains(&count) && !over.load(Ordering::SeqCst) {
                    partly.insert(count);
                    found += usize::from(!hits.is_empty());
                }
            }
            (partly, found, made)
        }
    });
    let report = sync.await.unwrap().unwrap();
    let (partly, found, made) = used.await.unwrap();
    assert_eq!((phone.state(), phone.customers().unwrap().count().unwrap()), (State::Open, STORES));
    assert!(report.received >= STORES);
    assert!(!partly.is_empty(), "nothing was seen while it ran");
    assert!(!made.is_empty(), "nothing was written while it ran");

    // Progress is told by rows and bytes, and what was written meanwhile is sent.
    let steps = std::mem::take(&mut *steps.0.lock().unwrap());
    let mut received = steps.iter().filter_map(|step| match step {
        Step::Receiving { rows, bytes, .. } => Some((*rows, *bytes)),
        _ => None,
    });
    let told: Vec<_> = received.by_ref().collect();
    assert!(told.len() > 1 && told.is_sorted(), "{told:?}");
    assert!(told.iter().all(|(rows, bytes)| *rows > 0 && *bytes > 0), "{told:?}");
    phone.sync(&()).await.unwrap();
    let there: BTreeSet<_> =
        rig.admin.recent_visits(1_000).unwrap().into_iter().map(|visit| visit.id).collect();
    assert_eq!(there, made.iter().copied().collect());
    let sound = phone.verify(&()).await.unwrap();
    assert_eq!(sound.findings, []);
    println!(
        "first sync of {STORES} customers: used at {} counts in between, found by search {found} times, {} visits",
        partly.len(),
        made.len()
    );
}
