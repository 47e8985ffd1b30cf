//! Every call to the disk and to the keystore fails once, in every way, in everything the vault does. Whatever
//! fails, the next start finds a legal state, and nothing that was safe before is lost.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

mod vault_kit;

use roundsman_core::platform::{KeyAlias, PlatformKeys};
use roundsman_core::protocol::command::Kind;
use roundsman_core::vault::{VaultError, VaultState};
use vault_kit::{App, Fault, OTHER, Office, Phone, RIGHT, sweep};

fn started(phone: &Phone, what: &str) -> App {
    phone.start().unwrap_or_else(|error| panic!("{what}: the next start fails: {error:?}"))
}

fn must_open(app: &App, with: &str, what: &str) {
    app.opens_with(with).unwrap_or_else(|error| panic!("{what}: {error:?}"));
}

#[test]
fn a_creation_that_is_interrupted_leaves_no_vault_or_a_whole_one() {
    let (blank, office) = (Phone::new(), Office::new());
    let faults = sweep(
        &blank,
        &office,
        |phone, office| phone.start()?.enrol(office),
        |what, phone, office, outcome| {
            let app = started(phone, what);
            match app.vault.state() {
                VaultState::New => {
                    assert!(outcome.is_err(), "{what}: a vault that was made is gone");
                    assert_eq!(phone.files(), ["in-use"], "{what}");
                    app.enrol(office).unwrap_or_else(|error| panic!("{what}: {error:?}"));
                }
                VaultState::Ready => {}
                other => panic!("{what}: {other:?}"),
            }
            must_open(&app, RIGHT, what);
        },
    );
    assert!(faults > 50, "{faults}");
}

#[test]
fn a_creation_that_failed_can_be_repeated_at_once() {
    let (blank, office) = (Phone::new(), Office::new());
    for number in 0.. {
        let (phone, mut office) = (blank.copy(), office.clone());
        let app = phone.start().unwrap();
        phone.disk.fail_at(number, Fault::Once);
        let outcome = app.enrol(&mut office);
        if !phone.disk.failed() {
            break;
        }
        if outcome.is_err() {
            app.enrol(&mut office).unwrap();
        }
        must_open(&app, RIGHT, &format!("disk call {number}"));
    }
}

#[test]
fn an_unlock_that_is_interrupted_never_gives_an_attempt_back() {
    let mut office = Office::new();
    let template = Phone::enrolled(&mut office);
    sweep(
        &template,
        &office,
        |phone, _| match phone.start()?.opens_with(OTHER) {
            Err(VaultError::WrongPasscode { attempts_left }) => Ok(attempts_left),
            Err(other) => Err(other),
            Ok(()) => panic!("the wrong passcode has opened the vault"),
        },
        |what, phone, _, outcome| {
            let app = started(phone, what);
            let Err(VaultError::WrongPasscode { attempts_left }) = app.opens_with(OTHER) else {
                panic!("{what}: not a wrong passcode")
            };
            match outcome {
                Ok(left) => assert_eq!(attempts_left, left - 1, "{what}"),
                Err(_) => assert!(attempts_left == 8 || attempts_left == 9, "{what}"),
            }
            must_open(&app, RIGHT, what);
            assert!(matches!(app.opens_with(OTHER), Err(VaultError::WrongPasscode { attempts_left: 9 })));
        },
    );
}

#[test]
fn a_change_of_passcode_that_is_interrupted_leaves_exactly_one_passcode() {
    let mut office = Office::new();
    let template = Phone::enrolled(&mut office);
    sweep(
        &template,
        &office,
        |phone, _| phone.start()?.change(RIGHT, OTHER),
        |what, phone, _, outcome| {
            let app = started(phone, what);
            let (old, new) = (app.opens_with(RIGHT).is_ok(), app.opens_with(OTHER).is_ok());
            assert!(old != new, "{what}: old {old}, new {new}");
            assert!(new || outcome.is_err(), "{what}: the change was confirmed");
            drop(app);
            // By the next unlock no file is left that opens with the other one.
            let (right, wrong) = if new { (OTHER, RIGHT) } else { (RIGHT, OTHER) };
            for name in ["slots.a", "slots.b"] {
                let phone = phone.copy();
                std::fs::remove_file(phone.file(name)).unwrap();
                let app = started(&phone, what);
                assert!(app.opens_with(wrong).is_err(), "{what}: {name} kept the other one");
                must_open(&app, right, what);
            }
        },
    );
}

#[test]
fn a_lock_that_is_interrupted_is_finished_and_loses_nothing() {
    let mut confirmed = Office::new();
    let template = Phone::enrolled(&mut confirmed);
    let mut unconfirmed = Office::new();
    unconfirmed.confirms_escrow = false;
    let soft = Phone::new();
    soft.start().unwrap().enrol(&mut unconfirmed).unwrap();
    for (template, mut office) in [(template, confirmed), (soft, unconfirmed)] {
        office.order(Kind::Lock);
        sweep(
            &template,
            &office,
            |phone, office| phone.start()?.talk(office),
            |what, phone, office, _| {
                let app = started(phone, what);
                office.confirms_escrow = true;
                app.talk(office).unwrap_or_else(|error| panic!("{what}: {error:?}"));
                assert_eq!(app.vault.state(), VaultState::Locked { soft: false }, "{what}");
                assert!(!phone.files().iter().any(|name| name.starts_with("release")), "{what}");
                assert!(matches!(app.opens_with(RIGHT), Err(VaultError::Locked)), "{what}");
                assert_eq!(office.proven().last(), Some(&"locked"), "{what}");
                assert_eq!(office.refusals(), Vec::<String>::new(), "{what}");
                office.grants_unlock = true;
                app.talk(office).unwrap_or_else(|error| panic!("{what}: {error:?}"));
                must_open(&app, RIGHT, what);
            },
        );
    }
}

