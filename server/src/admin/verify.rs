//! Checking everything.

use super::{Admin, AdminError};
use crate::verify::{self, Progress, Report};

impl Admin {
    /// Checks everything that the server keeps, end to end: the database, what the buckets add up to, the logs, the
    /// audit chains, and whether the content of attachments is there; `contents` says that it is read through and
    /// hashed too. Nothing is changed, and no alert is raised: see [`Self::note_findings`]. `progress` hears what is
    /// checked, and how much of it was so far.
    ///
    /// # Errors
    /// [`AdminError::Storage`] if the database can't be reached. What is damaged is a finding, and no error.
    pub fn verify(&self, contents: bool, progress: &mut Progress<'_>) -> Result<Report, AdminError> {
        Ok(verify::verify(&self.app, contents, progress)?)
    }

    /// Tells the administrators what a check has found: an alert for each kind of thing that is wrong, unless one
    /// waits to be seen already. One that waits is closed by a check that would have found its kind and has not.
    ///
    /// # Errors
    /// [`AdminError::Storage`] if the database can't be written; what was found is in the report all the same.
    pub fn note_findings(&self, report: &Report) -> Result<(), AdminError> {
        Ok(verify::note(&self.app, report)?)
    }
}
