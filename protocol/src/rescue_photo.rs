//! Photos and other attachments that were not sent: their content, which only the organisation's rescue key can read.
//!
//! A file of an attachment ([`crate::sealed_file`]) opens with a key that lies in the device's database, which a wipe
//! destroys. So that key is sealed to the rescue key beside the file, as changes are in the sealed outbox
//! ([`crate::rescue`]), until the server has the content.
//!
//! A *sealed key* is `"fv1/rkey" ‖ suite (1) ‖ org (16) ‖ device (16) ‖ attachment (16) ‖ file (16) ‖ enc (32) ‖
//! ciphertext`, and what is in it `key (32) ‖ size (8, big-endian)`: [`crate::hpke_seal`], bound to the four ids. The size
//! is that of the content, which the file does not tell.
//!
//! The device hands a file over part by part: `POST` of [`path`] has a [`SignedPart`], the [`part_size`] bytes of the file
//! from there on, and the answer says how far the server has come ([`UploadAnswer`]). A part that the server does not wait
//! for changes nothing. One without bytes, at any place, asks how far it is.

use crate::attachment::{PART, UploadAnswer, part_size};
use crate::envelope::{EnvelopeError, decode, encode};
use crate::hpke_seal::{self, SealError, Sealed};
use crate::keys::{BadSignature, DeviceKey};
use crate::sealed_file::FileKey;
use crate::sha256;
use roundsman_model::{DeviceId, OrgId};
use uuid::Uuid;
use zeroize::Zeroizing;

const MAGIC: &[u8; 8] = b"fv1/rkey";
const SUITE: u8 = 1;
const HEAD: usize = 8 + 1 + 4 * 16 + 32;
const OPENED: usize = 32 + 8;

/// Bytes of a sealed key.
pub const SEALED_KEY: usize = HEAD + OPENED + 16;

/// The most bytes of a signed part.
pub const MAX_SIGNED_PART: usize = PART as usize + 512;

/// Which file of whom it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhotoHead {
    /// The organisation.
    pub org: OrgId,
    /// The device.
    pub device: DeviceId,
    /// The attachment: the id of its record.
    pub attachment: Uuid,
    /// The file's name, which is in its header too.
    pub file: Uuid,
}

impl PhotoHead {
    fn ids(&self) -> [Uuid; 4] {
        [self.org.0, self.device.0, self.attachment, self.file]
    }

    /// What the sealed key is bound to.
    fn bound(&self) -> Vec<u8> {
        self.ids().iter().flat_map(Uuid::as_bytes).copied().collect()
    }
}

const INFO: &[u8] = b"fv1/photo-key";

/// The key of a file as it can be read without the rescue key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedKey {
    /// Whose it is.
    pub head: PhotoHead,
    sealed: Sealed,
}

/// What is in a sealed key.
pub struct OpenedKey {
    /// The file's key.
    pub key: FileKey,
    /// How many bytes the content has.
    pub size: u64,
}

/// Why bytes are no sealed key, or no part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PhotoError {
    /// They don't begin as one, or say what can't be.
    #[error("this is not a photo that is handed over")]
    Malformed,
    /// Larger than [`MAX_SIGNED_PART`].
    #[error("the part is too large")]
    TooLarge,
    /// Not signed by the device's key.
    #[error("the part is not signed by the device")]
    Signature,
    /// It is sealed to another key.
    #[error("the photo can't be opened with this rescue key")]
    OtherKey,
}

impl SealedKey {
    /// Seals a file's key to the rescue key: the bytes to keep beside the file. `seed` must be 32 fresh random bytes.
    ///
    /// # Errors
    /// The rescue key is no key.
    pub fn seal(
        seed: [u8; 32],
        rescue_key: &[u8; 32],
        head: &PhotoHead,
        key: &FileKey,
        size: u64,
    ) -> Result<Vec<u8>, SealError> {
        let mut plain = Zeroizing::new([0; OPENED]);
        plain[..32].copy_from_slice(key.as_slice());
        plain[32..].copy_from_slice(&size.to_be_bytes());
        let sealed = hpke_seal::seal(seed, rescue_key, INFO, &head.bound(), plain.as_slice())?;
        let mut bytes = Vec::with_capacity(SEALED_KEY);
        bytes.extend_from_slice(MAGIC);
        bytes.push(SUITE);
        bytes.extend(head.bound());
        bytes.extend_from_slice(&sealed.enc);
        bytes.extend_from_slice(&sealed.ciphertext);
        Ok(bytes)
    }

    /// Reads a sealed key.
    ///
    /// # Errors
    /// [`PhotoError::Malformed`]: it is none, or not all of one.
    pub fn read(bytes: &[u8]) -> Result<Self, PhotoError> {
        let (head, ciphertext) = bytes.split_at_checked(HEAD).ok_or(PhotoError::Malformed)?;
        if head[..8] != *MAGIC || head[8] != SUITE || bytes.len() != SEALED_KEY {
            return Err(PhotoError::Malformed);
        }
        let id = |at: usize| Uuid::from_slice(&head[at..at + 16]).map_err(|_| PhotoError::Malformed);
        let mut enc = [0; 32];
        enc.copy_from_slice(&head[73..]);
        let head =
            PhotoHead { org: OrgId(id(9)?), device: DeviceId(id(25)?), attachment: id(41)?, file: id(57)? };
        Ok(Self { head, sealed: Sealed { enc, ciphertext: ciphertext.to_vec() } })
    }

