//! The sealed outbox: unsent work that only the organisation's rescue key can read.
//!
//! Each change is sealed to the rescue key when it is committed, into a file that the device itself can't read. So
//! a thief gains nothing by it, and a device that is locked or wiped, or whose passcode is forgotten, can still
//! hand it over.
//!
//! A *segment* is `"fv1/sout" ‖ suite (1) ‖ org (16) ‖ device (16) ‖ segment (16) ‖ enc (32)`, and then records:
//! `sort (1) ‖ change (16) ‖ commit (8) ‖ length (4) ‖ ciphertext`, numbers in big-endian order. `enc` opens an HPKE
//! context (RFC 9180, base mode, the suite of [`crate::hpke_seal`]) whose messages are the sealed records in order,
//! each bound to its change's id and its commit's number. Those two stay readable: the device needs them. A record
//! of sort 1 has no ciphertext and says that the commit before it did not happen.

use crate::envelope::{EnvelopeError, decode, encode};
use crate::hpke_seal::{OneShot, SealError};
use crate::keys::{BadSignature, DeviceKey};
use crate::sha256;
use hpke::aead::{AeadCtxS, ChaCha20Poly1305};
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use roundsman_model::{DeviceId, OrgId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

const MAGIC: &[u8; 8] = b"fv1/sout";
const SUITE: u8 = 1;
const HEAD: usize = 8 + 1 + 16 + 16 + 16 + 32;
const RECORD_HEAD: usize = 1 + 16 + 8 + 4;
const SEALED: u8 = 0;
const VOID: u8 = 1;

/// The most changes of one segment.
pub const MAX_CHANGES: usize = 256;

/// A segment that has reached so many bytes takes no more: 1 MiB.
pub const FULL: usize = 1024 * 1024;

/// The most bytes of a segment: a full one and one large change more.
pub const MAX_SEGMENT: usize = 6 * 1024 * 1024;

/// Whose segment it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHead {
    /// The organisation.
    pub org: OrgId,
    /// The device.
    pub device: DeviceId,
    /// The segment's own id.
    pub segment: Uuid,
}

impl SegmentHead {
    fn info(&self) -> Vec<u8> {
        let (org, device, segment) = (self.org.0, self.device.0, self.segment);
        [b"fv1/outbox".as_slice(), org.as_bytes(), device.as_bytes(), segment.as_bytes()].concat()
    }
}

/// Seals changes into one segment. Holds nothing that could open them again.
pub struct Sealer {
    context: AeadCtxS<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>,
}

impl Sealer {
    /// Begins a segment: the sealer, and the bytes that the segment starts with. `seed` must be 32 fresh random
    /// bytes.
    ///
    /// # Errors
    /// The rescue key is no key.
    pub fn begin(
        seed: [u8; 32],
        rescue_key: &[u8; 32],
        head: &SegmentHead,
    ) -> Result<(Self, Vec<u8>), SealError> {
        let key = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(rescue_key).map_err(|_| SealError)?;
        let (enc, context) = hpke::setup_sender_with_rng::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeS::Base,
            &key,
            &head.info(),
            &mut OneShot::new(seed),
        )
        .map_err(|_| SealError)?;
        let mut bytes = Vec::with_capacity(HEAD);
        bytes.extend_from_slice(MAGIC);
        bytes.push(SUITE);
        for id in [head.org.0, head.device.0, head.segment] {
            bytes.extend_from_slice(id.as_bytes());
        }
        bytes.extend_from_slice(&enc.to_bytes());
        Ok((Self { context }, bytes))
    }

    /// Seals one change: the bytes to append.
    ///
    /// # Errors
    /// The segment has had too many messages.
    pub fn seal(&mut self, change: Uuid, commit: u64, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        let ciphertext = self.context.seal(plaintext, &aad(change, commit)).map_err(|_| SealError)?;
        Ok(record(SEALED, change, commit, &ciphertext))
    }
}

/// The record that says that a commit did not happen, to be appended to the segment that announces it.
pub fn void(commit: u64) -> Vec<u8> {
    record(VOID, Uuid::nil(), commit, &[])
}

fn record(sort: u8, change: Uuid, commit: u64, ciphertext: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(RECORD_HEAD + ciphertext.len());
    bytes.push(sort);
    bytes.extend_from_slice(change.as_bytes());
    bytes.extend_from_slice(&commit.to_be_bytes());
    bytes.extend_from_slice(&(ciphertext.len() as u32).to_be_bytes());
    bytes.extend_from_slice(ciphertext);
    bytes
}

fn aad(change: Uuid, commit: u64) -> [u8; 24] {
    let mut aad = [0; 24];
    aad[..16].copy_from_slice(change.as_bytes());
    aad[16..].copy_from_slice(&commit.to_be_bytes());
    aad
}

/// What can be read of a change without the rescue key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedChange<'s> {
    /// The change's id.
    pub change: Uuid,
    /// The number of the commit it was part of.
    pub commit: u64,
    ciphertext: &'s [u8],
}

