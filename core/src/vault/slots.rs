//! The slots: the vault's key, wrapped once for the passcode and, if the person wants it, once for biometrics.

use super::files::{Folder, Pair, Sort};
use super::keys::{Secret, UnwrapError, Wrapped, WrappingKey, stretch};
use super::record::{encode, id};
use super::share::Share;
use super::{KdfCost, Passcode, VaultError};
use crate::platform::{Entropy, KeyAlias};
use uuid::Uuid;
use zeroize::Zeroizing;

pub(super) const NAMES: [&str; 2] = ["slots.a", "slots.b"];
const SORT: Sort = Sort { magic: *b"fv1/slot", name: "slots" };

/// The format of the file.
const VERSION: u8 = 1;

/// Argon2id, HKDF-SHA256, XChaCha20-Poly1305.
const SUITE: u8 = 1;

/// What opens a slot, besides the release share.
#[derive(Clone, minicbor::Encode, minicbor::Decode)]
enum Kind {
    /// The passcode, stretched, and the platform's key.
    #[n(0)]
    Passcode {
        #[n(0)]
        cost: KdfCost,
        #[cbor(n(1), with = "minicbor::bytes")]
        salt: [u8; 16],
        /// When this passcode was chosen: milliseconds since 1970.
        #[n(2)]
        set_ms: i64,
        /// When the share was made: milliseconds since 1970.
        #[n(3)]
        share_ms: i64,
    },
    /// A key of the platform that works only for a finger or face.
    #[n(1)]
    Biometric,
}

/// What the wrapping key is made with; authenticated with the wrapped key.
#[derive(Clone, minicbor::Encode, minicbor::Decode)]
struct Header {
    #[n(0)]
    suite: u8,
    #[cbor(n(1), with = "id")]
    vault: Uuid,
    #[cbor(n(2), with = "id")]
    slot: Uuid,
    #[n(3)]
    kind: Kind,
    #[cbor(n(4), with = "minicbor::bytes")]
    salt: [u8; 32],
    /// The release share it needs.
    #[cbor(n(5), with = "id")]
    share: Uuid,
}

/// The vault's key, and while it is being changed the one that comes after it.
pub(super) struct VaultKeys {
    pub(super) present: Secret,
    pub(super) next: Option<Secret>,
}

/// One slot.
#[derive(Clone, minicbor::Encode, minicbor::Decode)]
pub(super) struct Slot {
    #[n(0)]
    header: Header,
    #[n(1)]
    wrapped: Wrapped,
    /// The key after this one, while a change of it is under way.
    #[n(2)]
    next: Option<Wrapped>,
}

/// What a passcode slot is made with, besides the passcode.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    pub(super) vault: Uuid,
    pub(super) cost: KdfCost,
    /// When the passcode was chosen: milliseconds since 1970.
    pub(super) set_ms: i64,
    /// When the share was made: milliseconds since 1970.
    pub(super) share_ms: i64,
}

impl Slot {
    /// Wraps the vault's keys for a passcode.
    pub(super) fn for_passcode(
        folder: &Folder<'_>,
        entropy: &dyn Entropy,
        terms: Terms,
        passcode: &Passcode,
        share: &Share,
        keys: &VaultKeys,
    ) -> Result<Self, VaultError> {
        let Terms { vault, cost, set_ms, share_ms } = terms;
        let kind = Kind::Passcode { cost: cost.clamped(), salt: entropy.bytes()?, set_ms, share_ms };
        let header = Header::new(entropy, vault, kind, share)?;
        let key = header.passcode_key(folder, passcode, share)?;
        header.wrap(entropy, &key, keys)
    }

    /// Wraps the vault's keys for biometrics. The platform asks the person.
    pub(super) fn for_biometrics(
        folder: &Folder<'_>,
        entropy: &dyn Entropy,
        vault: Uuid,
        share: &Share,
        keys: &VaultKeys,
    ) -> Result<Self, VaultError> {
        let header = Header::new(entropy, vault, Kind::Biometric, share)?;
        let key = header.biometric_key(folder, share)?;
        header.wrap(entropy, &key, keys)
    }

