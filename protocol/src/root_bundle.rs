//! Root metadata by hand: a signed chain of roots as text or QR code, for devices that no longer reach their server
//! because every pin they know is dead.
//!
//! It needs no trust of its own: each root is signed by the one before it, as it is when it comes with a check-in.
//! CBOR in base45 (RFC 9285) behind `RMR1:`, as the [ticket](crate::ticket) has it.

use crate::envelope::{decode, encode};
use crate::root::{MAX_ROOTS, Root, RootError};
use chrono::{DateTime, Utc};
use minicbor::bytes::ByteVec;
use roundsman_model::OrgId;

const PREFIX: &str = "RMR1:";

/// The longest text of a bundle that is read.
pub const MAX_BUNDLE: usize = 512 * 1024;

/// Roots of one organisation, each the next after the one before it.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct RootBundle {
    /// The format, [`crate::VERSION`].
    #[n(0)]
    v: u8,
    /// The organisation. Only for a better reason to refuse: what counts is in the roots.
    #[cbor(n(1), with = "minicbor::bytes")]
    org: [u8; 16],
    /// The version of the first root in it.
    #[n(2)]
    first: u32,
    /// The envelopes, in order.
    #[n(3)]
    roots: Vec<ByteVec>,
}

/// Why a bundle can't be used. The keys and pins that were trusted before still are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootBundleError {
    /// It is not the text of a bundle.
    #[error("this is not a code with an organisation's keys")]
    NotABundle,
    /// It is of a later format.
    #[error("this code needs a newer version of the app")]
    NewerVersion,
    /// The device knows the last root in it, or a later one. A newer bundle is needed, or none.
    #[error("the code ends with root {last}, and this device knows root {known}")]
    NothingNew {
        /// The version of the last root in it.
        last: u32,
        /// The version that the device trusts.
        known: u32,
    },
    /// Roots between the one that the device trusts and the first one in it are missing. Ask for a bundle from the
    /// version that is known.
    #[error("the code begins with root {first}, but this device knows no later one than root {known}")]
    Gap {
        /// The version of the first root in it.
        first: u32,
        /// The version that the device trusts.
        known: u32,
    },
    /// A root in it is not to be trusted.
    #[error(transparent)]
    Root(#[from] RootError),
}

impl RootBundle {
    /// A bundle of these envelopes, the first of which has this version.
    pub fn new(org: OrgId, first: u32, roots: Vec<Vec<u8>>) -> Self {
        Self {
            v: crate::VERSION,
            org: *org.0.as_bytes(),
            first,
            roots: roots.into_iter().map(ByteVec::from).collect(),
        }
    }

    /// The text for the QR code, or for a file where it is too long for one.
    pub fn to_text(&self) -> String {
        format!("{PREFIX}{}", base45::encode(encode(self)))
    }

    /// Reads the text. Nothing in it is trusted yet.
    ///
    /// # Errors
    /// It is not a bundle, or of a later format.
    pub fn from_text(text: &str) -> Result<Self, RootBundleError> {
        let text = text.trim();
        if text.len() > MAX_BUNDLE {
            return Err(RootBundleError::NotABundle);
        }
        let body = text.strip_prefix(PREFIX).ok_or(RootBundleError::NotABundle)?;
        let bytes = base45::decode(body).map_err(|_| RootBundleError::NotABundle)?;
        let bundle: Self = decode(&bytes).map_err(|_| RootBundleError::NotABundle)?;
        if bundle.v != crate::VERSION {
            return Err(RootBundleError::NewerVersion);
        }
        Ok(bundle)
    }

