//! Where the content of attachments is kept, and how much of it.

use crate::Secret;
use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What becomes of the content of attachments.
#[derive(Default)]
pub struct AttachmentConfig {
    /// Where it is kept.
    pub place: AttachmentPlace,
    /// How much of it.
    pub limits: AttachmentLimits,
}

/// Where the content of attachments is kept. It is sealed before it gets there.
#[derive(Default)]
pub enum AttachmentPlace {
    /// In the folder `attachments` of the data folder.
    #[default]
    DataFolder,
    /// In this folder, made if it is missing: for instances on several machines, one that they share.
    Folder(PathBuf),
    /// In a bucket that speaks S3.
    S3(S3),
    /// In memory: gone with the server. For trials.
    Memory,
}

/// A bucket of Amazon S3, or of anything that speaks its protocol.
pub struct S3 {
    /// The bucket's name.
    pub bucket: String,
    /// The region; `us-east-1` is what most other servers want.
    pub region: String,
    /// The server's address, `https://host:port`, where it is not Amazon's. Plain `http` is taken for this machine only.
    pub endpoint: Option<String>,
    /// The id of the access key.
    pub access_key: String,
    /// The access key.
    pub secret_key: Secret,
}

/// The most bytes that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachmentLimits {
    /// Of one attachment.
    pub one: u64,
    /// Of all that one device has sent.
    pub device: u64,
    /// Of all.
    pub all: u64,
}

impl Default for AttachmentLimits {
    /// 64 MiB, 64 GiB, 1 TiB.
    fn default() -> Self {
        Self { one: 64 << 20, device: 64 << 30, all: 1 << 40 }
    }
}

/// Why the content of attachments can't be kept there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// The folder can't be made or used.
    #[error("the folder for attachments can't be used")]
    Folder(#[source] io::Error),
    /// The store can't be used as it was described.
    #[error("the store for attachments can't be used; see its bucket, region and address")]
    Store(#[source] object_store::Error),
    /// The address is not one of TLS, nor of this machine.
    #[error("the store's address must begin with https://, but for one on this machine")]
    InTheClear,
}

/// Opens the place.
pub(crate) fn open(place: &AttachmentPlace, data_dir: &Path) -> Result<Arc<dyn ObjectStore>, PlaceError> {
    match place {
        AttachmentPlace::DataFolder => folder(&data_dir.join("attachments")),
        AttachmentPlace::Folder(dir) => folder(dir),
        AttachmentPlace::S3(s3) => bucket(s3),
        AttachmentPlace::Memory => Ok(Arc::new(InMemory::new())),
    }
}

fn folder(dir: &Path) -> Result<Arc<dyn ObjectStore>, PlaceError> {
    std::fs::create_dir_all(dir).map_err(PlaceError::Folder)?;
    let store = LocalFileSystem::new_with_prefix(dir).map_err(PlaceError::Store)?;
    // What a phone was told is stored must outlive a power cut.
    Ok(Arc::new(store.with_fsync(true).with_automatic_cleanup(true)))
}

fn bucket(s3: &S3) -> Result<Arc<dyn ObjectStore>, PlaceError> {
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&s3.bucket)
        .with_region(&s3.region)
        .with_access_key_id(&s3.access_key)
        .with_secret_access_key(s3.secret_key.expose());
    if let Some(endpoint) = &s3.endpoint {
        let plain = ["http://127.0.0.1", "http://localhost", "http://[::1]"];
        let here = plain.iter().any(|start| {
            endpoint.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
        });
        if !here && !endpoint.starts_with("https://") {
            return Err(PlaceError::InTheClear);
        }
        builder = builder.with_endpoint(endpoint.trim_end_matches('/')).with_allow_http(here);
    }
    // The store's HTTP client takes the process's provider; an error says that there is one already, which is ring too.
    let _there_already = rustls::crypto::ring::default_provider().install_default();
    Ok(Arc::new(builder.build().map_err(PlaceError::Store)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_elsewhere_is_reached_over_tls_only() {
        let s3 = |endpoint: &str| S3 {
            bucket: "photos".into(),
            region: "us-east-1".into(),
            endpoint: Some(endpoint.into()),
            access_key: "id".into(),
            secret_key: Secret::new("key".to_owned()),
        };
        for good in ["https://s3.example:9000", "http://127.0.0.1:9000", "http://localhost"] {
            assert!(bucket(&s3(good)).is_ok(), "{good}");
        }
        for bad in ["http://s3.example", "http://localhost.example", "http://127.0.0.1.example:80"] {
            assert!(matches!(bucket(&s3(bad)), Err(PlaceError::InTheClear)), "{bad}");
        }
    }
}
