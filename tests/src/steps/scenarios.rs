//! What a phone does while its disk fails: how it is brought to the start, what it then does in a process of its
//! own, and by which rule it is judged.
//!
//! To add one, add a row to [`SCENARIOS`]: a name, where it starts, what it does, and a rule of [`super::judge`].

use super::judge::{self, Case};
use super::office::Event;
use super::phone::{OTHER, Phone, RIGHT, passcode};
use anyhow::{Context, ensure};
use roundsman_core::attachments::{AttachedTo, AttachmentKind, NewAttachment};
use roundsman_core::model::visit::Outcome;
use roundsman_core::vault::VaultError;
use roundsman_core::{Client, Error, State};

/// Takes what the phone promises, a line each, when it has promised it.
pub type Say<'a> = &'a mut dyn FnMut(String) -> std::io::Result<()>;

/// One thing that a phone does.
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// Brings a blank phone to where the scenario starts.
    pub start: fn(&Phone, Say<'_>) -> anyhow::Result<()>,
    /// What it does, and promises.
    pub act: fn(&Phone, Say<'_>) -> anyhow::Result<()>,
    /// Whether the phone is in a legal state afterwards, and which.
    pub judge: fn(&Case<'_>) -> anyhow::Result<&'static str>,
}

/// Every scenario.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "enrol", start: blank, act: enrol, judge: judge::enrolled_or_new },
    Scenario { name: "unlock", start: worked, act: unlock, judge: judge::opens },
    Scenario { name: "wrong passcode", start: worked, act: mistype, judge: judge::attempt_counted },
    Scenario { name: "last attempt", start: nine_wrong, act: mistype_last, judge: judge::wiped_by_itself },
    Scenario { name: "change passcode", start: worked, act: change, judge: judge::one_passcode },
    Scenario { name: "new vault key", start: worked, act: rotate, judge: judge::opens },
    Scenario { name: "biometrics", start: worked, act: enable_biometrics, judge: judge::knows_the_finger },
    Scenario {
        name: "no more biometrics",
        start: known,
        act: disable_biometrics,
        judge: judge::forgets_the_finger,
    },
    Scenario { name: "visits", start: worked, act: visits, judge: judge::opens },
    Scenario { name: "visits before a wipe", start: worked, act: visits, judge: judge::rescued },
    Scenario { name: "photos", start: visited, act: photos, judge: judge::opens },
    Scenario { name: "photos before a wipe", start: visited, act: photos, judge: judge::rescued },
    Scenario { name: "push", start: worked, act: sync, judge: judge::opens },
    Scenario { name: "pull", start: before_pull, act: sync, judge: judge::opens },
    Scenario { name: "close", start: worked, act: close, judge: judge::opens },
    Scenario { name: "audit", start: worked, act: audit, judge: judge::opens },
    Scenario { name: "shorten audit log", start: long_log, act: shorten, judge: judge::opens },
    Scenario { name: "lock", start: lock_given, act: check_in, judge: judge::locked },
    Scenario { name: "lock while open", start: lock_given, act: sync, judge: judge::locked },
    Scenario { name: "lock without escrow", start: soft_lock_given, act: check_in, judge: judge::locked },
    Scenario { name: "escrow after lock", start: softly_locked, act: check_in, judge: judge::locked },
    Scenario { name: "release", start: release_given, act: check_in, judge: judge::released },
    Scenario { name: "new share", start: released, act: unlock, judge: judge::share_and_slot_agree },
    Scenario { name: "leash", start: leash_given, act: leash, judge: judge::leashed },
    Scenario { name: "no more leash", start: leash_taken_off, act: unleash, judge: judge::off_the_leash },
    Scenario { name: "wipe", start: wipe_given, act: check_in, judge: judge::wiped },
    Scenario { name: "wipe while open", start: wipe_given, act: sync, judge: judge::wiped },
    Scenario { name: "wipe with photos", start: photos_and_wipe_given, act: check_in, judge: judge::wiped },
    Scenario { name: "erase", start: worked, act: erase, judge: judge::erased },
    Scenario { name: "wipe while locked", start: locked_wipe_given, act: check_in, judge: judge::wiped },
];

/// What is long enough to be killed anywhere in it, beside [`SCENARIOS`].
pub const LONG: &[Scenario] =
    &[Scenario { name: "many visits", start: worked, act: many_visits, judge: judge::opens }];

/// The scenario of this name.
///
/// # Errors
/// There is none.
pub fn named(name: &str) -> anyhow::Result<&'static Scenario> {
    SCENARIOS
        .iter()
        .chain(LONG)
        .find(|scenario| scenario.name == name)
        .with_context(|| format!("no scenario {name}"))
}