    /// Opens it with the private rescue key.
    ///
    /// # Errors
    /// [`PhotoError::OtherKey`] if it does not open.
    pub fn open(&self, rescue_private: &[u8; 32]) -> Result<OpenedKey, PhotoError> {
        let plain = hpke_seal::open(&self.sealed, rescue_private, INFO, &self.head.bound())
            .map_err(|SealError| PhotoError::OtherKey)?;
        OpenedKey::from_bytes(&plain).ok_or(PhotoError::Malformed)
    }
}

impl OpenedKey {
    /// The bytes that are sealed.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([self.key.as_slice(), &self.size.to_be_bytes()].concat())
    }

    /// Reads them; `None` if they are others.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; OPENED] = bytes.try_into().ok()?;
        let (secret, size) = bytes.split_first_chunk::<32>()?;
        let mut key = FileKey::new([0; 32]);
        key.copy_from_slice(secret);
        Some(Self { key, size: u64::from_be_bytes(size.try_into().ok()?) })
    }
}

/// A part of a file on its way to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The file's sealed key, as it was read.
    pub key: Vec<u8>,
    /// How many bytes the file has.
    pub size: u64,
    /// The place in it where the part begins.
    pub offset: u64,
    /// The part; nothing to ask how far the server is.
    pub bytes: Vec<u8>,
}

/// A part with the device's signature.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct SignedPart {
    #[cbor(n(0), with = "minicbor::bytes")]
    key: Vec<u8>,
    #[n(1)]
    size: u64,
    #[n(2)]
    offset: u64,
    #[cbor(n(3), with = "minicbor::bytes")]
    bytes: Vec<u8>,
    #[cbor(n(4), with = "minicbor::bytes")]
    signature: Vec<u8>,
}

const DOMAIN: &[u8] = b"fv1/rescue-photo\0";

impl SignedPart {
    /// Signs a part with the device's key. `sign` makes an ES256 signature (r ‖ s) over the message it is given.
    ///
    /// # Errors
    /// What `sign` fails with.
    pub fn sign<E>(part: Part, sign: impl FnOnce(&[u8]) -> Result<[u8; 64], E>) -> Result<Self, E> {
        let Part { key, size, offset, bytes } = part;
        let unsigned = Self { key, size, offset, bytes, signature: Vec::new() };
        let signature = sign(&unsigned.message())?.to_vec();
        Ok(Self { signature, ..unsigned })
    }

    /// The bytes to send.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads a signed part and checks that the device signed it.
    ///
    /// # Errors
    /// It is no part, not by this key, or not one that the file can have.
    pub fn open(bytes: &[u8], key: &DeviceKey) -> Result<(SealedKey, Part), PhotoError> {
        if bytes.len() > MAX_SIGNED_PART {
            return Err(PhotoError::TooLarge);
        }
        let signed: Self = decode(bytes)?;
        key.verify(&signed.message(), &signed.signature)?;
        let sealed = SealedKey::read(&signed.key)?;
        let Self { key, size, offset, bytes, .. } = signed;
        let fits = bytes.is_empty()
            || (offset.is_multiple_of(PART) && bytes.len() as u64 == part_size(size, offset));
        if size == 0 || offset > size || !fits {
            return Err(PhotoError::Malformed);
        }
        Ok((sealed, Part { key, size, offset, bytes }))
    }

    fn message(&self) -> Vec<u8> {
        let (key, bytes) = (sha256(&[&self.key]), sha256(&[&self.bytes]));
        [DOMAIN, &key, &self.size.to_be_bytes(), &self.offset.to_be_bytes(), &bytes].concat()
    }
}

/// Where the file of this name is handed over, from an offset on.
pub fn path(file: Uuid, offset: u64) -> String {
    format!("/v1/device/rescue/photos/{file}/{offset}")
}

/// How far a device goes on after this answer, which it got for what it sent at `offset`; `None` if the answer leads
/// nowhere.
pub fn next(answer: UploadAnswer, size: u64, offset: Option<u64>) -> Option<u64> {
    let goes_on = offset.is_none_or(|offset| answer.received > offset);
    (goes_on && answer.received < size && answer.received.is_multiple_of(PART)).then_some(answer.received)
}

impl From<EnvelopeError> for PhotoError {
    fn from(_: EnvelopeError) -> Self {
        Self::Malformed
    }
}

