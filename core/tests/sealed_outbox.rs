//! Unsent work outlives the vault: whatever stops the app, the server and the sealed outbox hold every change that
//! was committed, and only the organisation opens the latter.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

mod vault_kit;

use roundsman_core::Error::Store as Stored;
use roundsman_core::model::DeviceSeq;
use roundsman_core::platform::{Disk, PlatformKeys, RealDisk};
use roundsman_core::protocol::api::DeviceState;
use roundsman_core::protocol::command::Kind;
use roundsman_core::protocol::receipt::{Progress, Rescue};
use roundsman_core::store::StoreError;
use roundsman_core::vault::{VaultError, VaultState};
use std::collections::BTreeSet;
use std::fs;
use uuid::Uuid;
use vault_kit::{Fault, Office, Phone, RIGHT, Session, TEMPLATE, sealed};

fn complete(office: &Office) -> Rescue {
    let Some(Progress::Complete { rescue, .. }) = office.receipts.last().map(|last| &last.progress) else {
        panic!("the wipe is not complete: {:?}", office.proven())
    };
    *rescue
}

/// A phone with three changes in two segments, closed; and their ids.
fn unsent_work() -> (Phone, Office, BTreeSet<Uuid>) {
    let (template, office) = &*TEMPLATE;
    let (phone, office) = (template.copy(), office.clone());
    let session = Session::open(&phone, &office);
    session.add().unwrap();
    session.add().unwrap();
    session.close(&phone);
    let session = Session::open(&phone, &office);
    session.add().unwrap();
    let unsent = session.unsent();
    session.close(&phone);
    assert_eq!((unsent.len(), sealed(&phone)), (3, unsent.clone()));
    (phone, office, unsent)
}

#[test]
fn a_wiped_device_hands_over_what_it_can_not_read() {
    let (phone, mut office, unsent) = unsent_work();
    let kind = office.wipe();
    office.order(kind);
    office.takes_segments = false;
    let app = phone.start().unwrap();
    // The vault is closed, so nobody can say how much was not sent.
    let answer = office.answer(&app.device.report(None).unwrap());
    app.device.take(&answer, None, &|| ()).unwrap();
    app.talk(&mut office).unwrap();
    // Nothing is left but what waits, and the control file that remembers it.
    assert_eq!(phone.files(), ["control.a", "control.b", "in-use", "outbox"]);
    assert_eq!((app.vault.state(), sealed(&phone)), (VaultState::Wiping, unsent.clone()));
    assert!(matches!(&office.receipts[0].progress, Progress::Shredded { unsent: Some(3), .. }));
    drop(app);

    office.takes_segments = true;
    let app = phone.start().unwrap();
    assert_eq!(app.device.report(None).unwrap().state, DeviceState::Wiped);
    app.talk(&mut office).unwrap();
    assert_eq!((app.vault.state(), phone.files()), (VaultState::Wiped, vec!["tombstone".to_owned()]));
    assert_eq!(office.proven(), ["shredded", "complete"]);
    assert_eq!((complete(&office), office.rescued()), (Rescue { segments: 2, ..Rescue::default() }, unsent));
    assert_eq!(phone.keys.mark(), Ok(None));
}

#[test]
fn an_order_that_does_not_spare_unsent_work_removes_it() {
    let (phone, mut office, _) = unsent_work();
    let kind = office.wipe_all();
    office.order(kind);
    let app = phone.start().unwrap();
    app.talk(&mut office).unwrap();
    assert_eq!((app.vault.state(), phone.files()), (VaultState::Wiped, vec!["tombstone".to_owned()]));
    assert_eq!((complete(&office), office.segments()), (Rescue { discarded: 2, ..Rescue::default() }, 0));
}

