//! Raising alerts.

use crate::admin::AlertKind;
use crate::storage::{Result, StoredAlert, WriteTx};
use chrono::{DateTime, Utc};
use roundsman_model::DeviceId;

/// Raises an alert, unless one of the same kind about the same device waits to be seen.
pub(crate) fn raise(
    tx: &mut dyn WriteTx,
    kind: AlertKind,
    device: Option<DeviceId>,
    detail: String,
    now: DateTime<Utc>,
) -> Result<()> {
    if tx.unseen(kind, device)?.is_some() {
        return Ok(());
    }
    let about = device.map(|device| device.to_string()).unwrap_or_default();
    tracing::warn!(device = about, detail, "alert: {}", kind.words());
    tx.put_alert(&StoredAlert {
        id: crate::random::uuid(),
        device,
        kind,
        at_ms: now.timestamp_millis(),
        detail,
        seen_by: None,
        seen_ms: None,
    })
}
