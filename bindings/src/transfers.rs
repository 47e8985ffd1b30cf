//! How sending and fetching of attachments goes on.

use crate::CallbackError;
use roundsman_core::attachments as core;
use std::sync::Arc;
use uuid::Uuid;

/// What the app knows of the network.
pub type NetworkKind = core::Network;
#[uniffi::remote(Enum)]
pub enum NetworkKind {
    /// Bytes cost nothing: Wi-Fi, as a rule.
    Unmetered,
    /// Bytes cost money: attachments wait, unless `AttachmentOptions.metered` says otherwise.
    Metered,
    /// There is none: attachments wait.
    Offline,
}

/// How far sending or fetching has come.
pub type Moved = core::Moved;
#[uniffi::remote(Record)]
pub struct Moved {
    /// The attachment.
    pub attachment: Uuid,
    /// Bytes of it that are over.
    pub bytes: u64,
    /// Bytes that it has.
    pub of: u64,
    /// Attachments that come after it.
    pub waiting: u64,
}

/// What was sent.
pub type SentAttachments = core::Sent;
#[uniffi::remote(Record)]
pub struct SentAttachments {
    /// Attachments that the server has now.
    pub files: u64,
    /// Bytes of content that went over the network.
    pub bytes: u64,
    /// Attachments that are still to be sent.
    pub left: u64,
    /// Their bytes.
    pub left_bytes: u64,
    /// Whether they wait for another network.
    pub waits: bool,
    /// Whether they wait until there is room on the server.
    pub full: bool,
    /// Attachments that can't be sent, and stay on this device: the server takes none of this size, did not find what it
    /// was promised three times, or the file is damaged.
    pub stuck: Vec<Uuid>,
}

/// What the server has not got yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Waiting {
    /// Attachments.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Follows the sending and fetching of attachments. Called from a thread of the library. Must not call the client.
#[uniffi::export(with_foreign)]
pub trait TransferProgress: Send + Sync {
    /// A part is over.
    fn moved(&self, moved: Moved) -> Result<(), CallbackError>;
}

/// The app's progress, as the core takes it.
pub(crate) struct ForeignTransfers(pub(crate) Option<Arc<dyn TransferProgress>>);

impl core::Transfers for ForeignTransfers {
    fn moved(&self, moved: core::Moved) {
        if let Some(progress) = &self.0 {
            // A progress bar that throws does not stop the transfer.
            let _ = progress.moved(moved);
        }
    }
}
