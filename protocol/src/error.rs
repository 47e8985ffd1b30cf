//! How the server says no.

use roundsman_model::DeviceSeq;
use serde::{Deserialize, Serialize};

/// Why a request was refused. Each names what the client should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorCode {
    /// The request can't be read. Don't repeat it; it is a defect of the client.
    #[error("the server could not read the request")]
    Malformed,
    /// The body is larger than the server takes. Send less at once.
    #[error("the request is too large")]
    TooLarge,
    /// No such path or record.
    #[error("there is nothing at this address")]
    NotFound,
    /// The enrolment ticket was never issued. Ask for a new QR code.
    #[error("the server does not know this enrolment code")]
    TicketUnknown,
    /// The enrolment ticket is too old. Ask for a new QR code.
    #[error("the enrolment code has expired")]
    TicketExpired,
    /// The enrolment ticket was used before. Ask for a new QR code, and tell the administrator: it may have
    /// been seen by someone else.
    #[error("the enrolment code was used before")]
    TicketUsed,
    /// The organisation lets a device in only after a person has compared digits. The ticket is not spent: begin the
    /// enrolment in two steps.
    #[error("this organisation confirms each new device: compare the digits with your administrator")]
    ConfirmationNeeded,
    /// The digits did not match, or the device revealed another value than it had committed to. Don't go on with
    /// this code; tell the administrator.
    #[error("the enrolment was refused: the digits did not match")]
    EnrolmentRefused,
    /// Nobody confirmed the enrolment in time. Ask for a new QR code.
    #[error("the enrolment was not confirmed in time")]
    EnrolmentExpired,
    /// The proof of possession is missing or wrong. Don't repeat it as it is.
    #[error("the proof of the device's key is not valid")]
    ProofInvalid,
    /// The proof lacks a current nonce. Repeat at once with the one in the `dpop-nonce` header (RFC 9449
    /// section 8).
    #[error("the proof needs the server's nonce")]
    UseDpopNonce,
    /// The session key's certificate is too old, or not the server's to know. Make a new session key and repeat.
    #[error("the session key has expired")]
    SessionExpired,
    /// The access token is too old. Refresh it and repeat.
    #[error("the access token has expired")]
    TokenExpired,
    /// The token is unknown, revoked, or bound to another key. Unsent work stays; enrol again.
    #[error("the token is not valid")]
    TokenInvalid,
    /// No device has this key. Unsent work stays; enrol again.
    #[error("the server does not know this device")]
    DeviceUnknown,
    /// The device is locked or being wiped: it may only check in.
    #[error("this device is blocked by the administrator")]
    DeviceBlocked,
    /// A mutation's number leaves a gap; `expected` names the next one.
    #[error("a change is missing before the ones that were sent")]
    SeqGap,
    /// A cursor lies past the end of its bucket's log: the server was restored. Start the bucket anew.
    #[error("the server's log ends before this cursor")]
    CursorAhead,
    /// Too many requests. Wait as long as `retry-after` says.
    #[error("the server is busy")]
    Busy,
    /// The server keeps no more unsent work of this device until somebody has opened what is there. Keep the segment
    /// and repeat later.
    #[error("the server keeps no more unsent work of this device for now")]
    RescueFull,
    /// What was sent of an attachment is not what its record says: all of it was thrown away. Send it anew from the start.
    #[error("the content is not what its record says")]
    ContentDiffers,
    /// There is no room for more attachments of this device or organisation. Keep the content and repeat later.
    #[error("the server has no room for more attachments for now")]
    AttachmentsFull,
    /// The server no longer speaks this version of the protocol. Update the app; everything unsent stays until then.
    #[error("the server needs a newer version of the app")]
    UpdateNeeded,
    /// The server failed. Repeat later.
    #[error("the server failed")]
    Internal,
}

/// The body of an answer that is not a success: `application/problem+json` (RFC 9457).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}")]
pub struct Problem {
    /// Why.
    pub code: ErrorCode,
    /// The same for a person to read; holds no personal data.
    pub title: String,
    /// For [`ErrorCode::SeqGap`]: the number the server waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<DeviceSeq>,
    /// Seconds to wait before a repeat, as the header `retry-after` has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u64>,
}

impl From<ErrorCode> for Problem {
    fn from(code: ErrorCode) -> Self {
        Self { code, title: code.to_string(), expected: None, retry_after_s: None }
    }
}
