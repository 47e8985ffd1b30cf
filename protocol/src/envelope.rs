//! Bytes with Ed25519 signatures. What is signed is a domain string and the payload, byte for byte as sent:
//! verify first, parse after.

use crate::keys::KeyId;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use std::collections::BTreeSet;

/// The most bytes an envelope may have.
pub const MAX_ENVELOPE: usize = 64 * 1024;

/// What sort of document a signature is for, so that none can pass as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// A command to a device.
    Command,
    /// Root metadata.
    Root,
    /// The server's receipt for an escrowed release share.
    Escrow,
    /// What approvers sign for a wipe.
    WipeOrder,
    /// How long a device may stay away.
    Lease,
    /// The rules a device keeps.
    Policy,
    /// The server's word that it has a device's audit chain up to a place.
    Audit,
    /// The end of the server's own audit chain.
    Anchor,
}

impl Domain {
    const fn prefix(self) -> &'static [u8] {
        match self {
            Self::Command => b"fv1/cmd\0",
            Self::Root => b"fv1/root\0",
            Self::Escrow => b"fv1/escrow\0",
            Self::WipeOrder => b"fv1/wipe\0",
            Self::Lease => b"fv1/lease\0",
            Self::Policy => b"fv1/policy\0",
            Self::Audit => b"fv1/aud-cp\0",
            Self::Anchor => b"fv1/aud-anchor\0",
        }
    }

    /// The bytes that are signed for this payload, for a signer that is elsewhere.
    pub fn message(self, payload: &[u8]) -> Vec<u8> {
        [self.prefix(), payload].concat()
    }
}

/// One signature and the name of its key.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct KeySignature {
    /// The key's name.
    #[n(0)]
    pub key: KeyId,
    /// 64 bytes of Ed25519 (RFC 8032).
    #[cbor(n(1), with = "minicbor::bytes")]
    pub signature: [u8; 64],
}

/// A signed document in transit.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Envelope {
    /// The document's bytes.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub payload: Vec<u8>,
    /// Who signed it.
    #[n(1)]
    pub signatures: Vec<KeySignature>,
}

/// Why an envelope is not to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Larger than [`MAX_ENVELOPE`].
    #[error("the signed document is too large")]
    TooLarge,
    /// Not an envelope, or not the document it should hold.
    #[error("the signed document can't be read")]
    Malformed,
    /// Fewer distinct valid signatures than the role needs.
    #[error("{valid} of {needed} needed signatures are valid")]
    NotEnoughSignatures {
        /// How many distinct keys of the role signed it validly.
        valid: usize,
        /// How many must.
        needed: usize,
    },
}

impl Envelope {
    /// Signs a payload with each of the keys.
    pub fn sign(domain: Domain, payload: Vec<u8>, keys: &[&SigningKey]) -> Self {
        let message = domain.message(&payload);
        let signatures = keys
            .iter()
            .map(|key| KeySignature {
                key: KeyId::of(key.verifying_key().as_bytes()),
                signature: key.sign(&message).to_bytes(),
            })
            .collect();
        Self { payload, signatures }
    }

    /// The bytes to send.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads an envelope, trusting nothing in it yet.
    ///
    /// # Errors
    /// Too large, not an envelope, or bytes left over.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        if bytes.len() > MAX_ENVELOPE {
            return Err(EnvelopeError::TooLarge);
        }
        decode(bytes)
    }

    /// Checks that at least `threshold` of `keys` signed the payload, each counted once.
    ///
    /// # Errors
    /// [`EnvelopeError::NotEnoughSignatures`] otherwise. A signature that is wrong does not spoil the others.
    pub fn verify(&self, domain: Domain, keys: &[[u8; 32]], threshold: usize) -> Result<(), EnvelopeError> {
        let message = domain.message(&self.payload);
        let valid: BTreeSet<KeyId> = self
            .signatures
            .iter()
            .filter(|signed| {
                keys.iter().find(|key| KeyId::of(key) == signed.key).is_some_and(|key| {
                    VerifyingKey::from_bytes(key).is_ok_and(|key| {
                        key.verify_strict(&message, &Signature::from_bytes(&signed.signature)).is_ok()
                    })
                })
            })
            .map(|signed| signed.key)
            .collect();
        // A threshold of none would let anything pass.
        let needed = threshold.max(1);
        if valid.len() < needed {
            return Err(EnvelopeError::NotEnoughSignatures { valid: valid.len(), needed });
        }
        Ok(())
    }
}

/// Encodes a document. Ours are arrays of fixed order, so one value has one encoding.
pub(crate) fn encode<T: minicbor::Encode<()>>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    match minicbor::encode(value, &mut bytes) {
        Ok(()) => bytes,
        // Writing to memory can't fail, and our types have no failing encoder.
        Err(never) => unreachable!("{never}"),
    }
}

/// Reads a document; bytes left over, or an encoding that is not the one we would write, are refused.
pub(crate) fn decode<T>(bytes: &[u8]) -> Result<T, EnvelopeError>
where
    T: minicbor::Encode<()> + for<'b> minicbor::Decode<'b, ()>,
{
    let value: T = minicbor::decode(bytes).map_err(|_| EnvelopeError::Malformed)?;
    if encode(&value) != bytes {
        return Err(EnvelopeError::Malformed);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(n: u8) -> SigningKey {
        SigningKey::from_bytes(&[n; 32])
    }

    fn public(key: &SigningKey) -> [u8; 32] {
        key.verifying_key().to_bytes()
    }

    #[test]
    fn one_signer_twice_is_one() {
        let alice = key(1);
        let envelope = Envelope::sign(Domain::Command, b"x".to_vec(), &[&alice, &alice]);
        let keys = [public(&alice), public(&key(2))];
        assert_eq!(
            envelope.verify(Domain::Command, &keys, 2),
            Err(EnvelopeError::NotEnoughSignatures { valid: 1, needed: 2 })
        );
    }

    #[test]
    fn a_signature_for_another_sort_of_document_does_not_count() {
        let alice = key(1);
        let envelope = Envelope::sign(Domain::Root, b"x".to_vec(), &[&alice]);
        assert!(envelope.verify(Domain::Root, &[public(&alice)], 1).is_ok());
        assert!(envelope.verify(Domain::Command, &[public(&alice)], 1).is_err());
    }

    #[test]
    fn a_threshold_of_none_still_needs_one() {
        let envelope = Envelope::sign(Domain::Root, b"x".to_vec(), &[]);
        assert!(envelope.verify(Domain::Root, &[], 0).is_err());
    }

    #[test]
    fn bytes_left_over_are_refused() {
        let mut bytes = Envelope::sign(Domain::Root, b"x".to_vec(), &[&key(1)]).to_bytes();
        bytes.push(0);
        assert_eq!(Envelope::from_bytes(&bytes), Err(EnvelopeError::Malformed));
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_noticed(byte in 0usize..200, bit in 0u8..8) {
            let alice = key(1);
            let mut bytes = Envelope::sign(Domain::Command, vec![7; 60], &[&alice]).to_bytes();
            prop_assume!(byte < bytes.len());
            bytes[byte] ^= 1 << bit;
            let passed = Envelope::from_bytes(&bytes)
                .and_then(|envelope| envelope.verify(Domain::Command, &[public(&alice)], 1));
            prop_assert!(passed.is_err());
        }

        #[test]
        fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Envelope::from_bytes(&bytes);
        }
    }
}
