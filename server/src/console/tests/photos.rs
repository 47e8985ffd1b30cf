//! Photos of visits in the console.

use super::{Browser, StatusCode};
use crate::attachments::{Part, take};
use crate::testkit::{Org, TestResult};
use bytes::Bytes;
use roundsman_model::attachment::to_hex;
use roundsman_model::{FieldType, Value};
use roundsman_protocol::sha256;
use uuid::Uuid;

const PHOTO: &[u8] = b"what a camera made of a shelf";

#[tokio::test]
async fn photos_of_a_visit_are_listed_opened_and_every_look_is_recorded() -> TestResult {
    let org = Org::new()?;
    let rep = org.rep("ana", &["NJ"])?;
    let mut phone = org.phone(rep)?;
    let customer = org.customer("a", "A", "NJ")?;
    let (visit, photo, page) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    let day = org.now().date_naive().to_value();
    let mut changes = vec![phone.put(
        "visit",
        visit,
        0,
        &[
            ("customer", Value::Id(customer)),
            ("rep", Value::Id(rep.0)),
            ("territory", "NJ".into()),
            ("state", "checked_in".into()),
            ("started_at", org.now().to_value()),
            ("day", day),
        ],
    )];
    for (id, media_type) in [(photo, "image/jpeg"), (page, "text/html")] {
        changes.push(phone.put(
            "attachment",
            id,
            0,
            &[
                ("of", "visit".into()),
                ("record", Value::Id(visit)),
                ("sort", "photo".into()),
                ("media_type", media_type.into()),
                ("size", Value::Int(PHOTO.len() as i64)),
                ("sha256", to_hex(&sha256(&[PHOTO])).as_str().into()),
                ("author", Value::Id(rep.0)),
                ("added_at", org.now().to_value()),
            ],
        ));
    }
    phone.sync(&changes)?;
    let mut browser = Browser::signed_in(&org).await?;
    let list = format!("/console/visits/{visit}/photos");
    assert!(browser.get("/console/visits").await?.text.contains(&list));
    let waiting = browser.get(&list).await?;
    assert!(waiting.text.contains("not sent by the phone yet") && waiting.text.contains("ana"));
    assert_eq!(browser.get(&format!("/console/attachments/{photo}")).await?.status, StatusCode::NOT_FOUND);

    for attachment in [photo, page] {
        let (key, access) = (phone.key.clone(), phone.tokens.access.clone());
        let bytes = Bytes::from_static(PHOTO);
        assert!(take(&org.app, Part { key, access, attachment, offset: 0, bytes }).await?.stored);
    }
    let link = format!("/console/attachments/{photo}");
    assert!(browser.get(&list).await?.text.contains(&link));
    let shown = browser.get(&link).await?;
    assert_eq!((shown.status, shown.text.as_bytes()), (StatusCode::OK, PHOTO));
    let header = |page: &super::Page, name: &str| {
        page.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    assert_eq!(header(&shown, "content-type"), "image/jpeg");
    assert_eq!(header(&shown, "cache-control"), "no-store");
    // What a phone called a page is never one here.
    let saved = browser.get(&format!("/console/attachments/{page}")).await?;
    assert_eq!(header(&saved, "content-type"), "application/octet-stream");
    assert!(header(&saved, "content-disposition").starts_with("attachment"));
    let acts = org.admin.acts(20)?;
    let looks = acts.iter().filter(|act| act.action == "view_attachment");
    assert_eq!(looks.count(), 2);
    let stranger = Browser::new(&org).await?.get(&link).await?;
    assert_eq!(stranger.status, StatusCode::SEE_OTHER, "to the sign-in");
    Ok(())
}
