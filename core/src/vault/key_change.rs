//! A new key for the vault, after the old one may have become known.
//!
//! ```text
//! begun     the slot holds the old key and the new one; the database has the old one
//! re-keyed  the database has the new one, every page of it, and nothing of the old one is in its log
//! settled   the slot holds the new key alone
//! ```
//!
//! A stop anywhere leaves a slot with both keys, one of which is the database's. The next unlock finds out which, and
//! ends the change with it: forwards if the database was re-keyed, otherwise back.

use super::open::Opened;
use super::slots::{Slot, Slots, VaultKeys};
use super::{DatabaseKey, Passcode, Unlocked, Vault, VaultError};

impl Vault {
    /// Gives the vault a new key, and takes biometrics away. `rekey` gets the old and the new key of the database, which
    /// is closed by then; it must return only when the database is durably readable with the new key and with no
    /// other. A change that was interrupted is gone on with: `rekey` must do with a database that has the new key
    /// already. `close` must close the database; it is called before `rekey`, and before the last wrong passcode
    /// locks or wipes.
    ///
    /// # Errors
    /// As [`unlock`](Self::unlock) for the passcode; what `rekey` fails with. The next unlock finds out which key the
    /// database has.
    pub fn change_key<E: From<VaultError>>(
        &self,
        passcode: &Passcode,
        close: &dyn Fn(),
        rekey: impl FnOnce(&DatabaseKey, &DatabaseKey) -> Result<(), E>,
    ) -> Result<Unlocked, E> {
        let _gate = self.gate();
        let opened = self.try_passcode(passcode, close)?;
        self.forget_attempts()?;
        let (mut slots, old, new) = self.begin_key_change(passcode, opened)?;
        close();
        rekey(&old, &new)?;
        slots.settle_key(true)?;
        slots.save(&self.folder())?;
        Ok(Unlocked { key: new, next: None, passcode_set_ms: slots.terms()?.set_ms })
    }

    /// Writes the slot with both keys. No other slot holds either of them then. Returns the keys of the database.
    fn begin_key_change(
        &self,
        passcode: &Passcode,
        opened: Opened,
    ) -> Result<(Slots, DatabaseKey, DatabaseKey), VaultError> {
        let Opened { vault, keys: VaultKeys { present, next }, share, mut slots } = opened;
        let (folder, entropy) = (self.folder(), &*self.seams.entropy);
        let biometrics = slots.biometric.take().is_some();
        let begun = next.is_some();
        let next = match next {
            Some(next) => next,
            None => entropy.secret()?,
        };
        let (old, new) = (DatabaseKey::derive(&present, vault), DatabaseKey::derive(&next, vault));
        if !begun {
            let keys = VaultKeys { present, next: Some(next) };
            slots.passcode = Slot::for_passcode(&folder, entropy, slots.terms()?, passcode, &share, &keys)?;
        }
        slots.save(&folder)?;
        if biometrics {
            self.forget_biometric_key();
        }
        Ok((slots, old, new))
    }

    /// Ends a change of key that was interrupted, for good: with the new key if the database has it, otherwise with the
    /// old one. Call it only when the database was really opened with that key, and before anything else is done
    /// with it.
    ///
    /// # Errors
    /// Locked or wiped in the meantime; the disk failed: both keys are still there.
    pub fn settle_key(&self, changed: bool) -> Result<(), VaultError> {
        let _gate = self.gate();
        self.usable()?;
        let folder = self.folder();
        let mut slots = Slots::load(&folder)?;
        if !slots.changing_key() {
            return Ok(());
        }
        slots.settle_key(changed)?;
        slots.save(&folder)
    }
}
