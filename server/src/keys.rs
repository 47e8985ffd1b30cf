//! The organisation's keys.
//!
//! The server holds the `command` key (locks, unlocks, leases, policies, escrow receipts) and the release key (opens
//! escrowed shares). The root, approver, rescue and recovery keys are people's: they are made at the first start,
//! handed over as files, and not kept. A server that was broken into can't order a wipe, name other approvers or
//! read unsent work.

use crate::keyfile::{KeyFile, KeyFileError, KeyKind};
use crate::random;
use crate::storage::{PeopleRead, PeopleWrite, ReadTx, StorageError, WriteTx};
use chrono::{DateTime, TimeDelta, Utc};
use ed25519_dalek::SigningKey;
use roundsman_model::OrgId;
use roundsman_protocol::envelope::{Domain, Envelope, KeySignature};
use roundsman_protocol::policy::Policy;
use roundsman_protocol::root::{PublicKey, RoleKeys, Root};
use roundsman_protocol::{VERSION, hpke_seal, sha256};
use std::path::Path;
use zeroize::Zeroizing;

/// How long a root holds before it should be replaced.
pub(crate) const ROOT_DAYS: i64 = 365;

/// The setting with the seed of the key that signs commands.
const COMMAND_KEY: &str = "command_key";

/// The setting with the seed of the key that is to follow it once a root names it.
const NEXT_COMMAND_KEY: &str = "command_key_next";

/// The folder for the first keys, inside the data folder.
pub(crate) const KEEP_OFFLINE: &str = "keep-offline";

/// Keys the running server holds.
pub(crate) struct OrgKeys {
    /// The present root's envelope, as devices get it.
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
    /// A key file.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// No random numbers.
    #[error(transparent)]
    Entropy(#[from] random::NoEntropy),
    /// The storage.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// They can't be read back.
    #[error("the organisation's keys can't be read; restore the data folder")]
    Damaged,
}

impl From<KeysError> for StorageError {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::Storage(error) => error,
            KeysError::File(_) | KeysError::Entropy(_) | KeysError::Damaged => Self::Damaged("root or key"),
        }
    }
}

/// The keys that are made at a server's first start for people to keep. The server does not hold them.
pub struct FirstKeys {
    /// Signs the next root, and so decides who approves.
    pub root: KeyFile,
    /// Signs wipes: the first administrator's.
    pub approver: KeyFile,
    /// Opens the unsent work of devices.
    pub rescue: KeyFile,
    /// Opens the release shares of devices if the server is lost.
    pub recovery: KeyFile,
}

impl FirstKeys {
    /// Makes the keys and writes them into a folder, each to a new file. Takes those that lie there already: a
    /// start that was cut off before the server knew them has left them.
    pub(crate) fn make(folder: &Path, approver: &str) -> Result<Self, KeysError> {
        let key = |kind, name: &str, file: &str| {
            let path = folder.join(file);
            if path.exists() {
                let key = KeyFile::read(&path)?;
                return key.expect(kind).map(|()| key);
            }
            let key = KeyFile::generate(kind, name)?;
            key.write(&path).map(|()| key)
        };
        let approver: String = approver.trim().chars().take(100).collect();
        Ok(Self {
            root: key(KeyKind::Root, "first root key", "root.key")?,
            approver: key(KeyKind::Approver, &approver, &approver_file(&approver))?,
            rescue: key(KeyKind::Rescue, "first rescue key", "rescue.key")?,
            recovery: key(KeyKind::Recovery, "first recovery key", "recovery.key")?,
        })
    }
}

/// The name of the file for this person's approver key: `approver-ana-lee.key`.
pub(crate) fn approver_file(name: &str) -> String {
    let word: String =
        name.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect::<String>().to_lowercase();
    format!("approver-{word}.key")
}

