//! What the leash promises: no file holds the share, nothing opens without the server's word for longer than the policy
//! says, and no fault costs the share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

mod vault_kit;

use roundsman_core::device::DeviceEvent;
use roundsman_core::protocol::api::CheckinAnswer;
use roundsman_core::protocol::command::Kind;
use roundsman_core::protocol::policy::Policy;
use roundsman_core::vault::{VaultError, VaultState};
use vault_kit::{App, OTHER, Office, Phone, RIGHT, passcode, sweep};

const HOUR: i64 = 3600;

fn leash(version: u32, hours: Option<u32>) -> Option<Policy> {
    Some(Policy { leash_h: hours, ..Office::rules(version) })
}

/// A phone on a leash of eight hours.
fn on_a_leash(office: &mut Office) -> Phone {
    let phone = Phone::enrolled(office);
    (office.leases, office.policy) = (true, leash(1, Some(8)));
    phone.start().unwrap().talk(office).unwrap();
    assert!(!holds_share(&phone));
    phone
}

/// A root with another recovery key.
fn new_root(office: &Office) -> Vec<u8> {
    let mut root = office.root();
    (root.version, root.expires_ms, root.recovery_key) = (2, i64::MAX, [7; 32]);
    office.sign_root(&root)
}

/// Whether a file of a release share is on the disk, whatever its name.
fn holds_share(phone: &Phone) -> bool {
    phone.files().iter().any(|name| name.starts_with("release"))
}

fn needs_share<T>(outcome: Result<T, VaultError>) -> bool {
    matches!(outcome, Err(VaultError::ShareNeeded))
}

#[test]
fn on_a_leash_nothing_opens_before_the_server_was_heard_and_nothing_is_counted() {
    let mut office = Office::new();
    let phone = on_a_leash(&mut office);
    let app = phone.start().unwrap();
    assert_eq!(app.vault.state(), VaultState::Ready);
    let before = phone.bytes();
    for text in [RIGHT, OTHER] {
        assert!(needs_share(app.unlock(text)));
    }
    assert!(needs_share(app.change(RIGHT, OTHER)));
    assert!(needs_share(app.vault.enable_biometrics(&passcode(RIGHT), &|| ())));
    assert!(needs_share(app.vault.unlock_with_biometrics()));
    assert!(needs_share(app.vault.change_key(&passcode(RIGHT), &|| (), |_, _| Ok::<_, VaultError>(()))));
    assert!(needs_share(app.vault.erase(&passcode(RIGHT), None, &|| ())));
    assert!(needs_share(app.vault.erase_without_passcode(&|| ())));
    assert_eq!(phone.bytes(), before, "nothing was written");

    app.talk(&mut office).unwrap();
    assert!(matches!(app.opens_with(OTHER), Err(VaultError::WrongPasscode { attempts_left: 9 })));
    app.opens_with(RIGHT).unwrap();
    app.change(RIGHT, OTHER).unwrap();
    app.vault.enable_biometrics(&passcode(OTHER), &|| ()).unwrap();
    app.vault.unlock_with_biometrics().unwrap();
    assert!(!holds_share(&phone));
    drop(app);
    let app = phone.start().unwrap();
    assert!(needs_share(app.vault.unlock_with_biometrics()) && needs_share(app.unlock(OTHER)));
    app.talk(&mut office).unwrap();
    app.vault.unlock_with_biometrics().unwrap();
    app.opens_with(OTHER).unwrap();
}

#[test]
fn the_share_is_dropped_after_the_policys_hours_by_the_clock_that_nobody_sets() {
    for tells_starts in [false, true] {
        let mut office = Office::new();
        let phone = on_a_leash(&mut office);
        if tells_starts {
            phone.clock.boot(1);
        }
        let app = phone.start().unwrap();
        let talk = |office: &mut Office| {
            office.now_ms += 1000;
            app.talk(office).unwrap();
        };
        talk(&mut office);
        phone.clock.advance(8 * HOUR - 1);
        app.opens_with(RIGHT).unwrap();
        phone.clock.advance(1);
        assert!(needs_share(app.unlock(RIGHT)), "after eight hours");
        phone.clock.advance(-HOUR);
        assert!(app.unlock(RIGHT).is_err(), "what was dropped is gone");
        talk(&mut office);
        app.opens_with(RIGHT).unwrap();

        // Each answer counts from when it came; one that brings no share does not.
        phone.clock.advance(7 * HOUR);
        office.now_ms += 7 * HOUR * 1000;
        talk(&mut office);
        phone.clock.advance(7 * HOUR);
        app.opens_with(RIGHT).unwrap();
        office.gives_share = false;
        office.now_ms += 7 * HOUR * 1000;
        talk(&mut office);
        phone.clock.advance(HOUR);
        assert!(needs_share(app.unlock(RIGHT)));

        // A shorter leash holds at once.
        office.gives_share = true;
        office.policy = leash(2, Some(1));
        office.now_ms += HOUR * 1000;
        talk(&mut office);
        phone.clock.advance(HOUR - 1);
        app.opens_with(RIGHT).unwrap();
        phone.clock.advance(1);
        assert!(needs_share(app.unlock(RIGHT)));
    }
}

