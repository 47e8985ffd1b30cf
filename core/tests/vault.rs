//! What the vault and the device promise, through their public face.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

mod vault_kit;

use roundsman_core::device::DeviceEvent;
use roundsman_core::platform::{Clock, KeyAlias, KeyError, PlatformKeys};
use roundsman_core::protocol::api::{CheckinAnswer, DeviceState};
use roundsman_core::protocol::command::{Kind, Refusal};
use roundsman_core::protocol::receipt::{Progress, Trigger};
use roundsman_core::vault::{VaultError, VaultState};
use std::fs;
use vault_kit::{Fault, OTHER, Office, Phone, RIGHT, passcode};

fn answer(commands: Vec<Vec<u8>>) -> CheckinAnswer {
    CheckinAnswer { commands, ..CheckinAnswer::at(chrono::DateTime::UNIX_EPOCH) }
}

#[test]
fn the_passcode_opens_what_it_was_made_with_and_no_other_does() {
    let mut office = Office::new();
    let phone = Phone::new();
    let app = phone.start().unwrap();
    assert_eq!((app.vault.state(), app.vault.profile()), (VaultState::New, None));
    assert!(matches!(app.unlock(RIGHT), Err(VaultError::NotEnrolled)));
    let install = app.vault.install();
    app.enrol(&mut office).unwrap();
    assert!(matches!(app.enrol(&mut office), Err(VaultError::AlreadyCreated)));
    assert_eq!(app.vault.state(), VaultState::Ready);
    drop(app);

    let app = phone.start().unwrap();
    assert_eq!(app.vault.profile(), Some(office.profile()));
    assert_eq!(app.vault.install(), install);
    app.opens_with(RIGHT).unwrap();
    assert!(matches!(app.opens_with(OTHER), Err(VaultError::WrongPasscode { attempts_left: 9 })));
    app.opens_with(RIGHT).unwrap();
    assert!(!phone.files().contains(&"creating".to_owned()));
}

#[test]
fn a_second_process_is_told_that_the_vault_is_in_use() {
    let phone = Phone::new();
    let app = phone.start().unwrap();
    assert!(matches!(phone.start(), Err(VaultError::InUse)));
    drop(app);
    phone.start().unwrap();
}

#[test]
fn a_changed_passcode_leaves_no_file_that_opens_with_the_old_one() {
    let mut office = Office::new();
    let phone = Phone::enrolled(&mut office);
    let app = phone.start().unwrap();
    app.change(RIGHT, OTHER).unwrap();
    drop(app);
    for newest in ["slots.a", "slots.b"] {
        let phone = phone.copy();
        fs::remove_file(phone.file(newest)).unwrap();
        let app = phone.start().unwrap();
        assert!(matches!(app.opens_with(RIGHT), Err(VaultError::WrongPasscode { .. })));
        app.opens_with(OTHER).unwrap();
    }
}

#[test]
fn a_kill_between_count_and_check_costs_an_attempt() {
    let mut office = Office::new();
    let phone = Phone::enrolled(&mut office);
    let app = phone.start().unwrap();
    assert!(matches!(app.opens_with(OTHER), Err(VaultError::WrongPasscode { attempts_left: 9 })));
    drop(app);
    // The last call to the keystore in an unlock is for the passcode's own key: the attempt is counted by then.
    let last = (0..1000).find(|&n| {
        let phone = phone.copy();
        let app = phone.start().unwrap();
        phone.keys.fail_at(n, Fault::Kill);
        app.unlock(RIGHT).is_ok()
    });
    let last = last.unwrap() - 1;
    let app = phone.start().unwrap();
    phone.keys.fail_at(last, Fault::Kill);
    assert!(matches!(app.unlock(RIGHT), Err(VaultError::Key(KeyError::Transient))));
    drop(app);
    phone.heal();
    let app = phone.start().unwrap();
    assert!(matches!(app.opens_with(OTHER), Err(VaultError::WrongPasscode { attempts_left: 7 })));
}

