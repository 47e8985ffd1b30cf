//! What was not sent can be handed over, whatever stops the app, and by nobody but the organisation be read.

use crate::kit::{CHUNK, Session, TEMPLATE, content, phone};
use crate::vault_kit::{Fault, Office, Phone};
use roundsman_core::model::DeviceId;
use roundsman_core::platform::{Disk, KeyAlias, PlatformKeys, RealDisk};
use roundsman_core::protocol::command::Kind;
use roundsman_core::protocol::receipt::{Progress, Rescue, Trigger};
use roundsman_core::protocol::rescue_photo::SealedKey;
use roundsman_core::vault::{Vault, VaultState};
use std::collections::BTreeMap;
use std::fs;
use uuid::Uuid;

/// A phone with two photos that were not sent, the larger one of this size, closed; and their content.
fn unsent_of(size: usize) -> (Phone, Office, BTreeMap<Uuid, Vec<u8>>) {
    let (phone, office) = (phone(), TEMPLATE.1.clone());
    let session = Session::open(&phone);
    let contents = [content(size), content(100)];
    let photos = contents.map(|content| (session.add(&content).unwrap().id, content)).into();
    session.store.close();
    drop(session);
    (phone, office, photos)
}

fn unsent() -> (Phone, Office, BTreeMap<Uuid, Vec<u8>>) {
    unsent_of(5 * CHUNK + 7)
}

fn complete(office: &Office) -> Rescue {
    let Some(Progress::Complete { rescue, .. }) = office.receipts.last().map(|last| &last.progress) else {
        panic!("the wipe is not complete: {:?}", office.proven())
    };
    *rescue
}

#[test]
fn a_wiped_device_hands_over_photos_that_it_can_not_read() {
    let (phone, mut office, photos) = unsent();
    let kind = office.wipe();
    office.order(kind);
    office.takes_segments = false;
    let app = phone.start().unwrap();
    app.talk(&mut office).unwrap();
    assert_eq!(phone.files(), ["att", "control.a", "control.b", "in-use", "outbox"]);
    assert_eq!(app.device.waiting_photos(false).unwrap().len(), 2, "a wipe waits for no other network");
    drop(app);
    office.takes_segments = true;
    let app = phone.start().unwrap();
    app.talk(&mut office).unwrap();
    assert_eq!((app.vault.state(), phone.files()), (VaultState::Wiped, vec!["tombstone".to_owned()]));
    assert_eq!(office.proven(), ["shredded", "complete"]);
    let rescue = complete(&office);
    assert_eq!((rescue.photos, rescue.photos_discarded, rescue.discarded), (2, 0, 0));
    assert!(office.rescued_photos() == photos);
}

#[test]
fn a_wipe_that_is_interrupted_anywhere_hands_over_every_photo_and_counts_it_once() {
    let (template, mut office, photos) = unsent_of(CHUNK / 8);
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
            if app.vault.state() != VaultState::Wiped {
                app.talk(&mut office).unwrap_or_else(|error| panic!("{what}: {error:?}"));
            }
            assert_eq!(
                (app.vault.state(), phone.files()),
                (VaultState::Wiped, vec!["tombstone".to_owned()]),
                "{what}"
            );
            let rescue = complete(&office);
            assert_eq!((rescue.photos, rescue.photos_discarded), (2, 0), "{what}");
            assert!(office.rescued_photos() == photos, "{what}");
            if !reached {
                break;
            }
            faults += 1;
        }
    }
    assert!(faults > 200, "{faults}");
}

#[test]
fn an_order_that_does_not_spare_unsent_work_destroys_photos_and_so_do_thirty_days() {
    let (template, office, _) = unsent();
    for discard in [true, false] {
        let (phone, mut office) = (template.copy(), office.clone());
        let kind = if discard { office.wipe_all() } else { office.wipe() };
        office.order(kind);
        office.takes_segments = false;
        let app = phone.start().unwrap();
        app.talk(&mut office).unwrap();
        assert_eq!(app.vault.state() == VaultState::Wiped, discard);
        phone.clock.advance(30 * 24 * 3600 + 1);
        app.talk(&mut office).unwrap_or_default();
        assert_eq!((app.vault.state(), phone.files()), (VaultState::Wiped, vec!["tombstone".to_owned()]));
        let rescue = complete(&office);
        assert_eq!((rescue.photos, rescue.photos_discarded), (0, 2));
        assert!(office.rescued_photos().is_empty());
    }
}

#[test]
fn a_locked_device_hands_photos_over_once_and_keeps_them() {
    let (phone, mut office, photos) = unsent();
    office.order(Kind::Lock);
    let app = phone.start().unwrap();
    app.talk(&mut office).unwrap();
    assert!(matches!(app.vault.state(), VaultState::Locked { .. }));
    assert!(office.rescued_photos() == photos);
    assert!(app.device.waiting_photos(true).unwrap().is_empty(), "once is enough");
    drop(app);
    office.grants_unlock = true;
    let app = phone.start().unwrap();
    app.talk(&mut office).unwrap();
    drop(app);
    let session = Session::open(&phone);
    assert!(
        session.listed().iter().all(|attachment| session.all(attachment).unwrap() == photos[&attachment.id])
    );
    assert!(session.has_keys());
}

