//! Reads the streamed answer: gzip, then lines, then frames, with bounded memory.

use crate::Error;
use crate::platform::Body;
use crate::store::Arrival;
use flate2::write::GzDecoder;
use roundsman_protocol::sync::{Line, MAX_LINE};
use std::collections::VecDeque;
use std::io::{self, BufRead, Write};

/// Compressed bytes that are taken in at once, so that a small piece that unpacks into a huge one is noticed
/// early.
const SLICE: usize = 4 * 1024;

/// A line of an answer, with a page that is ready to be stored.
pub(super) type Frame = Line<Arrival>;

/// The frames of an answer as they come in.
pub(super) struct Frames<'a> {
    body: &'a mut dyn Body,
    decoder: GzDecoder<Lines>,
    pub(super) bytes: u64,
    ended: bool,
}

#[derive(Default)]
struct Lines {
    whole: VecDeque<Vec<u8>>,
    open: Vec<u8>,
    /// Room of a line that was read, for the next one: most are as long as the one before.
    spare: Vec<u8>,
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest.read_until(b'\n', &mut self.open)?;
            if self.open.len() > MAX_LINE {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if self.open.ends_with(b"\n") {
                let next = std::mem::take(&mut self.spare);
                self.whole.push_back(std::mem::replace(&mut self.open, next));
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> Frames<'a> {
    pub(super) fn new(body: &'a mut dyn Body) -> Self {
        Self { body, decoder: GzDecoder::new(Lines::default()), bytes: 0, ended: false }
    }

    /// The next frame; `None` when the answer ends, whether or not it was cut.
    pub(super) async fn next(&mut self) -> Result<Option<Frame>, Error> {
        loop {
            if let Some(mut line) = self.decoder.get_mut().whole.pop_front() {
                let frame = Frame::read(&line).map_err(|_| Error::BadAnswer)?;
                line.clear();
                self.decoder.get_mut().spare = line;
                match frame {
                    Some(frame) => return Ok(Some(frame)),
                    // A newer server has more to say than this version understands.
                    None => continue,
                }
            }
            if self.ended {
                return Ok(None);
            }
            match self.body.chunk().await? {
                Some(chunk) => {
                    self.bytes += chunk.len() as u64;
                    for slice in chunk.chunks(SLICE) {
                        self.decoder.write_all(slice).map_err(|_| Error::BadAnswer)?;
                    }
                    self.decoder.flush().map_err(|_| Error::BadAnswer)?;
                }
                None => {
                    self.decoder.try_finish().map_err(|_| Error::BadAnswer)?;
                    self.ended = true;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::TransportError;
    use async_trait::async_trait;
    use bytes::Bytes;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use roundsman_model::Bucket;
    use roundsman_protocol::sync::Frame;

    struct Pieces(VecDeque<Bytes>);

    #[async_trait]
    impl Body for Pieces {
        async fn chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
            Ok(self.0.pop_front())
        }
    }

    fn packed(lines: &[u8]) -> Result<Vec<u8>, io::Error> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(lines)?;
        encoder.finish()
    }

    /// The frames as they are printed, and whether the answer was whole.
    async fn read(body: &[u8], piece: usize) -> (Vec<String>, bool) {
        let mut pieces = Pieces(body.chunks(piece).map(Bytes::copy_from_slice).collect());
        let mut frames = Frames::new(&mut pieces);
        let mut read = Vec::new();
        loop {
            match frames.next().await {
                Ok(Some(frame)) => read.push(format!("{frame:?}")),
                Ok(None) => return (read, true),
                Err(_) => return (read, false),
            }
        }
    }

    #[tokio::test]
    async fn frames_come_whole_however_the_bytes_are_cut() -> Result<(), Box<dyn std::error::Error>> {
        let frame = Frame::Buckets(vec![Bucket::territory("NJ")]);
        let line = serde_json::to_string(&frame)? + "\n";
        let body = packed(line.repeat(3).as_bytes())?;
        for piece in 1..body.len() {
            assert_eq!(read(&body, piece).await, (vec![format!("{frame:?}"); 3], true));
        }
        Ok(())
    }

    #[tokio::test]
    async fn an_answer_cut_at_any_byte_ends_in_an_error_or_without_its_end()
    -> Result<(), Box<dyn std::error::Error>> {
        let line = serde_json::to_string(&Frame::End { server_time: chrono::DateTime::default() })? + "\n";
        let body = packed(line.as_bytes())?;
        for cut in 0..body.len() {
            let (frames, whole) = read(&body[..cut], 7).await;
            assert!(!whole || frames.is_empty(), "cut at {cut} passed for a whole answer");
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_line_without_end_is_refused_with_bounded_memory() -> Result<(), Box<dyn std::error::Error>> {
        let bomb = packed(&vec![b'x'; 3 * MAX_LINE])?;
        assert!(bomb.len() < MAX_LINE / 10);
        assert_eq!(read(&bomb, 64 * 1024).await, (vec![], false));
        Ok(())
    }
}
