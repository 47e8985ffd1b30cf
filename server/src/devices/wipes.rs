//! Wipes: from approvals to a command, and the breaker that slows down many at once.

use super::alerts::raise;
use super::commands::{self, Order};
use super::status::{Event, step};
use crate::admin::{AlertKind, DeviceStatus};
use crate::keys::OrgKeys;
use crate::refusal::Refusal;
use crate::storage::{
    AdminAct, ProposalState, ReadTx, StorageError, StoredApproval, StoredDevice, StoredProposal, WriteTx,
};
use chrono::{DateTime, TimeDelta, Utc};
use roundsman_protocol::command::Kind;
use roundsman_protocol::envelope::{Domain, Envelope, KeySignature};
use roundsman_protocol::keys::KeyId;
use roundsman_protocol::root::Root;
use roundsman_protocol::wipe_order::WipeOrder;

/// How long a proposed wipe waits for its approvals.
pub(crate) const PROPOSAL: TimeDelta = TimeDelta::hours(24);

/// How many wipes may be ordered within [`WINDOW`] before the breaker trips. The figures are those of Workspace
/// ONE's wipe threshold.
pub(crate) const MAX_WIPES: u64 = 10;

/// The time in which wipes are counted.
pub(crate) const WINDOW: TimeDelta = TimeDelta::minutes(20);

/// How a proposed wipe stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Approvals are missing.
    Waiting,
    /// Approvals came too late.
    Expired,
    /// Approved, but many wipes were ordered just before: held until then, in milliseconds since 1970, or until one
    /// approver more than usual has signed.
    Held { until_ms: i64 },
    /// Approved.
    Ready,
    /// The wipe was ordered.
    Issued,
    /// It was taken back.
    Withdrawn,
}

/// How a proposed wipe stands under this root.
pub(crate) fn standing(
    tx: &(impl ReadTx + ?Sized),
    root: &Root,
    proposal: &StoredProposal,
    now: DateTime<Utc>,
) -> Result<Standing, StorageError> {
    match proposal.state {
        ProposalState::Issued => return Ok(Standing::Issued),
        ProposalState::Withdrawn => return Ok(Standing::Withdrawn),
        ProposalState::Waiting => {}
    }
    let approvals = tx.approvals(proposal.id)?;
    if !is_approved(root, proposal, &approvals, root.approver.threshold) {
        let expired = now.timestamp_millis() > proposal.proposed_ms + PROPOSAL.num_milliseconds();
        return Ok(if expired { Standing::Expired } else { Standing::Waiting });
    }
    let (wipes, first_ms) = tx.wipes_since((now - WINDOW).timestamp_millis())?;
    // One approver more than usual may let them go on. Where there is none, time does.
    let one_more = root.approver.threshold.saturating_add(1);
    if wipes >= MAX_WIPES && !is_approved(root, proposal, &approvals, one_more) {
        let until_ms = first_ms.unwrap_or(now.timestamp_millis()) + WINDOW.num_milliseconds();
        return Ok(Standing::Held { until_ms });
    }
    Ok(Standing::Ready)
}

/// Orders a device's wipe if it is approved and not held. The device's row is not written.
pub(crate) fn order_if_ready(
    tx: &mut dyn WriteTx,
    keys: &OrgKeys,
    device: &mut StoredDevice,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    if !can_be_ordered(tx, keys, device)? {
        return Ok(());
    }
    for proposal in tx.proposals_of(device.id)? {
        match standing(tx, &keys.root, &proposal, now)? {
            Standing::Ready => return order(tx, keys, device, proposal, now),
            Standing::Held { .. } => {
                let detail = format!("{MAX_WIPES} wipes in {} minutes", WINDOW.num_minutes());
                raise(tx, AlertKind::WipeBreaker, None, detail, now)?;
            }
            Standing::Waiting | Standing::Expired | Standing::Issued | Standing::Withdrawn => {}
        }
    }
    Ok(())
}

/// Whether a wipe can be ordered for a device: it is not wiped, and no wipe that its root lets it obey is on its
/// way.
pub(crate) fn can_be_ordered(
    tx: &(impl ReadTx + ?Sized),
    keys: &OrgKeys,
    device: &StoredDevice,
) -> Result<bool, StorageError> {
    match device.status {
        DeviceStatus::Shredded | DeviceStatus::Wiped => Ok(false),
        // A new root may have dropped the approvers of a wipe that is still on its way: the device refuses it.
        DeviceStatus::WipePending => Ok(!is_valid_still(tx, keys, device)?),
        _ => Ok(true),
    }
}

/// Whether the wipe that is on its way to a device is approved under the present root.
fn is_valid_still(
    tx: &(impl ReadTx + ?Sized),
    keys: &OrgKeys,
    device: &StoredDevice,
) -> Result<bool, StorageError> {
    let issued = tx.proposals_of(device.id)?.into_iter().rfind(|it| it.state == ProposalState::Issued);
    let Some(proposal) = issued else { return Ok(false) };
    let approvals = tx.approvals(proposal.id)?;
    Ok(is_approved(&keys.root, &proposal, &approvals, keys.root.approver.threshold))
}

fn order(
    tx: &mut dyn WriteTx,
    keys: &OrgKeys,
    device: &mut StoredDevice,
    mut proposal: StoredProposal,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    let reason = WipeOrder::from_payload(&proposal.payload).map(|order| order.reason);
    let reason = reason.map_err(|_| StorageError::Damaged("wipe order"))?;
    let order = envelope(&proposal, &tx.approvals(proposal.id)?).to_bytes();
    let by = proposal.proposed_by;
    let command =
        commands::issue(tx, keys, device, Order { kind: Kind::Wipe { order }, reason: &reason, by }, now)?;
    device.status = step(device.status, Event::WipeIssued);
    proposal.state = ProposalState::Issued;
    proposal.command = Some(command);
    proposal.issued_ms = Some(now.timestamp_millis());
    proposal.threshold = Some(keys.root.approver.threshold);
    tx.put_proposal(&proposal)?;
    tx.add_admin_act(&AdminAct {
        at_ms: now.timestamp_millis(),
        actor: by,
        action: "wipe".to_owned(),
        object: device.id.to_string(),
    })?;
    Ok(())
}

/// Whether one signature is a present approver's on this proposal.
pub(crate) fn is_signed_by(root: &Root, proposal: &StoredProposal, signed: &KeySignature) -> bool {
    let payload = proposal.payload.clone();
    let one = Envelope { payload, signatures: vec![signed.clone()] };
    let key = root.approver.keys.iter().find(|key| KeyId::of(&key.0) == signed.key);
    key.is_some_and(|key| one.verify(Domain::WipeOrder, &[key.0], 1).is_ok())
}

fn is_approved(root: &Root, proposal: &StoredProposal, approvals: &[StoredApproval], needed: u8) -> bool {
    let keys: Vec<[u8; 32]> = root.approver.keys.iter().map(|key| key.0).collect();
    envelope(proposal, approvals).verify(Domain::WipeOrder, &keys, needed.into()).is_ok()
}

fn envelope(proposal: &StoredProposal, approvals: &[StoredApproval]) -> Envelope {
    let sign = |it: &StoredApproval| KeySignature { key: it.key, signature: it.signature };
    Envelope { payload: proposal.payload.clone(), signatures: approvals.iter().map(sign).collect() }
}
