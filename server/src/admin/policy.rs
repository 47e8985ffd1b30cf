//! The rules that devices keep, and how long they may stay away.

use super::{Admin, AdminError, LeaseTerms, allow, record};
use crate::devices::{lease, leash};
use roundsman_model::UserId;
use roundsman_protocol::policy::Policy;

impl Admin {
    /// The present policy.
    ///
    /// # Errors
    /// [`AdminError::Storage`].
    pub fn policy(&self) -> Result<Policy, AdminError> {
        Ok(self.app.storage.read()?.policy()?.unwrap_or_default())
    }

    /// Sets the policy and returns it as it stands, under the next version. Devices get it with their next report.
    /// Its format, organisation and version are not the caller's to choose.
    ///
    /// # Errors
    /// [`AdminError::PolicyInvalid`] if the vault would never close, a date is not one, or the leash is not of one to 72
    /// hours.
    pub fn set_policy(&self, actor: UserId, policy: Policy) -> Result<Policy, AdminError> {
        let a_date = |text: &String| chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok();
        let idle = (15..=Policy::MAX_IDLE_S).contains(&policy.idle_lock_s);
        let leash = policy.leash_h.is_none_or(|hours| (1..=Policy::MAX_LEASH_H).contains(&hours));
        if !idle || !leash || !policy.posture.oldest_patch.as_ref().is_none_or(a_date) {
            return Err(AdminError::PolicyInvalid);
        }
        let now = self.app.now();
        let mut tx = self.app.storage.write()?;
        allow(tx.as_ref(), actor)?;
        let present = tx.policy()?.unwrap_or_default();
        let policy = Policy {
            v: roundsman_protocol::VERSION,
            org: self.app.keys(tx.as_ref())?.root.org,
            version: present.version.saturating_add(1),
            ..policy
        };
        if policy.leash_h.is_some() {
            leash::note_use(tx.as_mut())?;
        }
        tx.add_policy(&policy, actor, now.timestamp_millis())?;
        record(tx.as_mut(), actor, "set_policy", policy.version, now)?;
        tx.commit()?;
        Ok(policy)
    }

    /// How long devices may stay away.
    ///
    /// # Errors
    /// [`AdminError::Storage`].
    pub fn lease_terms(&self) -> Result<LeaseTerms, AdminError> {
        Ok(lease::terms(self.app.storage.read()?.as_ref())?)
    }

    /// Sets how long devices may stay away. Each gets it with its next report.
    ///
    /// # Errors
    /// [`AdminError::LeaseInvalid`] unless a warning comes before a lock and a lock before a wipe, which comes after
    /// 14 days at the earliest.
    pub fn set_lease_terms(&self, actor: UserId, terms: LeaseTerms) -> Result<(), AdminError> {
        if !terms.are_sensible() {
            return Err(AdminError::LeaseInvalid);
        }
        let mut tx = self.app.storage.write()?;
        allow(tx.as_ref(), actor)?;
        lease::set_terms(tx.as_mut(), &terms)?;
        record(tx.as_mut(), actor, "set_lease", "", self.app.now())?;
        Ok(tx.commit()?)
    }
}
