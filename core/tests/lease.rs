//! What a device promises about the time it may stay away, the rules it keeps and the keys it trusts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

mod vault_kit;

use roundsman_core::device::DeviceEvent;
use roundsman_core::platform::{Clock, KeyAlias, PlatformKeys};
use roundsman_core::protocol::api::CheckinAnswer;
use roundsman_core::protocol::command::Kind;
use roundsman_core::protocol::hpke_seal;
use roundsman_core::protocol::lease::Lease;
use roundsman_core::protocol::policy::Policy;
use roundsman_core::protocol::posture::{Concern, Posture, Verdict};
use roundsman_core::protocol::receipt::{Progress, Trigger};
use roundsman_core::protocol::root::{Root, RootError};
use roundsman_core::protocol::ticket::SpkiPin;
use roundsman_core::vault::{LeaseState, Vault, VaultError, VaultState};
use std::fs;
use vault_kit::{App, Fault, OTHER, Office, Phone, RIGHT, passcode};

const DAY: i64 = 24 * 60 * 60;

fn leased() -> (Office, Phone) {
    let mut office = Office::new();
    office.leases = true;
    let phone = Phone::enrolled(&mut office);
    (office, phone)
}

/// The office's clock shows the same as the phone's.
fn meet(office: &mut Office, phone: &Phone) {
    office.now_ms = phone.clock.now().timestamp_millis();
}

fn state(app: &App) -> LeaseState {
    app.vault.lease().unwrap().state
}

fn triggers(office: &Office) -> Vec<Trigger> {
    let triggers = office.receipts.iter().filter_map(|receipt| match receipt.progress {
        Progress::Shredded { trigger, .. } => Some(trigger),
        _ => None,
    });
    triggers.collect()
}

#[test]
fn a_lease_warns_then_closes_the_vault_until_the_server_is_reached() {
    let (mut office, phone) = leased();
    let app = phone.start().unwrap();
    assert_eq!(state(&app), LeaseState::Fresh);
    phone.clock.advance(4 * DAY);
    assert!(matches!(state(&app), LeaseState::Warn { .. }));
    app.opens_with(RIGHT).unwrap();
    phone.clock.advance(3 * DAY);
    drop(app);
    let app = phone.start().unwrap();
    assert_eq!(state(&app), LeaseState::LockDue);
    assert!(matches!(app.opens_with(RIGHT), Err(VaultError::LeaseEnded)));
    assert!(matches!(app.opens_with(OTHER), Err(VaultError::LeaseEnded)), "and counts no attempt");
    meet(&mut office, &phone);
    app.talk(&mut office).unwrap();
    assert_eq!(state(&app), LeaseState::Fresh);
    app.opens_with(RIGHT).unwrap();
}

#[test]
fn a_turn_that_brings_a_lease_alone_takes_two_writes() {
    let (mut office, phone) = leased();
    let app = phone.start().unwrap();
    app.talk(&mut office).unwrap();
    for _ in 0..2 {
        phone.clock.advance(4 * DAY);
        meet(&mut office, &phone);
        let (before, turns) = (phone.disk.writes(), office.turns.len());
        app.talk(&mut office).unwrap();
        assert_eq!(phone.disk.writes() - before, 2, "the turn's id, then its end with the lease");
        assert_eq!(state(&app), LeaseState::Fresh);
        let [.., last, this] = office.turns.as_slice() else { panic!("two turns") };
        assert_eq!(office.turns.len(), turns + 1);
        assert_eq!(this.counter, last.counter + 1, "the turn before it has ended");
        assert_ne!((this.nonce, this.attempt), (last.nonce, last.attempt));
    }
}

#[test]
fn a_device_that_never_got_a_lease_has_none() {
    let mut office = Office::new();
    let phone = Phone::enrolled(&mut office);
    phone.clock.advance(4000 * DAY);
    let app = phone.start().unwrap();
    assert!(!app.device.tick(None, &|| ()).unwrap());
    assert_eq!(state(&app), LeaseState::None);
    phone.clock.advance(-5000 * DAY);
    app.opens_with(RIGHT).unwrap();
}

