//! Devices: what they report, what they are told, and how they stand.

pub(crate) mod alerts;
pub(crate) mod commands;
pub(crate) mod lease;
pub(crate) mod leash;
mod receipts;
pub(crate) mod status;
#[cfg(test)]
mod tests;
pub(crate) mod watch;
#[cfg(test)]
mod watch_tests;
pub(crate) mod wipes;

use crate::admin::DeviceStatus;
use crate::audit;
use crate::keys::OrgKeys;
use crate::refusal::Refusal;
use crate::storage::{StoredDevice, StoredShare, WriteTx};
use chrono::{DateTime, Utc};
use commands::HandedOut;
use roundsman_protocol::ErrorCode;
use roundsman_protocol::api::{Checkin, CheckinAnswer};
use roundsman_protocol::envelope::Domain;
use roundsman_protocol::escrow::{ESCROW_INFO, EscrowReceipt, EscrowedShare, share_aad};
use roundsman_protocol::hpke_seal::{self, Sealed};
use roundsman_protocol::root::MAX_ROOTS;
use status::{Event, step};
use watch::Watched;

/// The most receipts of one check-in.
const MAX_RECEIPTS: usize = 64;

/// The largest sealed share: 32 bytes and a tag, with room to grow.
const MAX_SEALED: usize = 256;

/// Takes a device's report in and answers it. The device's row is written.
pub(crate) fn check_in(
    tx: &mut dyn WriteTx,
    keys: &OrgKeys,
    device: &mut StoredDevice,
    report: &Checkin,
    now: DateTime<Utc>,
) -> Result<CheckinAnswer, Refusal> {
    if report.receipts.len() > MAX_RECEIPTS || report.core.len() > 64 {
        return Err(ErrorCode::Malformed.into());
    }
    device.seen_ms = Some(now.timestamp_millis());
    // A closed vault can't be asked: what it said last stands.
    device.unsent = report.unsent.unwrap_or(device.unsent).min(i64::MAX as u64);
    device.core.clone_from(&report.core);
    for receipt in &report.receipts {
        receipts::take(tx, device, receipt, now)?;
    }
    commands::note_accepted(tx, device, report.last_command)?;
    device.status = step(device.status, Event::Reported(report.state));
    let escrow_receipt = match &report.escrow {
        Some(share) => keep_share(tx, keys, device, share, now)?,
        None => None,
    };
    let policy = tx.policy()?.unwrap_or_default();
    let Watched { nonce, verdict, repeated } = watch::look(tx, keys, device, report, &policy, now)?;
    if let Some(challenge) = report.unlock.as_ref().filter(|_| device.status == DeviceStatus::UnlockGranted) {
        let granted_by = granted_by(tx, device)?;
        commands::answer_challenge(tx, keys, device, challenge, granted_by, now)?;
    }
    let audit_checkpoint = match &report.audit {
        Some(report) => audit::take(tx, keys, device, report, repeated, now)?,
        None => None,
    };
    wipes::order_if_ready(tx, keys, device, now)?;
    let HandedOut { commands, head_seq } = commands::hand_out(tx, keys, device, report.last_command, now)?;
    tx.put_device(device)?;
    let lease = lease::renew(tx, keys, device, verdict, head_seq, now)?;
    let share = match &lease {
        Some(_) if commands.is_empty() => leash::answer(tx, keys, device, report)?,
        _ => None,
    };
    Ok(CheckinAnswer {
        audit_checkpoint,
        commands,
        receipts_stored: report.receipts.len() as u64,
        escrow_receipt,
        roots: tx.roots_after(report.root_version, MAX_ROOTS)?,
        lease,
        policy: (policy.version > report.policy_version)
            .then(|| keys.sign(Domain::Policy, policy.to_bytes())),
        nonce: nonce.map(|nonce| nonce.to_vec()),
        share,
        ..CheckinAnswer::at(now)
    })
}

/// Who let the device open again.
fn granted_by(tx: &dyn WriteTx, device: &StoredDevice) -> Result<roundsman_model::UserId, Refusal> {
    let key = grant_key(device);
    let by = tx.setting(&key)?.and_then(|bytes| uuid::Uuid::from_slice(&bytes).ok());
    Ok(by.map_or(crate::Admin::OPERATOR, roundsman_model::UserId))
}

/// The name of the setting that holds who granted a device's unlock.
pub(crate) fn grant_key(device: &StoredDevice) -> String {
    format!("unlock_granted_by/{}", device.id)
}

/// Keeps a share and signs for it. A share that can't be opened here gets no receipt: the device would trust in it
/// and destroy its own.
fn keep_share(
    tx: &mut dyn WriteTx,
    keys: &OrgKeys,
    device: &StoredDevice,
    share: &EscrowedShare,
    now: DateTime<Utc>,
) -> Result<Option<Vec<u8>>, Refusal> {
    let aad = share_aad(device.id, share.share);
    let gone = matches!(device.status, DeviceStatus::Shredded | DeviceStatus::Wiped);
    let large = |sealed: &Sealed| sealed.ciphertext.len() > MAX_SEALED;
    if gone || large(&share.sealed) || share.recovery.as_ref().is_some_and(large) {
        return Ok(None);
    }
    if hpke_seal::open(&share.sealed, &keys.release, ESCROW_INFO, &aad).is_err() {
        tracing::warn!(device = %device.id, "an escrowed share can't be opened");
        return Ok(None);
    }
    let stored_ms = now.timestamp_millis();
    tx.put_share(&StoredShare { device: device.id, share: share.clone(), stored_ms })?;
    let receipt =
        EscrowReceipt { device: *device.id.0.as_bytes(), share: *share.share.as_bytes(), stored_ms };
    Ok(Some(keys.sign(Domain::Escrow, receipt.to_bytes())))
}