#[test]
fn wrong_passcodes_have_to_wait_longer_and_longer_and_the_tenth_locks() {
    let mut office = Office::new();
    let phone = Phone::enrolled(&mut office);
    let mut waits = Vec::new();
    for attempt in 1..=9u32 {
        // Each attempt in a process of its own: nothing is forgotten.
        let app = phone.start().unwrap();
        let left = 10 - attempt;
        assert!(
            matches!(app.opens_with(OTHER), Err(VaultError::WrongPasscode { attempts_left }) if attempts_left == left)
        );
        if attempt < 5 {
            continue;
        }
        let Err(VaultError::Wait { seconds }) = app.unlock(RIGHT) else {
            panic!("attempt {attempt} has no wait after it");
        };
        waits.push(seconds);
        phone.clock.advance(-3600);
        assert!(
            matches!(app.unlock(RIGHT), Err(VaultError::Wait { seconds: still }) if still == seconds),
            "a clock set back shortens nothing"
        );
        phone.clock.advance(3600 + i64::try_from(seconds).unwrap() - 1);
        assert!(matches!(app.unlock(RIGHT), Err(VaultError::Wait { seconds: 1 })));
        phone.clock.advance(1);
    }
    assert_eq!(waits, [60, 300, 900, 3600, 3600]);
    let app = phone.start().unwrap();
    assert!(matches!(app.opens_with(OTHER), Err(VaultError::Locked)));
    assert_eq!(app.vault.state(), VaultState::Locked { soft: false });
    assert!(matches!(app.opens_with(RIGHT), Err(VaultError::Locked)));

    // The office hears of it, and an unlock gives ten new attempts.
    office.now_ms = phone.clock.now().timestamp_millis();
    office.grants_unlock = true;
    assert_eq!(app.talk(&mut office).unwrap(), [DeviceEvent::Unlocked]);
    assert_eq!(office.proven(), ["locked", "unlocked"]);
    assert_eq!(office.receipts[0].command(), None, "it was the device's own decision");
    assert!(matches!(app.opens_with(OTHER), Err(VaultError::WrongPasscode { attempts_left: 9 })));
    app.opens_with(RIGHT).unwrap();
}

#[test]
fn without_any_one_of_its_three_parts_nothing_opens() {
    let mut office = Office::new();
    let template = Phone::enrolled(&mut office);

    let phone = template.copy();
    fs::remove_file(phone.file("release.bin")).unwrap();
    let before = phone.bytes();
    let app = phone.start().unwrap();
    assert!(matches!(app.opens_with(RIGHT), Err(VaultError::Missing { file: "release.bin" })));
    assert_eq!(phone.bytes(), before);

    let phone = template.copy();
    phone.keys.delete(KeyAlias::Wrap).unwrap();
    let before = phone.bytes();
    let app = phone.start().unwrap();
    assert!(matches!(app.opens_with(RIGHT), Err(VaultError::KeyGone)));
    phone.keys.create(KeyAlias::Wrap).unwrap();
    assert!(matches!(app.opens_with(RIGHT), Err(VaultError::WrongKey)), "a key made anew is not the key");
    assert_eq!(phone.bytes(), before);

    let app = template.start().unwrap();
    assert!(matches!(app.opens_with(OTHER), Err(VaultError::WrongPasscode { .. })));
    app.opens_with(RIGHT).unwrap();
}

#[test]
fn a_keystore_that_fails_for_a_while_is_not_a_lost_key() {
    let mut office = Office::new();
    let phone = Phone::enrolled(&mut office);
    phone.keys.fail_at(0, Fault::Kill);
    assert!(matches!(phone.start(), Err(VaultError::Key(KeyError::Transient))));
    phone.heal();
    let app = phone.start().unwrap();
    phone.keys.fail_at(0, Fault::Once);
    assert!(matches!(app.opens_with(RIGHT), Err(VaultError::Key(KeyError::Transient))));
    app.opens_with(RIGHT).unwrap();
    phone.keys.delete(KeyAlias::Control).unwrap();
    drop(app);
    let before = phone.bytes();
    assert!(matches!(phone.start(), Err(VaultError::KeyGone)));
    assert_eq!(phone.bytes(), before);
}

