//! What must hold of a phone after a fault: it is whole as before or as after, what was promised is there, and what
//! began for good is finished.

use super::office::Event;
use super::phone::{App, OTHER, Phone, RIGHT, passcode};
use super::scenarios::photo_of;
use super::sweep::scratch;
use anyhow::{Context, bail, ensure};
use roundsman_core::model::visit::Visit;
use roundsman_core::vault::VaultError;
use roundsman_core::{Error, State};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use uuid::Uuid;

/// A phone after a fault.
pub struct Case<'a> {
    /// The phone, which is off.
    pub phone: &'a Phone,
    /// The phone as it was before the scenario.
    pub before: &'a Phone,
    /// What it promised before the fault.
    pub said: &'a [String],
}

impl Case<'_> {
    fn said(&self, line: &str) -> bool {
        self.said.iter().any(|said| said == line)
    }

    /// The number of the last promise that begins with this word.
    fn number(&self, word: &str) -> Option<u64> {
        self.said.iter().rev().find_map(|line| line.strip_prefix(word)?.trim().parse().ok())
    }

    /// Opens the vault and finds all that was promised in it, and after one more sync at the office.
    fn whole(&self, text: &str) -> anyhow::Result<()> {
        self.whole_after(text, |_| Ok(()))
    }

    /// The same, with something that comes before the passcode.
    fn whole_after(&self, text: &str, first: impl FnOnce(&App) -> anyhow::Result<()>) -> anyhow::Result<()> {
        if let Some(promised) = self.said.iter().find_map(|line| line.strip_prefix("mark ")) {
            let mark = self.phone.mark().unwrap_or_default();
            ensure!(mark.as_str() >= promised, "the keystore's mark went back");
        }
        let app = self.phone.start()?;
        ensure!(app.client.state() == State::Closed, "the vault is {:?}", app.client.state());
        first(&app)?;
        app.unlock(text)?;
        if self.said("sent") {
            ensure!(app.client.outbox()?.count()? == 0, "what was sent is in the outbox again");
        }
        let promised = self.visits();
        for (id, wanted) in &promised {
            let visit = app.client.visits()?.get(*id)?.with_context(|| format!("visit {id} is lost"))?;
            wanted.kept_by(&visit)?;
        }
        for (id, content) in self.photos() {
            let reader = app.client.attachments()?.open(id)?;
            let mut found = vec![0; content.len() + 1];
            let count = reader.read_at(0, &mut found)?;
            ensure!(found[..count] == content, "the content of photo {id} is another");
        }
        ensure!(
            !app.client.customers()?.search("store", 3)?.is_empty() || app.client.customers()?.count()? == 0
        );
        app.sync()?;
        ensure!(app.client.outbox()?.count()? == 0, "something can't be sent");
        ensure!(app.client.customers()?.count()? == app.office.customers(), "customers are missing");
        agrees_with_office(&app, &promised)?;
        if let Some(entries) = self.number("audited ") {
            ensure!(app.office.audited() >= entries, "audit entries are lost");
        }
        honest(&app)
    }

    /// These files of the phone are nowhere on the medium, not even without a name.
    fn destroyed(&self, files: &[PathBuf]) -> anyhow::Result<()> {
        let residue = fs::read(self.phone.residue()).unwrap_or_default();
        for file in files {
            let bytes = fs::read(file).unwrap_or_default();
            let left = !bytes.is_empty() && residue.windows(bytes.len()).any(|window| window == bytes);
            let name = file.file_name().unwrap_or_default();
            ensure!(!left, "{} was removed and not overwritten", name.display());
        }
        Ok(())
    }

    /// The photos that were promised, before the scenario and in it, with their content.
    fn photos(&self) -> BTreeMap<Uuid, Vec<u8>> {
        let promised = self.phone.promised();
        let lines = promised.iter().chain(self.said);
        let photos = lines.filter_map(|line| line.strip_prefix("photo ")?.split_once(' '));
        photos.filter_map(|(id, size)| Some((id.parse().ok()?, photo_of(size.parse().ok()?)))).collect()
    }

    /// What was promised of visits, before the scenario and in it.
    fn visits(&self) -> BTreeMap<Uuid, Wanted> {
        let mut visits: BTreeMap<Uuid, Wanted> = BTreeMap::new();
        for line in self.phone.promised().iter().chain(self.said) {
            let mut words = line.splitn(3, ' ');
            let (verb, id) = (words.next(), words.next().and_then(|id| id.parse().ok()));
            match (verb, id) {
                (Some("started"), Some(id)) => drop(visits.entry(id).or_default()),
                (Some("wrote"), Some(id)) => {
                    visits.entry(id).or_default().notes = words.next().map(str::to_owned);
                }
                (Some("out"), Some(id)) => visits.entry(id).or_default().out = true,
                _ => {}
            }
        }
        visits
    }
}

