//! A whole day played without a browser: two reps, no signal, a sync, a lock, a wipe, and after each step a check
//! of what the system promises.

mod commands;
mod find;
mod ledger;
mod scan;
mod work;

use crate::phone::Phone;
use crate::{Prepared, World};
use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use ledger::{Ledger, time};
use roundsman_core::Error;
use roundsman_core::model::visit::State;
use roundsman_core::platform::{Entropy, OsEntropy};
use scan::Words;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use work::Made;

/// How many names of customers the scan for plaintext looks for, beside everything the reps wrote.
const NAMES: usize = 400;

/// Plays the day with this many visits, half for each rep, and writes its timeline to `out`.
///
/// Returns whether every promise was kept.
///
/// # Errors
/// The day could not be played to its end.
pub async fn play(world: &World, prepared: &Prepared, visits: usize, out: &mut dyn Write) -> Result<bool> {
    let mut ledger = Ledger::to(out);
    morning(world, prepared, &mut ledger).await?;
    let made = on_the_road(world, visits, &mut ledger).await?;
    back_online(world, &made, &mut ledger).await?;
    find::play(world, &mut ledger)?;
    let words = forbidden_words(world, made.iter().flatten())?;
    no_plaintext(world, &words, "while in use", &mut ledger)?;
    commands::lock_and_unlock(world, &made, &mut ledger).await?;
    let late = commands::wipe(world, &made, &mut ledger).await?;
    commands::rescue(world, &made, &late, &mut ledger).await?;
    let words = forbidden_words(world, made.iter().flatten().chain(&late))?;
    no_plaintext(world, &words, "after the wipe", &mut ledger)?;
    Ok(ledger.close()?)
}

/// Two phones, empty until they join.
async fn morning(world: &World, prepared: &Prepared, ledger: &mut Ledger<'_>) -> Result<()> {
    ledger.chapter("Morning: the phones join")?;
    if let Some(import) = &prepared.import {
        let (created, refused) = (import.created, import.rejected.len());
        ledger.say(format!(
            "{created} customers imported from {}, {refused} rows refused",
            world.stores().source
        ))?;
        for row in import.rejected.iter().take(3) {
            ledger.say(format!("refused: line {}, {}", row.row, row.reason))?;
        }
    }
    ledger.say(format!("{} visits planned for today", prepared.planned))?;
    ledger.figure("customers", world.customers());
    for (phone, rep) in world.phones().iter().zip(world.reps()) {
        let begun = Instant::now();
        world.enrol(phone, rep).await?;
        ledger.say(format!("{} enrolled in {}", rep.name, time(begun.elapsed())))?;
        let begun = Instant::now();
        let report = phone.sync().await?;
        let took = begun.elapsed();
        ledger.say(format!(
            "{}: first sync of {} rows in {}, {} requests, {} KB",
            rep.name,
            report.received,
            time(took),
            report.requests,
            report.bytes_down / 1024,
        ))?;
        ledger.figure(
            format!("first sync, {}", rep.name),
            format!("{} rows in {}", report.received, time(took)),
        );
        let held = phone.client().customers()?.count()?;
        ledger.promise(
            &format!("the phone of {} holds every customer of its territory", rep.name),
            held == world.customers(),
        )?;
    }
    Ok(())
}

/// Airplane mode on: everything the reps do stays on their phones.
async fn on_the_road(world: &World, visits: usize, ledger: &mut Ledger<'_>) -> Result<Vec<Vec<Made>>> {
    ledger.chapter("On the road: no signal")?;
    let bar = ProgressBar::new(visits as u64)
        .with_style(ProgressStyle::with_template("  {bar:40} {pos}/{len} visits")?);
    let mut all = Vec::new();
    for (at, (phone, rep)) in world.phones().iter().zip(world.reps()).enumerate() {
        phone.set_airplane(true);
        let count = if at == 0 { visits.div_ceil(2) } else { visits / 2 };
        let (worker, shown, mark) = (Arc::clone(phone), bar.clone(), canary()?);
        let begun = Instant::now();
        let made = blocking(move || work::make_visits(&worker, count, &mark, &shown)).await?;
        let each = begun.elapsed() / u32::try_from(count.max(1))?;
        let unsent = phone.client().outbox()?.count()?;
        ledger.say(format!(
            "{} made {count} visits in {} each; {unsent} changes unsent",
            rep.name,
            time(each)
        ))?;
        ledger.figure(format!("visit offline, {}", rep.name), format!("{} each, of {count}", time(each)));
        ledger.promise(
            &format!("every check-in of {} is judged by its position and none is refused", rep.name),
            made.iter().all(|made| made.judged_rightly),
        )?;
        let refused = phone.sync().await;
        let kept = phone.client().outbox()?.count()? == unsent;
        ledger.promise(
            &format!("a sync of {} without a signal says so and loses nothing", rep.name),
            matches!(refused, Err(Error::Offline)) && kept && unsent > 0,
        )?;
        all.push(made);
    }
    bar.finish_and_clear();
    Ok(all)
}

