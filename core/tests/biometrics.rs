//! What biometrics open, for how long, and what takes them away.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

mod vault_kit;

use roundsman_core::platform::{KeyAlias, KeyError, PlatformKeys};
use roundsman_core::protocol::command::Kind;
use roundsman_core::vault::{BiometricsError, VaultError};
use vault_kit::{App, OTHER, Office, Phone, RIGHT, passcode};

const HOUR: i64 = 3600;

/// A phone whose person opens with a finger.
fn enabled(office: &mut Office) -> (Phone, App) {
    let phone = Phone::enrolled(office);
    let app = phone.start().unwrap();
    enable(&app).unwrap();
    (phone, app)
}

fn enable(app: &App) -> Result<(), VaultError> {
    app.vault.enable_biometrics(&passcode(RIGHT), &|| ())
}

fn by_finger(app: &App) -> Result<(), VaultError> {
    let key = app.vault.unlock_with_biometrics()?.key;
    let database = std::fs::read(app.vault.database_path())?;
    assert_eq!(database, key.pragma_text().as_bytes(), "the key is the one the database was made with");
    Ok(())
}

fn refusal(app: &App) -> BiometricsError {
    match by_finger(app) {
        Err(VaultError::Biometrics(error)) => error,
        other => panic!("not a refusal: {other:?}"),
    }
}

fn answer(phone: &Phone, finger: Result<(), KeyError>) {
    *phone.keys.finger.lock().unwrap() = finger;
}

#[test]
fn a_finger_opens_what_the_passcode_opens_once_it_is_enabled_with_the_passcode() {
    let mut office = Office::new();
    let phone = Phone::enrolled(&mut office);
    let app = phone.start().unwrap();
    assert!(!app.vault.biometrics());
    assert_eq!(refusal(&app), BiometricsError::Off);
    let wrong = app.vault.enable_biometrics(&passcode(OTHER), &|| ());
    assert!(matches!(wrong, Err(VaultError::WrongPasscode { attempts_left: 9 })), "it counts as an attempt");
    assert!(!app.vault.biometrics());
    enable(&app).unwrap();
    by_finger(&app).unwrap();
    drop(app);
    let app = phone.start().unwrap();
    assert!(app.vault.biometrics());
    by_finger(&app).unwrap();
    app.vault.disable_biometrics().unwrap();
    assert_eq!(refusal(&app), BiometricsError::Off);
    assert_eq!(phone.keys.exists(KeyAlias::Biometric), Ok(false));
    app.opens_with(RIGHT).unwrap();
}

#[test]
fn without_a_passcode_for_72_hours_a_finger_does_not_do() {
    let mut office = Office::new();
    let (phone, app) = enabled(&mut office);
    phone.clock.advance(72 * HOUR - 1);
    by_finger(&app).unwrap();
    phone.clock.advance(1);
    assert_eq!(refusal(&app), BiometricsError::Expired);
    assert!(matches!(app.opens_with(OTHER), Err(VaultError::WrongPasscode { .. })));
    assert_eq!(refusal(&app), BiometricsError::Expired, "a wrong passcode is none");
    app.opens_with(RIGHT).unwrap();
    by_finger(&app).unwrap();
    phone.clock.advance(-24 * HOUR);
    assert_eq!(refusal(&app), BiometricsError::Expired, "a clock set back lengthens nothing");
}

#[test]
fn a_finger_that_fails_is_no_attempt_and_one_that_opens_forgives_none() {
    let mut office = Office::new();
    let (phone, app) = enabled(&mut office);
    assert!(matches!(app.opens_with(OTHER), Err(VaultError::WrongPasscode { attempts_left: 9 })));
    for (failed, told) in [
        (KeyError::Cancelled, BiometricsError::Cancelled),
        (KeyError::LockedOut, BiometricsError::LockedOut),
        (KeyError::NotAvailable, BiometricsError::NotAvailable),
        (KeyError::Transient, BiometricsError::Transient),
    ] {
        answer(&phone, Err(failed));
        for _ in 0..12 {
            assert_eq!(refusal(&app), told);
        }
        assert!(app.vault.biometrics(), "{told:?}: it may work the next time");
    }
    answer(&phone, Ok(()));
    by_finger(&app).unwrap();
    assert!(matches!(app.opens_with(OTHER), Err(VaultError::WrongPasscode { attempts_left: 8 })));
}

