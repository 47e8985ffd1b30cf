//! Small signed documents that name the key that signed them: a JWS in its compact form (RFC 7515) with ES256, whose
//! head holds the key as a JWK and the kind of the document.

use crate::b64;
use crate::dpop::ProofError;
use crate::keys::DeviceKey;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The longest document that is read.
const MAX: usize = 4 * 1024;

#[derive(Serialize, Deserialize)]
struct Header {
    typ: String,
    alg: String,
    jwk: Jwk,
}

#[derive(Serialize, Deserialize)]
struct Jwk {
    kty: String,
    crv: String,
    #[serde(with = "b64")]
    x: [u8; 32],
    #[serde(with = "b64")]
    y: [u8; 32],
}

/// Makes a document. `sign` makes an ES256 signature (r ‖ s) over the message it is given.
pub(crate) fn sign<E>(
    typ: &str,
    key: &DeviceKey,
    claims: &impl Serialize,
    sign: impl FnOnce(&[u8]) -> Result<[u8; 64], E>,
) -> Result<String, E> {
    let (x, y) = key.coordinates();
    // Both halves are objects of strings and numbers: they always serialise.
    let header = serde_json::json!({
        "typ": typ, "alg": "ES256",
        "jwk": { "kty": "EC", "crv": "P-256", "x": b64::encode(x), "y": b64::encode(y) },
    });
    let claims = serde_json::to_vec(claims).unwrap_or_default();
    let input = format!("{}.{}", b64::encode(header.to_string()), b64::encode(claims));
    let signature = sign(input.as_bytes())?;
    Ok(format!("{input}.{}", b64::encode(signature)))
}

/// Reads a document of a kind, and says who signed it and what it claims.
pub(crate) fn verify<T: DeserializeOwned>(typ: &str, text: &str) -> Result<(DeviceKey, T), ProofError> {
    if text.len() > MAX {
        return Err(ProofError::Malformed);
    }
    let mut parts = text.split('.');
    let (Some(header), Some(body), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(ProofError::Malformed);
    };
    let read = |part: &str| b64::decode(part).ok_or(ProofError::Malformed);
    let parsed: Header = serde_json::from_slice(&read(header)?).map_err(|_| ProofError::Malformed)?;
    if parsed.typ != typ || parsed.alg != "ES256" || parsed.jwk.kty != "EC" || parsed.jwk.crv != "P-256" {
        return Err(ProofError::Malformed);
    }
    let point = [[4].as_slice(), &parsed.jwk.x, &parsed.jwk.y].concat();
    let key = DeviceKey::from_sec1(&point).map_err(|_| ProofError::Malformed)?;
    let signed = &text[..header.len() + 1 + body.len()];
    key.verify(signed.as_bytes(), &read(signature)?).map_err(|_| ProofError::Signature)?;
    let claims = serde_json::from_slice(&read(body)?).map_err(|_| ProofError::Malformed)?;
    Ok((key, claims))
}
