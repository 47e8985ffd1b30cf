//! Enrolment that a person confirms: phone and console show the same six digits.
//!
//! Six digits of a mere hash could be ground: whoever sits between tries about a million values of their own until
//! both sides show the same. So the phone commits to a random value before it learns the server's, and reveals it
//! after. Whoever sits between has then chosen before the digits are known, and hits one time in a million, once for
//! each code that is scanned. It is the pattern of ZRTP (RFC 6189, sections 4.4.1.1 and 7) and of Bluetooth's
//! numeric comparison (Core Specification, volume 2, part H, section 7.2.1).
//!
//! | request | authorised by | body | answer |
//! | --- | --- | --- | --- |
//! | `POST /v1/enrol/begin` | DPoP, ticket in the body | [`BeginRequest`] | [`BeginAnswer`] |
//! | `POST /v1/enrol/finish` | DPoP with the same key | [`FinishRequest`] | [`FinishAnswer`] |

use crate::api::{EnrolAnswer, EnrolRequest};
use crate::keys::Thumbprint;
use crate::{b64, sha256};
use chrono::{DateTime, Utc};
use roundsman_model::OrgId;
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

const COMMITMENT: &[u8] = b"roundsman/v1/enrolment-commitment\0";
const DIGITS: &[u8] = b"roundsman/v1/enrolment-digits\0";

/// A new device asks to be let in by a person, and commits to a random value.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BeginRequest {
    /// The same as for an enrolment in one step.
    pub device: EnrolRequest,
    /// [`commitment`] to the value that it reveals when it has the server's.
    #[serde(with = "b64")]
    pub commitment: [u8; 32],
}

/// The device waits. It has been given nothing yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BeginAnswer {
    /// The enrolment's id.
    pub enrolment: Uuid,
    /// The organisation.
    pub org: OrgId,
    /// The server's random value.
    #[serde(with = "b64")]
    pub nonce: [u8; 32],
    /// Until when a person may confirm it.
    pub expires_at: DateTime<Utc>,
}

/// Reveals the device's random value, and asks whether a person has decided. To be repeated every few seconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FinishRequest {
    /// The enrolment's id.
    pub enrolment: Uuid,
    /// The value that the device has committed to. Another one ends the enrolment for good.
    #[serde(with = "b64")]
    pub nonce: [u8; 32],
    /// Whether the device is ready to be let in, once it may; otherwise it only asks.
    #[serde(default)]
    pub enter: bool,
}

/// What a person has decided, if they have. A refusal is a [`Problem`](crate::Problem).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum FinishAnswer {
    /// Nothing yet.
    Waiting,
    /// The digits match: the device may enter.
    Confirmed,
    /// The device is let in. A repeat says it again, with new tokens.
    Enrolled(EnrolAnswer),
}

/// What a device sends before it knows the server's random value.
pub fn commitment(nonce: &[u8; 32]) -> [u8; 32] {
    sha256(&[COMMITMENT, nonce])
}

/// Everything that both sides must have seen alike.
#[derive(Clone, Copy, Debug)]
pub struct Transcript {
    /// [`Ticket::digest`](crate::ticket::Ticket::digest) of the code, as it was scanned or as it was issued: its
    /// secret, the address, the pins and the root's hash.
    pub ticket: [u8; 32],
    /// The organisation.
    pub org: OrgId,
    /// The installation.
    pub install: Uuid,
    /// The device's key.
    pub key: Thumbprint,
    /// The device's random value.
    pub device_nonce: [u8; 32],
    /// The server's random value.
    pub server_nonce: [u8; 32],
}

impl Transcript {
    /// The digits to compare.
    pub fn digits(&self) -> Digits {
        // Every part has its one length, so that no two transcripts have the same bytes.
        let hash = sha256(&[
            DIGITS,
            &self.ticket,
            self.org.0.as_bytes(),
            self.install.as_bytes(),
            &self.key.0,
            &self.device_nonce,
            &self.server_nonce,
        ]);
        let (first, _) = hash.split_at(8);
        let number = first.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        // Of 2^64 numbers each remainder has the same share, to one part in 10^13.
        Digits((number % u64::from(Digits::COUNT)) as u32)
    }
}

