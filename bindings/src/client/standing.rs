//! How the device stands before its organisation: policy, lease, posture, idle lock.

use super::{ClosedReason, RoundsmanClient};
use crate::worker::local;
use crate::{Policy, PostureFinding, RoundsmanError};
use roundsman_core::protocol::posture::Posture;
use roundsman_core::vault::LeaseStatus;

#[uniffi::export]
impl RoundsmanClient {
    /// The organisation's rules.
    pub fn policy(&self) -> Policy {
        self.client.policy().into()
    }

    /// How long the device may stay away from its server.
    ///
    /// # Errors
    /// `NotEnrolled`, `Wiped`.
    pub fn lease(&self) -> Result<LeaseStatus, RoundsmanError> {
        Ok(self.client.lease()?)
    }

    /// The person has touched the app: the idle lock starts anew. Returns at once.
    pub fn touch(&self) {
        self.client.touch();
    }

    /// What time brings: keeps trusted time on disk, closes the vault after the policy's time without a touch, and
    /// closes or wipes it when the lease has ended. Call it at least every five minutes while the app runs, and when
    /// it comes to the foreground. Says why the vault was closed by it, if it was.
    ///
    /// # Errors
    /// `Storage`, `DiskFull`, `Keystore`; the next call tries again. What had to be closed is closed.
    pub async fn tick(&self) -> Result<Option<ClosedReason>, RoundsmanError> {
        let client = self.client.clone();
        local(move || client.tick()).await
    }

    /// Takes what the app found out about the phone, which the next report tells the server. It is kept in memory
    /// only: call it after each start, before the passcode is asked for. Says whether the vault was closed, because
    /// the policy refuses such a phone.
    ///
    /// # Errors
    /// None but `Internal`.
    pub async fn set_posture(&self, posture: Posture) -> Result<Option<ClosedReason>, RoundsmanError> {
        let client = self.client.clone();
        local(move || Ok::<_, RoundsmanError>(client.set_posture(posture))).await
    }

    /// What about the phone the policy warns of or refuses.
    pub fn concerns(&self) -> Vec<PostureFinding> {
        let concerns = self.client.concerns().into_iter();
        concerns.map(|(concern, verdict)| PostureFinding { concern, verdict }).collect()
    }
}