// Where scenarios start

fn blank(_: &Phone, _: Say<'_>) -> anyhow::Result<()> {
    Ok(())
}

fn enrolled(phone: &Phone, _: Say<'_>) -> anyhow::Result<()> {
    phone.start()?.enrol()
}

/// Customers are there, some visits are sent and some are not.
fn worked(phone: &Phone, say: Say<'_>) -> anyhow::Result<()> {
    enrolled(phone, say)?;
    let app = phone.start()?;
    app.unlock(RIGHT)?;
    app.sync()?;
    make_visits(&app.client, 2, say)?;
    app.sync()?;
    make_visits(&app.client, 2, say)
}

/// Biometrics open it.
fn known(phone: &Phone, say: Say<'_>) -> anyhow::Result<()> {
    worked(phone, say)?;
    enable_biometrics(phone, &mut |_| Ok(()))
}

fn nine_wrong(phone: &Phone, say: Say<'_>) -> anyhow::Result<()> {
    worked(phone, say)?;
    for _ in 0..9 {
        phone.start()?.unlock(OTHER).err().context("the passcode is wrong")?;
        phone.office(Event::Pass(3600))?;
    }
    Ok(())
}

fn before_pull(phone: &Phone, say: Say<'_>) -> anyhow::Result<()> {
    worked(phone, say)?;
    phone.office(Event::Customers(80))
}

/// More is in the log than it may hold once the server has it, and all but the last is confirmed.
fn long_log(phone: &Phone, say: Say<'_>) -> anyhow::Result<()> {
    worked(phone, say)?;
    phone.office(Event::ConfirmsAudit(false))?;
    let app = phone.start()?;
    app.unlock(RIGHT)?;
    let all = app.client.customers()?.list(None, 10)?;
    while std::fs::metadata(phone.vault("audit.log"))?.len() < 66 * 1024 {
        for customer in &all {
            app.client.customers()?.get(customer.id)?;
        }
    }
    app.check_in()?;
    phone.office(Event::ConfirmsAudit(true))
}

fn lock_given(phone: &Phone, say: Say<'_>) -> anyhow::Result<()> {
    worked(phone, say)?;
    phone.office(Event::Lock)
}

fn soft_lock_given(phone: &Phone, say: Say<'_>) -> anyhow::Result<()> {
    phone.office(Event::ConfirmsEscrow(false))?;
    enrolled(phone, say)?;
    let app = phone.start()?;
    app.unlock(RIGHT)?;
    app.sync()?;
    make_visits(&app.client, 2, say)?;
    drop(app);
    phone.office(Event::Lock)
}

fn softly_locked(phone: &Phone, say: Say<'_>) -> anyhow::Result<()> {
    soft_lock_given(phone, say)?;
    let app = phone.start()?;
    app.check_in()?;
    ensure!(app.client.state() == State::Locked { soft: true });
    drop(app);
    phone.office(Event::ConfirmsEscrow(true))
}

fn locked(phone: &Phone, say: Say<'_>) -> anyhow::Result<()> {
    lock_given(phone, say)?;
    let app = phone.start()?;
    app.check_in()?;
    ensure!(app.client.state() == State::Locked { soft: false });
    Ok(())
}

fn release_given(phone: &Phone, say: Say<'_>) -> anyhow::Result<()> {
    locked(phone, say)?;
    phone.office(Event::GrantsUnlock(true))
}

fn released(phone: &Phone, say: Say<'_>) -> anyhow::Result<()> {
    release_given(phone, say)?;
    let app = phone.start()?;
    app.check_in()?;
    ensure!(app.client.state() == State::Closed);
    drop(app);
    phone.office(Event::GrantsUnlock(false))
}

fn leash_given(phone: &Phone, say: Say<'_>) -> anyhow::Result<()> {
    worked(phone, say)?;
    phone.office(Event::Leash(Some(8)))
}