#[derive(Default)]
struct Wanted {
    notes: Option<String>,
    out: bool,
}

impl Wanted {
    fn kept_by(&self, visit: &Visit) -> anyhow::Result<()> {
        ensure!(self.notes.is_none() || visit.notes == self.notes, "notes of {} are lost", visit.id);
        ensure!(!self.out || visit.ended_at.is_some(), "the check-out of {} is lost", visit.id);
        Ok(())
    }
}

/// The office has every visit that the phone shows, as the phone shows it, and no other.
fn agrees_with_office(app: &App, promised: &BTreeMap<Uuid, Wanted>) -> anyhow::Result<()> {
    let sent = app.office.records();
    for id in promised.keys() {
        ensure!(sent.contains_key(id), "visit {id} never arrived");
    }
    for (id, fields) in &sent {
        let visit =
            app.client.visits()?.get(*id)?.with_context(|| format!("visit {id} is only half here"))?;
        let notes = fields.get("notes").and_then(|value| value.as_text());
        ensure!(notes == visit.notes.as_deref(), "the office has other notes of {id}");
        let out = fields.get("ended_at").is_some_and(|value| *value != roundsman_model::Value::Null);
        ensure!(out == visit.ended_at.is_some(), "the office has another state of {id}");
    }
    let shown = app.client.visits()?.round(app.office.now().date_naive())?;
    ensure!(shown.len() == sent.len(), "{} visits are shown and {} sent", shown.len(), sent.len());
    Ok(())
}

fn honest(app: &App) -> anyhow::Result<()> {
    let complaints = app.office.complaints();
    ensure!(complaints.is_empty(), "the office complains: {complaints:?}");
    Ok(())
}

fn word(kept: bool) -> &'static str {
    if kept { "kept" } else { "whole" }
}

