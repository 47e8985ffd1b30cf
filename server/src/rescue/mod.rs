//! Unsent work that devices hand over, sealed to the organisation's rescue key.
//!
//! A segment is stored as it came: nothing here can read it. Whoever holds the rescue key opens it later
//! ([`open`]), and each change then waits for somebody to take it into the records, or not. The files of photos lie with
//! the content of attachments; once a photo's key is opened ([`open_photo`]) its content is filed when its record is here.

mod key;
mod open;
#[cfg(test)]
pub(crate) mod tests;

pub use key::rescue_key_from_text;
pub use open::RescueCounts;

pub(crate) use open::{open, open_photo};

use crate::attachments;
use crate::keys::OrgKeys;
use crate::refusal::Refusal;
use crate::storage::{self, RescueState, StoredDevice, StoredSegment, WriteTx};
use chrono::{DateTime, TimeDelta, Utc};
use roundsman_model::DeviceId;
use roundsman_protocol::rescue::{RescueAnswer, Segment, SegmentError, SignedSegment};
use roundsman_protocol::sync::Outcome;
use roundsman_protocol::{ErrorCode, sha256};
use uuid::Uuid;

/// The most bytes kept of one device: 64 MiB, which is more than a year's unsent work of one rep.
const MAX_KEPT: u64 = 64 * 1024 * 1024;

/// How long opened segments and the content of settled changes are kept.
const KEEP: TimeDelta = TimeDelta::days(30);

/// Stores a signed segment. The state of the device doesn't matter: a locked, wiped or unknown phone's work is still
/// the rep's.
///
/// A segment that is known already is taken again only if it begins with the bytes that are known: it has grown.
///
/// # Errors
/// It is not this device's, too large or not a segment; it differs from the one of the same id; or the device has
/// as much here as is kept of one ([`ErrorCode::RescueFull`]).
pub(crate) fn take_in(
    tx: &mut dyn WriteTx,
    keys: &OrgKeys,
    device: &StoredDevice,
    raw: &[u8],
    now: DateTime<Utc>,
) -> Result<RescueAnswer, Refusal> {
    let bytes = SignedSegment::open(raw, &device.key).map_err(|error| match error {
        SegmentError::TooLarge => ErrorCode::TooLarge,
        _ => ErrorCode::Malformed,
    })?;
    let segment = Segment::read(&bytes).map_err(|_| ErrorCode::Malformed)?;
    if segment.head.org != keys.org() || segment.head.device != device.id {
        return Err(ErrorCode::Malformed.into());
    }
    let answer = RescueAnswer { stored: segment.head.segment };
    // A record that was cut off may be written anew, so it is no part of what a longer version has to begin with.
    let whole = &bytes[..bytes.len() - segment.torn];
    if let Some(known) = tx.segment(device.id, segment.head.segment)? {
        match compare(&known, whole, device) {
            Compared::Known => return Ok(answer),
            Compared::Longer => {}
            Compared::Other => {
                tracing::warn!(device = %device.id, segment = %answer.stored, "a segment differs from the stored one");
                return Err(ErrorCode::Malformed.into());
            }
        }
    }
    if tx.segment_bytes(device.id)? + raw.len() as u64 > MAX_KEPT {
        tracing::warn!(device = %device.id, "a device has handed over as much as is kept of one; open its segments");
        return Err(ErrorCode::RescueFull.into());
    }
    tx.put_segment(&StoredSegment {
        device: device.id,
        segment: answer.stored,
        sha256: sha256(&[whole]),
        length: whole.len() as u64,
        changes: segment.changes.len() as u64,
        bytes: raw.to_vec(),
        received_ms: now.timestamp_millis(),
        opened_ms: None,
    })?;
    Ok(answer)
}

enum Compared {
    Known,
    Longer,
    Other,
}

/// How a segment's whole records relate to the stored ones of the same id. The hash is enough to tell that it has grown, so that this
/// holds after the stored bytes were deleted.
fn compare(known: &StoredSegment, whole: &[u8], device: &StoredDevice) -> Compared {
    let length = known.length as usize;
    if let Some(begin) = whole.get(..length) {
        let same = sha256(&[begin]) == known.sha256;
        return match (same, whole.len() == length) {
            (true, true) => Compared::Known,
            (true, false) => Compared::Longer,
            (false, _) => Compared::Other,
        };
    }
    let stored = SignedSegment::open(&known.bytes, &device.key).unwrap_or_default();
    if stored.starts_with(whole) { Compared::Known } else { Compared::Other }
}

/// What taking a change out of a segment has led to, for a device that sends the same change itself.
pub(crate) fn taken_before(
    tx: &dyn WriteTx,
    device: DeviceId,
    change: Uuid,
) -> storage::Result<Option<Outcome>> {
    let rescue = tx.rescued_change(change)?;
    let rescue = rescue.filter(|rescue| rescue.device == device && rescue.state == RescueState::Taken);
    Ok(rescue.and_then(|rescue| rescue.outcome))
}

/// Deletes what was opened or settled long enough ago.
pub(crate) fn forget_old(tx: &mut dyn WriteTx, now: DateTime<Utc>) -> storage::Result<()> {
    tx.forget_rescued((now - KEEP).timestamp_millis())?;
    attachments::forget_old_photos(tx, now - KEEP, now)
}
