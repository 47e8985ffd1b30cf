//! What gives a copied or tampered device away.
//!
//! A device and its server take turns: each report names the nonce of the answer before it. Two devices with one key
//! can't both, so the second report of the slower one raises the alarm: the device is locked, never wiped.
//!
//! A report of the last turn once more may have been overtaken on its way by the one that counted: that it is behind says
//! nothing. A device that was put back is found at its next turn. Nor says one of an earlier turn anything that comes a second
//! time, which a network can bring about; a copy that was made between the two comes a third time.

use super::alerts::raise;
use super::commands;
use crate::admin::AlertKind;
use crate::keys::OrgKeys;
use crate::random;
use crate::refusal::Refusal;
use crate::storage::{Attempt, StoredDevice, StoredWatch, TurnState, WriteTx};
use chrono::{DateTime, Utc};
use roundsman_protocol::ErrorCode;
use roundsman_protocol::api::{Checkin, DeviceState, Turn};
use roundsman_protocol::policy::Policy;
use roundsman_protocol::posture::{Posture, Verdict};

/// What watching a report led to.
pub(crate) struct Watched {
    /// The nonce for the device's next turn.
    pub(crate) nonce: Option<[u8; 16]>,
    /// What the policy says of the phone's state.
    pub(crate) verdict: Verdict,
    /// Whether this turn was taken before: the report may be older than what is known.
    pub(crate) repeated: bool,
}

/// What became of a turn.
#[derive(Default)]
struct Taken {
    nonce: Option<[u8; 16]>,
    repeated: bool,
    late: bool,
}

/// How many answered reports are known again.
const KNOWN_AGAIN: usize = 8;

/// Whether a turn is in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judged {
    /// It is, or it can't be told: the next nonce.
    InOrder,
    /// The last report once more, whose answer was lost: the same nonce again.
    Repeat([u8; 16]),
    /// A report that was answered some turns ago, for the second time: it was on its way for long.
    Late,
    /// Another device has taken a turn with this key.
    Copied,
}

/// Looks at a report; raises what alerts there are, and locks the device if there seem to be two of it.
pub(crate) fn look(
    tx: &mut dyn WriteTx,
    keys: &OrgKeys,
    device: &mut StoredDevice,
    report: &Checkin,
    policy: &Policy,
    now: DateTime<Utc>,
) -> Result<Watched, Refusal> {
    let mut watch = tx.watch(device.id)?;
    let before = watch.clone();
    let Taken { nonce, repeated, late } = take_turn(tx, keys, device, &mut watch, report, now)?;
    if !(late || repeated && is_behind(&watch, report)) {
        look_at_posture(&mut watch, report)?;
        look_at_boot(tx, device, &mut watch, report, now)?;
        look_at_commit(tx, keys, device, &mut watch, report, now)?;
        look_at_withheld(tx, device, &mut watch, report, now)?;
    }
    let (verdict, concerns) = watch.posture.as_ref().map(|posture| posture.judge(policy)).unwrap_or_default();
    if verdict == Verdict::Lock {
        let words: Vec<&str> = concerns.iter().map(|(concern, _)| concern.words()).collect();
        raise(tx, AlertKind::Posture, Some(device.id), words.join("; "), now)?;
    }
    if watch != before {
        tx.put_watch(device.id, &watch)?;
    }
    Ok(Watched { nonce, verdict, repeated: repeated || late })
}

/// Takes the next turn that a device names, whatever it is: an administrator lets it open again.
pub(crate) fn trust_again(tx: &mut dyn WriteTx, device: &StoredDevice) -> Result<(), Refusal> {
    let watch = tx.watch(device.id)?;
    Ok(tx.put_watch(device.id, &StoredWatch { turn: TurnState::Trusted, ..watch })?)
}