/// Airplane mode off: everything meets on the server, and on the other's phone.
async fn back_online(world: &World, made: &[Vec<Made>], ledger: &mut Ledger<'_>) -> Result<()> {
    ledger.chapter("Evening: back online")?;
    for phone in world.phones() {
        phone.set_airplane(false);
    }
    // Whoever syncs first can't have what the others send later: the first one comes again.
    let order =
        world.phones().iter().zip(world.reps()).chain(world.phones().iter().zip(world.reps()).take(1));
    for (turn, (phone, rep)) in order.enumerate() {
        let begun = Instant::now();
        let report = phone.sync().await?;
        let line = format!("{} sent, {} received in {}", report.sent, report.received, time(begun.elapsed()));
        ledger.say(format!("{}: {line}, {} refused", rep.name, report.rejected))?;
        let again = if turn < world.phones().len() { "" } else { " again" };
        ledger.figure(format!("sync, {}{again}", rep.name), line);
    }
    for (phone, rep) in world.phones().iter().zip(world.reps()) {
        let left = phone.client().outbox()?.count()?;
        ledger.promise(&format!("nothing of {} is left unsent or refused", rep.name), left == 0)?;
    }
    for (author, (theirs, rep)) in made.iter().zip(world.reps()).enumerate() {
        for (reader, phone) in world.phones().iter().enumerate().filter(|(reader, _)| *reader != author) {
            let seen = work::seen_on(phone, theirs)?;
            let other = &world.reps()[reader].name;
            ledger.promise(
                &format!(
                    "{seen} of {} visits of {} are whole on the phone of {other}",
                    theirs.len(),
                    rep.name
                ),
                seen == theirs.len(),
            )?;
        }
    }
    let today = chrono::Local::now().date_naive();
    let done = world.act(move |admin, _| admin.visits_on(today)).await??;
    let done = done.iter().filter(|visit| visit.state == State::CheckedOut).count();
    let total: usize = made.iter().map(Vec::len).sum();
    ledger.figure("visits made / on the server", format!("{total} / {done}"));
    ledger.promise("the server has every visit exactly once", done == total)?;
    Ok(())
}

/// Everything the reps wrote, and names of customers.
fn forbidden_words<'a>(world: &World, made: impl Iterator<Item = &'a Made>) -> Result<Words> {
    let written = made.flat_map(|made| [made.notes.clone(), made.next_step.clone(), made.customer.clone()]);
    let phone = world.phones().first().context("there is no phone")?;
    let names = phone.client().customers()?.list(None, NAMES)?.into_iter().map(|customer| customer.name);
    Ok(Words::new(written.chain(names)))
}

fn no_plaintext(world: &World, words: &Words, when: &str, ledger: &mut Ledger<'_>) -> Result<()> {
    let folders: Vec<&Path> = world.phones().iter().map(|phone| phone.dir()).collect();
    let begun = Instant::now();
    let scan = words.scan(&folders)?;
    ledger.chapter(&format!("What is in the files {when}"))?;
    ledger.say(format!(
        "{} files with {} KB scanned for {} names and notes in {}",
        scan.files,
        scan.bytes / 1024,
        words.count(),
        time(begun.elapsed())
    ))?;
    for (file, _) in scan.found.iter().take(5) {
        ledger.say(format!("plaintext in {}", file.display()))?;
    }
    ledger.figure(
        format!("plaintext in files {when}"),
        format!("{} finds in {} files", scan.found.len(), scan.files),
    );
    ledger.promise(
        &format!("no name and no note is readable in any file {when}"),
        scan.found.is_empty() && scan.files > 0,
    )?;
    Ok(())
}

/// A word that is nowhere else.
fn canary() -> Result<String> {
    let source: &dyn Entropy = &OsEntropy;
    Ok(format!("canary-{:016x}", u64::from_le_bytes(source.bytes()?)))
}

/// Runs what blocks on a thread where it may.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}

/// Unlocks a phone with the passcode it was enrolled with.
async fn unlock(phone: &Arc<Phone>, passcode: &str) -> Result<Result<(), Error>> {
    let (phone, passcode) = (Arc::clone(phone), roundsman_core::vault::Passcode::new(passcode)?);
    blocking(move || Ok(phone.unlock(&passcode))).await
}
