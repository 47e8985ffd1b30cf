//! The end that the user chooses: erasing the device, or starting over after the platform has lost its key.

use super::slots::Slots;
use super::wipe::Why;
use super::{CONTROL_NAMES, CREATING, Control, Held, Passcode, Seams, Status, TOMBSTONE, Vault, VaultError};
use crate::platform::KeyAlias;
use roundsman_protocol::receipt::Trigger;
use std::path::PathBuf;

impl Vault {
    /// Erases the vault with its passcode: the same wipe as by command, which can't be taken back. `close` must
    /// close the database. Unsent work that is sealed is handed over by the check-ins that follow. Any passcode will do
    /// for a vault that none opens any more, as after an erase on a full disk, which destroyed the keys and had no room
    /// to say so.
    ///
    /// # Errors
    /// As [`unlock`](Self::unlock); nothing is erased then, but a wrong passcode counts. If the disk failed after
    /// the wipe began, [`state`](Self::state) says so and the next start goes on.
    pub fn erase(
        &self,
        passcode: &Passcode,
        unsent: Option<u64>,
        close: &dyn Fn(),
    ) -> Result<(), VaultError> {
        let _gate = self.gate();
        if let Err(error) = self.check_passcode(passcode, close)
            && !matches!(self.is_beyond_opening(), Ok(true))
        {
            return Err(error);
        }
        self.wipe(Why::Own(Trigger::User), unsent, close)
    }

    /// Erases a vault that no passcode opens any more: it is locked, the platform has lost its key, or a file that
    /// is needed is damaged or missing.
    ///
    /// # Errors
    /// [`VaultError::PasscodeNeeded`] if the right passcode may still open it, [`VaultError::ShareNeeded`] if it may
    /// after a check-in. It can't be told for now; not enrolled; wiped. Nothing is erased then.
    pub fn erase_without_passcode(&self, close: &dyn Fn()) -> Result<(), VaultError> {
        let _gate = self.gate();
        match self.read(|record| record.status.clone())? {
            Status::Wiping(_) => return Err(VaultError::Wiping),
            Status::Locking(_) | Status::SoftLocked(_) | Status::Locked => {}
            Status::Ready { .. } if self.is_beyond_opening()? => {}
            Status::Ready { .. } => return Err(VaultError::PasscodeNeeded),
        }
        self.wipe(Why::Own(Trigger::User), None, close)
    }

    /// Whether the vault is to be opened by its passcode, and something is gone for good that an unlock needs besides.
    fn is_beyond_opening(&self) -> Result<bool, VaultError> {
        if !self.read(|record| matches!(record.status, Status::Ready { .. }))? {
            return Ok(false);
        }
        let parts = Slots::load(&self.folder()).and_then(|slots| self.share(slots.passcode.share()));
        match parts {
            Ok(_) => Ok(false),
            Err(
                VaultError::KeyGone
                | VaultError::WrongKey
                | VaultError::Tampered { .. }
                | VaultError::Truncated { .. }
                | VaultError::Missing { .. },
            ) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Removes a vault whose platform key is gone, so that the device can be enrolled anew: what
    /// [`Vault::at`] refuses with [`VaultError::KeyGone`]. Only the user may decide that; nothing calls it by
    /// itself. The database is noise without the key. Sealed segments of unsent work (the folder `outbox`) and
    /// attachments that were not sent are kept: the organisation can still open them.
    ///
    /// # Errors
    /// [`VaultError::PasscodeNeeded`] if the key is not gone, with everything as it was; another process uses the
    /// vault; the disk or the keystore failed, and a repeat goes on.
    pub fn start_over(dir: impl Into<PathBuf>, seams: Seams) -> Result<(), VaultError> {
        let vault = Self::closed(dir.into(), seams, Held::New)?;
        let folder = vault.folder();
        if folder.has(TOMBSTONE)? {
            return Err(VaultError::Wiped);
        }
        if !folder.has_any(&CONTROL_NAMES)? && folder.has(CREATING)? {
            return vault.clear_half_made();
        }
        match Control::load(&folder) {
            Err(VaultError::KeyGone) => {}
            Ok(_) => return Err(VaultError::PasscodeNeeded),
            Err(error) => return Err(error),
        }
        for alias in [KeyAlias::Wrap, KeyAlias::Identity, KeyAlias::Biometric] {
            if !vault.delete_key(alias) {
                return Err(VaultError::Key(crate::platform::KeyError::Transient));
            }
        }
        vault.seams.keys.set_mark(&[])?;
        // From here on it counts as a vault that was never finished, which the next start clears.
        folder.disk.replace(folder.dir, CREATING, &[])?;
        vault.clear_half_made()
    }
}
