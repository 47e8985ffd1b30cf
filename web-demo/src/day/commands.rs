//! Lock, unlock and wipe: from the administrator's word to the proof that it was done, and what is rescued.

use super::ledger::{Ledger, time};
use super::work::{Made, make_visits, seen_on};
use super::{blocking, canary, unlock};
use crate::World;
use crate::phone::Phone;
use anyhow::{Context, Result};
use indicatif::ProgressBar;
use roundsman_core::model::{DeviceId, visit};
use roundsman_core::vault::VaultError;
use roundsman_core::{Error, State};
use roundsman_server::admin::{AdminError, DeviceDetail, DeviceStatus, DeviceView};
use roundsman_server::keyfile::{KeyFile, KeyKind};
use std::fs;
use std::sync::Arc;
use std::time::Instant;

/// Check-ins within which a command must have run its course: delivery, receipts, their confirmation.
const CHECK_INS: usize = 6;

/// Visits that are unsent when the phone is stolen.
const LATE: usize = 3;

pub(super) async fn lock_and_unlock(
    world: &World,
    made: &[Vec<Made>],
    ledger: &mut Ledger<'_>,
) -> Result<()> {
    ledger.chapter("A phone is mislaid: lock and unlock")?;
    let (phone, rep) = world.phones().iter().zip(world.reps()).next().context("there is no phone")?;
    let device = device_of(phone)?;

    let begun = Instant::now();
    world.act(move |admin, actor| admin.lock(actor, device, "left in a taxi")).await??;
    check_in_until(phone, |state| matches!(state, State::Locked { .. })).await?;
    ledger.say(format!("lock ordered, delivered and obeyed in {}", time(begun.elapsed())))?;
    ledger.figure("lock, order to proof", time(begun.elapsed()));
    ledger.promise(
        "a lock closes the phone at its next check-in",
        phone.client().state() == State::Locked { soft: false },
    )?;
    let refused = unlock(phone, &rep.passcode).await?;
    ledger.promise(
        "while locked, the right passcode does not open it",
        matches!(refused, Err(Error::Vault(VaultError::Locked))) && phone.client().customers().is_err(),
    )?;
    ledger.promise(
        "the lock is proven to the server",
        detail(world, device).await?.view.state == DeviceStatus::Locked,
    )?;

    let begun = Instant::now();
    world.act(move |admin, actor| admin.unlock(actor, device)).await??;
    check_in_until(phone, |state| state == State::Closed).await?;
    let opened = unlock(phone, &rep.passcode).await?;
    ledger.say(format!("unlock granted, delivered and opened in {}", time(begun.elapsed())))?;
    ledger.figure("unlock, grant to open", time(begun.elapsed()));
    ledger.promise(
        "after an unlock the passcode opens it again",
        opened.is_ok() && phone.client().state() == State::Open,
    )?;
    let mut all_there = phone.client().customers()?.count()? == world.customers();
    for made in made {
        all_there &= seen_on(phone, made)? == made.len();
    }
    ledger.promise("and everything is still there", all_there)?;
    Ok(())
}

/// Wipes the last phone, which has unsent work on it; returns that work, which the organisation has at the end.
pub(super) async fn wipe(world: &World, made: &[Vec<Made>], ledger: &mut Ledger<'_>) -> Result<Vec<Made>> {
    ledger.chapter("A phone is stolen with unsent work on it: two people wipe it")?;
    let (phone, rep) = world.phones().iter().zip(world.reps()).next_back().context("there is no phone")?;
    let device = device_of(phone)?;
    let late = work_late(phone).await?;
    let unsent = phone.client().outbox()?.count()?;
    ledger.say(format!("{} made {} more visits; {unsent} changes unsent", rep.name, late.len()))?;

    world.act(move |admin, actor| admin.propose_wipe(actor, device, "stolen", false)).await??;
    phone.check_in().await?;
    ledger.promise("a wipe that nobody has approved wipes nothing", in_use(phone))?;
    world.approve_wipes(0).await?;
    phone.check_in().await?;
    ledger.promise("a wipe that one of two has approved wipes nothing", in_use(phone))?;
    let twice = world.approve_wipes(0).await;
    phone.check_in().await?;
    ledger.promise("the same person twice is one person", twice.is_err() && in_use(phone))?;

    let begun = Instant::now();
    world.approve_wipes(1).await?;
    ledger.say("wipe approved by two people with keys that the server does not hold, and ordered")?;
    phone.check_in().await?;
    ledger.say(format!("delivered and carried out; the phone is {:?}", phone.client().state()))?;
    check_in_until(phone, |state| state == State::Wiped).await?;
    let took = time(begun.elapsed());
    ledger.say(format!("proof complete {took} after the order"))?;
    ledger.figure("wipe, order to proof", took);

    let detail = detail(world, device).await?;
    let receipts =
        detail.commands.iter().filter(|command| command.kind == "wipe").flat_map(|command| &command.receipts);
    let verified: Vec<_> = receipts.filter(|receipt| receipt.verified).collect();
    for receipt in &verified {
        let said: Vec<String> =
            receipt.details.iter().map(|(label, value)| format!("{label}: {value}")).collect();
        ledger.say(format!("receipt “{}”, signature verified; {}", receipt.progress, said.join(", ")))?;
    }
    let proven = |progress: &str| verified.iter().any(|receipt| receipt.progress == progress);
    let order = detail.commands.iter().find_map(|command| command.order.as_ref());
    let by = order.map(|wipe| wipe.approvals.iter().map(|it| it.by.as_str()).collect::<Vec<_>>());
    let by = by.unwrap_or_default();
    ledger.say(format!("approved by {}", by.join(" and ")))?;
    ledger.promise("the console names both who approved", by == ["Ada Bell", "Ben Cole"])?;
    ledger.promise("the server holds verified proof that the keys are destroyed", proven("shredded"))?;
    ledger.promise("the server holds verified proof that the files are gone", proven("complete"))?;
    ledger.promise("the console shows the phone as wiped", detail.view.state == DeviceStatus::Wiped)?;

    let dir = phone.dir().to_owned();
    let left = blocking(move || {
        let names = fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect::<Result<Vec<String>>>()
    })
    .await?;
    ledger.say(format!("left in its folder: {}", left.join(", ")))?;
    ledger.promise(
        "no database, slot or share is left on it",
        !left.iter().any(|name| ["db", "slots", "release"].iter().any(|part| name.contains(part))),
    )?;
    let refused = unlock(phone, &rep.passcode).await?;
    ledger.promise(
        "a wiped phone never opens again",
        refused.is_err() && phone.client().customers().is_err(),
    )?;

    let other = world.phones().first().context("there is no phone")?;
    let mut all_there = other.sync().await.is_ok();
    for made in made {
        all_there &= seen_on(other, made)? == made.len();
    }
    ledger.promise("the other phone works on and holds the visits of both", all_there)?;
    Ok(late)
}

