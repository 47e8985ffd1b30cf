//! Keys of the platform, written in Kotlin or Swift.

use roundsman_core::platform::{self, OsEntropy};
use std::path::PathBuf;
use std::sync::Arc;
use zeroize::{Zeroize, Zeroizing};

/// Which key. Give each vault names of its own if the app has several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, uniffi::Enum)]
pub enum KeyAlias {
    /// P-256 signing key: the device's identity. Must work after the first unlock of the phone, without
    /// biometrics, so that a locked app can be wiped.
    Identity,
    /// HMAC-SHA256 key: one of the three parts of the vault's key. Destroyed first in a wipe.
    Wrap,
    /// HMAC-SHA256 key: authenticates the vault's control file. Lives until a wipe is complete.
    Control,
    /// HMAC-SHA256 key that works only when the person has just shown a finger or face, and is lost when fingers or
    /// faces are added. Nothing depends on it.
    Biometric,
}

/// Why the platform's keystore gives no answer. Choose with care: `Gone` means that the vault is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum KeyError {
    /// The key is not there: restored from a backup, lost in an update, deleted.
    #[error("the key is gone")]
    Gone,
    /// The person did not confirm.
    #[error("the person did not confirm")]
    Cancelled,
    /// The keystore refuses for now, for example before the first unlock of the phone.
    #[error("the keystore is locked")]
    LockedOut,
    /// The device has no such keystore, or it failed for good.
    #[error("the keystore is not available")]
    NotAvailable,
    /// It failed this time. An exception of any other type counts as this.
    #[error("the keystore failed this time")]
    Transient,
}

/// The platform's keystore: Android Keystore, iOS Keychain and Secure Enclave.
///
/// Called from threads of the library, never from the app's main thread. May block. Must not call the client.
#[uniffi::export(with_foreign)]
pub trait PlatformKeys: Send + Sync {
    /// Makes the key if there is none. Never makes it anew over one that is there.
    fn create(&self, alias: KeyAlias) -> Result<(), KeyError>;

    /// Whether the key is there.
    fn exists(&self, alias: KeyAlias) -> Result<bool, KeyError>;

    /// HMAC-SHA256 of the data under the key: 32 bytes. `Gone` if the key is not there.
    fn hmac(&self, alias: KeyAlias, data: Vec<u8>) -> Result<Vec<u8>, KeyError>;

    /// The public half of the P-256 key: uncompressed SEC 1, 65 bytes. `Gone` if the key is not there.
    fn public_key(&self, alias: KeyAlias) -> Result<Vec<u8>, KeyError>;

    /// ES256 signature over SHA-256 of the message: 64 bytes, r then s, not DER. `Gone` if the key is not there.
    fn sign(&self, alias: KeyAlias, message: Vec<u8>) -> Result<Vec<u8>, KeyError>;

    /// Destroys the key. Not an error if there is none.
    fn delete(&self, alias: KeyAlias) -> Result<(), KeyError>;

    /// Whether the keys are in secure hardware, which counts attempts and can't be copied. Say so only if it is
    /// certain: where it is not, passcodes must be longer.
    fn hardware(&self) -> Result<bool, KeyError>;

    /// The mark that `set_mark` kept last; nothing if there is none. It must lie where files that are put back don't
    /// change it: in an item of the Keychain on iOS, in the name of a key in the Android Keystore.
    fn mark(&self) -> Result<Option<Vec<u8>>, KeyError>;

    /// Keeps a mark of at most 256 bytes in place of the one before it; with no bytes, keeps none. It is no secret.
    /// By it a copy of the vault's files that somebody has put back is known.
    fn set_mark(&self, mark: Vec<u8>) -> Result<(), KeyError>;
}

/// Keys in files, for desktops and tests: no protection against whoever has the files.
#[derive(uniffi::Object)]
pub struct SoftwareKeys(platform::SoftwareKeys);

#[uniffi::export]
impl SoftwareKeys {
    /// Keys in this folder, which is created with the first key. It must lie outside the vault's folder.
    #[uniffi::constructor]
    pub fn new(dir: String) -> Self {
        Self(platform::SoftwareKeys::new(PathBuf::from(dir), Arc::new(OsEntropy)))
    }
}

#[uniffi::export]
impl PlatformKeys for SoftwareKeys {
    fn create(&self, alias: KeyAlias) -> Result<(), KeyError> {
        Ok(platform::PlatformKeys::create(&self.0, alias.into())?)
    }

    fn exists(&self, alias: KeyAlias) -> Result<bool, KeyError> {
        Ok(platform::PlatformKeys::exists(&self.0, alias.into())?)
    }

    fn hmac(&self, alias: KeyAlias, data: Vec<u8>) -> Result<Vec<u8>, KeyError> {
        Ok(platform::PlatformKeys::hmac(&self.0, alias.into(), &data)?.to_vec())
    }

    fn public_key(&self, alias: KeyAlias) -> Result<Vec<u8>, KeyError> {
        Ok(platform::PlatformKeys::public_key(&self.0, alias.into())?.to_vec())
    }

    fn sign(&self, alias: KeyAlias, message: Vec<u8>) -> Result<Vec<u8>, KeyError> {
        Ok(platform::PlatformKeys::sign(&self.0, alias.into(), &message)?.to_vec())
    }

    fn delete(&self, alias: KeyAlias) -> Result<(), KeyError> {
        Ok(platform::PlatformKeys::delete(&self.0, alias.into())?)
    }

