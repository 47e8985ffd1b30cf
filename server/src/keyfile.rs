//! Files that hold one private key of a person or of the organisation: the keys that the server does not keep.
//!
//! ```text
//! roundsman approver key v1
//! name: Ana
//! public: 3q2-7w…
//! seed: kZ1X…
//! ```
//!
//! `public` and `seed` are 32 bytes in base64url. Root and approver keys are Ed25519 (RFC 8032); rescue and recovery
//! keys are X25519, derived from the seed as HPKE says (RFC 9180, DeriveKeyPair).

use crate::random::{self, NoEntropy};
use crate::tls::write_private;
use ed25519_dalek::SigningKey;
use roundsman_protocol::envelope::{Domain, Envelope};
use roundsman_protocol::keys::KeyId;
use roundsman_protocol::root::PublicKey;
use roundsman_protocol::{b64, hpke_seal};
use std::io;
use std::path::Path;
use zeroize::Zeroizing;

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// Signs the next root.
    Root,
    /// Signs wipes.
    Approver,
    /// Opens the unsent work of devices.
    Rescue,
    /// Opens the release shares of devices if the server is lost.
    Recovery,
}

impl KeyKind {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Root, "root"),
        (Self::Approver, "approver"),
        (Self::Rescue, "rescue"),
        (Self::Recovery, "recovery"),
    ];

    /// The word in the file's first line.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }
}

/// Why a key file can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The file can't be read or written; one that is there already is never written over.
    #[error("the key file can't be read or written")]
    File(#[from] io::Error),
    /// It is not a key file of this version.
    #[error("this is not a key file: its first line must be \"roundsman <what> key v1\"")]
    NotAKeyFile,
    /// The public key and the seed don't belong together.
    #[error("the key file is damaged; use another copy of it")]
    Damaged,
    /// It is another sort of key.
    #[error("the {needed} key is needed here, and this is the {found} key")]
    OtherKind {
        /// The sort in the file.
        found: &'static str,
        /// The sort that is needed.
        needed: &'static str,
    },
    /// Its holder's name is empty, too long or has a line break.
    #[error("give a name of at most 100 characters")]
    Name,
    /// No random numbers.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
}

/// A private key with its holder's name.
pub struct KeyFile {
    kind: KeyKind,
    name: String,
    seed: Zeroizing<[u8; 32]>,
}