#[test]
fn a_damaged_file_is_named_and_left_as_it_is() {
    let mut office = Office::new();
    let template = Phone::enrolled(&mut office);
    let flip: fn(&mut Vec<u8>) = |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    };
    let cut: fn(&mut Vec<u8>) = |bytes| bytes.truncate(bytes.len() / 2);
    for (names, file) in [
        (["control.a", "control.b"].as_slice(), "control"),
        (&["slots.a", "slots.b"], "slots"),
        (&["release.bin"], "release.bin"),
    ] {
        for (damage, apply) in [("flip", flip), ("cut", cut)] {
            let phone = template.copy();
            for name in names {
                let mut bytes = fs::read(phone.file(name)).unwrap();
                apply(&mut bytes);
                fs::write(phone.file(name), bytes).unwrap();
            }
            let before = phone.bytes();
            match phone.start().and_then(|app| app.opens_with(RIGHT)) {
                Err(VaultError::Tampered { file: named }) => assert_eq!((damage, named), ("flip", file)),
                Err(VaultError::Truncated { file: named }) => assert_eq!((damage, named), ("cut", file)),
                other => panic!("{file} {damage}: {other:?}"),
            }
            assert_eq!(phone.bytes(), before, "{file} {damage}");
        }
        if let [first, second] = names {
            for name in [first, second] {
                let phone = template.copy();
                fs::write(phone.file(name), b"").unwrap();
                phone.start().and_then(|app| app.opens_with(RIGHT)).unwrap();
            }
        }
    }
    let phone = template.copy();
    for name in ["control.a", "control.b"] {
        fs::remove_file(phone.file(name)).unwrap();
    }
    let before = phone.bytes();
    assert!(matches!(phone.start(), Err(VaultError::Missing { file: "control" })), "never made anew");
    assert_eq!(phone.bytes(), before);
}

#[test]
fn a_lock_takes_the_share_away_and_an_unlock_brings_it_back() {
    let mut office = Office::new();
    let phone = Phone::enrolled(&mut office);
    let app = phone.start().unwrap();
    office.order(Kind::Lock);
    assert_eq!(app.talk(&mut office).unwrap(), [DeviceEvent::Locked]);
    assert_eq!(app.closed.get(), 1, "the database was closed");
    assert!(!phone.files().iter().any(|name| name.starts_with("release")));
    assert!(matches!(app.opens_with(RIGHT), Err(VaultError::Locked)));
    drop(app);

    let app = phone.start().unwrap();
    assert!(matches!(app.opens_with(RIGHT), Err(VaultError::Locked)));
    assert_eq!(app.device.report(Some(3)).unwrap().state, DeviceState::Locked);
    office.grants_unlock = true;
    assert_eq!(app.talk(&mut office).unwrap(), [DeviceEvent::Unlocked]);
    assert_eq!(office.proven(), ["locked", "unlocked"]);
    assert!(app.device.report(Some(3)).unwrap().unlock.is_none());

    // The share was away, so the next passcode makes a new one, which goes into escrow too.
    assert_eq!(office.shares(), 1);
    app.opens_with(RIGHT).unwrap();
    app.talk(&mut office).unwrap();
    assert_eq!(office.shares(), 2);
    office.grants_unlock = false;
    office.order(Kind::Lock);
    assert_eq!(app.talk(&mut office).unwrap(), [DeviceEvent::Locked]);
    office.grants_unlock = true;
    assert_eq!(app.talk(&mut office).unwrap(), [DeviceEvent::Unlocked]);
    app.opens_with(RIGHT).unwrap();
}

