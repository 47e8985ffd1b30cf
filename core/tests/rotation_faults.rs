//! Passcode, biometrics and key are changed over a real database, with a fault at every call to the disk and the
//! keystore. Whatever fails, the next start opens with exactly the passcode that holds, and every row is there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

mod vault_kit;

use roundsman_core::Error;
use roundsman_core::attachments::{
    AttachedTo, AttachmentError, AttachmentKind, AttachmentLimits, AttachmentSeams, Attachments,
    NewAttachment,
};
use roundsman_core::customers::Customers;
use roundsman_core::platform::{EntropyError, KeyAlias, OsEntropy, PlatformKeys, RealDisk, SystemClock};
use roundsman_core::store::{Store, StoreError, StoreKey};
use roundsman_core::vault::{DatabaseKey, Unlocked, VaultError};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use uuid::Uuid;
use vault_kit::{App, Fault, OTHER, Office, Phone, RIGHT, passcode, sweep};

const ROWS: u32 = 40;
const PHOTO: &[u8] = &[0x3c; 100_000];

#[derive(Debug)]
#[allow(dead_code, reason = "shown when a test fails")]
enum Failed {
    Vault(VaultError),
    Store(StoreError),
    Other(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl From<VaultError> for Failed {
    fn from(error: VaultError) -> Self {
        Self::Vault(error)
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// A phone with rows in its database, closed.
fn phone_with_rows() -> (Phone, Office) {
    let (mut office, phone) = (Office::new(), Phone::new());
    let app = phone.start().unwrap();
    office.knows(app.device.identity().unwrap());
    let path = app.vault.database_path();
    app.vault
        .create(office.profile(), &passcode(RIGHT), |key| {
            let sealed = app.vault.sealed_outbox(&office.profile())?;
            let store = lent(key, |key| Store::create(&path, key, sealed))?;
            for n in 0..ROWS {
                store.set_secret(&format!("row {n}"), &value(n))?;
            }
            let store = Arc::new(store);
            let customers = Customers::new(store.clone(), phone.clock.clone(), Arc::new(OsEntropy));
            let customer = customers.add(&customers.draft("C1", "Corner", "nj")?)?.id;
            let photo = NewAttachment::new(
                AttachedTo::Customer(customer),
                AttachmentKind::Photo,
                "image/jpeg",
                PHOTO.len() as u64,
            );
            attachments(&app, &store, key).add(&photo, &mut &PHOTO[..])?;
            store.close();
            Ok::<_, Failed>(())
        })
        .unwrap();
    app.talk(&mut office).unwrap();
    drop(app);
    (phone, office)
}

/// What is attached, for whoever has this key.
fn attachments(app: &App, store: &Arc<Store>, key: &DatabaseKey) -> Attachments {
    let seams = AttachmentSeams {
        dir: app.vault.attachments_path(),
        disk: Arc::new(RealDisk),
        entropy: Arc::new(OsEntropy),
        clock: Arc::new(SystemClock),
        user: roundsman_model::UserId(Uuid::nil()),
        limits: AttachmentLimits::default(),
        seal_to: roundsman_core::rescue::SealTo {
            org: roundsman_model::OrgId(Uuid::from_u128(1)),
            device: roundsman_model::DeviceId(Uuid::from_u128(2)),
            rescue_key: roundsman_protocol::hpke_seal::key_pair(&[3; 32]).1,
        },
    };
    Attachments::new(store.clone(), key.files().duplicate(), seams)
}

/// The photo, read with this key from the store.
fn photo(app: &App, store: &Arc<Store>, key: &DatabaseKey) -> Result<Vec<u8>, Error> {
    let clock = Arc::new(SystemClock);
    let customers = Customers::new(store.clone(), clock, Arc::new(OsEntropy));
    let customer = customers.list(None, 1)?.remove(0);
    let attachments = attachments(app, store, key);
    let attached = attachments.of(customer.id)?;
    assert_eq!(attached.len(), 1);
    let mut content = vec![0; PHOTO.len() + 1];
    let count = attachments.open(attached[0].id)?.read_at(0, &mut content)?;
    content.truncate(count);
    Ok(content)
}

/// Wraps the keys of attachments anew, as the client does.
fn rewrap<'a>(
    old: &'a DatabaseKey,
    new: &'a DatabaseKey,
) -> impl Fn(Uuid, &[u8]) -> Result<Option<Vec<u8>>, EntropyError> + 'a {
    move |file, wrapped| old.files().rewrap(new.files(), &OsEntropy, file, wrapped)
}

fn lent<T>(key: &DatabaseKey, work: impl FnOnce(&StoreKey<'_>) -> T) -> T {
    work(&StoreKey { cipher: &key.pragma_text(), digest: key.digest_key() })
}

fn value(n: u32) -> String {
    format!("value {n} {}", "x".repeat(300))
}

/// Opens the database as the client does, and sees that nothing is missing.
fn enter(app: &App, unlocked: &Unlocked) -> Result<(), Failed> {
    let path = app.vault.database_path();
    let mut key = &unlocked.key;
    if let Some(next) = &unlocked.next {
        let rewrap = rewrap(key, next);
        let changed = lent(key, |key| lent(next, |next| Store::finish_rekey(&path, key, next, &rewrap)))?;
        app.vault.settle_key(changed)?;
        key = if changed { next } else { key };
    }
    let profile = app.vault.profile().ok_or(VaultError::NotEnrolled)?;
    let (sealed, seen) = (app.vault.sealed_outbox(&profile)?, app.vault.seen_commit()?);
    let store = lent(key, |key| Store::open(&path, key, sealed, seen))?;
    for n in 0..ROWS {
        assert_eq!(store.secret(&format!("row {n}"))?.as_deref(), Some(&value(n)), "row {n}");
    }
    let store = Arc::new(store);
    assert!(photo(app, &store, key)? == PHOTO, "the photo is another");
    store.close();
    Ok(())
}

fn opens(app: &App, text: &str) -> Result<(), Failed> {
    enter(app, &app.unlock(text)?)?;
    Ok(app.vault.opened()?)
}

fn opens_with_biometrics(app: &App) -> Result<(), Failed> {
    enter(app, &app.vault.unlock_with_biometrics()?)
}

fn started(phone: &Phone, what: &str) -> App {
    phone.start().unwrap_or_else(|error| panic!("{what}: the next start fails: {error:?}"))
}

fn must(done: Result<(), Failed>, what: &str) {
    done.unwrap_or_else(|error| panic!("{what}: {error:?}"));
}

fn enable(app: &App) -> Result<(), VaultError> {
    app.vault.enable_biometrics(&passcode(RIGHT), &|| ())
}

fn change_key(app: &App) -> Result<Unlocked, Failed> {
    let path = app.vault.database_path();
    app.vault.change_key(&passcode(RIGHT), &|| (), |old, new| {
        let rewrap = rewrap(old, new);
        Ok(lent(old, |old| lent(new, |new| Store::rekey(&path, old, new, &rewrap)))?)
    })
}

/// Each of the two slot files alone opens the database with this passcode, and not with one that went.
fn both_files_agree(phone: &Phone, right: &str, gone: Option<&str>, what: &str) {
    for name in ["slots.a", "slots.b"] {
        let phone = phone.copy();
        fs::remove_file(phone.file(name)).unwrap();
        let app = started(&phone, what);
        if let Some(gone) = gone {
            assert!(opens(&app, gone).is_err(), "{what}: without {name} the other passcode opens");
        }
        must(opens(&app, right), what);
    }
}

#[test]
fn a_change_of_passcode_over_a_real_database_leaves_one_passcode_and_every_row() {
    let (template, office) = phone_with_rows();
    let app = template.start().unwrap();
    enable(&app).unwrap();
    drop(app);
    let faults = sweep(
        &template,
        &office,
        |phone, _| phone.start()?.change(RIGHT, OTHER),
        |what, phone, _, outcome| {
            let app = started(phone, what);
            let (old, new) = (opens(&app, RIGHT).is_ok(), opens(&app, OTHER).is_ok());
            assert!(old != new, "{what}: old {old}, new {new}");
            assert!(new || outcome.is_err(), "{what}: the change was confirmed");
            assert!(!new || !app.vault.biometrics(), "{what}: a finger opens for the new passcode");
            drop(app);
            let (right, wrong) = if new { (OTHER, RIGHT) } else { (RIGHT, OTHER) };
            both_files_agree(phone, right, Some(wrong), what);
        },
    );
    assert!(faults > 60, "{faults}");
}

#[test]
fn biometrics_that_are_enabled_or_disabled_with_a_fault_never_cost_the_passcode_its_data() {
    let (off, office) = phone_with_rows();
    let on = off.copy();
    enable(&on.start().unwrap()).unwrap();
    for (template, enabling) in [(&off, true), (&on, false)] {
        sweep(
            template,
            &office,
            |phone, _| {
                let app = phone.start()?;
                if enabling { enable(&app) } else { app.vault.disable_biometrics() }
            },
            |what, phone, _, outcome| {
                let app = started(phone, what);
                if outcome.is_ok() {
                    assert_eq!(app.vault.biometrics(), enabling, "{what}");
                }
                let was_on = app.vault.biometrics();
                let opened = opens_with_biometrics(&app);
                if let Err(Failed::Vault(VaultError::Biometrics(_))) = opened {
                    assert!(!app.vault.biometrics(), "{what}: on, and of no use");
                } else {
                    assert!(was_on, "{what}");
                    must(opened, what);
                }
                must(opens(&app, RIGHT), what);
                drop(app);
                both_files_agree(phone, RIGHT, None, what);
            },
        );
    }
}

#[test]
fn a_change_of_key_that_is_interrupted_anywhere_keeps_every_row_and_ends_with_one_key() {
    let (template, office) = phone_with_rows();
    let app = template.start().unwrap();
    enable(&app).unwrap();
    let first = app.unlock(RIGHT).unwrap();
    enter(&app, &first).unwrap();
    app.vault.opened().unwrap();
    drop(app);
    let faults = sweep(
        &template,
        &office,
        |phone, _| change_key(&phone.start()?).map(drop),
        |what, phone, _, outcome| {
            // A kill at the worst moment, once more, before anybody opens.
            let again = phone.copy();
            let app = started(phone, what);
            assert!(matches!(app.unlock(OTHER), Err(VaultError::WrongPasscode { .. })), "{what}");
            must(opens(&app, RIGHT), what);
            let settled = app.unlock(RIGHT).unwrap();
            assert!(settled.next.is_none(), "{what}: two keys are left");
            let changed = settled.key.pragma_text() != first.key.pragma_text();
            assert!(changed || outcome.is_err(), "{what}: the change was confirmed");
            if outcome.is_ok() {
                assert!(!app.vault.biometrics(), "{what}: a finger opens with the old key");
            }
            let other = if changed { &first.key } else { &settled.key };
            let sealed = app.vault.sealed_outbox(&app.vault.profile().unwrap()).unwrap();
            let path = app.vault.database_path();
            let opened = lent(other, |key| Store::open(&path, key, sealed, 0));
            assert_eq!(opened.is_err(), changed, "{what}: the database opens with the key that went");
            drop(opened);
            if changed {
                let sealed = app.vault.sealed_outbox(&app.vault.profile().unwrap()).unwrap();
                let store = lent(&settled.key, |key| Store::open(&path, key, sealed, 0)).unwrap();
                let read = photo(&app, &Arc::new(store), other);
                let wrong = matches!(read, Err(Error::Attachment(AttachmentError::WrongKey)));
                assert!(wrong, "{what}: a photo opens with the key that went");
            }
            drop(app);
            both_files_agree(phone, RIGHT, None, what);

            // In place of opening it, the change is gone on with.
            let app = started(&again, what);
            must(change_key(&app).map(drop), what);
            must(opens(&app, RIGHT), what);
            assert!(app.unlock(RIGHT).unwrap().next.is_none(), "{what}");
        },
    );
    assert!(faults > 60, "{faults}");
}

#[test]
fn the_end_of_a_change_of_key_may_be_interrupted_too() {
    // Stopped before the database was touched, and after it was re-keyed.
    for rekeyed in [false, true] {
        let (template, office) = phone_with_rows();
        let app = template.start().unwrap();
        let path = app.vault.database_path();
        let stopped = app.vault.change_key(&passcode(RIGHT), &|| (), |old, new| {
            if rekeyed {
                let rewrap = rewrap(old, new);
                lent(old, |old| lent(new, |new| Store::rekey(&path, old, new, &rewrap)))?;
            }
            Err(Failed::Store(StoreError::Full))
        });
        assert!(matches!(stopped, Err(Failed::Store(StoreError::Full))));
        drop(app);
        sweep(
            &template,
            &office,
            |phone, _| opens(&phone.start()?, RIGHT),
            |what, phone, _, _| {
                let app = started(phone, what);
                must(opens(&app, RIGHT), what);
                assert!(app.unlock(RIGHT).unwrap().next.is_none(), "{what}: two keys are left");
                drop(app);
                both_files_agree(phone, RIGHT, None, what);
            },
        );
    }
}

#[test]
fn a_passcode_and_a_share_may_change_while_two_keys_are_there() {
    for rekeyed in [false, true] {
        let (phone, mut office) = phone_with_rows();
        let app = phone.start().unwrap();
        let path = app.vault.database_path();
        let stopped = app.vault.change_key(&passcode(RIGHT), &|| (), |old, new| {
            if rekeyed {
                let rewrap = rewrap(old, new);
                lent(old, |old| lent(new, |new| Store::rekey(&path, old, new, &rewrap)))?;
            }
            Err::<(), _>(Failed::Store(StoreError::Full))
        });
        assert!(stopped.is_err());
        office.order(roundsman_core::protocol::command::Kind::Lock);
        app.talk(&mut office).unwrap();
        office.grants_unlock = true;
        app.talk(&mut office).unwrap();
        assert!(app.unlock(RIGHT).unwrap().next.is_some());
        app.change(RIGHT, OTHER).unwrap();
        app.vault.enable_biometrics(&passcode(OTHER), &|| ()).unwrap();
        drop(app);
        let app = phone.start().unwrap();
        opens_with_biometrics(&app).unwrap();
        opens_with_biometrics(&app).unwrap();
        opens(&app, OTHER).unwrap();
    }
}

#[test]
fn a_wipe_finds_nothing_of_a_change_of_key_to_spare() {
    let (phone, mut office) = phone_with_rows();
    let app = phone.start().unwrap();
    enable(&app).unwrap();
    let stopped =
        app.vault.change_key(&passcode(RIGHT), &|| (), |_, _| Err::<(), _>(Failed::Store(StoreError::Full)));
    assert!(stopped.is_err());
    enable(&app).unwrap();
    let kind = office.wipe();
    office.order(kind);
    app.talk(&mut office).unwrap();
    assert_eq!(phone.files(), ["tombstone"]);
    for alias in [KeyAlias::Biometric, KeyAlias::Wrap, KeyAlias::Identity, KeyAlias::Control] {
        assert_eq!(phone.keys.exists(alias), Ok(false), "{alias:?}");
    }
    assert!(!Path::exists(&app.vault.database_path()));
}

#[test]
fn a_full_disk_in_a_change_of_key_leaves_the_old_key() {
    let (phone, _) = phone_with_rows();
    let app = phone.start().unwrap();
    phone.disk.fail_at(0, Fault::Once);
    assert!(change_key(&app).is_err());
    phone.heal();
    opens(&app, RIGHT).unwrap();
    assert!(app.unlock(RIGHT).unwrap().next.is_none());
}
