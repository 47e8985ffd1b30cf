//! A phone's line to its server: the real transport, with every request noted.

use async_trait::async_trait;
use bytes::Bytes;
use roundsman_core::platform::{Body, Request, Response, Transport, TransportError};
use roundsman_core::{Client, HttpsTransport};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It is sent.
    Sent,
    /// The head of its answer is there.
    Answered,
    /// A piece of its answer is there.
    Piece,
}

/// The real transport, watched. Cheap to clone; every clone is the same line.
#[derive(Clone)]
pub(crate) struct Line(Arc<Watched>);

struct Watched {
    real: Mutex<Arc<HttpsTransport>>,
    log: Mutex<Vec<(Instant, Event, &'static str)>>,
}

/// The paths that are told apart.
const PATHS: [&str; 4] = ["/v1/sync", "/v1/poke", "/v1/device/checkin", "/v1/token"];

impl Line {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Watched { real: Mutex::new(Arc::new(HttpsTransport::new())), log: Mutex::default() }))
    }

    /// Begins anew: no connection is left, and nothing that a new one could go on with.
    pub(crate) fn hang_up(&self) {
        *self.0.real.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(HttpsTransport::new());
    }

    /// What has happened since it was last asked.
    pub(crate) fn take(&self) -> Vec<(Instant, Event, &'static str)> {
        std::mem::take(&mut *self.log())
    }

    /// How long one bare request to this phone's server takes: a probe that touches neither disk nor database.
    pub(crate) async fn round_trip(&self, phone: &Client) -> anyhow::Result<Duration> {
        let profile = phone.profile().ok_or_else(|| anyhow::anyhow!("not enrolled"))?;
        let request = Request {
            method: "GET",
            url: format!("{}/healthz", profile.url),
            headers: vec![],
            body: Bytes::new(),
            pins: profile.pins,
        };
        let begun = Instant::now();
        let mut answer = self.real().send(request).await?;
        while answer.body.chunk().await?.is_some() {}
        Ok(begun.elapsed())
    }

    fn real(&self) -> Arc<HttpsTransport> {
        Arc::clone(&self.0.real.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn log(&self) -> MutexGuard<'_, Vec<(Instant, Event, &'static str)>> {
        self.0.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, event: Event, path: &'static str) {
        self.log().push((Instant::now(), event, path));
    }
}

#[async_trait]
impl Transport for Line {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let path = PATHS.into_iter().find(|path| request.url.ends_with(path)).unwrap_or("other");
        self.note(Event::Sent, path);
        let answer = self.real().send(request).await?;
        self.note(Event::Answered, path);
        Ok(Response { body: Box::new(Watch { line: self.clone(), path, real: answer.body }), ..answer })
    }
}

struct Watch {
    line: Line,
    path: &'static str,
    real: Box<dyn Body>,
}

#[async_trait]
impl Body for Watch {
    async fn chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        let piece = self.real.chunk().await?;
        if piece.is_some() {
            self.line.note(Event::Piece, self.path);
        }
        Ok(piece)
    }
}
