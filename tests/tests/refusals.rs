//! Everything that is refused is refused with its own typed error, and has no effect.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]

use ed25519_dalek::SigningKey;
use roundsman_core::device::DeviceEvent;
use roundsman_core::platform::Transport;
use roundsman_core::protocol::ErrorCode;
use roundsman_core::protocol::command::{Command, Kind, Refusal};
use roundsman_core::protocol::envelope::{Domain, Envelope, EnvelopeError};
use roundsman_core::protocol::ticket::{SpkiPin, Ticket, TicketError};
use roundsman_core::store::StoreError;
use roundsman_core::vault::VaultError;
use roundsman_core::{Client, Config, Error, State};
use roundsman_tests::meddler::Meddler;
use roundsman_tests::rig::{Rig, passcode, phone_config};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// A phone of a new rep whose answers to check-ins can be changed.
async fn meddled(rig: &Rig, name: &str) -> (Client, Arc<Meddler>) {
    let config = phone_config(&rig.disk.path().join(name), name);
    let meddler = Meddler::new(Arc::clone(&config.transport));
    let transport: Arc<dyn Transport> = meddler.clone();
    let phone = Client::open(Config { transport, ..config }).unwrap();
    phone.enrol(&rig.ticket(rig.rep(name)), &passcode()).await.unwrap();
    phone.sync(&()).await.unwrap();
    (phone, meddler)
}

