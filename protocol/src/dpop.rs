//! Proof that a request comes from the holder of a device's key: DPoP (RFC 9449) with ES256.
//!
//! The header `DPoP` holds a JWT over the request's method and address, the access token if there is one, and
//! the server's nonce. Checking here ends with the signature and the claims; that a `jti` was not seen before is
//! the server's to keep.

use crate::keys::DeviceKey;
use crate::{b64, jws, sha256};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// What a proof is, in its head.
const TYPE: &str = "dpop+jwt";

/// What a proof says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Unique; 128 random bits.
    #[serde(with = "b64")]
    pub jti: [u8; 16],
    /// The method.
    pub htm: String,
    /// The address, without query and fragment.
    pub htu: String,
    /// When, in seconds since 1970.
    pub iat: i64,
    /// SHA-256 of the access token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ath: Option<String>,
    /// The server's nonce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
}

/// Why a proof is no proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Not a DPoP proof with ES256.
    #[error("the proof can't be read")]
    Malformed,
    /// Not signed by the key it names.
    #[error("the proof is not signed by the key it names")]
    Signature,
    /// For another method or address.
    #[error("the proof is for another request")]
    OtherRequest,
    /// For another access token, or for none.
    #[error("the proof is for another token")]
    OtherToken,
}

/// Makes claims for a request.
pub fn claims(
    jti: [u8; 16],
    method: &str,
    url: &str,
    now: DateTime<Utc>,
    token: Option<&str>,
    nonce: Option<&str>,
) -> Claims {
    Claims {
        jti,
        htm: method.to_owned(),
        htu: url.to_owned(),
        iat: now.timestamp(),
        ath: token.map(token_hash),
        nonce: nonce.map(str::to_owned),
    }
}

/// Makes a proof. `sign` makes an ES256 signature (r ‖ s) over the message it is given.
///
/// # Errors
/// What `sign` fails with.
pub fn prove<E>(
    key: &DeviceKey,
    claims: &Claims,
    sign: impl FnOnce(&[u8]) -> Result<[u8; 64], E>,
) -> Result<String, E> {
    jws::sign(TYPE, key, claims, sign)
}

/// Checks a proof against the request it came with, and returns who proved and what.
///
/// # Errors
/// The first thing that is wrong. Time, nonce and `jti` are left to the caller.
pub fn verify(
    proof: &str,
    method: &str,
    url: &str,
    token: Option<&str>,
) -> Result<(DeviceKey, Claims), ProofError> {
    let (key, claims): (_, Claims) = jws::verify(TYPE, proof)?;
    if claims.htm != method || claims.htu != url {
        return Err(ProofError::OtherRequest);
    }
    if claims.ath != token.map(token_hash) {
        return Err(ProofError::OtherToken);
    }
    Ok((key, claims))
}

fn token_hash(token: &str) -> String {
    b64::encode(sha256(&[token.as_bytes()]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use p256::ecdsa::signature::hazmat::PrehashSigner;
    use p256::ecdsa::{Signature, SigningKey};

    const URL: &str = "https://example/v1/sync";

    fn proof(token: Option<&str>) -> Result<(DeviceKey, String), Box<dyn std::error::Error>> {
        let signing = SigningKey::from_slice(&[5; 32])?;
        let key = DeviceKey::from_sec1(signing.verifying_key().to_sec1_point(false).as_ref())?;
        let claims = claims([1; 16], "POST", URL, DateTime::default(), token, Some("n"));
        let proof = prove(&key, &claims, |message| {
            let signature: Signature = signing.sign_prehash(&sha256(&[message]))?;
            Ok::<_, p256::ecdsa::Error>(signature.to_bytes().into())
        })?;
        Ok((key, proof))
    }

    #[test]
    fn a_proof_holds_for_its_own_request_only() -> Result<(), Box<dyn std::error::Error>> {
        let (key, proof) = proof(Some("token"))?;
        let (proved, claims) = verify(&proof, "POST", URL, Some("token"))?;
        assert_eq!((proved, claims.nonce.as_deref()), (key, Some("n")));
        assert_eq!(verify(&proof, "GET", URL, Some("token")).err(), Some(ProofError::OtherRequest));
        assert_eq!(
            verify(&proof, "POST", "https://example/v1/token", Some("token")).err(),
            Some(ProofError::OtherRequest)
        );
        assert_eq!(verify(&proof, "POST", URL, Some("stolen")).err(), Some(ProofError::OtherToken));
        assert_eq!(verify(&proof, "POST", URL, None).err(), Some(ProofError::OtherToken));
        Ok(())
    }

    #[test]
    fn a_changed_proof_is_noticed() -> Result<(), Box<dyn std::error::Error>> {
        let (_, proof) = proof(None)?;
        for at in 0..proof.len() {
            let mut changed = proof.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed)?;
            // The last character of a base64 part has bits that do not count.
            if verify(&changed, "POST", URL, None).is_ok() {
                assert_eq!(at, proof.len() - 1);
            }
        }
        Ok(())
    }
}