#[test]
fn a_lease_that_is_older_forged_or_for_another_device_changes_nothing() {
    let (office, phone) = leased();
    let app = phone.start().unwrap();
    let before = app.vault.lease().unwrap();
    phone.clock.advance(4 * DAY);
    let good = Lease { issued_ms: office.now_ms + 4 * DAY * 1000, ..office.lease() };
    let mut forged = office.sign_lease(&good);
    *forged.last_mut().unwrap() ^= 1;
    let bad = [
        office.sign_lease(&office.lease()),
        office.sign_lease(&Lease { issued_ms: office.now_ms - 1, ..office.lease() }),
        office.sign_lease(&Lease { device: [1; 16], ..good.clone() }),
        office.sign_lease(&Lease { wipe_after_s: Some(1), ..good.clone() }),
        forged,
    ];
    for lease in bad {
        let answer = CheckinAnswer { lease: Some(lease), ..CheckinAnswer::at(phone.clock.now()) };
        assert_eq!(app.take(&answer).unwrap(), []);
        assert_eq!(app.vault.lease().unwrap().locks_at, before.locks_at);
    }
    let answer =
        CheckinAnswer { lease: Some(office.sign_lease(&good)), ..CheckinAnswer::at(phone.clock.now()) };
    app.take(&answer).unwrap();
    assert_eq!(state(&app), LeaseState::Fresh);
}

#[test]
fn a_lease_wipes_by_the_time_since_a_start_without_any_server() {
    let mut office = Office::new();
    office.leases = true;
    let phone = Phone::new();
    phone.clock.boot(1);
    let app = phone.start().unwrap();
    app.enrol(&mut office).unwrap();
    app.talk(&mut office).unwrap();
    phone.clock.set_forward(90 * DAY);
    assert!(!app.device.tick(None, &|| ()).unwrap(), "whatever the wall clock shows");
    phone.clock.advance(30 * DAY);
    let closed = std::cell::Cell::new(0);
    assert!(app.device.tick(Some(3), &|| closed.set(1)).unwrap());
    assert_eq!((closed.get(), app.vault.state()), (1, VaultState::Wiping));
    assert!(!phone.files().iter().any(|name| name.starts_with("slots") || name == "vault.db"));
    app.talk(&mut office).unwrap();
    assert_eq!(office.proven(), ["shredded", "complete"]);
    assert_eq!(triggers(&office), [Trigger::Lease]);
    assert_eq!(app.vault.state(), VaultState::Wiped);
}

#[test]
fn a_lease_wipes_by_the_wall_clock_only_at_a_second_reading_a_day_later() {
    let (mut office, phone) = leased();
    phone.clock.advance(31 * DAY);
    for _ in 0..3 {
        let app = phone.start().unwrap();
        assert_eq!((app.vault.state(), state(&app)), (VaultState::Ready, LeaseState::WipeDue));
        phone.clock.advance(DAY / 4);
    }
    phone.clock.advance(DAY);
    let app = phone.start().unwrap();
    assert_eq!(app.vault.state(), VaultState::Wiping, "at the start, before anything else");
    app.talk(&mut office).unwrap();
    assert_eq!(triggers(&office), [Trigger::Lease]);
}

#[test]
fn a_check_in_between_two_late_readings_saves_the_vault() {
    let (mut office, phone) = leased();
    phone.clock.advance(31 * DAY);
    let app = phone.start().unwrap();
    meet(&mut office, &phone);
    app.talk(&mut office).unwrap();
    phone.clock.advance(2 * DAY);
    drop(app);
    phone.start().unwrap().opens_with(RIGHT).unwrap();
}

#[test]
fn a_clock_that_was_turned_back_or_jumped_years_is_put_right_by_the_server() {
    for (seconds, back) in [(-3600, true), (-3650 * DAY, true), (500 * DAY, false), (4000 * DAY, false)] {
        let (mut office, phone) = leased();
        let app = phone.start().unwrap();
        phone.clock.set_forward(seconds);
        match app.opens_with(RIGHT) {
            Err(VaultError::ClockTurnedBack) => assert!(back, "{seconds}"),
            Err(VaultError::ClockImplausible) => assert!(!back, "{seconds}"),
            other => panic!("{seconds}: {other:?}"),
        }
        assert!(!app.device.tick(None, &|| ()).unwrap());
        assert!(matches!(state(&app), LeaseState::Fresh), "the lease is not burnt");
        office.now_ms += 1000;
        app.talk(&mut office).unwrap();
        app.opens_with(RIGHT).unwrap();
    }
}

