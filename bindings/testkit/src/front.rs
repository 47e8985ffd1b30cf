//! Where a phone's network listens: TLS on this machine, and behind it a transport that obeys the test.
//!
//! A request that gets no answer ends its connection, as a broken network does: the app has no way to tell one from the
//! other.

use crate::KitError;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use rcgen::PublicKeyData;
use roundsman_core::platform::{self, Transport};
use roundsman_protocol::ticket::SpkiPin;
use roundsman_protocol::{session, sha256};
use roundsman_testkit::FakeTransport;
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::Ipv4Addr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// What the server reads of a request's headers.
const HEADERS: [&str; 5] = ["authorization", "content-encoding", "content-type", "dpop", session::HEADER];

/// The certificate of every network of a server.
pub(crate) struct Identity {
    config: Arc<ServerConfig>,
    pin: SpkiPin,
}

impl Identity {
    /// Makes a certificate for this machine.
    pub(crate) fn make() -> Result<Self, KitError> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).map_err(KitError::failed)?;
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())
            .map_err(|reason| KitError::Failed { reason: reason.to_owned() })?;
        let pin = SpkiPin(sha256(&[&made.signing_key.subject_public_key_info()]));
        let chain: Vec<CertificateDer<'static>> = vec![made.cert.der().clone()];
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(KitError::failed)?;
        Ok(Self { config: Arc::new(config), pin })
    }

    /// The pin that tickets name.
    pub(crate) fn pin(&self) -> SpkiPin {
        self.pin
    }
}

/// A port that nobody listens on yet.
pub(crate) struct Bound {
    listener: std::net::TcpListener,
    url: String,
}

/// Where a network listens, until it is dropped.
pub(crate) struct Front {
    url: String,
    offline: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Front {
    /// Takes a free port.
    pub(crate) fn bind() -> Result<Bound, KitError> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let url = format!("https://localhost:{}", listener.local_addr()?.port());
        Ok(Bound { listener, url })
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Ends every connection and takes no other, or takes them again.
    pub(crate) fn offline(&self, offline: bool) {
        self.offline.send_replace(offline);
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Bound {
    /// Where it will listen.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Listens from now on.
    pub(crate) fn listen(
        self,
        runtime: &Runtime,
        identity: &Identity,
        transport: Arc<FakeTransport>,
    ) -> Result<Front, KitError> {
        let Self { listener, url } = self;
        let offline = watch::Sender::new(false);
        let line = Arc::new(Line {
            acceptor: TlsAcceptor::from(Arc::clone(&identity.config)),
            url: url.clone(),
            transport,
        });
        let _entered = runtime.enter();
        let listener = TcpListener::from_std(listener)?;
        let accepting = runtime.spawn(accept(listener, line, offline.subscribe()));
        Ok(Front { url, offline, accepting })
    }
}

/// What every connection of a network needs.
struct Line {
    acceptor: TlsAcceptor,
    url: String,
    transport: Arc<FakeTransport>,
}

async fn accept(listener: TcpListener, line: Arc<Line>, offline: watch::Receiver<bool>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (line, mut offline) = (Arc::clone(&line), offline.clone());
        tokio::spawn(async move {
            tokio::select! {
                biased;
                // An error means that the network is gone, which ends the connection as well.
                _ = offline.wait_for(|offline| *offline) => {}
                () = line.serve(stream) => {}
            }
        });
    }
}

impl Line {
    async fn serve(self: Arc<Self>, stream: TcpStream) {
        // Small frames must not wait for full packets; without that it only takes longer.
        let _ = stream.set_nodelay(true);
        let Ok(stream) = self.acceptor.accept(stream).await else { return };
        let service = service_fn(|request| {
            let line = Arc::clone(&self);
            async move { line.answer(request).await }
        });
        // A connection that breaks is what networks are for.
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Answer>, Broken> {
        let method = if request.method() == Method::GET { "GET" } else { "POST" };
        let url = format!("{}{}", self.url, request.uri());
        let header = |name: &'static str| {
            let value = request.headers().get(name)?.to_str().ok()?;
            Some((name, value.to_owned()))
        };
        let headers = HEADERS.into_iter().filter_map(header).collect();
        let body = request.into_body().collect().await.map_err(|_| Broken)?.to_bytes();
        let request = platform::Request { method, url, headers, body, pins: vec![] };
        let answer = self.transport.send(request).await.map_err(|_| Broken)?;
        let mut response = Response::builder().status(answer.status);
        if let Some(nonce) = answer.dpop_nonce {
            response = response.header("dpop-nonce", nonce);
        }
        if let Some(seconds) = answer.retry_after_s {
            response = response.header("retry-after", seconds);
        }
        response.body(whole(answer.body)).map_err(|_| Broken)
    }
}

/// There is no answer, or no more of it.
#[derive(Debug, thiserror::Error)]
#[error("the connection broke")]
struct Broken;

type Answer = http_body_util::combinators::UnsyncBoxBody<Bytes, Broken>;

/// The body as it comes.
fn whole(body: Box<dyn platform::Body>) -> Answer {
    let pieces = stream::unfold(Some(body), |body| async {
        let mut body = body?;
        match body.chunk().await {
            Ok(Some(piece)) => Some((Ok(Frame::data(piece)), Some(body))),
            Ok(None) => None,
            Err(_) => Some((Err(Broken), None)),
        }
    });
    StreamBody::new(pieces).boxed_unsync()
}