    fn hardware(&self) -> Result<bool, KeyError> {
        Ok(platform::PlatformKeys::hardware(&self.0))
    }

    fn mark(&self) -> Result<Option<Vec<u8>>, KeyError> {
        Ok(platform::PlatformKeys::mark(&self.0)?)
    }

    fn set_mark(&self, mark: Vec<u8>) -> Result<(), KeyError> {
        Ok(platform::PlatformKeys::set_mark(&self.0, &mark)?)
    }
}

/// The app's keys, as the core takes them.
pub(crate) struct ForeignKeys(pub(crate) Arc<dyn PlatformKeys>);

impl platform::PlatformKeys for ForeignKeys {
    fn create(&self, alias: platform::KeyAlias) -> Result<(), platform::KeyError> {
        Ok(self.0.create(alias.into())?)
    }

    fn exists(&self, alias: platform::KeyAlias) -> Result<bool, platform::KeyError> {
        Ok(self.0.exists(alias.into())?)
    }

    fn hmac(
        &self,
        alias: platform::KeyAlias,
        data: &[u8],
    ) -> Result<Zeroizing<[u8; 32]>, platform::KeyError> {
        let mut answer = self.0.hmac(alias.into(), data.to_vec())?;
        let code = sized(&answer).map(Zeroizing::new);
        answer.zeroize();
        code
    }

    fn public_key(&self, alias: platform::KeyAlias) -> Result<[u8; 65], platform::KeyError> {
        sized(&self.0.public_key(alias.into())?)
    }

    fn sign(&self, alias: platform::KeyAlias, message: &[u8]) -> Result<[u8; 64], platform::KeyError> {
        sized(&self.0.sign(alias.into(), message.to_vec())?)
    }

    fn delete(&self, alias: platform::KeyAlias) -> Result<(), platform::KeyError> {
        Ok(self.0.delete(alias.into())?)
    }

    fn hardware(&self) -> bool {
        // Whoever can't say has none.
        self.0.hardware().unwrap_or(false)
    }

    fn mark(&self) -> Result<Option<Vec<u8>>, platform::KeyError> {
        Ok(self.0.mark()?)
    }

    fn set_mark(&self, mark: &[u8]) -> Result<(), platform::KeyError> {
        Ok(self.0.set_mark(mark.to_vec())?)
    }
}

/// No keystore, where none is to be asked.
pub(crate) struct NoKeys;

const NONE: platform::KeyError = platform::KeyError::NotAvailable;

impl platform::PlatformKeys for NoKeys {
    fn create(&self, _: platform::KeyAlias) -> Result<(), platform::KeyError> {
        Err(NONE)
    }

    fn exists(&self, _: platform::KeyAlias) -> Result<bool, platform::KeyError> {
        Err(NONE)
    }

    fn hmac(&self, _: platform::KeyAlias, _: &[u8]) -> Result<Zeroizing<[u8; 32]>, platform::KeyError> {
        Err(NONE)
    }

    fn public_key(&self, _: platform::KeyAlias) -> Result<[u8; 65], platform::KeyError> {
        Err(NONE)
    }

    fn sign(&self, _: platform::KeyAlias, _: &[u8]) -> Result<[u8; 64], platform::KeyError> {
        Err(NONE)
    }

    fn delete(&self, _: platform::KeyAlias) -> Result<(), platform::KeyError> {
        Err(NONE)
    }

    fn hardware(&self) -> bool {
        false
    }
}

/// An answer of another size is no answer: the keystore was written wrongly.
fn sized<const N: usize>(answer: &[u8]) -> Result<[u8; N], platform::KeyError> {
    answer.try_into().map_err(|_| platform::KeyError::NotAvailable)
}

impl From<platform::KeyAlias> for KeyAlias {
    fn from(alias: platform::KeyAlias) -> Self {
        match alias {
            platform::KeyAlias::Identity => Self::Identity,
            platform::KeyAlias::Wrap => Self::Wrap,
            platform::KeyAlias::Control => Self::Control,
            platform::KeyAlias::Biometric => Self::Biometric,
        }
    }
}

impl From<KeyAlias> for platform::KeyAlias {
    fn from(alias: KeyAlias) -> Self {
        match alias {
            KeyAlias::Identity => Self::Identity,
            KeyAlias::Wrap => Self::Wrap,
            KeyAlias::Control => Self::Control,
            KeyAlias::Biometric => Self::Biometric,
        }
    }
}

impl From<platform::KeyError> for KeyError {
    fn from(error: platform::KeyError) -> Self {
        match error {
            platform::KeyError::Gone => Self::Gone,
            platform::KeyError::Cancelled => Self::Cancelled,
            platform::KeyError::LockedOut => Self::LockedOut,
            platform::KeyError::NotAvailable => Self::NotAvailable,
            platform::KeyError::Transient => Self::Transient,
        }
    }
}

impl From<KeyError> for platform::KeyError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Gone => Self::Gone,
            KeyError::Cancelled => Self::Cancelled,
            KeyError::LockedOut => Self::LockedOut,
            KeyError::NotAvailable => Self::NotAvailable,
            KeyError::Transient => Self::Transient,
        }
    }
}

impl From<uniffi::UnexpectedUniFFICallbackError> for KeyError {
    fn from(_: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Self::Transient
    }
}
