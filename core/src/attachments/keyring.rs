//! The keys of the attachments while the vault is open, and all that must go when it closes.

use super::AttachmentError;
use crate::Error;
use crate::vault::{FileKey, FileKeys};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use uuid::Uuid;
use zeroize::{Zeroize, Zeroizing};

/// Holds the keys until it is closed. Readers hold none: they ask here for each chunk.
pub(super) struct Keyring(RwLock<Option<Open>>);

struct Open {
    keys: FileKeys,
    buffers: Mutex<Vec<Weak<Buffer>>>,
}

/// The chunk that a reader has opened last.
#[derive(Default)]
pub(super) struct Buffer(Mutex<Opened>);

/// An opened chunk.
#[derive(Default)]
pub(super) struct Opened {
    /// Its number; `None` if there is none.
    pub(super) number: Option<u32>,
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

impl Opened {
    fn forget(&mut self) {
        self.number = None;
        self.bytes.zeroize();
    }
}

impl Buffer {
    pub(super) fn lock(&self) -> MutexGuard<'_, Opened> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keyring {
    pub(super) fn new(keys: FileKeys) -> Self {
        Self(RwLock::new(Some(Open { keys, buffers: Mutex::default() })))
    }

    /// Lends the keys. A close waits for the end of `work`, so let it be short.
    pub(super) fn with<T>(&self, work: impl FnOnce(&FileKeys) -> Result<T, Error>) -> Result<T, Error> {
        let open = self.0.read().unwrap_or_else(PoisonError::into_inner);
        work(&open.as_ref().ok_or(Error::Locked)?.keys)
    }

    /// The same with the key of one file, unwrapped.
    pub(super) fn with_key<T>(
        &self,
        file: Uuid,
        wrapped: &[u8],
        work: impl FnOnce(&FileKey) -> Result<T, AttachmentError>,
    ) -> Result<T, Error> {
        self.with(|keys| {
            let key = keys.unwrap(file, wrapped).ok_or(AttachmentError::WrongKey)?;
            Ok(work(&key)?)
        })
    }

    /// A buffer that is emptied when the vault closes.
    pub(super) fn buffer(&self) -> Result<Arc<Buffer>, Error> {
        let open = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let open = open.as_ref().ok_or(Error::Locked)?;
        let buffer = Arc::new(Buffer::default());
        let mut buffers = open.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        buffers.retain(|buffer| buffer.strong_count() > 0);
        buffers.push(Arc::downgrade(&buffer));
        Ok(buffer)
    }

    /// Forgets the keys and every opened chunk. When this returns no attachment can be read.
    pub(super) fn close(&self) {
        let open = self.0.write().unwrap_or_else(PoisonError::into_inner).take();
        let buffers = open.map(|open| open.buffers.into_inner().unwrap_or_else(PoisonError::into_inner));
        for buffer in buffers.iter().flatten().filter_map(Weak::upgrade) {
            buffer.lock().forget();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use super::*;

    #[test]
    fn a_closed_keyring_lends_nothing_and_has_emptied_every_buffer() {
        let ring = Keyring::new(FileKeys::derive(&Zeroizing::new([1; 32]), Uuid::from_u128(7)));
        let buffer = ring.buffer().unwrap();
        buffer.lock().number = Some(3);
        buffer.lock().bytes.extend_from_slice(b"what was read");
        ring.with(|_| Ok(())).unwrap();
        ring.close();
        assert!(buffer.lock().bytes.is_empty() && buffer.lock().number.is_none());
        assert!(matches!(ring.with(|_| Ok(())), Err(Error::Locked)));
        assert!(matches!(ring.buffer(), Err(Error::Locked)));
        ring.close();
    }
}