    /// The roots that follow the known one, after all of them were checked: the last one and its envelope. Those that
    /// are known already are passed over.
    ///
    /// # Errors
    /// Another organisation's, nothing new, roots missing in between, or one that does not follow the one before it.
    pub fn follow(&self, known: &Root, now: DateTime<Utc>) -> Result<(Root, Vec<u8>), RootBundleError> {
        if self.org != known.org {
            return Err(RootError::OtherOrganisation.into());
        }
        let (first, version) = (self.first, known.version);
        if first > version.saturating_add(1) {
            return Err(RootBundleError::Gap { first, known: version });
        }
        let passed = usize::try_from(version.saturating_add(1) - first).unwrap_or(usize::MAX);
        let last =
            first.saturating_add(u32::try_from(self.roots.len()).unwrap_or(u32::MAX)).saturating_sub(1);
        let news: Vec<Vec<u8>> =
            self.roots.iter().skip(passed).take(MAX_ROOTS + 1).map(|root| root.to_vec()).collect();
        match known.follow(&news, now)? {
            Some((root, envelope)) => Ok((root, envelope.to_vec())),
            None => Err(RootBundleError::NothingNew { last, known: version }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::EnvelopeError;
    use crate::root::tests::{next, root, signed};
    use proptest::prelude::*;

    const BOTH: [u8; 2] = [10, 11];

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp_millis(500_000).unwrap_or_default()
    }

    /// Roots 2 to 4.
    fn chain() -> Vec<Vec<u8>> {
        (2..=4).map(|version| signed(&next(|root| root.version = version), &BOTH)).collect()
    }

    fn bundle(first: u32, roots: Vec<Vec<u8>>) -> RootBundle {
        RootBundle::new(root().org(), first, roots)
    }

    #[test]
    fn a_bundle_survives_its_text_and_leads_to_the_last_root() -> Result<(), RootBundleError> {
        let read = RootBundle::from_text(&format!(" {}\n", bundle(2, chain()).to_text()))?;
        assert_eq!(read, bundle(2, chain()));
        for known in 1..=3 {
            let at = next(|root| root.version = known);
            assert_eq!(read.follow(&at, now())?.0.version, 4, "from root {known}");
        }
        Ok(())
    }

    #[test]
    fn older_gaping_foreign_and_forged_bundles_are_refused_for_their_own_reason() {
        let known = next(|root| root.version = 4);
        let refusal = |bundle: RootBundle, known: &Root| bundle.follow(known, now()).err();
        let nothing = RootBundleError::NothingNew { last: 4, known: 4 };
        assert_eq!(refusal(bundle(2, chain()), &known), Some(nothing));
        let older = RootBundleError::NothingNew { last: 3, known: 4 };
        assert_eq!(refusal(bundle(2, chain()[..2].to_vec()), &known), Some(older));
        let gap = RootBundleError::Gap { first: 3, known: 1 };
        assert_eq!(refusal(bundle(3, chain()[1..].to_vec()), &root()), Some(gap));
        let foreign = RootBundle::new(OrgId(uuid::Uuid::nil()), 2, chain());
        assert_eq!(refusal(foreign, &root()), Some(RootError::OtherOrganisation.into()));
        let forged = vec![signed(&next(|_| {}), &[10])];
        let unsigned = EnvelopeError::NotEnoughSignatures { valid: 1, needed: 2 };
        assert_eq!(refusal(bundle(2, forged), &root()), Some(RootError::Envelope(unsigned).into()));
        // Whatever it says of itself: the roots count.
        let not_next = RootError::NotTheNext { version: 2, known: 4 };
        assert_eq!(refusal(bundle(5, chain()), &known), Some(not_next.into()));
        assert_eq!(
            refusal(bundle(2, vec![]), &root()),
            Some(RootBundleError::NothingNew { last: 1, known: 1 })
        );
        let expired = vec![signed(&next(|root| root.expires_ms = 1), &BOTH)];
        assert_eq!(refusal(bundle(2, expired), &root()), Some(RootError::Expired.into()));
    }

    #[test]
    fn other_texts_are_no_bundles() {
        let newer = RootBundle { v: 2, ..bundle(2, chain()) };
        assert_eq!(RootBundle::from_text(&newer.to_text()), Err(RootBundleError::NewerVersion));
        for text in ["", "RMR1:", "RM1:ABC", "RMR1:???", "https://example.com"] {
            assert_eq!(RootBundle::from_text(text), Err(RootBundleError::NotABundle), "{text}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in "(RMR1:)?[0-9A-Z $%*+./:-]{0,200}") {
            let _ = RootBundle::from_text(&text);
        }

        #[test]
        fn following_never_panics(
            first in any::<u32>(), known in any::<u32>(), roots in prop::collection::vec(any::<Vec<u8>>(), 0..4)
        ) {
            let known = next(|root| root.version = known);
            prop_assert!(bundle(first, roots).follow(&known, now()).is_err());
        }
    }
}