#[test]
fn a_wipe_after_a_lock_offers_everything_again_and_counts_it() {
    let (phone, mut office, photos) = unsent();
    office.order(Kind::Lock);
    phone.start().unwrap().talk(&mut office).unwrap();
    assert!(office.rescued_photos() == photos);
    let kind = office.wipe();
    office.order(kind);
    let app = phone.start().unwrap();
    app.talk(&mut office).unwrap();
    assert_eq!((app.vault.state(), phone.files()), (VaultState::Wiped, vec!["tombstone".to_owned()]));
    assert_eq!(complete(&office).photos, 2);
    assert!(office.rescued_photos() == photos);
}

#[test]
fn a_wipe_on_a_full_disk_hands_every_photo_over_whatever_it_could_record() {
    let (template, office, photos) = unsent_of(200);
    let mut adopted = 0;
    for call in 0.. {
        let (phone, mut office) = (template.copy(), office.clone());
        let app = phone.start().unwrap();
        let kind = office.wipe();
        office.order(kind);
        let answer = office.answer(&app.device.report(None).unwrap());
        phone.disk.fail_at(call, Fault::Full);
        let _ = app.take(&answer);
        let reached = phone.disk.failed();
        phone.heal();
        drop(app);
        let app = phone.start().unwrap();
        for _ in 0..3 {
            if app.vault.state() != VaultState::Wiped {
                app.talk(&mut office).unwrap();
            }
        }
        assert_eq!(app.vault.state(), VaultState::Wiped, "call {call}");
        let rescue = complete(&office);
        assert_eq!((rescue.photos, rescue.photos_discarded), (2, 0), "call {call}");
        assert!(office.rescued_photos() == photos, "call {call}");
        adopted += u32::from(office.triggers().contains(&Trigger::Unrecorded));
        if !reached {
            break;
        }
    }
    assert!(adopted > 0, "no wipe went on without its mark");
}

#[test]
fn a_locked_device_waits_for_a_network_that_costs_nothing() {
    let (phone, mut office, _) = unsent();
    office.order(Kind::Lock);
    office.takes_segments = false;
    let app = phone.start().unwrap();
    app.talk(&mut office).unwrap();
    assert!(app.device.waiting_photos(false).unwrap().is_empty());
    assert_eq!(app.device.waiting_photos(true).unwrap().len(), 2);
}

#[test]
fn a_key_that_is_missing_or_damaged_is_sealed_anew_when_the_vault_opens() {
    let phone = phone();
    let session = Session::open(&phone);
    for n in 1..4 {
        session.add(&content(n)).unwrap();
    }
    let keys = session.keys();
    let whole = fs::read(&keys[1]).unwrap();
    fs::remove_file(&keys[0]).unwrap();
    fs::write(&keys[1], &whole[..50]).unwrap();
    // That of another file.
    fs::write(&keys[2], &whole).unwrap();
    session.store.close();
    drop(session);
    let session = Session::open(&phone);
    assert!(session.has_keys());
    for path in session.keys() {
        let sealed = SealedKey::read(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(path.file_stem().unwrap().to_str().unwrap(), sealed.head.file.simple().to_string());
    }
}

#[test]
fn what_an_identity_before_has_left_stays_through_a_new_start() {
    let (phone, _, photos) = unsent();
    // The platform has lost its keys; what was sealed is the organisation's still.
    phone.keys.delete(KeyAlias::Control).unwrap();
    Vault::start_over(phone.dir(), phone.seams()).unwrap();
    let left = RealDisk.list(&phone.dir().join("att")).unwrap();
    assert_eq!(left.len(), 2 * photos.len(), "{left:?}");
    assert!(!phone.files().iter().any(|name| name.starts_with("slots")));
}

#[test]
fn tidying_spares_what_another_identity_has_left_sealed_and_nothing_else() {
    let phone = phone();
    let session = Session::open(&phone);
    let (attachment, path) = session.file_of_next(b"not sent");
    let left = [path.clone(), path.with_extension("key")].map(|path| (fs::read(&path).unwrap(), path));
    session.attachments.remove(attachment.id).unwrap();
    let put_back = || left.iter().for_each(|(bytes, path)| fs::write(path, bytes).unwrap());
    put_back();
    fs::write(path.with_extension("new"), b"stray").unwrap();
    session.tidy_as(&phone, DeviceId(Uuid::from_u128(77)));
    assert_eq!((session.files(), session.keys().len()), (vec![path], 1));
    session.attachments.tidy().unwrap();
    assert_eq!((session.files().len(), session.keys().len()), (0, 0), "its own goes");
    put_back();
    fs::remove_file(&left[1].1).unwrap();
    session.tidy_as(&phone, DeviceId(Uuid::from_u128(77)));
    assert_eq!(session.files().len(), 0, "nobody could open it");
}