#[test]
fn an_unlock_by_the_office_that_is_interrupted_can_be_repeated() {
    let mut office = Office::new();
    let template = Phone::enrolled(&mut office);
    office.order(Kind::Lock);
    template.start().unwrap().talk(&mut office).unwrap();
    office.grants_unlock = true;
    sweep(
        &template,
        &office,
        |phone, office| phone.start()?.talk(office),
        |what, phone, office, _| {
            let app = started(phone, what);
            if matches!(app.vault.state(), VaultState::Locked { .. }) {
                assert!(
                    !phone.files().contains(&"release.bin".to_owned()),
                    "{what}: a locked phone has its share"
                );
            }
            app.talk(office).unwrap_or_else(|error| panic!("{what}: {error:?}"));
            assert_eq!(app.vault.state(), VaultState::Ready, "{what}");
            must_open(&app, RIGHT, what);
        },
    );
}

#[test]
fn a_change_of_share_that_is_interrupted_never_parts_the_slot_from_its_share() {
    let mut office = Office::new();
    let template = Phone::enrolled(&mut office);
    let app = template.start().unwrap();
    office.order(Kind::Lock);
    app.talk(&mut office).unwrap();
    office.grants_unlock = true;
    app.talk(&mut office).unwrap();
    office.grants_unlock = false;
    drop(app);
    sweep(
        &template,
        &office,
        |phone, _| phone.start()?.opens_with(RIGHT),
        |what, phone, office, _| {
            // A lock comes before anybody types a passcode again: the share it takes must be the one it needs.
            let app = started(phone, what);
            office.order(Kind::Lock);
            app.talk(office).unwrap_or_else(|error| panic!("{what}: {error:?}"));
            assert_eq!(app.vault.state(), VaultState::Locked { soft: false }, "{what}");
            office.grants_unlock = true;
            app.talk(office).unwrap_or_else(|error| panic!("{what}: {error:?}"));
            must_open(&app, RIGHT, what);
        },
    );
}

#[test]
fn a_wipe_that_is_interrupted_is_finished_by_the_next_start() {
    let mut office = Office::new();
    let template = Phone::enrolled(&mut office);
    let kind = office.wipe();
    office.order(kind);
    let faults = sweep(
        &template,
        &office,
        |phone, office| phone.start()?.talk(office),
        |what, phone, office, outcome| {
            let app = started(phone, what);
            let marked = outcome.is_ok_and(|events| !events.is_empty());
            if marked || matches!(app.vault.state(), VaultState::Wiping | VaultState::Wiped) {
                assert!(app.opens_with(RIGHT).is_err(), "{what}: opens after the mark");
                let left = phone.files();
                assert!(!left.iter().any(|name| name.starts_with("slots")), "{what}: {left:?}");
            }
            if app.vault.state() != VaultState::Wiped {
                app.talk(office).unwrap_or_else(|error| panic!("{what}: {error:?}"));
            }
            assert_eq!(app.vault.state(), VaultState::Wiped, "{what}");
            assert_eq!(phone.files(), ["tombstone"], "{what}");
            assert_eq!(office.proven(), ["shredded", "complete"], "{what}");
            for alias in [KeyAlias::Identity, KeyAlias::Wrap, KeyAlias::Control] {
                assert_eq!(phone.keys.exists(alias), Ok(false), "{what}: {alias:?}");
            }
            drop(app);
            assert_eq!(started(phone, what).vault.state(), VaultState::Wiped, "{what}");
        },
    );
    assert!(faults > 100, "{faults}");
}

#[test]
fn two_faults_in_one_wipe_do_not_stop_it_either() {
    let mut office = Office::new();
    let template = Phone::enrolled(&mut office);
    let kind = office.wipe();
    office.order(kind);
    let (mut first, mut pairs) = (0, 0);
    loop {
        let (phone, mut interrupted) = (template.copy(), office.clone());
        phone.disk.fail_at(first, Fault::Kill);
        let _ = phone.start().and_then(|app| app.talk(&mut interrupted));
        if !phone.disk.failed() {
            break;
        }
        phone.heal();
        for second in 0.. {
            let (phone, mut office) = (phone.copy(), interrupted.clone());
            phone.disk.fail_at(second, Fault::PowerCut);
            let _ = phone.start().and_then(|app| app.talk(&mut office));
            let reached = phone.disk.failed();
            phone.heal();
            let what = format!("kill at {first}, power cut at {second}");
            let app = started(&phone, &what);
            if app.vault.state() != VaultState::Wiped {
                app.talk(&mut office).unwrap_or_else(|error| panic!("{what}: {error:?}"));
            }
            assert_eq!(app.vault.state(), VaultState::Wiped, "{what}");
            assert_eq!(phone.files(), ["tombstone"], "{what}");
            pairs += 1;
            if !reached {
                break;
            }
        }
        first += 1;
    }
    assert!(pairs > 500, "{pairs}");
}
