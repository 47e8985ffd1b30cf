//! The organisation's keys.
//!
//! The server can use the `command` key (lock, unlock, escrow receipts) and the release key (opens escrowed
//! shares) by itself. The `root` and `approver` keys are sealed under the first administrator's password: a
//! server that was broken into can't sign a wipe.

use crate::Secret;
use crate::password::{PasswordError, SealedUnderPassword};
use crate::random;
use crate::storage::{PeopleRead, PeopleWrite, StorageError};
use chrono::{DateTime, TimeDelta, Utc};
use ed25519_dalek::SigningKey;
use roundsman_model::OrgId;
use roundsman_protocol::envelope::{Domain, Envelope};
use roundsman_protocol::root::{PublicKey, RoleKeys, Root};
use roundsman_protocol::{VERSION, hpke_seal, sha256};
use uuid::Uuid;
use zeroize::Zeroizing;

/// How long a root holds before it should be replaced.
const ROOT_DAYS: i64 = 365;

/// Keys the running server holds.
pub(crate) struct OrgKeys {
    pub(crate) org_name: String,
    /// The root metadata's envelope, as devices get it.
    pub(crate) root_envelope: Vec<u8>,
    pub(crate) root: Root,
    pub(crate) command: SigningKey,
    pub(crate) release: Zeroizing<[u8; 32]>,
    /// Derives the successor of a refresh token.
    pub(crate) token_secret: Zeroizing<[u8; 32]>,
}

/// Why the keys can't be made or used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The password, or the random numbers.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The storage.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// They can't be read back.
    #[error("the organisation's keys can't be read; restore the data folder")]
    Damaged,
}

impl From<random::NoEntropy> for KeysError {
    fn from(error: random::NoEntropy) -> Self {
        Self::Password(error.into())
    }
}

impl OrgKeys {
    /// Makes an organisation's keys and its first root, and stores them.
    pub(crate) fn create(
        tx: &mut (impl PeopleWrite + ?Sized),
        org_name: &str,
        password: &Secret,
        now: DateTime<Utc>,
    ) -> Result<(), KeysError> {
        let seed = || random::bytes::<32>().map(Zeroizing::new);
        let (root_seed, approver_seed, command_seed) = (seed()?, seed()?, seed()?);
        let [root_key, approver, command] =
            [&root_seed, &approver_seed, &command_seed].map(|seed| SigningKey::from_bytes(seed));
        let (release_private, release_public) = hpke_seal::key_pair(&*seed()?);
        let one = |key: &SigningKey| RoleKeys {
            threshold: 1,
            keys: vec![PublicKey(key.verifying_key().to_bytes())],
        };
        let root = Root {
            v: VERSION,
            org: *Uuid::now_v7().as_bytes(),
            version: 1,
            expires_ms: (now + TimeDelta::days(ROOT_DAYS)).timestamp_millis(),
            root: one(&root_key),
            command: one(&command),
            approver: one(&approver),
            release_key: release_public,
        };
        let envelope = Envelope::sign(Domain::Root, root.to_bytes(), &[&root_key]).to_bytes();
        for (name, seed) in [("root_key", &root_seed), ("approver_key", &approver_seed)] {
            let sealed = SealedUnderPassword::seal(password, seed.as_slice())?;
            tx.set_setting(name, &serde_json::to_vec(&sealed).map_err(|_| KeysError::Damaged)?)?;
        }
        tx.set_setting("command_key", command_seed.as_slice())?;
        tx.set_setting("release_key", release_private.as_slice())?;
        tx.set_setting("token_secret", seed()?.as_slice())?;
        tx.set_setting("root", &envelope)?;
        tx.set_setting("org_name", org_name.as_bytes())?;
        Ok(())
    }

    /// Reads the keys; `None` before the first start.
    pub(crate) fn load(tx: &(impl PeopleRead + ?Sized)) -> Result<Option<Self>, KeysError> {
        let Some(root_envelope) = tx.setting("root")? else { return Ok(None) };
        let root =
            Root::open_first(&root_envelope, &sha256(&[&root_envelope])).map_err(|_| KeysError::Damaged)?;
        let command = SigningKey::from_bytes(&*secret(tx, "command_key")?);
        let name = tx.setting("org_name")?.ok_or(KeysError::Damaged)?;
        Ok(Some(Self {
            org_name: String::from_utf8_lossy(&name).into_owned(),
            root_envelope: root_envelope.to_vec(),
            root,
            command,
            release: secret(tx, "release_key")?,
            token_secret: secret(tx, "token_secret")?,
        }))
    }

    pub(crate) fn org(&self) -> OrgId {
        self.root.org()
    }

    /// The key that signs wipes, opened with the approval password.
    pub(crate) fn approver(
        tx: &(impl PeopleRead + ?Sized),
        password: &Secret,
    ) -> Result<SigningKey, KeysError> {
        let sealed = tx.setting("approver_key")?.ok_or(KeysError::Damaged)?;
        let sealed: SealedUnderPassword = serde_json::from_slice(&sealed).map_err(|_| KeysError::Damaged)?;
        let seed: Zeroizing<Vec<u8>> = sealed.open(password)?;
        let seed: &[u8; 32] = seed.as_slice().try_into().map_err(|_| KeysError::Damaged)?;
        Ok(SigningKey::from_bytes(seed))
    }
}

fn secret(tx: &(impl PeopleRead + ?Sized), name: &str) -> Result<Zeroizing<[u8; 32]>, KeysError> {
    let bytes = tx.setting(name)?.ok_or(KeysError::Damaged)?;
    let mut secret = Zeroizing::new([0; 32]);
    if bytes.len() != secret.len() {
        return Err(KeysError::Damaged);
    }
    secret.copy_from_slice(&bytes);
    Ok(secret)
}
