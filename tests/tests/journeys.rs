//! The three journeys, with the real parts: a tap, a change from elsewhere, a lock and a wipe.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]

use roundsman_core::model::RuleError;
use roundsman_core::model::geo::Position;
use roundsman_core::model::visit::{Outcome, State as VisitState, Verdict};
use roundsman_core::outbox::Status;
use roundsman_core::vault::VaultError;
use roundsman_core::{Error, State};
use roundsman_server::admin::DeviceStatus;
use roundsman_tests::rig::{Rig, passcode};

#[tokio::test(flavor = "multi_thread")]
async fn a_visit_made_offline_is_seen_on_the_other_phone() {
    let rig = Rig::start().await;
    rig.import_stores(20);
    let (ana, bo) = (rig.enrolled("ana").await, rig.enrolled("bo").await);
    let store = ana.customers().unwrap().search("store 7", 5).unwrap().remove(0);

    let visits = ana.visits().unwrap();
    let at_the_store = Position { lat: 40.3, lon: -73.98, accuracy_m: Some(8.0), mocked: false };
    let visit = visits.start(store.id, Some(at_the_store)).unwrap();
    visits.write(visit.id, Some("shelf is empty".to_owned()), Some("bring samples".to_owned())).unwrap();
    visits.check_out(visit.id, Outcome::Order, None).unwrap();
    assert!(ana.outbox().unwrap().count().unwrap() > 0);

    let sent = ana.sync(&()).await.unwrap();
    assert_eq!((sent.rejected, sent.conflicts), (0, 0));
    assert_eq!(ana.outbox().unwrap().count().unwrap(), 0);
    assert_eq!(rig.device("ana").unsent, 0, "the console shows what the sync did");
    bo.sync(&()).await.unwrap();
    let seen = bo.visits().unwrap().get(visit.id).unwrap().expect("the visit is on the other phone");
    assert_eq!((seen.state, seen.verdict), (VisitState::CheckedOut, Some(Verdict::Verified)));
    assert_eq!(seen.notes.as_deref(), Some("shelf is empty"));
    assert_eq!(bo.visits().unwrap().of_customer(store.id, 5).unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_new_is_one_request() {
    let rig = Rig::start().await;
    rig.import_stores(5);
    let ana = rig.enrolled("ana").await;
    ana.sync(&()).await.unwrap();
    let quiet = ana.sync(&()).await.unwrap();
    assert_eq!((quiet.requests, quiet.sent, quiet.received), (1, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_edits_of_one_customer_both_stand_and_a_collision_is_kept() {
    let rig = Rig::start().await;
    rig.import_stores(1);
    let (ana, bo) = (rig.enrolled("ana").await, rig.enrolled("bo").await);
    let edit = |phone: &roundsman_core::Client,
                change: &dyn Fn(&mut roundsman_core::model::customer::Customer)| {
        let customers = phone.customers().unwrap();
        let seen = customers.list(None, 1).unwrap().remove(0);
        let mut store = seen.clone();
        change(&mut store);
        customers.save(&seen, &store).unwrap();
    };
    edit(&ana, &|store| {
        store.address = Some("1 Pier Rd".to_owned());
        store.brand = Some("Ana's".to_owned());
    });
    edit(&bo, &|store| {
        store.city = Some("Deal".to_owned());
        store.brand = Some("Bo's".to_owned());
    });
    ana.sync(&()).await.unwrap();
    let report = bo.sync(&()).await.unwrap();
    assert_eq!(report.conflicts, 1);
    ana.sync(&()).await.unwrap();
    for phone in [&ana, &bo] {
        let store = phone.customers().unwrap().list(None, 1).unwrap().remove(0);
        assert_eq!((store.address.as_deref(), store.city.as_deref()), (Some("1 Pier Rd"), Some("Deal")));
        assert_eq!(store.brand.as_deref(), Some("Bo's"), "the later edit stands");
    }
    let open = bo.conflicts().unwrap().list().unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].lost.as_ref().and_then(|lost| lost.as_text()), Some("Ana's"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_phone_opens_for_nobody_until_it_is_unlocked_and_loses_nothing() {
    let rig = Rig::start().await;
    rig.import_stores(5);
    let ana = rig.enrolled("ana").await;
    let store = ana.customers().unwrap().list(None, 1).unwrap().remove(0);
    let unsent = ana.visits().unwrap().start(store.id, None).unwrap();
    ana.lock();

    let device = rig.device("ana").id;
    rig.admin.lock(rig.actor, device, "left in a taxi").unwrap();
    // No passcode and no user: the device's own key is enough.
    ana.check_in().await.unwrap();
    assert_eq!(ana.state(), State::Locked { soft: false });
    assert!(matches!(ana.unlock(&passcode()), Err(Error::Vault(VaultError::Locked))));
    assert!(matches!(ana.customers(), Err(Error::Vault(VaultError::Locked))));
    assert_eq!(rig.device("ana").state, DeviceStatus::Locked);
    drop(ana);

    let ana = rig.phone("ana");
    assert_eq!(ana.state(), State::Locked { soft: false }, "a restart changes nothing");
    rig.admin.unlock(rig.actor, device).unwrap();
    ana.check_in().await.unwrap();
    assert_eq!(ana.state(), State::Closed);
    ana.unlock(&passcode()).unwrap();
    assert_eq!(ana.visits().unwrap().in_progress().unwrap().map(|visit| visit.id), Some(unsent.id));
    ana.sync(&()).await.unwrap();
    assert_eq!(rig.admin.recent_visits(10).unwrap().len(), 1);
    assert_eq!(rig.device("ana").state, DeviceStatus::Active);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_phone_never_opens_again_and_proves_it() {
    let rig = Rig::start().await;
    rig.import_stores(5);
    let ana = rig.enrolled("ana").await;
    let device = rig.device("ana").id;
    let proposed = rig.admin.propose_wipe(rig.actor, device, "stolen", false).unwrap();
    ana.check_in().await.unwrap();
    assert_eq!(ana.state(), State::Open, "a proposal alone wipes nothing");
    rig.admin.withdraw_wipe(rig.actor, proposed.id).unwrap();

    rig.wipe(device, "stolen");
    ana.sync(&()).await.unwrap();
    assert_eq!(ana.state(), State::Wiped);
    assert!(ana.unlock(&passcode()).is_err());
    assert!(matches!(ana.customers(), Err(Error::Vault(VaultError::Wiped))));
    drop(ana);
    let again = rig.phone("ana");
    assert_eq!(again.state(), State::Wiped);
    assert!(again.unlock(&passcode()).is_err());

    let detail = rig.admin.device(device).unwrap().expect("the device is still listed");
    assert_eq!(detail.view.state, DeviceStatus::Wiped);
    let wipe = detail.commands.iter().find(|command| command.kind == "wipe").expect("the wipe");
    let proven: Vec<_> =
        wipe.receipts.iter().map(|receipt| (receipt.progress.as_str(), receipt.verified)).collect();
    assert_eq!(proven, [("shredded", true), ("complete", true)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_is_seen_by_both_and_ends_for_both_when_one_settles_it() {
    let rig = Rig::start().await;
    rig.import_stores(1);
    let (ana, bo) = (rig.enrolled("ana").await, rig.enrolled("bo").await);
    for (phone, brand, samples) in [(&ana, "Ana's", 2), (&bo, "Bo's", 5)] {
        let customers = phone.customers().unwrap();
        let seen = customers.list(None, 1).unwrap().remove(0);
        let mut edited = seen.clone();
        edited.brand = Some(brand.to_owned());
        edited.samples = Some(samples);
        edited.tags = vec![brand.to_lowercase()];
        customers.save(&seen, &edited).unwrap();
    }
    for phone in [&ana, &bo, &ana] {
        phone.sync(&()).await.unwrap();
    }
    for phone in [&ana, &bo] {
        let store = phone.customers().unwrap().list(None, 1).unwrap().remove(0);
        assert_eq!((store.samples, store.tags.len()), (Some(7), 2), "nobody's count or word is lost");
        let open = phone.conflicts().unwrap().list().unwrap();
        assert_eq!(open.len(), 1);
        assert_eq!(open[0].lost.as_ref().and_then(|lost| lost.as_text()), Some("Ana's"));
    }
    let open = ana.conflicts().unwrap().list().unwrap().remove(0);
    ana.conflicts().unwrap().take_lost(open.id).unwrap();
    assert_eq!(rig.admin.conflicts(9).unwrap().len(), 1, "not before the server has taken it");
    ana.sync(&()).await.unwrap();
    bo.sync(&()).await.unwrap();
    assert!(rig.admin.conflicts(9).unwrap().is_empty());
    for phone in [&ana, &bo] {
        assert!(phone.conflicts().unwrap().list().unwrap().is_empty());
        let store = phone.customers().unwrap().list(None, 1).unwrap().remove(0);
        assert_eq!(store.brand.as_deref(), Some("Ana's"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_a_customer_that_was_removed_meanwhile_is_kept_and_taken_after_it_came_back() {
    let rig = Rig::start().await;
    rig.import_stores(1);
    let ana = rig.enrolled("ana").await;
    let customers = ana.customers().unwrap();
    let seen = customers.list(None, 1).unwrap().remove(0);
    let mut edited = seen.clone();
    edited.brand = Some("Typed offline".to_owned());
    customers.save(&seen, &edited).unwrap();
    rig.admin.remove_customer(rig.actor, seen.id).unwrap();
    assert_eq!(ana.sync(&()).await.unwrap().rejected, 1);
    assert!(customers.get(seen.id).unwrap().is_none());
    let outbox = ana.outbox().unwrap();
    let refused = outbox.unsent().unwrap().remove(0);
    assert_eq!(refused.status, Status::Rejected { reason: RuleError::Removed });
    // A rep may not bring it back; the office does.
    rig.admin.restore_customer(rig.actor, seen.id).unwrap();
    ana.sync(&()).await.unwrap();
    outbox.resend(refused.seq).unwrap();
    ana.sync(&()).await.unwrap();
    assert_eq!(outbox.count().unwrap(), 0);
    let now = rig.admin.customer(seen.id).unwrap().unwrap();
    assert_eq!((now.name, now.brand.as_deref()), (seen.name, Some("Typed offline")));
}
