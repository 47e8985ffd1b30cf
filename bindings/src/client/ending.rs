//! The end that the person chooses, and looking whether all is still there.

use super::{RoundsmanClient, config};
use crate::keys::ForeignKeys;
use crate::worker::local;
use crate::{HostClock, Options, Passcode, PlatformKeys, RoundsmanError};
use roundsman_core::Client;
use std::sync::Arc;

#[uniffi::export]
impl RoundsmanClient {
    /// Removes a vault that the platform has lost the key of, and opens the client as a new one, to be enrolled
    /// anew. For the person to decide, after `open` has failed with `KeyGone`: what was not sent and not sealed is
    /// lost.
    ///
    /// # Errors
    /// `PasscodeNeeded` if the key is not gone, with everything as it was; otherwise as `open`, and a repeat goes
    /// on.
    #[uniffi::constructor(default(clock = None))]
    pub async fn start_over(
        options: Options,
        keys: Arc<dyn PlatformKeys>,
        clock: Option<Arc<dyn HostClock>>,
    ) -> Result<Arc<Self>, RoundsmanError> {
        let config = config(options, Arc::new(ForeignKeys(keys)), clock);
        local(move || Client::start_over(config).map(|client| Arc::new(Self { client }))).await
    }

    /// Erases the device on its user's wish. It can't be taken back. Go on calling `check_in`, so that sealed unsent
    /// work and the proof reach the server. Empties the passcode.
    ///
    /// # Errors
    /// As `unlock`; nothing is erased then.
    pub async fn erase(&self, passcode: Arc<Passcode>) -> Result<(), RoundsmanError> {
        let (client, passcode) = (self.client.clone(), passcode.take()?);
        local(move || client.erase(&passcode)).await
    }

    /// Erases a device that no passcode opens any more: locked, without the platform's key, or damaged.
    ///
    /// # Errors
    /// `PasscodeNeeded` if a passcode may still open it. Nothing is erased then.
    pub async fn erase_without_passcode(&self) -> Result<(), RoundsmanError> {
        let client = self.client.clone();
        local(move || client.erase_without_passcode()).await
    }

    /// Reads the whole store once and looks whether every part of it is of the same state, which an old page put
    /// back among newer ones is not. Takes about 0.2 seconds for ten thousand customers; call it once a week.
    ///
    /// # Errors
    /// `Locked`, `RolledBack`, `Damaged`.
    pub async fn check_store(&self) -> Result<(), RoundsmanError> {
        let client = self.client.clone();
        local(move || client.check_store()).await
    }
}