#[test]
fn what_the_server_does_not_take_for_thirty_days_is_given_up() {
    let (phone, mut office, _) = unsent_work();
    let kind = office.wipe();
    office.order(kind);
    office.takes_segments = false;
    let app = phone.start().unwrap();
    app.talk(&mut office).unwrap();
    let thirty_days = 30 * 24 * 3600;
    phone.clock.advance(thirty_days);
    app.talk(&mut office).unwrap();
    assert_eq!(app.vault.state(), VaultState::Wiping);
    phone.clock.advance(1);
    app.talk(&mut office).unwrap();
    assert_eq!(app.vault.state(), VaultState::Wiped);
    assert_eq!(complete(&office), Rescue { discarded: 2, ..Rescue::default() });
}

#[test]
fn a_segment_that_is_confirmed_twice_counts_once() {
    let (phone, mut office, _) = unsent_work();
    let kind = office.wipe();
    office.order(kind);
    office.takes_segments = false;
    let app = phone.start().unwrap();
    app.talk(&mut office).unwrap();
    let first = app.device.waiting_segments().unwrap()[0];
    // It is noted, and the segment can't be removed yet.
    phone.disk.fail_at(4, Fault::Kill);
    assert!(app.device.segment_stored(first).is_err());
    phone.heal();
    drop(app);
    office.takes_segments = true;
    let app = phone.start().unwrap();
    app.talk(&mut office).unwrap();
    assert_eq!(complete(&office), Rescue { segments: 2, ..Rescue::default() });
    app.device.segment_stored(first).unwrap_err();
}

#[test]
fn a_wipe_with_unsent_work_that_is_interrupted_hands_all_of_it_over() {
    let (template, mut office, unsent) = unsent_work();
    let kind = office.wipe();
    office.order(kind);
    let mut faults = 0;
    for (on_disk, fault) in [
        (true, Fault::Once),
        (true, Fault::Kill),
        (true, Fault::PowerCut),
        (false, Fault::Once),
        (false, Fault::Kill),
    ] {
        for number in 0.. {
            let (phone, mut office) = (template.copy(), office.clone());
            if on_disk {
                phone.disk.fail_at(number, fault);
            } else {
                phone.keys.fail_at(number, fault);
            }
            let _ = phone.start().and_then(|app| app.talk(&mut office));
            let reached = if on_disk { phone.disk.failed() } else { phone.keys.failed() };
            phone.heal();
            let what = format!("{fault:?} at call {number}, on the disk: {on_disk}");
            let app = phone.start().unwrap_or_else(|error| panic!("{what}: {error:?}"));
            if app.vault.state() == VaultState::Wiping {
                assert!(!phone.files().iter().any(|name| name.starts_with("slots")), "{what}");
            }
            if app.vault.state() != VaultState::Wiped {
                app.talk(&mut office).unwrap_or_else(|error| panic!("{what}: {error:?}"));
            }
            assert_eq!(app.vault.state(), VaultState::Wiped, "{what}");
            assert_eq!(phone.files(), ["tombstone"], "{what}");
            assert_eq!(office.proven(), ["shredded", "complete"], "{what}");
            assert_eq!(complete(&office), Rescue { segments: 2, ..Rescue::default() }, "{what}");
            assert_eq!(office.rescued(), unsent, "{what}");
            if !reached {
                break;
            }
            faults += 1;
        }
    }
    assert!(faults > 150, "{faults}");
}

#[test]
fn a_control_file_that_was_put_back_keeps_the_vault_closed_until_the_office_has_decided() {
    let (phone, mut office, _) = unsent_work();
    let names = ["control.a", "control.b"];
    let older = names.map(|name| fs::read(phone.file(name)).unwrap());
    let app = phone.start().unwrap();
    app.opens_with(RIGHT).unwrap();
    assert!(app.opens_with("not the right one").is_err());
    app.vault.note_commit(100).unwrap();
    drop(app);
    for (name, bytes) in names.iter().zip(&older) {
        fs::write(phone.file(name), bytes).unwrap();
    }
    for _ in 0..3 {
        // Reports bring the file nearer to the mark; it is known all the same.
        let app = phone.start().unwrap();
        assert!(matches!(app.opens_with(RIGHT), Err(VaultError::RolledBack)));
        assert_eq!(app.vault.state(), VaultState::Ready, "no wipe and no lock on suspicion");
        app.talk(&mut office).unwrap();
        app.vault.note_commit(3).unwrap();
        assert_eq!(app.vault.seen_commit().unwrap(), 100);
    }
    office.order(Kind::Lock);
    office.grants_unlock = true;
    let app = phone.start().unwrap();
    app.talk(&mut office).unwrap();
    drop(app);
    phone.start().unwrap().opens_with(RIGHT).unwrap();
}