#[test]
fn a_share_that_is_not_in_escrow_is_not_destroyed_by_a_lock() {
    let mut office = Office::new();
    office.confirms_escrow = false;
    let phone = Phone::new();
    let app = phone.start().unwrap();
    app.enrol(&mut office).unwrap();
    office.order(Kind::Lock);
    assert_eq!(app.exchange(&mut office).unwrap(), [DeviceEvent::SoftLocked]);
    assert_eq!(app.vault.state(), VaultState::Locked { soft: true });
    assert!(phone.files().contains(&"release.bin".to_owned()));
    assert!(matches!(app.opens_with(RIGHT), Err(VaultError::Locked)));
    drop(app);

    let app = phone.start().unwrap();
    // A receipt for another share, or by nobody, is no reason to destroy this one.
    let mut forged = answer(vec![]);
    forged.escrow_receipt = Some(office.escrow_receipt(uuid::Uuid::from_u128(1)));
    assert_eq!(app.take(&forged).unwrap(), []);
    assert!(phone.files().contains(&"release.bin".to_owned()));

    office.confirms_escrow = true;
    assert_eq!(app.talk(&mut office).unwrap(), [DeviceEvent::Locked]);
    assert!(!phone.files().contains(&"release.bin".to_owned()));
    assert_eq!(office.proven(), ["soft_locked", "locked"]);
    assert_eq!(office.receipts[0].command(), office.receipts[1].command());
    office.grants_unlock = true;
    app.talk(&mut office).unwrap();
    app.opens_with(RIGHT).unwrap();
}

#[test]
fn a_wiped_vault_never_opens_again_and_leaves_only_proof() {
    let mut office = Office::new();
    let phone = Phone::enrolled(&mut office);
    let app = phone.start().unwrap();
    fs::write(phone.file("vault.db-wal"), b"noise").unwrap();
    fs::create_dir_all(phone.file("att/07")).unwrap();
    fs::write(phone.file("att/07/photo"), b"noise").unwrap();
    fs::create_dir_all(phone.file("att/08")).unwrap();
    let thief = phone.copy();
    thief.keys.delete(KeyAlias::Wrap).unwrap();

    let kind = office.wipe();
    office.order(kind);
    assert_eq!(app.exchange(&mut office).unwrap(), [DeviceEvent::Wiped]);
    assert_eq!((app.closed.get(), app.vault.state()), (1, VaultState::Wiping));
    assert_eq!(phone.files(), ["control.a", "control.b", "in-use"]);
    assert!(matches!(app.opens_with(RIGHT), Err(VaultError::Wiping)));
    drop(app);
    let app = phone.start().unwrap();
    assert!(matches!(app.opens_with(RIGHT), Err(VaultError::Wiping)));
    let report = app.device.report(Some(0)).unwrap();
    assert_eq!((report.state, report.unsent), (DeviceState::Wiped, Some(7)));
    app.talk(&mut office).unwrap();
    assert_eq!(office.proven(), ["shredded", "complete"]);
    let Progress::Shredded { keys, platform_confirmed, unsent, .. } = &office.receipts[0].progress else {
        panic!("not shredded");
    };
    assert_eq!((keys.len(), *platform_confirmed, *unsent), (3, true, Some(7)));
    assert!(matches!(office.receipts[1].progress, Progress::Complete { files: 3, .. }));

    assert_eq!((app.vault.state(), app.vault.profile()), (VaultState::Wiped, None));
    assert_eq!(phone.files(), ["tombstone"]);
    for alias in [KeyAlias::Identity, KeyAlias::Wrap, KeyAlias::Control] {
        assert_eq!(phone.keys.exists(alias), Ok(false));
    }
    assert!(!app.device.has_news().unwrap());
    drop(app);
    phone.keys.fail_at(0, Fault::Kill);
    let app = phone.start().unwrap();
    assert!(matches!(app.opens_with(RIGHT), Err(VaultError::Wiped)));
    assert!(matches!(app.enrol(&mut office), Err(VaultError::Key(_) | VaultError::Wiped)));

    // A copy of every file from before the wipe is no way around it.
    let app = thief.start().unwrap();
    assert!(matches!(app.opens_with(RIGHT), Err(VaultError::KeyGone)));
}

