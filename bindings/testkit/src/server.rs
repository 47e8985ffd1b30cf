//! The server, and the clock that it goes by.

use crate::front::{Front, Identity};
use crate::{Instant, KitError, KitNetwork};
use chrono::Utc;
use roundsman_core::platform::Clock;
use roundsman_testkit::{ManualClock, TestServer};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::{Builder, Handle, Runtime};

/// How long the end of a server is waited for.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// A server with an organisation in it, in the process of the test. Its calls return when it is done.
#[derive(uniffi::Object)]
pub struct KitServer {
    pub(crate) running: Arc<Running>,
}

/// What lives as long as the server or one of its networks does.
pub(crate) struct Running {
    pub(crate) server: Arc<TestServer>,
    pub(crate) identity: Identity,
    /// Every network, so that a phone has one though the test has let go of it.
    fronts: Mutex<Vec<Arc<Front>>>,
    runtime: Option<Runtime>,
    /// Goes last.
    _folder: TempDir,
}

impl Running {
    pub(crate) fn runtime(&self) -> Result<&Runtime, KitError> {
        self.runtime.as_ref().ok_or_else(|| KitError::Failed { reason: "the server has ended".to_owned() })
    }

    /// Keeps a network for as long as the server is there.
    pub(crate) fn keep(&self, front: &Arc<Front>) {
        self.fronts.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(front));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            if Handle::try_current().is_ok() {
                // Whoever dropped it last is a task of the app's own runtime, which must not wait.
                runtime.shutdown_background();
            } else {
                // A test that ends with its process would otherwise close the database while the libraries under it
                // are being taken down.
                runtime.shutdown_timeout(SHUTDOWN);
            }
        }
    }
}

#[uniffi::export]
impl KitServer {
    /// Starts a server in a temporary folder that goes with it. Nobody is enrolled, and there are no customers.
    ///
    /// # Errors
    /// The folder or the database can't be made.
    #[uniffi::constructor]
    pub fn start() -> Result<Arc<Self>, KitError> {
        let folder = TempDir::new()?;
        let clock = Arc::new(ManualClock::at(Utc::now()));
        let server = TestServer::start_in(&folder.path().join("server"), clock, None)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("roundsman-kit")
            .enable_all()
            .build()?;
        runtime.spawn(server.pokes()?);
        let identity = Identity::make()?;
        let fronts = Mutex::default();
        let running = Running { server, identity, fronts, runtime: Some(runtime), _folder: folder };
        Ok(Arc::new(Self { running: Arc::new(running) }))
    }

    /// A network for one phone, without faults. Each has an address of its own on this machine: enrol the phone with a
    /// ticket of its network. It stays as long as the server does.
    ///
    /// # Errors
    /// No port is free.
    pub fn network(&self) -> Result<Arc<KitNetwork>, KitError> {
        KitNetwork::open(Arc::clone(&self.running)).map(Arc::new)
    }

    /// The time of the server. It began with the system's and stands still until it is moved.
    pub fn now(&self) -> Instant {
        self.running.server.clock().now()
    }

    /// The time since the phones were started, as the server's clock has it. For the app's `HostClock`, which then moves
    /// with the server's.
    pub fn elapsed(&self) -> Duration {
        self.running.server.clock().boot().map_or(Duration::ZERO, |boot| boot.elapsed)
    }

    /// Moves the clock on: a lease ends, a ticket expires.
    pub fn advance(&self, by: Duration) {
        self.running.server.clock().advance(by);
    }
}
