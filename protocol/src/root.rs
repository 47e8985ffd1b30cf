//! Root metadata: which keys may sign what. Shaped after The Update Framework 1.0 (TUF), section 4.3.
//!
//! The enrolment ticket names the first root by its hash; each later root is signed by the one before it and by
//! itself, and follows it by exactly one.

use crate::envelope::{Domain, Envelope, EnvelopeError, decode, encode};
use crate::sha256;
use crate::ticket::SpkiPin;
use chrono::{DateTime, Utc};
use roundsman_model::OrgId;
use uuid::Uuid;

/// An Ed25519 public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(transparent)]
pub struct PublicKey(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);

/// Keys, and how many of them must sign.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct RoleKeys {
    /// How many distinct keys must sign.
    #[n(0)]
    pub threshold: u8,
    /// The keys.
    #[n(1)]
    pub keys: Vec<PublicKey>,
}

impl RoleKeys {
    /// Checks that enough of these keys signed.
    ///
    /// # Errors
    /// [`EnvelopeError::NotEnoughSignatures`] otherwise.
    pub fn verify(&self, domain: Domain, envelope: &Envelope) -> Result<(), EnvelopeError> {
        let keys: Vec<[u8; 32]> = self.keys.iter().map(|key| key.0).collect();
        envelope.verify(domain, &keys, self.threshold.into())
    }
}

/// Which keys an organisation trusts.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Root {
    /// The format, [`crate::VERSION`].
    #[n(0)]
    pub v: u8,
    /// The organisation.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub org: [u8; 16],
    /// The root's own version, from 1.
    #[n(2)]
    pub version: u32,
    /// When it should have been replaced: milliseconds since 1970.
    #[n(3)]
    pub expires_ms: i64,
    /// Who signs the next root.
    #[n(4)]
    pub root: RoleKeys,
    /// Who signs commands, escrow receipts, leases, policies and audit checkpoints: a key the server holds. It
    /// can't order a wipe by itself.
    #[n(5)]
    pub command: RoleKeys,
    /// Who signs a wipe: keys of people, which the server can't use by itself.
    #[n(6)]
    pub approver: RoleKeys,
    /// X25519 key to which devices seal their release share; the server holds its private half.
    #[cbor(n(7), with = "minicbor::bytes")]
    pub release_key: [u8; 32],
    /// X25519 key to which devices seal their release share once more, so that a lost server turns no lock into a
    /// loss; the organisation keeps its private half offline.
    #[cbor(n(8), with = "minicbor::bytes")]
    pub recovery_key: [u8; 32],
    /// X25519 key to which devices seal their unsent work; the organisation keeps its private half offline.
    #[cbor(n(9), with = "minicbor::bytes")]
    pub rescue_key: [u8; 32],
    /// The keys the server's certificate may have; if there are none, those of the enrolment code hold.
    #[n(10)]
    pub pins: Vec<SpkiPin>,
    /// The server's address; without one, that of the enrolment code holds.
    #[n(11)]
    pub url: Option<String>,
}

/// How many roots a device that was away may catch up with at once.
pub const MAX_ROOTS: usize = 64;

impl Root {
    /// The organisation.
    pub fn org(&self) -> OrgId {
        OrgId(Uuid::from_bytes(self.org))
    }

    /// When it should have been replaced.
    pub fn expires(&self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_millis(self.expires_ms)
    }

    /// The bytes to sign.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Opens the first root: the one whose envelope has the hash that the ticket names.
    ///
    /// # Errors
    /// Another hash, not signed by its own root keys, or unreadable.
    pub fn open_first(envelope: &[u8], expected: &[u8; 32]) -> Result<Self, RootError> {
        if sha256(&[envelope]) != *expected {
            return Err(RootError::NotTheOneNamed);
        }
        let envelope = Envelope::from_bytes(envelope)?;
        let root: Self = decode(&envelope.payload)?;
        root.root.verify(Domain::Root, &envelope)?;
        Ok(root)
    }

