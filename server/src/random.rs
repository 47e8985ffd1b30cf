//! Randomness from the operating system.

use uuid::Uuid;
use zeroize::Zeroizing;

/// The operating system gave no random numbers.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct NoEntropy;

/// Fresh random bytes.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], NoEntropy> {
    let mut bytes = [0; N];
    #[cfg(feature = "simulation")]
    if crate::simulation::fill(&mut bytes) {
        return Ok(bytes);
    }
    getrandom::fill(&mut bytes).map_err(|_| NoEntropy)?;
    Ok(bytes)
}

/// A fresh id: a UUIDv7 (RFC 9562 section 5.7) of this moment.
pub(crate) fn uuid() -> Uuid {
    #[cfg(feature = "simulation")]
    if let Some(id) = crate::simulation::uuid() {
        return id;
    }
    Uuid::now_v7()
}

/// A fresh secret as text: 256 bits in base64url.
pub(crate) fn token() -> Result<String, NoEntropy> {
    Ok(roundsman_protocol::b64::encode(Zeroizing::new(bytes::<32>()?).as_slice()))
}

/// A password that people can read out: five groups of four letters and digits without look-alikes, 100 bits.
pub(crate) fn password() -> Result<String, NoEntropy> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let random = Zeroizing::new(bytes::<20>()?);
    let mut text = String::with_capacity(24);
    for (at, byte) in random.iter().enumerate() {
        if at > 0 && at % 4 == 0 {
            text.push('-');
        }
        text.push(char::from(LETTERS[usize::from(byte % 32)]));
    }
    Ok(text)
}