fn take_turn(
    tx: &mut dyn WriteTx,
    keys: &OrgKeys,
    device: &mut StoredDevice,
    watch: &mut StoredWatch,
    report: &Checkin,
    now: DateTime<Utc>,
) -> Result<Taken, Refusal> {
    if watch.turn == TurnState::Broken {
        return Ok(Taken::default());
    }
    let Some(turn) = report.turn else {
        // A wiped device has forgotten its turn; any other that once named one always does.
        if matches!(watch.turn, TurnState::Running { .. }) && report.state != DeviceState::Wiped {
            raise(tx, AlertKind::TurnMissing, Some(device.id), String::new(), now)?;
        }
        return Ok(Taken::default());
    };
    match judge(watch, turn) {
        Judged::Repeat(nonce) => Ok(Taken { nonce: Some(nonce), repeated: true, late: false }),
        Judged::Late => {
            watch.answered.retain(|known| known.0 != turn.attempt);
            Ok(Taken { late: true, ..Taken::default() })
        }
        Judged::InOrder => {
            let nonce = random::bytes()?;
            if let TurnState::Running { attempt, .. } = watch.turn {
                watch.answered.push(Attempt(attempt));
                let many = watch.answered.len().saturating_sub(KNOWN_AGAIN);
                watch.answered.drain(..many);
            }
            watch.turn = TurnState::Running {
                counter: turn.counter.saturating_add(1),
                nonce,
                previous: turn.nonce,
                attempt: turn.attempt,
            };
            Ok(Taken { nonce: Some(nonce), ..Taken::default() })
        }
        Judged::Copied => {
            watch.turn = TurnState::Broken;
            let detail = format!("it named turn {}", turn.counter);
            raise(tx, AlertKind::Copied, Some(device.id), detail, now)?;
            commands::lock_by_itself(tx, keys, device, "another device answers with this device's key", now)?;
            Ok(Taken::default())
        }
    }
}

fn judge(watch: &StoredWatch, turn: Turn) -> Judged {
    match watch.turn {
        TurnState::Fresh if turn.counter == 0 && turn.nonce == [0; 16] => Judged::InOrder,
        TurnState::Trusted => Judged::InOrder,
        TurnState::Running { counter, nonce, .. } if turn.counter == counter && turn.nonce == nonce => {
            Judged::InOrder
        }
        TurnState::Running { counter, nonce, previous, attempt }
            if turn.attempt == attempt
                && turn.nonce == previous
                && turn.counter.checked_add(1) == Some(counter) =>
        {
            Judged::Repeat(nonce)
        }
        TurnState::Running { counter, .. }
            if turn.counter < counter && watch.answered.contains(&Attempt(turn.attempt)) =>
        {
            Judged::Late
        }
        TurnState::Fresh | TurnState::Running { .. } | TurnState::Broken => Judged::Copied,
    }
}

/// Whether a report is older than what is known of the device's store, or names a start of the phone that it has left.
fn is_behind(watch: &StoredWatch, report: &Checkin) -> bool {
    let older = matches!((report.commit, watch.commit), (Some(commit), Some(known)) if commit < known);
    older || (report.boot.is_some() && report.boot == watch.boot_before)
}

fn look_at_posture(watch: &mut StoredWatch, report: &Checkin) -> Result<(), Refusal> {
    if let Some(posture) = &report.posture {
        if !posture.is_sensible() {
            return Err(ErrorCode::Malformed.into());
        }
        watch.posture = Some(Posture::clone(posture));
    }
    Ok(())
}

/// A phone starts anew now and then, but never goes back to a start it has left: that is another phone.
fn look_at_boot(
    tx: &mut dyn WriteTx,
    device: &StoredDevice,
    watch: &mut StoredWatch,
    report: &Checkin,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    let Some(boot) = report.boot.filter(|boot| watch.boot != Some(*boot)) else { return Ok(()) };
    if watch.boot_before == Some(boot) {
        raise(tx, AlertKind::BootsAlternate, Some(device.id), String::new(), now)?;
    }
    watch.boot_before = watch.boot.replace(boot);
    Ok(())
}

fn look_at_commit(
    tx: &mut dyn WriteTx,
    keys: &OrgKeys,
    device: &mut StoredDevice,
    watch: &mut StoredWatch,
    report: &Checkin,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    let Some(commit) = report.commit else { return Ok(()) };
    if let Some(known) = watch.commit.filter(|known| commit < *known) {
        let detail = format!("commit {commit} after commit {known}");
        raise(tx, AlertKind::StoreWentBack, Some(device.id), detail, now)?;
        commands::lock_by_itself(tx, keys, device, "an older copy of this device's data was put back", now)?;
    }
    watch.commit = Some(commit);
    Ok(())
}

fn look_at_withheld(
    tx: &mut dyn WriteTx,
    device: &StoredDevice,
    watch: &mut StoredWatch,
    report: &Checkin,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    if let Some(seq) = report.withheld.filter(|seq| watch.withheld != Some(*seq)) {
        raise(tx, AlertKind::Withheld, Some(device.id), format!("command {seq}"), now)?;
    }
    watch.withheld = report.withheld;
    Ok(())
}
