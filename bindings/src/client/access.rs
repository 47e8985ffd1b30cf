//! Getting into the vault: passcode, biometrics, and a new key.

use super::RoundsmanClient;
use crate::worker::local;
use crate::{Passcode, PasscodeRules, RoundsmanError};
use roundsman_core::vault::PasscodeDue;
use std::sync::Arc;

#[uniffi::export]
impl RoundsmanClient {
    /// Opens the vault. Takes about half a second by design. Empties the passcode.
    ///
    /// # Errors
    /// `WrongPasscode`, `Wait`, `LockedByAdministrator`, `Wiped`, `LeaseEnded`, `ClockTurnedBack`,
    /// `ClockImplausible`, `PostureRefused`, `RolledBack`, `KeyGone`, `Keystore`, `Damaged`.
    pub async fn unlock(&self, passcode: Arc<Passcode>) -> Result<(), RoundsmanError> {
        let (client, passcode) = (self.client.clone(), passcode.take()?);
        local(move || client.unlock(&passcode)).await
    }

    /// Opens the vault by finger or face; the platform asks the person while the call of the keystore lasts. Never
    /// counts as an attempt at the passcode.
    ///
    /// # Errors
    /// `Biometrics`, whenever the passcode has to be typed in place of it; otherwise as `unlock`.
    pub async fn unlock_with_biometrics(&self) -> Result<(), RoundsmanError> {
        let client = self.client.clone();
        local(move || client.unlock_with_biometrics()).await
    }

    /// Lets finger or face open the vault from now on, for 72 hours after each passcode. The platform asks the
    /// person once. Empties the passcode.
    ///
    /// # Errors
    /// `Locked`; `Biometrics`, with biometrics off then; as `unlock` for the passcode.
    pub async fn enable_biometrics(&self, passcode: Arc<Passcode>) -> Result<(), RoundsmanError> {
        let (client, passcode) = (self.client.clone(), passcode.take()?);
        local(move || client.enable_biometrics(&passcode)).await
    }

    /// Takes biometrics away. Needs no passcode.
    ///
    /// # Errors
    /// `NotEnrolled`, `LockedByAdministrator`, `Wiped`, `Storage`.
    pub async fn disable_biometrics(&self) -> Result<(), RoundsmanError> {
        let client = self.client.clone();
        local(move || client.disable_biometrics()).await
    }

    /// Whether finger or face may open the vault. The passcode may have to be typed all the same.
    ///
    /// # Errors
    /// None but `Internal`.
    pub async fn biometrics(&self) -> Result<bool, RoundsmanError> {
        let client = self.client.clone();
        local(move || Ok::<_, RoundsmanError>(client.biometrics())).await
    }

    /// What a new passcode must be like, on this device and in this organisation; before enrolment, with what is
    /// known then.
    ///
    /// # Errors
    /// None but `Internal`.
    pub async fn passcode_rules(&self) -> Result<Arc<PasscodeRules>, RoundsmanError> {
        let client = self.client.clone();
        local(move || Ok::<_, RoundsmanError>(Arc::new(PasscodeRules(client.passcode_rules())))).await
    }

    /// Whether the passcode is to be changed, now or soon; nothing while it is young or the vault is closed.
    ///
    /// # Errors
    /// None but `Internal`.
    pub async fn passcode_due(&self) -> Result<Option<PasscodeDue>, RoundsmanError> {
        let client = self.client.clone();
        local(move || Ok::<_, RoundsmanError>(client.passcode_due())).await
    }

    /// Changes the passcode, and takes biometrics away until they are enabled with the new one. The vault stays as
    /// it is, open or closed. Empties both passcodes.
    ///
    /// # Errors
    /// As `unlock` for the old passcode, `WeakPasscode` for the new one.
    pub async fn change_passcode(
        &self,
        old: Arc<Passcode>,
        new: Arc<Passcode>,
    ) -> Result<(), RoundsmanError> {
        let (client, old, new) = (self.client.clone(), old.take(), new.take());
        let (old, new) = (old?, new?);
        local(move || client.change_passcode(&old, &new)).await
    }

    /// Gives the vault a new key, after the old one may have become known; takes biometrics away. Takes about a
    /// second for each 100 MB, and needs that much room on the disk. An open vault is closed meanwhile, which ends
    /// observers, and is open again when this returns. Empties the passcode.
    ///
    /// # Errors
    /// As `unlock` for the passcode; `DiskFull`, `Storage`. The vault is closed then: unlock it.
    pub async fn rotate_vault_key(&self, passcode: Arc<Passcode>) -> Result<(), RoundsmanError> {
        let (client, passcode) = (self.client.clone(), passcode.take()?);
        local(move || client.rotate_vault_key(&passcode)).await
    }
}
