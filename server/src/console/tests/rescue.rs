//! Rescued work and audit logs as an administrator meets them.

use super::{Browser, Page, org_with_phone};
use crate::rescue::tests::{Outbox, hand_over};
use crate::storage::{PhotoState, StoredPhoto};
use crate::testkit::{Org, Phone, TestResult};
use reqwest::{Method, StatusCode};
use roundsman_protocol::audit::{Action, AuditReport, Head, head_message};
use roundsman_protocol::b64;
use roundsman_protocol::rescue_photo::{PhotoHead, SealedKey};
use roundsman_protocol::sealed_file::FileKey;
use uuid::Uuid;
use zeroize::Zeroizing;

/// The customer of the organisation.
fn store(org: &Org) -> TestResult<Uuid> {
    Ok(org.admin.customers("", None, 1)?.first().ok_or("customer")?.id)
}

/// Two notes, unsent, handed over.
pub(super) fn rescued(org: &Org, phone: &mut Phone) -> TestResult<[Uuid; 2]> {
    let mut outbox = Outbox::new(org, phone)?;
    let one = phone.put("customer", store(org)?, 1, &[("notes", "mind the <dog>".into())]);
    let two = phone.put("customer", store(org)?, 1, &[("phone", "+1 555 0100".into())]);
    outbox.add(1, &one)?;
    outbox.add(2, &two)?;
    hand_over(org, phone, &outbox.signed(phone)?)?;
    Ok([one.id, two.id])
}

async fn send_key(browser: &mut Browser, csrf: &str, file: &str, text: &str) -> TestResult<Page> {
    let part = |name: &str, extra: &str, value: &str| {
        format!("--edge\r\ncontent-disposition: form-data; name=\"{name}\"{extra}\r\n\r\n{value}\r\n")
    };
    let named = "; filename=\"rescue.key\"";
    let body =
        [part("csrf", "", csrf), part("file", named, file), part("key", "", text), "--edge--\r\n".to_owned()]
            .concat();
    let form = Some((body, "multipart/form-data; boundary=edge".to_owned()));
    browser.ask(Method::POST, "/console/rescue", form).await
}

#[tokio::test]
async fn rescued_work_is_opened_with_the_key_and_taken_or_dismissed() -> TestResult {
    let (org, mut phone) = org_with_phone("Corner")?;
    let [one, two] = rescued(&org, &mut phone)?;
    let mut browser = Browser::signed_in(&org).await?;
    let device = format!("/console/devices/{}", phone.id);
    assert!(browser.get(&device).await?.text.contains("Handed over, sealed"));
    let page = browser.get("/console/rescue").await?;
    assert!(page.text.contains("1 segment") && !page.text.contains("mind the"));
    let csrf = page.csrf().to_owned();
    let file = org.first.rescue.to_text();
    let secret = file.lines().last().ok_or("line")?;

    assert_eq!(send_key(&mut browser, "forged", &file, "").await?.status, StatusCode::FORBIDDEN);
    for (wrong, says) in [("no key", "no rescue key"), (&b64::encode([1; 32]), "opens none")] {
        let page = send_key(&mut browser, &csrf, wrong, "").await?;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(page.text.contains(says) && !page.text.contains(wrong), "{says}");
    }
    let page = send_key(&mut browser, &csrf, &file, "").await?;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text.contains("2 changes opened: 2 to review") && !page.text.contains(secret));
    assert!(page.text.contains("mind the &#60;dog&#62;") && page.text.contains("Corner"));
    assert!(browser.get(&device).await?.text.contains("Rescued, needs review"));

    let change = |id: Uuid, act: &str| format!("/console/rescue/changes/{id}/{act}");
    let page = browser.send(&change(one, "take"), &[("csrf", "forged")]).await?;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    let page = browser.fill("/console/rescue", &change(one, "dismiss"), &[]).await?;
    assert_eq!((page.status, page.goes_to()), (StatusCode::SEE_OTHER, "/console/rescue"));
    let page = browser.fill("/console/rescue", &change(one, "take"), &[]).await?;
    assert_eq!(page.status, StatusCode::CONFLICT, "it was dismissed");
    let page = browser.fill("/console/rescue", &change(two, "take"), &[]).await?;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    let customer = org.admin.customer(store(&org)?)?.ok_or("customer")?;
    assert_eq!((customer.phone.as_deref(), customer.notes), (Some("+1 555 0100"), None));
    assert!(browser.get("/console/rescue").await?.text.contains("Taken into the records"));
    Ok(())
}

