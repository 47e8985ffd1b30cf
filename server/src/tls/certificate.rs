//! The server's certificate and its pins.
//!
//! `tls.crt` and `tls.key` in the data folder are used if they are there; otherwise a certificate is made for
//! `localhost` and the public host. A spare key, `tls-spare.key`, is made beside it: its pin goes into every
//! ticket too, so that the certificate can be replaced without enrolling every device anew. The file belongs in a
//! safe, not on the server.

use rcgen::{CertificateParams, DnType, KeyPair, PublicKeyData};
use roundsman_protocol::sha256;
use roundsman_protocol::ticket::SpkiPin;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

/// A certificate chain with its key.
pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) pin: SpkiPin,
}

/// Why there is no certificate to serve with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The files can't be read or written.
    #[error("the certificate's files can't be read or written")]
    Files(#[source] io::Error),
    /// One of the two files is missing, or holds something else.
    #[error("tls.crt and tls.key must hold a certificate and its key in PEM form")]
    Malformed,
    /// The certificate could not be made.
    #[error("the certificate can't be made for this host name")]
    NotMade(#[source] rcgen::Error),
    /// TLS can't use it.
    #[error("the certificate and its key can't be used")]
    Unusable(#[source] rustls::Error),
}

impl Identity {
    /// Reads the certificate, or makes one for `host` if there is none.
    pub(crate) fn load_or_make(dir: &Path, host: &str) -> Result<Self, TlsError> {
        let (crt, key) = (dir.join("tls.crt"), dir.join("tls.key"));
        match (crt.exists(), key.exists()) {
            (false, false) => make(dir, host)?,
            (true, true) => {}
            _ => return Err(TlsError::Malformed),
        }
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&crt)
            .and_then(Iterator::collect)
            .map_err(|_| TlsError::Malformed)?;
        let key = PrivateKeyDer::from_pem_file(&key).map_err(|_| TlsError::Malformed)?;
        let leaf = chain.first().ok_or(TlsError::Malformed)?;
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| TlsError::Malformed)?;
        let pin = SpkiPin(sha256(&[parsed.public_key().raw]));
        Ok(Self { chain, key, pin })
    }
}

fn make(dir: &Path, host: &str) -> Result<(), TlsError> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if !names.iter().any(|name| name == host) {
        names.push(host.to_owned());
    }
    let key = KeyPair::generate().map_err(TlsError::NotMade)?;
    let mut params = CertificateParams::new(names).map_err(TlsError::NotMade)?;
    params.distinguished_name.push(DnType::CommonName, "Roundsman server");
    // Devices trust the pinned key, not the date; some TLS libraries refuse years past 2049 in odd forms.
    params.not_before = rcgen::date_time_ymd(2024, 1, 1);
    params.not_after = rcgen::date_time_ymd(2049, 1, 1);
    let certificate = params.self_signed(&key).map_err(TlsError::NotMade)?;
    write_private(&dir.join("tls.key"), Zeroizing::new(key.serialize_pem()).as_bytes())
        .map_err(TlsError::Files)?;
    write_private(&dir.join("tls.crt"), certificate.pem().as_bytes()).map_err(TlsError::Files)
}

/// Makes the spare key and returns its pin.
pub(crate) fn make_spare(dir: &Path) -> Result<SpkiPin, TlsError> {
    let key = KeyPair::generate().map_err(TlsError::NotMade)?;
    write_private(&dir.join("tls-spare.key"), Zeroizing::new(key.serialize_pem()).as_bytes())
        .map_err(TlsError::Files)?;
    Ok(SpkiPin(sha256(&[&key.subject_public_key_info()])))
}

/// Writes a file that only the server's own user can read.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
