//! What a check has found, as alerts: one for each kind, as long as it is there.

use super::{FindingKind, MOST, Report};
use crate::admin::{Admin, AlertKind};
use crate::app::App;
use crate::devices::alerts::raise;
use crate::storage::{AdminAct, ReadTx, StorageError, StoredAlert};

/// What is to be done about one kind.
enum Due {
    Raise(AlertKind, String),
    Close(StoredAlert),
}

/// Raises an alert for each kind of thing that was found, unless one waits to be seen, and closes those of kinds that
/// this check would have found and has not. Where nothing is due, nothing is written.
pub(crate) fn note(app: &App, report: &Report) -> Result<(), StorageError> {
    let due = due(app.storage.read()?.as_ref(), report)?;
    if due.is_empty() {
        return Ok(());
    }
    let now = app.now();
    let at_ms = now.timestamp_millis();
    let mut tx = app.storage.write()?;
    for due in due {
        match due {
            Due::Raise(kind, detail) => raise(tx.as_mut(), kind, None, detail, now)?,
            Due::Close(alert) => {
                // Somebody may have seen it meanwhile.
                if tx.alert(alert.id)?.is_none_or(|alert| alert.seen_ms.is_some()) {
                    continue;
                }
                let detail = format!("{}; a later check did not find it any more", alert.detail);
                let (seen_by, seen_ms) = (Some(Admin::OPERATOR), Some(at_ms));
                let (action, object) = ("close_alert".to_owned(), alert.id.to_string());
                tx.put_alert(&StoredAlert { detail, seen_by, seen_ms, ..alert })?;
                tx.add_admin_act(&AdminAct { at_ms, actor: Admin::OPERATOR, action, object })?;
            }
        }
    }
    tx.commit()
}

fn due(tx: &dyn ReadTx, report: &Report) -> Result<Vec<Due>, StorageError> {
    let mut due = Vec::new();
    for (alert, _) in AlertKind::NAMES {
        let AlertKind::Found(kind) = alert else { continue };
        match (tx.unseen(alert, None)?, report.has(kind)) {
            (None, true) => due.push(Due::Raise(alert, figures(kind, report))),
            (Some(open), false) if report.tells_of(kind) => due.push(Due::Close(open)),
            _ => {}
        }
    }
    Ok(due)
}

/// How often it was found, and where first: never what a record holds.
fn figures(kind: FindingKind, report: &Report) -> String {
    let found: Vec<_> = report.findings.iter().filter(|finding| finding.kind == kind).collect();
    let many = if found.len() < MOST { String::new() } else { " or more".to_owned() };
    let place = found.first().map(|finding| finding.place()).filter(|place| !place.is_empty());
    let place = place.map(|place| format!(", first in {place}")).unwrap_or_default();
    format!(
        "found by a check {}{many} {}{place}",
        found.len(),
        if found.len() == 1 { "time" } else { "times" }
    )
}
