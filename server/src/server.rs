//! The running server, and how it comes up.

use crate::admin::{self, SecondFactor};
use crate::app::App;
use crate::attachments::{AttachmentLimits, AttachmentPlace, Contents, PlaceError, open_place};
use crate::keys::{self, FirstKeys, KEEP_OFFLINE, KeysError, OrgKeys};
use crate::password::Gate;
use crate::poke::{self, Seats};
use crate::random::{self, NoEntropy};
use crate::storage::postgres::Reached;
use crate::storage::sqlite::{DatabaseKey, Sqlite};
use crate::storage::{Storage, StorageError, WriteTx};
use crate::tls::{self, Identity, TlsError, TlsListener};
use crate::{Admin, AdminError, Config, Database, NewAdmin, Secret, console, http, upkeep};
use chrono::Utc;
use roundsman_protocol::ticket::SpkiPin;
use std::io;
use std::path::Path;
use std::sync::{Arc, RwLock};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

/// How long running requests get to end when the server stops.
const STOP: Duration = Duration::from_secs(5);

/// The environment variable that holds the database's key in hex, instead of the file `server.key`.
const KEY_VARIABLE: &str = "ROUNDSMAN_DB_KEY";

/// A server that listens until it is stopped.
pub struct Server {
    app: Arc<App>,
    first: Option<First>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<io::Result<()>>,
    upkeep: JoinHandle<()>,
    seats: Arc<Seats>,
    poking: JoinHandle<()>,
}

/// What a first start made for people to keep.
struct First {
    admin: FirstAdmin,
    keys: FirstKeys,
}

/// What the person who starts a server for the first time must write down. It can't be shown again.
pub struct FirstAdmin {
    /// The email to sign in with.
    pub email: String,
    /// The password that was made up, if none was given.
    pub password: Option<Secret>,
    /// The second factor for an authenticator app: an `otpauth://` address.
    pub totp_url: String,
    /// The second factor's secret in base32, to type in.
    pub totp_secret: String,
}