    /// Reads a root that was opened before and was kept since where nobody could change it. Its signatures are not looked at
    /// again.
    ///
    /// # Errors
    /// It is unreadable.
    pub fn kept(envelope: &[u8]) -> Result<Self, RootError> {
        Ok(decode(&Envelope::from_bytes(envelope)?.payload)?)
    }

    /// Opens the root after this one: signed by this one's root keys and by its own, of the same organisation, and
    /// further by exactly one. Whether it has expired is not looked at: a chain may lead through an expired root.
    ///
    /// # Errors
    /// Any of that is missing.
    pub fn open_next(&self, envelope: &[u8]) -> Result<Self, RootError> {
        let envelope = Envelope::from_bytes(envelope)?;
        self.root.verify(Domain::Root, &envelope)?;
        let next: Self = decode(&envelope.payload)?;
        next.root.verify(Domain::Root, &envelope)?;
        if next.org != self.org {
            return Err(RootError::OtherOrganisation);
        }
        if Some(next.version) != self.version.checked_add(1) {
            return Err(RootError::NotTheNext { version: next.version, known: self.version });
        }
        next.usable()?;
        Ok(next)
    }

    /// Follows a chain of roots to its end; nothing of it counts unless all of it holds. Returns the last root and
    /// its envelope, or nothing for an empty chain.
    ///
    /// # Errors
    /// A root does not follow the one before it, there are more than [`MAX_ROOTS`], or the last one has expired.
    pub fn follow<'e>(
        &self,
        chain: &'e [Vec<u8>],
        now: DateTime<Utc>,
    ) -> Result<Option<(Self, &'e [u8])>, RootError> {
        if chain.len() > MAX_ROOTS {
            return Err(RootError::TooMany);
        }
        let mut last: Option<(Self, &[u8])> = None;
        for envelope in chain {
            let next = last.as_ref().map_or(self, |(root, _)| root).open_next(envelope)?;
            last = Some((next, envelope));
        }
        match last {
            Some((root, _)) if root.expires_ms < now.timestamp_millis() => Err(RootError::Expired),
            last => Ok(last),
        }
    }

    /// Whether every role can be met by its own keys, each counted once, and no server's key is an approver's.
    ///
    /// # Errors
    /// [`RootError::Unusable`] if not.
    pub fn usable(&self) -> Result<(), RootError> {
        let met = |role: &RoleKeys| {
            let distinct: std::collections::BTreeSet<[u8; 32]> = role.keys.iter().map(|key| key.0).collect();
            role.threshold > 0 && distinct.len() >= usize::from(role.threshold)
        };
        let all = [&self.root, &self.command, &self.approver].into_iter().all(met);
        // Who holds the command key must not be able to stand in for an approver.
        let apart = self.approver.keys.iter().all(|key| !self.command.keys.contains(key));
        if self.v == crate::VERSION && all && apart { Ok(()) } else { Err(RootError::Unusable) }
    }
}

