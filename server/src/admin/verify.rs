//! Checking everything.

use super::{Admin, AdminError};
use crate::verify::{self, Progress, Report};

impl Admin {
    /// Checks everything that the server keeps, end to end: the database, what the buckets add up to, the logs, the audit
    /// chains, and whether the content of attachments is there; `contents` says that it is read through and hashed too.
    /// Nothing is changed. `progress` hears what is checked, and how much of it was so far.
    ///
    /// # Errors
    /// [`AdminError::Storage`] if the database can't be reached. What is damaged is a finding, and no error.
    pub fn verify(&self, contents: bool, progress: &mut Progress<'_>) -> Result<Report, AdminError> {
        Ok(verify::verify(&self.app, contents, progress)?)
    }
}