#[test]
fn a_change_that_can_not_be_sealed_is_not_made() {
    let (template, office, unsent) = unsent_work();
    for fault in [Fault::Once, Fault::Kill] {
        for number in 0.. {
            let phone = template.copy();
            let session = Session::open(&phone, &office);
            phone.disk.fail_at(number, fault);
            let outcome = session.add();
            if !phone.disk.failed() {
                assert!(outcome.is_ok());
                assert_eq!(number, 3, "the folder, the segment, and its name");
                break;
            }
            phone.heal();
            match outcome {
                Ok(()) => assert_eq!(session.unsent().len(), 4, "{fault:?} at call {number}"),
                Err(error) => {
                    assert!(matches!(error, Stored(StoreError::Io { .. })), "{error}");
                    assert_eq!(session.unsent(), unsent, "{fault:?} at call {number}");
                }
            }
            // The store goes on, and so does the next session.
            session.add().unwrap();
            let now = session.unsent();
            assert!(sealed(&phone).is_superset(&now), "{fault:?} at call {number}");
            drop(session);
            let phone = phone.copy();
            let session = Session::open(&phone, &office);
            assert_eq!(session.unsent(), now, "{fault:?} at call {number}");
        }
    }
}

#[test]
fn a_segment_goes_when_all_of_its_changes_are_sent() {
    let (template, office) = &*TEMPLATE;
    let phone = template.copy();
    let session = Session::open(&phone, office);
    let segments = || RealDisk.list(&phone.file("outbox")).unwrap().len();
    for _ in 0..300 {
        session.add().unwrap();
    }
    assert_eq!(segments(), 2, "a segment takes 256 changes");
    for _ in 0..255 {
        session.settle(0, false);
    }
    session.settle(0, true);
    assert_eq!(segments(), 2, "a refused change is unsent");
    session.outbox.discard(DeviceSeq(256)).unwrap();
    assert_eq!((segments(), sealed(&phone)), (1, session.unsent()));
    while session.settle(0, false).is_some() {}
    assert_eq!(segments(), 0, "it is too long to go on with");
    // A short one stays for the next change, and spares it all steps but one.
    session.add().unwrap();
    while session.settle(0, false).is_some() {}
    assert_eq!((segments(), session.unsent().len()), (1, 0));
    phone.disk.fail_at(1, Fault::Once);
    session.add().unwrap();
    assert!(!phone.disk.failed(), "it is written over");
    phone.heal();
    assert_eq!((sealed(&phone), segments()), (session.unsent(), 1), "what was sent is not in it any more");
    session.close(&phone);
    assert_eq!(segments(), 1, "a change in it is unsent");
    let session = Session::open(&phone, office);
    while session.settle(0, false).is_some() {}
    session.add().unwrap();
    while session.settle(0, false).is_some() {}
    assert_eq!(segments(), 1);
    session.close(&phone);
    assert_eq!(segments(), 0, "nothing waits");
}

#[test]
fn a_segment_that_could_not_be_begun_anew_costs_no_change() {
    let (template, office) = &*TEMPLATE;
    for fault in [Fault::Once, Fault::Kill, Fault::PowerCut] {
        let phone = template.copy();
        let session = Session::open(&phone, office);
        for _ in 0..3 {
            session.add().unwrap();
        }
        while session.settle(0, false).is_some() {}
        phone.disk.fail_at(0, fault);
        session.add().unwrap_err();
        assert!(phone.disk.failed() && session.unsent().is_empty());
        phone.heal();
        // The store goes on, and so does the next session.
        session.add().unwrap();
        let now = session.unsent();
        assert!(now.len() == 1 && sealed(&phone).is_superset(&now), "{fault:?}");
        drop(session);
        let phone = phone.copy();
        let session = Session::open(&phone, office);
        session.add().unwrap();
        assert!(session.unsent().len() == 2 && session.unsent().is_superset(&now), "{fault:?}");
        assert!(sealed(&phone).is_superset(&session.unsent()), "{fault:?}");
    }
}

