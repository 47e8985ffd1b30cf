//! Roots: which keys the organisation trusts, and how that changes.

use super::{Admin, AdminError, ApproverView, RootChange, RootProposal, RootView, allow, pins, record, time};
use crate::admin::{AlertKind, DeviceStatus};
use crate::devices::alerts::raise;
use crate::devices::wipes;
use crate::keys::{self, OrgKeys, ROOT_DAYS};
use crate::storage::{ProposalState, ReadTx, WriteTx};
use chrono::{DateTime, TimeDelta, Utc};
use roundsman_model::UserId;
use roundsman_protocol::envelope::{Envelope, KeySignature};
use roundsman_protocol::keys::KeyId;
use roundsman_protocol::root::{MAX_ROOTS, PublicKey, RoleKeys, Root, RootError};
use roundsman_protocol::root_bundle::RootBundle;

impl Admin {
    /// The present root.
    ///
    /// # Errors
    /// [`AdminError::Storage`].
    pub fn root(&self) -> Result<RootView, AdminError> {
        let tx = self.app.storage.read()?;
        let keys = self.app.keys(tx.as_ref())?;
        view(tx.as_ref(), &keys)
    }

    /// Drafts the next root: the present one with this change, for another year. It counts once enough root keys,
    /// of the present root and of the draft, have signed its payload and it is published. The names of new
    /// approvers are kept.
    ///
    /// # Errors
    /// A name or a role can't be; [`AdminError::PinsTooFew`]; [`AdminError::PinsTooSoon`] unless it is an emergency.
    pub fn propose_root(&self, actor: UserId, change: RootChange) -> Result<RootProposal, AdminError> {
        let now = self.app.now();
        let mut tx = self.app.storage.write()?;
        allow(tx.as_ref(), actor)?;
        let keys = self.app.keys(tx.as_ref())?;
        match &change.pins {
            Some(next) if change.pins_emergency => pins::enough(next)?,
            Some(next) => pins::may_follow(tx.as_ref(), &keys.root, &self.app.pins, next, now)?,
            None => {}
        }
        let root = next(tx.as_mut(), &keys.root, change, now)?;
        root.usable()?;
        record(tx.as_mut(), actor, "propose_root", root.version, now)?;
        tx.commit()?;
        Ok(RootProposal { version: root.version, payload: root.to_bytes() })
    }

    /// The signed roots after a version, for devices that don't reach this server: the text of a QR code or a file.
    /// What it says is public, and good for every device that knows that version or a later one.
    ///
    /// # Errors
    /// [`AdminError::NotFound`] if no root is later.
    pub fn root_bundle(&self, after: u32) -> Result<RootBundle, AdminError> {
        let tx = self.app.storage.read()?;
        let roots = tx.roots_after(after, MAX_ROOTS)?;
        if roots.is_empty() {
            return Err(AdminError::NotFound);
        }
        Ok(RootBundle::new(self.app.keys(tx.as_ref())?.org(), after.saturating_add(1), roots))
    }

    /// Makes a signed root the present one. Devices get it with their next report. What the server signs from now
    /// on, it signs with the key that this root names; a command that is on its way is signed anew.
    ///
    /// # Errors
    /// [`AdminError::Root`] unless it follows the present root, is signed by both, is not expired and names keys the
    /// server holds.
    pub fn publish_root(
        &self,
        payload: Vec<u8>,
        signatures: &[(KeyId, [u8; 64])],
    ) -> Result<RootView, AdminError> {
        let now = self.app.now();
        let signatures =
            signatures.iter().map(|(key, signature)| KeySignature { key: *key, signature: *signature });
        let envelope = Envelope { payload, signatures: signatures.collect() }.to_bytes();
        let mut tx = self.app.storage.write()?;
        let present = self.app.keys(tx.as_ref())?;
        let root = present.root.open_next(&envelope)?;
        if root.expires_ms <= now.timestamp_millis() {
            return Err(RootError::Expired.into());
        }
        // A root with another release key would have devices seal shares that nobody here can open.
        let ours = root.release_key == present.root.release_key
            && keys::adopt_command_key(tx.as_mut(), &present, &root)?;
        if !ours {
            return Err(AdminError::RootWithoutServer);
        }
        tx.add_root(root.version, &envelope, now.timestamp_millis())?;
        settle_wipes(tx.as_mut(), &present.root, &root, now)?;
        record(tx.as_mut(), Self::OPERATOR, "publish_root", root.version, now)?;
        let fresh = self.app.keys(tx.as_ref())?;
        let shown = view(tx.as_ref(), &fresh)?;
        warn_of_void_wipes(tx.as_mut(), &fresh, now)?;
        tx.commit()?;
        Ok(shown)
    }
}

