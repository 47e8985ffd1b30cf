//! Taking in receipts: what a device proves.

use super::alerts::raise;
use super::status::{Event, step};
use crate::admin::AlertKind;
use crate::refusal::Refusal;
use crate::storage::{CommandState, StoredCommand, StoredDevice, StoredReceipt, WriteTx};
use chrono::{DateTime, Utc};
use roundsman_protocol::VERSION;
use roundsman_protocol::receipt::{Progress, Receipt, SignedReceipt};
use uuid::Uuid;

/// The largest receipt that is kept.
const MAX_RECEIPT: usize = 16 * 1024;

/// How many receipts that prove nothing are kept of one device.
const MAX_UNVERIFIED: usize = 100;

/// Stores a receipt and lets it take effect if it is proof.
pub(crate) fn take(
    tx: &mut dyn WriteTx,
    device: &mut StoredDevice,
    raw: &[u8],
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    if raw.len() > MAX_RECEIPT {
        tracing::warn!(device = %device.id, "a receipt is too large to keep");
        return Ok(());
    }
    let opened = SignedReceipt::open(raw, &device.key).ok();
    let commands = tx.commands(device.id)?;
    let command = opened
        .as_ref()
        .and_then(Receipt::command)
        .and_then(|id| commands.into_iter().find(|command| command.id == id));
    let verified = match &opened {
        Some(receipt) => fits(tx, device, receipt, command.as_ref())?,
        None => false,
    };
    let earlier = tx.receipts(device.id)?;
    if !verified {
        raise(tx, AlertKind::Receipt, Some(device.id), String::new(), now)?;
        if earlier.iter().filter(|receipt| !receipt.verified).count() >= MAX_UNVERIFIED {
            return Ok(());
        }
    }
    let stored = StoredReceipt {
        device: device.id,
        command: command.as_ref().map(|command| command.id),
        progress: opened.as_ref().map_or("unreadable", |receipt| receipt.progress.name()).to_owned(),
        at_ms: opened.as_ref().map_or(0, |receipt| receipt.at_ms),
        received_ms: now.timestamp_millis(),
        verified,
        raw: raw.to_vec(),
    };
    let is_new = tx.add_receipt(&stored)?;
    if let Some(receipt) = opened.filter(|_| verified && is_new) {
        take_effect(tx, device, &receipt.progress, command)?;
    }
    Ok(())
}

/// Whether a receipt that the device signed is about itself, names a command as it was signed, says what that kind
/// of command leads to, and comes in order.
fn fits(
    tx: &dyn WriteTx,
    device: &StoredDevice,
    receipt: &Receipt,
    command: Option<&StoredCommand>,
) -> Result<bool, Refusal> {
    if receipt.v != VERSION || receipt.device() != device.id {
        return Ok(false);
    }
    let Some(id) = receipt.command() else {
        return match &receipt.progress {
            Progress::Complete { .. } => was_shredded(tx, device, None),
            Progress::Unlocked | Progress::Refused { .. } => Ok(false),
            Progress::SoftLocked | Progress::Locked | Progress::Shredded { .. } => Ok(true),
        };
    };
    let Some(command) = command else { return Ok(false) };
    let named = tx
        .command_forms(device.id)?
        .iter()
        .any(|form| form.command == id && form.hash == receipt.command_hash && form.delivered_ms.is_some());
    Ok(named
        && match (&receipt.progress, command.kind.as_str()) {
            (Progress::Refused { .. }, _)
            | (Progress::SoftLocked | Progress::Locked, "lock")
            | (Progress::Unlocked, "unlock")
            | (Progress::Shredded { .. }, "wipe") => true,
            (Progress::Complete { .. }, "wipe") => was_shredded(tx, device, Some(id))?,
            _ => false,
        })
}

fn was_shredded(tx: &dyn WriteTx, device: &StoredDevice, command: Option<Uuid>) -> Result<bool, Refusal> {
    Ok(tx
        .receipts(device.id)?
        .iter()
        .any(|receipt| receipt.verified && receipt.command == command && receipt.progress == "shredded"))
}

fn take_effect(
    tx: &mut dyn WriteTx,
    device: &mut StoredDevice,
    progress: &Progress,
    command: Option<StoredCommand>,
) -> Result<(), Refusal> {
    if matches!(progress, Progress::Refused { .. }) {
        return Ok(());
    }
    if let Some(mut command) = command {
        // An old command's receipt must not undo what was ordered since.
        let stale = command.state == CommandState::Superseded && matches!(progress, Progress::Unlocked);
        command.state = CommandState::Accepted;
        tx.put_command(&command)?;
        if stale {
            return Ok(());
        }
    }
    device.status = step(device.status, Event::Proved(progress));
    if matches!(progress, Progress::Shredded { .. }) {
        tx.remove_share(device.id)?;
        tx.revoke_tokens(device.id)?;
    }
    Ok(())
}