#[test]
fn an_answer_is_stored_even_if_its_segment_can_not_be_removed() {
    let (template, office, unsent) = unsent_work();
    for fault in [Fault::Once, Fault::Kill] {
        for number in 0.. {
            let phone = template.copy();
            let session = Session::open(&phone, &office);
            phone.disk.fail_at(number, fault);
            while session.settle(0, false).is_some() {}
            let reached = phone.disk.failed();
            phone.heal();
            assert!(session.unsent().is_empty() && sealed(&phone).is_subset(&unsent));
            session.close(&phone);
            let session = Session::open(&phone, &office);
            assert!(session.unsent().is_empty(), "{fault:?} at call {number}");
            assert!(sealed(&phone).is_empty(), "{fault:?} at call {number}");
            if !reached {
                assert!(number > 2, "{number} calls");
                break;
            }
        }
    }
}

/// Opens the store while the disk fails at this call; whether it came to that.
fn opens_failing(phone: &Phone, office: &Office, number: usize, fault: Fault) -> bool {
    let app = phone.start().unwrap();
    phone.disk.fail_at(number, fault);
    // The disk may be too broken to read the segments, but not to leave them as they are.
    drop(app.vault.sealed_outbox(&office.profile()).map(|sealed| app.open_store_with(sealed).map(drop)));
    let reached = phone.disk.failed();
    phone.heal();
    reached
}

#[test]
fn a_stop_before_a_commit_costs_no_later_start() {
    let (template, office, unsent) = unsent_work();
    let left = template.copy();
    let session = Session::open(&template, &office);
    session.add().unwrap();
    fs::remove_dir_all(left.file("outbox")).unwrap();
    fs::rename(template.file("outbox"), left.file("outbox")).unwrap();
    for fault in [Fault::Once, Fault::Kill] {
        for number in 0.. {
            let phone = left.copy();
            let reached = opens_failing(&phone, &office, number, fault);
            let session = Session::open(&phone, &office);
            assert_eq!((session.unsent(), sealed(&phone)), (unsent.clone(), unsent.clone()));
            session.add().unwrap();
            assert_eq!(sealed(&phone), session.unsent(), "{fault:?} at call {number}");
            if !reached {
                assert!(number > 5, "{number} calls");
                break;
            }
        }
    }
}

#[test]
fn a_database_without_its_sealed_outbox_gets_another() {
    let (phone, office, unsent) = unsent_work();
    fs::remove_dir_all(phone.file("outbox")).unwrap();
    let session = Session::open(&phone, &office);
    assert_eq!((sealed(&phone), session.unsent()), (unsent.clone(), unsent));
}

#[test]
fn sealing_anew_on_a_failing_disk_takes_nothing_back_that_was_committed() {
    let (template, office) = &*TEMPLATE;
    let template = template.copy();
    let session = Session::open(&template, office);
    for _ in 0..300 {
        session.add().unwrap();
    }
    let unsent = session.unsent();
    let mut segments = RealDisk.list(&template.file("outbox")).unwrap();
    segments.sort_by_key(|path| fs::metadata(path).unwrap().len());
    fs::remove_file(&segments[1]).unwrap();
    let left = sealed(&template);
    assert_eq!((segments.len(), left.len()), (2, 300 - 256));
    for fault in [Fault::Once, Fault::Full] {
        for number in 0.. {
            let phone = template.copy();
            let reached = opens_failing(&phone, office, number, fault);
            assert!(sealed(&phone).is_superset(&left), "{fault:?} at call {number}");
            let session = Session::open(&phone, office);
            assert_eq!((sealed(&phone), session.unsent()), (unsent.clone(), unsent.clone()));
            if !reached {
                assert!(number > 3, "{number} calls");
                break;
            }
        }
    }
}
