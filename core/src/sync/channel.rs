//! The channel on which the server pokes a device that listens.

use super::Syncer;
use crate::Error;
use crate::net::Content;
use crate::platform::Body;
use crate::store::Store;
use bytes::Bytes;
use roundsman_protocol::ErrorCode;
use roundsman_protocol::poke::{MAX_LINE, PATH, Poke, SILENCE};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use zeroize::Zeroizing;

/// An open channel.
pub(crate) struct Channel {
    body: Box<dyn Body>,
    open: Vec<u8>,
    whole: Vec<Poke>,
    silence: Duration,
}

impl Channel {
    /// The next poke; `None` if the server has ended the channel.
    pub(crate) async fn next(&mut self) -> Result<Option<Poke>, Error> {
        loop {
            if let Some(poke) = self.whole.pop() {
                return Ok(Some(poke));
            }
            // A connection that is half open says nothing for ever.
            let chunk =
                tokio::time::timeout(self.silence, self.body.chunk()).await.map_err(|_| Error::Offline)??;
            let Some(chunk) = chunk else { return Ok(None) };
            self.take(&chunk)?;
            // The oldest is taken first.
            self.whole.reverse();
        }
    }

    fn take(&mut self, chunk: &[u8]) -> Result<(), Error> {
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            if self.open.len() + piece.len() > MAX_LINE {
                return Err(Error::BadAnswer);
            }
            self.open.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.open);
                self.whole.push(Poke::from_bytes(&line).ok_or(Error::BadAnswer)?);
            }
        }
        Ok(())
    }
}

impl Syncer<'_> {
    /// The token that is kept, if it holds: it is there without a conversation.
    pub(crate) fn kept_token(&self) -> Option<Zeroizing<String>> {
        let kept = self.access.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().and_then(|kept| kept.valid(self.clock.now()))
    }

    /// A token for the channel, so that it tells of changes too. `None` if the server takes this device's tokens no more.
    pub(crate) async fn channel_token(
        &self,
        store: &Arc<Store>,
        renew: bool,
    ) -> Result<Option<Zeroizing<String>>, Error> {
        match self.token(store, &mut super::Report::default(), renew).await {
            Err(error) if error.server_code() == Some(ErrorCode::TokenInvalid) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Opens the channel.
    pub(crate) async fn open_channel(&self, token: Option<&str>) -> Result<Channel, Error> {
        let content = Content { kind: "application/json", encoding: None, bytes: Bytes::new() };
        let answer = self.api.send(self.endpoint, PATH, token, content).await?;
        Ok(Channel { body: answer.body, open: Vec::new(), whole: Vec::new(), silence: SILENCE })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::TransportError;
    use async_trait::async_trait;

    struct Pieces(Vec<Bytes>);

    #[async_trait]
    impl Body for Pieces {
        async fn chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
            Ok((!self.0.is_empty()).then(|| self.0.remove(0)))
        }
    }

    fn channel(bytes: &[u8], piece: usize) -> Channel {
        let pieces = bytes.chunks(piece).map(Bytes::copy_from_slice).collect();
        Channel { body: Box::new(Pieces(pieces)), open: vec![], whole: vec![], silence: SILENCE }
    }

    #[tokio::test]
    async fn pokes_come_in_order_however_the_bytes_are_cut() -> Result<(), Error> {
        let bytes = b"{\"poke\":\"here\"}\n{\"poke\":\"check_in\"}\n{\"poke\":\"later\"}\n{\"poke\":\"sy";
        for piece in 1..=bytes.len() {
            let mut channel = channel(bytes, piece);
            let mut heard = vec![];
            while let Some(poke) = channel.next().await? {
                heard.push(poke);
            }
            assert_eq!(heard, [Poke::Here, Poke::CheckIn, Poke::Unknown], "in pieces of {piece}");
        }
        Ok(())
    }

    #[tokio::test]
    async fn what_is_no_poke_ends_the_channel_with_bounded_memory() {
        assert!(matches!(channel(b"<html>\n", 99).next().await, Err(Error::BadAnswer)));
        assert!(matches!(channel(&vec![b'x'; 3 * MAX_LINE], 7).next().await, Err(Error::BadAnswer)));
    }

    /// A connection that nobody is at the other end of.
    struct Silent;

    #[async_trait]
    impl Body for Silent {
        async fn chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn a_connection_that_is_half_open_is_given_up() {
        let mut channel =
            Channel { body: Box::new(Silent), open: vec![], whole: vec![], silence: Duration::ZERO };
        assert!(matches!(channel.next().await, Err(Error::Offline)));
    }
}
