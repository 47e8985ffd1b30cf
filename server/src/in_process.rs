//! The server without a listener: the same routes, rules and storage, called directly. For tests of apps.

use crate::app::App;
use crate::attachments::{AttachmentConfig, Contents, Given, open_place};
use crate::keys::{self, FirstKeys, KEEP_OFFLINE, KeysError, OrgKeys};
use crate::password::Gate;
use crate::poke::{self, Seats};
use crate::refusal::Refusal;
use crate::server::{StartError, make_folder, open_storage};
use crate::storage::{LogRow, StorageError, StoredContent};
use crate::{Admin, Database, NewAdmin, admin, http, random};
use axum::Router;
use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::{Method, Request};
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use roundsman_model::{Bucket, Seq};
use roundsman_protocol::sync::Row;
use roundsman_protocol::ticket::SpkiPin;
use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, RwLock};
use tower_service::Service;
use uuid::Uuid;
use zeroize::Zeroizing;

/// The pin in tickets. There is no certificate that could have another.
const PIN: SpkiPin = SpkiPin([0x1a; 32]);

/// A server that is called in place of being connected to. It keeps its data in a folder, and goes on from there when
/// it is started again.
#[derive(Clone)]
pub struct InProcess {
    app: Arc<App>,
    routes: Router,
    seats: Arc<Seats>,
}

/// A request of a device.
pub struct Question<'a> {
    /// `GET` or `POST`.
    pub method: &'a str,
    /// The path: `/v1/sync`.
    pub path: &'a str,
    /// The headers.
    pub headers: &'a [(&'static str, String)],
    /// The body.
    pub body: Bytes,
}

/// An answer, whose body is read piece by piece.
pub struct Answer {
    status: u16,
    headers: axum::http::HeaderMap,
    body: BodyDataStream,
}

impl Answer {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// A header's value, if there is one and it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The next piece of the body; `None` at its end, or the reason why it ends early.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, axum::Error>> {
        self.body.next().await
    }
}

impl InProcess {
    /// Starts in this folder, with this clock. The first start founds an organisation with this administrator, and
    /// returns the keys that people hold; they also lie in the folder `keep-offline`.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(
        dir: &Path,
        public_url: &str,
        org_name: &str,
        first_admin: NewAdmin,
        clock: impl Fn() -> DateTime<Utc> + Send + Sync + 'static,
    ) -> Result<(Self, Option<FirstKeys>), StartError> {
        Self::start_on(dir, None, public_url, org_name, first_admin, clock)
    }

    /// The same with everything but keys and the content of attachments in PostgreSQL, if a database is given.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start_on(
        dir: &Path,
        database: Option<&Database>,
        public_url: &str,
        org_name: &str,
        first_admin: NewAdmin,
        clock: impl Fn() -> DateTime<Utc> + Send + Sync + 'static,
    ) -> Result<(Self, Option<FirstKeys>), StartError> {
        make_folder(dir).map_err(StartError::Folder)?;
        let attachments = AttachmentConfig::default();
        let contents = Contents::new(open_place(&attachments.place, dir)?, attachments.limits);
        let storage = open_storage(dir, database)?;
        let mut tx = storage.write()?;
        let first = match OrgKeys::load(tx.as_ref())? {
            Some(_) => None,
            None => {
                let folder = dir.join(KEEP_OFFLINE);
                make_folder(&folder).map_err(StartError::Folder)?;
                let first = FirstKeys::make(&folder, &first_admin.name)?;
                OrgKeys::create(tx.as_mut(), org_name, &first, clock())?;
                admin::add_first_admin(tx.as_mut(), org_name, &first_admin, clock())?;
                Some(first)
            }
        };
        let keys = OrgKeys::load(tx.as_ref())?.ok_or(KeysError::Damaged)?;
        let org_name = keys::org_name(tx.as_ref())?;
        tx.commit()?;
        let app = Arc::new(App {
            storage: storage.into(),
            known_keys: RwLock::new(Arc::new(keys)),
            org_name,
            public_url: public_url.to_owned(),
            pins: vec![PIN],
            contents,
            gate: Gate::new(),
            clock: Arc::new(clock),
        });
        Ok((Self::answering(app, Arc::default())?, first))
    }

    fn answering(app: Arc<App>, seats: Arc<Seats>) -> Result<Self, StartError> {
        let nonce_key = Zeroizing::new(random::bytes()?);
        let routes = http::router(Arc::clone(&app), Arc::clone(&seats), nonce_key);
        Ok(Self { app, routes, seats })
    }

    /// The same server as it is reached at another address, by whatever listens there with these pins: its tickets lead
    /// there, and it takes requests that were made for there.
    ///
    /// # Errors
    /// No random numbers.
    pub fn at(&self, public_url: &str, pins: Vec<SpkiPin>) -> Result<Self, StartError> {
        Self::answering(Arc::new(self.app.at(public_url, pins)), Arc::clone(&self.seats))
    }

    /// Pokes the devices that listen, at every address, for as long as it is polled. It keeps the database open.
    pub fn pokes(&self) -> impl Future<Output = ()> + Send + use<> {
        poke::go_on(Arc::clone(&self.app), Arc::clone(&self.seats), self.app.storage.subscribe())
    }

    /// What an administrator can do.
    pub fn admin(&self) -> Admin {
        Admin::new(Arc::clone(&self.app))
    }

    /// Answers a request as the listening server would. A request that can't be put on a wire has no answer.
    pub async fn answer(&self, question: Question<'_>) -> Option<Answer> {
        let mut request = Request::builder()
            .method(Method::from_bytes(question.method.as_bytes()).ok()?)
            .uri(question.path);
        for (name, value) in question.headers {
            request = request.header(*name, value);
        }
        let request = request.body(Body::from(question.body)).ok()?;
        let answered: Result<_, Infallible> = self.routes.clone().call(request).await;
        let (head, body) = match answered {
            Ok(response) => response.into_parts(),
            Err(never) => match never {},
        };
        Some(Answer { status: head.status.as_u16(), headers: head.headers, body: body.into_data_stream() })
    }

    /// Every row of a bucket's log as it stands: the records in it, and without fields those that have left it.
    ///
    /// # Errors
    /// The database failed.
    pub fn rows(&self, bucket: &Bucket) -> Result<Vec<Row>, StartError> {
        let rows = self.app.storage.read()?.log_after(bucket, Seq(0), usize::MAX >> 1, usize::MAX)?;
        let row = |row: LogRow| {
            let fields = row.fields.map(|json| serde_json::from_str(&json)).transpose();
            let fields = fields.map_err(|_| StorageError::Damaged("record"))?;
            Ok(Row { entity: row.entity, id: row.record, rev: row.rev, fields })
        };
        rows.into_iter().map(row).collect()
    }

    /// All of an attachment's content; `None` if it has not come, or can't be read.
    ///
    /// # Errors
    /// The database failed.
    pub async fn content(&self, attachment: Uuid) -> Result<Option<Vec<u8>>, StartError> {
        let stored = self.app.storage.read()?.content(attachment)?;
        match self.given(stored).await {
            Ok(content) => Ok(Some(content)),
            Err(Refusal::Storage(error)) => Err(error.into()),
            Err(_) => Ok(None),
        }
    }

    async fn given(&self, stored: Option<StoredContent>) -> Result<Vec<u8>, Refusal> {
        let mut given = Given::stored(&self.app, stored, 0)?;
        let mut content = Vec::new();
        while let Some(part) = given.next().await? {
            content.extend_from_slice(&part);
        }
        Ok(content)
    }
}