#[test]
fn a_locked_device_can_be_wiped() {
    let mut office = Office::new();
    let phone = Phone::enrolled(&mut office);
    let app = phone.start().unwrap();
    office.order(Kind::Lock);
    let kind = office.wipe();
    office.order(kind);
    assert_eq!(app.exchange(&mut office).unwrap(), [DeviceEvent::Locked, DeviceEvent::Wiped]);
    app.talk(&mut office).unwrap();
    assert_eq!(office.proven(), ["locked", "shredded", "complete"]);
    assert_eq!(app.vault.state(), VaultState::Wiped);
}

#[test]
fn a_wipe_touches_nothing_outside_its_folder() {
    let mut office = Office::new();
    let phone = Phone::enrolled(&mut office);
    let beside = phone.dir().parent().unwrap().join("my photos");
    fs::write(&beside, b"mine").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(&beside, phone.file("link")).unwrap();
    let app = phone.start().unwrap();
    let kind = office.wipe();
    office.order(kind);
    app.talk(&mut office).unwrap();
    assert_eq!(app.vault.state(), VaultState::Wiped);
    assert_eq!(phone.files(), ["tombstone"]);
    assert_eq!(fs::read(beside).unwrap(), b"mine");
}

#[test]
fn a_full_disk_does_not_save_the_vault() {
    let mut office = Office::new();
    let phone = Phone::enrolled(&mut office);
    let app = phone.start().unwrap();
    let kind = office.wipe();
    let wipe = office.order(kind);
    phone.disk.fail_at(0, Fault::Once);
    let events = app.take(&answer(vec![wipe])).unwrap();
    assert_eq!(events, [DeviceEvent::Wiped]);
    app.talk(&mut office).unwrap();
    assert_eq!(office.proven(), ["shredded", "complete"]);
}

/// Whether any file is left that a key is in.
fn keys_left(phone: &Phone) -> bool {
    phone.files().iter().any(|name| name.starts_with("slots") || name.starts_with("release"))
}

#[test]
fn an_erase_that_a_full_disk_interrupts_anywhere_goes_on_by_itself_or_can_be_repeated() {
    let mut unrecorded = 0;
    for call in 0.. {
        let mut office = Office::new();
        let phone = Phone::enrolled(&mut office);
        let app = phone.start().unwrap();
        phone.disk.fail_at(call, Fault::Full);
        let erased = app.vault.erase(&passcode(RIGHT), None, &|| ());
        let reached = phone.disk.failed();
        phone.heal();
        drop(app);
        let marked = keys_left(&phone);
        let app = phone.start().unwrap();
        if app.vault.state() == VaultState::Ready {
            assert!(erased.is_err(), "an erase is undone at call {call}");
            assert!(marked, "the keys are gone and nothing goes on, at call {call}");
            app.vault.erase(&passcode(RIGHT), None, &|| ()).unwrap();
        }
        app.talk(&mut office).unwrap();
        assert_eq!(office.proven(), ["shredded", "complete"], "call {call}");
        unrecorded += u32::from(office.triggers().contains(&Trigger::Unrecorded));
        if !reached {
            break;
        }
    }
    assert!(unrecorded > 0, "no disk was full between the passcode and the mark");
}

