//! Airplane mode: a transport that can be switched off.

use async_trait::async_trait;
use roundsman_core::platform::{Body, Request, Response, Transport, TransportError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Carries requests over the transport beneath it, unless it is switched on: then nothing goes out, and answers
/// that were under way break off in the middle.
pub struct Airplane {
    on: Arc<AtomicBool>,
    beneath: Arc<dyn Transport>,
}

impl Airplane {
    /// Airplane mode, off, over `beneath`.
    pub fn over(beneath: Arc<dyn Transport>) -> Self {
        Self { on: Arc::default(), beneath }
    }

    /// Whether it is switched on.
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::SeqCst)
    }

    /// Switches it on or off.
    pub fn switch(&self, on: bool) {
        self.on.store(on, Ordering::SeqCst);
    }
}

#[async_trait]
impl Transport for Airplane {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        if self.is_on() {
            return Err(TransportError::Offline);
        }
        let answer = self.beneath.send(request).await?;
        if self.is_on() {
            return Err(TransportError::Offline);
        }
        let body = Breakable { on: Arc::clone(&self.on), beneath: answer.body };
        Ok(Response { body: Box::new(body), ..answer })
    }
}

struct Breakable {
    on: Arc<AtomicBool>,
    beneath: Box<dyn Body>,
}

#[async_trait]
impl Body for Breakable {
    async fn chunk(&mut self) -> Result<Option<bytes::Bytes>, TransportError> {
        if self.on.load(Ordering::SeqCst) {
            return Err(TransportError::Offline);
        }
        self.beneath.chunk().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    struct Endless;

    #[async_trait]
    impl Body for Endless {
        async fn chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
            Ok(Some(Bytes::from_static(b"more")))
        }
    }

    struct Server;

    #[async_trait]
    impl Transport for Server {
        async fn send(&self, _: Request) -> Result<Response, TransportError> {
            Ok(Response { status: 200, dpop_nonce: None, retry_after_s: None, body: Box::new(Endless) })
        }
    }

    #[tokio::test]
    async fn airplane_mode_stops_requests_and_breaks_answers() -> Result<(), TransportError> {
        let airplane = Airplane::over(Arc::new(Server));
        let request = || Request {
            method: "GET",
            url: String::new(),
            headers: Vec::new(),
            body: Bytes::new(),
            pins: Vec::new(),
        };
        let mut answer = airplane.send(request()).await?;
        assert_eq!(answer.body.chunk().await?.as_deref(), Some(b"more".as_slice()));
        airplane.switch(true);
        assert_eq!(answer.body.chunk().await.err(), Some(TransportError::Offline));
        assert_eq!(airplane.send(request()).await.err(), Some(TransportError::Offline));
        airplane.switch(false);
        assert_eq!(airplane.send(request()).await?.status, 200);
        Ok(())
    }
}
