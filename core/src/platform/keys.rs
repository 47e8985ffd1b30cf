//! Keys that the platform keeps: Android Keystore, iOS Keychain and Secure Enclave.

use zeroize::Zeroizing;

/// Which key. The implementation prefixes its own name for the profile, so that several vaults on one device
/// have keys of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyAlias {
    /// P-256 signing key: the device's identity. Must work after the first unlock of the phone, with no
    /// biometrics, so that a locked app can be wiped.
    Identity,
    /// HMAC-SHA256 key: one of the three parts of the vault's key. Destroyed first in a wipe.
    Wrap,
    /// HMAC-SHA256 key: authenticates the control file. Lives until the wipe is complete.
    Control,
    /// HMAC-SHA256 key that works only when the person has just shown a finger or face, bound to that event, and is
    /// lost when fingers or faces are added. A convenience: nothing depends on it.
    Biometric,
}

impl KeyAlias {
    /// The name to keep it under.
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Wrap => "wrap",
            Self::Control => "control",
            Self::Biometric => "biometric",
        }
    }
}

/// Why the platform gives no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The key is not there, and was: restored from a backup, lost in an update. Never made anew over data.
    #[error("the platform has lost this app's key")]
    Gone,
    /// The person did not confirm.
    #[error("the person did not confirm")]
    Cancelled,
    /// The keystore refuses for now.
    #[error("the platform's keystore is locked")]
    LockedOut,
    /// The device has no such keystore, or it failed for good.
    #[error("the platform's keystore is not available")]
    NotAvailable,
    /// It failed this time.
    #[error("the platform's keystore failed this time")]
    Transient,
}

/// The platform's keystore. Called from any thread, may block; must not call back into the client.
pub trait PlatformKeys: Send + Sync {
    /// Makes the key if there is none.
    ///
    /// # Errors
    /// The keystore refused.
    fn create(&self, alias: KeyAlias) -> Result<(), KeyError>;

    /// Whether the key is there.
    ///
    /// # Errors
    /// The keystore could not say.
    fn exists(&self, alias: KeyAlias) -> Result<bool, KeyError>;

    /// HMAC-SHA256 of `data` under the key.
    ///
    /// # Errors
    /// [`KeyError::Gone`] if the key is not there; otherwise as the keystore says.
    fn hmac(&self, alias: KeyAlias, data: &[u8]) -> Result<Zeroizing<[u8; 32]>, KeyError>;

    /// The public half of a P-256 key: uncompressed SEC 1, 65 bytes.
    ///
    /// # Errors
    /// As [`hmac`](Self::hmac).
    fn public_key(&self, alias: KeyAlias) -> Result<[u8; 65], KeyError>;

    /// ES256 signature (r ‖ s) over SHA-256 of `message`.
    ///
    /// # Errors
    /// As [`hmac`](Self::hmac).
    fn sign(&self, alias: KeyAlias, message: &[u8]) -> Result<[u8; 64], KeyError>;

    /// Destroys the key. Not an error if there is none.
    ///
    /// # Errors
    /// The keystore did not confirm that the key is gone.
    fn delete(&self, alias: KeyAlias) -> Result<(), KeyError>;

    /// Whether the keys are in secure hardware.
    fn hardware(&self) -> bool;

    /// The small text that was kept by [`set_mark`](Self::set_mark), where files that are put back don't change it.
    /// `None` if there is none, or the keystore can't keep one.
    ///
    /// # Errors
    /// The keystore could not say.
    fn mark(&self) -> Result<Option<Vec<u8>>, KeyError> {
        Ok(None)
    }

    /// Keeps a small text, at most 256 bytes, in place of the one before it. It is no secret. With no bytes, keeps
    /// none. Does nothing where the keystore can't.
    ///
    /// # Errors
    /// The keystore refused; the text before it may still be there.
    fn set_mark(&self, _mark: &[u8]) -> Result<(), KeyError> {
        Ok(())
    }
}
