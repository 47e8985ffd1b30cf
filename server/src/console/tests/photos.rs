//! Photos of visits in the console.

use super::{Browser, Page, StatusCode};
use crate::admin::Admin;
use crate::attachments::{Part, take};
use crate::testkit::{Org, Phone, TestResult};
use bytes::Bytes;
use roundsman_model::attachment::to_hex;
use roundsman_model::{FieldType, UserId, Value};
use roundsman_protocol::sha256;
use std::io::Cursor;
use uuid::Uuid;

const PHOTO: &[u8] = b"what a camera made of a shelf";

/// An organisation with a visit of a rep, to which things are attached.
struct Stage {
    org: Org,
    phone: Phone,
    rep: UserId,
    visit: Uuid,
}

impl Stage {
    fn new() -> TestResult<Self> {
        let org = Org::new()?;
        let rep = org.rep("ana", &["NJ"])?;
        let mut phone = org.phone(rep)?;
        let customer = org.customer("a", "A", "NJ")?;
        let visit = Uuid::now_v7();
        let day = org.now().date_naive().to_value();
        let change = phone.put(
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
        );
        phone.sync(&[change])?;
        Ok(Self { org, phone, rep, visit })
    }

    /// Attaches this, and sends no content of it.
    fn describe(&mut self, sort: &str, media_type: &str, content: &[u8]) -> TestResult<Uuid> {
        let id = Uuid::now_v7();
        let change = self.phone.put(
            "attachment",
            id,
            0,
            &[
                ("of", "visit".into()),
                ("record", Value::Id(self.visit)),
                ("sort", sort.into()),
                ("media_type", media_type.into()),
                ("size", Value::Int(content.len() as i64)),
                ("sha256", to_hex(&sha256(&[content])).as_str().into()),
                ("author", Value::Id(self.rep.0)),
                ("added_at", self.org.now().to_value()),
            ],
        );
        self.phone.sync(&[change])?;
        Ok(id)
    }

    async fn send(&self, attachment: Uuid, content: &[u8]) -> TestResult {
        let (key, access) = (self.phone.key.clone(), self.phone.tokens.access.clone());
        let bytes = Bytes::copy_from_slice(content);
        assert!(take(&self.org.app, Part { key, access, attachment, offset: 0, bytes }).await?.stored);
        Ok(())
    }

    async fn attach(&mut self, sort: &str, media_type: &str, content: &[u8]) -> TestResult<Uuid> {
        let id = self.describe(sort, media_type, content)?;
        self.send(id, content).await?;
        Ok(id)
    }

    fn list(&self) -> String {
        format!("/console/visits/{}/photos", self.visit)
    }
}

fn header<'p>(page: &'p Page, name: &str) -> &'p str {
    page.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn looks(admin: &Admin, action: &str) -> TestResult<Vec<String>> {
    let acts = admin.acts(50)?.into_iter().filter(|act| act.action == action);
    Ok(acts.map(|act| act.object).collect())
}

fn picture(format: image::ImageFormat) -> TestResult<Vec<u8>> {
    let picture = image::RgbImage::from_fn(800, 600, |x, y| image::Rgb([(x / 5) as u8, (y / 5) as u8, 90]));
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format)?;
    Ok(bytes.into_inner())
}

