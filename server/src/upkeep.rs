//! What a running server does by itself, at its start and once an hour.

use crate::admin::{AlertKind, forget_old};
use crate::app::App;
use crate::audit::anchor;
use crate::devices::alerts;
use crate::storage::StorageError;
use crate::{attachments, rescue};
use chrono::TimeDelta;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const EVERY: Duration = Duration::from_hours(1);

/// An alert is raised so many days before the root expires. Devices take no new keys and no new root under one that has
/// expired.
const WARN_DAYS: [i64; 7] = [60, 30, 14, 7, 3, 1, 0];

/// Goes on until it is dropped.
pub(crate) async fn go_on(app: Arc<App>, anchors: PathBuf) {
    let mut hours = tokio::time::interval(EVERY);
    loop {
        hours.tick().await;
        if let Err(error) = attachments::sweep(&app).await {
            tracing::error!(%error, "bytes of attachments that nobody needs could not be removed; tried again in an hour");
        }
        if let Err(error) = attachments::file_rescued(&app).await {
            tracing::error!(?error, "rescued photos could not be filed; tried again in an hour");
        }
        let (app, anchors) = (Arc::clone(&app), anchors.clone());
        let done = tokio::task::spawn_blocking(move || once(&app, &anchors)).await;
        if let Ok(Err(error)) = done {
            tracing::error!(%error, "the hourly upkeep failed and is tried again in an hour");
        }
    }
}

/// Keeps the day's anchor of the audit log, warns of a root that is about to expire, and forgets what was rescued long
/// ago and what nobody went on sending.
pub(crate) fn once(app: &App, anchors: &std::path::Path) -> Result<(), StorageError> {
    let now = app.now();
    let mut tx = app.storage.write()?;
    let keys = app.keys(tx.as_ref())?;
    rescue::forget_old(tx.as_mut(), now)?;
    forget_old(tx.as_mut(), now)?;
    let abandoned = attachments::forget_abandoned(tx.as_mut(), now)?;
    if abandoned > 0 {
        tracing::info!(count = abandoned, "attachments that nobody went on sending were forgotten");
    }
    let left = keys.root.expires_ms - now.timestamp_millis();
    let days = left.div_euclid(TimeDelta::days(1).num_milliseconds()).max(0);
    if let Some(warning) = WARN_DAYS.into_iter().rev().find(|warning| days <= *warning) {
        // Each warning once for each root.
        let (name, text) = (format!("root_warning/{}", keys.root.version), warning.to_string());
        if tx.setting(&name)?.is_none_or(|told| *told != text.as_bytes()) {
            tx.set_setting(&name, text.as_bytes())?;
            alerts::raise(tx.as_mut(), AlertKind::RootExpires, None, format!("in {days} days"), now)?;
        }
    }
    if let Err(error) = anchor::keep(tx.as_ref(), &keys, anchors, now)? {
        tracing::error!(%error, "the anchor of the audit log can't be written");
    }
    tx.commit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::Anchored;
    use crate::testkit::{Org, TestResult};

    #[test]
    fn each_day_has_one_anchor_that_nobody_writes_over() -> TestResult {
        let (org, folder) = (Org::new()?, tempfile::tempdir()?);
        for hours in [0, 5, 24] {
            org.wait(TimeDelta::hours(hours));
            once(&org.app, folder.path())?;
        }
        let mut files: Vec<_> = std::fs::read_dir(folder.path())?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        files.sort();
        assert_eq!(files.len(), 2, "{files:?}");
        assert!(files[0].ends_with("audit-2027-01-15.anchor"), "{files:?}");
        assert!(std::fs::metadata(&files[0])?.permissions().readonly());
        let text = std::fs::read_to_string(&files[0])?;
        assert_eq!(org.admin.compare_anchor(&text)?, Anchored::Holds { entries: 0 });
        Ok(())
    }

    #[test]
    fn a_folder_that_is_gone_does_not_stop_the_rest() -> TestResult {
        let org = Org::new()?;
        org.wait(TimeDelta::days(340));
        once(&org.app, std::path::Path::new("/nowhere/at/all"))?;
        assert_eq!(org.admin.alerts(9)?.len(), 1);
        Ok(())
    }

    #[test]
    fn a_root_that_is_about_to_expire_is_told_of_in_time_and_not_each_hour() -> TestResult {
        let (org, folder) = (Org::new()?, tempfile::tempdir()?);
        let unseen = |org: &Org| -> TestResult<Vec<String>> {
            let alerts = org.admin.alerts(9)?;
            let new = alerts.iter().filter(|alert| alert.seen.is_none());
            Ok(new
                .filter(|alert| alert.kind == AlertKind::RootExpires)
                .map(|alert| alert.detail.clone())
                .collect())
        };
        once(&org.app, folder.path())?;
        assert!(unseen(&org)?.is_empty());
        for (wait, told) in
            [(306, Some("in 59 days")), (1, None), (30, Some("in 28 days")), (20, Some("in 8 days"))]
        {
            org.wait(TimeDelta::days(wait));
            once(&org.app, folder.path())?;
            once(&org.app, folder.path())?;
            assert_eq!(unseen(&org)?, told.into_iter().collect::<Vec<_>>(), "{wait} days later");
            for alert in org.admin.alerts(9)? {
                org.admin.acknowledge(org.boss, alert.id)?;
            }
        }
        org.wait(TimeDelta::days(20));
        once(&org.app, folder.path())?;
        assert_eq!(unseen(&org)?, ["in 0 days"]);
        Ok(())
    }
}
