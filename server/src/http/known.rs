//! Tokens that were good lately: who brings one is no stranger, and the storage need not be asked twice.

use roundsman_protocol::keys::DeviceKey;
use roundsman_protocol::sha256;
use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The most that are remembered in one of two generations. One that is forgotten is asked for again.
const MAX_REMEMBERED: usize = 50_000;

/// Hashes of tokens with the keys that they were given to. Whether one still holds is for the storage to say.
#[derive(Default)]
pub(super) struct KnownTokens(Mutex<Generations>);

#[derive(Default)]
struct Generations {
    young: HashSet<[u8; 32]>,
    old: HashSet<[u8; 32]>,
}

impl KnownTokens {
    /// Whether this token was good when it came with this key.
    pub(super) fn has(&self, key: &DeviceKey, token: &str) -> bool {
        let (name, known) = (name(key, token), self.open());
        known.young.contains(&name) || known.old.contains(&name)
    }

    /// It was.
    pub(super) fn remember(&self, key: &DeviceKey, token: &str) {
        let mut known = self.open();
        if known.young.len() >= MAX_REMEMBERED {
            known.old = std::mem::take(&mut known.young);
        }
        known.young.insert(name(key, token));
    }

    fn open(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(key: &DeviceKey, token: &str) -> [u8; 32] {
    sha256(&[&key.thumbprint().0, token.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use p256::ecdsa::SigningKey;

    #[test]
    fn a_token_is_known_with_its_own_key_only_and_two_generations_are_kept()
    -> Result<(), Box<dyn std::error::Error>> {
        let tokens = KnownTokens::default();
        let key = |n| -> Result<DeviceKey, Box<dyn std::error::Error>> {
            let key = SigningKey::from_slice(&[n; 32])?;
            Ok(DeviceKey::from_sec1(key.verifying_key().to_sec1_point(false).as_bytes())?)
        };
        let (one, other) = (key(1)?, key(2)?);
        tokens.remember(&one, "a");
        assert_eq!(
            [tokens.has(&one, "a"), tokens.has(&other, "a"), tokens.has(&one, "b")],
            [true, false, false]
        );
        for n in 0..2 * MAX_REMEMBERED {
            tokens.remember(&other, &n.to_string());
        }
        assert!(!tokens.has(&one, "a"));
        Ok(())
    }
}
