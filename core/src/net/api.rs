//! Requests that prove the device's key (DPoP, RFC 9449), and answers read as the protocol has them.

use super::session::Session;
use crate::Error;
use crate::platform::{
    Body, Clock, Entropy, KeyAlias, KeyError, PlatformKeys, Request, Response, Transport, TransportError,
};
use bytes::Bytes;
use roundsman_protocol::keys::DeviceKey;
use roundsman_protocol::ticket::SpkiPin;
use roundsman_protocol::{ErrorCode, Problem, dpop, session};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::{Arc, Mutex, PoisonError};

/// The most bytes of an answer that is read whole.
const MAX_ANSWER: usize = 1024 * 1024;

/// Where the server is, and which keys it may have.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) url: String,
    pub(crate) pins: Vec<SpkiPin>,
}

/// A body to send.
pub(crate) struct Content {
    pub(crate) kind: &'static str,
    pub(crate) encoding: Option<&'static str>,
    pub(crate) bytes: Bytes,
}

/// Talks to the server in the device's name.
pub(crate) struct Api {
    transport: Arc<dyn Transport>,
    keys: Arc<dyn PlatformKeys>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// The nonce of the last answer, for the next proof.
    nonce: Mutex<Option<String>>,
    /// What proves requests with an access token.
    session: Mutex<Option<Session>>,
}

impl Api {
    pub(crate) fn new(
        transport: Arc<dyn Transport>,
        keys: Arc<dyn PlatformKeys>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { transport, keys, clock, entropy, nonce: Mutex::new(None), session: Mutex::new(None) }
    }

    /// Gets a document that is open to all.
    pub(crate) async fn get<T: DeserializeOwned>(&self, endpoint: &Endpoint, path: &str) -> Result<T, Error> {
        let request = Request {
            method: "GET",
            url: format!("{}{path}", endpoint.url),
            headers: vec![],
            body: Bytes::new(),
            pins: endpoint.pins.clone(),
        };
        let answer = self.transport.send(request).await?;
        self.remember_nonce(&answer);
        read_json(check(answer).await?).await
    }

    /// Posts JSON with a proof of the device's key, and with a token if there is one.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        endpoint: &Endpoint,
        path: &str,
        token: Option<&str>,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        let bytes = serde_json::to_vec(body).map_err(|_| Error::BadAnswer)?;
        let content = Content { kind: "application/json", encoding: None, bytes: bytes.into() };
        read_json(self.send(endpoint, path, token, content).await?).await
    }

    /// Posts bytes with a proof of the device's key.
    pub(crate) async fn post_bytes<T: DeserializeOwned>(
        &self,
        endpoint: &Endpoint,
        path: &str,
        bytes: Vec<u8>,
    ) -> Result<T, Error> {
        let content = Content { kind: "application/octet-stream", encoding: None, bytes: bytes.into() };
        read_json(self.send(endpoint, path, None, content).await?).await
    }

    /// Posts content and returns the answer as soon as its head is there.
    ///
    /// A proof that lacks the present nonce is made anew once: the server says so when its nonce has changed. So is a
    /// session key that the server no longer takes.
    pub(crate) async fn send(
        &self,
        endpoint: &Endpoint,
        path: &str,
        token: Option<&str>,
        content: Content,
    ) -> Result<Response, Error> {
        self.request("POST", endpoint, path, token, Some(content)).await
    }

    /// Gets bytes with a proof of the device's key and a token; the answer is there as soon as its head is.
    pub(crate) async fn fetch(
        &self,
        endpoint: &Endpoint,
        path: &str,
        token: &str,
    ) -> Result<Response, Error> {
        self.request("GET", endpoint, path, Some(token), None).await
    }

    /// Posts bytes with a proof of the device's key and a token.
    pub(crate) async fn post_part<T: DeserializeOwned>(
        &self,
        endpoint: &Endpoint,
        path: &str,
        token: &str,
        bytes: Bytes,
    ) -> Result<T, Error> {
        let content = Content { kind: "application/octet-stream", encoding: None, bytes };
        read_json(self.send(endpoint, path, Some(token), content).await?).await
    }

    async fn request(
        &self,
        method: &'static str,
        endpoint: &Endpoint,
        path: &str,
        token: Option<&str>,
        content: Option<Content>,
    ) -> Result<Response, Error> {
        let url = format!("{}{path}", endpoint.url);
        let (mut tried_new_nonce, mut tried_new_session) = (false, false);
        loop {
            let mut headers = self.proof(method, &url, token)?;
            if let Some(Content { kind, encoding, .. }) = &content {
                headers.push(("content-type", (*kind).to_owned()));
                headers.extend(encoding.map(|encoding| ("content-encoding", encoding.to_owned())));
            }
            headers.extend(token.map(|token| ("authorization", format!("DPoP {token}"))));
            let request = Request {
                method,
                url: url.clone(),
                headers,
                body: content.as_ref().map_or_else(Bytes::new, |content| content.bytes.clone()),
                pins: endpoint.pins.clone(),
            };
            let answer = self.transport.send(request).await?;
            self.remember_nonce(&answer);
            match check(answer).await {
                Err(error) if error.server_code() == Some(ErrorCode::UseDpopNonce) && !tried_new_nonce => {
                    tried_new_nonce = true;
                }
                Err(error)
                    if error.server_code() == Some(ErrorCode::SessionExpired) && !tried_new_session =>
                {
                    tried_new_session = true;
                    self.forget_session();
                }
                other => return other,
            }
        }
    }

    /// Drops the session key from memory. The next request that needs one makes another.
    pub(crate) fn forget_session(&self) {
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The headers that prove a request: by the session key where there is an access token, by the device's own
    /// otherwise.
    fn proof(
        &self,
        method: &str,
        url: &str,
        token: Option<&str>,
    ) -> Result<Vec<(&'static str, String)>, Error> {
        let nonce = self.nonce.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let jti = self.entropy.bytes()?;
        let now = self.clock.now();
        let claims = dpop::claims(jti, method, url, now, token, nonce.as_deref());
        // Without a nonce there is no certificate; the answer will bring one.
        if let (Some(_), Some(nonce)) = (token, &nonce) {
            let mut kept = self.session.lock().unwrap_or_else(PoisonError::into_inner);
            let session = match &mut *kept {
                Some(session) if session.holds(now) => session,
                stale => stale.insert(Session::make(&*self.keys, &*self.entropy, nonce, now)?),
            };
            let proof = dpop::prove(session.public(), &claims, |message| session.sign(message))?;
            return Ok(vec![("dpop", proof), (session::HEADER, session.certificate().to_owned())]);
        }
        let keys = &self.keys;
        let proof =
            dpop::prove(&device_key(&**keys)?, &claims, |message| keys.sign(KeyAlias::Identity, message))?;
        Ok(vec![("dpop", proof)])
    }

    fn remember_nonce(&self, answer: &Response) {
        if let Some(nonce) = &answer.dpop_nonce {
            *self.nonce.lock().unwrap_or_else(PoisonError::into_inner) = Some(nonce.clone());
        }
    }
}