#[tokio::test]
async fn photos_of_a_visit_are_listed_opened_and_every_look_is_recorded() -> TestResult {
    let mut stage = Stage::new()?;
    let photo = stage.describe("photo", "image/jpeg", PHOTO)?;
    let page = stage.describe("photo", "text/html", PHOTO)?;
    let mut browser = Browser::signed_in(&stage.org).await?;
    let list = stage.list();
    assert!(browser.get("/console/visits").await?.text.contains(&list));
    let waiting = browser.get(&list).await?;
    assert!(waiting.text.contains("not sent by the phone yet") && waiting.text.contains("ana"));
    assert!(!waiting.text.contains("/thumbnail"), "nothing is there to be drawn");
    let link = format!("/console/attachments/{photo}");
    for early in [link.clone(), format!("{link}/thumbnail")] {
        assert_eq!(browser.get(&early).await?.status, StatusCode::NOT_FOUND);
    }

    for attachment in [photo, page] {
        stage.send(attachment, PHOTO).await?;
    }
    assert!(browser.get(&list).await?.text.contains(&link));
    let shown = browser.get(&link).await?;
    assert_eq!((shown.status, shown.text.as_bytes()), (StatusCode::OK, PHOTO));
    assert_eq!(header(&shown, "content-type"), "image/jpeg");
    assert_eq!(header(&shown, "cache-control"), "no-store");
    // What a phone called a page is never one here.
    let saved = browser.get(&format!("/console/attachments/{page}")).await?;
    assert_eq!(header(&saved, "content-type"), "application/octet-stream");
    assert!(header(&saved, "content-disposition").starts_with("attachment"));
    assert_eq!(looks(&stage.org.admin, "view_attachment")?.len(), 2);
    let stranger = Browser::new(&stage.org).await?.get(&link).await?;
    assert_eq!(stranger.status, StatusCode::SEE_OTHER, "to the sign-in");
    Ok(())
}

#[tokio::test]
async fn photos_have_small_pictures_for_whoever_may_see_them_and_a_look_at_one_is_recorded() -> TestResult {
    let mut stage = Stage::new()?;
    let jpeg = picture(image::ImageFormat::Jpeg)?;
    let photo = stage.attach("photo", "image/jpeg", &jpeg).await?;
    let drawn = stage.attach("photo", "image/png", &picture(image::ImageFormat::Png)?).await?;
    let signature = stage.attach("signature", "image/png", &picture(image::ImageFormat::Png)?).await?;
    let file = stage.attach("file", "text/plain", PHOTO).await?;
    let broken = stage.attach("photo", "image/jpeg", PHOTO).await?;
    let mut browser = Browser::signed_in(&stage.org).await?;
    let small = |id: Uuid| format!("/console/attachments/{id}/thumbnail");
    let page = browser.get(&stage.list()).await?;
    for (id, shown) in [(photo, true), (drawn, true), (signature, false), (file, false)] {
        assert_eq!(page.text.contains(&small(id)), shown, "{id}");
    }
    for words in ["width=\"96\" height=\"96\"", "loading=\"lazy\"", "alt=\"Photo by ana, "] {
        assert_eq!(page.text.matches(words).count(), 3, "{words}");
    }
    assert!(looks(&stage.org.admin, "view_thumbnail")?.is_empty(), "a list alone shows nothing");

    let shown = browser.get(&small(photo)).await?;
    assert_eq!(shown.status, StatusCode::OK);
    for (name, value) in [
        ("content-type", "image/jpeg"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(header(&shown, name), value, "{name}");
    }
    assert!(header(&shown, "content-security-policy").starts_with("default-src 'none'"));
    assert!(browser.get(&small(drawn)).await?.status.is_success());
    for none in [signature, file, Uuid::nil()] {
        assert_eq!(browser.get(&small(none)).await?.status, StatusCode::NOT_FOUND, "{none}");
    }
    assert_eq!(looks(&stage.org.admin, "view_thumbnail")?, [drawn, photo].map(|id| id.to_string()));
    assert_eq!(
        browser.get(&small(broken)).await?.status,
        StatusCode::NOT_FOUND,
        "no picture can be made of it"
    );

    let stranger = Browser::new(&stage.org).await?.get(&small(photo)).await?;
    assert_eq!((stranger.status, stranger.text.len()), (StatusCode::SEE_OTHER, 0), "to the sign-in");
    let rep = stage.org.admin.open_thumbnail(stage.rep, photo);
    assert!(matches!(rep, Err(crate::admin::AdminError::NotAllowed)), "a rep is no administrator");
    let removal = stage.phone.delete("attachment", photo);
    stage.phone.sync(&[removal])?;
    assert_eq!(browser.get(&small(photo)).await?.status, StatusCode::NOT_FOUND, "it was removed");
    Ok(())
}