#[test]
fn withheld_command_detected() {
    let (mut office, phone) = leased();
    let app = phone.start().unwrap();
    phone.clock.advance(DAY);
    meet(&mut office, &phone);
    let before = app.vault.lease().unwrap();
    office.order(Kind::Lock);
    office.withholds = true;
    assert_eq!(app.exchange(&mut office).unwrap(), []);
    assert!(app.device.has_news().unwrap(), "it asks again");
    assert_eq!(app.exchange(&mut office).unwrap(), [DeviceEvent::Withheld { head: 1 }]);
    assert!(app.device.has_news().unwrap(), "and says what it misses");
    assert_eq!(app.exchange(&mut office).unwrap(), []);
    assert!(!app.device.has_news().unwrap());
    assert_eq!(office.missed, [1]);
    assert_eq!(app.vault.lease().unwrap(), before, "the lease is not extended");
    office.withholds = false;
    assert_eq!(app.talk(&mut office).unwrap(), [DeviceEvent::Locked]);
    assert!(app.vault.lease().unwrap().locks_at > before.locks_at);
}

#[test]
fn a_command_that_was_given_and_refused_is_not_withheld() {
    let (mut office, phone) = leased();
    let app = phone.start().unwrap();
    phone.clock.advance(DAY);
    meet(&mut office, &phone);
    let before = app.vault.lease().unwrap();
    let wipe = office.wipe_by_server();
    office.order(wipe);
    assert!(matches!(app.talk(&mut office).unwrap()[..], [DeviceEvent::Refused(_)]));
    assert!(office.missed.is_empty() && app.vault.lease().unwrap().locks_at > before.locks_at);
}

#[test]
fn a_report_without_its_turn_names_nothing_that_may_be_overtaken() {
    let (office, template) = leased();
    let (mut without, mut with) = (0, 0);
    for n in 0..12 {
        let (phone, mut office) = (template.copy(), office.clone());
        let app = phone.start().unwrap();
        app.talk(&mut office).unwrap();
        phone.disk.fail_at(n, Fault::Once);
        let report = app.device.report(None);
        phone.heal();
        let Ok(report) = report else { continue };
        if report.turn.is_none() {
            without += 1;
            assert!((report.commit, report.boot) == (None, None) && report.audit.is_none(), "call {n}");
        } else {
            with += 1;
            assert!(report.commit.is_some(), "call {n}");
        }
        // Nothing is lost by it.
        let report = app.device.report(None).unwrap();
        assert!(report.turn.is_some() && report.commit.is_some(), "call {n}");
    }
    assert!(without > 0 && with > 0, "{without} and {with}");
}

#[test]
fn a_report_whose_answer_was_lost_is_repeated_with_the_same_turn() {
    let (mut office, phone) = leased();
    let app = phone.start().unwrap();
    let counter = office.turns.len() as u64;
    let first = app.device.report(None).unwrap().turn.unwrap();
    assert_eq!(first.counter, counter);
    drop(app);
    let app = phone.start().unwrap();
    let again = app.device.report(None).unwrap();
    assert_eq!(again.turn, Some(first));
    app.take(&office.answer(&again)).unwrap();
    let next = app.device.report(None).unwrap().turn.unwrap();
    assert_eq!(next.counter, counter + 1);
    assert!(next.nonce != first.nonce && next.attempt != first.attempt);
}

#[test]
fn a_kill_at_any_call_of_a_report_or_its_answer_does_not_look_like_a_copy() {
    let (office, template) = leased();
    for fault in [Fault::Kill, Fault::PowerCut] {
        for n in 0.. {
            let (mut office, phone) = (office.clone(), template.copy());
            let app = phone.start().unwrap();
            phone.disk.fail_at(n, fault);
            let sent = app.device.report(None).ok().and_then(|report| report.turn);
            let mut reached = phone.disk.failed();
            drop(app);
            phone.heal();
            let app = phone.start().unwrap();
            let report = app.device.report(None).unwrap();
            if let Some(sent) = sent {
                assert_eq!(report.turn, Some(sent), "{fault:?} at call {n}: what was sent is on disk");
            }
            let turn = report.turn.unwrap();
            let answer = office.answer(&report);
            phone.disk.fail_at(n, fault);
            let _ = app.take(&answer);
            reached |= phone.disk.failed();
            drop(app);
            phone.heal();
            let next = phone.start().unwrap().device.report(None).unwrap().turn.unwrap();
            let nonce = answer.nonce.unwrap();
            let repeats = next == turn;
            let goes_on = next.counter == turn.counter + 1 && next.nonce[..] == nonce[..];
            assert!(repeats || goes_on, "{fault:?} at call {n}: {turn:?}, then {next:?}");
            if !reached {
                assert!(n > 3 && goes_on);
                break;
            }
        }
    }
}