#[tokio::test]
async fn the_key_may_be_pasted_and_all_of_a_device_taken() -> TestResult {
    let (org, mut phone) = org_with_phone("Corner")?;
    rescued(&org, &mut phone)?;
    let mut browser = Browser::signed_in(&org).await?;
    let csrf = browser.get("/console/rescue").await?.csrf().to_owned();
    let page =
        send_key(&mut browser, &csrf, "", org.first.rescue.to_text().lines().last().ok_or("line")?).await?;
    assert_eq!(page.status, StatusCode::OK);
    let all = format!("/console/rescue/devices/{}/take", phone.id);
    assert_eq!(browser.fill("/console/rescue", &all, &[]).await?.status, StatusCode::SEE_OTHER);
    let customer = org.admin.customer(store(&org)?)?.ok_or("customer")?;
    assert_eq!(customer.notes.as_deref(), Some("mind the <dog>"));
    assert!(browser.get("/console/rescue").await?.text.contains("No rescued change waits"));
    Ok(())
}

#[tokio::test]
async fn an_audit_log_is_listed_and_its_faults_stand_on_top() -> TestResult {
    let (org, phone) = org_with_phone("Corner")?;
    let actor = org.stored(&phone)?.user.0;
    let mut head = Head::default();
    let mut entries = Vec::new();
    for _ in 0..101 {
        let (next, bytes) = head.append(org.now(), actor, phone.id, Action::WrongPasscode, None);
        head = next;
        entries.push(bytes);
    }
    let mut report = phone.report();
    let signature = phone.es256(&head_message(phone.id, head))?.to_vec();
    report.audit = Some(AuditReport { entries, head, signature });
    phone.check_in(&report)?;
    let mut browser = Browser::signed_in(&org).await?;
    let log = format!("/console/devices/{}/audit", phone.id);
    let page = browser.get(&log).await?;
    assert_eq!(page.text.matches("Wrong passcode").count(), 100);
    assert!(page.text.contains("101 entries") && page.text.contains("Signed and countersigned"));
    assert!(!page.text.contains("can't be trusted"));
    let page = browser.get(&format!("{log}?before=2")).await?;
    assert_eq!(page.text.matches("Wrong passcode").count(), 1);

    let short = Head::default();
    let signature = phone.es256(&head_message(phone.id, short))?.to_vec();
    report.audit = Some(AuditReport { entries: vec![], head: short, signature });
    phone.check_in(&report)?;
    assert!(browser.get(&log).await?.text.contains("The end of the audit log is missing."));
    let device = browser.get(&format!("/console/devices/{}", phone.id)).await?;
    assert!(device.text.contains("Can't be trusted"));
    Ok(())
}

#[tokio::test]
async fn photos_are_counted_where_they_wait_and_opened_with_the_same_key() -> TestResult {
    let (org, phone) = org_with_phone("Corner")?;
    let head = PhotoHead {
        org: org.keys()?.org(),
        device: phone.id,
        attachment: Uuid::from_u128(8),
        file: Uuid::from_u128(9),
    };
    let rescue_key = org.first.rescue.public().0;
    let mut tx = org.app.storage.write()?;
    tx.put_photo(&StoredPhoto {
        device: phone.id,
        file: head.file,
        attachment: head.attachment,
        sealed_key: SealedKey::seal([9; 32], &rescue_key, &head, &FileKey::new([6; 32]), 7)?,
        object: Uuid::from_u128(10),
        key: Zeroizing::new(vec![1; 32]),
        size: 80,
        received: 80,
        state: PhotoState::Sealed,
        opened_key: Zeroizing::default(),
        moved_ms: org.now().timestamp_millis(),
        opened_ms: None,
    })?;
    tx.commit()?;
    let mut browser = Browser::signed_in(&org).await?;
    let device = format!("/console/devices/{}", phone.id);
    let page = browser.get(&device).await?;
    assert!(page.text.contains("Handed over, sealed") && page.text.contains("1 photo<"));
    let page = browser.get("/console/rescue").await?;
    assert!(page.text.contains("<td data-label=\"Photos\" class=\"number\">1</td>"));
    assert_eq!(org.admin.pending()?.rescue, 1, "a phone of which only photos came waits too");
    let csrf = page.csrf().to_owned();
    let other = send_key(&mut browser, &csrf, &b64::encode([1; 32]), "").await?;
    assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY);
    let page = send_key(&mut browser, &csrf, &org.first.rescue.to_text(), "").await?;
    assert!(page.text.contains("1 photo opened, 1 filed once their records are here."), "{}", page.text);
    assert_eq!(org.admin.rescue_standing(phone.id)?.photos.waiting, 1);
    Ok(())
}
