//! Approving a wipe in the console.

use super::{Browser, org_with_phone};
use crate::admin::{DeviceStatus, WipeProposal};
use crate::keyfile::{KeyFile, KeyKind};
use crate::testkit::TestResult;
use reqwest::StatusCode;
use roundsman_protocol::b64;
use roundsman_protocol::envelope::Domain;

const PAGE: &str = "/console/approvals";

/// What the script or another signer would send.
fn signed(wipe: &WipeProposal, key: &KeyFile) -> TestResult<[(&'static str, String); 2]> {
    let signature = key.sign(Domain::WipeOrder, &wipe.payload)?;
    Ok([("key", b64::encode(key.id().0)), ("signature", b64::encode(signature))])
}

fn pairs<'a>(form: &'a [(&'static str, String); 2]) -> [(&'static str, &'a str); 2] {
    form.each_ref().map(|(name, value)| (*name, value.as_str()))
}

#[tokio::test]
async fn a_wipe_is_ordered_by_an_approvers_signature_alone() -> TestResult {
    let (org, phone) = org_with_phone("Corner")?;
    let wipe = org.admin.propose_wipe(org.boss, phone.id, "stolen", false)?;
    let mut browser = Browser::signed_in(&org).await?;
    let page = browser.get(PAGE).await?;
    let message = b64::encode(Domain::WipeOrder.message(&wipe.payload));
    assert!(page.text.contains(&format!("data-message=\"{message}\"")) && page.text.contains("stolen"));
    assert!(page.text.contains("one person is enough"), "said wherever a wipe is shown");
    assert!(!page.text.contains("type=\"file\" name="), "the key's file is never part of the form");
    let path = format!("{PAGE}/{}", wipe.id);
    let good = signed(&wipe, &org.first.approver)?;
    assert_eq!(browser.send(&path, &pairs(&good)).await?.status, StatusCode::FORBIDDEN, "no token");

    let stranger = signed(&wipe, &KeyFile::generate(KeyKind::Approver, "Eve")?)?;
    let mut forged = good.clone();
    forged[1] = stranger[1].clone();
    let mut short = good.clone();
    short[1].1.truncate(20);
    for (wrong, status, says) in [
        (&stranger, StatusCode::FORBIDDEN, "This key is no approver&#39;s"),
        (&forged, StatusCode::FORBIDDEN, "The signature is not this approver&#39;s"),
        (&short, StatusCode::UNPROCESSABLE_ENTITY, "a signature 64"),
    ] {
        let page = browser.fill(PAGE, &path, &pairs(wrong)).await?;
        assert_eq!(page.status, status);
        assert!(page.text.contains(says) && page.text.contains("Nothing was changed."), "{says}");
    }
    assert_eq!(org.stored(&phone)?.status, DeviceStatus::Active);

    let page = browser.fill(PAGE, &path, &pairs(&good)).await?;
    let device = format!("/console/devices/{}", phone.id);
    assert_eq!((page.status, page.goes_to()), (StatusCode::SEE_OTHER, device.as_str()));
    assert!(browser.get(&device).await?.text.contains("Wipe ordered."));
    assert_eq!(org.stored(&phone)?.status, DeviceStatus::WipePending);
    let page = browser.fill(PAGE, &path, &pairs(&good)).await?;
    assert_eq!(page.status, StatusCode::CONFLICT);
    assert!(page.text.contains("No wipe waits for approval."));
    Ok(())
}

#[tokio::test]
async fn a_proposal_can_be_taken_back() -> TestResult {
    let (org, phone) = org_with_phone("Corner")?;
    let wipe = org.admin.propose_wipe(org.boss, phone.id, "stolen", false)?;
    let mut browser = Browser::signed_in(&org).await?;
    let withdraw = format!("{PAGE}/{}/withdraw", wipe.id);
    assert_eq!(browser.send(&withdraw, &[("csrf", "forged")]).await?.status, StatusCode::FORBIDDEN);
    let page = browser.fill(PAGE, &withdraw, &[]).await?;
    assert_eq!((page.status, page.goes_to()), (StatusCode::SEE_OTHER, PAGE));
    assert!(org.admin.wipe_proposals()?.is_empty());
    assert_eq!(org.stored(&phone)?.status, DeviceStatus::Active);
    Ok(())
}

#[tokio::test]
async fn an_order_that_nobody_approved_in_time_takes_no_approval_any_more() -> TestResult {
    let (org, phone) = org_with_phone("Corner")?;
    let wipe = org.admin.propose_wipe(org.boss, phone.id, "stolen", false)?;
    let good = signed(&wipe, &org.first.approver)?;
    org.wait(chrono::TimeDelta::hours(25));
    let mut browser = Browser::signed_in(&org).await?;
    assert!(browser.get(PAGE).await?.text.contains("No wipe waits for approval."));
    let page = browser.fill("/console/users/new", &format!("{PAGE}/{}", wipe.id), &pairs(&good)).await?;
    assert_eq!(page.status, StatusCode::CONFLICT);
    assert!(page.text.contains("has expired; propose it again if it is needed. Nothing was changed."));
    assert_eq!(org.stored(&phone)?.status, DeviceStatus::Active);
    Ok(())
}