/// Why a server did not start. What was on disk is still there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data folder can't be made, read or written.
    #[error("the data folder can't be used")]
    Folder(#[source] io::Error),
    /// There is a database, but no key for it.
    #[error("the database has no key: put server.key back, or set ROUNDSMAN_DB_KEY")]
    KeyMissing,
    /// The database's key is not 64 hex digits.
    #[error("the database's key must be 64 hex digits")]
    KeyMalformed,
    /// The public address is not `https://host` or `https://host:port`.
    #[error("the public address must be https://host:port, without a path")]
    PublicUrl,
    /// The database was set up by another instance, and this one has not its certificate.
    #[error("copy tls.crt and tls.key from the data folder of another instance: phones trust no other key")]
    CertificateMissing,
    /// Nothing was set up in this folder yet.
    #[error("no server was started with this data folder and database yet; run serve first")]
    NotSetUp,
    /// The address can't be listened on.
    #[error("the address can't be listened on")]
    Listen(#[source] io::Error),
    /// The certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The organisation's keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The first administrator could not be made.
    #[error(transparent)]
    FirstAdmin(#[from] AdminError),
    /// The storage of attachments.
    #[error(transparent)]
    Attachments(#[from] PlaceError),
    /// The database.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// No random numbers.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
}

impl Server {
    /// Starts a server: opens the database, keys and certificate in its folder, or makes them at the first start,
    /// and listens.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let listener = TcpListener::bind(config.listen).await.map_err(StartError::Listen)?;
        let port = listener.local_addr().map_err(StartError::Listen)?.port();
        let anchors = config.anchors.clone().unwrap_or_else(|| config.data_dir.join("anchors"));
        let set_up = tokio::task::spawn_blocking(move || set_up(config, port));
        let SetUp { app, identity, first, nonce_key } =
            set_up.await.map_err(|error| StartError::Folder(io::Error::other(error)))??;
        make_folder(&anchors).map_err(StartError::Folder)?;
        let app = Arc::new(app);
        let seats = Arc::<Seats>::default();
        let poking = poke::go_on(Arc::clone(&app), Arc::clone(&seats), app.storage.subscribe());
        let poking = tokio::spawn(poking);
        let routes = http::router(Arc::clone(&app), Arc::clone(&seats), nonce_key)
            .merge(console::router(Admin::new(Arc::clone(&app))));
        let listener =
            TlsListener::new(listener, tls::server_config(&identity)?).map_err(StartError::Listen)?;
        let (stop, mut stopped) = watch::channel(false);
        let serving = tokio::spawn(async move {
            axum::serve(listener, routes)
                .with_graceful_shutdown(async move {
                    // An error means the server was dropped, which is a reason to stop as well.
                    let _dropped = stopped.changed().await;
                })
                .await
        });
        let upkeep = tokio::spawn(upkeep::go_on(Arc::clone(&app), anchors));
        Ok(Self { app, first, stop, serving, upkeep, seats, poking })
    }

    /// The public address, `https://host:port`.
    pub fn url(&self) -> &str {
        &self.app.public_url
    }

    /// The pin of the certificate's key.
    pub fn pin(&self) -> SpkiPin {
        self.app.pins.first().copied().unwrap_or(SpkiPin([0; 32]))
    }

    /// What an administrator can do.
    pub fn admin(&self) -> Admin {
        Admin::new(Arc::clone(&self.app))
    }

    /// The first administrator's credentials, at the first start only.
    pub fn first_admin(&self) -> Option<&FirstAdmin> {
        self.first.as_ref().map(|first| &first.admin)
    }

    /// The keys for people to keep, at the first start only. They also lie in the folder `keep-offline` of the data
    /// folder, which is to be moved off this machine.
    pub fn first_keys(&self) -> Option<&FirstKeys> {
        self.first.as_ref().map(|first| &first.keys)
    }

    /// Stops listening and lets running requests end, for five seconds at most. What the server did by itself has ended
    /// when this returns.
    pub async fn stop(mut self) {
        self.upkeep.abort();
        self.poking.abort();
        // Channels would stay open as long as phones listen.
        self.seats.close();
        self.stop.send_replace(true);
        if tokio::time::timeout(STOP, &mut self.serving).await.is_err() {
            self.serving.abort();
        }
        // What was stopped lets go of the database only when it has ended: whoever puts other files in its place after
        // this must not have their log removed by its close.
        for task in [&mut self.upkeep, &mut self.poking] {
            let _stopped = task.await;
        }
    }
}

impl Admin {
    /// Opens the data folder of a server, running or not, for the command line.
    ///
    /// # Errors
    /// [`StartError::NotSetUp`] before the first start; otherwise see [`StartError`].
    pub fn open(data_dir: &Path) -> Result<Self, StartError> {
        Self::open_on(data_dir, None)
    }

    /// The same for a server that keeps everything in PostgreSQL; its data folder holds the key.
    ///
    /// # Errors
    /// See [`Self::open`].
    pub fn open_on(data_dir: &Path, database: Option<&Database>) -> Result<Self, StartError> {
        let storage: Box<dyn Storage> = if let Some(reached) = reach(database)? {
            Box::new(reached.open(&database_key(data_dir, true)?)?)
        } else if data_dir.join(DATABASE).exists() {
            open_storage(data_dir, None)?
        } else {
            return Err(StartError::NotSetUp);
        };
        let mut tx = storage.write()?;
        OrgKeys::load(tx.as_ref())?.ok_or(StartError::NotSetUp)?;
        add_up(tx.as_mut())?;
        tx.commit()?;
        Self::over(storage, Contents::nowhere())
    }

    /// Opens the data folder of a server to look at all of it, with the content of attachments, and not to change anything:
    /// not even a database of an earlier version is brought up to date.
    ///
    /// # Errors
    /// See [`Self::open`]; [`StorageError::Older`] for a database of an earlier version.
    pub fn open_as_is(
        data_dir: &Path,
        database: Option<&Database>,
        attachments: &AttachmentPlace,
    ) -> Result<Self, StartError> {
        let file = data_dir.join(DATABASE);
        let storage: Box<dyn Storage> = if let Some(reached) = reach(database)? {
            Box::new(reached.open_as_is(&database_key(data_dir, true)?)?)
        } else if file.exists() {
            Box::new(Sqlite::open_as_is(&file, database_key(data_dir, true)?)?)
        } else {
            return Err(StartError::NotSetUp);
        };
        let store = open_place(attachments, data_dir)?;
        Self::over(storage, Contents::new(store, AttachmentLimits::default()))
    }

    fn over(storage: Box<dyn Storage>, contents: Contents) -> Result<Self, StartError> {
        let tx = storage.read()?;
        let keys = OrgKeys::load(tx.as_ref())?.ok_or(StartError::NotSetUp)?;
        let url = tx.setting("public_url")?.ok_or(StartError::NotSetUp)?;
        let public_url = String::from_utf8_lossy(&url).into_owned();
        let pins = tx.setting("pins")?.ok_or(StartError::NotSetUp)?;
        let pins = pins.as_chunks::<32>().0.iter().map(|pin| SpkiPin(*pin)).collect();
        let org_name = keys::org_name(tx.as_ref())?;
        drop(tx);
        Ok(Self::new(Arc::new(app(storage, contents, keys, org_name, public_url, pins))))
    }
}

/// The PostgreSQL that was named, if one was, and a server has set it up.
fn reach(database: Option<&Database>) -> Result<Option<Reached>, StartError> {
    let Some(database) = database else { return Ok(None) };
    let reached = Reached::connect(database)?;
    if reached.is_set_up()? { Ok(Some(reached)) } else { Err(StartError::NotSetUp) }
}

const DATABASE: &str = "roundsman.db";

/// The setting that says that every bucket has been added up.
const ADDED_UP: &str = "buckets_added_up";

/// Adds every bucket up, once: a database from before knows no sums. From then on each change of a record changes them.
fn add_up(tx: &mut dyn WriteTx) -> Result<(), StorageError> {
    if tx.setting(ADDED_UP)?.is_none() {
        tx.recount()?;
        tx.set_setting(ADDED_UP, &[1])?;
    }
    Ok(())
}

fn app(
    storage: Box<dyn Storage>,
    contents: Contents,
    keys: OrgKeys,
    org_name: String,
    public_url: String,
    pins: Vec<SpkiPin>,
) -> App {
    App {
        storage: storage.into(),
        known_keys: RwLock::new(Arc::new(keys)),
        org_name,
        public_url,
        pins,
        contents,
        gate: Gate::new(),
        clock: Arc::new(Utc::now),
    }
}

/// The setting with the key of nonces, where several instances give them out.
const NONCE_KEY: &str = "nonce_key";

/// All that a server needs to listen.
struct SetUp {
    app: App,
    identity: Identity,
    first: Option<First>,
    nonce_key: Zeroizing<[u8; 32]>,
}

fn set_up(config: Config, port: u16) -> Result<SetUp, StartError> {
    let dir = &config.data_dir;
    make_folder(dir).map_err(StartError::Folder)?;
    if config.public_url.as_deref().is_some_and(|url| host(url.trim_end_matches('/')).is_none()) {
        return Err(StartError::PublicUrl);
    }
    let store = open_place(&config.attachments.place, dir)?;
    let contents = Contents::new(store, config.attachments.limits);
    let storage = open_storage(dir, config.database.as_ref())?;
    let shared = config.database.is_some();
    let mut tx = storage.write()?;
    // What a further instance is not told, it takes from those that run.
    let known = if shared { tx.setting("public_url")? } else { None };
    let public_url = match (config.public_url, known) {
        (Some(url), _) => url.trim_end_matches('/').to_owned(),
        (None, Some(url)) => String::from_utf8_lossy(&url).into_owned(),
        (None, None) => format!("https://localhost:{port}"),
    };
    if shared && tx.root_version()?.is_some() && !dir.join("tls.crt").exists() {
        return Err(StartError::CertificateMissing);
    }
    let identity = Identity::load_or_make(dir, host(&public_url).ok_or(StartError::PublicUrl)?)?;
    let first = match OrgKeys::load(tx.as_ref())? {
        Some(_) => None,
        None => Some(found(tx.as_mut(), dir, &config.org_name, config.first_admin)?),
    };
    let keys = OrgKeys::load(tx.as_ref())?.ok_or(KeysError::Damaged)?;
    add_up(tx.as_mut())?;
    let spare = match tx.setting("spare_pin")? {
        Some(pin) => SpkiPin(pin.as_slice().try_into().map_err(|_| KeysError::Damaged)?),
        None => tls::make_spare(dir)?,
    };
    tx.set_setting("spare_pin", &spare.0)?;
    tx.set_setting("public_url", public_url.as_bytes())?;
    tx.set_setting("pins", &[identity.pin.0, spare.0].concat())?;
    let org_name = keys::org_name(tx.as_ref())?;
    let nonce_key = nonce_key(tx.as_mut(), shared)?;
    tx.commit()?;
    let app = app(storage, contents, keys, org_name, public_url, vec![identity.pin, spare]);
    Ok(SetUp { app, identity, first, nonce_key })
}

/// The key of nonces: common to all instances on one database, which remember proofs together. One server alone has a fresh
/// one: nonces of an earlier run are void, so its proofs needn't be remembered.
fn nonce_key(tx: &mut dyn WriteTx, shared: bool) -> Result<Zeroizing<[u8; 32]>, StartError> {
    let mut key = Zeroizing::new(random::bytes::<32>()?);
    if !shared {
        return Ok(key);
    }
    match tx.setting(NONCE_KEY)? {
        Some(known) if known.len() == key.len() => key.copy_from_slice(&known),
        Some(_) => return Err(KeysError::Damaged.into()),
        None => tx.set_setting(NONCE_KEY, key.as_slice())?,
    }
    Ok(key)
}

/// Founds the organisation: its keys and its first administrator. The keys that the server does not keep are on
/// disk before it knows of them: a start that is cut off loses none.
fn found(
    tx: &mut dyn WriteTx,
    dir: &Path,
    org_name: &str,
    first: Option<NewAdmin>,
) -> Result<First, StartError> {
    let (new, made_up) = if let Some(new) = first {
        (new, None)
    } else {
        let password = Secret::new(random::password()?);
        let shown = password.duplicate();
        let (email, name) = ("admin@localhost".to_owned(), "Administrator".to_owned());
        (NewAdmin { email, name, password }, Some(shown))
    };
    let now = Utc::now();
    let folder = dir.join(KEEP_OFFLINE);
    make_folder(&folder).map_err(StartError::Folder)?;
    let keys = FirstKeys::make(&folder, &new.name)?;
    OrgKeys::create(tx, org_name, &keys, now)?;
    let SecondFactor { url, secret } = admin::add_first_admin(tx, org_name, &new, now)?;
    let admin = FirstAdmin { email: new.email, password: made_up, totp_url: url, totp_secret: secret };
    Ok(First { admin, keys })
}

pub(crate) fn open_storage(dir: &Path, shared: Option<&Database>) -> Result<Box<dyn Storage>, StartError> {
    if let Some(shared) = shared {
        let reached = Reached::connect(shared)?;
        let key = database_key(dir, reached.is_set_up()?)?;
        return Ok(Box::new(reached.open(&key)?));
    }
    let database = dir.join(DATABASE);
    let key = database_key(dir, database.exists())?;
    Ok(Box::new(Sqlite::open(&database, key)?))
}

pub(crate) fn database_key(dir: &Path, needed: bool) -> Result<DatabaseKey, StartError> {
    let file = dir.join("server.key");
    let text = match std::env::var(KEY_VARIABLE) {
        Ok(text) => Zeroizing::new(text),
        Err(_) => match std::fs::read_to_string(&file) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !needed => {
                let key = Zeroizing::new(random::bytes::<32>()?);
                let hex = crate::secret::hex(&key);
                tls::write_private(&file, hex.as_bytes()).map_err(StartError::Folder)?;
                return Ok(DatabaseKey(key));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(StartError::KeyMissing),
            Err(error) => return Err(StartError::Folder(error)),
        },
    };
    let text = text.trim();
    if text.len() != 64 || !text.is_ascii() {
        return Err(StartError::KeyMalformed);
    }
    let mut key = Zeroizing::new([0; 32]);
    for (at, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| StartError::KeyMalformed)?;
    }
    Ok(DatabaseKey(key))
}

pub(crate) fn make_folder(dir: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

/// The host of `https://host:port`.
fn host(url: &str) -> Option<&str> {
    let authority = url.strip_prefix("https://")?;
    if authority.is_empty() || authority.contains(['/', '?', '#', '@', ' ']) {
        return None;
    }
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next()?,
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    (!host.is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::host;

    #[test]
    fn the_public_address_is_a_host_without_a_path() {
        assert_eq!(host("https://crm.example:8443"), Some("crm.example"));
        assert_eq!(host("https://crm.example"), Some("crm.example"));
        assert_eq!(host("https://[::1]:8443"), Some("::1"));
        for wrong in ["http://crm.example", "https://", "https://a/b", "https://u@h", "https://:1"] {
            assert_eq!(host(wrong), None, "{wrong}");
        }
    }
}