    /// Unwraps the vault's keys; `None` if the passcode is wrong.
    pub(super) fn by_passcode(
        &self,
        folder: &Folder<'_>,
        passcode: &Passcode,
        share: &Share,
    ) -> Result<Option<VaultKeys>, VaultError> {
        self.unwrap(&self.header.passcode_key(folder, passcode, share)?)
    }

    /// Unwraps the vault's keys; `None` if the platform's key is not the one it was made with. The platform asks the
    /// person.
    pub(super) fn by_biometrics(
        &self,
        folder: &Folder<'_>,
        share: &Share,
    ) -> Result<Option<VaultKeys>, VaultError> {
        self.unwrap(&self.header.biometric_key(folder, share)?)
    }

    fn unwrap(&self, key: &WrappingKey) -> Result<Option<VaultKeys>, VaultError> {
        let aad = encode(&self.header)?;
        let open = |wrapped: &Wrapped| match key.unwrap(wrapped, &aad) {
            Ok(secret) => Ok(Some(secret)),
            Err(UnwrapError::OtherKey) => Ok(None),
            Err(UnwrapError::Tampered) => Err(VaultError::Tampered { file: SORT.name }),
        };
        let Some(present) = open(&self.wrapped)? else { return Ok(None) };
        let next = match &self.next {
            Some(next) => Some(open(next)?.ok_or(VaultError::Tampered { file: SORT.name })?),
            None => None,
        };
        Ok(Some(VaultKeys { present, next }))
    }

    /// The id of the release share it needs.
    pub(super) fn share(&self) -> Uuid {
        self.header.share
    }

    /// What it was made with; `None` if it is not for a passcode.
    pub(super) fn terms(&self) -> Option<Terms> {
        match self.header.kind {
            Kind::Passcode { cost, set_ms, share_ms, .. } => {
                Some(Terms { vault: self.header.vault, cost, set_ms, share_ms })
            }
            Kind::Biometric => None,
        }
    }

    /// Ends a change of key. `None` if this slot does not hold the key that is to stay.
    fn settled(self, changed: bool) -> Option<Self> {
        let wrapped = if changed { self.next? } else { self.wrapped };
        Some(Self { header: self.header, wrapped, next: None })
    }
}

impl Header {
    fn new(entropy: &dyn Entropy, vault: Uuid, kind: Kind, share: &Share) -> Result<Self, VaultError> {
        let slot = Uuid::from_bytes(entropy.bytes()?);
        Ok(Self { suite: SUITE, vault, slot, kind, salt: entropy.bytes()?, share: share.id })
    }

    fn wrap(self, entropy: &dyn Entropy, key: &WrappingKey, keys: &VaultKeys) -> Result<Slot, VaultError> {
        let aad = encode(&self)?;
        let wrapped = key.wrap(&keys.present, &aad, entropy.bytes()?)?;
        // Random nonces of 24 bytes may be drawn many times under one key.
        let next = keys.next.as_ref().map(|next| key.wrap(next, &aad, entropy.bytes()?)).transpose()?;
        Ok(Slot { header: self, wrapped, next })
    }

    /// The wrapping key, from all three parts.
    fn passcode_key(
        &self,
        folder: &Folder<'_>,
        passcode: &Passcode,
        share: &Share,
    ) -> Result<WrappingKey, VaultError> {
        let Kind::Passcode { cost, salt, .. } = &self.kind else {
            return Err(VaultError::Tampered { file: SORT.name });
        };
        let ask = [b"fv1/passcode".as_slice(), self.vault.as_bytes(), self.slot.as_bytes(), salt].concat();
        let platform = folder.keys.hmac(KeyAlias::Wrap, &ask)?;
        let stretched = stretch(passcode, salt, *cost)?;
        Ok(self.join([&stretched, &platform, &share.secret], b"fv1/kek/passcode"))
    }

