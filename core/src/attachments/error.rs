//! What can go wrong with an attachment.

use roundsman_protocol::sealed_file::FileError;
use std::io;

/// Why an attachment was not added or can't be read. Other attachments and records are not touched by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttachmentError {
    /// It is larger than one attachment may be. Add a smaller one: a photo can be scaled down.
    #[error("the attachment is too large: at most {most} bytes are allowed")]
    TooLarge {
        /// The most bytes that one may have.
        most: u64,
    },
    /// There is no room for it among the attachments on this device. Remove some.
    #[error("there is no room for the attachment: {left} bytes are left, remove others first")]
    QuotaReached {
        /// Bytes that are left.
        left: u64,
    },
    /// The media type is none: it has the form `image/jpeg`.
    #[error("the media type is not of the form image/jpeg")]
    MediaType,
    /// What was given to be attached had more or fewer bytes than was said. Nothing was added.
    #[error("the content is not as long as was said: nothing was added")]
    OtherSize,
    /// What was given to be attached can't be read. Nothing was added.
    #[error("the content can't be read ({kind}): nothing was added")]
    Content {
        /// How reading failed.
        kind: io::ErrorKind,
    },
    /// Its content is not on this device: fetch it first.
    #[error("the content is not on this device: fetch it first")]
    NotFetched,
    /// Its content is not on the server yet: the phone it was added on has not sent it.
    #[error("the phone it was added on has not sent the content yet")]
    NotSentYet,
    /// There is no small picture of it: it is no JPEG or PNG that can be read, or too large. Show what sort of file it is.
    #[error("there is no small picture of the attachment")]
    NoThumbnail,
    /// What was fetched is not what its record says. Nothing was kept: try again.
    #[error("what came is not what the record says: try again")]
    OtherContent,
    /// Its file is gone. Somebody else removed it: remove the attachment, and add it anew if you have it.
    #[error("the file of the attachment is missing: add it anew")]
    Missing,
    /// Its file is cut short. What is there was left alone: add it anew if you have it.
    #[error("the file of the attachment is cut short: add it anew")]
    Truncated,
    /// Its file was changed by somebody else, or the disk has damaged it. It was left alone: add it anew if you have it.
    #[error("the file of the attachment is damaged: add it anew")]
    Damaged,
    /// Its file is that of another attachment.
    #[error("the file of the attachment is that of another: add it anew")]
    OtherFile,
    /// The key that is kept for it is not one of this vault, or not this file's.
    #[error("the key of the attachment does not belong to it: add it anew")]
    WrongKey,
    /// A newer version of the app has written its file: update the app.
    #[error("the attachment is of a newer version: update the app")]
    Newer,
    /// The disk is full: free some space and try again. Nothing was added.
    #[error("the disk is full: free some space and try again")]
    Full,
    /// The disk failed.
    #[error("the disk failed ({kind})")]
    Disk {
        /// How.
        kind: io::ErrorKind,
    },
}

impl From<FileError> for AttachmentError {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Truncated => Self::Truncated,
            FileError::Damaged => Self::Damaged,
            FileError::Newer => Self::Newer,
        }
    }
}

impl From<io::Error> for AttachmentError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            kind => Self::Disk { kind },
        }
    }
}
