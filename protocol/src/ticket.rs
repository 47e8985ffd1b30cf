//! The enrolment ticket: what the QR code holds.
//!
//! CBOR in base45 (RFC 9285) behind `RM1:`, so that a QR code needs only its alphanumeric mode. It carries the
//! server's pins and the hash of its root metadata: there is no trust on first use.

use crate::envelope::{decode, encode};
use chrono::{DateTime, Utc};
use std::fmt;

const PREFIX: &str = "RM1:";

/// The longest text of a ticket that is read.
pub const MAX_TICKET: usize = 2_000;

/// SHA-256 of a certificate's subject public key info (RFC 7469 section 2.4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, minicbor::Encode, minicbor::Decode)]
#[cbor(transparent)]
pub struct SpkiPin(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);

impl SpkiPin {
    /// Reads a pin as [`Display`](fmt::Display) writes it.
    pub fn from_text(text: &str) -> Option<Self> {
        let bytes = crate::b64::decode(text.trim().strip_prefix("sha256/")?)?;
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Debug for SpkiPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpkiPin({self})")
    }
}

/// As people compare pins: `sha256/` and base64url.
impl fmt::Display for SpkiPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256/{}", crate::b64::encode(self.0))
    }
}

/// One person's one-time leave to enrol one device.
#[derive(Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Ticket {
    /// The format, [`crate::VERSION`].
    #[n(0)]
    pub v: u8,
    /// The server's address: `https://…`, without a path.
    #[n(1)]
    pub url: String,
    /// The organisation's name, for the person to read.
    #[n(2)]
    pub org_name: String,
    /// The secret that may be used once.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub token: [u8; 16],
    /// The keys the server's certificate may have.
    #[n(4)]
    pub pins: Vec<SpkiPin>,
    /// SHA-256 of the root metadata's envelope.
    #[cbor(n(5), with = "minicbor::bytes")]
    pub root_sha256: [u8; 32],
    /// When it expires: milliseconds since 1970.
    #[n(6)]
    pub expires_ms: i64,
}

/// The token is a secret: only whose ticket it is may be shown.
impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("org_name", &self.org_name)
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// Why a ticket can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// It is not the text of a Roundsman ticket.
    #[error("this is not an enrolment code")]
    NotATicket,
    /// It is of a later format.
    #[error("this enrolment code needs a newer version of the app")]
    NewerVersion,
    /// It does not lead to a server over TLS, or names no pin.
    #[error("this enrolment code names no server that can be trusted")]
    Untrustworthy,
}

impl Ticket {
    /// The text for the QR code.
    pub fn to_text(&self) -> String {
        format!("{PREFIX}{}", base45::encode(encode(self)))
    }

    /// Reads the text of a QR code.
    ///
    /// # Errors
    /// It is not a ticket, of a later format, or leads to no server that can be trusted.
    pub fn from_text(text: &str) -> Result<Self, TicketError> {
        let text = text.trim();
        if text.len() > MAX_TICKET {
            return Err(TicketError::NotATicket);
        }
        let body = text.strip_prefix(PREFIX).ok_or(TicketError::NotATicket)?;
        let bytes = base45::decode(body).map_err(|_| TicketError::NotATicket)?;
        let ticket: Self = decode(&bytes).map_err(|_| TicketError::NotATicket)?;
        if ticket.v != crate::VERSION {
            return Err(TicketError::NewerVersion);
        }
        if !ticket.url.starts_with("https://") || ticket.pins.is_empty() {
            return Err(TicketError::Untrustworthy);
        }
        Ok(ticket)
    }

    /// SHA-256 of all that it says. Who has changed a pin or the root's hash on the way has another one.
    pub fn digest(&self) -> [u8; 32] {
        crate::sha256(&[&encode(self)])
    }

    /// When it expires.
    pub fn expires(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.expires_ms).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ticket() -> Ticket {
        Ticket {
            v: 1,
            url: "https://roundsman.example:8443".into(),
            org_name: "Garden State Snacks".into(),
            token: [7; 16],
            pins: vec![SpkiPin([1; 32]), SpkiPin([2; 32])],
            root_sha256: [3; 32],
            expires_ms: 1_790_000_000_000,
        }
    }

    #[test]
    fn a_ticket_survives_its_qr_code_and_fits_into_it() {
        let text = ticket().to_text();
        assert_eq!(Ticket::from_text(&text), Ok(ticket()));
        assert!(text.len() <= 450, "{} characters", text.len());
    }

    #[test]
    fn a_ticket_without_tls_or_pins_is_refused() {
        let plain = Ticket { url: "http://roundsman.example".into(), ..ticket() };
        let unpinned = Ticket { pins: vec![], ..ticket() };
        for bad in [plain, unpinned] {
            assert_eq!(Ticket::from_text(&bad.to_text()), Err(TicketError::Untrustworthy));
        }
        let newer = Ticket { v: 2, ..ticket() };
        assert_eq!(Ticket::from_text(&newer.to_text()), Err(TicketError::NewerVersion));
    }

    #[test]
    fn the_digest_is_of_all_that_it_says() {
        let ours = ticket();
        for other in [
            Ticket { url: "https://other.example".into(), ..ours.clone() },
            Ticket { token: [8; 16], ..ours.clone() },
            Ticket { pins: vec![SpkiPin([1; 32]), SpkiPin([9; 32])], ..ours.clone() },
            Ticket { root_sha256: [4; 32], ..ours.clone() },
        ] {
            assert_ne!(other.digest(), ours.digest());
        }
        assert_eq!(Ticket::from_text(&ours.to_text()).map(|read| read.digest()), Ok(ours.digest()));
    }

    #[test]
    fn a_pin_is_read_as_it_is_written() {
        let pin = SpkiPin([250; 32]);
        assert_eq!(SpkiPin::from_text(&pin.to_string()), Some(pin));
        for wrong in ["", "sha256/", "sha256/AAAA", "sha1/AAAA"] {
            assert_eq!(SpkiPin::from_text(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn debug_does_not_show_the_token() {
        assert!(!format!("{:?}", ticket()).contains('7'));
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in "(RM1:)?[0-9A-Z $%*+./:-]{0,200}") {
            let _ = Ticket::from_text(&text);
        }
    }
}
