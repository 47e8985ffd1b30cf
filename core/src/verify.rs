//! What a check of everything on the device found: see [`Client::verify`](crate::Client::verify).
//!
//! ```no_run
//! # use roundsman_core::{Client, Error};
//! # async fn check(client: &Client) -> Result<(), Error> {
//! let found = client.verify(&()).await?;
//! println!("{} records, {} attachments", found.rows, found.attachments);
//! for finding in &found.findings {
//!     println!("{} {}", finding.fault, finding.to_do().words());
//! }
//! # Ok(()) }
//! ```

use crate::Error;
use crate::attachments::AttachmentError;
use crate::store::StoreError;
use roundsman_model::Bucket;
use roundsman_protocol::audit::AuditError;
use uuid::Uuid;

/// What is checked, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The tables and their indexes.
    Store,
    /// The search.
    Search,
    /// The unsent changes, and their sealed copies.
    Outbox,
    /// The audit chain.
    Audit,
    /// The files of attachments.
    Attachments,
    /// What the records add up to, compared with the server.
    Server,
}

/// Follows a check, and can stop it.
pub trait VerifyProgress: Send + Sync {
    /// So much of a part is done, of so much in all. A part whose length isn't known beforehand is 0 of 1, then 1 of 1.
    fn checked(&self, part: Part, done: u64, of: u64);

    /// Whether to stop. What was mended stays so.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Nobody looks on.
impl VerifyProgress for () {
    fn checked(&self, _: Part, _: u64, _: u64) {}
}

/// What was checked, and what was found.
#[derive(Debug)]
#[non_exhaustive]
pub struct Verified {
    /// Records that were compared with the digests of their tables.
    pub rows: u64,
    /// Records whose words were compared with the search.
    pub searchable: u64,
    /// Unsent changes whose sealed copies were looked for.
    pub changes: u64,
    /// Entries of the audit log whose chain was recomputed; what the server has may be gone from it.
    pub audit_entries: u64,
    /// Attachments whose files were read through.
    pub attachments: u64,
    /// Bytes of their content.
    pub attachment_bytes: u64,
    /// What was compared with the server, or why nothing was: [`Error::Offline`] without a network.
    pub server: Result<Compared, Error>,
    /// What was not as it should be; empty if nothing was.
    pub findings: Vec<Finding>,
}

/// What was compared with the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Parts of the data (territories, for the most part) that were compared record by record.
    pub buckets: u64,
    /// Parts of the data that the server said nothing about: others were changing them all the time, or the server was put
    /// back from a backup since this device was enrolled.
    pub unknown: u64,
}

/// Something that was not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub fault: Fault,
    /// Whether it is as it should be now.
    pub mended: bool,
}

/// What can be wrong. Nothing personal is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The database is damaged, or a part of it was put back to an earlier state.
    #[error(transparent)]
    Store(StoreError),
    /// The search did not hold what the records say.
    #[error("the search was not in step with the records")]
    Search {
        /// Records that were not found by their words.
        wrong: u64,
        /// Records that are gone and were still found.
        left: u64,
    },
    /// Unsent changes were not in the sealed outbox, which hands them over after a wipe.
    #[error("{changes} unsent changes had no sealed copy")]
    NotSealed {
        /// How many.
        changes: u64,
    },
    /// Attachments that were not sent had no sealed key, with which a wipe hands them over.
    #[error("{files} unsent attachments had no sealed key")]
    KeysNotSealed {
        /// How many.
        files: u64,
    },
    /// The audit log was changed or cut.
    #[error("{kind}")]
    Audit {
        /// What is wrong first.
        kind: AuditError,
        /// The number of that entry.
        entry: u64,
    },
    /// The file of an attachment.
    #[error("{error}")]
    Attachment {
        /// The attachment.
        id: Uuid,
        /// What is wrong with its file.
        error: AttachmentError,
    },
    /// A part of the data was not what the server has. Its administrator is told.
    #[error("a part of the data was not what the server has")]
    Bucket {
        /// Which.
        bucket: Bucket,
    },
}

/// What a person should do about a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToDo {
    /// Nothing: it was mended.
    Nothing,
    /// Fetch the attachment anew when it is wanted: the damaged file was removed.
    FetchAgain,
    /// Add the attachment anew, if it is still to be had.
    AddAgain,
    /// Free some space and check again.
    TryAgain,
    /// Update the app: a newer version has written it.
    UpdateApp,
    /// Sync, and ask the administrator.
    AskAdministrator,
}

impl ToDo {
    /// The words for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Nothing => "It was mended.",
            Self::FetchAgain => "It is fetched anew when you open it.",
            Self::AddAgain => "Add it once more, if you still have it.",
            Self::TryAgain => "Free some space on the phone and check again.",
            Self::UpdateApp => "Update the app.",
            Self::AskAdministrator => "Sync, and ask your administrator.",
        }
    }
}

impl Finding {
    /// What a person should do about it.
    pub fn to_do(&self) -> ToDo {
        match &self.fault {
            Fault::Attachment { .. } if self.mended => ToDo::FetchAgain,
            _ if self.mended => ToDo::Nothing,
            Fault::Attachment { error, .. } => match error {
                AttachmentError::Disk { .. } | AttachmentError::Full => ToDo::TryAgain,
                AttachmentError::Newer => ToDo::UpdateApp,
                _ => ToDo::AddAgain,
            },
            Fault::Search { .. }
            | Fault::NotSealed { .. }
            | Fault::KeysNotSealed { .. }
            | Fault::Store(StoreError::Full) => ToDo::TryAgain,
            Fault::Store(_) | Fault::Audit { .. } | Fault::Bucket { .. } => ToDo::AskAdministrator,
        }
    }
}

impl Verified {
    pub(crate) fn new() -> Self {
        Self {
            rows: 0,
            searchable: 0,
            changes: 0,
            audit_entries: 0,
            attachments: 0,
            attachment_bytes: 0,
            server: Err(Error::Offline),
            findings: Vec::new(),
        }
    }

    /// Whether nothing was wrong. Without the server's word that is said of this device alone: see
    /// [`server`](Self::server).
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }
}
