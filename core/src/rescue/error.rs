//! What can go wrong with the sealed outbox.

use crate::platform::EntropyError;
use std::io;

/// Why changes could not be sealed, or their files not be looked after.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealedError {
    /// The disk failed or is full: free some space and try again.
    #[error("the disk failed")]
    Disk(#[from] io::Error),
    /// There are no random numbers.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The organisation's rescue key can't be used: its administrator has to publish another one.
    #[error("the organisation's rescue key can't be used")]
    Key,
    /// The change is larger than any segment: make it smaller.
    #[error("the change is too large to be kept")]
    TooLarge,
}
