//! Requests and answers of the device's side of the server, sync apart.
//!
//! | request | authorised by | body | answer |
//! | --- | --- | --- | --- |
//! | `GET /v1/root` | nothing | | [`RootAnswer`] |
//! | `POST /v1/enrol` | DPoP, ticket in the body | [`EnrolRequest`] | [`EnrolAnswer`] |
//! | `POST /v1/token` | DPoP, refresh token in the body | [`TokenRequest`] | [`Tokens`] |
//! | `POST /v1/device/checkin` | DPoP | [`Checkin`] | [`CheckinAnswer`] |
//! | `POST /v1/sync` | DPoP and access token | see [`crate::sync`] | see [`crate::sync`] |
//!
//! Every answer carries the nonce for the next proof in the header `dpop-nonce`. What is not a success is a
//! [`Problem`](crate::Problem).

use crate::b64;
use crate::escrow::{EscrowedShare, UnlockChallenge};
use chrono::{DateTime, Utc};
use roundsman_model::{DeviceId, OrgId, UserId};
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// Answer to `GET /v1/root`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RootAnswer {
    /// The envelope of the present root metadata.
    #[serde(with = "b64")]
    pub root: Vec<u8>,
}

/// A new device asks to be let in. The key it proves possession of becomes its identity.
#[derive(Clone, Serialize, Deserialize)]
pub struct EnrolRequest {
    /// The ticket's one-time secret.
    #[serde(with = "b64")]
    pub ticket: [u8; 16],
    /// A random id of this installation.
    pub install: Uuid,
    /// What the person calls the device: `Ana's Pixel 8`.
    pub name: String,
    /// The platform: `android`, `ios`, `linux`.
    pub platform: String,
    /// Whether its keys are in secure hardware.
    pub hardware_keys: bool,
    /// The version of the core.
    pub core: String,
}

/// The secret stays out of logs.
impl fmt::Debug for EnrolRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnrolRequest").field("install", &self.install).finish_non_exhaustive()
    }
}

/// A device is let in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EnrolAnswer {
    /// The device's id.
    pub device: DeviceId,
    /// The organisation.
    pub org: OrgId,
    /// The user whose ticket it was.
    pub user: UserId,
    /// The user's name, for the screen.
    pub user_name: String,
    /// The first tokens.
    pub tokens: Tokens,
    /// The server's time.
    pub server_time: DateTime<Utc>,
}

/// Tokens bound to the device's key.
#[derive(Clone, Serialize, Deserialize)]
pub struct Tokens {
    /// For requests.
    pub access: String,
    /// How many seconds it holds.
    pub expires_in_s: u32,
    /// For the next access token; good once.
    pub refresh: String,
}

/// Tokens stay out of logs.
impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("expires_in_s", &self.expires_in_s).finish_non_exhaustive()
    }
}

/// Asks for new tokens.
#[derive(Clone, Serialize, Deserialize)]
pub struct TokenRequest {
    /// The refresh token.
    pub refresh: String,
    /// The same for a repeat of the same request, so that a lost answer is not taken for theft.
    pub request: Uuid,
}

/// Tokens stay out of logs.
impl fmt::Debug for TokenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRequest").field("request", &self.request).finish_non_exhaustive()
    }
}

/// What state a device is in, as it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceState {
    /// In use, whether or not the vault is open just now.
    Active,
    /// Locked by the administrator, or by itself.
    Locked,
    /// Being wiped, or wiped.
    Wiped,
}

/// A device reports, and asks for commands. Works without a user, while locked, and during a wipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkin {
    /// Its state.
    pub state: DeviceState,
    /// Changes that were not sent; missing if the vault is closed and can't be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsent: Option<u64>,
    /// The version of the core.
    pub core: String,
    /// The number of the last command it accepted.
    pub last_command: u64,
    /// Signed receipts that the server has not confirmed.
    #[serde(with = "b64::list", default, skip_serializing_if = "Vec::is_empty")]
    pub receipts: Vec<Vec<u8>>,
    /// A release share that the server has not confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escrow: Option<EscrowedShare>,
    /// A request for the share back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unlock: Option<UnlockChallenge>,
}

/// The answer to a [`Checkin`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckinAnswer {
    /// The server's time.
    pub server_time: DateTime<Utc>,
    /// Envelopes of commands after the last one accepted, in order.
    #[serde(with = "b64::list", default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<Vec<u8>>,
    /// How many of the receipts, from the first, the server has stored or will never take.
    pub receipts_stored: u64,
    /// The envelope of the receipt for the escrowed share.
    #[serde(with = "opt_b64", default, skip_serializing_if = "Option::is_none")]
    pub escrow_receipt: Option<Vec<u8>>,
}

mod opt_b64 {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[allow(clippy::ref_option, reason = "the signature serde asks for")]
    pub(super) fn serialize<S: Serializer>(
        bytes: &Option<Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => serializer.serialize_str(&super::b64::encode(bytes)),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        Option::<String>::deserialize(deserializer)?
            .map(|text| super::b64::decode(&text).ok_or_else(|| D::Error::custom("not base64url")))
            .transpose()
    }
}
