//! Keys in files, where there is no secure hardware: desktops, tests, phones without a keystore.

use super::{Disk, Entropy, KeyAlias, KeyError, PlatformKeys, RealDisk};
use hmac::{Hmac, KeyInit, Mac};
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use sha2::Sha256;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Keys as files that only their owner may read. Reported to the server as not in hardware.
///
/// The folder must lie outside the vault's: a copy of the vault must not hold the key that helps to open it.
pub struct SoftwareKeys {
    dir: PathBuf,
    entropy: Arc<dyn Entropy>,
    /// Two threads must not both find that a key is missing.
    making: Mutex<()>,
    /// The key that signed last: its public half takes longer to compute than a signature.
    signer: Mutex<Option<SigningKey>>,
}

impl SoftwareKeys {
    /// Keys in this folder, which is created with the first key.
    pub fn new(dir: impl Into<PathBuf>, entropy: Arc<dyn Entropy>) -> Self {
        Self { dir: dir.into(), entropy, making: Mutex::default(), signer: Mutex::default() }
    }

    fn path(&self, alias: KeyAlias) -> PathBuf {
        self.dir.join(file(alias))
    }

    fn load(&self, alias: KeyAlias) -> Result<Zeroizing<[u8; 32]>, KeyError> {
        let bytes = RealDisk.read(&self.path(alias)).map_err(|_| KeyError::Transient)?;
        let bytes = Zeroizing::new(bytes.ok_or(KeyError::Gone)?);
        let key: &[u8; 32] = bytes.as_slice().try_into().map_err(|_| KeyError::NotAvailable)?;
        Ok(Zeroizing::new(*key))
    }

    /// The key of the file as it is now: one that is deleted signs no more.
    fn signer(&self, alias: KeyAlias) -> Result<SigningKey, KeyError> {
        let key = self.load(alias)?;
        let mut last = self.signer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = &*last
            && bool::from(last.to_bytes().as_slice().ct_eq(key.as_slice()))
        {
            return Ok(last.clone());
        }
        let signer = SigningKey::from_slice(key.as_slice()).map_err(|_| KeyError::NotAvailable)?;
        Ok(last.insert(signer).clone())
    }

    fn random(&self, alias: KeyAlias) -> Result<Zeroizing<[u8; 32]>, KeyError> {
        loop {
            let key = self.entropy.secret::<32>().map_err(|_| KeyError::Transient)?;
            // About one number in 2^32 is no private key of P-256.
            if alias != KeyAlias::Identity || SigningKey::from_slice(key.as_slice()).is_ok() {
                return Ok(key);
            }
        }
    }
}

/// The file that holds the mark.
const MARK: &str = "mark";

fn file(alias: KeyAlias) -> String {
    format!("{}.key", alias.name())
}

impl PlatformKeys for SoftwareKeys {
    fn create(&self, alias: KeyAlias) -> Result<(), KeyError> {
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if self.exists(alias)? {
            return Ok(());
        }
        let key = self.random(alias)?;
        RealDisk
            .create_dir_all(&self.dir)
            .and_then(|()| RealDisk.replace(&self.dir, &file(alias), key.as_slice()))
            .map_err(|_| KeyError::Transient)
    }

    fn exists(&self, alias: KeyAlias) -> Result<bool, KeyError> {
        self.path(alias).try_exists().map_err(|_| KeyError::Transient)
    }

