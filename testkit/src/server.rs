//! The server in the process.

use crate::{Answers, FakeTransport, ManualClock};
use async_trait::async_trait;
use bytes::Bytes;
use roundsman_core::platform::{
    Body, Clock, OsEntropy, Request, Response, SoftwareKeys, Transport, TransportError,
};
use roundsman_core::vault::KdfCost;
use roundsman_core::{Client, Config};
use roundsman_model::{Bucket, DeviceId, Role, UserId};
use roundsman_protocol::sync::Row;
use roundsman_protocol::ticket::SpkiPin;
use roundsman_server::admin::{AdminError, ImportError, ImportReport, Mapping, NewUser, TerritoryFrom};
use roundsman_server::{
    Admin, Answer, Database, FirstKeys, InProcess, KeysError, NewAdmin, Question, Secret, StartError,
};
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use tempfile::TempDir;
use uuid::Uuid;

/// Where devices believe the server to be.
const URL: &str = "https://roundsman.test";

/// Why the kit could not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KitError {
    /// The temporary folder.
    #[error("the temporary folder can't be used")]
    Folder(#[from] io::Error),
    /// The server.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The administrator was refused.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// A key file.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The file was not imported.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The client.
    #[error(transparent)]
    Client(#[from] roundsman_core::Error),
    /// The server is stopped.
    #[error("the server is stopped: call restart first")]
    Stopped,
    /// The folder holds a server of an earlier run, whose keys are not at hand.
    #[error("the folder was set up before: open it with the keys of that time")]
    SetUpBefore,
}

/// A server with an organisation in it, called directly.
pub struct TestServer {
    dir: PathBuf,
    _temporary: Option<TempDir>,
    database: Option<Database>,
    clock: Arc<ManualClock>,
    keys: Arc<FirstKeys>,
    actor: UserId,
    running: RwLock<Option<Running>>,
}

/// The server, and how it is reached at other addresses.
struct Running {
    server: InProcess,
    elsewhere: HashMap<String, InProcess>,
}

impl TestServer {
    /// Starts one with its data in a temporary folder, which goes when the server is dropped.
    ///
    /// # Errors
    /// The folder or the database can't be made.
    pub fn start() -> Result<Arc<Self>, KitError> {
        let temporary = TempDir::new()?;
        let dir = temporary.path().join("server");
        Self::at(dir, Some(temporary), None, Arc::default(), None)
    }

    /// Starts one in this folder, with this clock. A folder in which one ran before goes on from there, with the keys
    /// that people hold, from [`keys`](Self::keys) of that one.
    ///
    /// # Errors
    /// The folder or the database can't be used; [`KitError::SetUpBefore`] without the keys.
    pub fn start_in(
        dir: &Path,
        clock: Arc<ManualClock>,
        keys: Option<Arc<FirstKeys>>,
    ) -> Result<Arc<Self>, KitError> {
        Self::at(dir.to_owned(), None, None, clock, keys)
    }

    /// The same with everything but keys and the content of attachments in this database of PostgreSQL, which is empty
    /// or was used with this folder before.
    ///
    /// # Errors
    /// As [`start_in`](Self::start_in); the database can't be reached.
    pub fn start_on(
        dir: &Path,
        database: Database,
        clock: Arc<ManualClock>,
        keys: Option<Arc<FirstKeys>>,
    ) -> Result<Arc<Self>, KitError> {
        Self::at(dir.to_owned(), None, Some(database), clock, keys)
    }

    fn at(
        dir: PathBuf,
        temporary: Option<TempDir>,
        database: Option<Database>,
        clock: Arc<ManualClock>,
        keys: Option<Arc<FirstKeys>>,
    ) -> Result<Arc<Self>, KitError> {
        let (running, first) = begin(&dir, database.as_ref(), &clock)?;
        let keys = first.map(Arc::new).or(keys).ok_or(KitError::SetUpBefore)?;
        let users = running.server.admin().users()?;
        let actor =
            users.iter().find(|user| user.role == Role::Admin).map_or(Admin::OPERATOR, |user| user.id);
        let running = RwLock::new(Some(running));
        Ok(Arc::new(Self { dir, _temporary: temporary, database, clock, keys, actor, running }))
    }

    /// The clock of the server and of its phones.
    pub fn clock(&self) -> &Arc<ManualClock> {
        &self.clock
    }

    /// The keys that people of the organisation hold.
    pub fn keys(&self) -> &Arc<FirstKeys> {
        &self.keys
    }

    /// Where its data is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The administrator that acts in the calls below.
    pub fn actor(&self) -> UserId {
        self.actor
    }

    /// What the console would call.
    ///
    /// # Errors
    /// The server is stopped.
    pub fn admin(&self) -> Result<Admin, KitError> {
        Ok(self.running()?.admin())
    }

    /// Adds a rep with these territories.
    ///
    /// # Errors
    /// The name is taken, or a code is not one.
    pub fn add_rep(&self, name: &str, territories: &[&str]) -> Result<UserId, KitError> {
        let user = NewUser {
            email: format!("{name}@example.com"),
            name: name.to_owned(),
            role: Role::Rep,
            territories: territories.iter().map(|code| (*code).to_owned()).collect(),
            password: None,
        };
        Ok(self.admin()?.add_user(self.actor, user)?)
    }

    /// The text of a fresh enrolment code.
    ///
    /// # Errors
    /// There is no such user.
    pub fn ticket(&self, user: UserId) -> Result<String, KitError> {
        Ok(self.admin()?.issue_ticket(self.actor, user)?.text)
    }

    /// Imports customers from CSV text whose columns have the names of fields; `territory` is one of them.
    ///
    /// # Errors
    /// The text can't be read as CSV, or a column is missing.
    pub fn import(&self, csv: &str) -> Result<ImportReport, KitError> {
        let headers: Vec<String> =
            csv.lines().next().unwrap_or_default().split(',').map(str::to_owned).collect();
        let mut mapping = Mapping::guess(&headers);
        mapping.territory = TerritoryFrom::Column("territory".to_owned());
        Ok(self.admin()?.import_customers(self.actor, csv.as_bytes(), &mapping, &mut |_| {})?)
    }

    /// Locks a device: it obeys when it next reports.
    ///
    /// # Errors
    /// There is no such device, or it can't be locked now.
    pub fn lock(&self, device: DeviceId) -> Result<(), KitError> {
        Ok(self.admin()?.lock(self.actor, device, "asked for by a test")?)
    }

    /// Lets a locked device open again.
    ///
    /// # Errors
    /// There is no such device, or it is not locked.
    pub fn unlock(&self, device: DeviceId) -> Result<(), KitError> {
        Ok(self.admin()?.unlock(self.actor, device)?)
    }

    /// Orders a wipe, proposed by the administrator and approved with the first approver's key.
    ///
    /// # Errors
    /// There is no such device, or a wipe is proposed already.
    pub fn wipe(&self, device: DeviceId) -> Result<(), KitError> {
        let admin = self.admin()?;
        let proposal = admin.propose_wipe(self.actor, device, "asked for by a test", false)?;
        let signature = proposal.sign(&self.keys.approver).map_err(|_| AdminError::Keys)?;
        admin.approve_wipe(proposal.id, self.keys.approver.id(), &signature)?;
        Ok(())
    }

    /// Every row that the server has in a bucket; those that have left it have no fields.
    ///
    /// # Errors
    /// The server is stopped, or its database failed.
    pub fn rows(&self, bucket: &Bucket) -> Result<Vec<Row>, KitError> {
        Ok(self.running()?.rows(bucket)?)
    }

    /// All of an attachment's content that the server has; `None` if it has not come, or can't be read.
    ///
    /// # Errors
    /// The server is stopped, or its database failed.
    pub async fn content(&self, attachment: Uuid) -> Result<Option<Vec<u8>>, KitError> {
        Ok(self.running()?.content(attachment).await?)
    }

    /// The visits that the server has, of every territory that a rep has.
    ///
    /// # Errors
    /// The server is stopped, or its database failed.
    pub fn visits(&self) -> Result<Vec<Row>, KitError> {
        self.of("visit")
    }

    /// The customers that the server has, of every territory that a rep has.
    ///
    /// # Errors
    /// The server is stopped, or its database failed.
    pub fn customers(&self) -> Result<Vec<Row>, KitError> {
        self.of("customer")
    }

    fn of(&self, entity: &str) -> Result<Vec<Row>, KitError> {
        let users = self.admin()?.users()?;
        let territories: BTreeSet<String> = users.into_iter().flat_map(|user| user.territories).collect();
        let mut rows = Vec::new();
        for territory in territories {
            rows.extend(self.rows(&Bucket::territory(&territory))?);
        }
        rows.retain(|row| row.entity == entity && row.fields.is_some());
        Ok(rows)
    }

    /// Stops it: phones find nobody, until [`restart`](Self::restart).
    pub fn stop(&self) {
        *self.running.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Starts it from its folder, whether or not it was stopped.
    ///
    /// # Errors
    /// The database can't be opened.
    pub fn restart(&self) -> Result<(), KitError> {
        // The old one is closed first: both at once would be two servers on one file.
        self.stop();
        let (running, _) = begin(&self.dir, self.database.as_ref(), &self.clock)?;
        *self.running.write().unwrap_or_else(PoisonError::into_inner) = Some(running);
        Ok(())
    }

    /// A new phone that is not enrolled, in the server's temporary folder, and its network. Its passcode is hashed at
    /// the least cost that is allowed.
    ///
    /// # Errors
    /// The folder can't be used.
    pub fn phone(self: &Arc<Self>, name: &str) -> Result<(Client, Arc<FakeTransport>), KitError> {
        let server: Arc<dyn Answers> = Arc::<Self>::clone(self);
        let network = FakeTransport::new(server, Arc::clone(&self.clock));
        let folder = self.dir.with_file_name("phones").join(name);
        let transport: Arc<dyn Transport> = Arc::<FakeTransport>::clone(&network);
        let phone = Client::open(self.config(&folder, name, transport))?;
        Ok((phone, network))
    }

    /// The configuration of a phone whose vault is in `folder/vault` and whose platform keys are in `folder/keys`.
    pub fn config(&self, folder: &Path, name: &str, transport: Arc<dyn Transport>) -> Config {
        let keys = SoftwareKeys::new(folder.join("keys"), Arc::new(OsEntropy));
        let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&self.clock);
        Config {
            device_name: name.to_owned(),
            clock,
            transport,
            cost: Some(KdfCost::FLOOR),
            ..Config::new(folder.join("vault"), Arc::new(keys))
        }
    }

    /// The server as phones reach it that connect to `url`, where the test has something listen whose certificate has one
    /// of these pins. Clients of the kit need none.
    pub fn place(self: &Arc<Self>, url: &str, pins: &[SpkiPin]) -> Place {
        Place { server: Arc::clone(self), url: url.to_owned(), pins: pins.to_vec() }
    }

    /// Pokes phones that listen, for as long as it is polled. Drop it before the server is stopped: it keeps the database
    /// open.
    ///
    /// # Errors
    /// The server is stopped.
    pub fn pokes(&self) -> Result<impl Future<Output = ()> + Send + use<>, KitError> {
        Ok(self.running()?.pokes())
    }

    fn running(&self) -> Result<InProcess, KitError> {
        let running = self.running.read().unwrap_or_else(PoisonError::into_inner);
        running.as_ref().map(|running| running.server.clone()).ok_or(KitError::Stopped)
    }

    fn elsewhere(&self, url: &str, pins: &[SpkiPin]) -> Result<InProcess, KitError> {
        let mut running = self.running.write().unwrap_or_else(PoisonError::into_inner);
        let Running { server, elsewhere } = running.as_mut().ok_or(KitError::Stopped)?;
        if let Some(there) = elsewhere.get(url) {
            return Ok(there.clone());
        }
        let there = server.at(url, pins.to_vec())?;
        elsewhere.insert(url.to_owned(), there.clone());
        Ok(there)
    }
}

fn begin(
    dir: &Path,
    database: Option<&Database>,
    clock: &Arc<ManualClock>,
) -> Result<(Running, Option<FirstKeys>), StartError> {
    let admin = NewAdmin {
        email: "admin@example.com".to_owned(),
        name: "Ada".to_owned(),
        password: Secret::from("correct horse battery staple"),
    };
    let clock = Arc::clone(clock);
    let name = "Test organisation";
    let (server, first) = InProcess::start_on(dir, database, URL, name, admin, move || clock.now())?;
    Ok((Running { server, elsewhere: HashMap::new() }, first))
}

/// Where phones reach the server that is not the kit's own address.
pub struct Place {
    server: Arc<TestServer>,
    url: String,
    pins: Vec<SpkiPin>,
}

impl Place {
    /// The text of a fresh enrolment code that leads here.
    ///
    /// # Errors
    /// There is no such user.
    pub fn ticket(&self, user: UserId) -> Result<String, KitError> {
        let there = self.server.elsewhere(&self.url, &self.pins)?;
        Ok(there.admin().issue_ticket(self.server.actor, user)?.text)
    }
}

#[async_trait]
impl Answers for Place {
    async fn answer(&self, request: &Request) -> Result<Response, TransportError> {
        let there = self.server.elsewhere(&self.url, &self.pins).map_err(|_| TransportError::Offline)?;
        ask(&there, &self.url, request).await
    }
}

#[async_trait]
impl Answers for TestServer {
    async fn answer(&self, request: &Request) -> Result<Response, TransportError> {
        let running = self.running().map_err(|_| TransportError::Offline)?;
        ask(&running, URL, request).await
    }
}

async fn ask(running: &InProcess, url: &str, request: &Request) -> Result<Response, TransportError> {
    let path = request.url.strip_prefix(url).ok_or(TransportError::Offline)?;
    let (method, headers, body) = (request.method, request.headers.as_slice(), request.body.clone());
    let question = Question { method, path, headers, body };
    let answer = running.answer(question).await.ok_or(TransportError::Offline)?;
    Ok(Response {
        status: answer.status(),
        dpop_nonce: answer.header("dpop-nonce").map(str::to_owned),
        retry_after_s: answer.header("retry-after").and_then(|seconds| seconds.parse().ok()),
        body: Box::new(Streamed(answer)),
    })
}

/// A body as the server makes it.
struct Streamed(Answer);

#[async_trait]
impl Body for Streamed {
    async fn chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        self.0.chunk().await.transpose().map_err(|_| TransportError::Offline)
    }
}
