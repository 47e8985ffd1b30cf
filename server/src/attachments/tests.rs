//! What taking content in and giving it out promise.

mod rescued;

use super::contents::Contents;
use super::{AttachmentLimits, AttachmentPlace, Part, give, open_place, sweep, take, thumbnail};
use crate::app::App;
use crate::refusal::Refusal;
use crate::testkit::s3::empty_bucket;
use crate::testkit::{Org, Phone, TestResult};
use bytes::Bytes;
use chrono::TimeDelta;
use futures_util::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt};
use roundsman_model::attachment::to_hex;
use roundsman_model::{FieldType, UserId, Value};
use roundsman_protocol::attachment::{PART, UploadAnswer};
use roundsman_protocol::sync::{Frame, Outcome};
use roundsman_protocol::{ErrorCode, sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

const CANARY: &[u8] = b"canary-in-a-photo";

/// A stage with a rep, a phone and a customer; the content lies in a folder.
struct Stage {
    org: Org,
    rep: UserId,
    phone: Phone,
    customer: Uuid,
    folder: tempfile::TempDir,
}

impl Stage {
    fn new(limits: AttachmentLimits) -> TestResult<Self> {
        let folder = tempfile::tempdir()?;
        let store = open_place(&AttachmentPlace::Folder(folder.path().into()), folder.path())?;
        Self::on(store, limits, folder)
    }

    fn on(
        store: Arc<dyn ObjectStore>,
        limits: AttachmentLimits,
        folder: tempfile::TempDir,
    ) -> TestResult<Self> {
        let org = Org::with(Contents::new(store, limits))?;
        let rep = org.rep("ana", &["NJ"])?;
        let phone = org.phone(rep)?;
        let customer = org.customer("a", "A", "NJ")?;
        Ok(Self { org, rep, phone, customer, folder })
    }

    fn app(&self) -> &Arc<App> {
        &self.org.app
    }

    /// The record of an attachment, as its phone sends it.
    fn describe(&mut self, size: u64, hash: [u8; 32]) -> TestResult<(Uuid, Outcome)> {
        let id = Uuid::now_v7();
        let change = self.phone.put(
            "attachment",
            id,
            0,
            &[
                ("of", "customer".into()),
                ("record", Value::Id(self.customer)),
                ("territory", "XX".into()),
                ("sort", "photo".into()),
                ("media_type", "image/jpeg".into()),
                ("size", Value::Int(size as i64)),
                ("sha256", to_hex(&hash).as_str().into()),
                ("author", Value::Id(self.rep.0)),
                ("added_at", self.org.now().to_value()),
                ("stored_at", self.org.now().to_value()),
            ],
        );
        let frames = self.phone.sync(&[change])?;
        let outcome = frames.iter().find_map(|frame| match frame {
            Frame::Result(result) => Some(result.outcome.clone()),
            _ => None,
        });
        Ok((id, outcome.ok_or("no outcome")?))
    }

    async fn send(&self, id: Uuid, offset: u64, bytes: &[u8]) -> Result<UploadAnswer, Refusal> {
        self.send_from(&self.phone, id, offset, bytes).await
    }

    async fn send_from(
        &self,
        phone: &Phone,
        id: Uuid,
        offset: u64,
        bytes: &[u8],
    ) -> Result<UploadAnswer, Refusal> {
        let (key, access) = (phone.key.clone(), phone.tokens.access.clone());
        let bytes = Bytes::copy_from_slice(bytes);
        take(self.app(), Part { key, access, attachment: id, offset, bytes }).await
    }

    /// Sends all of it.
    async fn send_all(&self, id: Uuid, content: &[u8]) -> Result<UploadAnswer, Refusal> {
        let mut answer = UploadAnswer { received: 0, stored: false };
        while !answer.stored {
            let rest = &content[answer.received as usize..];
            answer = self.send(id, answer.received, &rest[..rest.len().min(PART as usize)]).await?;
        }
        Ok(answer)
    }

    async fn fetch(&self, phone: &Phone, id: Uuid, offset: u64) -> Result<Vec<u8>, Refusal> {
        let mut given = give(self.app(), &phone.key, &phone.tokens.access, id, offset)?;
        let (left, mut content) = (given.left(), Vec::new());
        while let Some(part) = given.next().await? {
            content.extend_from_slice(&part);
        }
        assert_eq!(content.len() as u64, left);
        Ok(content)
    }

    fn files(&self) -> Vec<PathBuf> {
        files(self.folder.path())
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn code<T>(result: Result<T, Refusal>) -> Option<ErrorCode> {
    match result {
        Err(Refusal::Problem(problem)) => Some(problem.code),
        _ => None,
    }
}

fn photo(size: usize) -> Vec<u8> {
    CANARY.iter().copied().cycle().zip(0_u32..).map(|(byte, at)| byte ^ (at >> 12) as u8).take(size).collect()
}

#[tokio::test]
async fn content_comes_part_by_part_is_checked_sealed_and_given_to_whoever_has_the_record() -> TestResult {
    let mut stage = Stage::new(AttachmentLimits::default())?;
    let content = photo(2 * PART as usize + 777);
    let (id, outcome) = stage.describe(content.len() as u64, sha256(&[&content]))?;
    assert!(matches!(outcome, Outcome::Applied { .. }));
    assert_eq!(code(stage.fetch(&stage.phone, id, 0).await), Some(ErrorCode::NotFound), "nothing has come");
    let (first, second) = (&content[..PART as usize], &content[PART as usize..2 * PART as usize]);
    let has = |received, stored| UploadAnswer { received, stored };
    assert_eq!(stage.send(id, 0, first).await?, has(PART, false));
    // What was sent already, or too early, changes nothing and tells where to go on.
    assert_eq!(stage.send(id, 0, first).await?, has(PART, false));
    assert_eq!(stage.send(id, 2 * PART, &content[2 * PART as usize..]).await?, has(PART, false));
    assert_eq!(code(stage.send(id, PART, &second[1..]).await), Some(ErrorCode::Malformed));
    assert_eq!(stage.send(id, PART, second).await?, has(2 * PART, false));
    let all = has(content.len() as u64, true);
    assert_eq!(stage.send(id, 2 * PART, &content[2 * PART as usize..]).await?, all);
    assert_eq!(stage.send(id, 0, first).await?, all, "a repeat is told that it is there");

    for offset in [0, 1, PART - 1, PART, PART + 5, content.len() as u64] {
        assert!(stage.fetch(&stage.phone, id, offset).await? == content[offset as usize..], "{offset}");
    }
    assert_eq!(code(stage.fetch(&stage.phone, id, all.received + 1).await), Some(ErrorCode::Malformed));
    let files = stage.files();
    assert_eq!(files.len(), 1, "the parts are gone: {files:?}");
    let sealed = std::fs::read(&files[0])?;
    assert!(!sealed.windows(CANARY.len()).any(|window| window == CANARY));

    // Another phone in the territory learns that it is there, and one elsewhere does not.
    let (near, far) = (stage.org.rep("bo", &["NJ"])?, stage.org.rep("cy", &["NY"])?);
    let (mut near, far) = (stage.org.phone(near)?, stage.org.phone(far)?);
    let frames = near.sync(&[])?;
    let told = frames.iter().any(|frame| match frame {
        Frame::Page(page) => page.rows.iter().any(|row| {
            row.id == id && row.fields.as_ref().is_some_and(|fields| fields.contains_key("stored_at"))
        }),
        _ => false,
    });
    assert!(told);
    assert!(stage.fetch(&near, id, 0).await? == content);
    assert_eq!(code(stage.fetch(&far, id, 0).await), Some(ErrorCode::NotFound));
    Ok(())
}

#[tokio::test]
async fn the_record_is_the_authors_own_and_the_server_alone_says_that_content_is_there() -> TestResult {
    let mut stage = Stage::new(AttachmentLimits::default())?;
    let (id, _) = stage.describe(3, sha256(&[b"abc"]))?;
    let record = stage.app().storage.read()?.record("attachment", id)?.ok_or("record")?;
    assert!(!record.fields.contains_key("stored_at"));
    assert_eq!(record.fields.get("territory").and_then(Value::as_text), Some("NJ"));
    let other = stage.org.rep("bo", &["NJ"])?;
    let other = stage.org.phone(other)?;
    let sent = stage.send_from(&other, id, 0, b"abc").await;
    assert_eq!(code(sent), Some(ErrorCode::NotFound), "it is its author's to send");
    let real = stage.rep;
    stage.rep = UserId(Uuid::now_v7());
    let (_, outcome) = stage.describe(3, sha256(&[b"abc"]))?;
    assert!(matches!(outcome, Outcome::Rejected { .. }), "in another's name");
    stage.rep = real;
    stage.customer = Uuid::now_v7();
    let (_, outcome) = stage.describe(3, sha256(&[b"abc"]))?;
    assert!(matches!(outcome, Outcome::Rejected { .. }), "to a record that is not there");
    Ok(())
}

#[tokio::test]
async fn content_that_is_not_what_its_record_says_is_thrown_away_and_can_be_sent_anew() -> TestResult {
    let mut stage = Stage::new(AttachmentLimits::default())?;
    let content = photo(PART as usize + 9);
    let (id, _) = stage.describe(content.len() as u64, sha256(&[&content]))?;
    let mut wrong = content.clone();
    wrong[5] ^= 1;
    assert_eq!(code(stage.send_all(id, &wrong).await), Some(ErrorCode::ContentDiffers));
    assert_eq!(stage.files().len(), 0);
    assert!(stage.send_all(id, &content).await?.stored);
    assert!(stage.fetch(&stage.phone, id, 0).await? == content);
    // An empty one is whole with its first request.
    let (empty, _) = stage.describe(0, sha256(&[]))?;
    assert!(stage.send(empty, 0, b"").await?.stored);
    assert_eq!(stage.fetch(&stage.phone, empty, 0).await?, b"");
    Ok(())
}

#[tokio::test]
async fn a_part_that_was_changed_in_the_store_is_never_given_out() -> TestResult {
    let mut stage = Stage::new(AttachmentLimits::default())?;
    let content = photo(PART as usize + 9);
    let (id, _) = stage.describe(content.len() as u64, sha256(&[&content]))?;
    stage.send_all(id, &content).await?;
    let path = stage.files().remove(0);
    let mut sealed = std::fs::read(&path)?;
    sealed[PART as usize + 50] ^= 1;
    std::fs::write(&path, sealed)?;
    assert!(matches!(stage.fetch(&stage.phone, id, 0).await, Err(Refusal::Object(_))));
    std::fs::remove_file(path)?;
    assert!(matches!(stage.fetch(&stage.phone, id, 0).await, Err(Refusal::Object(_))));
    Ok(())
}

#[tokio::test]
async fn what_is_too_large_or_too_much_is_refused_before_a_byte_of_it_is_kept() -> TestResult {
    let mut stage = Stage::new(AttachmentLimits { one: 1_000, device: 1_500, all: 2_200 })?;
    let content = photo(800);
    let (large, _) = stage.describe(1_001, [0; 32])?;
    assert_eq!(code(stage.send(large, 0, &photo(1_001)).await), Some(ErrorCode::TooLarge));
    let (first, _) = stage.describe(800, sha256(&[&content]))?;
    assert!(stage.send(first, 0, &content).await?.stored);
    let (second, _) = stage.describe(800, sha256(&[&content]))?;
    assert_eq!(code(stage.send(second, 0, &content).await), Some(ErrorCode::AttachmentsFull), "the device's");
    stage.phone = stage.org.phone(stage.rep)?;
    assert!(stage.send(second, 0, &content).await?.stored);
    stage.phone = stage.org.phone(stage.rep)?;
    let (third, _) = stage.describe(800, sha256(&[&content]))?;
    assert_eq!(code(stage.send(third, 0, &content).await), Some(ErrorCode::AttachmentsFull), "all in all");
    assert_eq!(stage.files().len(), 2);
    Ok(())
}

#[tokio::test]
async fn what_nobody_goes_on_sending_counts_until_it_is_forgotten_and_can_be_begun_anew() -> TestResult {
    let size = PART as usize + 9;
    let limits = AttachmentLimits { one: 1 << 20, device: 2 * size as u64, all: 1 << 30 };
    let (mut stage, anchors) = (Stage::new(limits)?, tempfile::tempdir()?);
    let content = photo(size);
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(stage.describe(size as u64, sha256(&[&content]))?.0);
    }
    let first = &content[..PART as usize];
    stage.send_all(ids[0], &content).await?;
    stage.send(ids[1], 0, first).await?;
    let full = stage.send(ids[2], 0, first).await;
    assert_eq!(code(full), Some(ErrorCode::AttachmentsFull), "what was begun counts whole");
    for (days, files) in [(29, 2), (2, 1)] {
        stage.org.wait(TimeDelta::days(days));
        crate::upkeep::once(stage.app(), anchors.path())?;
        sweep(stage.app()).await?;
        assert_eq!(stage.files().len(), files, "{days} days later");
    }
    stage.phone = stage.org.phone(stage.rep)?;
    assert!(stage.fetch(&stage.phone, ids[0], 0).await? == content, "what is whole stays");
    let on = stage.send(ids[1], PART, &content[PART as usize..]).await?;
    assert_eq!(on, UploadAnswer { received: 0, stored: false }, "it begins anew");
    assert!(stage.send_all(ids[1], &content).await?.stored);
    Ok(())
}

#[tokio::test]
async fn attachments_go_with_their_customer_come_back_with_it_and_are_erased_with_it() -> TestResult {
    let mut stage = Stage::new(AttachmentLimits::default())?;
    let content = photo(500);
    let (id, _) = stage.describe(500, sha256(&[&content]))?;
    stage.send_all(id, &content).await?;
    let (admin, boss, customer) = (&stage.org.admin, stage.org.boss, stage.customer);
    admin.remove_customer(boss, customer)?;
    assert_eq!(code(stage.fetch(&stage.phone, id, 0).await), Some(ErrorCode::NotFound));
    admin.restore_customer(boss, customer)?;
    assert!(stage.fetch(&stage.phone, id, 0).await? == content);
    admin.remove_customer(boss, customer)?;
    admin.erase_customer(boss, customer)?;
    assert!(stage.app().storage.read()?.content(id)?.is_none(), "the key is gone");
    assert_eq!(stage.files().len(), 1);
    sweep(stage.app()).await?;
    assert_eq!(stage.files().len(), 0);
    stage.org.wait(TimeDelta::hours(2));
    sweep(stage.app()).await?;
    assert!(stage.app().storage.read()?.waste(10)?.is_empty());
    Ok(())
}

/// The office removes the customer before it hears of that, or after, or in the same moment.
#[tokio::test]
async fn what_its_author_removed_does_not_come_back_with_the_customer() -> TestResult {
    let mut stage = Stage::new(AttachmentLimits::default())?;
    let content = photo(500);
    let (boss, customer) = (stage.org.boss, stage.customer);
    let [kept, before, later] = [(); 3].map(|()| stage.describe(500, sha256(&[&content])));
    let [kept, before, later] = [kept?.0, before?.0, later?.0];
    for id in [kept, before, later] {
        stage.send_all(id, &content).await?;
    }
    let change = stage.phone.delete("attachment", before);
    stage.phone.sync(&[change])?;
    stage.org.admin.remove_customer(boss, customer)?;
    stage.org.wait(TimeDelta::minutes(1));
    stage.phone = stage.org.phone(stage.rep)?;
    let change = stage.phone.delete("attachment", later);
    let frames = stage.phone.sync(&[change])?;
    let taken = |frame: &Frame| matches!(frame, Frame::Result(result) if matches!(result.outcome, Outcome::Applied { .. }));
    assert!(frames.iter().any(taken), "both wanted the same");
    stage.org.admin.restore_customer(boss, customer)?;
    assert!(stage.fetch(&stage.phone, kept, 0).await? == content);
    for id in [before, later] {
        assert_eq!(code(stage.fetch(&stage.phone, id, 0).await), Some(ErrorCode::NotFound));
        assert!(
            stage.app().storage.read()?.removal("attachment", id)?.is_some(),
            "it can be brought back by itself"
        );
    }
    Ok(())
}

/// The rep was without signal while the office removed what the photo belongs to.
#[tokio::test]
async fn content_of_what_was_removed_is_taken_and_there_when_that_is_brought_back() -> TestResult {
    let mut stage = Stage::new(AttachmentLimits::default())?;
    let content = photo(PART as usize + 500);
    let (whole, _) = stage.describe(content.len() as u64, sha256(&[&content]))?;
    let (begun, _) = stage.describe(content.len() as u64, sha256(&[&content]))?;
    let (wrong, _) = stage.describe(content.len() as u64, sha256(&[b"another"]))?;
    stage.send(begun, 0, &content[..PART as usize]).await?;
    let (boss, customer) = (stage.org.boss, stage.customer);
    stage.org.admin.remove_customer(boss, customer)?;
    for id in [whole, begun] {
        assert!(stage.send_all(id, &content).await?.stored);
        assert_eq!(code(stage.fetch(&stage.phone, id, 0).await), Some(ErrorCode::NotFound), "it is removed");
    }
    assert_eq!(code(stage.send_all(wrong, &content).await), Some(ErrorCode::ContentDiffers));
    stage.org.admin.restore_customer(boss, customer)?;
    for id in [whole, begun] {
        assert!(stage.fetch(&stage.phone, id, 0).await? == content);
        let record = stage.app().storage.read()?.record("attachment", id)?.ok_or("no record")?;
        assert!(record.fields.contains_key("stored_at"), "phones know that it is there");
    }
    let (late, _) = stage.describe(content.len() as u64, sha256(&[&content]))?;
    stage.org.admin.remove_customer(boss, customer)?;
    stage.org.admin.erase_customer(boss, customer)?;
    assert_eq!(code(stage.send_all(late, &content).await), Some(ErrorCode::NotFound), "it can't come back");
    Ok(())
}

#[tokio::test]
async fn attachments_follow_their_customer_into_another_territory() -> TestResult {
    let mut stage = Stage::new(AttachmentLimits::default())?;
    let content = photo(500);
    let (id, _) = stage.describe(500, sha256(&[&content]))?;
    stage.send_all(id, &content).await?;
    let other = stage.org.rep("bo", &["NY"])?;
    let other = stage.org.phone(other)?;
    assert_eq!(stage.org.customer("a", "A", "NY")?, stage.customer);
    assert!(stage.fetch(&other, id, 0).await? == content);
    assert_eq!(code(stage.fetch(&stage.phone, id, 0).await), Some(ErrorCode::NotFound));
    Ok(())
}

#[tokio::test]
async fn content_that_is_missing_cut_or_changed_is_found_by_a_check_of_everything() -> TestResult {
    use crate::verify::FindingKind;
    let mut stage = Stage::new(AttachmentLimits::default())?;
    let content = photo(PART as usize + 777);
    let (id, _) = stage.describe(content.len() as u64, sha256(&[&content]))?;
    stage.send(id, 0, &content[..PART as usize]).await?;
    let (admin, sound) = (stage.org.admin.clone(), |contents| {
        let report = stage.org.admin.verify(contents, &mut |_, _| {})?;
        Ok::<_, Box<dyn std::error::Error>>((report.is_sound(), report.checked))
    });
    let (is_sound, checked) = sound(true)?;
    assert!(is_sound && checked.contents == 0, "what is on its way is not looked for");
    stage.send(id, PART, &content[PART as usize..]).await?;
    let (is_sound, checked) = sound(true)?;
    assert_eq!((is_sound, checked.contents, checked.content_bytes), (true, 1, content.len() as u64));
    let file = stage.files().pop().ok_or("no file")?;
    let whole = std::fs::read(&file)?;
    let found = |contents| -> TestResult<Vec<(FindingKind, Option<Uuid>)>> {
        let report = admin.verify(contents, &mut |_, _| {})?;
        Ok(report.findings.iter().map(|finding| (finding.kind, finding.id)).collect())
    };

    let mut changed = whole.clone();
    changed[PART as usize + 60] ^= 1;
    std::fs::write(&file, &changed)?;
    assert!(found(false)?.is_empty(), "it has the right size");
    assert_eq!(found(true)?, [(FindingKind::ContentChanged, Some(id))]);
    std::fs::write(&file, &whole[1..])?;
    assert_eq!(found(false)?, [(FindingKind::ContentSize, Some(id))]);
    std::fs::remove_file(&file)?;
    assert_eq!(found(false)?, [(FindingKind::ContentMissing, Some(id))]);
    std::fs::write(&file, &whole)?;
    assert!(found(true)?.is_empty());

    // A removal takes it out of what stands, and it can be brought back: so its content is looked for.
    stage.org.admin.remove_customer(stage.org.boss, stage.customer)?;
    assert!(found(true)?.is_empty());
    std::fs::remove_file(&file)?;
    assert_eq!(found(false)?, [(FindingKind::ContentMissing, Some(id))]);
    std::fs::write(&file, &whole)?;
    stage.org.admin.restore_customer(stage.org.boss, stage.customer)?;
    stage.org.tamper("DELETE FROM content")?;
    assert_eq!(found(false)?, [(FindingKind::ContentUnknown, Some(id))]);
    Ok(())
}

/// What lies in a bucket.
async fn objects(store: &Arc<dyn ObjectStore>) -> TestResult<Vec<(String, Bytes)>> {
    let names: Vec<_> = store.list(None).map_ok(|found| found.location).try_collect().await?;
    let mut objects = Vec::new();
    for name in names {
        objects.push((name.to_string(), store.get(&name).await?.bytes().await?));
    }
    Ok(objects)
}

#[tokio::test(flavor = "multi_thread")]
async fn content_goes_to_a_bucket_of_s3_goes_on_after_a_stop_comes_back_and_leaves_nothing() -> TestResult {
    let store = open_place(&AttachmentPlace::S3(empty_bucket()?), Path::new("/nowhere"))?;
    let mut stage = Stage::on(Arc::clone(&store), AttachmentLimits::default(), tempfile::tempdir()?)?;
    // Put together in three blocks, the last one of them short.
    let content = photo(11 * 1024 * 1024 + 77);
    let (id, _) = stage.describe(content.len() as u64, sha256(&[&content]))?;
    for part in 0..20 {
        let offset = part * PART;
        stage.send(id, offset, &content[offset as usize..][..PART as usize]).await?;
    }
    assert_eq!(objects(&store).await?.len(), 20);
    // The phone begins anew, and is told where to go on.
    let on = stage.send(id, 0, &content[..PART as usize]).await?;
    assert_eq!(on, UploadAnswer { received: 20 * PART, stored: false });
    let mut answer = on;
    while !answer.stored {
        let rest = &content[answer.received as usize..];
        answer = stage.send(id, answer.received, &rest[..rest.len().min(PART as usize)]).await?;
    }
    let whole = objects(&store).await?;
    assert_eq!(whole.len(), 1, "the parts are gone");
    assert!(!whole[0].1.windows(CANARY.len()).any(|window| window == CANARY));
    for offset in [0, 1, 21 * PART, 5 * 1024 * 1024, content.len() as u64] {
        assert!(stage.fetch(&stage.phone, id, offset).await? == content[offset as usize..], "{offset}");
    }
    assert!(stage.org.admin.verify(true, &mut |_, _| {})?.is_sound());

    // A thumbnail is kept beside it, and that there is none is too.
    let none = thumbnail(stage.app(), stage.phone.key.clone(), stage.phone.tokens.access.clone(), id).await;
    assert_eq!(code(none), Some(ErrorCode::NotFound));
    assert_eq!(objects(&store).await?.len(), 2);

    let mut changed = whole[0].1.to_vec();
    changed[50] ^= 1;
    store.put(&whole[0].0.as_str().into(), changed.into()).await?;
    assert!(matches!(stage.fetch(&stage.phone, id, 0).await, Err(Refusal::Object(_))));
    stage.org.admin.remove_customer(stage.org.boss, stage.customer)?;
    stage.org.admin.erase_customer(stage.org.boss, stage.customer)?;
    sweep(stage.app()).await?;
    assert!(objects(&store).await?.is_empty(), "nothing is left in the bucket");
    Ok(())
}
