//! Sealed bytes in the object storage.

use super::AttachmentLimits;
use super::seal::{self, Parts};
use crate::refusal::Refusal;
use crate::storage::StoredContent;
use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use uuid::Uuid;
use zeroize::Zeroizing;

/// How much goes to the storage at once when parts are put together: no less than S3 takes.
const BLOCK: usize = 5 * 1024 * 1024;

/// The most blocks on their way at a time.
const BLOCKS: usize = 1;

/// The number that a thumbnail is sealed with, which no part has.
const THUMBNAIL: u64 = u64::MAX;

/// Reads and writes sealed bytes.
#[derive(Clone)]
pub(crate) struct Contents {
    store: Arc<dyn ObjectStore>,
    pub(super) limits: AttachmentLimits,
}

/// How sealed bytes lie in the object storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Not at all.
    Missing,
    /// More or fewer than there should be.
    OtherSize,
    /// As many as there should be.
    There,
    /// A part does not open.
    Changed,
    /// Every part opens, and this is the hash of what they hold.
    Hash([u8; 32]),
}

impl Contents {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, limits: AttachmentLimits) -> Self {
        Self { store, limits }
    }

    /// For the command line, which has to do with no content.
    pub(crate) fn nowhere() -> Self {
        Self::new(Arc::new(InMemory::new()), AttachmentLimits::default())
    }

    /// Keeps a part until the others are there.
    pub(super) async fn put_part(
        &self,
        content: &StoredContent,
        number: u64,
        part: &[u8],
    ) -> Result<(), Refusal> {
        let sealed = Parts::of(content)?.seal(number, part)?;
        self.store.put(&part_path(content.object, number), PutPayload::from_bytes(sealed)).await?;
        Ok(())
    }

    /// Puts the parts together, and says what they hash to. What was put together before is replaced.
    pub(super) async fn assemble(&self, content: &StoredContent) -> Result<[u8; 32], Refusal> {
        let parts = Parts::of(content)?;
        let mut hash = Sha256::new();
        let upload = self.store.put_multipart(&whole_path(content.object)).await?;
        let mut whole = WriteMultipart::new_with_chunk_size(upload, BLOCK);
        for number in 0..seal::count(content.size) {
            let sealed = match self.read_part(content.object, number).await {
                Ok(sealed) => sealed,
                Err(error) => {
                    whole.abort().await?;
                    return Err(error);
                }
            };
            let Some(part) = parts.open(number, &sealed) else {
                whole.abort().await?;
                return Err(Refusal::Object(changed()));
            };
            hash.update(&*part);
            whole.wait_for_capacity(BLOCKS).await?;
            whole.put(sealed);
        }
        whole.finish().await?;
        Ok(hash.finalize().into())
    }

    async fn read_part(&self, object: Uuid, number: u64) -> Result<Bytes, Refusal> {
        Ok(self.store.get(&part_path(object, number)).await?.bytes().await?)
    }

    /// One part of a content that is stored.
    pub(super) async fn part(
        &self,
        content: &StoredContent,
        number: u64,
    ) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let range = seal::range(content.size, number);
        let sealed = self.store.get_range(&whole_path(content.object), range).await?;
        Parts::of(content)?.open(number, &sealed).ok_or_else(|| Refusal::Object(changed()))
    }

    /// The small picture of a content, if it was made; empty if none can be made.
    pub(super) async fn thumbnail(
        &self,
        content: &StoredContent,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Refusal> {
        let sealed = match self.store.get(&thumbnail_path(content.object)).await {
            Ok(found) => found.bytes().await?,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // One that was changed is made anew.
        Ok(Parts::of(content)?.open(THUMBNAIL, &sealed))
    }

    /// Keeps the small picture of a content, under the content's key. It goes with the content.
    pub(super) async fn put_thumbnail(&self, content: &StoredContent, jpeg: &[u8]) -> Result<(), Refusal> {
        let sealed = Parts::of(content)?.seal(THUMBNAIL, jpeg)?;
        self.store.put(&thumbnail_path(content.object), PutPayload::from_bytes(sealed)).await?;
        Ok(())
    }

    /// How the sealed bytes of a content that is stored lie there; read through and hashed if `whole` says so.
    pub(crate) async fn look(&self, content: &StoredContent, whole: bool) -> Result<Look, Refusal> {
        let found = match self.store.head(&whole_path(content.object)).await {
            Ok(found) => found.size,
            Err(object_store::Error::NotFound { .. }) => return Ok(Look::Missing),
            Err(error) => return Err(error.into()),
        };
        if found != seal::sealed_size(content.size) {
            return Ok(Look::OtherSize);
        }
        if !whole {
            return Ok(Look::There);
        }
        let parts = Parts::of(content)?;
        let mut hash = Sha256::new();
        for number in 0..seal::count(content.size) {
            let range = seal::range(content.size, number);
            let sealed = match self.store.get_range(&whole_path(content.object), range).await {
                Ok(sealed) => sealed,
                Err(object_store::Error::NotFound { .. }) => return Ok(Look::Missing),
                Err(error) => return Err(error.into()),
            };
            let Some(part) = parts.open(number, &sealed) else { return Ok(Look::Changed) };
            hash.update(&*part);
        }
        Ok(Look::Hash(hash.finalize().into()))
    }

    /// Removes everything whose name begins like this.
    pub(super) async fn remove(&self, prefix: &str) -> Result<(), object_store::Error> {
        let prefix = Path::from(prefix);
        let names: Vec<_> =
            self.store.list(Some(&prefix)).map_ok(|found| found.location).try_collect().await?;
        for name in names {
            match self.store.delete(&name).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn changed() -> object_store::Error {
    object_store::Error::Generic { store: "attachments", source: "a part was changed".into() }
}

/// What the names of an object's parts begin with, which go once they are put together.
pub(super) fn parts_of(object: Uuid) -> String {
    format!("{}/parts", object.simple())
}

/// What all names of an object begin with.
pub(super) fn all_of(object: Uuid) -> String {
    object.simple().to_string()
}

fn part_path(object: Uuid, number: u64) -> Path {
    Path::from(format!("{}/{number}", parts_of(object)))
}

fn thumbnail_path(object: Uuid) -> Path {
    Path::from(format!("{}/thumbnail", all_of(object)))
}

fn whole_path(object: Uuid) -> Path {
    Path::from(format!("{}/whole", all_of(object)))
}
