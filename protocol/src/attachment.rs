//! The content of attachments: sent and fetched part by part, apart from sync.
//!
//! The record of an attachment goes with sync and says how many bytes there are and what they hash to. Then its author's
//! device sends them: `POST /v1/attachments/{id}/content/{offset}` has the [`part_size`] bytes from there on, and the answer
//! says how far the server has come. A part that it doesn't wait for changes nothing, so a device may begin wherever it
//! believes to be, and goes on where the answer says. After the last part the server hashes what it has stored.
//!
//! `GET` of the same address answers with everything from that offset to the end. `GET` of [`thumbnail_path`] answers with a
//! small picture, or that there is nothing if none can be made of the content.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Bytes of a part, but for the last one. Small enough for half a minute over 70 kbit/s.
pub const PART: u64 = 256 * 1024;

/// The most bytes of a small picture.
pub const MAX_THUMBNAIL: usize = 64 * 1024;

/// How far the server has come with an attachment's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadAnswer {
    /// Bytes it has, from the first one on.
    pub received: u64,
    /// Whether it has all of them, and they are what the record says.
    pub stored: bool,
}

/// Where the content of an attachment is, from an offset on.
pub fn path(attachment: Uuid, offset: u64) -> String {
    format!("/v1/attachments/{attachment}/content/{offset}")
}

/// Where the small picture of an attachment is: a JPEG that the server makes, without what the picture tells beside its
/// pixels.
pub fn thumbnail_path(attachment: Uuid) -> String {
    format!("/v1/attachments/{attachment}/thumbnail")
}

/// How many bytes the part at this offset has, of so many in all.
pub fn part_size(size: u64, offset: u64) -> u64 {
    size.saturating_sub(offset).min(PART)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_all_of_the_content_once() {
        for size in [0, 1, PART - 1, PART, PART + 1, 5 * PART + 7] {
            let (mut at, mut parts) = (0, 0);
            while at < size {
                at += part_size(size, at);
                parts += 1;
            }
            assert_eq!((at, parts, part_size(size, at)), (size, size.div_ceil(PART), 0), "{size}");
        }
    }
}