#[test]
fn a_share_that_the_server_has_not_confirmed_stays_in_its_file() {
    let mut office = Office::new();
    office.confirms_escrow = false;
    (office.leases, office.policy) = (true, leash(1, Some(8)));
    let phone = Phone::new();
    let app = phone.start().unwrap();
    app.enrol(&mut office).unwrap();
    app.exchange(&mut office).unwrap();
    app.opens_with(RIGHT).unwrap();
    assert!(holds_share(&phone));
    drop(app);
    let app = phone.start().unwrap();
    app.opens_with(RIGHT).unwrap();
    office.confirms_escrow = true;
    app.talk(&mut office).unwrap();
    assert!(!holds_share(&phone));

    // A lock takes it, a release brings it back to memory, and the next passcode makes another.
    office.order(Kind::Lock);
    assert_eq!(app.talk(&mut office).unwrap(), [DeviceEvent::Locked]);
    office.grants_unlock = true;
    assert_eq!(app.talk(&mut office).unwrap(), [DeviceEvent::Unlocked]);
    assert!(!holds_share(&phone));
    office.grants_unlock = false;
    app.opens_with(RIGHT).unwrap();
    assert!(holds_share(&phone), "it is the only copy");
    drop(app);
    let app = phone.start().unwrap();
    app.opens_with(RIGHT).unwrap();
    app.talk(&mut office).unwrap();
    assert_eq!((holds_share(&phone), office.shares()), (false, 2));
    assert_eq!(office.refusals(), Vec::<String>::new());
    app.opens_with(RIGHT).unwrap();
    drop(app);
    let app = phone.start().unwrap();
    assert!(needs_share(app.unlock(RIGHT)));
    app.talk(&mut office).unwrap();
    app.opens_with(RIGHT).unwrap();
}

#[test]
fn a_lock_takes_the_share_out_of_memory_and_only_a_release_brings_it_back() {
    let mut office = Office::new();
    let phone = on_a_leash(&mut office);
    let app = phone.start().unwrap();
    app.talk(&mut office).unwrap();
    office.order(Kind::Lock);
    assert_eq!(app.talk(&mut office).unwrap(), [DeviceEvent::Locked]);
    app.talk(&mut office).unwrap();
    assert!(matches!(app.unlock(RIGHT), Err(VaultError::Locked)));
    drop(app);
    let app = phone.start().unwrap();
    app.talk(&mut office).unwrap();
    assert!(matches!(app.unlock(RIGHT), Err(VaultError::Locked)));
    assert!(!holds_share(&phone));
    office.grants_unlock = true;
    assert_eq!(app.talk(&mut office).unwrap(), [DeviceEvent::Unlocked]);
    app.opens_with(RIGHT).unwrap();
}

#[test]
fn a_leash_that_is_taken_off_brings_the_file_back() {
    let mut office = Office::new();
    let phone = on_a_leash(&mut office);
    office.policy = leash(2, None);
    let app = phone.start().unwrap();
    app.talk(&mut office).unwrap();
    assert!(holds_share(&phone));
    drop(app);
    let app = phone.start().unwrap();
    app.opens_with(RIGHT).unwrap();
    office.order(Kind::Lock);
    assert_eq!(app.talk(&mut office).unwrap(), [DeviceEvent::Locked], "it is in escrow as before");
    assert!(!holds_share(&phone));
}

#[test]
fn only_the_own_share_in_answer_to_the_present_question_is_taken() {
    let mut office = Office::new();
    let phone = on_a_leash(&mut office);
    let app = phone.start().unwrap();
    let old = office.answer(&app.device.report(Some(7)).unwrap());
    let replayed = CheckinAnswer { share: old.share, ..CheckinAnswer::at(chrono::DateTime::UNIX_EPOCH) };
    app.take(&replayed).unwrap();
    app.opens_with(RIGHT).unwrap();
    drop(app);

    let app = phone.start().unwrap();
    app.take(&replayed).unwrap();
    assert!(needs_share(app.unlock(RIGHT)), "nobody has asked");
    app.device.report(Some(7)).unwrap();
    app.take(&replayed).unwrap();
    assert!(needs_share(app.unlock(RIGHT)), "it answers another question");
    let mut other = office.clone();
    other.replace_share([5; 32]);
    let wrong = other.answer(&app.device.report(Some(7)).unwrap());
    app.take(&wrong).unwrap();
    assert!(needs_share(app.unlock(RIGHT)), "it is another share");
    let report = app.device.report(Some(7)).unwrap();
    let Some(Kind::Unlock { share, .. }) = report.unlock.as_ref().and_then(|asked| office.unlock(asked))
    else {
        panic!("no question");
    };
    app.take(&CheckinAnswer { share: Some(share), ..replayed.clone() }).unwrap();
    assert!(needs_share(app.unlock(RIGHT)), "it was sealed for an unlock");
    // Nor does an unlock open what is on a leash: nobody has locked it.
    let unlock = office.unlock(&app.device.report(Some(7)).unwrap().unlock.unwrap()).unwrap();
    let command = office.sign(&office.command(unlock));
    app.take(&CheckinAnswer { commands: vec![command], share: None, ..replayed }).unwrap();
    assert!(needs_share(app.unlock(RIGHT)));
    app.talk(&mut office).unwrap();
    app.opens_with(RIGHT).unwrap();
}

