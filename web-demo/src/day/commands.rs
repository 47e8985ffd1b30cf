//! Lock, unlock and wipe: from the administrator's word to the proof that it was done.

use super::ledger::{Ledger, time};
use super::work::{Made, seen_on};
use super::{blocking, unlock};
use crate::World;
use crate::phone::Phone;
use anyhow::{Context, Result};
use roundsman_core::model::DeviceId;
use roundsman_core::vault::VaultError;
use roundsman_core::{Error, State};
use roundsman_server::admin::{DeviceDetail, DeviceStatus};
use std::fs;
use std::sync::Arc;
use std::time::Instant;

/// Check-ins within which a command must have run its course: delivery, receipts, their confirmation.
const CHECK_INS: usize = 6;

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

pub(super) async fn wipe(world: &World, made: &[Vec<Made>], ledger: &mut Ledger<'_>) -> Result<()> {
    ledger.chapter("A phone is stolen: wipe")?;
    let (phone, rep) = world.phones().iter().zip(world.reps()).next_back().context("there is no phone")?;
    let device = device_of(phone)?;

    world.act(move |admin, actor| admin.propose_wipe(actor, device, "stolen", false)).await??;
    phone.check_in().await?;
    ledger.promise(
        "a wipe that nobody has approved wipes nothing",
        !matches!(phone.client().state(), State::Wiping | State::Wiped),
    )?;

    let begun = Instant::now();
    world.approve_wipes().await?;
    ledger.say("wipe approved with a key that the server does not hold, and ordered")?;
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
    Ok(())
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
