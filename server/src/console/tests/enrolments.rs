//! Comparing digits in the console.

use super::Browser;
use crate::admin::AlertKind;
use crate::enrolment::{begin, finish};
use crate::testkit::{Org, TestResult, request};
use p256::ecdsa::SigningKey;
use reqwest::StatusCode;
use roundsman_protocol::enrolment::{BeginRequest, FinishAnswer, FinishRequest, commitment};
use roundsman_protocol::keys::DeviceKey;
use roundsman_protocol::ticket::Ticket;
use uuid::Uuid;

const PAGE: &str = "/console/enrolments";
const NONCE: [u8; 32] = [3; 32];

/// A device that has shown its digits: its key and its enrolment.
fn waiting(org: &Org, seed: u8) -> TestResult<(DeviceKey, Uuid)> {
    let rep = org.rep(&format!("rep{seed}"), &["A"])?;
    let ticket = Ticket::from_text(&org.admin.issue_ticket(org.boss, rep)?.text)?;
    let signing = SigningKey::from_slice(&[seed; 32])?;
    let key = DeviceKey::from_sec1(signing.verifying_key().to_sec1_point(false).as_ref())?;
    let device = request(ticket.token);
    let begun = begin(&org.app, key.clone(), &BeginRequest { device, commitment: commitment(&NONCE) })?;
    finish(&org.app, &key, &FinishRequest { enrolment: begun.enrolment, nonce: NONCE, enter: true })?;
    Ok((key, begun.enrolment))
}

#[tokio::test]
async fn a_device_is_let_in_or_refused_by_the_digits_it_shows() -> TestResult {
    let org = Org::new()?;
    let mut browser = Browser::signed_in(&org).await?;
    assert!(browser.get(PAGE).await?.text.contains("Off: whoever scans"));
    assert_eq!(browser.send(PAGE, &[("confirm", "true")]).await?.status, StatusCode::FORBIDDEN, "no token");
    assert!(!org.admin.confirms_enrolments()?);
    let page = browser.fill(PAGE, PAGE, &[("confirm", "true")]).await?;
    assert_eq!((page.status, page.goes_to()), (StatusCode::SEE_OTHER, PAGE));
    assert!(org.admin.confirms_enrolments()?);

    let ((key, good), (_, bad)) = (waiting(&org, 1)?, waiting(&org, 2)?);
    let digits = org.admin.waiting_enrolments()?[0].digits.ok_or("no digits")?.to_string();
    let page = browser.get(PAGE).await?;
    assert!(page.text.contains(&digits) && page.text.contains("Test phone of rep1"));
    assert!(page.text.contains("The digits match") && page.text.contains("They don't match"));
    let confirm = format!("{PAGE}/{good}/confirm");
    assert_eq!(browser.send(&confirm, &[]).await?.status, StatusCode::FORBIDDEN, "no token");
    assert_eq!(browser.fill(PAGE, &confirm, &[]).await?.goes_to(), PAGE);
    assert!(browser.get(PAGE).await?.text.contains("Confirmed. The device is let in"));
    let enrolled = finish(&org.app, &key, &FinishRequest { enrolment: good, nonce: NONCE, enter: true })?;
    assert!(matches!(enrolled, FinishAnswer::Enrolled(_)));

    let refuse = format!("{PAGE}/{bad}/refuse");
    assert_eq!(browser.fill(PAGE, &refuse, &[]).await?.goes_to(), PAGE);
    assert!(org.admin.alerts(10)?.iter().any(|alert| alert.kind == AlertKind::EnrolmentRefused));
    let late = browser.fill(PAGE, &format!("{PAGE}/{bad}/confirm"), &[]).await?;
    assert_eq!(late.status, StatusCode::CONFLICT);
    assert!(late.text.contains("Nothing was changed."));
    assert_eq!(org.admin.devices()?.len(), 1);
    Ok(())
}