#[test]
fn a_wipe_command_on_a_disk_that_is_full_from_any_call_on_is_never_half_done() {
    let mut adopted = 0;
    for call in 0.. {
        for restart in [true, false] {
            let mut office = Office::new();
            let phone = Phone::enrolled(&mut office);
            let mut app = phone.start().unwrap();
            let kind = office.wipe();
            let wipe = office.order(kind);
            phone.disk.fail_at(call, Fault::Full);
            let _ = app.take(&answer(vec![wipe]));
            let reached = phone.disk.failed();
            if !keys_left(&phone) {
                assert_eq!(app.vault.state(), VaultState::Wiping, "call {call}");
            }
            phone.heal();
            if restart {
                drop(app);
                let destroyed = !keys_left(&phone);
                app = phone.start().unwrap();
                assert_eq!(app.vault.state() == VaultState::Wiping, destroyed, "call {call}");
            }
            for _ in 0..3 {
                if app.vault.state() != VaultState::Wiped {
                    app.talk(&mut office).unwrap();
                }
            }
            assert_eq!(app.vault.state(), VaultState::Wiped, "call {call}, restart {restart}");
            let of_command: Vec<_> =
                office.receipts.iter().filter(|receipt| receipt.command().is_some()).collect();
            let names: Vec<_> = of_command.iter().map(|receipt| receipt.progress.name()).collect();
            assert_eq!(names, ["shredded", "complete"], "call {call}, restart {restart}");
            adopted += u32::from(office.triggers().contains(&Trigger::Unrecorded));
            if !reached {
                assert!(adopted > 0, "no wipe went on without its mark");
                return;
            }
        }
    }
}

#[test]
fn a_keystore_that_does_not_confirm_is_reported_and_does_not_stop_a_wipe() {
    let mut office = Office::new();
    let phone = Phone::enrolled(&mut office);
    let app = phone.start().unwrap();
    let kind = office.wipe();
    let wipe = office.order(kind);
    // The first call authenticates the mark; the three after it are tries to delete the key.
    phone.keys.fail_at(1, Fault::Kill);
    assert_eq!(app.take(&answer(vec![wipe])).unwrap(), [DeviceEvent::Wiped]);
    assert!(!phone.files().iter().any(|name| name.starts_with("release") || name.starts_with("slots")));
    phone.heal();
    app.talk(&mut office).unwrap();
    assert_eq!(office.proven(), ["shredded", "complete"]);
    assert_eq!(phone.keys.exists(KeyAlias::Wrap), Ok(false));
}

#[test]
fn a_repeated_command_is_answered_again_and_has_no_second_effect() {
    let mut office = Office::new();
    let phone = Phone::enrolled(&mut office);
    let app = phone.start().unwrap();
    let lock = office.order(Kind::Lock);
    app.talk(&mut office).unwrap();
    office.grants_unlock = true;
    app.talk(&mut office).unwrap();
    office.receipts.clear();

    assert_eq!(app.take(&answer(vec![lock.clone(), lock])).unwrap(), []);
    assert_eq!(app.vault.state(), VaultState::Ready);
    let report = app.device.report(Some(0)).unwrap();
    assert_eq!(report.receipts.len(), 1);
    assert_eq!(report.receipts, app.device.report(Some(0)).unwrap().receipts, "the same bytes each time");
    office.answer(&report);
    assert_eq!(office.proven(), ["locked"]);
    app.opens_with(RIGHT).unwrap();
}

#[test]
fn a_receipt_is_repeated_until_the_server_has_it_and_no_later_one_is_dropped_for_it() {
    let mut office = Office::new();
    let phone = Phone::enrolled(&mut office);
    let app = phone.start().unwrap();
    let lock = office.order(Kind::Lock);
    app.take(&answer(vec![lock])).unwrap();
    drop(app);
    let app = phone.start().unwrap();
    let first = app.device.report(Some(0)).unwrap();
    assert_eq!(first.receipts.len(), 1);
    let lock = office.order(Kind::Lock);
    // The server claims more than it was told.
    let mut greedy = answer(vec![lock]);
    greedy.receipts_stored = 99;
    app.take(&greedy).unwrap();
    app.take(&CheckinAnswer { commands: vec![], ..greedy }).unwrap();
    assert_eq!(app.device.report(Some(0)).unwrap().receipts.len(), 1);
}