/// No device, or the whole of it.
pub(super) fn enrolled_or_new(case: &Case<'_>) -> anyhow::Result<&'static str> {
    let app = case.phone.start()?;
    if app.client.state() == State::New {
        ensure!(!case.said("enrolled"), "the vault is gone");
        let left = case.phone.names("vault");
        ensure!(left.is_empty(), "{left:?} is left of a vault that never was");
        app.enrol()?;
        drop(app);
        return case.whole(RIGHT).map(|()| "old");
    }
    drop(app);
    case.whole(RIGHT).map(|()| "new")
}

/// The passcode opens it, and everything is there.
pub(super) fn opens(case: &Case<'_>) -> anyhow::Result<&'static str> {
    case.whole(RIGHT)?;
    Ok(word(!case.said.is_empty()))
}

/// Biometrics open it if that was promised; the passcode does in any case.
pub(super) fn knows_the_finger(case: &Case<'_>) -> anyhow::Result<&'static str> {
    if case.said("enabled") {
        case.phone.start()?.client.unlock_with_biometrics()?;
    }
    opens(case)
}

/// Biometrics open it no more if that was promised, and their key is nowhere.
pub(super) fn forgets_the_finger(case: &Case<'_>) -> anyhow::Result<&'static str> {
    if case.said("disabled") {
        ensure!(!case.phone.start()?.client.biometrics(), "biometrics open it again");
        case.destroyed(&[case.before.disk().join("keys/biometric.key")])?;
    }
    opens(case)
}

/// The attempt counts, and no more than that.
pub(super) fn attempt_counted(case: &Case<'_>) -> anyhow::Result<&'static str> {
    let left = match case.phone.start()?.client.unlock(&passcode(OTHER)?) {
        Err(Error::Vault(VaultError::WrongPasscode { attempts_left })) => u64::from(attempts_left),
        other => bail!("a wrong passcode gives {other:?}"),
    };
    match case.number("wrong ") {
        Some(before) => ensure!(left == before - 1, "an attempt was given back"),
        None => ensure!(left == 9 || left == 8, "{left} attempts are left"),
    }
    case.whole(RIGHT)?;
    Ok(word(case.number("wrong ").is_some()))
}

/// The last wrong passcode has begun a wipe, or the next one does.
pub(super) fn wiped_by_itself(case: &Case<'_>) -> anyhow::Result<&'static str> {
    let app = case.phone.start()?;
    if app.client.state() == State::Closed {
        ensure!(!case.said("wiped"), "the wipe is undone");
        ensure!(app.unlock(OTHER).is_err(), "the wrong passcode opens the vault");
        ensure!(app.client.state() == State::Wiping, "one more attempt leaves it {:?}", app.client.state());
    }
    drop(app);
    wiped(case)
}

/// Exactly one of the two passcodes opens it.
pub(super) fn one_passcode(case: &Case<'_>) -> anyhow::Result<&'static str> {
    let mut opening = Vec::new();
    for text in [RIGHT, OTHER] {
        match case.phone.start()?.client.unlock(&passcode(text)?) {
            Ok(()) => opening.push(text),
            Err(Error::Vault(VaultError::WrongPasscode { .. })) => {}
            Err(other) => return Err(other.into()),
        }
    }
    ensure!(opening.len() == 1, "{} passcodes open the vault", opening.len());
    ensure!(!case.said("changed") || opening == [OTHER], "the change of passcode is undone");
    case.whole(opening[0])?;
    Ok(if opening == [OTHER] { "new" } else { "old" })
}

/// It is locked, or will be by the next report; nothing is lost by it.
pub(super) fn locked(case: &Case<'_>) -> anyhow::Result<&'static str> {
    let app = case.phone.start()?;
    let found = app.client.state();
    ensure!(found != State::Closed || !case.said("locked"), "the lock is undone");
    drop(app);
    if found == (State::Locked { soft: false }) {
        case.destroyed(&[case.before.vault("release.bin")])?;
    }
    lets_in_again(case)?;
    Ok(if found == State::Closed { "old" } else { "finished" })
}

/// Once the office has heard from it, it is locked for good; and when the office lets it in, all is there.
fn lets_in_again(case: &Case<'_>) -> anyhow::Result<()> {
    case.phone.office(Event::ConfirmsEscrow(true))?;
    let app = case.phone.start()?;
    for _ in 0..3 {
        app.check_in()?;
    }
    ensure!(app.client.state() == State::Locked { soft: false }, "the vault is {:?}", app.client.state());
    let tried = app.client.unlock(&passcode(RIGHT)?);
    ensure!(matches!(tried, Err(Error::Vault(VaultError::Locked))), "a locked vault gives {tried:?}");
    let left = case.phone.names("vault");
    ensure!(!left.iter().any(|name| name.starts_with("release")), "a locked phone has {left:?}");
    ensure!(
        app.office.proven().last() == Some(&"locked"),
        "the lock is not proven: {:?}",
        app.office.proven()
    );
    app.office.tell(Event::GrantsUnlock(true))?;
    app.check_in()?;
    drop(app);
    case.whole(RIGHT)
}

/// It is still locked or let in.
pub(super) fn released(case: &Case<'_>) -> anyhow::Result<&'static str> {
    let app = case.phone.start()?;
    let found = app.client.state();
    match found {
        State::Locked { soft: false } => {
            ensure!(!case.said("closed"), "the phone is locked again");
            let left = case.phone.names("vault");
            ensure!(!left.contains(&"release.bin".to_owned()), "a locked phone has its share");
        }
        State::Closed => {}
        other => bail!("the vault is {other:?}"),
    }
    for _ in 0..2 {
        app.check_in()?;
    }
    drop(app);
    case.whole(RIGHT)?;
    Ok(if found == State::Closed { "new" } else { "old" })
}

/// Refuses to open before the office was heard, and does not count that.
fn needs_share(app: &App) -> anyhow::Result<()> {
    for text in [OTHER, RIGHT] {
        let tried = app.client.unlock(&passcode(text)?);
        ensure!(matches!(tried, Err(Error::Vault(VaultError::ShareNeeded))), "on a leash it gives {tried:?}");
    }
    Ok(())
}

/// It is on the leash with its share on no medium, and opens when the office was heard; or it is not yet, and opens.
pub(super) fn leashed(case: &Case<'_>) -> anyhow::Result<&'static str> {
    drop(case.phone.start()?);
    if case.phone.has_share() {
        ensure!(!case.said("leashed"), "the share is back");
        return case.whole(RIGHT).map(|()| "old");
    }
    case.destroyed(&[case.before.vault("release.bin")])?;
    case.whole_after(RIGHT, |app| {
        needs_share(app)?;
        Ok(app.check_in()?)
    })?;
    ensure!(!case.phone.has_share(), "the share is back");
    Ok("finished")
}

/// It opens without the office from then on; or it is still on the leash, and the office takes it off.
pub(super) fn off_the_leash(case: &Case<'_>) -> anyhow::Result<&'static str> {
    let app = case.phone.start()?;
    let leashed = !case.phone.has_share();
    if leashed {
        ensure!(!case.said("free"), "the share is away again");
        needs_share(&app)?;
        app.check_in()?;
    }
    drop(app);
    case.whole(RIGHT)?;
    Ok(if leashed { "old" } else { "new" })
}

/// The passcode opens it; and a lock before anybody types a passcode again takes the share that the slot needs.
pub(super) fn share_and_slot_agree(case: &Case<'_>) -> anyhow::Result<&'static str> {
    let folder = scratch()?;
    let copy = case.phone.copy_to(&fs::canonicalize(folder.path())?)?;
    Case { phone: &copy, ..*case }.whole(RIGHT)?;
    case.phone.office(Event::Lock)?;
    lets_in_again(case)?;
    Ok(word(case.said("opened")))
}

/// A wipe that comes before anybody opens it again hands over all that was promised.
pub(super) fn rescued(case: &Case<'_>) -> anyhow::Result<&'static str> {
    case.phone.office(Event::Wipe)?;
    wiped(case)?;
    Ok(word(!case.said.is_empty()))
}

/// The erase has begun and is carried through, or nothing has happened and the user can ask for it again.
pub(super) fn erased(case: &Case<'_>) -> anyhow::Result<&'static str> {
    let app = case.phone.start()?;
    let untouched = app.client.state() == State::Closed;
    if untouched {
        ensure!(!case.said("wiped"), "the erase is undone");
        app.client.erase(&passcode(RIGHT)?)?;
    }
    drop(app);
    let word = wiped(case)?;
    Ok(if untouched { "old" } else { word })
}

/// Once it has begun nothing opens the vault any more, and it is carried through.
pub(super) fn wiped(case: &Case<'_>) -> anyhow::Result<&'static str> {
    let app = case.phone.start()?;
    let found = app.client.state();
    let begun = matches!(found, State::Wiping | State::Wiped);
    ensure!(begun || !case.said("wiped"), "the wipe is undone");
    if begun {
        ensure!(app.unlock(RIGHT).is_err(), "a vault opens after its wipe began");
        let left = case.phone.names("vault");
        ensure!(!left.iter().any(|name| name.starts_with("slots")), "keys are left: {left:?}");
    }
    if case.said("wiped") {
        let mut secrets: Vec<_> =
            ["release.bin", "slots.a", "slots.b"].map(|name| case.before.vault(name)).to_vec();
        secrets.push(case.before.disk().join("keys/wrap.key"));
        if found == State::Wiped {
            secrets.extend(
                ["identity.key", "control.key"].map(|name| case.before.disk().join("keys").join(name)),
            );
        }
        case.destroyed(&secrets)?;
    }
    for _ in 0..3 {
        if app.client.state() != State::Wiped {
            app.check_in()?;
        }
    }
    ensure!(app.client.state() == State::Wiped, "the wipe does not end: {:?}", app.client.state());
    ensure!(app.office.proven().ends_with(&["shredded", "complete"]), "proven is {:?}", app.office.proven());
    honest(&app)?;
    // Every promise was one change.
    let promised = case.phone.promised().iter().chain(case.said).filter(|line| line.contains(' ')).count();
    ensure!(app.office.changes() >= promised, "{} of {promised} changes were rescued", app.office.changes());
    let rescued = app.office.photos();
    for (id, content) in case.photos() {
        ensure!(rescued.get(&id) == Some(&content), "photo {id} was not handed over");
    }
    drop(app);
    let left = case.phone.names("vault");
    ensure!(left == ["tombstone"], "{left:?} is left");
    ensure!(!fs::read(case.phone.vault("tombstone"))?.is_empty(), "the tombstone says nothing");
    let keys: Vec<_> = case.phone.names("keys").into_iter().filter(|name| name.contains("key")).collect();
    ensure!(keys.is_empty(), "{keys:?} are left");
    let app = case.phone.start()?;
    ensure!(app.client.state() == State::Wiped && app.unlock(RIGHT).is_err(), "a wiped vault came back");
    Ok(if begun { "finished" } else { "old" })
}
