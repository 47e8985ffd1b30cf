//! Trust by pinned key.
//!
//! A certificate is taken only if its chain holds a key from the pin set AND the chain is valid up to that key:
//! signatures, host name, validity. The platform's own root store is never asked, so an authority it trusts can't
//! speak for the server (RFC 7469 has the pin's form).

use roundsman_protocol::sha256;
use roundsman_protocol::ticket::SpkiPin;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::sync::Arc;

/// Checks the server's certificate against a pin set.
#[derive(Debug)]
pub(super) struct PinVerifier {
    pins: Vec<SpkiPin>,
    provider: Arc<CryptoProvider>,
}

impl PinVerifier {
    pub(super) fn new(pins: Vec<SpkiPin>, provider: Arc<CryptoProvider>) -> Self {
        Self { pins, provider }
    }

    fn is_pinned(&self, certificate: &CertificateDer<'_>) -> bool {
        ParsedCertificate::try_from(certificate).is_ok_and(|parsed| {
            let pin = SpkiPin(sha256(&[parsed.subject_public_key_info().as_ref()]));
            self.pins.contains(&pin)
        })
    }
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut anchors = RootCertStore::empty();
        if self.is_pinned(end_entity) {
            // The handshake proves that the server holds the pinned key. Whoever issued its certificate only has
            // to have done so rightly: name, validity, signature.
            for certificate in std::iter::once(end_entity).chain(intermediates) {
                anchors.add(certificate.clone().into_owned())?;
            }
        } else {
            let issuer = intermediates
                .iter()
                .find(|certificate| self.is_pinned(certificate))
                .ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
            anchors.add(issuer.clone().into_owned())?;
        }
        WebPkiServerVerifier::builder_with_provider(Arc::new(anchors), Arc::clone(&self.provider))
            .build()
            .map_err(|_| Error::InvalidCertificate(CertificateError::UnknownIssuer))?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
