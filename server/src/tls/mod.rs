//! TLS 1.3: the certificate, its pins, and a listener for axum.

mod certificate;
mod listener;

pub use certificate::TlsError;
pub(crate) use certificate::{Identity, make_spare, write_private};
pub(crate) use listener::TlsListener;

use std::sync::Arc;

/// How the server speaks TLS: version 1.3 only, with ring.
pub(crate) fn server_config(identity: &Identity) -> Result<Arc<rustls::ServerConfig>, TlsError> {
    let mut config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .and_then(|builder| {
                builder
                    .with_no_client_auth()
                    .with_single_cert(identity.chain.clone(), identity.key.clone_key())
            })
            .map_err(TlsError::Unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