    fn hmac(&self, alias: KeyAlias, data: &[u8]) -> Result<Zeroizing<[u8; 32]>, KeyError> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.load(alias)?.as_slice())
            .map_err(|_| KeyError::NotAvailable)?;
        mac.update(data);
        Ok(Zeroizing::new(mac.finalize().into_bytes().into()))
    }

    fn public_key(&self, alias: KeyAlias) -> Result<[u8; 65], KeyError> {
        let point = self.signer(alias)?.verifying_key().to_sec1_point(false);
        point.as_bytes().try_into().map_err(|_| KeyError::NotAvailable)
    }

    fn sign(&self, alias: KeyAlias, message: &[u8]) -> Result<[u8; 64], KeyError> {
        let signature: Signature =
            self.signer(alias)?.try_sign(message).map_err(|_| KeyError::NotAvailable)?;
        Ok(signature.to_bytes().into())
    }

    fn delete(&self, alias: KeyAlias) -> Result<(), KeyError> {
        if alias == KeyAlias::Identity {
            *self.signer.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        let (path, gone) = (self.path(alias), self.dir.join(format!("{}.gone", file(alias))));
        // Its name goes first: a stop while it is overwritten must not leave a key that is half zeros.
        let unnamed = match RealDisk.rename(&path, &gone) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        };
        let deleted = unnamed
            .and_then(|()| RealDisk.sync_dir(&self.dir))
            .and_then(|()| RealDisk.overwrite_sync(&gone).and(RealDisk.remove(&gone)))
            .and_then(|()| RealDisk.sync_dir(&self.dir));
        match deleted {
            // Without the folder there is no key either.
            Err(error) if error.kind() != ErrorKind::NotFound => Err(KeyError::Transient),
            _ => Ok(()),
        }
    }

    fn hardware(&self) -> bool {
        false
    }

    fn mark(&self) -> Result<Option<Vec<u8>>, KeyError> {
        let mark = RealDisk.read(&self.dir.join(MARK)).map_err(|_| KeyError::Transient)?;
        Ok(mark.filter(|mark| !mark.is_empty()))
    }

    fn set_mark(&self, mark: &[u8]) -> Result<(), KeyError> {
        // So short that it is on the disk whole or not at all.
        let written = match RealDisk.rewrite_sync(&self.dir.join(MARK), mark) {
            Ok(false) => {
                RealDisk.create_dir_all(&self.dir).and_then(|()| RealDisk.replace(&self.dir, MARK, mark))
            }
            written => written.map(drop),
        };
        written.map_err(|_| KeyError::Transient)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::OsEntropy;
    use roundsman_protocol::keys::DeviceKey;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    #[test]
    fn a_signature_is_by_the_public_key() -> Outcome {
        let dir = tempfile::tempdir()?;
        let keys = SoftwareKeys::new(dir.path().join("keys"), Arc::new(OsEntropy));
        keys.create(KeyAlias::Identity)?;
        let public = DeviceKey::from_sec1(&keys.public_key(KeyAlias::Identity)?)?;
        public.verify(b"message", &keys.sign(KeyAlias::Identity, b"message")?)?;
        keys.create(KeyAlias::Identity)?;
        assert_eq!(
            public.as_sec1(),
            &keys.public_key(KeyAlias::Identity)?,
            "a key is never made over another"
        );
        keys.delete(KeyAlias::Identity)?;
        assert_eq!(keys.sign(KeyAlias::Identity, b"message"), Err(KeyError::Gone));
        keys.create(KeyAlias::Identity)?;
        assert!(
            public.verify(b"message", &keys.sign(KeyAlias::Identity, b"message")?).is_err(),
            "it is another"
        );
        Ok(())
    }

    #[test]
    fn a_key_whose_deletion_was_stopped_is_gone_and_the_next_deletion_finishes_it() -> Outcome {
        let dir = tempfile::tempdir()?;
        let keys = SoftwareKeys::new(dir.path(), Arc::new(OsEntropy));
        keys.create(KeyAlias::Control)?;
        // As far as a deletion has come when it overwrites.
        std::fs::rename(dir.path().join("control.key"), dir.path().join("control.key.gone"))?;
        assert_eq!(keys.hmac(KeyAlias::Control, b"x"), Err(KeyError::Gone));
        keys.delete(KeyAlias::Control)?;
        assert_eq!(std::fs::read_dir(dir.path())?.count(), 0);
        Ok(())
    }

    #[test]
    fn a_deleted_key_is_gone_and_a_cut_one_is_not_available() -> Outcome {
        let dir = tempfile::tempdir()?;
        let keys = SoftwareKeys::new(dir.path(), Arc::new(OsEntropy));
        assert_eq!(keys.hmac(KeyAlias::Wrap, b"x"), Err(KeyError::Gone));
        keys.create(KeyAlias::Wrap)?;
        let first = keys.hmac(KeyAlias::Wrap, b"x")?;
        assert_eq!(first, keys.hmac(KeyAlias::Wrap, b"x")?);
        keys.delete(KeyAlias::Wrap)?;
        keys.delete(KeyAlias::Wrap)?;
        assert_eq!(keys.hmac(KeyAlias::Wrap, b"x"), Err(KeyError::Gone));
        assert_eq!(std::fs::read_dir(dir.path())?.count(), 0);
        std::fs::write(dir.path().join("wrap.key"), b"short")?;
        assert_eq!(keys.hmac(KeyAlias::Wrap, b"x"), Err(KeyError::NotAvailable));
        Ok(())
    }
}