fn leash_taken_off(phone: &Phone, say: Say<'_>) -> anyhow::Result<()> {
    leash_given(phone, say)?;
    leash(phone, &mut |_| Ok(()))?;
    phone.office(Event::Leash(None))
}

fn wipe_given(phone: &Phone, say: Say<'_>) -> anyhow::Result<()> {
    worked(phone, say)?;
    phone.office(Event::Wipe)
}

/// A visit is there, and a photo of it.
fn visited(phone: &Phone, say: Say<'_>) -> anyhow::Result<()> {
    enrolled(phone, say)?;
    let app = phone.start()?;
    app.unlock(RIGHT)?;
    app.sync()?;
    make_visits(&app.client, 1, say)?;
    drop(app);
    photos(phone, say)
}

fn photos_and_wipe_given(phone: &Phone, say: Say<'_>) -> anyhow::Result<()> {
    visited(phone, say)?;
    photos(phone, say)?;
    phone.office(Event::Wipe)
}

fn locked_wipe_given(phone: &Phone, say: Say<'_>) -> anyhow::Result<()> {
    locked(phone, say)?;
    phone.office(Event::Wipe)
}

// What they do

fn enrol(phone: &Phone, say: Say<'_>) -> anyhow::Result<()> {
    phone.start()?.enrol()?;
    Ok(say("enrolled".to_owned())?)
}

fn unlock(phone: &Phone, say: Say<'_>) -> anyhow::Result<()> {
    phone.start()?.unlock(RIGHT)?;
    Ok(say("opened".to_owned())?)
}

fn mistype(phone: &Phone, say: Say<'_>) -> anyhow::Result<()> {
    match phone.start()?.client.unlock(&passcode(OTHER)?) {
        Err(Error::Vault(VaultError::WrongPasscode { attempts_left })) => {
            Ok(say(format!("wrong {attempts_left}"))?)
        }
        Err(other) => Err(other.into()),
        Ok(()) => anyhow::bail!("the wrong passcode opens the vault"),
    }
}

fn mistype_last(phone: &Phone, say: Say<'_>) -> anyhow::Result<()> {
    let app = phone.start()?;
    let tried = app.client.unlock(&passcode(OTHER)?);
    said_of_state(&app.client, say)?;
    if app.client.state() == State::Wiping { Ok(()) } else { Ok(tried?) }
}

fn change(phone: &Phone, say: Say<'_>) -> anyhow::Result<()> {
    phone.start()?.client.change_passcode(&passcode(RIGHT)?, &passcode(OTHER)?)?;
    Ok(say("changed".to_owned())?)
}

fn rotate(phone: &Phone, say: Say<'_>) -> anyhow::Result<()> {
    phone.start()?.client.rotate_vault_key(&passcode(RIGHT)?)?;
    Ok(say("rotated".to_owned())?)
}

fn enable_biometrics(phone: &Phone, say: Say<'_>) -> anyhow::Result<()> {
    let app = phone.start()?;
    app.unlock(RIGHT)?;
    app.client.enable_biometrics(&passcode(RIGHT)?)?;
    Ok(say("enabled".to_owned())?)
}

fn disable_biometrics(phone: &Phone, say: Say<'_>) -> anyhow::Result<()> {
    let app = phone.start()?;
    app.unlock(RIGHT)?;
    app.client.disable_biometrics()?;
    ensure!(!app.client.biometrics());
    Ok(say("disabled".to_owned())?)
}

fn erase(phone: &Phone, say: Say<'_>) -> anyhow::Result<()> {
    let app = phone.start()?;
    let erased = app.client.erase(&passcode(RIGHT)?);
    said_of_state(&app.client, say)?;
    erased?;
    app.check_in()?;
    Ok(())
}

fn visits(phone: &Phone, say: Say<'_>) -> anyhow::Result<()> {
    let app = phone.start()?;
    app.unlock(RIGHT)?;
    make_visits(&app.client, 2, say)
}

