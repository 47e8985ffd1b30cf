//! Issuing commands and handing them out.
//!
//! A device has at most one outstanding command: a new one takes the place of what was not accepted yet. What a
//! device has accepted is known for certain only when it next reports, because an answer may be on its way. So a
//! command is signed in one *form* for each command the device may have accepted by then, and the form that fits
//! the device's report is handed out. That keeps the chain of commands whole, and no stale unlock can ever stand
//! before a lock or a wipe.

use super::status::{Event, step};
use crate::Admin;
use crate::admin::DeviceStatus;
use crate::keys::OrgKeys;
use crate::random;
use crate::refusal::Refusal;
use crate::storage::{CommandState, StorageError, StoredCommand, StoredDevice, StoredForm, WriteTx};
use chrono::{DateTime, TimeDelta, Utc};
use roundsman_model::UserId;
use roundsman_protocol::VERSION;
use roundsman_protocol::command::{Command, Kind};
use roundsman_protocol::envelope::{Domain, Envelope};
use roundsman_protocol::escrow::{ESCROW_INFO, UNLOCK_INFO, UnlockChallenge, share_aad};
use roundsman_protocol::hpke_seal;
use uuid::Uuid;

/// How long an unlock holds.
const UNLOCK_MINUTES: i64 = 10;

/// A command to be signed.
pub(crate) struct Order<'a> {
    pub(crate) kind: Kind,
    pub(crate) reason: &'a str,
    pub(crate) by: UserId,
}

/// Signs and stores a command in the place of what is outstanding, and returns its id.
pub(crate) fn issue(
    tx: &mut dyn WriteTx,
    keys: &OrgKeys,
    device: &StoredDevice,
    order: Order<'_>,
    now: DateTime<Utc>,
) -> Result<Uuid, Refusal> {
    supersede(tx, device)?;
    let forms = tx.command_forms(device.id)?;
    let not_after = if order.kind.expires() { now + TimeDelta::minutes(UNLOCK_MINUTES) } else { now };
    let stored = StoredCommand {
        id: random::uuid(),
        device: device.id,
        kind: order.kind.name().to_owned(),
        reason: order.reason.to_owned(),
        issued_by: order.by,
        issued_ms: now.timestamp_millis(),
        not_after_ms: not_after.timestamp_millis(),
        nonce: match &order.kind {
            Kind::Unlock { nonce, .. } => Some(*nonce),
            Kind::Lock | Kind::Wipe { .. } => None,
        },
        state: CommandState::Outstanding,
    };
    tx.put_command(&stored)?;
    for (last, prev) in heads(device, &forms) {
        let command = Command {
            v: VERSION,
            org: keys.root.org,
            device: *device.id.0.as_bytes(),
            thumbprint: device.key.thumbprint().0,
            seq: last + 1,
            prev,
            kind: order.kind.clone(),
            reason: order.reason.to_owned(),
            id: *stored.id.as_bytes(),
            issued_ms: stored.issued_ms,
            not_after_ms: stored.not_after_ms,
            root_version: keys.root.version,
        };
        let envelope = keys.sign(Domain::Command, command.to_bytes());
        tx.add_command_form(&StoredForm {
            command: stored.id,
            seq: command.seq,
            prev,
            hash: command.hash(),
            envelope,
            delivered_ms: None,
        })?;
    }
    Ok(stored.id)
}

/// Locks a device that is in use, because the server has noticed something. The device's row is not written.
pub(crate) fn lock_by_itself(
    tx: &mut dyn WriteTx,
    keys: &OrgKeys,
    device: &mut StoredDevice,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    if device.status == DeviceStatus::Active {
        issue(tx, keys, device, Order { kind: Kind::Lock, reason, by: Admin::OPERATOR }, now)?;
        device.status = step(device.status, Event::LockIssued);
    }
    Ok(())
}

/// Takes back what the device has not accepted.
pub(crate) fn supersede(tx: &mut dyn WriteTx, device: &StoredDevice) -> Result<(), Refusal> {
    if let Some(mut command) = outstanding(tx, device)? {
        command.state = CommandState::Superseded;
        tx.put_command(&command)?;
    }
    Ok(())
}

/// The commands that may be the last one the device has accepted: number and hash.
fn heads(device: &StoredDevice, forms: &[StoredForm]) -> Vec<(u64, [u8; 32])> {
    let mut heads: Vec<(u64, [u8; 32])> = forms
        .iter()
        .filter(|form| form.delivered_ms.is_some() && form.seq >= device.last_command)
        .map(|form| (form.seq, form.hash))
        .collect();
    if device.last_command == 0 {
        heads.insert(0, (0, [0; 32]));
    }
    heads
}

fn outstanding(tx: &dyn WriteTx, device: &StoredDevice) -> Result<Option<StoredCommand>, Refusal> {
    Ok(tx.commands(device.id)?.into_iter().find(|command| command.state == CommandState::Outstanding))
}

