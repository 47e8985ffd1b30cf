//! A disk and a network that stop where they are told to, and wait.

use super::Said;
use crate::meddler::Whole;
use async_trait::async_trait;
use bytes::Bytes;
use roundsman_core::platform::{Body, Disk, RealDisk, Request, Response, Transport, TransportError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Where the phone stops, and how it talks with whoever tells it what to do.
pub struct Stops {
    at_steps: AtomicBool,
    answer_after: Mutex<Option<usize>>,
    tokens: Mutex<Vec<String>>,
    real: Arc<dyn Transport>,
}

impl Stops {
    /// None yet, before this network.
    pub fn new(real: Arc<dyn Transport>) -> Arc<Self> {
        Arc::new(Self {
            at_steps: AtomicBool::new(false),
            answer_after: Mutex::default(),
            tokens: Mutex::default(),
            real,
        })
    }

    pub(super) fn at_steps(&self, stop: bool) {
        self.at_steps.store(stop, Ordering::SeqCst);
    }

    pub(super) fn answer_after(&self, bytes: usize) {
        *self.answer_after.lock().unwrap_or_else(PoisonError::into_inner) = Some(bytes);
    }

    /// The tokens that were given since it was last asked.
    pub(super) fn tokens(&self) -> Vec<String> {
        std::mem::take(&mut *self.tokens.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says something, in one line.
    #[allow(clippy::print_stdout, reason = "a pipe to whoever tells it what to do")]
    pub(super) fn say(said: &Said) -> io::Result<()> {
        println!("{}", serde_json::to_string(said)?);
        Ok(())
    }

    /// Stops, and waits for a line.
    fn stop(before: String) -> io::Result<()> {
        Self::say(&Said::Stopped(before))?;
        io::stdin().read_line(&mut String::new()).map(drop)
    }

    fn step(&self, does: &str, path: &Path) -> io::Result<()> {
        if !self.at_steps.load(Ordering::SeqCst) {
            return Ok(());
        }
        Self::stop(format!("{does} {}", path.file_name().unwrap_or_default().to_string_lossy()))
    }
}

impl Disk for Stops {
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        RealDisk.read(path)
    }

    fn write_sync(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.step("write", path)?;
        RealDisk.write_sync(path, bytes)
    }

    fn rewrite_sync(&self, path: &Path, bytes: &[u8]) -> io::Result<bool> {
        self.step("write over", path)?;
        RealDisk.rewrite_sync(path, bytes)
    }

    fn append_sync(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.step("append to", path)?;
        RealDisk.append_sync(path, bytes)
    }

    fn write_with(
        &self,
        path: &Path,
        fill: &mut dyn FnMut(&mut dyn io::Write) -> io::Result<()>,
    ) -> io::Result<()> {
        self.step("write", path)?;
        RealDisk.write_with(path, fill)
    }

    fn read_at(&self, path: &Path, at: u64, into: &mut [u8]) -> io::Result<usize> {
        RealDisk.read_at(path, at, into)
    }

    fn size(&self, path: &Path) -> io::Result<Option<u64>> {
        RealDisk.size(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step("rename", from)?;
        RealDisk.rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.step("sync", dir)?;
        RealDisk.sync_dir(dir)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step("remove", path)?;
        RealDisk.remove(path)
    }

    fn truncate(&self, path: &Path) -> io::Result<()> {
        self.step("cut", path)?;
        RealDisk.truncate(path)
    }

    fn overwrite_sync(&self, path: &Path) -> io::Result<()> {
        self.step("overwrite", path)?;
        RealDisk.overwrite_sync(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.step("remove", dir)?;
        RealDisk.remove_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        RealDisk.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.step("make", dir)?;
        RealDisk.create_dir_all(dir)
    }
}

#[async_trait]
impl Transport for Stops {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let url = request.url.clone();
        let mut response = self.real.send(request).await?;
        if url.ends_with("/v1/enrol") || url.ends_with("/v1/token") {
            let mut body = Vec::new();
            while let Some(chunk) = response.body.chunk().await? {
                body.extend_from_slice(&chunk);
            }
            let given = serde_json::from_slice(&body).map(|answer| tokens(&answer)).unwrap_or_default();
            Self::say(&Said::Tokens(given.clone())).map_err(|_| TransportError::Offline)?;
            self.tokens.lock().unwrap_or_else(PoisonError::into_inner).extend(given);
            return Ok(Response { body: Whole::of(body), ..response });
        }
        if !url.ends_with("/v1/sync") {
            return Ok(response);
        }
        match self.answer_after.lock().unwrap_or_else(PoisonError::into_inner).take() {
            None => Ok(response),
            Some(left) => Ok(Response { body: Box::new(Slow { real: response.body, left }), ..response }),
        }
    }
}

/// The tokens in an answer, wherever they are.
fn tokens(answer: &serde_json::Value) -> Vec<String> {
    let Some(fields) = answer.as_object() else { return vec![] };
    let held = fields.iter().flat_map(|(name, value)| match value.as_str() {
        Some(token) if name == "access" || name == "refresh" => vec![token.to_owned()],
        _ => tokens(value),
    });
    held.collect()
}

/// An answer that stops once, after so many bytes.
struct Slow {
    real: Box<dyn Body>,
    left: usize,
}

#[async_trait]
impl Body for Slow {
    async fn chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        if self.left == 0 {
            Stops::stop("the rest of the answer".to_owned()).map_err(|_| TransportError::Offline)?;
            self.left = usize::MAX;
        }
        let Some(mut chunk) = self.real.chunk().await? else { return Ok(None) };
        chunk.truncate(self.left);
        self.left -= chunk.len();
        Ok(Some(chunk))
    }
}