/// A photo of the first visit, unlike the ones before.
fn photos(phone: &Phone, say: Say<'_>) -> anyhow::Result<()> {
    let app = phone.start()?;
    app.unlock(RIGHT)?;
    let today = app.office.now().date_naive();
    let visit = app.client.visits()?.round(today)?.into_iter().next().context("a visit")?.visit.id;
    let attachments = app.client.attachments()?;
    let content = photo(attachments.of(visit)?.len());
    let of = AttachedTo::Visit(visit);
    let new = NewAttachment::new(of, AttachmentKind::Photo, "image/jpeg", content.len() as u64);
    let added = attachments.add(&new, &mut &content[..])?;
    Ok(say(format!("photo {} {}", added.id, content.len()))?)
}

/// The content of the photo with this number on a visit; its length tells which.
fn photo(number: usize) -> Vec<u8> {
    photo_of(3_000 + number)
}

/// The content of the photo of this length.
pub(super) fn photo_of(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 5 + at + length) as u8).collect()
}

fn many_visits(phone: &Phone, say: Say<'_>) -> anyhow::Result<()> {
    let app = phone.start()?;
    app.unlock(RIGHT)?;
    make_visits(&app.client, 10, say)?;
    app.sync()?;
    say("synced".to_owned())?;
    make_visits(&app.client, 10, say)
}

fn sync(phone: &Phone, say: Say<'_>) -> anyhow::Result<()> {
    let app = phone.start()?;
    app.unlock(RIGHT)?;
    let synced = app.sync();
    said_of_state(&app.client, say)?;
    synced?;
    if app.client.state() == State::Open {
        ensure!(app.client.outbox()?.count()? == 0, "everything is sent");
        say("sent".to_owned())?;
    }
    Ok(())
}

fn leash(phone: &Phone, say: Say<'_>) -> anyhow::Result<()> {
    let app = phone.start()?;
    app.unlock(RIGHT)?;
    app.sync()?;
    ensure!(!phone.has_share(), "a phone on a leash has its share");
    Ok(say("leashed".to_owned())?)
}

fn unleash(phone: &Phone, say: Say<'_>) -> anyhow::Result<()> {
    phone.start()?.check_in()?;
    // Only the next start tells: until then the share is in memory.
    phone.start()?.unlock(RIGHT)?;
    Ok(say("free".to_owned())?)
}

fn close(phone: &Phone, say: Say<'_>) -> anyhow::Result<()> {
    let app = phone.start()?;
    app.unlock(RIGHT)?;
    make_visits(&app.client, 1, say)?;
    app.client.lock();
    Ok(say(format!("mark {}", phone.mark()?))?)
}

fn audit(phone: &Phone, say: Say<'_>) -> anyhow::Result<()> {
    let app = phone.start()?;
    app.unlock(RIGHT)?;
    for customer in app.client.customers()?.list(None, 5)? {
        app.client.customers()?.get(customer.id)?;
    }
    app.check_in()?;
    Ok(say(format!("audited {}", app.office.audited()))?)
}

fn shorten(phone: &Phone, say: Say<'_>) -> anyhow::Result<()> {
    let app = phone.start()?;
    app.check_in()?;
    Ok(say(format!("audited {}", app.office.audited()))?)
}

fn check_in(phone: &Phone, say: Say<'_>) -> anyhow::Result<()> {
    let app = phone.start()?;
    let done = app.check_in();
    said_of_state(&app.client, say)?;
    Ok(done?)
}

/// A state that the phone has shown is a promise too.
fn said_of_state(client: &Client, say: Say<'_>) -> anyhow::Result<()> {
    let word = match client.state() {
        State::Locked { .. } => "locked",
        State::Wiping | State::Wiped => "wiped",
        State::Closed => "closed",
        State::Open | State::New => return Ok(()),
    };
    Ok(say(word.to_owned())?)
}

fn make_visits(client: &Client, count: usize, say: Say<'_>) -> anyhow::Result<()> {
    let visits = client.visits()?;
    let customers = client.customers()?.list(None, count)?;
    for (n, customer) in customers.iter().enumerate() {
        let visit = visits.start(customer.id, None)?;
        say(format!("started {}", visit.id))?;
        let notes = format!("notes {n} of {}", visit.id);
        visits.write(visit.id, Some(notes.clone()), None)?;
        say(format!("wrote {} {notes}", visit.id))?;
        visits.check_out(visit.id, Outcome::NoOrder, None)?;
        say(format!("out {}", visit.id))?;
    }
    Ok(())
}
