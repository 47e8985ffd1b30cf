//! Sending and fetching the content of attachments.

use super::{Client, Session};
use crate::Error;
use crate::attachments::{
    Attachment, AttachmentError, AttachmentReader, Attachments, MOST_FAILURES, Moved, Network, Sent,
    Transfers,
};
use crate::net::Endpoint;
use crate::platform::Response;
use crate::store::UnsentFile;
use crate::sync::blocking;
use bytes::Bytes;
use roundsman_model::attachment::Attachment as Record;
use roundsman_protocol::ErrorCode;
use roundsman_protocol::attachment::{MAX_THUMBNAIL, PART, UploadAnswer, part_size, path, thumbnail_path};
use std::io::{self, Read};
use std::sync::{Arc, PoisonError};
use tokio::sync::mpsc;
use uuid::Uuid;
use zeroize::Zeroizing;

/// How often a fetch goes on after its connection was cut with nothing new.
const RETRIES: u32 = 3;

/// Pieces of an answer that wait to be sealed.
const WAITING: usize = 8;

/// How sending one attachment ended.
enum End {
    /// The server has it, or wants it no more.
    Over,
    /// It can't be sent now, and others may be.
    Stuck,
    /// The server has no room for any of this size.
    Full,
    /// The network has become one that costs money.
    Waits,
}

impl Client {
    /// What the host app knows of the network. Until it says otherwise bytes are taken to cost nothing. It is kept in memory
    /// only. Visits are synced over any.
    pub fn set_network(&self, network: Network) {
        *self.inner.network.lock().unwrap_or_else(PoisonError::into_inner) = network;
    }

    /// Sends the content of attachments to the server, the smallest first. Call it after a [`sync`](Self::sync), which sends
    /// that they are there and never waits for their content. May be cut at any moment: the next call goes on where the
    /// server has come to.
    ///
    /// # Errors
    /// The vault is not open, or the passcode is to be changed first; no connection; the server refused. What was sent
    /// before stays.
    pub async fn send_attachments(&self, transfers: &dyn Transfers) -> Result<Sent, Error> {
        let _sending = self.inner.sending.lock().await;
        let attachments = self.working()?.attachments;
        let mut sent = Sent::default();
        let asked = attachments.clone();
        let queue = blocking(move || asked.unsent()).await?;
        for (at, unsent) in queue.iter().enumerate() {
            if !self.may_send() {
                sent.waits = true;
                break;
            }
            if unsent.failed >= MOST_FAILURES {
                sent.stuck.push(unsent.row.id);
                continue;
            }
            let waiting = (queue.len() - at - 1) as u64;
            match self.send_one(&attachments, unsent, waiting, transfers, &mut sent.bytes).await? {
                End::Over => sent.files += 1,
                End::Stuck => sent.stuck.push(unsent.row.id),
                End::Full => {
                    sent.full = true;
                    break;
                }
                End::Waits => {
                    sent.waits = true;
                    break;
                }
            }
        }
        (sent.left, sent.left_bytes) = blocking(move || attachments.waiting()).await?;
        Ok(sent)
    }

    /// Fetches the content of an attachment that another phone has sent, or that was dropped here to make room. What was cut
    /// off goes on by itself, a few times. It is sealed as it comes, and listed once all of it is what its record says.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such attachment on this device; [`AttachmentError::NotSentYet`];
    /// [`AttachmentError::QuotaReached`]; no connection; the vault is not open.
    pub async fn fetch_attachment(
        &self,
        attachment: Uuid,
        transfers: &dyn Transfers,
    ) -> Result<Attachment, Error> {
        let attachments = self.working()?.attachments;
        let asked = attachments.clone();
        let (known, record) =
            blocking(move || Ok((asked.get(attachment)?, asked.record(attachment)?))).await?;
        let known = known.ok_or(Error::NotFound)?;
        if known.here {
            return Ok(known);
        }
        let record = record.ok_or(Error::NotFound)?;
        if record.stored_at.is_none() {
            return Err(AttachmentError::NotSentYet.into());
        }
        let (pieces, taken) = mpsc::channel(WAITING);
        let mut content = Pieces { taken, piece: Bytes::new() };
        let described = record.clone();
        let sealing = tokio::task::spawn_blocking(move || attachments.keep_fetched(&described, &mut content));
        // Whatever is left of the content after an error here is missed there, and nothing is kept.
        let fed = self.feed(&record, &pieces, transfers).await;
        drop(pieces);
        let kept = sealing.await.unwrap_or(Err(Error::Cancelled));
        fed?;
        kept
    }