#[test]
fn new_fingers_on_the_phone_turn_biometrics_off_and_cost_nothing_else() {
    let mut office = Office::new();
    let (phone, app) = enabled(&mut office);
    // Some platforms lose the key, on others the app finds another in its place.
    phone.keys.delete(KeyAlias::Biometric).unwrap();
    assert_eq!(refusal(&app), BiometricsError::Off);
    assert!(!app.vault.biometrics());
    enable(&app).unwrap();
    phone.keys.delete(KeyAlias::Biometric).unwrap();
    phone.keys.create(KeyAlias::Biometric).unwrap();
    assert_eq!(refusal(&app), BiometricsError::Off);
    assert!(!app.vault.biometrics());
    assert_eq!(phone.keys.exists(KeyAlias::Biometric), Ok(false));
    app.opens_with(RIGHT).unwrap();
    enable(&app).unwrap();
    by_finger(&app).unwrap();
}

#[test]
fn a_person_who_does_not_confirm_leaves_biometrics_off() {
    let mut office = Office::new();
    let phone = Phone::enrolled(&mut office);
    let app = phone.start().unwrap();
    answer(&phone, Err(KeyError::Cancelled));
    assert!(matches!(enable(&app), Err(VaultError::Biometrics(BiometricsError::Cancelled))));
    assert!(!app.vault.biometrics());
    assert_eq!(phone.keys.exists(KeyAlias::Biometric), Ok(false));
    app.opens_with(RIGHT).unwrap();
}

#[test]
fn another_passcode_takes_biometrics_away() {
    let mut office = Office::new();
    let (phone, app) = enabled(&mut office);
    app.change(RIGHT, OTHER).unwrap();
    assert_eq!(refusal(&app), BiometricsError::Off);
    assert_eq!(phone.keys.exists(KeyAlias::Biometric), Ok(false));
    app.opens_with(OTHER).unwrap();
}

#[test]
fn a_lock_shuts_out_the_finger_and_the_share_after_it_is_the_fingers_too() {
    let mut office = Office::new();
    let (phone, app) = enabled(&mut office);
    let lock_and_unlock = |office: &mut Office| {
        office.grants_unlock = false;
        office.order(Kind::Lock);
        app.talk(office).unwrap();
        assert!(matches!(by_finger(&app), Err(VaultError::Locked)));
        office.grants_unlock = true;
        app.talk(office).unwrap();
    };
    lock_and_unlock(&mut office);
    app.opens_with(RIGHT).unwrap();
    assert!(app.vault.biometrics());
    by_finger(&app).unwrap();
    app.talk(&mut office).unwrap();
    // If the person is not there to confirm the new share, the finger goes and the passcode stays.
    lock_and_unlock(&mut office);
    answer(&phone, Err(KeyError::Cancelled));
    app.opens_with(RIGHT).unwrap();
    answer(&phone, Ok(()));
    assert_eq!(refusal(&app), BiometricsError::Off);
    app.opens_with(RIGHT).unwrap();
}

#[test]
fn a_share_is_replaced_after_thirty_days_at_a_passcode_and_not_by_a_finger() {
    let mut office = Office::new();
    let (phone, app) = enabled(&mut office);
    assert_eq!(office.shares(), 1);
    let day = 24 * HOUR;
    phone.clock.advance(30 * day);
    app.opens_with(RIGHT).unwrap();
    app.talk(&mut office).unwrap();
    assert_eq!(office.shares(), 1);
    phone.clock.advance(1);
    by_finger(&app).unwrap();
    app.talk(&mut office).unwrap();
    assert_eq!(office.shares(), 1, "what it needs of the passcode is not there");
    app.opens_with(RIGHT).unwrap();
    app.talk(&mut office).unwrap();
    assert_eq!(office.shares(), 2);
    by_finger(&app).unwrap();
    app.opens_with(RIGHT).unwrap();
    app.talk(&mut office).unwrap();
    assert_eq!(office.shares(), 2, "the new one is young");
}

#[test]
fn a_share_in_escrow_opens_for_the_server_and_for_the_organisation_without_it() {
    let mut office = Office::new();
    let phone = Phone::new();
    let app = phone.start().unwrap();
    app.enrol(&mut office).unwrap();
    let escrow = app.device.report(None).unwrap().escrow.unwrap();
    let by_server = Office::open_share(&escrow.sealed, escrow.share, Office::RELEASE_SEED);
    let offline = Office::open_share(escrow.recovery.as_ref().unwrap(), escrow.share, Office::RECOVERY_SEED);
    assert_eq!(by_server.unwrap(), offline.unwrap());
    assert!(Office::open_share(&escrow.sealed, escrow.share, Office::RECOVERY_SEED).is_none());
    app.talk(&mut office).unwrap();
    assert!(app.device.report(None).unwrap().escrow.is_none(), "neither is kept once it is confirmed");
}
