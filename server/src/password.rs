//! Passwords: hashed with Argon2id (RFC 9106).

use crate::Secret;
use crate::random::{self, NoEntropy};
use argon2::{Algorithm, Argon2, Params, Version};
use roundsman_protocol::b64;
use serde::{Deserialize, Serialize};
use std::sync::{Condvar, Mutex, PoisonError};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// For signing in: OWASP's first recommendation for Argon2id, 19 MiB and two passes.
const SIGN_IN: Cost = Cost { memory_kib: 19 * 1024, passes: 2 };

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Cost {
    memory_kib: u32,
    passes: u32,
}

/// The password could not be used.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum PasswordError {
    /// It is not the right one.
    #[error("the password is wrong")]
    Wrong,
    /// The stored hash can't be read.
    #[error("the stored hash of the password can't be read")]
    Damaged,
    /// No random numbers.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
}

/// Lets only so many hash at a time: each takes tens of megabytes, which would let a flood of sign-ins exhaust
/// the memory.
pub(crate) struct Gate {
    free: Mutex<usize>,
    freed: Condvar,
}

impl Gate {
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { free: Mutex::new(cores), freed: Condvar::new() }
    }

    pub(crate) fn pass<T>(&self, work: impl FnOnce() -> T) -> T {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free == 0 {
            free = self.freed.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        drop(free);
        let done = work();
        *self.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.freed.notify_one();
        done
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    cost: Cost,
    #[serde(with = "b64")]
    salt: [u8; 16],
    #[serde(with = "b64")]
    hash: [u8; 32],
}

/// A password's hash, to store.
pub(crate) fn hash(password: &Secret) -> Result<String, PasswordError> {
    let salt = random::bytes()?;
    let hash = derive(SIGN_IN, password, &salt)?;
    serde_json::to_string(&Stored { cost: SIGN_IN, salt, hash: *hash }).map_err(|_| PasswordError::Damaged)
}

/// Checks a password against its stored hash. Without a hash, takes as long and fails, so that time does not tell
/// which accounts there are.
pub(crate) fn check(password: &Secret, stored: Option<&str>) -> Result<(), PasswordError> {
    let Some(stored) = stored else {
        derive(SIGN_IN, password, &[0; 16])?;
        return Err(PasswordError::Wrong);
    };
    let stored: Stored = serde_json::from_str(stored).map_err(|_| PasswordError::Damaged)?;
    let hash = derive(stored.cost, password, &stored.salt)?;
    if hash.ct_eq(&stored.hash).into() { Ok(()) } else { Err(PasswordError::Wrong) }
}

fn derive(cost: Cost, password: &Secret, salt: &[u8; 16]) -> Result<Zeroizing<[u8; 32]>, PasswordError> {
    let params =
        Params::new(cost.memory_kib, cost.passes, 1, Some(32)).map_err(|_| PasswordError::Damaged)?;
    let mut out = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password.expose().as_bytes(), salt, out.as_mut_slice())
        .map_err(|_| PasswordError::Damaged)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_password_passes() -> Result<(), PasswordError> {
        let stored = hash(&"correct horse battery".into())?;
        assert!(check(&"correct horse battery".into(), Some(&stored)).is_ok());
        assert!(matches!(check(&"correct horse batterz".into(), Some(&stored)), Err(PasswordError::Wrong)));
        assert!(matches!(check(&"correct horse battery".into(), None), Err(PasswordError::Wrong)));
        Ok(())
    }
}