    /// A small picture of an attachment whose content is on the server: a JPEG of at most 64 KiB whose longer side has at
    /// most 320 pixels, upright and without a place. It is fetched once, and kept in the database until its record leaves
    /// this device or others need its room; [`Attachments::thumbnail`] has it without a connection.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such attachment on this device; [`AttachmentError::NotSentYet`];
    /// [`AttachmentError::NoThumbnail`] if none can be made of it; no connection; the vault is not open.
    pub async fn thumbnail(&self, attachment: Uuid) -> Result<Zeroizing<Vec<u8>>, Error> {
        let attachments = self.attachments()?;
        let asked = attachments.clone();
        let (kept, record) =
            blocking(move || Ok((asked.thumbnail(attachment)?, asked.record(attachment)?))).await?;
        if let Some(kept) = kept {
            return Ok(kept);
        }
        if record.ok_or(Error::NotFound)?.stored_at.is_none() {
            return Err(AttachmentError::NotSentYet.into());
        }
        let jpeg = match self.feed_thumbnail(attachment).await {
            Err(error) if error.server_code() == Some(ErrorCode::NotFound) => {
                return Err(AttachmentError::NoThumbnail.into());
            }
            jpeg => jpeg?,
        };
        blocking(move || {
            attachments.keep_thumbnail(attachment, &jpeg)?;
            attachments.thumbnail(attachment)?.ok_or(Error::NotFound)
        })
        .await
    }

