//! Why a device's request was not served.

use crate::random::NoEntropy;
use crate::storage::StorageError;
use roundsman_protocol::{ErrorCode, Problem};

/// What the device is told, or what went wrong here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Problem(#[from] Problem),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("the storage of attachments failed")]
    Object(#[from] object_store::Error),
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    #[error("a worker stopped before it was done")]
    Worker,
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self::Problem(code.into())
    }
}