/// Six digits for people to compare. No secret once they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digits(u32);

impl Digits {
    const COUNT: u32 = 1_000_000;

    /// The digits with this value; `None` if it has more than six.
    pub fn from_number(number: u32) -> Option<Self> {
        (number < Self::COUNT).then_some(Self(number))
    }

    /// Their value.
    pub fn number(self) -> u32 {
        self.0
    }
}

/// In two groups, as people read them out: `042 917`.
impl fmt::Display for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03} {:03}", self.0 / 1_000, self.0 % 1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn transcript() -> Transcript {
        Transcript {
            ticket: [1; 32],
            org: OrgId(Uuid::from_u128(2)),
            install: Uuid::from_u128(3),
            key: Thumbprint([4; 32]),
            device_nonce: [5; 32],
            server_nonce: [6; 32],
        }
    }

    #[test]
    fn digits_are_read_out_in_two_groups() {
        assert_eq!(Digits(42_917).to_string(), "042 917");
        assert_eq!(Digits::from_number(999_999).map(Digits::number), Some(999_999));
        assert_eq!(Digits::from_number(1_000_000), None);
    }

    /// Another implementation: `int.from_bytes(sha256(b"roundsman/v1/enrolment-digits\0" + …).digest()[:8]) % 10**6`.
    #[test]
    fn digits_are_those_of_an_independent_computation() {
        assert_eq!(transcript().digits().number(), 927_045);
        assert_eq!(b64::encode(commitment(&[5; 32])), "bSkzyu_E1YqlKjvOBxBeBKKsvC6sMDRIQRTkxa5b5OY");
    }

    #[test]
    fn an_answer_survives_the_wire() -> Result<(), serde_json::Error> {
        let waiting = serde_json::to_string(&FinishAnswer::Waiting)?;
        assert_eq!(waiting, r#"{"state":"waiting"}"#);
        assert!(matches!(serde_json::from_str(&waiting)?, FinishAnswer::Waiting));
        Ok(())
    }

    /// Whoever knows the transcript but for the other side's value can't aim: their tries are spread over all digits.
    #[test]
    fn a_choice_made_before_the_other_value_is_known_aims_at_nothing() {
        let aimed = transcript().digits();
        let shown: BTreeSet<u32> = (0..2_000_u32)
            .map(|n| {
                let mut theirs = [0; 32];
                theirs[..4].copy_from_slice(&n.to_be_bytes());
                Transcript { device_nonce: theirs, ..transcript() }.digits().number()
            })
            .collect();
        // By the birthday paradox two of 2,000 numbers out of a million meet: but hardly more than that.
        assert!(shown.len() > 1_980, "{} different digits", shown.len());
        assert!(!shown.contains(&aimed.number()));
    }

    proptest! {
        #[test]
        fn another_key_value_code_or_installation_gives_other_digits(
            bytes in any::<[u8; 32]>(), id in any::<u128>()
        ) {
            let ours = transcript();
            let others = [
                Transcript { ticket: bytes, ..ours },
                Transcript { org: OrgId(Uuid::from_u128(id)), ..ours },
                Transcript { install: Uuid::from_u128(id), ..ours },
                Transcript { key: Thumbprint(bytes), ..ours },
                Transcript { device_nonce: bytes, ..ours },
                Transcript { server_nonce: bytes, ..ours },
            ];
            // Six tries that all miss but for one time in 166,000; two that hit would be a defect.
            let hits = others.iter().filter(|other| other.digits() == ours.digits()).count();
            prop_assert!(hits < 2, "{hits} of six");
        }

        #[test]
        fn a_commitment_opens_to_one_value(a in any::<[u8; 32]>(), b in any::<[u8; 32]>()) {
            prop_assert_eq!(a == b, commitment(&a) == commitment(&b));
        }
    }
}
