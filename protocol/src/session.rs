//! A key for an hour: what a device proves its requests with when it holds an access token.
//!
//! A key in hardware takes tens of milliseconds for a signature. So the device's key signs, once an hour, a certificate
//! for a P-256 key that lives in the app's memory alone; the proofs ([`crate::dpop`]) of requests with an access token
//! are made with that one, and the certificate comes beside them in the header `dpop-session`. The certificate carries a
//! nonce of the server's, so its hour is counted by the server's clock. What has no access token (enrolment, token,
//! check-in, receipts, unsent work of a wiped device) is proven by the device's key itself.

use crate::dpop::ProofError;
use crate::jws;
use crate::keys::{DeviceKey, Thumbprint};
use serde::{Deserialize, Serialize};

/// How many seconds a certificate holds, by the server's clock, from the nonce in it.
pub const HOLDS_SECONDS: i64 = 60 * 60;

/// The name of the header that holds the certificate.
pub const HEADER: &str = "dpop-session";

/// What a certificate is, in its head: it can't be taken for a proof, nor a proof for it.
const TYPE: &str = "roundsman-session+jwt";

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The key it is for.
    pub jkt: Thumbprint,
    /// A nonce of the server's, by which it knows when this was signed.
    pub nonce: String,
}

/// Signs a certificate with the device's key. `sign` makes an ES256 signature (r ‖ s) over the message it is given.
///
/// # Errors
/// What `sign` fails with.
pub fn certify<E>(
    device: &DeviceKey,
    certificate: &Certificate,
    sign: impl FnOnce(&[u8]) -> Result<[u8; 64], E>,
) -> Result<String, E> {
    jws::sign(TYPE, device, certificate, sign)
}

/// Reads a certificate, and says which device signed it. Whether its nonce is the server's own, and of the last hour,
/// is left to the caller.
///
/// # Errors
/// It is no certificate, or not signed by the key it names.
pub fn verify(text: &str) -> Result<(DeviceKey, Certificate), ProofError> {
    jws::verify(TYPE, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{dpop, sha256};
    use chrono::DateTime;
    use p256::ecdsa::signature::hazmat::PrehashSigner;
    use p256::ecdsa::{Signature, SigningKey};
    use std::error::Error;

    fn key(seed: u8) -> Result<(SigningKey, DeviceKey), Box<dyn Error>> {
        let signing = SigningKey::from_slice(&[seed; 32])?;
        let key = DeviceKey::from_sec1(signing.verifying_key().to_sec1_point(false).as_ref())?;
        Ok((signing, key))
    }

    fn es256(key: &SigningKey, message: &[u8]) -> Result<[u8; 64], p256::ecdsa::Error> {
        let signature: Signature = key.sign_prehash(&sha256(&[message]))?;
        Ok(signature.to_bytes().into())
    }

    #[test]
    fn a_certificate_names_its_device_and_a_changed_one_is_noticed() -> Result<(), Box<dyn Error>> {
        let ((signing, device), (_, other)) = (key(5)?, key(6)?);
        let certificate = Certificate { jkt: other.thumbprint(), nonce: "n".into() };
        let text = certify(&device, &certificate, |message| es256(&signing, message))?;
        assert_eq!(verify(&text)?, (device, certificate));
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            // The last character of a base64 part has bits that do not count.
            if verify(&String::from_utf8(changed)?).is_ok() {
                assert_eq!(at, text.len() - 1);
            }
        }
        Ok(())
    }

    #[test]
    fn neither_is_a_proof_a_certificate_nor_a_certificate_a_proof() -> Result<(), Box<dyn Error>> {
        let (signing, device) = key(5)?;
        let certificate = Certificate { jkt: device.thumbprint(), nonce: "n".into() };
        let text = certify(&device, &certificate, |message| es256(&signing, message))?;
        assert_eq!(dpop::verify(&text, "POST", "https://example", None).err(), Some(ProofError::Malformed));
        let claims = dpop::claims([1; 16], "POST", "https://example", DateTime::default(), None, Some("n"));
        let proof = dpop::prove(&device, &claims, |message| es256(&signing, message))?;
        assert_eq!(verify(&proof).err(), Some(ProofError::Malformed));
        Ok(())
    }
}
