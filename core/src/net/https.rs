//! The real transport: HTTPS by reqwest and rustls with ring, TLS 1.3 only.

use super::pinning::PinVerifier;
use crate::platform::{Body, Request, Response, Transport, TransportError};
use async_trait::async_trait;
use bytes::Bytes;
use roundsman_protocol::ticket::SpkiPin;
use rustls::ClientConfig;
use rustls::version::TLS13;
use std::error::Error as StdError;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest silence in the middle of an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Speaks HTTPS to a server whose key is pinned. Follows no redirect, uses no proxy, sends nothing in the clear.
#[derive(Debug)]
pub struct HttpsTransport {
    connect: Duration,
    silence: Duration,
    /// The client for the pins it was last asked for: connections are kept while the pins stay.
    client: Mutex<Option<(Vec<SpkiPin>, reqwest::Client)>>,
}

impl HttpsTransport {
    /// A transport with no connection yet.
    pub fn new() -> Self {
        Self::with_timeouts(CONNECT_TIMEOUT, READ_TIMEOUT)
    }

    /// The same with other times: how long a connection may take to be made, and how long the server may be silent in the
    /// middle of an answer. A channel of pokes that is to stay open is silent for 20 seconds at a time.
    pub fn with_timeouts(connect: Duration, silence: Duration) -> Self {
        Self { connect, silence, client: Mutex::default() }
    }

    fn client(&self, pins: &[SpkiPin]) -> Result<reqwest::Client, TransportError> {
        let mut kept = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((for_pins, client)) = kept.as_ref()
            && for_pins == pins
        {
            return Ok(client.clone());
        }
        let client = build(pins.to_vec(), self.connect, self.silence).ok_or(TransportError::Offline)?;
        *kept = Some((pins.to_vec(), client.clone()));
        Ok(client)
    }
}

impl Default for HttpsTransport {
    fn default() -> Self {
        Self::new()
    }
}

#[allow(clippy::disallowed_methods, reason = "the one place where a client is built, with the pins")]
fn build(pins: Vec<SpkiPin>, connect: Duration, silence: Duration) -> Option<reqwest::Client> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])
        .ok()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinVerifier::new(pins, provider)))
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .https_only(true)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(connect)
        .read_timeout(silence)
        .user_agent(concat!("roundsman/", env!("CARGO_PKG_VERSION")))
        .build()
        .ok()
}

#[async_trait]
impl Transport for HttpsTransport {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let client = self.client(&request.pins)?;
        let method = match request.method {
            "GET" => reqwest::Method::GET,
            _ => reqwest::Method::POST,
        };
        let mut builder = client.request(method, &request.url).body(request.body);
        for (name, value) in request.headers {
            builder = builder.header(name, value);
        }
        let answer = builder.send().await.map_err(|error| classify(&error))?;
        let header = |name: &str| answer.headers().get(name)?.to_str().ok().map(str::to_owned);
        Ok(Response {
            status: answer.status().as_u16(),
            dpop_nonce: header("dpop-nonce"),
            retry_after_s: header("retry-after").and_then(|seconds| seconds.parse().ok()),
            body: Box::new(HttpsBody(answer)),
        })
    }
}

struct HttpsBody(reqwest::Response);

#[async_trait]
impl Body for HttpsBody {
    async fn chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        self.0.chunk().await.map_err(|error| classify(&error))
    }
}

/// Tells a certificate that was refused from a connection that was not there.
fn classify(error: &reqwest::Error) -> TransportError {
    match tls_error(error) {
        Some(rustls::Error::InvalidCertificate(_)) => TransportError::WrongPin,
        _ => TransportError::Offline,
    }
}

fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    if let Some(tls) = error.downcast_ref() {
        return Some(tls);
    }
    // An I/O error names as its source not what it holds but the source of that.
    let held = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    match held {
        Some(held) => tls_error(held),
        None => tls_error(error.source()?),
    }
}
