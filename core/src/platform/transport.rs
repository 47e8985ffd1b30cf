//! Network.

use async_trait::async_trait;
use bytes::Bytes;
use roundsman_protocol::ticket::SpkiPin;

/// A request to the server.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// The whole address.
    pub url: String,
    /// Names in lower case, with values.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Bytes,
    /// The keys the server's certificate may have; never empty.
    pub pins: Vec<SpkiPin>,
}

/// The server's answer. Its body is read piece by piece.
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The nonce for the next proof, if the server gave one.
    pub dpop_nonce: Option<String>,
    /// Seconds the server asks to wait.
    pub retry_after_s: Option<u64>,
    /// The body.
    pub body: Box<dyn Body>,
}

/// A body in pieces.
#[async_trait]
pub trait Body: Send {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// The connection broke before the end.
    async fn chunk(&mut self) -> Result<Option<Bytes>, TransportError>;
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// No connection, or it broke.
    #[error("the server can't be reached")]
    Offline,
    /// The certificate's key is none of the pins, or the certificate is not valid.
    #[error("the server's key is not one this device trusts")]
    WrongPin,
}

/// Carries requests. The real one speaks HTTPS with pinned keys; one for tests may lose, double and delay.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Sends a request and returns as soon as the answer's head is there.
    ///
    /// # Errors
    /// There is no answer.
    async fn send(&self, request: Request) -> Result<Response, TransportError>;
}