    async fn feed_thumbnail(&self, attachment: Uuid) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut answer = self.get_content(&thumbnail_path(attachment)).await?;
        let mut jpeg = Zeroizing::new(Vec::with_capacity(MAX_THUMBNAIL));
        while let Some(piece) = answer.body.chunk().await? {
            if jpeg.len() + piece.len() > MAX_THUMBNAIL {
                return Err(Error::BadAnswer);
            }
            jpeg.extend_from_slice(&piece);
        }
        // What was cut off is asked for anew, and never kept.
        let whole = jpeg.starts_with(&[0xff, 0xd8]) && jpeg.ends_with(&[0xff, 0xd9]);
        if whole { Ok(jpeg) } else { Err(Error::BadAnswer) }
    }

    pub(super) fn may_send(&self) -> bool {
        match *self.inner.network.lock().unwrap_or_else(PoisonError::into_inner) {
            Network::Unmetered => true,
            Network::Metered => self.inner.config.metered_attachments,
            Network::Offline => false,
        }
    }

    /// Sends one attachment from where the server has come to.
    async fn send_one(
        &self,
        attachments: &Attachments,
        unsent: &UnsentFile,
        waiting: u64,
        transfers: &dyn Transfers,
        bytes: &mut u64,
    ) -> Result<End, Error> {
        let (id, size, failed) = (unsent.row.id, unsent.row.size, unsent.failed);
        let note = |sent: u64, failed: u64| {
            let attachments = attachments.clone();
            blocking(move || attachments.note_sent(id, sent, failed))
        };
        let over = || {
            let attachments = attachments.clone();
            blocking(move || attachments.sent(id))
        };
        let (opened, what) = (attachments.clone(), unsent.clone());
        let reader = match blocking(move || opened.unsent_reader(&what)).await {
            Ok(reader) => Arc::new(reader),
            Err(Error::Attachment(error)) => {
                tracing::warn!(%error, "an attachment can't be sent");
                return Ok(End::Stuck);
            }
            Err(error) => return Err(error),
        };
        let mut offset = unsent.sent.min(size);
        loop {
            if transfers.cancelled() {
                return Err(Error::Cancelled);
            }
            if !self.may_send() {
                return Ok(End::Waits);
            }
            let part = match read_part(&reader, offset, part_size(size, offset)).await {
                Ok(part) => part,
                Err(Error::Attachment(error)) => {
                    tracing::warn!(%error, "an attachment can't be sent");
                    return Ok(End::Stuck);
                }
                Err(error) => return Err(error),
            };
            let length = part.len() as u64;
            match self.send_part(id, offset, part).await {
                Ok(UploadAnswer { stored: true, .. }) => {
                    *bytes += length;
                    over().await?;
                    transfers.moved(Moved { attachment: id, bytes: size, of: size, waiting });
                    return Ok(End::Over);
                }
                // One that goes nowhere would be asked for ever.
                Ok(UploadAnswer { received, .. }) if received == offset || received > size => {
                    return Err(Error::BadAnswer);
                }
                Ok(UploadAnswer { received, .. }) => {
                    *bytes += length;
                    offset = received;
                    note(offset, failed).await?;
                    transfers.moved(Moved { attachment: id, bytes: offset, of: size, waiting });
                }
                Err(error) => match error.server_code() {
                    Some(ErrorCode::NotFound) => {
                        // Only if the record has left this device too is it sure that nobody wants the content: what
                        // stands before a server may say so as well.
                        let asked = attachments.clone();
                        if blocking(move || asked.record(id)).await?.is_some() {
                            return Ok(End::Stuck);
                        }
                        over().await?;
                        return Ok(End::Over);
                    }
                    Some(ErrorCode::ContentDiffers) => {
                        note(0, failed + 1).await?;
                        return Ok(End::Stuck);
                    }
                    Some(ErrorCode::TooLarge) => {
                        note(0, MOST_FAILURES).await?;
                        return Ok(End::Stuck);
                    }
                    Some(ErrorCode::AttachmentsFull) => return Ok(End::Full),
                    _ => return Err(error),
                },
            }
        }
    }

    async fn send_part(&self, id: Uuid, offset: u64, part: Bytes) -> Result<UploadAnswer, Error> {
        let endpoint = self.endpoint()?;
        let path = path(id, offset);
        let mut renewed = false;
        loop {
            let token = self.access(&endpoint, renewed).await?;
            match self.inner.api.post_part(&endpoint, &path, &token, part.clone()).await {
                Err(error) if is_expired(&error) && !renewed => renewed = true,
                answer => return answer,
            }
        }
    }

    /// Hands over all of a content, going on where it was cut.
    async fn feed(
        &self,
        record: &Record,
        pieces: &mpsc::Sender<Bytes>,
        transfers: &dyn Transfers,
    ) -> Result<(), Error> {
        let (size, mut at, mut tries) = (record.bytes(), 0, 0);
        while at < size {
            let before = at;
            match self.feed_from(record, &mut at, pieces, transfers).await {
                Ok(true) => {}
                // Nobody takes any more; there it is known why.
                Ok(false) => return Ok(()),
                Err(Error::Offline) if at > before || tries < RETRIES => {}
                Err(error) => return Err(error),
            }
            tries = if at > before { 0 } else { tries + 1 };
            if tries > RETRIES {
                return Err(Error::BadAnswer);
            }
        }
        Ok(())
    }

    /// One answer; `false` if nobody takes it.
    async fn feed_from(
        &self,
        record: &Record,
        at: &mut u64,
        pieces: &mpsc::Sender<Bytes>,
        transfers: &dyn Transfers,
    ) -> Result<bool, Error> {
        let mut answer = self.get_content(&path(record.id, *at)).await?;
        let of = record.bytes();
        while let Some(piece) = answer.body.chunk().await? {
            if transfers.cancelled() {
                return Err(Error::Cancelled);
            }
            *at += piece.len() as u64;
            if *at > of {
                return Err(Error::BadAnswer);
            }
            if pieces.send(piece).await.is_err() {
                return Ok(false);
            }
            transfers.moved(Moved { attachment: record.id, bytes: *at, of, waiting: 0 });
        }
        Ok(true)
    }

    /// The answer about content, as soon as its head is there.
    async fn get_content(&self, path: &str) -> Result<Response, Error> {
        let endpoint = self.endpoint()?;
        let mut renewed = false;
        loop {
            let token = self.access(&endpoint, renewed).await?;
            match self.inner.api.fetch(&endpoint, path, &token).await {
                Err(error) if is_expired(&error) && !renewed => renewed = true,
                answer => return answer,
            }
        }
    }

    /// A token, in a short conversation of its own, so that a sync and this never renew at a time.
    async fn access(&self, endpoint: &Endpoint, renew: bool) -> Result<Zeroizing<String>, Error> {
        let _conversation = self.inner.conversation.lock().await;
        let Session { store, .. } = self.working()?;
        self.talk(endpoint).access(&store, renew).await
    }
}

fn is_expired(error: &Error) -> bool {
    error.server_code() == Some(ErrorCode::TokenExpired)
}

/// A part of a content, read away from the executor.
async fn read_part(reader: &Arc<AttachmentReader>, offset: u64, length: u64) -> Result<Bytes, Error> {
    debug_assert!(length <= PART);
    let reader = Arc::clone(reader);
    blocking(move || {
        let mut part = vec![0; usize::try_from(length).unwrap_or(0)];
        let count = reader.read_at(offset, &mut part)?;
        part.truncate(count);
        Ok(part.into())
    })
    .await
}

/// What comes from the network, for whoever reads on another thread.
struct Pieces {
    taken: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.taken.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let count = into.len().min(self.piece.len());
        into[..count].copy_from_slice(&self.piece.split_to(count));
        Ok(count)
    }
}
