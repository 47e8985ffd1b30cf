//! The slot: the vault's key, wrapped by what only the right passcode, this device and the release share give
//! together.

use super::files::{Folder, Pair, Sort};
use super::keys::{Secret, UnwrapError, Wrapped, WrappingKey, stretch};
use super::record::{encode, id};
use super::share::Share;
use super::{KdfCost, Passcode, VaultError};
use crate::platform::{Entropy, KeyAlias};
use uuid::Uuid;

pub(super) const NAMES: [&str; 2] = ["slots.a", "slots.b"];
const SORT: Sort = Sort { magic: *b"fv1/slot", name: "slots" };

/// Argon2id, HKDF-SHA256, XChaCha20-Poly1305.
const SUITE: u8 = 1;

/// What the wrapping key is made with; authenticated with the wrapped key.
#[derive(minicbor::Encode, minicbor::Decode)]
struct Header {
    #[n(0)]
    suite: u8,
    #[cbor(n(1), with = "id")]
    vault: Uuid,
    #[cbor(n(2), with = "id")]
    slot: Uuid,
    #[n(3)]
    cost: KdfCost,
    #[cbor(n(4), with = "minicbor::bytes")]
    passcode_salt: [u8; 16],
    #[cbor(n(5), with = "minicbor::bytes")]
    salt: [u8; 32],
    /// The release share it needs.
    #[cbor(n(6), with = "id")]
    share: Uuid,
}

/// A passcode slot.
#[derive(minicbor::Encode, minicbor::Decode)]
pub(super) struct Slot {
    #[n(0)]
    header: Header,
    #[n(1)]
    wrapped: Wrapped,
}

impl Slot {
    /// Wraps the vault's key.
    pub(super) fn wrap(
        folder: &Folder<'_>,
        entropy: &dyn Entropy,
        vault: Uuid,
        cost: KdfCost,
        passcode: &Passcode,
        share: &Share,
        vault_key: &Secret,
    ) -> Result<Self, VaultError> {
        let header = Header {
            suite: SUITE,
            vault,
            slot: Uuid::from_bytes(entropy.bytes()?),
            cost: cost.clamped(),
            passcode_salt: entropy.bytes()?,
            salt: entropy.bytes()?,
            share: share.id,
        };
        let wrapped =
            header.key(folder, passcode, share)?.wrap(vault_key, &encode(&header)?, entropy.bytes()?)?;
        Ok(Self { header, wrapped })
    }

    /// Unwraps the vault's key; [`UnwrapError::OtherKey`] says that the passcode is wrong.
    pub(super) fn unwrap(
        &self,
        folder: &Folder<'_>,
        passcode: &Passcode,
        share: &Share,
    ) -> Result<Option<Secret>, VaultError> {
        match self.header.key(folder, passcode, share)?.unwrap(&self.wrapped, &encode(&self.header)?) {
            Ok(vault_key) => Ok(Some(vault_key)),
            Err(UnwrapError::OtherKey) => Ok(None),
            Err(UnwrapError::Tampered) => Err(VaultError::Tampered { file: SORT.name }),
        }
    }

    /// The id of the release share it needs.
    pub(super) fn share(&self) -> Uuid {
        self.header.share
    }

    pub(super) fn cost(&self) -> KdfCost {
        self.header.cost
    }
}

impl Header {
    /// The wrapping key, from all three parts.
    fn key(
        &self,
        folder: &Folder<'_>,
        passcode: &Passcode,
        share: &Share,
    ) -> Result<WrappingKey, VaultError> {
        let (vault, slot) = (self.vault.as_bytes(), self.slot.as_bytes());
        let ask = [b"fv1/passcode".as_slice(), vault, slot, &self.passcode_salt].concat();
        let platform = folder.keys.hmac(KeyAlias::Wrap, &ask)?;
        let stretched = stretch(passcode, &self.passcode_salt, self.cost)?;
        let mut parts = zeroize::Zeroizing::new([0; 96]);
        for (place, part) in parts.chunks_exact_mut(32).zip([
            stretched.as_slice(),
            platform.as_slice(),
            share.secret.as_slice(),
        ]) {
            place.copy_from_slice(part);
        }
        let info: [&[u8]; 4] = [b"fv1/kek/passcode", vault, slot, &[self.suite]];
        Ok(WrappingKey::derive(parts.as_slice(), &self.salt, &info))
    }
}

/// The slot file, kept twice.
pub(super) struct Slots {
    pair: Pair,
    pub(super) slot: Slot,
}

impl Slots {
    pub(super) fn load(folder: &Folder<'_>) -> Result<Self, VaultError> {
        let (pair, body) = Pair::load(folder, SORT, NAMES)?;
        let slot: Slot = minicbor::decode(&body).map_err(|_| VaultError::Tampered { file: SORT.name })?;
        if slot.header.suite != SUITE || slot.header.cost != slot.header.cost.clamped() {
            return Err(VaultError::Tampered { file: SORT.name });
        }
        Ok(Self { pair, slot })
    }

    /// Whether an older slot, which may open with an older passcode, is still in one of the files.
    pub(super) fn holds_an_older_one(&self) -> bool {
        !self.pair.even
    }

    /// Puts a slot in place of the present one, if there is one, and leaves no copy of that.
    ///
    /// After an error either of them may be the present one.
    pub(super) fn replace(folder: &Folder<'_>, present: Option<Self>, slot: &Slot) -> Result<(), VaultError> {
        let mut pair = present.map_or_else(|| Pair::empty(SORT, NAMES), |present| present.pair);
        let body = encode(slot)?;
        pair.store(folder, &body)?;
        // The passcode is changed from here on. What the older file holds opens with the old one, so it goes too.
        pair.store(folder, &body)
    }

    /// Removes an older slot.
    pub(super) fn even_out(mut self, folder: &Folder<'_>) -> Result<(), VaultError> {
        self.pair.store(folder, &encode(&self.slot)?)
    }
}
