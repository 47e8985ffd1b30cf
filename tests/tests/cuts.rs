//! A sync is cut at every place it can be cut, and goes on from there: nothing is lost, nothing is done twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]

use roundsman_core::model::visit::Outcome;
use roundsman_core::platform::Transport;
use roundsman_core::simulation::PhoneRow;
use roundsman_core::{Client, Config};
use roundsman_tests::cutter::{Cut, Cutter};
use roundsman_tests::narrow::Narrow;
use roundsman_tests::rig::{Rig, passcode, phone_config};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use uuid::Uuid;

async fn cut_phone(rig: &Rig, name: &str) -> (Client, Arc<Cutter>) {
    let config = phone_config(&rig.disk.path().join(name), name);
    let cutter = Cutter::new(Arc::clone(&config.transport));
    let transport: Arc<dyn Transport> = cutter.clone();
    let phone = Client::open(Config { transport, ..config }).unwrap();
    phone.enrol(&rig.ticket(rig.rep(name)), &passcode()).await.unwrap();
    (phone, cutter)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_sync_cut_at_any_byte_goes_on_until_everything_is_there() {
    let rig = Rig::start().await;
    rig.import_stores(1_200);
    let (phone, cutter) = cut_phone(&rig, "ana").await;
    let customers = phone.customers().unwrap();
    let mut cuts = 0;
    let mut counts = vec![0];
    // Each try gets a little further into what is left.
    for bytes in (0..200_000).step_by(701) {
        cutter.cut(Cut::AnswerAfter(bytes));
        let done = phone.sync(&()).await.is_ok();
        let count = customers.count().unwrap();
        assert!(count >= counts[counts.len() - 1], "rows that were stored are gone after a cut at {bytes}");
        counts.push(count);
        if done {
            break;
        }
        cuts += 1;
    }
    assert_eq!(customers.count().unwrap(), 1_200);
    assert!(cuts > 10, "it was hardly cut: {cuts} times");
    assert!(counts.iter().any(|count| (1..1_200).contains(count)), "pages are kept one by one: {counts:?}");
    println!("first sync of 1,200 customers: {cuts} cuts, complete");
}

#[tokio::test(flavor = "multi_thread")]
async fn work_is_sent_exactly_once_wherever_the_sync_is_cut() {
    let rig = Rig::start().await;
    rig.import_stores(10);
    let (phone, cutter) = cut_phone(&rig, "ana").await;
    phone.sync(&()).await.unwrap();
    let store = phone.customers().unwrap().list(None, 1).unwrap().remove(0);
    let visits = phone.visits().unwrap();
    let mut made = BTreeSet::new();
    let cuts = [Cut::BeforeRequest, Cut::BeforeAnswer]
        .into_iter()
        .chain((0..700).step_by(23).map(Cut::AnswerAfter))
        .collect::<Vec<_>>();
    for (n, cut) in cuts.iter().enumerate() {
        let visit = visits.start(store.id, None).unwrap();
        visits.write(visit.id, Some(format!("visit {n}")), None).unwrap();
        visits.check_out(visit.id, Outcome::NoOrder, None).unwrap();
        made.insert((visit.id, format!("visit {n}")));
        cutter.cut(*cut);
        let _ = phone.sync(&()).await;
    }
    cutter.cut(Cut::None);
    phone.sync(&()).await.unwrap();
    assert_eq!(phone.outbox().unwrap().count().unwrap(), 0);
    assert!(phone.outbox().unwrap().unsent().unwrap().is_empty());
    let there: Vec<_> = rig.admin.recent_visits(1_000).unwrap();
    assert_eq!(there.len(), made.len());
    let there: BTreeSet<_> =
        there.into_iter().map(|visit| (visit.id, visit.notes.unwrap_or_default())).collect();
    assert_eq!(there, made);
    println!("{} syncs cut in {} ways: every visit arrived once", cuts.len(), cuts.len());
}

/// What is on a phone, by id.
fn rows(phone: &Client) -> BTreeMap<Uuid, PhoneRow> {
    roundsman_core::simulation::rows(phone).unwrap().into_iter().map(|row| (row.id, row)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_upload_is_sent_exactly_once_and_its_rows_are_the_servers_wherever_it_is_cut() {
    let rig = Rig::start().await;
    rig.import_stores(20);
    let other = rig.enrolled("bo").await;
    for (n, at) in [None, Some(0), Some(900), Some(6_000), Some(20_000)].into_iter().enumerate() {
        let (phone, cutter) = cut_phone(&rig, &format!("rep{n}")).await;
        phone.sync(&()).await.unwrap();
        let store = phone.customers().unwrap().list(None, 1).unwrap().remove(0);
        let visits = phone.visits().unwrap();
        let count = if at.is_none() { 2_150 } else { 1_150 };
        for _ in 0..count {
            visits.plan(store.id, chrono::NaiveDate::default(), None).unwrap();
        }
        if let Some(bytes) = at {
            cutter.cut(Cut::AnswerAfter(bytes));
            let _ = phone.sync(&()).await;
            cutter.cut(Cut::None);
        }
        let report = phone.sync(&()).await.unwrap();
        if at.is_none() {
            assert_eq!((report.sent, report.requests), (2_150, 3), "a request for every 1,000");
            assert_eq!(report.received, 0, "its own rows need not come back");
        }
        assert_eq!(phone.outbox().unwrap().count().unwrap(), 0);
        other.sync(&()).await.unwrap();
        assert!(rows(&phone) == rows(&other), "cut after {at:?}");
        let found = phone.verify(&()).await.unwrap();
        assert!(found.findings.is_empty(), "cut after {at:?}: {:?}", found.findings);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_fewer_changes_in_a_request_gets_them_in_more_requests() {
    let rig = Rig::start().await;
    rig.import_stores(20);
    let config = phone_config(&rig.disk.path().join("ana"), "ana");
    let narrow = Narrow::new(Arc::clone(&config.transport), 300);
    let transport: Arc<dyn Transport> = narrow.clone();
    let phone = Client::open(Config { transport, ..config }).unwrap();
    phone.enrol(&rig.ticket(rig.rep("ana")), &passcode()).await.unwrap();
    phone.sync(&()).await.unwrap();
    let store = phone.customers().unwrap().list(None, 1).unwrap().remove(0);
    let visits = phone.visits().unwrap();
    for _ in 0..1_150 {
        visits.plan(store.id, chrono::NaiveDate::default(), None).unwrap();
    }
    let report = phone.sync(&()).await.unwrap();
    // 1,000 and 500 are too many; then 250 at a time.
    assert_eq!((report.sent, report.rejected, narrow.refused()), (1_150, 0, 2));
    assert_eq!(phone.outbox().unwrap().count().unwrap(), 0);
    let other = rig.enrolled("bo").await;
    assert!(rows(&phone) == rows(&other), "all of it is at the server, once");
}
