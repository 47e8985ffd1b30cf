//! Which device stands behind a session key: its certificate is checked once and remembered.

use chrono::{DateTime, Utc};
use roundsman_protocol::keys::{DeviceKey, Thumbprint};
use roundsman_protocol::session::{self, HOLDS_SECONDS};
use roundsman_protocol::{ErrorCode, sha256};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The most certificates remembered in one generation. One that is forgotten is checked again.
const MAX_REMEMBERED: usize = 50_000;

/// The certificates that were checked, by their SHA-256.
#[derive(Default)]
pub(super) struct Sessions {
    known: Mutex<Known>,
}

/// Two generations: what is older than both no longer holds.
#[derive(Default)]
struct Known {
    turned: i64,
    young: HashMap<[u8; 32], Session>,
    old: HashMap<[u8; 32], Session>,
}

#[derive(Clone)]
struct Session {
    device: DeviceKey,
    key: Thumbprint,
    /// When its nonce was given out, in seconds since 1970.
    given: i64,
}

impl Sessions {
    /// The device that certified the key which made a proof. `given_at` tells when a nonce was given out.
    ///
    /// # Errors
    /// [`ErrorCode::SessionExpired`] if the certificate is older than its hour or carries a nonce of somebody else's,
    /// [`ErrorCode::ProofInvalid`] if it is none, or one for another key.
    pub(super) fn device(
        &self,
        certificate: &[u8],
        prover: Thumbprint,
        now: DateTime<Utc>,
        given_at: impl FnOnce(&str) -> Option<i64>,
    ) -> Result<DeviceKey, ErrorCode> {
        let name = sha256(&[certificate]);
        let now = now.timestamp();
        let session = match self.known(&name) {
            Some(session) => session,
            None => {
                let text = std::str::from_utf8(certificate).map_err(|_| ErrorCode::ProofInvalid)?;
                let (device, claims) = session::verify(text).map_err(|_| ErrorCode::ProofInvalid)?;
                let given = given_at(&claims.nonce).ok_or(ErrorCode::SessionExpired)?;
                let session = Session { device, key: claims.jkt, given };
                self.remember(name, session.clone(), now);
                session
            }
        };
        if session.key != prover {
            return Err(ErrorCode::ProofInvalid);
        }
        if now - session.given >= HOLDS_SECONDS {
            return Err(ErrorCode::SessionExpired);
        }
        Ok(session.device)
    }

    fn known(&self, name: &[u8; 32]) -> Option<Session> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.young.get(name).or_else(|| known.old.get(name)).cloned()
    }

    fn remember(&self, name: [u8; 32], session: Session, now: i64) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if now - known.turned >= HOLDS_SECONDS || known.young.len() >= MAX_REMEMBERED {
            known.old = std::mem::take(&mut known.young);
            known.turned = now;
        }
        known.young.insert(name, session);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use p256::ecdsa::signature::Signer;
    use p256::ecdsa::{Signature, SigningKey};
    use roundsman_protocol::session::Certificate;

    type TestResult<T = ()> = Result<T, Box<dyn std::error::Error>>;

    const START: i64 = 1_800_000_000;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(START + seconds, 0).unwrap_or_default()
    }

    struct Pair {
        signing: SigningKey,
        key: DeviceKey,
    }

    impl Pair {
        fn new(seed: u8) -> TestResult<Self> {
            let signing = SigningKey::from_slice(&[seed; 32])?;
            let key = DeviceKey::from_sec1(signing.verifying_key().to_sec1_point(false).as_ref())?;
            Ok(Self { signing, key })
        }
    }

    fn certificate(device: &Pair, key: &Pair) -> TestResult<String> {
        let certificate = Certificate { jkt: key.key.thumbprint(), nonce: "n".into() };
        Ok(session::certify(&device.key, &certificate, |message| {
            let signature: Signature = device.signing.try_sign(message)?;
            Ok::<_, p256::ecdsa::Error>(signature.to_bytes().into())
        })?)
    }

    #[test]
    fn a_certificate_is_for_one_key_and_an_hour() -> TestResult {
        let (device, key, other) = (Pair::new(1)?, Pair::new(2)?, Pair::new(3)?);
        let text = certificate(&device, &key)?;
        let sessions = Sessions::default();
        let ask = |prover: &Pair, seconds, given: Option<i64>| {
            sessions.device(text.as_bytes(), prover.key.thumbprint(), at(seconds), |_| given)
        };
        assert_eq!(ask(&key, 0, None), Err(ErrorCode::SessionExpired), "a nonce of nobody's");
        assert_eq!(ask(&other, 0, Some(START)), Err(ErrorCode::ProofInvalid));
        assert_eq!(ask(&key, 0, Some(START)), Ok(device.key.clone()));
        // Remembered: the nonce is not looked up again, and the hour ends all the same.
        assert_eq!(ask(&key, HOLDS_SECONDS - 1, None), Ok(device.key.clone()));
        assert_eq!(ask(&other, 1, None), Err(ErrorCode::ProofInvalid));
        assert_eq!(ask(&key, HOLDS_SECONDS, None), Err(ErrorCode::SessionExpired));
        Ok(())
    }

    #[test]
    fn what_is_no_certificate_is_no_proof() -> TestResult {
        let (device, key) = (Pair::new(1)?, Pair::new(2)?);
        let mut text = certificate(&device, &key)?.into_bytes();
        let middle = text.len() / 2;
        text[middle] ^= 1;
        let sessions = Sessions::default();
        for bad in [text.as_slice(), b"", b"a.b.c", &[0xff; 8]] {
            let answer = sessions.device(bad, key.key.thumbprint(), at(0), |_| Some(START));
            assert_eq!(answer, Err(ErrorCode::ProofInvalid));
        }
        Ok(())
    }
}