/// A segment as it can be read without the rescue key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment<'s> {
    /// Whose it is.
    pub head: SegmentHead,
    enc: [u8; 32],
    /// The sealed changes, in order.
    pub changes: Vec<SealedChange<'s>>,
    /// The commits that did not happen.
    pub void: Vec<u64>,
    /// Bytes at the end that are no whole record: a write that was cut off.
    pub torn: usize,
}

/// Why bytes are no segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    /// They don't begin as one, or hold a record of an unknown sort.
    #[error("this is not a segment of a sealed outbox")]
    Malformed,
    /// Larger than [`MAX_SEGMENT`].
    #[error("the segment is too large")]
    TooLarge,
    /// Not signed by the device's key.
    #[error("the segment is not signed by the device")]
    Signature,
    /// It is sealed to another key.
    #[error("the segment can't be opened with this rescue key")]
    OtherKey,
}

impl<'s> Segment<'s> {
    /// Reads a segment. A record that is cut off at the end is left out.
    ///
    /// # Errors
    /// It is no segment.
    pub fn read(bytes: &'s [u8]) -> Result<Self, SegmentError> {
        if bytes.len() > MAX_SEGMENT {
            return Err(SegmentError::TooLarge);
        }
        let (head, mut rest) = bytes.split_at_checked(HEAD).ok_or(SegmentError::Malformed)?;
        if head[..8] != *MAGIC || head[8] != SUITE {
            return Err(SegmentError::Malformed);
        }
        let id = |at: usize| Uuid::from_slice(&head[at..at + 16]).map_err(|_| SegmentError::Malformed);
        let mut enc = [0; 32];
        enc.copy_from_slice(&head[57..]);
        let head = SegmentHead { org: OrgId(id(9)?), device: DeviceId(id(25)?), segment: id(41)? };
        let mut segment = Self { head, enc, changes: Vec::new(), void: Vec::new(), torn: 0 };
        while let Some((sort, change, commit, ciphertext, after)) = next_record(rest) {
            match sort {
                SEALED => segment.changes.push(SealedChange { change, commit, ciphertext }),
                VOID if ciphertext.is_empty() => segment.void.push(commit),
                _ => return Err(SegmentError::Malformed),
            }
            rest = after;
        }
        segment.torn = rest.len();
        Ok(segment)
    }

    /// The number of the last commit that this segment announces and does not take back.
    pub fn last_commit(&self) -> Option<u64> {
        self.changes.iter().map(|change| change.commit).filter(|commit| !self.void.contains(commit)).max()
    }

    /// Opens every change with the private rescue key, in order. Where one was damaged, it and those after it are
    /// `None`.
    ///
    /// # Errors
    /// [`SegmentError::OtherKey`] if the first one does not open.
    pub fn open(&self, rescue_private: &[u8; 32]) -> Result<Vec<OpenedChange>, SegmentError> {
        let key = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(rescue_private)
            .map_err(|_| SegmentError::OtherKey)?;
        let enc = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(&self.enc)
            .map_err(|_| SegmentError::Malformed)?;
        let mut context = hpke::setup_receiver::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &key,
            &enc,
            &self.head.info(),
        )
        .map_err(|_| SegmentError::OtherKey)?;
        let opened: Vec<OpenedChange> = self
            .changes
            .iter()
            .map(|sealed| OpenedChange {
                change: sealed.change,
                commit: sealed.commit,
                void: self.void.contains(&sealed.commit),
                plaintext: context
                    .open(sealed.ciphertext, &aad(sealed.change, sealed.commit))
                    .ok()
                    .map(Zeroizing::new),
            })
            .collect();
        if opened.first().is_some_and(|first| first.plaintext.is_none()) {
            return Err(SegmentError::OtherKey);
        }
        Ok(opened)
    }
}

fn next_record(bytes: &[u8]) -> Option<(u8, Uuid, u64, &[u8], &[u8])> {
    let (head, rest) = bytes.split_at_checked(RECORD_HEAD)?;
    let change = Uuid::from_slice(&head[1..17]).ok()?;
    let commit = u64::from_be_bytes(head[17..25].try_into().ok()?);
    let length = u32::from_be_bytes(head[25..].try_into().ok()?) as usize;
    let (ciphertext, rest) = rest.split_at_checked(length)?;
    Some((head[0], change, commit, ciphertext, rest))
}

/// A change that was opened.
pub struct OpenedChange {
    /// The change's id.
    pub change: Uuid,
    /// The number of its commit.
    pub commit: u64,
    /// Whether the device says that its commit did not happen.
    pub void: bool,
    /// A [`crate::sync::Mutation`] as JSON; `None` if it was damaged.
    pub plaintext: Option<Zeroizing<Vec<u8>>>,
}

/// A segment on its way to the server.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct SignedSegment {
    #[cbor(n(0), with = "minicbor::bytes")]
    segment: Vec<u8>,
    #[cbor(n(1), with = "minicbor::bytes")]
    signature: Vec<u8>,
}

const DOMAIN: &[u8] = b"fv1/rescue\0";

