//! Doors to what reads bytes from elsewhere and is private otherwise. Only for fuzz targets.

use crate::platform::{Body, TransportError};
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::VecDeque;

pub use crate::attachments::fuzzing::attachment;
pub use crate::vault::fuzzing::{audit_log, control, slots};

/// Reads an answer to a sync: the bytes as they are, and packed as they should be.
pub async fn answer(bytes: &[u8]) {
    crate::sync::read_frames(&mut Pieces([Bytes::copy_from_slice(bytes)].into())).await;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    if std::io::Write::write_all(&mut packed, bytes).is_ok()
        && let Ok(packed) = packed.finish()
    {
        crate::sync::read_frames(&mut Pieces([packed.into()].into())).await;
    }
}

struct Pieces(VecDeque<Bytes>);

#[async_trait]
impl Body for Pieces {
    async fn chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        Ok(self.0.pop_front())
    }
}
