//! Every pin that a phone knows is dead: it works on without its server, and finds back with keys brought by hand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]

use roundsman_core::model::visit::Outcome;
use roundsman_core::{Client, Error, State};
use roundsman_protocol::envelope::{Domain, Envelope};
use roundsman_protocol::root::{Root, RootError};
use roundsman_protocol::root_bundle::{RootBundle, RootBundleError};
use roundsman_protocol::ticket::SpkiPin;
use roundsman_server::admin::{Admin, RootChange};
use roundsman_server::keyfile::{KeyFile, KeyKind};
use roundsman_server::{Server, StartError};
use roundsman_tests::rig::{Rig, passcode, server_config};
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

/// Publishes the next root, signed with the organisation's root key.
fn publish(admin: &Admin, data: &Path, change: RootChange) {
    let key = KeyFile::read(&data.join("keep-offline/root.key")).unwrap();
    let draft = admin.propose_root(Admin::OPERATOR, change).unwrap();
    let signature = key.sign(Domain::Root, &draft.payload).unwrap();
    admin.publish_root(draft.payload, &[(key.id(), signature)]).unwrap();
}

/// Publishes the pins that the server goes by now.
fn publish_pins(admin: &Admin, data: &Path) {
    let change = RootChange { pins: Some(admin.pins().to_vec()), ..RootChange::default() };
    publish(admin, data, change);
}

/// Why the phone doesn't take a bundle.
fn refusal(phone: &Client, text: &str) -> RootBundleError {
    match phone.take_root_bundle(text).unwrap_err() {
        Error::RootBundle(error) => error,
        other => panic!("{other}"),
    }
}

/// The same server with another certificate, whose key nobody has pinned.
async fn with_a_new_certificate(server: Server, data: &Path) -> Server {
    let port = server.url().rsplit_once(':').unwrap().1.parse().unwrap();
    server.stop().await;
    for file in ["tls.crt", "tls.key"] {
        std::fs::remove_file(data.join(file)).unwrap();
    }
    let config = || roundsman_server::Config {
        listen: ([127, 0, 0, 1], port).into(),
        first_admin: None,
        ..server_config(data)
    };
    // A server of another test may have been given the port meanwhile, until that test ends.
    for _ in 0..100 {
        match Server::start(config()).await {
            Err(StartError::Listen(error)) if error.kind() == ErrorKind::AddrInUse => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            started => return started.unwrap(),
        }
    }
    panic!("the port {port} stays in use");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_whose_pins_are_all_dead_works_on_and_syncs_again_after_a_bundle() {
    let rig = Rig::start().await;
    rig.import_stores(3);
    let (open, closed) = (rig.enrolled("ana").await, rig.enrolled("bo").await);
    let Rig { server, disk, .. } = rig;
    let data = disk.path().join("server");
    let server = with_a_new_certificate(server, &data).await;
    let admin = server.admin();

    for phone in [&open, &closed] {
        let error = phone.sync(&()).await.unwrap_err();
        assert!(matches!(error, Error::WrongPin), "{error}");
        assert!(matches!(phone.check_in().await, Err(Error::WrongPin)));
    }
    let store = open.customers().unwrap().list(None, 1).unwrap().remove(0);
    let visit = open.visits().unwrap().start(store.id, None).unwrap();
    open.visits().unwrap().check_out(visit.id, Outcome::NoOrder, None).unwrap();
    closed.lock();

    publish_pins(&admin, &data);
    assert!(matches!(open.sync(&()).await, Err(Error::WrongPin)), "the new root can't come by itself");
    let text = admin.root_bundle(1).unwrap().to_text();
    for phone in [&open, &closed] {
        assert_eq!(phone.take_root_bundle(&text).unwrap(), 2);
        assert_eq!(phone.profile().unwrap().pins, admin.pins());
    }
    open.sync(&()).await.unwrap();
    assert_eq!(admin.recent_visits(10).unwrap().len(), 1, "what was done meanwhile has arrived");
    assert_eq!(closed.state(), State::Closed, "no passcode was needed for it");
    closed.check_in().await.unwrap();
    closed.unlock(&passcode()).unwrap();
    closed.sync(&()).await.unwrap();
    let nothing = RootBundleError::NothingNew { last: 2, known: 2 };
    assert_eq!(refusal(&open, &text), nothing);

    // What was taken is on disk.
    drop(open);
    let again = Client::open(roundsman_tests::rig::phone_config(&disk.path().join("ana"), "ana")).unwrap();
    again.check_in().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_is_forged_older_gaping_or_another_organisations_changes_nothing() {
    let (rig, other) = (Rig::start().await, Rig::start().await);
    let data = rig.disk.path().join("server");
    assert!(matches!(rig.phone("new").take_root_bundle("RMR1:"), Err(Error::RootBundle(_))));
    let phone = rig.enrolled("ana").await;
    publish_pins(&rig.admin, &data);
    publish_pins(&other.admin, &other.disk.path().join("server"));
    publish(&rig.admin, &data, RootChange::default());
    let before = phone.profile().unwrap();

    assert_eq!(refusal(&phone, "RM1:ABC"), RootBundleError::NotABundle);
    let foreign = other.admin.root_bundle(1).unwrap();
    assert_eq!(refusal(&phone, &foreign.to_text()), RootError::OtherOrganisation.into());
    let gaping = rig.admin.root_bundle(2).unwrap();
    assert_eq!(refusal(&phone, &gaping.to_text()), RootBundleError::Gap { first: 3, known: 1 });

    // Somebody with a root key of their own, and pins of their own.
    let root = Root::open_first(&before.root, &roundsman_protocol::sha256(&[&before.root])).unwrap();
    let thief = KeyFile::generate(KeyKind::Root, "thief").unwrap();
    let mut next = Root { version: 2, pins: vec![SpkiPin([66; 32]), SpkiPin([67; 32])], ..root };
    next.root.keys = vec![thief.public()];
    let payload = next.to_bytes();
    let signature = thief.sign(Domain::Root, &payload).unwrap();
    let signatures = vec![roundsman_protocol::envelope::KeySignature { key: thief.id(), signature }];
    let forged = RootBundle::new(before.org, 2, vec![Envelope { payload, signatures }.to_bytes()]);
    let refused = refusal(&phone, &forged.to_text());
    assert!(matches!(refused, RootBundleError::Root(RootError::Envelope(_))), "{refused}");
    assert_eq!(phone.profile().unwrap(), before, "nothing of it was kept");

    // Older than what came with a check-in.
    let old = rig.admin.root_bundle(1).unwrap().to_text();
    phone.check_in().await.unwrap();
    assert_eq!(refusal(&phone, &old), RootBundleError::NothingNew { last: 3, known: 3 });
    phone.sync(&()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_that_enrols_goes_by_the_pins_of_the_root() {
    let rig = Rig::start().await;
    let data = rig.disk.path().join("server");
    let mut pins = rig.admin.pins().to_vec();
    pins.push(SpkiPin([9; 32]));
    publish(&rig.admin, &data, RootChange { pins: Some(pins.clone()), ..RootChange::default() });
    let phone = rig.enrolled("ana").await;
    assert_eq!(phone.profile().unwrap().pins, pins);
}
