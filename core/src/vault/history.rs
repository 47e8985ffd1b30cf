//! The passcodes before this one, as hashes that are kept inside the encrypted database.

use super::keys::stretch;
use super::{KdfCost, Passcode, VaultError};
use crate::platform::Entropy;
use serde::{Deserialize, Serialize};
use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The last passcodes, oldest first. All hashes have one salt, so that one hash tells whether a passcode is among them.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub(crate) struct PasscodeHistory {
    salt: [u8; 16],
    hashes: Vec<[u8; 32]>,
}

impl PasscodeHistory {
    /// An empty history.
    pub(crate) fn begin(entropy: &dyn Entropy) -> Result<Self, VaultError> {
        Ok(Self { salt: entropy.bytes()?, hashes: Vec::new() })
    }

    /// The history that was kept; `None` if the text is none.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The text to keep, in the encrypted database and nowhere else.
    pub(crate) fn to_text(&self) -> Result<Zeroizing<String>, VaultError> {
        // Writing to memory fails only for want of memory.
        serde_json::to_string(self).map(Zeroizing::new).map_err(|_| VaultError::OutOfMemory)
    }

    /// Whether a passcode is among the last `count`.
    pub(crate) fn knows(&self, passcode: &Passcode, count: usize) -> Result<bool, VaultError> {
        let hash = self.hash(passcode)?;
        let last = self.hashes.iter().rev().take(count);
        Ok(last.fold(Choice::from(0), |known, kept| known | hash.ct_eq(kept)).into())
    }

    /// Adds a passcode as the last one, unless it is the last one already, and forgets those before the last `count`.
    pub(crate) fn add(&mut self, passcode: &Passcode, count: usize) -> Result<(), VaultError> {
        let hash = self.hash(passcode)?;
        if self.hashes.last() != Some(&*hash) {
            // Room from the start: a list that grows would leave copies.
            let mut hashes = Vec::with_capacity(count + 1);
            let first = (self.hashes.len() + 1).saturating_sub(count);
            hashes.extend_from_slice(self.hashes.get(first..).unwrap_or_default());
            hashes.push(*hash);
            self.hashes.zeroize();
            self.hashes = hashes;
        }
        Ok(())
    }

    /// The least cost will do: whoever has the hashes has what the passcode guards.
    fn hash(&self, passcode: &Passcode) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        stretch(passcode, &self.salt, KdfCost::FLOOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::OsEntropy;

    #[test]
    fn the_last_five_are_known_and_the_sixth_is_forgotten() -> Result<(), Box<dyn std::error::Error>> {
        let passcode = |n: usize| Passcode::new(&format!("red kayak {n}"));
        let mut history = PasscodeHistory::begin(&OsEntropy)?;
        for n in 0..6 {
            assert!(!history.knows(&passcode(n)?, 5)?);
            history.add(&passcode(n)?, 5)?;
            history.add(&passcode(n)?, 5)?;
        }
        let history = PasscodeHistory::from_text(&history.to_text()?).ok_or("not read back")?;
        for n in 0..6 {
            assert_eq!(history.knows(&passcode(n)?, 5)?, n > 0, "{n}");
        }
        assert!(PasscodeHistory::from_text("[]").is_none());
        Ok(())
    }
}
