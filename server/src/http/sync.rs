//! `POST /v1/sync`: newline-delimited JSON under gzip, both ways.

use super::proof::access_token;
use super::{Shared, bytes};
use crate::refusal::Refusal;
use crate::sync::{self, Answer};
use crate::tokens;
use crate::worker::work;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use futures_util::{StreamExt, stream};
use roundsman_protocol::ErrorCode;
use roundsman_protocol::sync::{Head, MAX_LINE, MAX_MUTATIONS, Mutation};
use std::io::{BufRead, BufReader, Read, Write};
use std::sync::Arc;

/// The most bytes of a request once it is unpacked.
const MAX_UNPACKED: u64 = 32 * 1024 * 1024;

/// Bytes of lines that are packed at once.
const ENOUGH: usize = 64 * 1024;

pub(super) async fn post(
    State(api): State<Shared>,
    headers: HeaderMap,
    content: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let content = bytes(content)?;
    // What there is to say to a phone that has nearly everything is said at once.
    let (first, packer) = work(move || {
        let access = access_token(&headers)?;
        let key = api.proofs.check(&api.app, &headers, "/v1/sync", Some(access))?;
        // Before a stranger's body is unpacked. Whether the token still holds is asked again with the work.
        if !api.known.has(&key, access) {
            let now_ms = api.app.now().timestamp_millis();
            tokens::authorise(api.app.storage.read()?.as_ref(), &key, access, now_ms)?;
            api.known.remember(&key, access);
        }
        let (head, mutations) = read(&headers, &content)?;
        let answer = sync::run(&Arc::clone(&api.app), &key, access, &head, &mutations)?;
        let mut packer = Packer { answer, encoder: Some(GzEncoder::new(Vec::new(), Compression::fast())) };
        Ok((packer.next_chunk()?, packer))
    })
    .await?;
    // Read as fast as the client takes it: nothing is prepared ahead, so a slow client costs no memory.
    let others = stream::try_unfold(packer, |mut packer| async {
        if packer.encoder.is_none() {
            return Ok(None);
        }
        work(move || Ok(packer.next_chunk()?.map(|chunk| (chunk, packer)))).await
    });
    let chunks = stream::iter(first.map(Ok::<_, Refusal>)).chain(others);
    let kind = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson")),
        (header::CONTENT_ENCODING, HeaderValue::from_static("gzip")),
    ];
    Ok((kind, Body::from_stream(chunks)).into_response())
}

/// Reads a request line by line, within its limits.
fn read(headers: &HeaderMap, content: &[u8]) -> Result<(Head, Vec<Mutation>), Refusal> {
    let packed = headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding == "gzip");
    let unpacked: Box<dyn Read + '_> =
        if packed { Box::new(MultiGzDecoder::new(content)) } else { Box::new(content) };
    let mut lines = Lines { reader: BufReader::new(unpacked.take(MAX_UNPACKED + 1)), read: 0 };
    let head = lines.next()?.ok_or(ErrorCode::Malformed)?;
    let head: Head = serde_json::from_slice(&head).map_err(|_| ErrorCode::Malformed)?;
    let mut mutations = Vec::new();
    while let Some(line) = lines.next()? {
        if mutations.len() == MAX_MUTATIONS {
            return Err(ErrorCode::TooLarge.into());
        }
        mutations.push(serde_json::from_slice(&line).map_err(|_| ErrorCode::Malformed)?);
    }
    Ok((head, mutations))
}

struct Lines<R> {
    reader: R,
    read: u64,
}

impl<R: BufRead> Lines<R> {
    fn next(&mut self) -> Result<Option<Vec<u8>>, Refusal> {
        let mut line = Vec::new();
        let limit = MAX_LINE as u64 + 1;
        let read =
            (&mut self.reader).take(limit).read_until(b'\n', &mut line).map_err(|_| ErrorCode::Malformed)?;
        if read == 0 {
            return Ok(None);
        }
        self.read += read as u64;
        if self.read > MAX_UNPACKED || line.len() > MAX_LINE {
            return Err(ErrorCode::TooLarge.into());
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        Ok(Some(line))
    }
}

/// Packs frames into chunks.
struct Packer {
    answer: Answer,
    /// Gone once the last frame is packed.
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl Packer {
    /// The next chunk: all that is left, or what there is as soon as it is enough, flushed so that the client can go on with
    /// it.
    fn next_chunk(&mut self) -> Result<Option<Bytes>, Refusal> {
        let Some(mut encoder) = self.encoder.take() else { return Ok(None) };
        let written = |_| Refusal::Worker;
        // The encoder takes a few bytes as dearly as many.
        let (mut lines, mut packed) = (Vec::new(), 0);
        while let Some(frame) = self.answer.next()? {
            serde_json::to_writer(&mut lines, &frame).map_err(|_| Refusal::Worker)?;
            lines.push(b'\n');
            if lines.len() >= ENOUGH {
                encoder.write_all(&lines).map_err(written)?;
                packed += lines.len();
                lines.clear();
            }
            if packed > 0 && !self.answer.has_ready() {
                encoder.write_all(&lines).map_err(written)?;
                encoder.flush().map_err(written)?;
                let chunk = std::mem::take(encoder.get_mut());
                self.encoder = Some(encoder);
                return Ok(Some(chunk.into()));
            }
        }
        encoder.write_all(&lines).map_err(written)?;
        let chunk = encoder.finish().map_err(written)?;
        Ok(Some(chunk.into()))
    }
}