impl OrgKeys {
    /// Makes the keys the server holds, the first root and the first policy, and stores them.
    pub(crate) fn create(
        tx: &mut dyn WriteTx,
        org_name: &str,
        first: &FirstKeys,
        now: DateTime<Utc>,
    ) -> Result<(), KeysError> {
        let seed = || random::bytes::<32>().map(Zeroizing::new);
        let command_seed = seed()?;
        let (release_private, release_public) = hpke_seal::key_pair(&*seed()?);
        let one = |key: PublicKey| RoleKeys { threshold: 1, keys: vec![key] };
        let root = Root {
            v: VERSION,
            org: *random::uuid().as_bytes(),
            version: 1,
            expires_ms: (now + TimeDelta::days(ROOT_DAYS)).timestamp_millis(),
            root: one(first.root.public()),
            command: one(public_of(&command_seed)),
            approver: one(first.approver.public()),
            release_key: release_public,
            recovery_key: first.recovery.public().0,
            rescue_key: first.rescue.public().0,
            pins: vec![],
            url: None,
        };
        let payload = root.to_bytes();
        let signature = first.root.sign(Domain::Root, &payload)?;
        let signatures = vec![KeySignature { key: first.root.id(), signature }];
        let envelope = Envelope { payload, signatures }.to_bytes();
        tx.add_root(root.version, &envelope, now.timestamp_millis())?;
        tx.put_approver(&first.approver.public(), first.approver.name())?;
        tx.set_setting(COMMAND_KEY, command_seed.as_slice())?;
        tx.set_setting("release_key", release_private.as_slice())?;
        tx.set_setting("token_secret", seed()?.as_slice())?;
        tx.set_setting("org_name", org_name.as_bytes())?;
        let policy = Policy { org: root.org, version: 1, ..Policy::default() };
        tx.add_policy(&policy, crate::Admin::OPERATOR, now.timestamp_millis())?;
        Ok(())
    }

    /// Reads the keys; `None` before the first start.
    pub(crate) fn load(tx: &(impl ReadTx + ?Sized)) -> Result<Option<Self>, KeysError> {
        let Some(version) = tx.root_version()? else { return Ok(None) };
        let newest = tx.roots_after(version.saturating_sub(1), 1)?;
        let root_envelope = newest.into_iter().next().ok_or(KeysError::Damaged)?;
        let root =
            Root::open_first(&root_envelope, &sha256(&[&root_envelope])).map_err(|_| KeysError::Damaged)?;
        Ok(Some(Self {
            root_envelope,
            root,
            command: SigningKey::from_bytes(&*secret(tx, COMMAND_KEY)?),
            release: secret(tx, "release_key")?,
            token_secret: secret(tx, "token_secret")?,
        }))
    }

    pub(crate) fn org(&self) -> OrgId {
        self.root.org()
    }

    /// Signs a document with the key that signs commands.
    pub(crate) fn sign(&self, domain: Domain, payload: Vec<u8>) -> Vec<u8> {
        Envelope::sign(domain, payload, &[&self.command]).to_bytes()
    }

    /// The public half of the key that signs commands.
    pub(crate) fn command_public(&self) -> PublicKey {
        PublicKey(self.command.verifying_key().to_bytes())
    }
}

/// The organisation's name.
pub(crate) fn org_name(tx: &(impl PeopleRead + ?Sized)) -> Result<String, KeysError> {
    let name = tx.setting("org_name")?.ok_or(KeysError::Damaged)?;
    Ok(String::from_utf8_lossy(&name).into_owned())
}

/// The key that is to sign commands after the next root: the one that was made before and no root has named yet, or
/// a new one.
pub(crate) fn next_command_key(
    tx: &mut (impl PeopleRead + PeopleWrite + ?Sized),
) -> Result<PublicKey, KeysError> {
    if tx.setting(NEXT_COMMAND_KEY)?.is_none_or(|seed| seed.is_empty()) {
        tx.set_setting(NEXT_COMMAND_KEY, Zeroizing::new(random::bytes::<32>()?).as_slice())?;
    }
    Ok(public_of(&*secret(tx, NEXT_COMMAND_KEY)?))
}

/// Signs with whichever of the server's keys the new root names from now on. False if it names none of them.
pub(crate) fn adopt_command_key(
    tx: &mut (impl PeopleRead + PeopleWrite + ?Sized),
    keys: &OrgKeys,
    next: &Root,
) -> Result<bool, KeysError> {
    let waiting = match tx.setting(NEXT_COMMAND_KEY)? {
        Some(seed) if !seed.is_empty() => Some(secret(tx, NEXT_COMMAND_KEY)?),
        _ => None,
    };
    if let Some(seed) = waiting.filter(|seed| next.command.keys.contains(&public_of(seed))) {
        tx.set_setting(COMMAND_KEY, seed.as_slice())?;
        tx.set_setting(NEXT_COMMAND_KEY, &[])?;
        return Ok(true);
    }
    Ok(next.command.keys.contains(&keys.command_public()))
}

fn public_of(seed: &[u8; 32]) -> PublicKey {
    PublicKey(SigningKey::from_bytes(seed).verifying_key().to_bytes())
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
