//! What an administrator sees of wipes that wait for approval, and of roots.

use crate::keyfile::{KeyFile, KeyFileError};
use chrono::{DateTime, Utc};
use roundsman_model::DeviceId;
use roundsman_protocol::envelope::Domain;
use roundsman_protocol::keys::KeyId;
use roundsman_protocol::root::PublicKey;
use roundsman_protocol::ticket::SpkiPin;
use uuid::Uuid;

/// A wipe that was proposed.
#[derive(Clone, Debug)]
pub struct WipeProposal {
    /// Its id: the one of the order.
    pub id: Uuid,
    /// The device.
    pub device: DeviceId,
    /// What its owner calls it.
    pub device_name: String,
    /// The owner's name.
    pub user_name: String,
    /// Why.
    pub reason: String,
    /// Whether unsent work is destroyed too, in place of being handed over.
    pub discard_unsent: bool,
    /// What approvers sign: the bytes of a [`WipeOrder`](roundsman_protocol::wipe_order::WipeOrder).
    pub payload: Vec<u8>,
    /// Who proposed it.
    pub proposed_by: String,
    /// When.
    pub proposed_at: DateTime<Utc>,
    /// Who approved it, the first one first.
    pub approvals: Vec<ApprovalView>,
    /// How many approvers the root asks for.
    pub needed: usize,
    /// How it stands.
    pub standing: WipeStanding,
    /// The command that carries it, once it was ordered.
    pub command: Option<Uuid>,
}

impl WipeProposal {
    /// Whether one person is enough in this organisation, which is to be said wherever a wipe is shown.
    pub fn is_one_persons(&self) -> bool {
        self.needed == 1
    }

    /// The signature that approves it, by an approver's key.
    ///
    /// # Errors
    /// [`KeyFileError::OtherKind`] if it is another sort of key.
    pub fn sign(&self, key: &KeyFile) -> Result<[u8; 64], KeyFileError> {
        key.sign(Domain::WipeOrder, &self.payload)
    }
}

/// How a proposed wipe stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WipeStanding {
    /// It waits for approvals.
    Waiting {
        /// Until when it does.
        until: DateTime<Utc>,
    },
    /// It is approved, but many wipes were ordered just before. One approver more than usual lets it go on at once.
    Held {
        /// When it may go on by itself, with the device's next report.
        until: DateTime<Utc>,
    },
    /// It is approved, and is ordered with the device's next report.
    Approved,
    /// The wipe was ordered.
    Ordered {
        /// When.
        at: DateTime<Utc>,
    },
    /// It was taken back.
    Withdrawn,
    /// It was not approved in time.
    Expired,
}

impl WipeStanding {
    /// Whether approvals are still taken.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Waiting { .. } | Self::Held { .. } | Self::Approved)
    }
}

/// An approver's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalView {
    /// The approver's key.
    pub key: KeyId,
    /// Whose it is.
    pub by: String,
    /// When it came in.
    pub at: DateTime<Utc>,
}

/// A person who approves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApproverView {
    /// The key's id.
    pub id: KeyId,
    /// The key.
    pub public: PublicKey,
    /// Whose it is.
    pub label: String,
}

/// The present root.
#[derive(Clone, Debug)]
pub struct RootView {
    /// Its version, from 1.
    pub version: u32,
    /// When it should have been replaced.
    pub expires_at: DateTime<Utc>,
    /// Who approves wipes.
    pub approvers: Vec<ApproverView>,
    /// How many of them must.
    pub approver_threshold: u8,
    /// Who signs the next root.
    pub root_keys: Vec<PublicKey>,
    /// How many of them must.
    pub root_threshold: u8,
    /// What the server signs with.
    pub command_keys: Vec<PublicKey>,
    /// The keys the server's certificate may have; those of the enrolment code if there are none.
    pub pins: Vec<SpkiPin>,
    /// The server's address; that of the enrolment code if there is none.
    pub url: Option<String>,
}

/// What the next root changes; what is not given stays.
#[derive(Clone, Debug, Default)]
pub struct RootChange {
    /// All approvers from then on: name and key.
    pub approvers: Option<Vec<(String, PublicKey)>>,
    /// How many approvers a wipe takes.
    pub approver_threshold: Option<u8>,
    /// All keys that sign roots from then on.
    pub root_keys: Option<Vec<PublicKey>>,
    /// How many of them a root takes.
    pub root_threshold: Option<u8>,
    /// All keys the server's certificate may have from then on: two at least.
    pub pins: Option<Vec<SpkiPin>>,
    /// Whether pins may leave before those that stay have been published for 30 days. Devices that were away since
    /// may need a bundle by hand.
    pub pins_emergency: bool,
    /// The server's address, or none of its own.
    pub url: Option<Option<String>>,
    /// Whether the server makes itself a new key for commands.
    pub rotate_command_key: bool,
    /// The X25519 key that opens unsent work.
    pub rescue_key: Option<[u8; 32]>,
    /// The X25519 key that opens release shares if the server is lost.
    pub recovery_key: Option<[u8; 32]>,
}

/// The draft of the next root.
#[derive(Clone, Debug)]
pub struct RootProposal {
    /// Its version.
    pub version: u32,
    /// What root keys sign, in the domain [`Root`](roundsman_protocol::envelope::Domain::Root).
    pub payload: Vec<u8>,
}
