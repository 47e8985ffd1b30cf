//! A vault in a temporary folder, of an organisation whose keys are at hand.

use super::{KdfCost, Passcode, Profile, Seams, Vault, VaultError};
use crate::platform::{OsEntropy, RealDisk, SoftwareKeys, SystemClock};
use ed25519_dalek::SigningKey;
use roundsman_model::{DeviceId, OrgId, UserId};
use roundsman_protocol::envelope::{Domain, Envelope};
use roundsman_protocol::hpke_seal;
use roundsman_protocol::policy::Policy;
use roundsman_protocol::root::{PublicKey, RoleKeys, Root};
use std::sync::Arc;
use tempfile::TempDir;
use uuid::Uuid;

pub(super) type Outcome = Result<(), Box<dyn std::error::Error>>;

const ORG: Uuid = Uuid::from_u128(9);

/// What survives a restart.
pub(super) struct Bench {
    root: TempDir,
}

impl Bench {
    /// A vault with this passcode.
    pub(super) fn enrolled(passcode: &Passcode) -> Result<Self, Box<dyn std::error::Error>> {
        let bench = Self { root: tempfile::tempdir()? };
        let vault = bench.start(Some(KdfCost::FLOOR))?;
        vault.create(profile(), passcode, |_| Ok::<_, VaultError>(()))?;
        Ok(bench)
    }

    pub(super) fn start(&self, cost: Option<KdfCost>) -> Result<Vault, VaultError> {
        let keys = SoftwareKeys::new(self.root.path().join("keys"), Arc::new(OsEntropy));
        let seams = Seams {
            keys: Arc::new(keys),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(OsEntropy),
            disk: Arc::new(RealDisk),
            cost,
        };
        Vault::at(self.root.path().join("vault"), seams)
    }
}

fn server() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn profile() -> Profile {
    let people = SigningKey::from_bytes(&[2; 32]);
    let role =
        |key: &SigningKey| RoleKeys { threshold: 1, keys: vec![PublicKey(key.verifying_key().to_bytes())] };
    let key = |n| hpke_seal::key_pair(&[n; 32]).1;
    let root = Root {
        v: 1,
        org: *ORG.as_bytes(),
        version: 1,
        expires_ms: 0,
        root: role(&people),
        command: role(&server()),
        approver: role(&people),
        release_key: key(3),
        recovery_key: key(4),
        rescue_key: key(5),
        pins: vec![],
        url: None,
    };
    Profile {
        device: DeviceId(Uuid::from_u128(7)),
        org: OrgId(ORG),
        user: UserId(Uuid::from_u128(11)),
        user_name: "Ana".to_owned(),
        org_name: "Garden State Snacks".to_owned(),
        url: "https://roundsman.example".to_owned(),
        pins: vec![],
        root: Envelope::sign(Domain::Root, root.to_bytes(), &[&people]).to_bytes(),
    }
}

/// Puts a policy of the organisation in force.
pub(super) fn enforce(vault: &Vault, policy: Policy) -> Result<(), VaultError> {
    let policy = Policy { org: *ORG.as_bytes(), version: 1, ..policy };
    let envelope = Envelope::sign(Domain::Policy, policy.to_bytes(), &[&server()]).to_bytes();
    vault.update(|record| record.policy = Some(envelope.into()))
}
