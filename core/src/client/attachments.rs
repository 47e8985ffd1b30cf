//! The attachments of an open vault.

use super::{Client, Config, Inner};
use crate::Error;
use crate::attachments::{AttachmentSeams, Attachments};
use crate::rescue::SealTo;
use crate::store::Store;
use crate::vault::FileKeys;
use roundsman_model::UserId;
use std::sync::Arc;

impl Client {
    /// Photos, signatures and files of visits and customers.
    ///
    /// # Errors
    /// The vault is not open, or the passcode is to be changed first.
    pub fn attachments(&self) -> Result<Attachments, Error> {
        let attachments = self.working()?.attachments;
        Ok(attachments.audited(Arc::clone(&self.inner.audit)))
    }
}

impl Inner {
    /// The attachments of a store that was opened just now, without what was left of interrupted calls.
    pub(super) fn attachments(
        &self,
        store: Arc<Store>,
        files: FileKeys,
        user: UserId,
        seal_to: SealTo,
    ) -> Attachments {
        let Config { disk, entropy, clock, attachments: limits, .. } = &self.config;
        let seams = AttachmentSeams {
            dir: self.vault.attachments_path(),
            disk: Arc::clone(disk),
            entropy: Arc::clone(entropy),
            clock: Arc::clone(clock),
            limits: *limits,
            user,
            seal_to,
        };
        let attachments = Attachments::new(store, files, seams);
        match attachments.tidy() {
            Ok(tidied) if tidied.missing.is_empty() => {}
            Ok(tidied) => tracing::warn!(count = tidied.missing.len(), "files of attachments are missing"),
            Err(error) => tracing::warn!(%error, "the folder of the attachments could not be tidied"),
        }
        attachments
    }
}
