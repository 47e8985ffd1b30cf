//! Checks that a request comes from the holder of a device's key (DPoP, RFC 9449).

use super::sessions::Sessions;
use crate::app::App;
use crate::refusal::Refusal;
use axum::http::{HeaderMap, header};
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use roundsman_protocol::keys::DeviceKey;
use roundsman_protocol::session::{self, HOLDS_SECONDS};
use roundsman_protocol::{ErrorCode, b64, dpop, sha256};
use sha2::Sha256;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use zeroize::Zeroizing;

/// How many seconds a nonce is given out for; it is taken for as many again.
const BUCKET_SECONDS: i64 = 60;

/// How long a proof is remembered at least: the time its nonce may be taken, and a bucket of slack.
const REMEMBER_SECONDS: i64 = 3 * BUCKET_SECONDS;

/// The most proofs remembered in one generation. Beyond it requests wait, rather than replays pass.
const MAX_REMEMBERED: usize = 200_000;

/// Gives out nonces and remembers proofs.
pub(super) struct Proofs {
    secret: Zeroizing<[u8; 32]>,
    seen: Mutex<Seen>,
    sessions: Sessions,
}

/// Two generations of proofs: what is older than both can't be replayed, as its nonce is void.
#[derive(Default)]
struct Seen {
    turned: i64,
    young: HashSet<[u8; 32]>,
    old: HashSet<[u8; 32]>,
}

impl Proofs {
    pub(super) fn new(secret: Zeroizing<[u8; 32]>) -> Self {
        Self { secret, seen: Mutex::default(), sessions: Sessions::default() }
    }

    /// The nonce for the next proof.
    pub(super) fn nonce(&self, now: DateTime<Utc>) -> String {
        self.nonce_of(now.timestamp().div_euclid(BUCKET_SECONDS))
    }

    fn nonce_of(&self, bucket: i64) -> String {
        let mut text = String::new();
        // HMAC takes a key of any length, so this always is `Ok`.
        if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.secret.as_slice()) {
            mac.update(&bucket.to_be_bytes());
            text = b64::encode(&mac.finalize().into_bytes()[..16]);
        }
        text
    }

    fn is_current(&self, nonce: &str, now: DateTime<Utc>) -> bool {
        let bucket = now.timestamp().div_euclid(BUCKET_SECONDS);
        // A nonce is public, so comparing it needs no constant time.
        // The next one comes from another instance, whose clock is a little ahead.
        [bucket, bucket - 1, bucket + 1].into_iter().any(|bucket| nonce == self.nonce_of(bucket))
    }

    /// The second in which a nonce was first given out, if it was within the time a session key's certificate holds.
    fn given_at(&self, nonce: &str, now: DateTime<Utc>) -> Option<i64> {
        let newest = now.timestamp().div_euclid(BUCKET_SECONDS) + 1;
        // The newest first: most certificates are new when they are first seen.
        (0..=HOLDS_SECONDS / BUCKET_SECONDS)
            .map(|back| newest - back)
            .find(|bucket| nonce == self.nonce_of(*bucket))
            .map(|bucket| bucket * BUCKET_SECONDS)
    }

    /// Checks the proof of a `POST`, made with the access token if there is one, and returns the device whose it is.
    /// With an access token the proof may be by a session key, if the device's certificate for it is there.
    pub(super) fn check(
        &self,
        app: &App,
        headers: &HeaderMap,
        path: &str,
        token: Option<&str>,
    ) -> Result<DeviceKey, Refusal> {
        self.check_method("POST", app, headers, path, token)
    }

    /// The same for a request with another method.
    pub(super) fn check_method(
        &self,
        method: &str,
        app: &App,
        headers: &HeaderMap,
        path: &str,
        token: Option<&str>,
    ) -> Result<DeviceKey, Refusal> {
        let mut proofs = headers.get_all("dpop").iter();
        let (Some(proof), None) = (proofs.next(), proofs.next()) else {
            return Err(ErrorCode::ProofInvalid.into());
        };
        let proof = proof.to_str().map_err(|_| ErrorCode::ProofInvalid)?;
        // The address is the configured one: a Host header is the client's word.
        let url = format!("{}{path}", app.public_url);
        let (key, claims) = dpop::verify(proof, method, &url, token).map_err(|_| ErrorCode::ProofInvalid)?;
        let now = app.now();
        if !claims.nonce.as_deref().is_some_and(|nonce| self.is_current(nonce, now)) {
            return Err(ErrorCode::UseDpopNonce.into());
        }
        let prover = key.thumbprint();
        let device = match headers.get(session::HEADER) {
            Some(certificate) if token.is_some() => {
                self.sessions
                    .device(certificate.as_bytes(), prover, now, |nonce| self.given_at(nonce, now))?
            }
            _ => key,
        };
        let proof = sha256(&[&prover.0, &claims.jti]);
        self.remember(proof, now.timestamp())?;
        // A proof that another instance took is no proof here.
        if app.storage.note_proof(&proof, now.timestamp_millis())? == Some(false) {
            return Err(ErrorCode::ProofInvalid.into());
        }
        Ok(device)
    }

    fn remember(&self, proof: [u8; 32], now: i64) -> Result<(), ErrorCode> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if now - seen.turned >= REMEMBER_SECONDS {
            seen.old = std::mem::take(&mut seen.young);
            seen.turned = now;
        }
        if seen.old.contains(&proof) || seen.young.contains(&proof) {
            return Err(ErrorCode::ProofInvalid);
        }
        if seen.young.len() >= MAX_REMEMBERED {
            return Err(ErrorCode::Busy);
        }
        seen.young.insert(proof);
        Ok(())
    }
}

