//! What a check of everything on the device found.

use crate::{CallbackError, RoundsmanError};
use roundsman_core::verify as core;
use std::sync::Arc;
use uuid::Uuid;

/// What is checked, in this order.
pub type CheckedPart = core::Part;
#[uniffi::remote(Enum)]
pub enum CheckedPart {
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

/// Follows a check. Called from a thread of the library.
#[uniffi::export(with_foreign)]
pub trait CheckProgress: Send + Sync {
    /// So much of a part is done, of so much in all. A part whose length isn't known beforehand is 0 of 1, then 1 of 1.
    fn checked(&self, part: CheckedPart, done: u64, of: u64) -> Result<(), CallbackError>;
}

/// What was checked, and what was found.
#[derive(Debug, PartialEq, uniffi::Record)]
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
    /// What was compared with the server.
    pub server: ServerCheck,
    /// What was not as it should be; empty if nothing was.
    pub findings: Vec<Finding>,
}

/// What was compared with the server, or why nothing was.
#[derive(Debug, PartialEq, uniffi::Enum)]
pub enum ServerCheck {
    /// It has said what its records add up to.
    Compared {
        /// Parts of the data (territories, for the most part) that were compared record by record.
        buckets: u64,
        /// Parts of the data that the server said nothing about: others were changing them all the time, or the server
        /// was put back from a backup since this device was enrolled.
        unknown: u64,
    },
    /// Nothing was compared: the device was checked alone.
    NotCompared {
        /// As `sync` would fail: `Offline` without a network.
        why: RoundsmanError,
    },
}

/// Something that was not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Finding {
    /// What.
    pub fault: Fault,
    /// The same in words, in English. Nothing personal is in it.
    pub words: String,
    /// Whether it is as it should be now.
    pub mended: bool,
    /// What a person should do about it.
    pub to_do: ToDo,
}

/// What can be wrong.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Fault {
    /// The database is damaged, or a part of it was put back to an earlier state.
    Store,
    /// The search did not hold what the records say.
    Search {
        /// Records that were not found by their words.
        wrong: u64,
        /// Records that are gone and were still found.
        left: u64,
    },
    /// Unsent changes were not in the sealed outbox, which hands them over after a wipe.
    NotSealed {
        /// How many.
        changes: u64,
    },
    /// Attachments that were not sent had no sealed key, with which a wipe hands them over.
    KeysNotSealed {
        /// How many.
        files: u64,
    },
    /// The audit log was changed or cut.
    Audit {
        /// The number of the first entry that is wrong.
        entry: u64,
    },
    /// The file of an attachment is damaged or gone.
    Attachment {
        /// The attachment.
        id: Uuid,
    },
    /// A part of the data was not what the server has. Its administrator is told.
    Bucket,
}

/// What a person should do about a finding.
pub type ToDo = core::ToDo;
#[uniffi::remote(Enum)]
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

/// The app's progress, as the core takes it.
pub(crate) struct ForeignCheck(pub(crate) Option<Arc<dyn CheckProgress>>);

impl core::VerifyProgress for ForeignCheck {
    fn checked(&self, part: core::Part, done: u64, of: u64) {
        if let Some(progress) = &self.0 {
            // A progress bar that throws does not stop the check.
            let _ = progress.checked(part, done, of);
        }
    }
}

impl From<core::Verified> for Verified {
    fn from(verified: core::Verified) -> Self {
        Self {
            rows: verified.rows,
            searchable: verified.searchable,
            changes: verified.changes,
            audit_entries: verified.audit_entries,
            attachments: verified.attachments,
            attachment_bytes: verified.attachment_bytes,
            server: match verified.server {
                Ok(core::Compared { buckets, unknown }) => ServerCheck::Compared { buckets, unknown },
                Err(error) => ServerCheck::NotCompared { why: error.into() },
            },
            findings: verified.findings.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<core::Finding> for Finding {
    fn from(finding: core::Finding) -> Self {
        Self {
            words: finding.fault.to_string(),
            mended: finding.mended,
            to_do: finding.to_do(),
            fault: finding.fault.into(),
        }
    }
}

impl From<core::Fault> for Fault {
    fn from(fault: core::Fault) -> Self {
        match fault {
            core::Fault::Store(_) => Self::Store,
            core::Fault::Search { wrong, left } => Self::Search { wrong, left },
            core::Fault::NotSealed { changes } => Self::NotSealed { changes },
            core::Fault::KeysNotSealed { files } => Self::KeysNotSealed { files },
            core::Fault::Audit { entry, .. } => Self::Audit { entry },
            core::Fault::Attachment { id, .. } => Self::Attachment { id },
            core::Fault::Bucket { .. } => Self::Bucket,
        }
    }
}