/// Opens what the wiped phone had not sent, and takes it.
pub(super) async fn rescue(
    world: &World,
    made: &[Vec<Made>],
    late: &[Made],
    ledger: &mut Ledger<'_>,
) -> Result<()> {
    ledger.chapter("What the wiped phone had not sent: rescue")?;
    let (wiped, reader) = world.phones().last().zip(world.phones().first()).context("there is no phone")?;
    let device = device_of_wiped(world, wiped).await?;
    let waiting = world.act(|admin, _| admin.rescue_waiting()).await??;
    let sealed: u64 = waiting.iter().map(|waiting| waiting.changes).sum();
    ledger.say(format!("{sealed} changes came in, sealed"))?;
    ledger.promise("the wiped phone handed its unsent work over", sealed > 0 && waiting.len() == 1)?;
    let earlier: usize = made.iter().map(Vec::len).sum();
    ledger.promise("nothing of it counts before somebody takes it", done_today(world).await? == earlier)?;
    let other = KeyFile::generate(KeyKind::Rescue, "another")?.opening_key()?;
    let refused = world.act(move |admin, actor| admin.open_rescue(actor, &other)).await?;
    ledger.promise(
        "another organisation's rescue key opens none of it",
        matches!(refused, Err(AdminError::WrongRescueKey)),
    )?;

    let filed = world.open_rescue().await?;
    let taken = world.act(move |admin, actor| admin.take_all_rescued(actor, device)).await??;
    ledger.say(format!(
        "{filed} changes opened, {} taken, {} refused",
        taken.applied,
        taken.refused.len()
    ))?;
    ledger.figure("changes sealed / taken", format!("{sealed} / {}", taken.applied));
    ledger
        .promise("every sealed change could be taken", taken.applied == sealed && taken.refused.is_empty())?;
    let again = world.open_rescue().await?;
    let twice = world.act(move |admin, actor| admin.take_all_rescued(actor, device)).await??;
    ledger.promise("opening and taking twice adds nothing", again == 0 && twice.applied == 0)?;
    ledger.promise(
        "the server has every visit exactly once, the rescued ones too",
        done_today(world).await? == earlier + late.len(),
    )?;
    reader.sync().await?;
    let seen = seen_on(reader, late)?;
    ledger.promise(
        &format!("{seen} of {} rescued visits are whole on the other phone", late.len()),
        seen == late.len(),
    )?;
    Ok(())
}

/// Visits that stay on the phone: it finds a signal only when it is too late to send them.
async fn work_late(phone: &Arc<Phone>) -> Result<Vec<Made>> {
    phone.set_airplane(true);
    let (worker, mark) = (Arc::clone(phone), canary()?);
    let late = blocking(move || make_visits(&worker, LATE, &mark, &ProgressBar::hidden())).await;
    phone.set_airplane(false);
    late
}

fn in_use(phone: &Phone) -> bool {
    !matches!(phone.client().state(), State::Wiping | State::Wiped)
}

async fn done_today(world: &World) -> Result<usize> {
    let today = chrono::Local::now().date_naive();
    let visits = world.act(move |admin, _| admin.visits_on(today)).await??;
    Ok(visits.iter().filter(|visit| visit.state == visit::State::CheckedOut).count())
}

/// A wiped phone has forgotten which device it was; the console has not.
async fn device_of_wiped(world: &World, phone: &Phone) -> Result<DeviceId> {
    let rep = world.reps().get(phone.number() - 1).context("the phone is nobody's")?.id;
    let devices = world.act(|admin, _| admin.devices()).await??;
    let wiped = |device: &&DeviceView| device.user == rep && device.state == DeviceStatus::Wiped;
    Ok(devices.iter().find(wiped).context("no device was wiped")?.id)
}

/// Checks in until the phone is where it should be, a few times at most.
async fn check_in_until(phone: &Arc<Phone>, there: impl Fn(State) -> bool) -> Result<()> {
    for _ in 0..CHECK_INS {
        if there(phone.client().state()) {
            break;
        }
        phone.check_in().await?;
    }
    Ok(())
}

fn device_of(phone: &Phone) -> Result<DeviceId> {
    Ok(phone.client().profile().context("the phone is not enrolled")?.device)
}

async fn detail(world: &World, device: DeviceId) -> Result<DeviceDetail> {
    world.act(move |admin, _| admin.device(device)).await??.context("the server does not know the phone")
}
