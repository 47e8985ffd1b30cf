//! Randomness.

use uuid::Uuid;
use zeroize::Zeroizing;

/// The source of randomness failed. Nothing that needed it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct EntropyError;

/// Gives random bytes fit for keys.
pub trait Entropy: Send + Sync {
    /// Fills `out`.
    ///
    /// # Errors
    /// [`EntropyError`] if the source fails; `out` must not be used then.
    fn fill(&self, out: &mut [u8]) -> Result<(), EntropyError>;
}

/// The operating system's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, out: &mut [u8]) -> Result<(), EntropyError> {
        getrandom::fill(out).map_err(|_| EntropyError)
    }
}

impl dyn Entropy + '_ {
    /// Random bytes that are no secret: ids, nonces, salts.
    ///
    /// # Errors
    /// [`EntropyError`] if the source fails.
    pub fn bytes<const N: usize>(&self) -> Result<[u8; N], EntropyError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// Random bytes that are a secret.
    ///
    /// # Errors
    /// [`EntropyError`] if the source fails.
    pub fn secret<const N: usize>(&self) -> Result<Zeroizing<[u8; N]>, EntropyError> {
        let mut bytes = Zeroizing::new([0; N]);
        self.fill(bytes.as_mut_slice())?;
        Ok(bytes)
    }

    /// A UUIDv7 (RFC 9562 section 5.7) for this time.
    ///
    /// # Errors
    /// [`EntropyError`] if the source fails.
    pub fn uuid(&self, now: chrono::DateTime<chrono::Utc>) -> Result<Uuid, EntropyError> {
        let millis = now.timestamp_millis().max(0) as u64;
        Ok(uuid::Builder::from_unix_timestamp_millis(millis, &self.bytes()?).into_uuid())
    }
}
