//! The session key: proves requests that carry an access token, so that the platform's keystore signs once an hour
//! instead of for each (`docs/protocol.md`, section 2).

use super::api::device_key;
use crate::Error;
use crate::platform::{Entropy, KeyAlias, KeyError, PlatformKeys};
use chrono::{DateTime, TimeDelta, Utc};
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use roundsman_protocol::keys::DeviceKey;
use roundsman_protocol::session::{Certificate, certify};

/// How many minutes a key is used; the server takes it for an hour. Far enough from that to need no refusal in between.
const USED_MINUTES: i64 = 50;

/// A key in memory and its certificate. The key is wiped from memory when this is dropped.
pub(super) struct Session {
    secret: SigningKey,
    public: DeviceKey,
    certificate: String,
    made: DateTime<Utc>,
}

impl Session {
    /// Makes a key and has the device's key certify it, under a nonce of the server's.
    pub(super) fn make(
        keys: &dyn PlatformKeys,
        entropy: &dyn Entropy,
        nonce: &str,
        now: DateTime<Utc>,
    ) -> Result<Self, Error> {
        let secret = loop {
            // About one number in 2^32 is no private key of P-256.
            if let Ok(secret) = SigningKey::from_slice(entropy.secret::<32>()?.as_slice()) {
                break secret;
            }
        };
        let point = secret.verifying_key().to_sec1_point(false);
        let public = DeviceKey::from_sec1(point.as_bytes()).map_err(|_| KeyError::NotAvailable)?;
        let device = device_key(keys)?;
        let certificate = Certificate { jkt: public.thumbprint(), nonce: nonce.to_owned() };
        let certificate = certify(&device, &certificate, |message| keys.sign(KeyAlias::Identity, message))?;
        Ok(Self { secret, public, certificate, made: now })
    }

    /// Whether it is still to be used. A clock that was set back makes a new one.
    pub(super) fn holds(&self, now: DateTime<Utc>) -> bool {
        (TimeDelta::zero()..TimeDelta::minutes(USED_MINUTES)).contains(&(now - self.made))
    }

    pub(super) fn public(&self) -> &DeviceKey {
        &self.public
    }

    pub(super) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// An ES256 signature (r ‖ s) by the session key.
    pub(super) fn sign(&self, message: &[u8]) -> Result<[u8; 64], KeyError> {
        let signature: Signature = self.secret.try_sign(message).map_err(|_| KeyError::NotAvailable)?;
        Ok(signature.to_bytes().into())
    }
}