/// Why root metadata is not to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    /// It is not the document that the ticket names.
    #[error("the server's keys are not the ones the enrolment code names")]
    NotTheOneNamed,
    /// Its envelope is wrong.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// It is another organisation's.
    #[error("the keys are another organisation's")]
    OtherOrganisation,
    /// It does not follow the one before it.
    #[error("root {version} does not follow root {known}")]
    NotTheNext {
        /// Its version.
        version: u32,
        /// The version it would have to follow.
        known: u32,
    },
    /// More than [`MAX_ROOTS`] at once.
    #[error("too many roots at once")]
    TooMany,
    /// The last one has expired.
    #[error("the organisation's keys have expired, a new root must be signed")]
    Expired,
    /// A role could never be met, or the server's key would count as an approver's.
    #[error(
        "each role needs at least one signature and a key for each of them, and no key may have two roles"
    )]
    Unusable,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use ed25519_dalek::SigningKey;
    use proptest::prelude::*;

    pub(crate) fn key(n: u8) -> SigningKey {
        SigningKey::from_bytes(&[n; 32])
    }

    pub(crate) fn role(threshold: u8, keys: &[u8]) -> RoleKeys {
        let keys = keys.iter().map(|n| PublicKey(key(*n).verifying_key().to_bytes())).collect();
        RoleKeys { threshold, keys }
    }

    /// Root keys 10 and 11 (two needed), command key 1, approvers 2 and 3 (two needed).
    pub(crate) fn root() -> Root {
        Root {
            v: 1,
            org: [9; 16],
            version: 1,
            expires_ms: 1_000_000,
            root: role(2, &[10, 11]),
            command: role(1, &[1]),
            approver: role(2, &[2, 3]),
            release_key: [0; 32],
            recovery_key: [0; 32],
            rescue_key: [0; 32],
            pins: vec![],
            url: None,
        }
    }

    pub(crate) fn signed(root: &Root, keys: &[u8]) -> Vec<u8> {
        let keys: Vec<SigningKey> = keys.iter().map(|n| key(*n)).collect();
        Envelope::sign(Domain::Root, root.to_bytes(), &keys.iter().collect::<Vec<_>>()).to_bytes()
    }

    pub(crate) fn next(change: impl FnOnce(&mut Root)) -> Root {
        let mut next = Root { version: 2, ..root() };
        change(&mut next);
        next
    }

    fn follow(chain: &[Vec<u8>]) -> Result<Option<Root>, RootError> {
        let now = DateTime::from_timestamp_millis(500_000).unwrap_or_default();
        Ok(root().follow(chain, now)?.map(|(root, _)| root))
    }

    #[test]
    fn server_key_alone_cannot_change_root() {
        let new = next(|root| root.approver = role(1, &[1]));
        assert!(matches!(follow(&[signed(&new, &[1])]), Err(RootError::Envelope(_))));
        assert!(matches!(follow(&[signed(&new, &[10])]), Err(RootError::Envelope(_))));
        assert_eq!(follow(&[signed(&new, &[10, 11])]), Err(RootError::Unusable));
    }

    #[test]
    fn a_root_needs_the_old_keys_and_the_new_ones() -> Result<(), RootError> {
        let new = next(|root| root.root = role(2, &[20, 21]));
        assert!(follow(&[signed(&new, &[10, 11])]).is_err());
        assert!(follow(&[signed(&new, &[20, 21])]).is_err());
        assert_eq!(follow(&[signed(&new, &[10, 11, 20, 21])])?, Some(new));
        Ok(())
    }

    #[test]
    fn a_root_follows_by_exactly_one_and_all_of_a_chain_or_none() -> Result<(), RootError> {
        let (two, three) = (next(|_| {}), next(|root| root.version = 3));
        let both = [10, 11];
        assert_eq!(follow(&[signed(&three, &both)]), Err(RootError::NotTheNext { version: 3, known: 1 }));
        assert_eq!(follow(&[signed(&root(), &both)]), Err(RootError::NotTheNext { version: 1, known: 1 }));
        assert!(follow(&[signed(&two, &both), signed(&three, &[10])]).is_err());
        assert_eq!(follow(&[signed(&two, &both), signed(&three, &both)])?, Some(three));
        assert_eq!(follow(&[])?, None);
        Ok(())
    }

    #[test]
    fn a_chain_may_lead_through_an_expired_root_but_not_end_in_one() -> Result<(), RootError> {
        let old = next(|root| root.expires_ms = 1);
        let fresh = next(|root| root.version = 3);
        let both = [10, 11];
        assert_eq!(follow(&[signed(&old, &both)]), Err(RootError::Expired));
        assert_eq!(follow(&[signed(&old, &both), signed(&fresh, &both)])?, Some(fresh));
        Ok(())
    }

    #[test]
    fn roles_that_nobody_can_meet_are_refused() {
        for change in [
            (|root: &mut Root| root.approver = role(0, &[2, 3])) as fn(&mut Root),
            |root| root.approver = role(2, &[2, 2]),
            |root| root.root = role(3, &[10, 11]),
            |root| root.org = [8; 16],
        ] {
            let refused = follow(&[signed(&next(change), &[10, 11])]);
            assert!(refused.is_err(), "{refused:?}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = follow(&[bytes]);
        }
    }
}