fn next(office: &Office, version: u32, change: impl FnOnce(&mut Root)) -> Vec<u8> {
    let mut root = Root { version, expires_ms: i64::MAX, ..office.root() };
    change(&mut root);
    office.sign_root(&root)
}

#[test]
fn a_chain_of_roots_is_followed_to_its_end() {
    let (mut office, phone) = leased();
    let pins = vec![SpkiPin([8; 32]), SpkiPin([9; 32])];
    office.roots = vec![
        next(&office, 2, |root| root.expires_ms = 1),
        next(&office, 3, |root| {
            root.pins.clone_from(&pins);
            root.url = Some("https://other.example".into());
        }),
    ];
    let app = phone.start().unwrap();
    assert_eq!(app.talk(&mut office).unwrap(), []);
    let profile = app.vault.profile().unwrap();
    assert_eq!((profile.pins, profile.url.as_str()), (pins, "https://other.example"));
    assert_eq!(app.device.report(None).unwrap().root_version, 3);
}

#[test]
fn a_root_that_skips_goes_back_or_breaks_in_the_middle_is_refused_and_commands_go_on() {
    let (office, template) = leased();
    let mut forged = next(&office, 3, |_| {});
    *forged.last_mut().unwrap() ^= 1;
    let chains = [
        vec![next(&office, 3, |_| {})],
        vec![office.sign_root(&office.root())],
        vec![next(&office, 2, |_| {}), forged, next(&office, 4, |_| {})],
        vec![next(&office, 2, |_| {}), next(&office, 2, |_| {})],
        vec![next(&office, 2, |root| root.expires_ms = 1)],
        vec![next(&office, 2, |root| root.approver = root.command.clone())],
        vec![next(&office, 2, |root| root.org = [1; 16])],
        vec![vec![7; 9]],
    ];
    for (n, roots) in chains.into_iter().enumerate() {
        let (mut office, phone) = (office.clone(), template.copy());
        let app = phone.start().unwrap();
        office.roots = roots;
        office.order(Kind::Lock);
        let events = app.exchange(&mut office).unwrap();
        let [DeviceEvent::RootRefused(error), DeviceEvent::Locked] = events[..] else {
            panic!("chain {n}: {events:?}");
        };
        let skipped = matches!(error, RootError::NotTheNext { .. });
        assert_eq!(skipped, [0, 1, 3].contains(&n), "chain {n}: {error}");
        assert_eq!(app.vault.profile(), Some(office.profile()), "chain {n}");
        assert_eq!(app.device.report(None).unwrap().root_version, 1);
    }
}

#[test]
fn a_new_release_key_gets_the_share_sealed_anew() {
    let (mut office, phone) = leased();
    let app = phone.start().unwrap();
    let new = hpke_seal::key_pair(&[33; 32]).1;
    office.roots = vec![next(&office, 2, |root| root.release_key = new)];
    let before = office.shares();
    app.exchange(&mut office).unwrap();
    assert!(app.device.has_news().unwrap());
    let report = app.device.report(None).unwrap();
    let sealed = report.escrow.expect("the share is offered once more");
    let aad = roundsman_core::protocol::escrow::share_aad(office.profile().device, sealed.share);
    let private = hpke_seal::key_pair(&[33; 32]).0;
    let info = roundsman_core::protocol::escrow::ESCROW_INFO;
    assert_eq!(hpke_seal::open(&sealed.sealed, &private, info, &aad).unwrap().len(), 32);
    assert_eq!(office.shares(), before);
    app.opens_with(RIGHT).unwrap();
}

#[test]
fn only_a_later_policy_is_taken_and_it_lasts() {
    let (mut office, phone) = leased();
    let app = phone.start().unwrap();
    assert_eq!(app.vault.policy().version, 0);
    office.policy = Some(Policy { idle_lock_s: 60, ..Office::rules(5) });
    app.talk(&mut office).unwrap();
    for older in [4, 5] {
        let lax = office.sign_policy(&Policy { idle_lock_s: 900, ..Office::rules(older) });
        app.take(&CheckinAnswer { policy: Some(lax), ..CheckinAnswer::at(phone.clock.now()) }).unwrap();
    }
    drop(app);
    let app = phone.start().unwrap();
    assert_eq!((app.vault.policy().version, app.vault.policy().idle_lock_s), (5, 60));
    assert_eq!(app.device.report(None).unwrap().policy_version, 5);
}