impl SignedSegment {
    /// Signs a segment with the device's key. `sign` makes an ES256 signature (r ‖ s) over the message it is given.
    ///
    /// # Errors
    /// What `sign` fails with.
    pub fn sign<E>(segment: Vec<u8>, sign: impl FnOnce(&[u8]) -> Result<[u8; 64], E>) -> Result<Self, E> {
        let signature = sign(&[DOMAIN, &sha256(&[&segment])].concat())?.to_vec();
        Ok(Self { segment, signature })
    }

    /// The bytes to send.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads a signed segment and checks that the device signed it. Returns the segment's bytes.
    ///
    /// # Errors
    /// It is no segment, or not by this key.
    pub fn open(bytes: &[u8], key: &DeviceKey) -> Result<Vec<u8>, SegmentError> {
        if bytes.len() > MAX_SEGMENT + 256 {
            return Err(SegmentError::TooLarge);
        }
        let signed: Self = decode(bytes)?;
        key.verify(&[DOMAIN, &sha256(&[&signed.segment])].concat(), &signed.signature)?;
        Segment::read(&signed.segment)?;
        Ok(signed.segment)
    }
}

impl From<EnvelopeError> for SegmentError {
    fn from(_: EnvelopeError) -> Self {
        Self::Malformed
    }
}

impl From<BadSignature> for SegmentError {
    fn from(_: BadSignature) -> Self {
        Self::Signature
    }
}

/// The answer to `POST /v1/device/rescue`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RescueAnswer {
    /// The segment that is stored at the server for good: the device may remove its own.
    pub stored: Uuid,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hpke_seal::key_pair;
    use proptest::prelude::*;

    fn head() -> SegmentHead {
        SegmentHead {
            org: OrgId(Uuid::from_u128(1)),
            device: DeviceId(Uuid::from_u128(2)),
            segment: Uuid::from_u128(3),
        }
    }

    /// A segment of `count` changes, change n in commit 10 + n.
    fn segment(count: u8) -> Result<Vec<u8>, SealError> {
        let (mut sealer, mut bytes) = Sealer::begin([7; 32], &key_pair(&[1; 32]).1, &head())?;
        for n in 0..count {
            let change = Uuid::from_u128(100 + u128::from(n));
            bytes.extend(sealer.seal(change, 10 + u64::from(n), &[n; 40])?);
        }
        Ok(bytes)
    }

    fn opened(bytes: &[u8], seed: u8) -> Result<Vec<Option<Vec<u8>>>, SegmentError> {
        let changes = Segment::read(bytes)?.open(&key_pair(&[seed; 32]).0)?;
        Ok(changes.into_iter().map(|change| change.plaintext.map(|text| text.to_vec())).collect())
    }

    #[test]
    fn only_the_rescue_key_opens_a_segment() -> Result<(), Box<dyn std::error::Error>> {
        let bytes = segment(3)?;
        let read = Segment::read(&bytes)?;
        assert_eq!((read.head, read.torn, read.last_commit()), (head(), 0, Some(12)));
        assert_eq!(opened(&bytes, 1)?, [Some(vec![0; 40]), Some(vec![1; 40]), Some(vec![2; 40])]);
        assert_eq!(opened(&bytes, 2), Err(SegmentError::OtherKey));
        // What a change costs beyond its own length.
        assert_eq!(segment(1)?.len() - segment(0)?.len() - 40, RECORD_HEAD + 16);
        Ok(())
    }

    #[test]
    fn a_commit_that_did_not_happen_is_told() -> Result<(), Box<dyn std::error::Error>> {
        let mut bytes = segment(3)?;
        bytes.extend(void(12));
        let read = Segment::read(&bytes)?;
        assert_eq!(read.last_commit(), Some(11));
        let changes = read.open(&key_pair(&[1; 32]).0)?;
        assert_eq!(changes.iter().map(|change| change.void).collect::<Vec<_>>(), [false, false, true]);
        Ok(())
    }

    #[test]
    fn damage_costs_a_change_and_those_after_it() -> Result<(), Box<dyn std::error::Error>> {
        let mut bytes = segment(3)?;
        let at = HEAD + (RECORD_HEAD + 56) + RECORD_HEAD + 5;
        bytes[at] ^= 1;
        assert_eq!(opened(&bytes, 1)?, [Some(vec![0; 40]), None, None]);
        Ok(())
    }

    proptest! {
        #[test]
        fn a_cut_leaves_every_whole_record(cut in 0usize..400) {
            let whole = segment(4).map_err(|error| TestCaseError::fail(error.to_string()))?;
            let cut = cut.min(whole.len());
            match Segment::read(&whole[..cut]) {
                Err(error) => prop_assert!(cut < HEAD && error == SegmentError::Malformed),
                Ok(read) => prop_assert_eq!(read.changes.len(), (cut - HEAD) / (RECORD_HEAD + 56)),
            }
        }

        #[test]
        fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Segment::read(&bytes);
            let _ = Segment::read(&[MAGIC.as_slice(), &[SUITE; 81], &bytes].concat());
        }
    }
}
