//! Opening with a finger or face between two passcodes.
//!
//! The second slot holds the vault's key for a key of the platform that works only for the person. Nothing depends on
//! it: whenever there is doubt it goes, and the passcode opens.

use super::open::Opened;
use super::share::Share;
use super::slots::{Slot, Slots, VaultKeys};
use super::{Passcode, Unlocked, Vault, VaultError};
use crate::platform::{KeyAlias, KeyError};
use uuid::Uuid;

/// So long after a passcode biometrics open the vault: 72 hours, as on the phones themselves (Apple Platform Security;
/// Android Compatibility Definition 7.3.10).
const PASSCODE_LIFE_MS: i64 = 72 * 60 * 60 * 1000;

/// Why biometrics do not open the vault. The passcode does, and no attempt at it was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BiometricsError {
    /// They are not in use, or no longer: the passcode was changed, or fingers or faces were. Enable them anew with the
    /// passcode.
    #[error("biometrics are off: type the passcode and turn them on again")]
    Off,
    /// The organisation does not allow them.
    #[error("your organisation does not allow biometrics: type the passcode")]
    NotAllowed,
    /// The passcode was not typed for 72 hours. It opens, and biometrics with it from then on.
    #[error("type the passcode once, then biometrics work again")]
    Expired,
    /// The person did not confirm.
    #[error("not confirmed: try again or type the passcode")]
    Cancelled,
    /// The platform refuses for now, after too many tries.
    #[error("the phone does not take biometrics for now: type the passcode")]
    LockedOut,
    /// The phone has none, or none that are bound to a key.
    #[error("this phone has no biometrics that can open the app: type the passcode")]
    NotAvailable,
    /// The keystore failed this time.
    #[error("the phone's keystore failed this time: try again or type the passcode")]
    Transient,
}

impl From<KeyError> for BiometricsError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Gone => Self::Off,
            KeyError::Cancelled => Self::Cancelled,
            KeyError::LockedOut => Self::LockedOut,
            KeyError::NotAvailable => Self::NotAvailable,
            KeyError::Transient => Self::Transient,
        }
    }
}

/// A step that only the biometric key can fail in: its failures are the person's or the key's, not the vault's.
fn by_the_person<T>(step: Result<T, VaultError>) -> Result<T, VaultError> {
    step.map_err(|error| match error {
        VaultError::KeyGone => BiometricsError::Off.into(),
        VaultError::Key(error) => BiometricsError::from(error).into(),
        other => other,
    })
}

impl Vault {
    /// Lets biometrics open the vault from now on. The platform makes a new key and asks the person once. `close` is as
    /// for [`unlock`](Self::unlock).
    ///
    /// # Errors
    /// The policy does not allow it; as [`unlock`](Self::unlock) for the passcode; the platform has no such key or the
    /// person did not confirm. Biometrics are off then.
    pub fn enable_biometrics(&self, passcode: &Passcode, close: &dyn Fn()) -> Result<(), VaultError> {
        let _gate = self.gate();
        self.usable()?;
        if !self.policy().biometrics {
            return Err(BiometricsError::NotAllowed.into());
        }
        let Opened { vault, keys, share, mut slots } = self.try_passcode(passcode, close)?;
        self.forget_attempts()?;
        let platform = &self.seams.keys;
        // A key from before may open for fingers that are not the person's any more.
        let made = platform
            .delete(KeyAlias::Biometric)
            .and_then(|()| platform.create(KeyAlias::Biometric))
            .map_err(|error| BiometricsError::from(error).into())
            .and_then(|()| {
                let (folder, entropy) = (self.folder(), &*self.seams.entropy);
                by_the_person(Slot::for_biometrics(&folder, entropy, vault, &share, &keys))
            });
        match made {
            Ok(slot) => slots.biometric = Some(slot),
            Err(error) => {
                self.drop_biometrics(slots)?;
                return Err(error);
            }
        }
        slots.save(&self.folder())
    }

    /// The key of the database, by biometrics. The platform asks the person. What is wrong here never counts as an
    /// attempt at the passcode, and forgives none.
    ///
    /// # Errors
    /// [`VaultError::Biometrics`] with the reason; locked or wiped; a file is damaged.
    pub fn unlock_with_biometrics(&self) -> Result<Unlocked, VaultError> {
        let _gate = self.gate();
        self.usable()?;
        if !self.policy().biometrics {
            return Err(BiometricsError::NotAllowed.into());
        }
        self.settle_share()?;
        let (folder, vault) = (self.folder(), self.read(|record| record.vault)?);
        let mut slots = Slots::load(&folder)?;
        let Some(slot) = slots.biometric.take() else { return Err(BiometricsError::Off.into()) };
        let since = self.now_ms() - self.read(|record| record.entered_ms)?;
        // A clock that was set back does not lengthen it.
        if !(0..PASSCODE_LIFE_MS).contains(&since) {
            return Err(BiometricsError::Expired.into());
        }
        let share = self.share(slot.share())?;
        match by_the_person(slot.by_biometrics(&folder, &share)) {
            Ok(Some(keys)) => Unlocked::new(vault, &keys, &slots),
            // Fingers or faces were changed: the key is lost, or another in its place.
            Ok(None) | Err(VaultError::Biometrics(BiometricsError::Off)) => {
                self.drop_biometrics(slots)?;
                Err(BiometricsError::Off.into())
            }
            Err(error) => Err(error),
        }
    }

    /// Takes biometrics away: the slot first, then the platform's key. Needs no passcode.
    ///
    /// # Errors
    /// Not enrolled, locked or wiped; the disk failed.
    pub fn disable_biometrics(&self) -> Result<(), VaultError> {
        let _gate = self.gate();
        self.usable()?;
        self.drop_biometrics(Slots::load(&self.folder())?)
    }

    /// Whether biometrics may open the vault: they are enabled and the policy allows them. The passcode may be due all
    /// the same.
    pub fn biometrics(&self) -> bool {
        self.usable().is_ok()
            && self.policy().biometrics
            && Slots::load(&self.folder()).is_ok_and(|slots| slots.biometric.is_some())
    }

    fn drop_biometrics(&self, mut slots: Slots) -> Result<(), VaultError> {
        slots.biometric = None;
        slots.save(&self.folder())?;
        self.forget_biometric_key();
        Ok(())
    }

    /// Deletes the platform's key. One that stays opens nothing any more: its slot is gone.
    pub(super) fn forget_biometric_key(&self) {
        if !self.delete_key(KeyAlias::Biometric) {
            tracing::warn!("the platform did not confirm that the biometric key is deleted");
        }
    }

    /// Makes the biometric slot anew for another share, or takes it away if the platform's key can't be used now.
    pub(super) fn renew_biometric(&self, slots: &mut Slots, vault: Uuid, share: &Share, keys: &VaultKeys) {
        if slots.biometric.take().is_some() {
            let (folder, entropy) = (self.folder(), &*self.seams.entropy);
            slots.biometric = Slot::for_biometrics(&folder, entropy, vault, share, keys).ok();
        }
    }
}
