//! What a server is told at its start.

use crate::{AttachmentConfig, Secret};
use std::net::SocketAddr;
use std::path::PathBuf;

/// How to run a server.
pub struct Config {
    /// The folder for its database, keys and certificate; made if it is missing.
    pub data_dir: PathBuf,
    /// The PostgreSQL to keep everything in, for several instances; without it: a file in the data folder.
    pub database: Option<Database>,
    /// Where to listen. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The address by which devices reach it, `https://host:port` without a path; it goes into tickets, and
    /// proofs must name it. Without it: `https://localhost:` and the port.
    pub public_url: Option<String>,
    /// The organisation's name; taken at the first start, later ignored.
    pub org_name: String,
    /// Where the daily anchors of the audit log are written; best a folder on storage that can be written once. Without
    /// it: the folder `anchors` of the data folder, made if it is missing.
    pub anchors: Option<PathBuf>,
    /// Where the content of attachments is kept, and how much of it.
    pub attachments: AttachmentConfig,
    /// The first administrator, created at the first start. With nothing given, one with the email
    /// `admin@localhost` and a made-up password is created, to be read from [`crate::Server::first_admin`].
    pub first_admin: Option<NewAdmin>,
}

/// A database of PostgreSQL, and whom to trust on the way to it.
pub struct Database {
    /// `postgres://user:password@host:port/name`; for a socket, its folder as the host with `%2F` for `/`. On another
    /// machine than this one it is reached over TLS only.
    pub url: Secret,
    /// A file with the certificates, in PEM form, of those who sign the database server's. Without it: no TLS.
    pub ca: Option<PathBuf>,
}

/// An administrator to create.
pub struct NewAdmin {
    /// The email to sign in with.
    pub email: String,
    /// The name to show; also the name on the first approver's key.
    pub name: String,
    /// The password.
    pub password: Secret,
}
