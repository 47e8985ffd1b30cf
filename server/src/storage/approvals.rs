//! Roots, approvers, wipes that wait for approval, and policies.

use super::Result;
use roundsman_model::{DeviceId, UserId};
use roundsman_protocol::keys::KeyId;
use roundsman_protocol::policy::Policy;
use roundsman_protocol::root::PublicKey;
use uuid::Uuid;

/// How far a proposed wipe has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProposalState {
    /// Waits for approvals.
    Waiting,
    /// The wipe was ordered.
    Issued,
    /// Somebody took it back before it was ordered.
    Withdrawn,
}

/// A proposed wipe as stored.
#[derive(Clone, Debug)]
pub struct StoredProposal {
    /// Its id: the one of the order.
    pub id: Uuid,
    /// The device.
    pub device: DeviceId,
    /// The order's bytes, which approvers sign.
    pub payload: Vec<u8>,
    /// Who proposed it.
    pub proposed_by: UserId,
    /// When: milliseconds since 1970.
    pub proposed_ms: i64,
    /// How far it has come.
    pub state: ProposalState,
    /// The command that carries it.
    pub command: Option<Uuid>,
    /// When it was ordered: milliseconds since 1970.
    pub issued_ms: Option<i64>,
    /// How many approvers the root asked for when it was ordered.
    pub threshold: Option<u8>,
}

/// One approver's signature on a proposed wipe.
#[derive(Clone, Debug)]
pub struct StoredApproval {
    /// The approver's key.
    pub key: KeyId,
    /// Whose it was then.
    pub label: String,
    /// 64 bytes of Ed25519.
    pub signature: [u8; 64],
    /// When: milliseconds since 1970.
    pub at_ms: i64,
}

/// Reading roots, approvers, proposals and policies.
pub trait ApprovalsRead {
    /// The version of the present root; `None` before the first.
    fn root_version(&self) -> Result<Option<u32>>;
    /// When each root was published, in order: milliseconds since 1970; 0 for those that count as old.
    fn root_times(&self) -> Result<Vec<(Vec<u8>, i64)>>;
    /// The envelopes of the roots after a version, in order, `limit` at most.
    fn roots_after(&self, version: u32, limit: usize) -> Result<Vec<Vec<u8>>>;
    /// Whose this key is.
    fn approver_label(&self, key: KeyId) -> Result<Option<String>>;
    /// The proposed wipe with this id.
    fn proposal(&self, id: Uuid) -> Result<Option<StoredProposal>>;
    /// A device's proposed wipes, the first one first.
    fn proposals_of(&self, device: DeviceId) -> Result<Vec<StoredProposal>>;
    /// The proposed wipes that wait, the first one first.
    fn waiting_proposals(&self) -> Result<Vec<StoredProposal>>;
    /// A proposal's approvals, the first one first.
    fn approvals(&self, proposal: Uuid) -> Result<Vec<StoredApproval>>;
    /// How many wipes were ordered after a time, and when the first of them was: milliseconds since 1970.
    fn wipes_since(&self, since_ms: i64) -> Result<(u64, Option<i64>)>;
    /// The present policy; `None` before the first.
    fn policy(&self) -> Result<Option<Policy>>;
}

/// Writing roots, approvers, proposals and policies.
pub trait ApprovalsWrite {
    /// Appends a root to the chain.
    fn add_root(&mut self, version: u32, envelope: &[u8], at_ms: i64) -> Result<()>;
    /// Notes whose an approver's key is.
    fn put_approver(&mut self, public: &PublicKey, label: &str) -> Result<()>;
    /// Adds or replaces a proposed wipe.
    fn put_proposal(&mut self, proposal: &StoredProposal) -> Result<()>;
    /// Adds an approval. False if this key approved it before.
    fn add_approval(&mut self, proposal: Uuid, approval: &StoredApproval) -> Result<bool>;
    /// Appends a policy; its version must be new.
    fn add_policy(&mut self, policy: &Policy, by: UserId, at_ms: i64) -> Result<()>;
}
