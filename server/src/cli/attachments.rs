//! Where the content of attachments is kept, and how much of it.

use anyhow::{Context, Result};
use clap::Args;
use roundsman_server::{AttachmentConfig, AttachmentLimits, AttachmentPlace, S3, Secret};
use std::path::PathBuf;

/// Options that say where the content of attachments is kept.
#[derive(Args)]
pub(crate) struct PlaceArgs {
    /// Where to keep the content of attachments: a folder; for instances on several machines, one that they share.
    /// Default: DATA/attachments
    #[arg(long, value_name = "DIR", conflicts_with = "s3_bucket")]
    attachments: Option<PathBuf>,
    /// Keeps the content of attachments in this bucket of Amazon S3, or of anything that speaks its protocol. The access key
    /// is taken from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY
    #[arg(long, value_name = "NAME")]
    s3_bucket: Option<String>,
    /// The region of the bucket.
    #[arg(long, value_name = "NAME", default_value = "us-east-1", requires = "s3_bucket")]
    s3_region: String,
    /// The address of a server that is not Amazon's: https://host:port
    #[arg(long, value_name = "URL", requires = "s3_bucket")]
    s3_endpoint: Option<String>,
}

/// Options of `serve` about attachments.
#[derive(Args)]
pub(crate) struct AttachmentArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// The most MiB of one attachment.
    #[arg(long, value_name = "MIB", default_value_t = AttachmentLimits::default().one >> 20)]
    attachment_mib: u64,
    /// The most GiB of what one device has sent.
    #[arg(long, value_name = "GIB", default_value_t = AttachmentLimits::default().device >> 30)]
    attachments_device_gib: u64,
    /// The most GiB of all attachments.
    #[arg(long, value_name = "GIB", default_value_t = AttachmentLimits::default().all >> 30)]
    attachments_gib: u64,
}

impl PlaceArgs {
    /// As the server takes it.
    pub(crate) fn place(self) -> Result<AttachmentPlace> {
        let told = |name: &'static str| {
            std::env::var(name)
                .ok()
                .filter(|value| !value.is_empty())
                .with_context(|| format!("set {name} to the bucket's access key"))
        };
        Ok(match (self.s3_bucket, self.attachments) {
            (Some(bucket), _) => AttachmentPlace::S3(S3 {
                bucket,
                region: self.s3_region,
                endpoint: self.s3_endpoint,
                access_key: told("AWS_ACCESS_KEY_ID")?,
                secret_key: Secret::new(told("AWS_SECRET_ACCESS_KEY")?),
            }),
            (None, Some(dir)) => AttachmentPlace::Folder(dir),
            (None, None) => AttachmentPlace::DataFolder,
        })
    }
}

impl AttachmentArgs {
    /// As the server takes it.
    pub(crate) fn config(self) -> Result<AttachmentConfig> {
        let limits = AttachmentLimits {
            one: self.attachment_mib.saturating_mul(1 << 20),
            device: self.attachments_device_gib.saturating_mul(1 << 30),
            all: self.attachments_gib.saturating_mul(1 << 30),
        };
        Ok(AttachmentConfig { place: self.place.place()?, limits })
    }
}
