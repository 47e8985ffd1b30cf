//! Locking every phone from the console.

use super::Browser;
use crate::admin::DeviceStatus;
use crate::testkit::{Org, TestResult};
use reqwest::StatusCode;

const PAGE: &str = "/console/freeze";
const LIFT: &str = "/console/freeze/lift";

#[tokio::test]
async fn every_phone_is_locked_by_who_types_the_organisations_name_and_freed_with_one_button() -> TestResult {
    let org = Org::new()?;
    let ana = org.rep("ana", &["A"])?;
    let (one, two) = (org.phone(ana)?, org.phone(ana)?);
    let mut browser = Browser::signed_in(&org).await?;
    let page = browser.get(PAGE).await?;
    assert!(page.text.contains("2 phones would be locked now"), "{}", page.text);

    let form = [("reason", "break-in at the office"), ("name", "Test")];
    assert_eq!(browser.send(PAGE, &form).await?.status, StatusCode::FORBIDDEN, "no token");
    let wrong = browser.fill(PAGE, PAGE, &[("reason", "break-in"), ("name", "Tset")]).await?;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.text.contains("Nothing was changed."));
    let mute = browser.fill(PAGE, PAGE, &[("reason", " "), ("name", "Test")]).await?;
    assert_eq!(mute.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(org.stored(&one)?.status, DeviceStatus::Active);

    let done = browser.fill(PAGE, PAGE, &form).await?;
    assert_eq!((done.status, done.goes_to()), (StatusCode::SEE_OTHER, "/console/devices"));
    for phone in [&one, &two] {
        assert_eq!(org.stored(phone)?.status, DeviceStatus::LockPending);
    }
    let devices = browser.get("/console/devices").await?;
    assert!(
        devices.text.contains("ordered it for 2 phones") && devices.text.contains("break-in at the office")
    );

    assert_eq!(browser.send(LIFT, &[]).await?.status, StatusCode::FORBIDDEN, "no token");
    assert_eq!(browser.fill(PAGE, LIFT, &[]).await?.goes_to(), "/console/devices");
    for phone in [&one, &two] {
        assert_eq!(org.stored(phone)?.status, DeviceStatus::UnlockGranted);
    }
    assert!(!browser.get("/console/devices").await?.text.contains("ordered it for"));
    Ok(())
}
