//! A transport that cuts connections: before the request, after it, or in the middle of the answer.

use async_trait::async_trait;
use bytes::Bytes;
use roundsman_core::platform::{Body, Request, Response, Transport, TransportError};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Where the next request is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Nowhere.
    None,
    /// The request never arrives.
    BeforeRequest,
    /// The request arrives, its answer does not.
    BeforeAnswer,
    /// The answer ends after this many bytes of its body.
    AnswerAfter(usize),
}

/// Passes requests to a sync on, cut as told; other requests go through untouched.
pub struct Cutter {
    real: Arc<dyn Transport>,
    cut: Mutex<Cut>,
    passed: Arc<AtomicU64>,
}

impl Cutter {
    /// Stands before `real`.
    pub fn new(real: Arc<dyn Transport>) -> Arc<Self> {
        Arc::new(Self { real, cut: Mutex::new(Cut::None), passed: Arc::default() })
    }

    /// Cuts every sync from now on in this way.
    pub fn cut(&self, cut: Cut) {
        *self.cut.lock().expect("nothing panics while it is held") = cut;
    }

    /// Bytes of the last sync's answer that came through.
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Transport for Cutter {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        if !request.url.ends_with("/v1/sync") {
            return self.real.send(request).await;
        }
        let cut = *self.cut.lock().expect("nothing panics while it is held");
        if cut == Cut::BeforeRequest {
            return Err(TransportError::Offline);
        }
        let mut response = self.real.send(request).await?;
        if cut == Cut::BeforeAnswer {
            // Read to the end, so that the server has done all it would do.
            while response.body.chunk().await?.is_some() {}
            return Err(TransportError::Offline);
        }
        self.passed.store(0, Ordering::SeqCst);
        let left = if let Cut::AnswerAfter(bytes) = cut { Some(bytes) } else { None };
        let body = CutBody { real: response.body, left, passed: Arc::clone(&self.passed) };
        Ok(Response { body: Box::new(body), ..response })
    }
}

struct CutBody {
    real: Box<dyn Body>,
    left: Option<usize>,
    passed: Arc<AtomicU64>,
}

#[async_trait]
impl Body for CutBody {
    async fn chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        if self.left == Some(0) {
            return Err(TransportError::Offline);
        }
        let Some(mut chunk) = self.real.chunk().await? else { return Ok(None) };
        if let Some(left) = &mut self.left {
            chunk.truncate(*left);
            *left -= chunk.len();
        }
        self.passed.fetch_add(chunk.len() as u64, Ordering::SeqCst);
        Ok(Some(chunk))
    }
}
