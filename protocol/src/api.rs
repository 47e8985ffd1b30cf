//! Requests and answers of the device's side of the server, sync apart.
//!
//! | request | authorised by | body | answer |
//! | --- | --- | --- | --- |
//! | `GET /v1/root` | nothing | | [`RootAnswer`] |
//! | `POST /v1/enrol` | DPoP, ticket in the body | [`EnrolRequest`] | [`EnrolAnswer`] |
//! | `POST /v1/token` | DPoP, refresh token in the body | [`TokenRequest`] | [`Tokens`] |
//! | `POST /v1/device/checkin` | DPoP | [`Checkin`] | [`CheckinAnswer`] |
//! | `POST /v1/device/rescue` | DPoP | a [`SignedSegment`](crate::rescue::SignedSegment), as bytes | [`RescueAnswer`](crate::rescue::RescueAnswer) |
//! | `POST /v1/attachments/{id}/content/{offset}` | DPoP and access token | bytes, see [`crate::attachment`] | [`UploadAnswer`](crate::attachment::UploadAnswer) |
//! | `GET /v1/attachments/{id}/content/{offset}` | DPoP and access token | | bytes |
//! | `POST /v1/sync` | DPoP and access token | see [`crate::sync`] | see [`crate::sync`] |
//!
//! Every answer carries the nonce for the next proof in the header `dpop-nonce`. What is not a success is a
//! [`Problem`](crate::Problem).

use crate::audit::AuditReport;
use crate::b64;
use crate::escrow::{EscrowedShare, UnlockChallenge};
use crate::hpke_seal::Sealed;
use crate::posture::Posture;
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
    /// A request for the share back, by a device that is locked or on a leash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unlock: Option<UnlockChallenge>,
    /// The version of the root metadata it trusts.
    #[serde(default = "first_root")]
    pub root_version: u32,
    /// The version of the policy it keeps; 0 if it has none.
    #[serde(default)]
    pub policy_version: u32,
    /// What shows a copy of this device, if one reports too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<Turn>,
    /// The number of its store's last commit, as far as it knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<u64>,
    /// Entries of its audit chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<AuditReport>,
    /// In what state the phone is, as the host app found out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub posture: Option<Posture>,
    /// The number of a command that its lease names and that it was not given, after it asked again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld: Option<u64>,
    /// The phone's start that this is, if the host app can tell starts apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<Uuid>,
}

impl Checkin {
    /// A report that says nothing but this.
    pub fn of(state: DeviceState, core: &str, last_command: u64) -> Self {
        Self {
            state,
            unsent: None,
            core: core.to_owned(),
            last_command,
            receipts: vec![],
            escrow: None,
            unlock: None,
            root_version: first_root(),
            policy_version: 0,
            turn: None,
            commit: None,
            audit: None,
            posture: None,
            withheld: None,
            boot: None,
        }
    }
}

fn first_root() -> u32 {
    1
}

/// A device and its server take turns: each report names the nonce of the answer before it. Of two devices with
/// the same key only one can, so the second report of the slower one gives both away.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, minicbor::Encode, minicbor::Decode,
)]
pub struct Turn {
    /// How many reports were answered.
    #[n(0)]
    pub counter: u64,
    /// The nonce of the last answer; zeros before the first.
    #[cbor(n(1), with = "minicbor::bytes")]
    #[serde(with = "b64")]
    pub nonce: [u8; 16],
    /// This report's own random id, stored before it is sent: a report that is repeated because its answer was lost
    /// has the same.
    #[cbor(n(2), with = "minicbor::bytes")]
    #[serde(with = "b64")]
    pub attempt: [u8; 16],
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
    /// Envelopes of the roots after the one that the device trusts, in order.
    #[serde(with = "b64::list", default, skip_serializing_if = "Vec::is_empty")]
    pub roots: Vec<Vec<u8>>,
    /// The envelope of a new [`Lease`](crate::lease::Lease).
    #[serde(with = "opt_b64", default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Vec<u8>>,
    /// The envelope of the [`Policy`](crate::policy::Policy), if the device has an older one.
    #[serde(with = "opt_b64", default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Vec<u8>>,
    /// The nonce for the device's next [`Turn`].
    #[serde(with = "opt_b64", default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<Vec<u8>>,
    /// The envelope of the [`Checkpoint`](crate::audit::Checkpoint) for the audit entries that were stored.
    #[serde(with = "opt_b64", default, skip_serializing_if = "Option::is_none")]
    pub audit_checkpoint: Option<Vec<u8>>,
    /// The release share of a device on a leash, sealed to the challenge of its report. It needs no signature: the
    /// device knows its own share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Sealed>,
}

impl CheckinAnswer {
    /// An answer that says nothing but the time.
    pub fn at(server_time: DateTime<Utc>) -> Self {
        Self {
            server_time,
            commands: vec![],
            receipts_stored: 0,
            escrow_receipt: None,
            roots: vec![],
            lease: None,
            policy: None,
            nonce: None,
            audit_checkpoint: None,
            share: None,
        }
    }
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
