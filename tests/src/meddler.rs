//! A transport that stands between a phone and its server and changes what the server says.

use async_trait::async_trait;
use bytes::Bytes;
use roundsman_core::platform::{Body, Request, Response, Transport, TransportError};
use roundsman_protocol::api::CheckinAnswer;
use std::sync::{Arc, Mutex};

type Change = Box<dyn FnMut(&mut CheckinAnswer) + Send>;

/// Passes everything on; answers to check-ins go through `change` first.
pub struct Meddler {
    real: Arc<dyn Transport>,
    change: Mutex<Change>,
}

impl Meddler {
    /// Stands before `real`.
    pub fn new(real: Arc<dyn Transport>) -> Arc<Self> {
        Arc::new(Self { real, change: Mutex::new(Box::new(|_| {})) })
    }

    /// From now on, changes answers to check-ins in this way.
    pub fn meddle(&self, change: impl FnMut(&mut CheckinAnswer) + Send + 'static) {
        *self.change.lock().expect("no panic in a change") = Box::new(change);
    }
}

#[async_trait]
impl Transport for Meddler {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let is_checkin = request.url.ends_with("/v1/device/checkin");
        let mut response = self.real.send(request).await?;
        if !is_checkin || response.status != 200 {
            return Ok(response);
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.body.chunk().await? {
            body.extend_from_slice(&chunk);
        }
        let mut answer: CheckinAnswer = serde_json::from_slice(&body).expect("the server's own answer");
        (self.change.lock().expect("no panic in a change"))(&mut answer);
        let body = serde_json::to_vec(&answer).expect("an answer that serialises");
        Ok(Response { body: Whole::of(body), ..response })
    }
}

/// A body in one piece.
pub(crate) struct Whole(Option<Bytes>);

impl Whole {
    pub(crate) fn of(body: impl Into<Bytes>) -> Box<dyn Body> {
        Box::new(Self(Some(body.into())))
    }
}

#[async_trait]
impl Body for Whole {
    async fn chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        Ok(self.0.take())
    }
}