/// Takes note of how far the device says it has accepted commands.
pub(crate) fn note_accepted(
    tx: &mut dyn WriteTx,
    device: &mut StoredDevice,
    reported: u64,
) -> Result<(), Refusal> {
    let forms = tx.command_forms(device.id)?;
    let handed_out = || forms.iter().filter(|form| form.delivered_ms.is_some());
    // A number that was never handed out can't have been accepted, and a device never goes back.
    let furthest = handed_out().map(|form| form.seq).max().unwrap_or(0);
    device.last_command = reported.min(furthest).max(device.last_command);
    let Some(mut command) = outstanding(tx, device)? else { return Ok(()) };
    let of_it = handed_out().any(|form| form.command == command.id && form.seq == device.last_command);
    // Another command with this number was handed out too: which of them was accepted, a receipt will tell.
    let of_another = handed_out().any(|form| form.command != command.id && form.seq == device.last_command);
    if of_it && !of_another {
        command.state = CommandState::Accepted;
        tx.put_command(&command)?;
    }
    Ok(())
}

/// What is handed to a device.
pub(crate) struct HandedOut {
    /// The envelopes, in order.
    pub(crate) commands: Vec<Vec<u8>>,
    /// The number of the last command the device will have accepted once it has read them.
    pub(crate) head_seq: u64,
}

/// What to hand to the device now.
pub(crate) fn hand_out(
    tx: &mut dyn WriteTx,
    keys: &OrgKeys,
    device: &StoredDevice,
    reported: u64,
    now: DateTime<Utc>,
) -> Result<HandedOut, Refusal> {
    let nothing = HandedOut { commands: vec![], head_seq: device.last_command };
    if reported < device.last_command {
        return hand_out_once_more(tx, keys, device, reported);
    }
    let Some(command) = outstanding(tx, device)? else { return Ok(nothing) };
    let now_ms = now.timestamp_millis();
    if command.nonce.is_some() && command.not_after_ms < now_ms {
        return Ok(nothing);
    }
    let forms = tx.command_forms(device.id)?;
    let age = |prev: &[u8; 32]| {
        forms
            .iter()
            .find(|form| form.seq == device.last_command && form.hash == *prev)
            .and_then(|form| form.delivered_ms)
    };
    // If it is unclear which command was accepted last, the one that was handed out last is the likeliest.
    let fitting = forms
        .iter()
        .filter(|form| form.command == command.id && form.seq == device.last_command + 1)
        .max_by_key(|form| age(&form.prev));
    let Some(form) = fitting else { return Ok(nothing) };
    tx.mark_delivered(command.id, &form.hash, now_ms)?;
    let envelope = under_present_key(keys, &form.envelope)?;
    Ok(HandedOut { commands: vec![envelope], head_seq: form.seq })
}

/// What a device was given that says it has accepted less than it once had: a copy of it, or one whose files were put
/// back. What the other obeyed it has to obey too.
fn hand_out_once_more(
    tx: &mut dyn WriteTx,
    keys: &OrgKeys,
    device: &StoredDevice,
    reported: u64,
) -> Result<HandedOut, Refusal> {
    let forms = tx.command_forms(device.id)?;
    let given = forms.iter().filter(|form| form.delivered_ms.is_some() && form.seq == reported + 1);
    let commands: Result<_, _> = given.map(|form| under_present_key(keys, &form.envelope)).collect();
    Ok(HandedOut { commands: commands?, head_seq: device.last_command })
}

/// A command as the present root's key signs it: the key may have changed since the command was issued. Its bytes
/// and its hash stay.
fn under_present_key(keys: &OrgKeys, signed: &[u8]) -> Result<Vec<u8>, Refusal> {
    let envelope = Envelope::from_bytes(signed).map_err(|_| StorageError::Damaged("command"))?;
    if keys.root.command.verify(Domain::Command, &envelope).is_ok() {
        return Ok(signed.to_vec());
    }
    Ok(keys.sign(Domain::Command, envelope.payload))
}

/// Answers a locked device's challenge with its share, unless that was done already or there is no share.
pub(crate) fn answer_challenge(
    tx: &mut dyn WriteTx,
    keys: &OrgKeys,
    device: &StoredDevice,
    challenge: &UnlockChallenge,
    granted_by: UserId,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    let answered = outstanding(tx, device)?.is_some_and(|command| {
        command.nonce == Some(challenge.nonce) && command.not_after_ms >= now.timestamp_millis()
    });
    let Some(stored) = tx.share(device.id)?.filter(|_| !answered) else { return Ok(()) };
    let aad = share_aad(device.id, stored.share.share);
    let seed = random::bytes()?;
    let sealed = hpke_seal::open(&stored.share.sealed, &keys.release, ESCROW_INFO, &aad)
        .and_then(|share| hpke_seal::seal(seed, &challenge.public_key, UNLOCK_INFO, &aad, &share));
    let Ok(share) = sealed else {
        tracing::warn!(device = %device.id, "an unlock challenge holds no usable key");
        return Ok(());
    };
    let kind = Kind::Unlock { nonce: challenge.nonce, share };
    issue(tx, keys, device, Order { kind, reason: "unlocked by the administrator", by: granted_by }, now)?;
    Ok(())
}
