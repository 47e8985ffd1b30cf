//! The release share: the part of the vault's key that a lock takes away and an unlock brings back.
//!
//! It lies in `release.bin`, wrapped by the platform's key, and in escrow at the server; on a
//! [leash](super::leash) in memory and in escrow alone. A new share is first written to `release.next`; it is the
//! present one as soon as the slot names it.

use super::VaultError;
use super::files::{Folder, Sort};
use super::keys::{Secret, UnwrapError, Wrapped, WrappingKey};
use super::record::{Escrow, Profile, encode, id};
use super::slots::Slots;
use crate::platform::{Entropy, KeyAlias};
use roundsman_protocol::escrow::{ESCROW_INFO, share_aad};
use roundsman_protocol::{hpke_seal, sha256};
use std::path::PathBuf;
use uuid::Uuid;

pub(super) const PRESENT: &str = "release.bin";
pub(super) const NEXT: &str = "release.next";
const SORT: Sort = Sort { magic: *b"fv1/shar", name: PRESENT };

/// The release share in memory.
pub(crate) struct Share {
    pub(super) id: Uuid,
    pub(super) secret: Secret,
}

/// The release share in its file.
#[derive(minicbor::Encode, minicbor::Decode)]
struct Stored {
    #[cbor(n(0), with = "id")]
    share: Uuid,
    #[n(1)]
    wrapped: Wrapped,
}

impl Share {
    /// A new share.
    pub(super) fn generate(entropy: &dyn Entropy) -> Result<Self, VaultError> {
        Ok(Self { id: Uuid::from_bytes(entropy.bytes()?), secret: entropy.secret()? })
    }

    /// A share that came back; `None` if it is not the one that was given in escrow.
    pub(crate) fn returned(escrow: &Escrow, bytes: &[u8]) -> Option<Self> {
        let secret: &[u8; 32] = bytes.try_into().ok()?;
        let share = Self { id: escrow.share, secret: Secret::new(*secret) };
        (share.check() == escrow.check).then_some(share)
    }

    /// Tells this share from others. The share is 32 random bytes, so that its hash gives nothing away.
    fn check(&self) -> [u8; 32] {
        sha256(&[b"fv1/share-check\0", self.id.as_bytes(), self.secret.as_slice()])
    }

    /// Seals the share to the organisation's release key, and to its recovery key.
    pub(super) fn escrow(&self, profile: &Profile, entropy: &dyn Entropy) -> Result<Escrow, VaultError> {
        let root = profile.root()?;
        let aad = share_aad(profile.device, self.id);
        let seal = |key: &[u8; 32]| {
            hpke_seal::seal(*entropy.secret()?, key, ESCROW_INFO, &aad, self.secret.as_slice())
                .map_err(|_| VaultError::Tampered { file: "root" })
        };
        Ok(Escrow {
            share: self.id,
            sealed: Some(seal(&root.release_key)?),
            receipt: None,
            check: self.check(),
            recovery: Some(seal(&root.recovery_key)?),
            sealed_to: Escrow::keys_of(&root),
            leashed: false,
        })
    }

    /// Writes the share to a file, durably.
    pub(super) fn store(
        &self,
        folder: &Folder<'_>,
        entropy: &dyn Entropy,
        name: &str,
        vault: Uuid,
    ) -> Result<(), VaultError> {
        let key = wrapping_key(folder, vault, self.id)?;
        let wrapped = key.wrap(&self.secret, self.id.as_bytes(), entropy.bytes()?)?;
        folder.write(SORT, name, &encode(&Stored { share: self.id, wrapped })?)
    }

    /// Reads the present share.
    pub(super) fn load(folder: &Folder<'_>, vault: Uuid, expected: Uuid) -> Result<Self, VaultError> {
        let stored = read(folder, PRESENT)?;
        if stored.share != expected {
            return Err(VaultError::Tampered { file: SORT.name });
        }
        match wrapping_key(folder, vault, stored.share)?.unwrap(&stored.wrapped, stored.share.as_bytes()) {
            Ok(secret) => Ok(Self { id: stored.share, secret }),
            // The file is authentic, so it must be the key that has changed.
            Err(UnwrapError::OtherKey) => Err(VaultError::WrongKey),
            Err(UnwrapError::Tampered) => Err(VaultError::Tampered { file: SORT.name }),
        }
    }
}

fn read(folder: &Folder<'_>, name: &str) -> Result<Stored, VaultError> {
    minicbor::decode(&folder.read(SORT, name)?).map_err(|_| VaultError::Tampered { file: SORT.name })
}

/// Reads a content that may be anything.
#[cfg(feature = "fuzzing")]
pub(super) fn try_read(bytes: &[u8]) {
    let _ = minicbor::decode::<Stored>(bytes);
}

fn wrapping_key(folder: &Folder<'_>, vault: Uuid, share: Uuid) -> Result<WrappingKey, VaultError> {
    let ask = [b"fv1/release".as_slice(), vault.as_bytes(), share.as_bytes()].concat();
    let platform = folder.keys.hmac(KeyAlias::Wrap, &ask)?;
    Ok(WrappingKey::derive(platform.as_slice(), vault.as_bytes(), &[b"fv1/kek/release"]))
}

/// Finishes or undoes a change of share that was interrupted: afterwards `release.bin`, if there is one, holds the
/// share that the slot names, and `release.next` is gone. The share `leashed` has no file.
pub(super) fn settle(folder: &Folder<'_>, leashed: Option<Uuid>) -> Result<(), VaultError> {
    if !folder.has(NEXT)? {
        return Ok(());
    }
    let named = Slots::load(folder)?.passcode.share();
    let present = || Ok::<_, VaultError>(folder.has(PRESENT)? && read(folder, PRESENT)?.share == named);
    if leashed == Some(named) || present()? {
        destroy(folder, &[folder.path(NEXT)])
    } else if read(folder, NEXT)?.share == named {
        folder.disk.rename(&folder.path(NEXT), &folder.path(PRESENT))?;
        Ok(folder.disk.sync_dir(folder.dir)?)
    } else {
        // The share that the slot needs is not here; what is here is nobody's to remove.
        Err(VaultError::Missing { file: SORT.name })
    }
}

/// Destroys files: overwritten, removed, and gone after a power cut too. One that fails does not save the others.
pub(super) fn destroy(folder: &Folder<'_>, paths: &[PathBuf]) -> Result<(), VaultError> {
    let mut outcome = Ok(());
    for path in paths {
        outcome = outcome.and(folder.disk.overwrite_sync(path)).and(folder.disk.remove(path));
    }
    Ok(outcome.and(folder.disk.sync_dir(folder.dir))?)
}