impl From<TransportError> for Error {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::Offline => Self::Offline,
            TransportError::WrongPin => Self::WrongPin,
        }
    }
}

/// The public half of the device's own key.
pub(super) fn device_key(keys: &dyn PlatformKeys) -> Result<DeviceKey, KeyError> {
    DeviceKey::from_sec1(&keys.public_key(KeyAlias::Identity)?).map_err(|_| KeyError::NotAvailable)
}

/// Turns an answer that is not a success into the server's reason.
async fn check(mut answer: Response) -> Result<Response, Error> {
    if answer.status == 200 {
        return Ok(answer);
    }
    let retry_after_s = answer.retry_after_s;
    let problem = read_all(answer.body.as_mut())
        .await
        .ok()
        .and_then(|body| serde_json::from_slice::<Problem>(&body).ok())
        // Whatever stands before the server may refuse in its own words.
        .unwrap_or_else(|| match answer.status {
            429 | 500..=599 => ErrorCode::Busy.into(),
            413 => ErrorCode::TooLarge.into(),
            404 => ErrorCode::NotFound.into(),
            // A server that has dropped this version may do so in words that this version can't read.
            410 | 426 => ErrorCode::UpdateNeeded.into(),
            _ => ErrorCode::Malformed.into(),
        });
    Err(Problem { retry_after_s: retry_after_s.or(problem.retry_after_s), ..problem }.into())
}

async fn read_json<T: DeserializeOwned>(mut answer: Response) -> Result<T, Error> {
    let body = read_all(answer.body.as_mut()).await?;
    serde_json::from_slice(&body).map_err(|_| Error::BadAnswer)
}

/// Reads a whole body of bounded size.
async fn read_all(body: &mut dyn Body) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    while let Some(chunk) = body.chunk().await? {
        if all.len() + chunk.len() > MAX_ANSWER {
            return Err(Error::BadAnswer);
        }
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;

    struct Whole(Option<Bytes>);

    #[async_trait]
    impl Body for Whole {
        async fn chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
            Ok(self.0.take())
        }
    }

    async fn refused(status: u16, body: &'static str) -> Option<ErrorCode> {
        let body = Box::new(Whole(Some(Bytes::from_static(body.as_bytes()))));
        let answer = Response { status, dpop_nonce: None, retry_after_s: None, body };
        check(answer).await.err().and_then(|error| error.server_code())
    }

    #[tokio::test]
    async fn a_server_that_dropped_this_version_asks_for_an_update_in_whatever_words() {
        let needed = Some(ErrorCode::UpdateNeeded);
        assert_eq!(refused(410, r#"{"code":"update_needed","title":"update"}"#).await, needed);
        assert_eq!(refused(410, r#"{"code":"v1_has_been_retired","title":"update"}"#).await, needed);
        assert_eq!(refused(426, "<html>").await, needed);
        assert_eq!(refused(410, r#"{"code":"ticket_used","title":"t"}"#).await, Some(ErrorCode::TicketUsed));
    }
}