/// The refusals among what happened.
fn refusals(events: &[DeviceEvent]) -> Vec<&Refusal> {
    events
        .iter()
        .filter_map(|event| match event {
            DeviceEvent::Refused(refusal) => Some(refusal),
            _ => None,
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_another_key_is_not_spoken_to() {
    let rig = Rig::start().await;
    let ticket = Ticket::from_text(&rig.ticket(rig.rep("ana"))).unwrap();
    let rogue = Ticket { pins: vec![SpkiPin([1; 32]), SpkiPin([2; 32])], ..ticket };
    let phone = rig.phone("ana");
    let error = phone.enrol(&rogue.to_text(), &passcode()).await.unwrap_err();
    assert!(matches!(error, Error::WrongPin), "{error}");
    assert_eq!(phone.state(), State::New);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_that_the_code_does_not_name_is_not_trusted() {
    let rig = Rig::start().await;
    let ticket = Ticket::from_text(&rig.ticket(rig.rep("ana"))).unwrap();
    let phone = rig.phone("ana");
    let other_root = Ticket { root_sha256: [9; 32], ..ticket };
    let error = phone.enrol(&other_root.to_text(), &passcode()).await.unwrap_err();
    assert!(matches!(error, Error::WrongPin), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_works_once_and_leaves_the_second_phone_new() {
    let rig = Rig::start().await;
    let ticket = rig.ticket(rig.rep("ana"));
    let (first, second) = (rig.phone("first"), rig.phone("second"));
    first.enrol(&ticket, &passcode()).await.unwrap();
    let error = second.enrol(&ticket, &passcode()).await.unwrap_err();
    assert_eq!(error.server_code(), Some(ErrorCode::TicketUsed));
    assert_eq!((first.state(), second.state()), (State::Open, State::New));
    let again = first.enrol(&ticket, &passcode()).await.unwrap_err();
    assert!(matches!(again, Error::AlreadyEnrolled));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_was_never_issued_is_unknown() {
    let rig = Rig::start().await;
    let ticket = Ticket::from_text(&rig.ticket(rig.rep("ana"))).unwrap();
    let made_up = Ticket { token: [0; 16], ..ticket };
    let error = rig.phone("ana").enrol(&made_up.to_text(), &passcode()).await.unwrap_err();
    assert_eq!(error.server_code(), Some(ErrorCode::TicketUnknown));
    let error = rig.phone("bo").enrol("https://example.com", &passcode()).await.unwrap_err();
    assert!(matches!(error, Error::Ticket(TicketError::NotATicket)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_command_is_refused_and_reported() {
    let rig = Rig::start().await;
    rig.import_stores(3);
    let (phone, meddler) = meddled(&rig, "ana").await;
    let profile = phone.profile().unwrap();
    let forger = SigningKey::from_bytes(&[66; 32]);
    let forged = Command {
        v: 1,
        org: *profile.org.0.as_bytes(),
        device: *profile.device.0.as_bytes(),
        thumbprint: [0; 32],
        seq: 1,
        prev: [0; 32],
        kind: Kind::Wipe { order: vec![] },
        reason: "forged".into(),
        id: [1; 16],
        issued_ms: 0,
        not_after_ms: i64::MAX,
        root_version: 1,
    };
    let envelope = Envelope::sign(Domain::Command, forged.to_bytes(), &[&forger]).to_bytes();
    meddler.meddle(move |answer| answer.commands = vec![envelope.clone()]);
    let events = phone.check_in().await.unwrap();
    let none = Refusal::Envelope(EnvelopeError::NotEnoughSignatures { valid: 0, needed: 1 });
    assert_eq!(refusals(&events), [&none]);
    assert_eq!(phone.state(), State::Open);
    assert_eq!(phone.customers().unwrap().count().unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_command_has_no_second_effect() {
    let rig = Rig::start().await;
    let (phone, meddler) = meddled(&rig, "ana").await;
    let device = rig.device("ana").id;
    let heard: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let hear = Arc::clone(&heard);
    meddler.meddle(move |answer| hear.lock().unwrap().extend(answer.commands.clone()));
    rig.admin.lock(rig.actor, device, "drill").unwrap();
    phone.check_in().await.unwrap();
    assert_eq!(phone.state(), State::Locked { soft: false });
    rig.admin.unlock(rig.actor, device).unwrap();
    phone.check_in().await.unwrap();
    phone.unlock(&passcode()).unwrap();

    let old_lock = heard.lock().unwrap().first().unwrap().clone();
    meddler.meddle(move |answer| answer.commands = vec![old_lock.clone()]);
    phone.check_in().await.unwrap();
    assert_eq!(phone.state(), State::Open, "the old lock is not carried out again");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_devices_command_is_refused() {
    let rig = Rig::start().await;
    let (victim, meddler) = meddled(&rig, "victim").await;
    let (other, listener) = meddled(&rig, "other").await;
    let heard: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let hear = Arc::clone(&heard);
    listener.meddle(move |answer| hear.lock().unwrap().extend(answer.commands.clone()));
    rig.admin.lock(rig.actor, rig.device("other").id, "lost").unwrap();
    other.check_in().await.unwrap();
    let theirs = heard.lock().unwrap().first().unwrap().clone();
    meddler.meddle(move |answer| answer.commands = vec![theirs.clone()]);
    let events = victim.check_in().await.unwrap();
    assert_eq!(refusals(&events), [&Refusal::OtherDevice]);
    assert_eq!(victim.state(), State::Open);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_passcode_says_how_many_attempts_are_left() {
    let rig = Rig::start().await;
    let phone = rig.enrolled("ana").await;
    phone.lock();
    let wrong = roundsman_core::vault::Passcode::new("918273").unwrap();
    let mut left = Vec::new();
    for _ in 0..3 {
        match phone.unlock(&wrong) {
            Err(Error::Vault(VaultError::WrongPasscode { attempts_left })) => left.push(attempts_left),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(left, [9, 8, 7]);
    phone.unlock(&passcode()).unwrap();
    assert_eq!(phone.state(), State::Open);
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let copy = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_files(&path, &copy);
        } else {
            fs::copy(&path, &copy).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_vault_is_refused_untouched_and_opens_again_when_put_back() {
    let rig = Rig::start().await;
    rig.import_stores(30);
    let phone = rig.enrolled("ana").await;
    drop(phone);
    let mut put_back = 0;
    for file in ["vault.db", "slots.a", "slots.b", "release.bin", "control.a", "control.b"] {
        let copy = rig.disk.path().join(file);
        for part in ["vault", "keys"] {
            copy_files(&rig.disk.path().join("ana").join(part), &copy.join(part));
        }
        let path = copy.join("vault").join(file);
        let Ok(whole) = fs::read(&path) else { continue };
        let half = &whole[..whole.len() / 2];
        fs::write(&path, half).unwrap();
        let open = || {
            Client::open(phone_config(&copy, "ana"))
                .and_then(|phone| phone.unlock(&passcode()).map(|()| phone))
        };
        let refused = open();
        match (&refused, file) {
            (Err(Error::Store(StoreError::Corrupt)), "vault.db")
            | (Err(Error::Vault(VaultError::Truncated { .. } | VaultError::Tampered { .. })), _) => {
                drop(refused);
                assert_eq!(fs::read(&path).unwrap(), half, "{file} was changed by a failed open");
                fs::write(&path, &whole).unwrap();
                assert_eq!(open().unwrap().customers().unwrap().count().unwrap(), 30, "{file}");
            }
            // Of a pair of buffers one may be lost: the other one stands.
            (Ok(phone), "slots.a" | "slots.b" | "control.a" | "control.b") => {
                assert_eq!(phone.customers().unwrap().count().unwrap(), 30, "{file}");
            }
            // The newer of the two is lost: what the keystore knows of it looks like an old file put back, and the
            // office decides.
            (Err(Error::Vault(VaultError::RolledBack)), "control.a" | "control.b") => put_back += 1,
            (other, file) => panic!("{file}: {:?}", other.as_ref().err()),
        }
    }
    assert_eq!(put_back, 1, "one of the two control files is the newer");
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_rows_of_a_file_are_named_and_the_good_ones_kept() {
    let rig = Rig::start().await;
    let csv = "code,name,lat,lon\n\
               A1,Corner Shop,40.1,-74.2\n\
               A2,,40.1,-74.2\n\
               A3,North Pole,99.5,0\n\
               A4,Too few\n\
               A5,\"Quoted, Inc\",40.2,-74.1\n\
               A6,Words,here,there\n";
    let report = rig.import(csv);
    assert_eq!(report.created, 2);
    let rows: Vec<u64> = report.rejected.iter().map(|row| row.row).collect();
    assert_eq!(rows, [3, 4, 5, 7]);
    let columns: Vec<_> = report.rejected.iter().map(|row| row.column.as_deref()).collect();
    assert_eq!((columns[0], columns[1]), (Some("name"), Some("lat")));
    assert!(report.rejected.iter().all(|row| !row.reason.is_empty()));
    assert_eq!(rig.admin.customer_count().unwrap(), 2);
}