    /// The wrapping key, from what the platform releases to a finger or face and the release share.
    fn biometric_key(&self, folder: &Folder<'_>, share: &Share) -> Result<WrappingKey, VaultError> {
        let ask =
            [b"fv1/biometric".as_slice(), self.vault.as_bytes(), self.slot.as_bytes(), &self.salt].concat();
        let platform = folder.keys.hmac(KeyAlias::Biometric, &ask)?;
        Ok(self.join([&platform, &share.secret], b"fv1/kek/biometric"))
    }

    fn join<const N: usize>(&self, parts: [&Secret; N], purpose: &[u8]) -> WrappingKey {
        let mut joined = Zeroizing::new([[0; 32]; N]);
        for (place, part) in joined.iter_mut().zip(parts) {
            *place = **part;
        }
        let info = [purpose, self.vault.as_bytes(), self.slot.as_bytes(), &[self.suite]];
        WrappingKey::derive(joined.as_flattened(), &self.salt, &info)
    }
}

/// The content of the file. More kinds of slots can be added to the list.
#[derive(minicbor::Encode, minicbor::Decode)]
struct Stored {
    #[n(0)]
    v: u8,
    #[n(1)]
    slots: Vec<Slot>,
}

/// Reads a content that may be anything.
#[cfg(feature = "fuzzing")]
pub(super) fn try_read(bytes: &[u8]) {
    let _ = minicbor::decode::<Slot>(bytes);
}

/// The slot file, kept twice.
pub(super) struct Slots {
    pair: Pair,
    pub(super) passcode: Slot,
    pub(super) biometric: Option<Slot>,
}

impl Slots {
    /// The first slots of a vault, in no file yet.
    pub(super) fn new(passcode: Slot) -> Self {
        Self { pair: Pair::empty(SORT, NAMES), passcode, biometric: None }
    }

    pub(super) fn load(folder: &Folder<'_>) -> Result<Self, VaultError> {
        let tampered = || VaultError::Tampered { file: SORT.name };
        let (pair, body) = Pair::load(folder, SORT, NAMES)?;
        let stored: Stored = minicbor::decode(&body).map_err(|_| tampered())?;
        let (mut passcode, mut biometric) = (None, None);
        for slot in stored.slots {
            let known = slot.header.suite == SUITE
                && slot.terms().is_none_or(|terms| terms.cost == terms.cost.clamped());
            let place = if slot.terms().is_some() { &mut passcode } else { &mut biometric };
            if !known || place.replace(slot).is_some() {
                return Err(tampered());
            }
        }
        match passcode {
            Some(passcode) if stored.v == VERSION => Ok(Self { pair, passcode, biometric }),
            _ => Err(tampered()),
        }
    }

    /// What the passcode slot was made with.
    pub(super) fn terms(&self) -> Result<Terms, VaultError> {
        self.passcode.terms().ok_or(VaultError::Tampered { file: SORT.name })
    }

    /// Whether an older state, which may open with an older passcode, is still in one of the files.
    pub(super) fn holds_an_older_one(&self) -> bool {
        !self.pair.even
    }

    /// Ends a change of the vault's key: with the new key if the database has it, otherwise with the old one.
    pub(super) fn settle_key(&mut self, changed: bool) -> Result<(), VaultError> {
        let settled = self.passcode.clone().settled(changed);
        self.passcode = settled.ok_or(VaultError::Missing { file: SORT.name })?;
        self.biometric = self.biometric.take().and_then(|slot| slot.settled(changed));
        Ok(())
    }

    /// Whether a change of the vault's key has begun and not ended.
    pub(super) fn changing_key(&self) -> bool {
        self.passcode.next.is_some()
    }

    /// Writes these slots and leaves no copy of the ones before.
    ///
    /// After an error either of them may be the present ones.
    pub(super) fn save(&mut self, folder: &Folder<'_>) -> Result<(), VaultError> {
        let slots = [Some(self.passcode.clone()), self.biometric.clone()].into_iter().flatten().collect();
        let body = encode(&Stored { v: VERSION, slots })?;
        self.pair.store(folder, &body)?;
        // The change holds from here on. What the older file holds may open with an old passcode, so it goes too.
        self.pair.store(folder, &body)
    }
}