fn next(
    tx: &mut dyn WriteTx,
    present: &Root,
    change: RootChange,
    now: DateTime<Utc>,
) -> Result<Root, AdminError> {
    let mut root = present.clone();
    root.version = present.version.saturating_add(1);
    root.expires_ms = (now + TimeDelta::days(ROOT_DAYS)).timestamp_millis();
    if let Some(approvers) = change.approvers {
        for (name, key) in &approvers {
            tx.put_approver(key, label(name)?)?;
        }
        root.approver.keys = approvers.into_iter().map(|(_, key)| key).collect();
    }
    root.approver.threshold = change.approver_threshold.unwrap_or(root.approver.threshold);
    root.root = RoleKeys {
        threshold: change.root_threshold.unwrap_or(root.root.threshold),
        keys: change.root_keys.unwrap_or(root.root.keys),
    };
    root.pins = change.pins.unwrap_or(root.pins);
    root.url = change.url.unwrap_or(root.url);
    root.rescue_key = change.rescue_key.unwrap_or(root.rescue_key);
    root.recovery_key = change.recovery_key.unwrap_or(root.recovery_key);
    if change.rotate_command_key {
        root.command = RoleKeys { threshold: 1, keys: vec![keys::next_command_key(tx)?] };
    }
    Ok(root)
}

fn label(name: &str) -> Result<&str, AdminError> {
    let name = name.trim();
    let fits = (1..=100).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    if fits { Ok(name) } else { Err(AdminError::NameInvalid) }
}

/// Withdraws the proposals that have expired, so that a lower threshold does not bring them back.
fn settle_wipes(
    tx: &mut dyn WriteTx,
    present: &Root,
    next: &Root,
    now: DateTime<Utc>,
) -> Result<(), AdminError> {
    for mut proposal in tx.waiting_proposals()? {
        let expired = wipes::Standing::Expired;
        if wipes::standing(tx, present, &proposal, now)? == expired
            || wipes::standing(tx, next, &proposal, now)? == expired
        {
            proposal.state = ProposalState::Withdrawn;
            tx.put_proposal(&proposal)?;
        }
    }
    Ok(())
}

/// Raises an alert for each wipe on its way whose approvals no longer count: it must be approved anew.
fn warn_of_void_wipes(tx: &mut dyn WriteTx, keys: &OrgKeys, now: DateTime<Utc>) -> Result<(), AdminError> {
    for device in tx.devices()? {
        if device.status == DeviceStatus::WipePending && wipes::can_be_ordered(tx, keys, &device)? {
            raise(tx, AlertKind::WipeVoid, Some(device.id), String::new(), now)?;
        }
    }
    Ok(())
}

fn view(tx: &(impl ReadTx + ?Sized), keys: &OrgKeys) -> Result<RootView, AdminError> {
    let root = &keys.root;
    let approver = |key: &PublicKey| -> Result<ApproverView, AdminError> {
        let id = KeyId::of(&key.0);
        let label = tx.approver_label(id)?.unwrap_or_else(|| id.to_string());
        Ok(ApproverView { id, public: *key, label })
    };
    Ok(RootView {
        version: root.version,
        expires_at: time(root.expires_ms),
        approvers: root.approver.keys.iter().map(approver).collect::<Result<_, _>>()?,
        approver_threshold: root.approver.threshold,
        root_keys: root.root.keys.clone(),
        root_threshold: root.root.threshold,
        command_keys: root.command.keys.clone(),
        pins: root.pins.clone(),
        url: root.url.clone(),
    })
}
