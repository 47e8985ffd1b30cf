//! Wipes: proposed by an administrator, approved by people whose keys the server does not hold.

use super::{Admin, AdminError, ApprovalView, WipeProposal, WipeStanding, actor_name, allow, record, time};
use crate::devices::wipes::{self, PROPOSAL, Standing};
use crate::keys::OrgKeys;
use crate::storage::{ProposalState, ReadTx, StorageError, StoredApproval, StoredProposal};
use chrono::{DateTime, TimeDelta, Utc};
use roundsman_model::{DeviceId, UserId};
use roundsman_protocol::envelope::KeySignature;
use roundsman_protocol::keys::KeyId;
use roundsman_protocol::wipe_order::{ORDER_DAYS, WipeOrder};
use uuid::Uuid;

impl Admin {
    /// Proposes to wipe a device: its keys are destroyed, then its files, which can't be undone. Nothing happens to
    /// the device until enough approvers have signed the returned payload, which they must do within 24 hours. With
    /// `discard_unsent` its unsent work is destroyed too, in place of being handed over.
    ///
    /// # Errors
    /// The device is unknown, wiped or being wiped, a wipe of it waits already, or there is no reason.
    pub fn propose_wipe(
        &self,
        actor: UserId,
        device: DeviceId,
        reason: &str,
        discard_unsent: bool,
    ) -> Result<WipeProposal, AdminError> {
        let reason = super::fleet::reason_of(reason)?;
        let now = self.app.now();
        let mut tx = self.app.storage.write()?;
        allow(tx.as_ref(), actor)?;
        let keys = self.app.keys(tx.as_ref())?;
        let device = tx.device(device)?.ok_or(AdminError::NotFound)?;
        if !wipes::can_be_ordered(tx.as_ref(), &keys, &device)? {
            return Err(AdminError::AlreadyWiped);
        }
        for mut earlier in tx.proposals_of(device.id)? {
            match wipes::standing(tx.as_ref(), &keys.root, &earlier, now)? {
                Standing::Waiting | Standing::Held { .. } | Standing::Ready => {
                    return Err(AdminError::WipeProposed);
                }
                Standing::Expired => {
                    earlier.state = ProposalState::Withdrawn;
                    tx.put_proposal(&earlier)?;
                }
                Standing::Issued | Standing::Withdrawn => {}
            }
        }
        let id = crate::random::uuid();
        let order = WipeOrder {
            v: roundsman_protocol::VERSION,
            org: keys.root.org,
            device: *device.id.0.as_bytes(),
            thumbprint: device.key.thumbprint().0,
            id: *id.as_bytes(),
            reason: reason.to_owned(),
            discard_unsent,
            issued_ms: now.timestamp_millis(),
            not_after_ms: (now + TimeDelta::days(ORDER_DAYS)).timestamp_millis(),
        };
        let proposal = StoredProposal {
            id,
            device: device.id,
            payload: order.to_bytes(),
            proposed_by: actor,
            proposed_ms: now.timestamp_millis(),
            state: ProposalState::Waiting,
            command: None,
            issued_ms: None,
            threshold: None,
        };
        tx.put_proposal(&proposal)?;
        record(tx.as_mut(), actor, "propose_wipe", device.id, now)?;
        let shown = view(tx.as_ref(), &keys, proposal, now)?;
        tx.commit()?;
        Ok(shown)
    }

    /// Takes an approver's signature on a proposal's payload, in the domain
    /// [`WipeOrder`](roundsman_protocol::envelope::Domain::WipeOrder), and orders the wipe once enough have signed. Who
    /// brings the signature does not matter; whose key made it does.
    ///
    /// # Errors
    /// The proposal is unknown or closed, the key is no approver's or has signed before, or the signature is wrong.
    pub fn approve_wipe(
        &self,
        proposal: Uuid,
        key: KeyId,
        signature: &[u8; 64],
    ) -> Result<WipeProposal, AdminError> {
        let now = self.app.now();
        let mut tx = self.app.storage.write()?;
        let keys = self.app.keys(tx.as_ref())?;
        let proposal = tx.proposal(proposal)?.ok_or(AdminError::NotFound)?;
        match wipes::standing(tx.as_ref(), &keys.root, &proposal, now)? {
            Standing::Waiting | Standing::Held { .. } | Standing::Ready => {}
            Standing::Expired | Standing::Issued | Standing::Withdrawn => {
                return Err(AdminError::ProposalClosed);
            }
        }
        if !keys.root.approver.keys.iter().any(|known| KeyId::of(&known.0) == key) {
            return Err(AdminError::NotAnApprover);
        }
        if !wipes::is_signed_by(&keys.root, &proposal, &KeySignature { key, signature: *signature }) {
            return Err(AdminError::SignatureWrong);
        }
        let label = tx.approver_label(key)?.unwrap_or_else(|| key.to_string());
        let approval = StoredApproval { key, label, signature: *signature, at_ms: now.timestamp_millis() };
        if !tx.add_approval(proposal.id, &approval)? {
            return Err(AdminError::AlreadyApproved);
        }
        record(tx.as_mut(), Self::OPERATOR, "approve_wipe", format!("{} by {key}", proposal.device), now)?;
        if let Some(mut device) = tx.device(proposal.device)? {
            wipes::order_if_ready(tx.as_mut(), &keys, &mut device, now)?;
            tx.put_device(&device)?;
        }
        let proposal = tx.proposal(proposal.id)?.ok_or(AdminError::NotFound)?;
        let shown = view(tx.as_ref(), &keys, proposal, now)?;
        tx.commit()?;
        Ok(shown)
    }

