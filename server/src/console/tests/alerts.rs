//! Alerts, the state of a phone, its lease, and the rules, as an administrator meets them.

use super::{Browser, org_with_phone};
use crate::admin::LeaseTerms;
use crate::testkit::{Org, Phone, TestResult};
use reqwest::StatusCode;
use roundsman_protocol::posture::{Posture, Verdict};

/// A report that an older copy of the data was put back, which locks the device.
pub(super) fn goes_back(phone: &Phone) -> TestResult {
    for commit in [Some(7), Some(3)] {
        phone.check_in(&roundsman_protocol::api::Checkin { commit, ..phone.report() })?;
    }
    Ok(())
}

fn refuse_rooted(org: &Org) -> TestResult {
    let mut policy = org.admin.policy()?;
    policy.posture.rooted = Verdict::Lock;
    org.admin.set_policy(org.boss, policy)?;
    Ok(())
}

#[tokio::test]
async fn an_alert_is_shown_everywhere_until_somebody_has_seen_it() -> TestResult {
    let (org, phone) = org_with_phone("Corner")?;
    let mut browser = Browser::signed_in(&org).await?;
    assert!(browser.get("/console/alerts").await?.text.contains("Nothing new."));
    assert!(!browser.get("/console").await?.text.contains("class=\"waits\""));
    goes_back(&phone)?;
    let device = format!("/console/devices/{}", phone.id);
    for page in ["/console/alerts", &device] {
        let text = browser.get(page).await?.text;
        assert!(text.contains("An older copy of this device&#39;s data was put back"), "{page}");
        assert!(text.contains("Commit 3 after commit 7.") && text.contains("unlock it here"), "{page}");
    }
    let overview = browser.get("/console").await?.text;
    assert!(overview.contains("<span class=\"waits\">1<span class=\"hidden\"> not seen</span></span>"));
    assert!(overview.contains("1 alert"), "said in words too");

    let [alert] = org.admin.alerts(9)?.try_into().map_err(|_| "one alert")?;
    let seen = format!("/console/alerts/{}/seen", alert.id);
    assert_eq!(browser.send(&seen, &[("csrf", "forged")]).await?.status, StatusCode::FORBIDDEN);
    assert!(org.admin.alerts(9)?.iter().all(|alert| alert.seen.is_none()), "nothing was changed");
    let page = browser.fill("/console/alerts", &seen, &[]).await?;
    assert_eq!((page.status, page.goes_to()), (StatusCode::SEE_OTHER, "/console/alerts"));
    let page = browser.get("/console/alerts").await?;
    assert!(page.text.contains("Noted as seen.") && page.text.contains("Seen by Boss"));
    assert!(!page.text.contains("class=\"waits\""));
    assert!(!browser.get(&device).await?.text.contains("An older copy"));
    Ok(())
}

#[tokio::test]
async fn a_phones_state_and_lease_stand_on_its_page() -> TestResult {
    let (org, phone) = org_with_phone("Corner")?;
    refuse_rooted(&org)?;
    let mut browser = Browser::signed_in(&org).await?;
    let device = format!("/console/devices/{}", phone.id);
    phone.check_in(&phone.report())?;
    let page = browser.get(&device).await?;
    assert!(page.text.contains("The app no longer opens") && page.text.contains("It wipes itself"));
    assert!(!page.text.contains("State of the phone"), "nothing was told");

    let posture = |rooted| {
        let told = Posture { rooted, screen_lock: Some(false), ..Posture::default() };
        roundsman_protocol::api::Checkin { posture: Some(told), ..phone.report() }
    };
    phone.check_in(&posture(Some(false)))?;
    let page = browser.get(&device).await?;
    assert!(page.text.contains("Phone: warning") && page.text.contains("The phone has no screen lock."));
    phone.check_in(&posture(Some(true)))?;
    let page = browser.get(&device).await?;
    assert!(page.text.contains("Phone: refused") && page.text.contains("rooted or jailbroken."));
    assert!(page.text.contains("renew nothing while the phone is refused"));
    assert!(browser.get("/console/devices").await?.text.contains("Phone: refused"));
    Ok(())
}

#[tokio::test]
async fn the_rules_are_shown_in_words() -> TestResult {
    let (org, _) = org_with_phone("Corner")?;
    refuse_rooted(&org)?;
    let terms = LeaseTerms { wipe_after_s: None, ..LeaseTerms::default() };
    org.admin.set_lease_terms(org.boss, terms)?;
    let text = Browser::signed_in(&org).await?.get("/console/rules").await?.text;
    for words in ["One person is enough", "no spare approver", "Boss", "72 hours", "7 days", "never"] {
        assert!(text.contains(words), "{words}");
    }
    assert!(text.contains("The app does not open") && text.contains("changed every 90 days"));
    Ok(())
}

#[tokio::test]
async fn what_a_check_has_found_is_an_alert_with_what_to_do() -> TestResult {
    let (org, _) = org_with_phone("Corner")?;
    let check = || org.admin.note_findings(&org.admin.verify(false, &mut |_, _| {})?);
    org.tamper("UPDATE bucket_sum SET rows = rows + 1")?;
    check()?;
    let mut browser = Browser::signed_in(&org).await?;
    let text = browser.get("/console/alerts").await?.text;
    for words in [
        "The records don&#39;t add up to what is stored of the bucket.",
        "Found by a check 1 time, first in territory/NJ.",
        "put a backup back",
        ">Act</span>",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(browser.get("/console").await?.text.contains("1 alert"));
    org.tamper("UPDATE bucket_sum SET rows = rows - 1")?;
    check()?;
    let text = browser.get("/console/alerts").await?.text;
    assert!(text.contains("Nothing new.") && text.contains("a later check did not find it any more."));
    assert!(!browser.get("/console").await?.text.contains("class=\"waits\""));
    Ok(())
}