/// The access token of a request.
pub(super) fn access_token(headers: &HeaderMap) -> Result<&str, Refusal> {
    headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("DPoP "))
        .ok_or_else(|| ErrorCode::TokenInvalid.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    #[test]
    fn a_nonce_holds_for_one_to_two_minutes() {
        let proofs = Proofs::new(Zeroizing::new([1; 32]));
        let start = DateTime::from_timestamp(1_800_000_000, 0).unwrap_or_default();
        let nonce = proofs.nonce(start);
        assert!(proofs.is_current(&nonce, start + TimeDelta::seconds(119)));
        assert!(!proofs.is_current(&nonce, start + TimeDelta::seconds(120)));
        let other = Proofs::new(Zeroizing::new([2; 32]));
        assert!(!other.is_current(&nonce, start), "another run's nonce");
        let behind = start - TimeDelta::seconds(30);
        assert!(proofs.is_current(&nonce, behind), "of an instance whose clock is ahead");
    }

    #[test]
    fn the_hour_of_a_session_is_counted_from_its_nonce() {
        let proofs = Proofs::new(Zeroizing::new([1; 32]));
        let start = DateTime::from_timestamp(1_800_000_000, 0).unwrap_or_default();
        let nonce = proofs.nonce(start);
        let at = |seconds| proofs.given_at(&nonce, start + TimeDelta::seconds(seconds));
        assert_eq!((at(0), at(HOLDS_SECONDS - 1)), (Some(1_800_000_000), Some(1_800_000_000)));
        assert_eq!(at(-30), Some(1_800_000_000), "of an instance whose clock is ahead");
        assert_eq!((at(HOLDS_SECONDS), at(-61)), (None, None));
        assert_eq!(proofs.given_at("made up", start), None);
    }

    #[test]
    fn a_proof_is_remembered_for_as_long_as_its_nonce_holds() {
        let proofs = Proofs::new(Zeroizing::new([1; 32]));
        assert!(proofs.remember([1; 32], 1_000).is_ok());
        assert_eq!(proofs.remember([1; 32], 1_000 + REMEMBER_SECONDS - 1), Err(ErrorCode::ProofInvalid));
        assert!(proofs.remember([2; 32], 1_000 + REMEMBER_SECONDS).is_ok());
        assert_eq!(proofs.remember([1; 32], 1_000 + REMEMBER_SECONDS), Err(ErrorCode::ProofInvalid));
    }
}
