//! The simulated keystore of a phone.

use roundsman_core::platform::{KeyAlias, KeyError, OsEntropy, PlatformKeys, SoftwareKeys};
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Keys in files that stand for a phone's secure hardware, so that the phones of the demo take the short passcodes that
/// real phones take. Never for anybody's data.
pub(super) struct Keystore(SoftwareKeys);

impl Keystore {
    /// The keystore whose files are in this folder.
    pub(super) fn new(dir: &Path) -> Self {
        Self(SoftwareKeys::new(dir, Arc::new(OsEntropy)))
    }
}

impl PlatformKeys for Keystore {
    fn create(&self, alias: KeyAlias) -> Result<(), KeyError> {
        self.0.create(alias)
    }

    fn exists(&self, alias: KeyAlias) -> Result<bool, KeyError> {
        self.0.exists(alias)
    }

    fn hmac(&self, alias: KeyAlias, data: &[u8]) -> Result<Zeroizing<[u8; 32]>, KeyError> {
        self.0.hmac(alias, data)
    }

    fn public_key(&self, alias: KeyAlias) -> Result<[u8; 65], KeyError> {
        self.0.public_key(alias)
    }

    fn sign(&self, alias: KeyAlias, message: &[u8]) -> Result<[u8; 64], KeyError> {
        self.0.sign(alias, message)
    }

    fn delete(&self, alias: KeyAlias) -> Result<(), KeyError> {
        self.0.delete(alias)
    }

    fn hardware(&self) -> bool {
        true
    }

    fn mark(&self) -> Result<Option<Vec<u8>>, KeyError> {
        self.0.mark()
    }

    fn set_mark(&self, mark: &[u8]) -> Result<(), KeyError> {
        self.0.set_mark(mark)
    }
}
