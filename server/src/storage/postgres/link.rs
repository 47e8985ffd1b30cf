//! Reaches the database: address, TLS, and a connection that listens for what other instances commit.

use super::pool::Conn;
use crate::Database;
use crate::storage::{Notice, Result, StorageError};
use futures_util::{StreamExt, stream};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::broadcast;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{AsyncMessage, Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long to try to connect.
const CONNECT: Duration = Duration::from_secs(10);

/// How long a silent connection is trusted.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// How long to wait before listening again.
const AGAIN: Duration = Duration::from_secs(1);

/// What every connection is set to. A transaction of an instance that died must not keep the others from writing.
const SESSION: &str = "SET idle_in_transaction_session_timeout = '60s'; SET lock_timeout = '60s';
                       SET client_min_messages = 'warning'";

/// The way to a database.
pub(super) struct Link {
    config: Config,
    tls: MakeRustlsConnect,
    // Some until it is dropped, which must not wait: it may happen on an executor's thread.
    runtime: Option<Runtime>,
}

impl Link {
    pub(super) fn new(address: &Database) -> Result<Self> {
        let mut config: Config =
            address.url.expose().parse().map_err(|_| {
                StorageError::Address("write it as postgres://user:password@host:5432/database")
            })?;
        let local = config.get_hosts().iter().all(is_local) && !config.get_hosts().is_empty();
        let mut roots = RootCertStore::empty();
        if let Some(ca) = &address.ca {
            let unreadable = |_| StorageError::Address("the file of its certificates is not in PEM form");
            for certificate in CertificateDer::pem_file_iter(ca).map_err(unreadable)? {
                roots
                    .add(certificate.map_err(unreadable)?)
                    .map_err(|_| StorageError::Address("a certificate of its file can't be used"))?;
            }
            config.ssl_mode(SslMode::Require);
        } else if !local {
            return Err(StorageError::Address(
                "a database on another machine needs TLS: name the file of its certificates (--database-ca)",
            ));
        } else if config.get_ssl_mode() == SslMode::Require {
            return Err(StorageError::Address("for TLS, name the file of its certificates (--database-ca)"));
        } else {
            config.ssl_mode(SslMode::Disable);
        }
        config.application_name("roundsman-server").keepalives_idle(KEEPALIVE).tcp_user_timeout(KEEPALIVE);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| StorageError::Unreachable(Box::new(error)))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("postgres")
            .enable_all()
            .build()
            .map_err(|error| StorageError::Unreachable(Box::new(error)))?;
        Ok(Self { config, tls: MakeRustlsConnect::new(tls), runtime: Some(runtime) })
    }

    fn runtime(&self) -> Result<&Runtime> {
        self.runtime.as_ref().ok_or_else(|| StorageError::Unreachable("the server is stopping".into()))
    }

    /// A new connection. Blocks, on any thread.
    pub(super) fn connect(&self) -> Result<Conn> {
        let (config, tls) = (self.config.clone(), self.tls.clone());
        let (done, connected) = mpsc::sync_channel(1);
        self.runtime()?.spawn(async move {
            let connecting = async {
                let (client, connection) = config.connect(tls).await?;
                tokio::spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "a connection to the database ended");
                    }
                });
                client.batch_execute(SESSION).await?;
                Ok::<Client, tokio_postgres::Error>(client)
            };
            // An error means that nobody waits any more.
            let _nobody = done.send(connecting.await);
        });
        let connected = connected.recv().map_err(|error| StorageError::Unreachable(Box::new(error)))?;
        let conn = Conn::new(connected.map_err(|error| StorageError::Unreachable(Box::new(error)))?);
        let encoding = conn.query("SHOW server_encoding", &[])?;
        if encoding.first().and_then(|row| row.try_get::<_, String>(0).ok()).as_deref() != Some("UTF8") {
            return Err(StorageError::Address("make the database with the encoding UTF8"));
        }
        Ok(conn)
    }

    /// Listens for what other instances, and this one, commit. Returns once it does, so that nothing of later is missed.
    pub(super) fn listen(&self, channel: &str, notices: broadcast::Sender<Notice>) -> Result<()> {
        let (config, tls, channel) = (self.config.clone(), self.tls.clone(), channel.to_owned());
        let (ready, first) = mpsc::sync_channel(1);
        self.runtime()?.spawn(async move {
            let mut ready = Some(ready);
            loop {
                let heard = listen_once(&config, &tls, &channel, &notices, &mut ready).await;
                if let Err(error) = heard {
                    tracing::warn!(%error, "the database's notices are not heard; trying again");
                }
                tokio::time::sleep(AGAIN).await;
            }
        });
        first.recv_timeout(CONNECT).map_err(|error| StorageError::Unreachable(Box::new(error)))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Hands notices on until the connection ends.
async fn listen_once(
    config: &Config,
    tls: &MakeRustlsConnect,
    channel: &str,
    notices: &broadcast::Sender<Notice>,
    ready: &mut Option<mpsc::SyncSender<()>>,
) -> std::result::Result<(), tokio_postgres::Error> {
    let (client, mut connection) = config.connect(tls.clone()).await?;
    let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
    let (sender, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let pump = tokio::spawn(async move {
        while let Some(message) = messages.next().await {
            match message {
                Ok(AsyncMessage::Notification(notification)) => {
                    if sender.send(notification).is_err() {
                        return Ok(());
                    }
                }
                Ok(_) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    });
    // The name is made of letters, digits and `_`.
    client.batch_execute(&format!("LISTEN {channel}")).await?;
    match ready.take() {
        Some(ready) => {
            let _nobody = ready.send(());
        }
        // What was committed while nobody listened is not known.
        None => {
            let _nobody = notices.send(Notice::Anything);
        }
    }
    while let Some(notification) = heard.recv().await {
        let _nobody = notices.send(Notice::from_text(notification.payload()));
    }
    drop(client);
    match pump.await {
        Ok(ended) => ended,
        Err(_) => Ok(()),
    }
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::TestResult;
    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use rustls::pki_types::PrivateKeyDer;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::path::Path;
    use std::thread;

    /// What somebody hears who stands in the database's place, says this about TLS, and has this certificate.
    fn heard(says: u8, own: &CertifiedKey<rcgen::KeyPair>, trusted: &Path) -> TestResult<Vec<u8>> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let key = PrivateKeyDer::try_from(own.signing_key.serialize_der())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)?;
        let standing = thread::spawn(move || -> std::io::Result<Vec<u8>> {
            let (mut socket, _) = listener.accept()?;
            let mut asked = [0; 8];
            socket.read_exact(&mut asked)?;
            socket.write_all(&[says])?;
            let mut heard = Vec::new();
            if says == b'S' {
                let tls = rustls::ServerConnection::new(Arc::new(config)).map_err(std::io::Error::other)?;
                let mut stream = rustls::StreamOwned::new(tls, socket);
                let mut start = [0; 512];
                if let Ok(length) = stream.read(&mut start) {
                    heard.extend_from_slice(&start[..length]);
                }
            } else {
                let _cut = socket.read_to_end(&mut heard);
            }
            Ok(heard)
        });
        let url = format!("postgres://somebody:secret@localhost:{port}/x?hostaddr=127.0.0.1");
        let link = Link::new(&Database { url: url.as_str().into(), ca: Some(trusted.to_owned()) })?;
        assert!(matches!(link.connect(), Err(StorageError::Unreachable(_))));
        Ok(standing.join().map_err(|_| "panicked")??)
    }

    #[test]
    fn nothing_is_said_to_a_database_whose_certificate_is_not_signed_as_it_should_be() -> TestResult {
        let dir = tempfile::tempdir()?;
        let ca = dir.path().join("ca.pem");
        let right = generate_simple_self_signed(["localhost".to_owned()])?;
        let other = generate_simple_self_signed(["localhost".to_owned()])?;
        std::fs::write(&ca, right.cert.pem())?;
        assert!(heard(b'S', &right, &ca)?.windows(8).any(|part| part == b"somebody"), "over TLS");
        assert!(heard(b'S', &other, &ca)?.is_empty(), "another certificate");
        assert!(heard(b'N', &right, &ca)?.is_empty(), "no TLS at all");
        Ok(())
    }

    fn refused(url: &str) -> bool {
        matches!(Link::new(&Database { url: url.into(), ca: None }), Err(StorageError::Address(_)))
    }

    #[test]
    fn a_database_elsewhere_is_never_reached_without_tls() {
        for url in [
            "postgres://u@db.example/x",
            "postgres://u@10.0.0.7/x?sslmode=disable",
            "postgres://u@localhost,db.example/x",
            "postgres:///x",
            "mysql://u@localhost/x",
        ] {
            assert!(refused(url), "{url}");
        }
        for url in ["postgres://u@localhost/x", "postgres://u@[::1]:5433/x", "postgres://u@%2Frun%2Fpg/x"] {
            assert!(!refused(url), "{url}");
        }
    }
}
