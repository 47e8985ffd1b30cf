//! Every form needs the session's token, and no page brings code along, however much it shows.

use super::alerts::goes_back;
use super::rescue::rescued;
use super::{Browser, org_with_phone};
use crate::testkit::TestResult;
use reqwest::StatusCode;
use uuid::Uuid;

#[tokio::test]
async fn no_form_is_taken_without_the_sessions_token() -> TestResult {
    let (org, phone) = org_with_phone("Corner")?;
    let wipe = org.admin.propose_wipe(org.boss, phone.id, "stolen", false)?;
    goes_back(&phone)?;
    let [alert] = org.admin.alerts(9)?.try_into().map_err(|_| "one alert")?;
    let mut browser = Browser::signed_in(&org).await?;
    let acts = org.admin.acts(99)?.len();
    let device = format!("/console/devices/{}", phone.id);
    let (user, any) = (format!("/console/users/{}", org.boss), Uuid::now_v7());
    for path in [
        format!("{device}/lock"),
        format!("{device}/unlock"),
        format!("{device}/wipe"),
        format!("/console/approvals/{}", wipe.id),
        format!("/console/approvals/{}/withdraw", wipe.id),
        format!("/console/alerts/{}/seen", alert.id),
        format!("/console/rescue/changes/{any}/take"),
        format!("/console/rescue/changes/{any}/dismiss"),
        format!("/console/rescue/devices/{}/take", phone.id),
        "/console/enrol".to_owned(),
        "/console/freeze".to_owned(),
        "/console/freeze/lift".to_owned(),
        "/console/enrolments".to_owned(),
        format!("/console/enrolments/{any}/confirm"),
        format!("/console/enrolments/{any}/refuse"),
        "/console/users/new".to_owned(),
        user.clone(),
        format!("{user}/second-factor"),
        "/console/customers".to_owned(),
        format!("/console/import/{any}"),
        "/console/sign-out".to_owned(),
    ] {
        for token in [None, Some("forged")] {
            let mut form =
                vec![("reason", "x"), ("name", "Test phone"), ("territories", "NJ"), ("query", "x")];
            form.extend(token.map(|token| ("csrf", token)));
            assert_eq!(browser.send(&path, &form).await?.status, StatusCode::FORBIDDEN, "{path}");
        }
    }
    assert_eq!(org.admin.acts(99)?.len(), acts, "nothing was done");
    assert_eq!(browser.get("/console").await?.status, StatusCode::OK, "still signed in");
    Ok(())
}

#[tokio::test]
async fn pages_full_of_things_bring_no_code_along() -> TestResult {
    let (org, mut phone) = org_with_phone("Corner")?;
    rescued(&org, &mut phone)?;
    org.admin.open_rescue(org.boss, &*org.first.rescue.opening_key()?)?;
    org.admin.propose_wipe(org.boss, phone.id, "<script>alert(1)</script>\" onload=\"x", false)?;
    goes_back(&phone)?;
    let mut browser = Browser::signed_in(&org).await?;
    let device = format!("/console/devices/{}", phone.id);
    let pages = [
        "/console",
        "/console/alerts",
        "/console/approvals",
        "/console/rescue",
        "/console/rules",
        "/console/freeze",
        "/console/enrolments",
    ];
    for path in pages.into_iter().chain([device.as_str(), &format!("{device}/audit")]) {
        let text = browser.get(path).await?.text;
        for tag in text.split('<').skip(1).filter_map(|rest| rest.split('>').next()) {
            let outside: String = tag.split('"').step_by(2).collect();
            let name = tag.split([' ', '\n']).next().unwrap_or_default();
            assert!(
                name != "style" && (name != "script" || tag.contains("src=\"/console/static/")),
                "{path}: {tag}"
            );
            let handler =
                outside.split_whitespace().any(|word| word.starts_with("on") && word.ends_with('='));
            assert!(!handler && !outside.contains("style="), "{path}: {tag}");
        }
    }
    Ok(())
}