impl From<BadSignature> for PhotoError {
    fn from(_: BadSignature) -> Self {
        Self::Signature
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hpke_seal::key_pair;
    use p256::ecdsa::signature::Signer;
    use p256::ecdsa::{Signature, SigningKey};
    use proptest::prelude::*;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    fn head() -> PhotoHead {
        PhotoHead {
            org: OrgId(Uuid::from_u128(1)),
            device: DeviceId(Uuid::from_u128(2)),
            attachment: Uuid::from_u128(3),
            file: Uuid::from_u128(4),
        }
    }

    fn sealed() -> Result<Vec<u8>, SealError> {
        SealedKey::seal([7; 32], &key_pair(&[1; 32]).1, &head(), &FileKey::new([9; 32]), 1234)
    }

    fn signer() -> Result<(SigningKey, DeviceKey), Box<dyn std::error::Error>> {
        let signing = SigningKey::from_slice(&[3; 32])?;
        let public = signing.verifying_key().to_sec1_point(false);
        Ok((signing.clone(), DeviceKey::from_sec1(public.as_bytes())?))
    }

    fn signed(part: Part, by: &SigningKey) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
        let signed = SignedPart::sign(part, |message| {
            let signature: Signature = by.sign(message);
            <[u8; 64]>::try_from(signature.to_bytes().as_slice())
        })?;
        Ok(signed.to_bytes())
    }

    #[test]
    fn only_the_rescue_key_opens_a_files_key_and_only_as_that_files() -> TestResult {
        let bytes = sealed()?;
        assert_eq!(bytes.len(), SEALED_KEY);
        assert!(!bytes.windows(8).any(|window| window == [9; 8]), "the key is not there to be read");
        let read = SealedKey::read(&bytes)?;
        assert_eq!(read.head, head());
        let opened = read.open(&key_pair(&[1; 32]).0)?;
        assert_eq!((*opened.key, opened.size), ([9; 32], 1234));
        assert_eq!(read.open(&key_pair(&[2; 32]).0).err(), Some(PhotoError::OtherKey));
        for at in 9..SEALED_KEY {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let opened = SealedKey::read(&changed)?.open(&key_pair(&[1; 32]).0);
            assert_eq!(opened.err(), Some(PhotoError::OtherKey), "byte {at}");
        }
        for cut in 0..SEALED_KEY {
            assert_eq!(SealedKey::read(&bytes[..cut]), Err(PhotoError::Malformed));
        }
        Ok(())
    }

    #[test]
    fn a_part_is_taken_as_the_device_signed_it_and_no_other() -> TestResult {
        let (signing, key) = signer()?;
        let size = PART + 5;
        let part = |offset: u64, length: usize| Part { key: vec![], size, offset, bytes: vec![8; length] };
        let whole =
            |part: Part| -> Result<Part, Box<dyn std::error::Error>> { Ok(Part { key: sealed()?, ..part }) };
        for (offset, length) in [(0, PART as usize), (PART, 5), (0, 0), (PART, 0), (size, 0), (7, 0)] {
            let part = whole(part(offset, length))?;
            let (sealed, opened) = SignedPart::open(&signed(part.clone(), &signing)?, &key)?;
            assert_eq!((sealed.head, opened), (head(), part));
        }
        for (offset, length) in [(0, 5), (PART, 4), (PART, 6), (7, 5), (size, 1), (size + 1, 0)] {
            let bytes = signed(whole(part(offset, length))?, &signing)?;
            assert_eq!(SignedPart::open(&bytes, &key).err(), Some(PhotoError::Malformed), "{offset}");
        }
        let empty = signed(Part { size: 0, ..whole(part(0, 0))? }, &signing)?;
        assert_eq!(SignedPart::open(&empty, &key).err(), Some(PhotoError::Malformed));
        let bytes = signed(whole(part(PART, 5))?, &signing)?;
        let other = SigningKey::from_slice(&[4; 32])?;
        let forged = signed(whole(part(PART, 5))?, &other)?;
        assert_eq!(SignedPart::open(&forged, &key).err(), Some(PhotoError::Signature));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(SignedPart::open(&changed, &key).is_err(), "byte {at}");
            assert!(SignedPart::open(&bytes[..at], &key).is_err(), "cut at {at}");
        }
        let large = vec![0; MAX_SIGNED_PART + 1];
        assert_eq!(SignedPart::open(&large, &key).err(), Some(PhotoError::TooLarge));
        let full = signed(whole(part(0, PART as usize))?, &signing)?;
        assert!(full.len() <= MAX_SIGNED_PART);
        Ok(())
    }

    #[test]
    fn a_device_goes_on_only_where_an_answer_leads() {
        let answer = |received| UploadAnswer { received, stored: false };
        assert_eq!(next(answer(0), 2 * PART, None), Some(0));
        assert_eq!(next(answer(PART), 2 * PART, Some(0)), Some(PART));
        assert_eq!(next(answer(0), 2 * PART, Some(0)), None, "the same place again");
        assert_eq!(next(answer(7), 2 * PART, None), None);
        assert_eq!(next(answer(2 * PART), 2 * PART, Some(PART)), None);
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = SealedKey::read(&bytes);
            let _ = SealedKey::read(&[MAGIC.as_slice(), &[SUITE], &bytes].concat());
            if let Ok((_, key)) = signer() {
                let _ = SignedPart::open(&bytes, &key);
            }
        }
    }
}
