//! A device that speaks to a real server over real TLS.

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::ecdsa::{Signature, SigningKey};
use reqwest::Response;
use roundsman_model::Role;
use roundsman_protocol::api::EnrolRequest;
use roundsman_protocol::keys::DeviceKey;
use roundsman_protocol::sync::Frame;
use roundsman_protocol::ticket::Ticket;
use roundsman_protocol::{Problem, dpop, sha256};
use roundsman_server::admin::NewUser;
use roundsman_server::{Admin, Config, NewAdmin, Server};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::sync::Arc;
use uuid::Uuid;

pub(crate) type TestResult<T = ()> = Result<T, Box<dyn Error>>;

/// A server on a free port with its data in a temporary folder.
pub(crate) struct Rig {
    pub(crate) server: Server,
    pub(crate) admin: Admin,
    pub(crate) http: reqwest::Client,
    pub(crate) dir: tempfile::TempDir,
}

pub(crate) async fn rig() -> TestResult<Rig> {
    let dir = tempfile::tempdir()?;
    let password = "a long enough password".into();
    let first_admin = Some(NewAdmin { email: "admin@example.com".into(), name: "Boss".into(), password });
    let server = Server::start(Config {
        data_dir: dir.path().to_owned(),
        database: None,
        listen: "127.0.0.1:0".parse()?,
        public_url: None,
        org_name: "Test".into(),
        anchors: None,
        attachments: roundsman_server::AttachmentConfig::default(),
        first_admin,
    })
    .await?;
    let http = client(&dir.path().join("tls.crt"))?;
    Ok(Rig { admin: server.admin(), server, http, dir })
}

/// A client that trusts this certificate and checks it as any TLS client would.
#[allow(clippy::disallowed_methods, reason = "trusts the server's own certificate instead of a pin")]
pub(crate) fn client(certificate: &std::path::Path) -> TestResult<reqwest::Client> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate)?)?;
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build()?)
}

/// A device's key.
pub(crate) struct Phone {
    signing: SigningKey,
    pub(crate) key: DeviceKey,
}

impl Phone {
    pub(crate) fn new() -> TestResult<Self> {
        let seed = sha256(&[Uuid::now_v7().as_bytes(), Uuid::now_v7().as_bytes()]);
        let signing = SigningKey::from_slice(&seed)?;
        let key = DeviceKey::from_sec1(signing.verifying_key().to_sec1_point(false).as_ref())?;
        Ok(Self { signing, key })
    }

    pub(crate) fn proof(&self, url: &str, token: Option<&str>, nonce: Option<&str>) -> TestResult<String> {
        let jti = *Uuid::now_v7().as_bytes();
        let claims = dpop::claims(jti, "POST", url, chrono::Utc::now(), token, nonce);
        Ok(dpop::prove(&self.key, &claims, |message| self.es256(message))?)
    }

    pub(crate) fn es256(&self, message: &[u8]) -> Result<[u8; 64], p256::ecdsa::Error> {
        let signature: Signature = self.signing.sign_prehash(&sha256(&[message]))?;
        Ok(signature.to_bytes().into())
    }
}

impl Rig {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server.url())
    }

    /// A nonce, as any answer carries one.
    pub(crate) async fn nonce(&self) -> TestResult<String> {
        let answer = self.http.get(self.url("/v1/root")).send().await?;
        Ok(answer.headers().get("dpop-nonce").ok_or("no nonce")?.to_str()?.to_owned())
    }

    pub(crate) async fn post(
        &self,
        path: &str,
        proof: &str,
        token: Option<&str>,
        body: Vec<u8>,
    ) -> TestResult<Response> {
        let mut request = self.http.post(self.url(path)).header("dpop", proof).body(body);
        if let Some(token) = token {
            request = request.header("authorization", format!("DPoP {token}"));
        }
        Ok(request.send().await?)
    }

    /// Posts with a proof as it should be.
    pub(crate) async fn proved(
        &self,
        phone: &Phone,
        path: &str,
        token: Option<&str>,
        body: Vec<u8>,
    ) -> TestResult<Response> {
        let proof = phone.proof(&self.url(path), token, Some(&self.nonce().await?))?;
        self.post(path, &proof, token, body).await
    }

    /// A ticket for a new rep of a territory.
    pub(crate) fn ticket(&self, name: &str, territory: &str) -> TestResult<Ticket> {
        let user = NewUser {
            email: format!("{name}@example.com"),
            name: name.into(),
            role: Role::Rep,
            territories: vec![territory.into()],
            password: None,
        };
        let user = self.admin.add_user(Admin::OPERATOR, user)?;
        Ok(Ticket::from_text(&self.admin.issue_ticket(Admin::OPERATOR, user)?.text)?)
    }
}

pub(crate) fn enrolment(ticket: [u8; 16]) -> TestResult<Vec<u8>> {
    Ok(serde_json::to_vec(&EnrolRequest {
        ticket,
        install: Uuid::now_v7(),
        name: "Test phone".into(),
        platform: "linux".into(),
        hardware_keys: false,
        core: "0.1.0".into(),
    })?)
}

pub(crate) async fn problem(answer: Response) -> TestResult<Problem> {
    assert_eq!(
        answer.headers().get("content-type").and_then(|kind| kind.to_str().ok()),
        Some("application/problem+json")
    );
    assert!(answer.headers().contains_key("dpop-nonce"));
    Ok(serde_json::from_slice(&answer.bytes().await?)?)
}

/// Lines under gzip.
pub(crate) fn pack(lines: &[Vec<u8>]) -> TestResult<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for line in lines {
        encoder.write_all(line)?;
        encoder.write_all(b"\n")?;
    }
    Ok(encoder.finish()?)
}

/// The frames of an answer.
pub(crate) async fn frames(answer: Response) -> TestResult<Vec<Frame>> {
    let body = answer.bytes().await?;
    BufReader::new(GzDecoder::new(body.as_ref()))
        .lines()
        .map(|line| Ok(serde_json::from_str(&line?)?))
        .collect()
}
