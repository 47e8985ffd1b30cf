//! Which certificates the phone takes, against real TLS servers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]

use bytes::Bytes;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PublicKeyData, date_time_ymd,
};
use roundsman_core::HttpsTransport;
use roundsman_core::platform::{Request, Transport, TransportError};
use roundsman_protocol::sha256;
use roundsman_protocol::ticket::SpkiPin;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A server's certificate chain, its key, and the pins of its leaf and its issuer.
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
    leaf_pin: SpkiPin,
    issuer_pin: SpkiPin,
}

fn pin(key: &KeyPair) -> SpkiPin {
    SpkiPin(sha256(&[&key.subject_public_key_info()]))
}

/// A leaf for `host`, issued by an authority of its own.
fn issued(host: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
    let mut authority = CertificateParams::new(vec![]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::new(vec![host.to_owned()]).unwrap();
    change(&mut leaf);
    let certificate = leaf.signed_by(&key, &issuer).unwrap();
    Identity {
        chain: vec![certificate.der().clone(), issuer.der().clone()],
        leaf_pin: pin(&key),
        issuer_pin: pin(issuer.key()),
        key,
    }
}

/// Serves one answer to each connection and returns the address.
async fn serve(identity: &Identity) -> String {
    let key = PrivateKeyDer::try_from(identity.key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(identity.chain.clone(), key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await;
                let _ = stream.shutdown().await;
            });
        }
    });
    format!("https://127.0.0.1:{}", address.port())
}

async fn reach(url: String, pins: Vec<SpkiPin>) -> Result<u16, TransportError> {
    let request = Request { method: "GET", url, headers: vec![], body: Bytes::new(), pins };
    HttpsTransport::new().send(request).await.map(|response| response.status)
}

const STRANGER: SpkiPin = SpkiPin([7; 32]);

#[tokio::test]
async fn a_pinned_leaf_or_issuer_is_taken_and_a_stranger_is_not() {
    let identity = issued("127.0.0.1", |_| {});
    let url = serve(&identity).await;
    assert_eq!(reach(url.clone(), vec![identity.leaf_pin]).await, Ok(204));
    assert_eq!(reach(url.clone(), vec![identity.issuer_pin]).await, Ok(204));
    assert_eq!(
        reach(url.clone(), vec![STRANGER, identity.leaf_pin]).await,
        Ok(204),
        "any pin of the set will do"
    );
    assert_eq!(reach(url.clone(), vec![STRANGER]).await, Err(TransportError::WrongPin));
    assert_eq!(reach(url, vec![]).await, Err(TransportError::WrongPin), "no pins is no trust");
}

#[tokio::test]
async fn a_pinned_key_does_not_excuse_a_certificate_that_is_not_valid() {
    let expired = issued("127.0.0.1", |leaf| leaf.not_after = date_time_ymd(2020, 1, 1));
    let early = issued("127.0.0.1", |leaf| leaf.not_before = date_time_ymd(2090, 1, 1));
    let elsewhere = issued("192.0.2.1", |_| {});
    for identity in [expired, early, elsewhere] {
        let url = serve(&identity).await;
        assert_eq!(reach(url.clone(), vec![identity.leaf_pin]).await, Err(TransportError::WrongPin));
        assert_eq!(reach(url, vec![identity.issuer_pin]).await, Err(TransportError::WrongPin));
    }
}

#[tokio::test]
async fn a_chain_that_only_carries_the_pinned_certificate_is_not_taken() {
    let honest = issued("127.0.0.1", |_| {});
    let mut rogue = issued("127.0.0.1", |_| {});
    // The rogue shows the honest issuer's certificate, which did not sign its own.
    rogue.chain[1] = honest.chain[1].clone();
    let url = serve(&rogue).await;
    assert_eq!(reach(url, vec![honest.issuer_pin]).await, Err(TransportError::WrongPin));
}

#[tokio::test]
async fn nothing_is_sent_in_the_clear() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    assert_eq!(reach(url, vec![STRANGER]).await, Err(TransportError::Offline));
    let none = tokio::time::timeout(std::time::Duration::from_millis(50), listener.accept()).await;
    assert!(none.is_err(), "no connection was even tried");
}
