//! Where a demo lives, and the notebook with what its visitor must know at the next start.

use anyhow::{Context, Result};
use roundsman_core::platform::{Entropy, OsEntropy};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// The folder of a demo.
pub(super) enum Home {
    /// Kept for the next start.
    Kept(PathBuf),
    /// Removed at the end.
    Temporary(tempfile::TempDir),
}

/// What a demo's visitor must know. A demo's secrets are there to be shown.
#[derive(Serialize, Deserialize)]
pub(super) struct Notebook {
    /// The server's port; phones were told it at enrolment.
    pub(super) port: u16,
    /// The administrator's email.
    pub(super) email: String,
    /// The administrator's password.
    pub(super) password: String,
    /// The administrator's second factor.
    pub(super) totp_url: String,
}

impl Home {
    pub(super) fn at(keep: Option<PathBuf>) -> Result<Self> {
        let Some(dir) = keep else {
            let dir = tempfile::Builder::new().prefix("roundsman-demo-").tempdir();
            return Ok(Self::Temporary(dir.context("can't make a temporary folder")?));
        };
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(&dir).with_context(|| format!("can't make {}", dir.display()))?;
        Ok(Self::Kept(dir))
    }

    pub(super) fn dir(&self) -> &Path {
        match self {
            Self::Kept(dir) => dir,
            Self::Temporary(dir) => dir.path(),
        }
    }

    /// The notebook as it was kept, or a new one with a made-up password.
    pub(super) fn notebook(&self) -> Result<Notebook> {
        let file = self.dir().join("demo.json");
        if file.exists() {
            let text = fs::read(&file).with_context(|| format!("can't read {}", file.display()))?;
            return serde_json::from_slice(&text).with_context(|| format!("{} is damaged", file.display()));
        }
        Ok(Notebook {
            port: 0,
            email: "ada@meridian.example".to_owned(),
            password: password()?,
            totp_url: String::new(),
        })
    }

    pub(super) fn keep(&self, notebook: &Notebook) -> Result<()> {
        let file = self.dir().join("demo.json");
        fs::write(&file, serde_json::to_vec_pretty(notebook)?)
            .with_context(|| format!("can't write {}", file.display()))
    }
}

/// Sixteen letters that are easy to tell apart, in groups of four: 80 bits.
fn password() -> Result<String> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut password = String::new();
    let source: &dyn Entropy = &OsEntropy;
    for (at, byte) in source.bytes::<16>()?.into_iter().enumerate() {
        if at > 0 && at % 4 == 0 {
            password.push('-');
        }
        password.push(char::from(LETTERS[usize::from(byte) % LETTERS.len()]));
    }
    Ok(password)
}
