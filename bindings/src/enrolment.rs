//! Enrolment that the administrator confirms, and the organisation's keys by hand.

use crate::worker::{local, online};
use crate::{Instant, Passcode, RoundsmanClient, RoundsmanError};
use roundsman_core as core;
use std::sync::Arc;

/// A device that waits for its administrator to compare digits. Show them; let go of the object to give up.
#[derive(uniffi::Object)]
pub struct PendingEnrolment {
    pending: Arc<core::PendingEnrolment>,
}

#[uniffi::export]
impl RoundsmanClient {
    /// Begins to join an organisation that compares digits. The code is used up when it has reached the server.
    ///
    /// # Errors
    /// `TicketInvalid`, `TicketExpired`, `TicketUsed`, `Offline`, `WrongPin`, `AlreadyEnrolled`.
    pub async fn begin_enrolment(&self, ticket: String) -> Result<Arc<PendingEnrolment>, RoundsmanError> {
        let client = self.client.clone();
        online(async move {
            let pending = Arc::new(client.begin_enrolment(&ticket).await?);
            Ok(Arc::new(PendingEnrolment { pending }))
        })
        .await
    }

    /// Takes the organisation's signed keys from the text of a code that the administrator shows, without a network:
    /// for the day when the device says `WrongPin` to its own server, because the server's keys were replaced. Works
    /// while the vault is closed or locked. Returns the version of the keys.
    ///
    /// # Errors
    /// `RootBundle`, `UpdateNeeded`, `NotEnrolled`, `Wiped`, `Storage`.
    pub async fn take_root_bundle(&self, text: String) -> Result<u32, RoundsmanError> {
        let client = self.client.clone();
        local(move || client.take_root_bundle(&text)).await
    }
}

#[uniffi::export]
impl PendingEnrolment {
    /// Six digits in two groups, `042 917`. The console must show the same.
    pub fn digits(&self) -> String {
        self.pending.digits().to_string()
    }

    /// Until when the administrator may confirm them.
    pub fn expires_at(&self) -> Instant {
        self.pending.expires_at()
    }

    /// Whether the digits were confirmed. Ask every few seconds while they are shown, then let the person choose a
    /// passcode and call `finish`.
    ///
    /// # Errors
    /// `EnrolmentRefused`, `EnrolmentExpired`, `Offline`, `WrongPin`, `ServerBusy`.
    pub async fn is_confirmed(&self) -> Result<bool, RoundsmanError> {
        let pending = Arc::clone(&self.pending);
        online(async move { Ok(pending.is_confirmed().await?) }).await
    }

    /// Sets the passcode, and leaves the client open and empty: `sync` fetches the data. False, with nothing done, while
    /// the digits are not confirmed. Empties the passcode.
    ///
    /// # Errors
    /// As `isConfirmed`, and `WeakPasscode`, `AlreadyEnrolled`. May be repeated after all but a refusal.
    pub async fn finish(&self, passcode: Arc<Passcode>) -> Result<bool, RoundsmanError> {
        let (pending, passcode) = (Arc::clone(&self.pending), passcode.take()?);
        online(async move { Ok(pending.finish(&passcode).await?) }).await
    }
}