#[test]
fn under_new_keys_of_the_organisation_the_share_is_sealed_anew_once_it_is_here() {
    let mut office = Office::new();
    let phone = on_a_leash(&mut office);
    office.gives_share = false;
    office.roots = vec![new_root(&office)];
    let app = phone.start().unwrap();
    app.talk(&mut office).unwrap();
    assert!(needs_share(app.unlock(RIGHT)));
    assert_eq!((office.shares(), holds_share(&phone)), (1, false), "it can't be sealed while it is away");
    office.gives_share = true;
    app.talk(&mut office).unwrap();
    app.opens_with(RIGHT).unwrap();
    app.talk(&mut office).unwrap();
    assert_eq!((office.shares(), holds_share(&phone)), (2, false), "sealed anew, and on the leash again");
    drop(app);
    let app = phone.start().unwrap();
    app.talk(&mut office).unwrap();
    app.opens_with(RIGHT).unwrap();
}

/// Opens it, if need be after the server was heard.
fn must_open(app: &App, office: &mut Office, what: &str) {
    match app.opens_with(RIGHT) {
        Ok(()) => return,
        Err(VaultError::ShareNeeded) => {}
        Err(error) => panic!("{what}: {error:?}"),
    }
    app.talk(office).unwrap_or_else(|error| panic!("{what}: {error:?}"));
    app.opens_with(RIGHT).unwrap_or_else(|error| panic!("{what}, heard: {error:?}"));
}

/// Lets every call fail in a report and an unlock, and judges each time: the share is not lost, and ends where the policy
/// wants it.
fn never_costs_the_share(phone: &Phone, office: &Office, leashed: bool) {
    let faults = sweep(
        phone,
        office,
        |phone, office| {
            let app = phone.start()?;
            app.talk(office)?;
            app.opens_with(RIGHT)
        },
        |what, phone, office, _| {
            let app = phone.start().unwrap_or_else(|error| panic!("{what}: {error:?}"));
            must_open(&app, office, what);
            for _ in 0..2 {
                app.talk(office).unwrap_or_else(|error| panic!("{what}: {error:?}"));
            }
            assert_eq!(holds_share(phone), !leashed, "{what}");
            // Whatever happened, a lock takes all of it and a release brings it back.
            office.order(Kind::Lock);
            app.talk(office).unwrap_or_else(|error| panic!("{what}: {error:?}"));
            assert_eq!(app.vault.state(), VaultState::Locked { soft: false }, "{what}");
            assert!(!holds_share(phone), "{what}");
            office.grants_unlock = true;
            app.talk(office).unwrap_or_else(|error| panic!("{what}: {error:?}"));
            app.opens_with(RIGHT).unwrap_or_else(|error| panic!("{what}, released: {error:?}"));
            assert_eq!(office.refusals(), Vec::<String>::new(), "{what}");
        },
    );
    assert!(faults > 20, "{faults}");
}

#[test]
fn a_leash_that_is_put_on_and_interrupted_never_costs_the_share() {
    let mut office = Office::new();
    let phone = Phone::enrolled(&mut office);
    (office.leases, office.policy) = (true, leash(1, Some(8)));
    never_costs_the_share(&phone, &office, true);
}

#[test]
fn a_leash_that_is_taken_off_and_interrupted_never_costs_the_share() {
    let mut office = Office::new();
    let phone = on_a_leash(&mut office);
    office.policy = leash(2, None);
    never_costs_the_share(&phone, &office, false);
}

#[test]
fn a_leashed_share_that_is_sealed_anew_and_interrupted_is_never_lost() {
    let mut office = Office::new();
    let phone = on_a_leash(&mut office);
    office.roots = vec![new_root(&office)];
    never_costs_the_share(&phone, &office, true);
}

#[test]
fn a_leashed_share_that_is_replaced_and_interrupted_is_never_lost() {
    let mut office = Office::new();
    let phone = on_a_leash(&mut office);
    let app = phone.start().unwrap();
    office.order(Kind::Lock);
    app.talk(&mut office).unwrap();
    office.grants_unlock = true;
    app.talk(&mut office).unwrap();
    office.grants_unlock = false;
    drop(app);
    never_costs_the_share(&phone, &office, true);
}