#[test]
fn a_bad_command_is_refused_once_and_does_not_stop_the_good_ones() {
    let mut office = Office::new();
    let phone = Phone::enrolled(&mut office);
    let app = phone.start().unwrap();
    let mut other_device = office.command(office.wipe());
    other_device.device = [1; 16];
    let mut future = office.command(Kind::Lock);
    future.seq = 3;
    let mut forged = office.sign(&office.command(office.wipe()));
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let bad = vec![office.sign(&other_device), office.sign(&future), forged, b"noise".to_vec()];
    let mut all = bad.clone();
    all.push(office.order(Kind::Lock));
    let events = app.take(&answer(all)).unwrap();
    assert!(
        matches!(
            events.as_slice(),
            [
                DeviceEvent::Refused(Refusal::OtherDevice),
                DeviceEvent::Refused(Refusal::BrokenChain),
                DeviceEvent::Refused(Refusal::Envelope(_)),
                DeviceEvent::Refused(Refusal::Envelope(_)),
                DeviceEvent::Locked,
            ]
        ),
        "{events:?}"
    );
    assert_eq!(app.take(&answer(bad)).unwrap(), [], "a refusal is reported once");
    app.talk(&mut office).unwrap();
    assert_eq!(office.refusals().len(), 4);
    assert_eq!(office.proven().last(), Some(&"locked"));
}

#[test]
fn the_servers_key_alone_does_not_wipe() {
    let mut office = Office::new();
    let phone = Phone::enrolled(&mut office);
    let app = phone.start().unwrap();
    let stolen = office.sign(&office.command(office.wipe_by_server()));
    let events = app.take(&answer(vec![stolen])).unwrap();
    assert!(matches!(events.as_slice(), [DeviceEvent::Refused(Refusal::Order(_))]));
    app.opens_with(RIGHT).unwrap();
}

#[test]
fn an_unlock_answers_only_the_open_challenge_and_only_with_the_share_that_was_given() {
    let mut office = Office::new();
    let phone = Phone::enrolled(&mut office);
    let app = phone.start().unwrap();
    office.order(Kind::Lock);
    app.talk(&mut office).unwrap();
    let stale = app.device.report(Some(0)).unwrap().unlock.unwrap();
    drop(app);

    // After a restart the device has asked anew.
    let app = phone.start().unwrap();
    let fresh = app.device.report(Some(0)).unwrap().unlock.unwrap();
    assert_ne!(stale, fresh);
    let late = office.sign(&office.command(office.unlock(&stale).unwrap()));
    let mut liar = office.clone();
    liar.replace_share([6; 32]);
    let wrong = liar.sign(&liar.command(liar.unlock(&fresh).unwrap()));
    let refused = DeviceEvent::Refused(Refusal::NoChallenge);
    assert_eq!(app.take(&answer(vec![late, wrong])).unwrap(), [refused, refused]);
    assert_eq!(app.vault.state(), VaultState::Locked { soft: false });

    phone.clock.advance(3600);
    let expired = office.sign(&office.command(office.unlock(&fresh).unwrap()));
    assert_eq!(app.take(&answer(vec![expired])).unwrap(), [DeviceEvent::Refused(Refusal::Expired)]);
    phone.clock.advance(-3600);
    office.grants_unlock = true;
    app.talk(&mut office).unwrap();
    app.opens_with(RIGHT).unwrap();
}

#[test]
fn a_foreign_tombstone_buries_nothing() {
    let mut office = Office::new();
    let phone = Phone::enrolled(&mut office);
    fs::write(phone.file("tombstone"), b"x").unwrap();
    let before = phone.bytes();
    assert!(matches!(phone.start(), Err(VaultError::Tampered { file: "tombstone" })));
    assert_eq!(phone.bytes(), before);
    fs::remove_file(phone.file("tombstone")).unwrap();
    phone.start().unwrap().opens_with(RIGHT).unwrap();
}
