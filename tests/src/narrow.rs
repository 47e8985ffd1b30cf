//! A way to a server that takes fewer changes in a request than this version sends.

use crate::meddler::Whole;
use async_trait::async_trait;
use flate2::read::MultiGzDecoder;
use roundsman_core::platform::{Request, Response, Transport, TransportError};
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Passes everything on but syncs with more changes than it takes.
pub struct Narrow {
    real: Arc<dyn Transport>,
    most: usize,
    refused: AtomicU32,
}

impl Narrow {
    /// Stands before `real`, and takes so many changes.
    pub fn new(real: Arc<dyn Transport>, most: usize) -> Arc<Self> {
        Arc::new(Self { real, most, refused: AtomicU32::new(0) })
    }

    /// How many requests were too large.
    pub fn refused(&self) -> u32 {
        self.refused.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Transport for Narrow {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        if request.url.ends_with("/v1/sync") {
            let mut text = String::new();
            MultiGzDecoder::new(&request.body[..]).read_to_string(&mut text).expect("a packed body");
            // The first line is the head.
            if text.lines().count() > self.most + 1 {
                self.refused.fetch_add(1, Ordering::SeqCst);
                let body = Whole::of("");
                return Ok(Response { status: 413, dpop_nonce: None, retry_after_s: None, body });
            }
        }
        self.real.send(request).await
    }
}