impl KeyFile {
    /// Makes a key.
    ///
    /// # Errors
    /// The name can't be one, or there are no random numbers.
    pub fn generate(kind: KeyKind, name: &str) -> Result<Self, KeyFileError> {
        let name = name.trim();
        if name.is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
            return Err(KeyFileError::Name);
        }
        Ok(Self { kind, name: name.to_owned(), seed: Zeroizing::new(random::bytes()?) })
    }

    /// What the key is for.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Whose it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(match self.kind {
            KeyKind::Root | KeyKind::Approver => self.signing().verifying_key().to_bytes(),
            KeyKind::Rescue | KeyKind::Recovery => hpke_seal::key_pair(&self.seed).1,
        })
    }

    /// The public half's name.
    pub fn id(&self) -> KeyId {
        KeyId::of(&self.public().0)
    }

    /// Signs a document's payload. For root and approver keys.
    ///
    /// # Errors
    /// [`KeyFileError::OtherKind`] for a key that does not sign.
    pub fn sign(&self, domain: Domain, payload: &[u8]) -> Result<[u8; 64], KeyFileError> {
        let needed = match domain {
            Domain::Root => KeyKind::Root,
            _ => KeyKind::Approver,
        };
        self.expect(needed)?;
        let envelope = Envelope::sign(domain, payload.to_vec(), &[&self.signing()]);
        envelope.signatures.first().map(|signed| signed.signature).ok_or(KeyFileError::Damaged)
    }

    /// The private X25519 key. For rescue and recovery keys.
    ///
    /// # Errors
    /// [`KeyFileError::OtherKind`] for a key that does not open anything.
    pub fn opening_key(&self) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
        match self.kind {
            KeyKind::Rescue | KeyKind::Recovery => Ok(hpke_seal::key_pair(&self.seed).0),
            KeyKind::Root | KeyKind::Approver => {
                Err(KeyFileError::OtherKind { found: self.kind.name(), needed: "rescue or recovery" })
            }
        }
    }

    /// Makes sure that this is the sort of key that is needed.
    ///
    /// # Errors
    /// [`KeyFileError::OtherKind`] if it is not.
    pub fn expect(&self, needed: KeyKind) -> Result<(), KeyFileError> {
        if self.kind == needed {
            return Ok(());
        }
        Err(KeyFileError::OtherKind { found: self.kind.name(), needed: needed.name() })
    }

    /// The same key again, on purpose.
    pub fn duplicate(&self) -> Self {
        Self { kind: self.kind, name: self.name.clone(), seed: self.seed.clone() }
    }

    /// The text of the file.
    pub fn to_text(&self) -> Zeroizing<String> {
        let seed = Zeroizing::new(b64::encode(self.seed.as_slice()));
        let (kind, public) = (self.kind.name(), b64::encode(self.public().0));
        Zeroizing::new(format!(
            "roundsman {kind} key v1\nname: {}\npublic: {public}\nseed: {}\n",
            self.name,
            seed.as_str()
        ))
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// It is not a key file, or its halves don't fit.
    pub fn from_text(text: &str) -> Result<Self, KeyFileError> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let first = lines.next().unwrap_or_default();
        let kind = KeyKind::ALL
            .into_iter()
            .find(|(_, name)| first == format!("roundsman {name} key v1"))
            .map(|(kind, _)| kind)
            .ok_or(KeyFileError::NotAKeyFile)?;
        let mut field = |name: &str| {
            let line = lines.next().and_then(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map(str::trim).ok_or(KeyFileError::Damaged)
        };
        let (name, public, seed) = (field("name")?, field("public")?, field("seed")?);
        let decoded = Zeroizing::new(b64::decode(seed).ok_or(KeyFileError::Damaged)?);
        let mut seed = Zeroizing::new([0; 32]);
        if decoded.len() != seed.len() {
            return Err(KeyFileError::Damaged);
        }
        seed.copy_from_slice(&decoded);
        let file = Self { kind, name: name.to_owned(), seed };
        if b64::encode(file.public().0) != public {
            return Err(KeyFileError::Damaged);
        }
        Ok(file)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// It can't be read, or is not a key file.
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        Self::from_text(&Zeroizing::new(std::fs::read_to_string(path)?))
    }

    /// Writes a new file that only its owner can read. It is on disk when this returns.
    ///
    /// # Errors
    /// It can't be written, or there is such a file already.
    pub fn write(&self, path: &Path) -> Result<(), KeyFileError> {
        Ok(write_private(path, self.to_text().as_bytes())?)
    }

    fn signing(&self) -> SigningKey {
        SigningKey::from_bytes(&self.seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::TestResult;

    #[test]
    fn a_key_is_read_back_as_it_was_written() -> TestResult {
        let dir = tempfile::tempdir()?;
        for (kind, name) in KeyKind::ALL {
            let key = KeyFile::generate(kind, "Ana Örn")?;
            let path = dir.path().join(format!("{name}.key"));
            key.write(&path)?;
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt;
                assert_eq!(std::fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
            }
            let again = KeyFile::read(&path)?;
            assert_eq!((again.kind(), again.name(), again.public()), (kind, "Ana Örn", key.public()));
            assert!(matches!(key.write(&path), Err(KeyFileError::File(_))), "never written over");
        }
        Ok(())
    }

    #[test]
    fn a_damaged_or_foreign_file_is_no_key() -> TestResult {
        let text = KeyFile::generate(KeyKind::Approver, "Ana")?.to_text();
        let other = KeyFile::generate(KeyKind::Approver, "Ana")?.to_text();
        let swapped: Vec<&str> = text.lines().take(3).chain(other.lines().skip(3)).collect();
        for wrong in [swapped.join("\n"), text.replace("seed", "sead"), text.replace("name: Ana\n", "")] {
            assert!(matches!(KeyFile::from_text(&wrong), Err(KeyFileError::Damaged)), "{wrong}");
        }
        for wrong in ["", "-----BEGIN PRIVATE KEY-----", "roundsman approver key v2"] {
            assert!(matches!(KeyFile::from_text(wrong), Err(KeyFileError::NotAKeyFile)), "{wrong}");
        }
        Ok(())
    }

    #[test]
    fn each_key_does_its_own_work_only() -> TestResult {
        let (root, approver) =
            (KeyFile::generate(KeyKind::Root, "r")?, KeyFile::generate(KeyKind::Approver, "a")?);
        assert!(root.sign(Domain::Root, b"x").is_ok() && root.sign(Domain::WipeOrder, b"x").is_err());
        assert!(approver.sign(Domain::WipeOrder, b"x").is_ok() && approver.sign(Domain::Root, b"x").is_err());
        assert!(approver.opening_key().is_err() && root.opening_key().is_err());
        let rescue = KeyFile::generate(KeyKind::Rescue, "r")?;
        assert_eq!(hpke_seal::key_pair(&rescue.seed).0, rescue.opening_key()?);
        Ok(())
    }
}
