//! What a commit changed, for those who wait for it.

use roundsman_model::{Bucket, DeviceId};
use uuid::Uuid;

/// Something that a commit changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A bucket's log has grown.
    Bucket(Bucket),
    /// A command for a device was added, or its state changed.
    Device(DeviceId),
    /// Notices may have been lost: anything may have changed.
    Anything,
}

impl Notice {
    /// As text for other instances.
    pub(crate) fn to_text(&self) -> String {
        match self {
            Self::Bucket(bucket) => format!("b{}", bucket.0),
            Self::Device(device) => format!("d{}", device.0),
            Self::Anything => "*".to_owned(),
        }
    }

    /// Reads what another instance wrote; what a later version wrote may be anything.
    pub(crate) fn from_text(text: &str) -> Self {
        let known = match text.split_at_checked(1) {
            Some(("b", bucket)) => Some(Self::Bucket(Bucket(bucket.to_owned()))),
            Some(("d", device)) => Uuid::try_parse(device).ok().map(|id| Self::Device(DeviceId(id))),
            _ => None,
        };
        known.unwrap_or(Self::Anything)
    }
}