    /// Takes a proposal back before it is ordered.
    ///
    /// # Errors
    /// The proposal is unknown or closed.
    pub fn withdraw_wipe(&self, actor: UserId, proposal: Uuid) -> Result<(), AdminError> {
        let mut tx = self.app.storage.write()?;
        allow(tx.as_ref(), actor)?;
        let mut proposal = tx.proposal(proposal)?.ok_or(AdminError::NotFound)?;
        if proposal.state != ProposalState::Waiting {
            return Err(AdminError::ProposalClosed);
        }
        proposal.state = ProposalState::Withdrawn;
        tx.put_proposal(&proposal)?;
        record(tx.as_mut(), actor, "withdraw_wipe", proposal.device, self.app.now())?;
        Ok(tx.commit()?)
    }

    /// The wipes that wait for approvals or are held, the first one first.
    ///
    /// # Errors
    /// [`AdminError::Storage`].
    pub fn wipe_proposals(&self) -> Result<Vec<WipeProposal>, AdminError> {
        let tx = self.app.storage.read()?;
        let keys = self.app.keys(tx.as_ref())?;
        let mut open = Vec::new();
        for proposal in tx.waiting_proposals()? {
            let shown = view(tx.as_ref(), &keys, proposal, self.app.now())?;
            if shown.standing.is_open() {
                open.push(shown);
            }
        }
        Ok(open)
    }

    /// A proposed wipe.
    ///
    /// # Errors
    /// [`AdminError::Storage`].
    pub fn wipe_proposal(&self, id: Uuid) -> Result<Option<WipeProposal>, AdminError> {
        let tx = self.app.storage.read()?;
        let keys = self.app.keys(tx.as_ref())?;
        let proposal = tx.proposal(id)?;
        proposal.map(|proposal| view(tx.as_ref(), &keys, proposal, self.app.now())).transpose()
    }
}

/// A device's proposed wipes, the first one first.
pub(super) fn of_device(
    tx: &dyn ReadTx,
    keys: &OrgKeys,
    device: DeviceId,
    now: DateTime<Utc>,
) -> Result<Vec<WipeProposal>, AdminError> {
    tx.proposals_of(device)?.into_iter().map(|proposal| view(tx, keys, proposal, now)).collect()
}

fn view(
    tx: &(impl ReadTx + ?Sized),
    keys: &OrgKeys,
    proposal: StoredProposal,
    now: DateTime<Utc>,
) -> Result<WipeProposal, AdminError> {
    let order =
        WipeOrder::from_payload(&proposal.payload).map_err(|_| StorageError::Damaged("wipe order"))?;
    let device = tx.device(proposal.device)?.ok_or(StorageError::Damaged("wipe proposal"))?;
    let standing = match wipes::standing(tx, &keys.root, &proposal, now)? {
        Standing::Ready => WipeStanding::Approved,
        Standing::Waiting => WipeStanding::Waiting { until: time(proposal.proposed_ms) + PROPOSAL },
        Standing::Held { until_ms } => WipeStanding::Held { until: time(until_ms) },
        Standing::Expired => WipeStanding::Expired,
        Standing::Withdrawn => WipeStanding::Withdrawn,
        Standing::Issued => WipeStanding::Ordered { at: time(proposal.issued_ms.unwrap_or_default()) },
    };
    let needed = proposal.threshold.unwrap_or(keys.root.approver.threshold);
    let approvals = tx.approvals(proposal.id)?;
    Ok(WipeProposal {
        id: proposal.id,
        device: device.id,
        device_name: device.name,
        user_name: actor_name(tx, device.user)?,
        reason: order.reason,
        discard_unsent: order.discard_unsent,
        proposed_by: actor_name(tx, proposal.proposed_by)?,
        proposed_at: time(proposal.proposed_ms),
        approvals: approvals
            .into_iter()
            .map(|it| ApprovalView { key: it.key, by: it.label, at: time(it.at_ms) })
            .collect(),
        needed: needed.into(),
        standing,
        command: proposal.command,
        payload: proposal.payload,
    })
}