#[test]
fn a_phone_that_the_policy_refuses_does_not_open() {
    let (mut office, phone) = leased();
    let app = phone.start().unwrap();
    let mut rules = Office::rules(1);
    rules.posture.rooted = Verdict::Lock;
    office.policy = Some(rules);
    app.talk(&mut office).unwrap();
    let posture = Posture { rooted: Some(true), screen_lock: Some(false), ..Posture::default() };
    app.vault.set_posture(posture.clone());
    let refused = app.opens_with(RIGHT);
    let Err(VaultError::PostureRefused { concerns }) = refused else { panic!("{refused:?}") };
    assert_eq!(concerns, [Concern::Rooted]);
    assert_eq!(app.vault.concerns().len(), 2);
    assert_eq!(app.device.report(None).unwrap().posture, Some(posture));
    app.vault.set_posture(Posture::default());
    app.opens_with(RIGHT).unwrap();
}

#[test]
fn its_user_erases_a_device_with_the_passcode_only() {
    let (mut office, phone) = leased();
    let app = phone.start().unwrap();
    let wrong = app.vault.erase(&passcode(OTHER), None, &|| ());
    assert!(matches!(wrong, Err(VaultError::WrongPasscode { attempts_left: 9 })));
    assert!(matches!(app.vault.erase_without_passcode(&|| ()), Err(VaultError::PasscodeNeeded)));
    app.opens_with(RIGHT).unwrap();
    app.vault.erase(&passcode(RIGHT), Some(2), &|| ()).unwrap();
    assert_eq!(app.vault.state(), VaultState::Wiping);
    app.talk(&mut office).unwrap();
    assert_eq!((triggers(&office), app.vault.state()), (vec![Trigger::User], VaultState::Wiped));
}

#[test]
fn a_device_that_no_passcode_opens_is_erased_without_one() {
    let (mut office, phone) = leased();
    let damaged = phone.copy();
    let app = phone.start().unwrap();
    office.order(Kind::Lock);
    app.talk(&mut office).unwrap();
    app.vault.erase_without_passcode(&|| ()).unwrap();
    assert_eq!(app.vault.state(), VaultState::Wiping);

    damaged.keys.delete(KeyAlias::Wrap).unwrap();
    let app = damaged.start().unwrap();
    assert!(matches!(app.opens_with(RIGHT), Err(VaultError::KeyGone)));
    app.vault.erase_without_passcode(&|| ()).unwrap();
    assert_eq!(app.vault.state(), VaultState::Wiping);
}

#[test]
fn a_vault_without_its_platform_key_gives_way_to_a_new_one_and_sealed_work_stays() {
    let (mut office, phone) = leased();
    let sealed = phone.file("outbox").join("1.seg");
    fs::create_dir_all(phone.file("outbox")).unwrap();
    fs::write(&sealed, b"sealed").unwrap();
    let kept = Vault::start_over(phone.dir(), phone.seams());
    assert!(matches!(kept, Err(VaultError::PasscodeNeeded)), "not while the key is there");
    phone.start().unwrap().opens_with(RIGHT).unwrap();

    phone.keys.delete(KeyAlias::Control).unwrap();
    assert!(matches!(phone.start(), Err(VaultError::KeyGone)));
    for n in 0.. {
        let phone = phone.copy();
        phone.disk.fail_at(n, Fault::Kill);
        let whole = Vault::start_over(phone.dir(), phone.seams()).is_ok();
        phone.heal();
        if let Err(error) = phone.start() {
            assert!(matches!(error, VaultError::KeyGone), "{error}");
            Vault::start_over(phone.dir(), phone.seams()).unwrap();
        }
        assert_eq!(phone.start().unwrap().vault.state(), VaultState::New);
        assert_eq!(fs::read(phone.file("outbox").join("1.seg")).unwrap(), b"sealed");
        if whole {
            break;
        }
    }
    Vault::start_over(phone.dir(), phone.seams()).unwrap();
    let app = phone.start().unwrap();
    app.enrol(&mut office).unwrap();
    app.opens_with(RIGHT).unwrap();
    assert_eq!(fs::read(&sealed).unwrap(), b"sealed");
}
