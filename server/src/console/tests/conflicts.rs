//! Conflicts and removed customers, as an administrator meets them.

use super::{Browser, org_with_phone};
use crate::testkit::{Org, TestResult};
use reqwest::StatusCode;
use roundsman_model::Value;
use uuid::Uuid;

/// A customer whose name was changed by two phones at once: Late stands, Early lost.
fn collided() -> TestResult<(Org, Uuid)> {
    let org = Org::new()?;
    let store = org.customer("C1", "Corner", "NJ")?;
    let (mut ana, mut bo) = (org.phone(org.rep("ana", &["NJ"])?)?, org.phone(org.rep("bo", &["NJ"])?)?);
    let early = ana.put("customer", store, 1, &[("name", "Early".into())]);
    org.wait(chrono::TimeDelta::seconds(1));
    let late = bo.put("customer", store, 1, &[("name", "Late".into())]);
    bo.sync(&[late])?;
    ana.sync(&[early])?;
    Ok((org, store))
}

#[tokio::test]
async fn a_conflict_shows_both_values_and_goes_once_it_is_settled_and_never_before() -> TestResult {
    let (org, store) = collided()?;
    let mut browser = Browser::signed_in(&org).await?;
    let text = browser.get("/console/conflicts").await?.text;
    for words in ["Early", "Late", "by ana", "by bo", "the later edit stays"] {
        assert!(text.contains(words), "{words}");
    }
    let [conflict] = org.admin.conflicts(9)?.try_into().map_err(|_| "one conflict")?;
    let place = format!("/console/conflicts/{}", conflict.id);
    assert_eq!(
        browser.send(&place, &[("csrf", "forged"), ("choice", "keep")]).await?.status,
        StatusCode::FORBIDDEN
    );
    let page = browser.fill("/console/conflicts", &place, &[("choice", "other"), ("value", "")]).await?;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "a customer has a name");
    assert!(page.text.contains("Early") && page.text.contains("Nothing was changed"));
    assert_eq!(org.admin.conflicts(9)?.len(), 1);

    let page = browser.fill("/console/conflicts", &place, &[("choice", "lost")]).await?;
    assert_eq!((page.status, page.goes_to()), (StatusCode::SEE_OTHER, "/console/conflicts"));
    assert_eq!(org.admin.customer(store)?.map(|customer| customer.name).as_deref(), Some("Early"));
    let text = browser.get("/console/conflicts").await?.text;
    assert!(text.contains("No conflicts.") && text.contains("Settled."));
    let page = browser.fill("/console/conflicts", &place, &[("choice", "keep")]).await?;
    assert_eq!(page.status, StatusCode::CONFLICT, "somebody else was first");
    Ok(())
}

#[tokio::test]
async fn a_third_value_can_be_written() -> TestResult {
    let (org, store) = collided()?;
    let mut browser = Browser::signed_in(&org).await?;
    let place = format!("/console/conflicts/{}", org.admin.conflicts(9)?[0].id);
    browser.fill("/console/conflicts", &place, &[("choice", "other"), ("value", "Third & last")]).await?;
    assert_eq!(org.admin.customer(store)?.map(|customer| customer.name).as_deref(), Some("Third & last"));
    assert!(org.admin.conflicts(9)?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_removed_customer_comes_back_as_it_was_unless_it_was_erased() -> TestResult {
    let (org, mut phone) = org_with_phone("Corner")?;
    let store = org.admin.customers("", None, 1)?[0].id;
    let tagged = phone.put("customer", store, 1, &[("tags", Value::set(["promotion".to_owned()]))]);
    phone.sync(&[tagged])?;
    let mut browser = Browser::signed_in(&org).await?;
    let remove = format!("/console/customers/{store}/remove");
    let page = browser.fill("/console/customers", &remove, &[]).await?;
    assert_eq!((page.status, page.goes_to()), (StatusCode::SEE_OTHER, "/console/removed"));
    let text = browser.get("/console/removed").await?.text;
    assert!(text.contains("Corner") && text.contains("by Boss"));
    assert_eq!(org.admin.customer_count()?, 0);
    browser.fill("/console/removed", &format!("/console/removed/{store}/restore"), &[]).await?;
    let back = org.admin.customer(store)?.ok_or("customer")?;
    assert_eq!((back.name.as_str(), back.tags.as_slice()), ("Corner", ["promotion".to_owned()].as_slice()));
    assert!(browser.get("/console/customers").await?.text.contains("promotion"));

    browser.fill("/console/customers", &remove, &[]).await?;
    browser.fill("/console/removed", &format!("/console/removed/{store}/erase"), &[]).await?;
    assert!(browser.get("/console/removed").await?.text.contains("Nothing was removed."));
    let page = browser.fill("/console/removed", &format!("/console/removed/{store}/restore"), &[]).await?;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    assert!(org.app.storage.read()?.removals("customer", 9)?.is_empty(), "nothing of it is kept");
    Ok(())
}
