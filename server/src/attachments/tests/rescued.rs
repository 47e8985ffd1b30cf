//! What taking in photos that were not sent, and filing them, promise.

use super::{CANARY, Stage, code, files, photo};
use crate::admin::{AdminError, PhotoStanding};
use crate::attachments::rescued::{MAX_KEPT, PhotoPart, file_rescued, take_photo};
use crate::attachments::{AttachmentLimits, sweep};
use crate::refusal::Refusal;
use crate::storage::{PhotoState, StoredPhoto};
use crate::testkit::{Phone, TestResult};
use chrono::TimeDelta;
use roundsman_protocol::attachment::{PART, UploadAnswer, part_size};
use roundsman_protocol::hpke_seal::key_pair;
use roundsman_protocol::rescue_photo::{Part, PhotoHead, SealedKey, SignedPart};
use roundsman_protocol::sealed_file::{CHUNK, Chunks, FileKey, Header, PREFIX};
use roundsman_protocol::{ErrorCode, sha256};
use uuid::Uuid;
use zeroize::Zeroizing;

/// A photo as a phone keeps it until it is sent.
struct Kept {
    head: PhotoHead,
    key: Vec<u8>,
    file: Vec<u8>,
}

impl Kept {
    /// The sealed file of this content, with its key sealed beside it.
    fn new(stage: &Stage, attachment: Uuid, content: &[u8]) -> TestResult<Self> {
        let head = PhotoHead {
            org: stage.org.keys()?.org(),
            device: stage.phone.id,
            attachment,
            file: Uuid::now_v7(),
        };
        let header = Header::new(head.file, [5; PREFIX], content.len() as u64);
        let (key, chunks) = (FileKey::new([6; 32]), Chunks::of(header.clone()));
        let mut padded = content.to_vec();
        padded.resize(header.padded as usize, 0);
        let mut file = header.to_bytes().to_vec();
        for number in 0..header.chunks() {
            let from = number as usize * CHUNK;
            let mut chunk = padded[from..from + header.chunk_size(number)].to_vec();
            chunks.seal(&key, number, &mut chunk)?;
            file.extend(chunk);
        }
        let rescue_key = stage.org.first.rescue.public().0;
        let sealed = SealedKey::seal([9; 32], &rescue_key, &head, &key, content.len() as u64)?;
        Ok(Self { head, key: sealed, file })
    }

    fn part(&self, offset: u64) -> Part {
        let (size, at) = (self.file.len() as u64, offset as usize);
        let bytes = self.file[at..at + part_size(size, offset) as usize].to_vec();
        Part { key: self.key.clone(), size, offset, bytes }
    }
}

impl Stage {
    async fn hand_part(&self, by: &Phone, file: Uuid, part: Part) -> Result<UploadAnswer, Refusal> {
        let offset = part.offset;
        let raw = SignedPart::sign(part, |message| by.es256(message)).map_err(|_| Refusal::Worker)?;
        let part = PhotoPart { key: by.key.clone(), file, offset, raw: raw.to_bytes().into() };
        take_photo(self.app(), part).await
    }

    /// Hands over all of it.
    async fn hand_over(&self, kept: &Kept) -> Result<(), Refusal> {
        let mut answer = UploadAnswer { received: 0, stored: false };
        while !answer.stored {
            answer = self.hand_part(&self.phone, kept.head.file, kept.part(answer.received)).await?;
        }
        Ok(())
    }

    fn open(&self) -> TestResult<(u64, u64)> {
        let total =
            self.org.admin.open_rescue(self.org.boss, &*self.org.first.rescue.opening_key()?)?.total();
        Ok((total.photos, total.photos_waiting))
    }

    fn standing(&self) -> TestResult<PhotoStanding> {
        Ok(self.org.admin.rescue_standing(self.phone.id)?.photos)
    }

    fn forget(&self) -> TestResult {
        let mut tx = self.app().storage.write()?;
        crate::rescue::forget_old(tx.as_mut(), self.org.now())?;
        Ok(tx.commit()?)
    }
}

#[tokio::test]
async fn parts_come_in_order_and_what_is_not_waited_for_changes_nothing() -> TestResult {
    let mut stage = Stage::new(AttachmentLimits::default())?;
    let content = photo(2 * PART as usize + 77);
    let (id, _) = stage.describe(content.len() as u64, sha256(&[&content]))?;
    let kept = Kept::new(&stage, id, &content)?;
    let (size, name) = (kept.file.len() as u64, kept.head.file);
    let ask = |offset: u64| Part { bytes: vec![], offset, ..kept.part(0) };
    let answer = |received: u64| UploadAnswer { received, stored: false };
    assert_eq!(stage.hand_part(&stage.phone, name, ask(0)).await?, answer(0), "a question");
    assert_eq!(stage.hand_part(&stage.phone, name, kept.part(PART)).await?, answer(0), "too early");
    assert_eq!(stage.hand_part(&stage.phone, name, kept.part(0)).await?, answer(PART));
    assert_eq!(stage.hand_part(&stage.phone, name, kept.part(0)).await?, answer(PART), "once more");
    assert_eq!(stage.hand_part(&stage.phone, name, ask(0)).await?, answer(PART));
    assert_eq!(stage.standing()?.coming, 1);
    assert_eq!(stage.open()?, (0, 0), "not before it is whole");
    stage.hand_part(&stage.phone, name, kept.part(PART)).await?;
    let last = stage.hand_part(&stage.phone, name, kept.part(2 * PART)).await?;
    assert_eq!(last, UploadAnswer { received: size, stored: true });
    assert_eq!(stage.hand_part(&stage.phone, name, ask(0)).await?, last, "the answer was lost");
    // A key that was sealed anew takes the place of the first one.
    let seed = [10; 32];
    let other = SealedKey::seal(seed, &key_pair(&[1; 32]).1, &kept.head, &FileKey::new([6; 32]), 1)?;
    stage.hand_part(&stage.phone, name, Part { key: other, ..ask(0) }).await?;
    let refused = stage.org.admin.open_rescue(stage.org.boss, &*stage.org.first.rescue.opening_key()?);
    assert!(matches!(refused, Err(AdminError::WrongRescueKey)));
    stage.hand_part(&stage.phone, name, ask(0)).await?;
    assert_eq!(stage.open()?, (1, 0));
    assert_eq!(file_rescued(stage.app()).await?, 1);
    assert_eq!(stage.fetch(&stage.phone, id, 0).await?, content);
    sweep(stage.app()).await?;
    assert_eq!(stage.files().len(), 1, "nothing but the content is left");
    for path in files(stage.folder.path()) {
        let bytes = std::fs::read(path)?;
        assert!(!bytes.windows(CANARY.len()).any(|window| window == CANARY));
    }
    let row = stage.app().storage.read()?.photo(stage.phone.id, name)?.ok_or("photo")?;
    assert!(row.key.is_empty() && row.opened_key.is_empty(), "no key is kept that nobody needs");
    Ok(())
}

/// The phone was locked, and unlocked before all was handed over.
#[tokio::test]
async fn what_was_handed_over_in_part_and_then_sent_waits_for_nobody() -> TestResult {
    let mut stage = Stage::new(AttachmentLimits::default())?;
    let content = photo(PART as usize + 77);
    let [part, whole, other] =
        [(); 3].map(|()| stage.describe(content.len() as u64, sha256(&[&content])).map(|(id, _)| id));
    let [part, whole, other] = [part?, whole?, other?];
    let kept = Kept::new(&stage, part, &content)?;
    stage.hand_part(&stage.phone, kept.head.file, kept.part(0)).await?;
    stage.hand_over(&Kept::new(&stage, whole, &content)?).await?;
    let mine = Kept::new(&stage, other, &content)?;
    stage.hand_part(&stage.phone, mine.head.file, mine.part(0)).await?;
    let standing = stage.standing()?;
    assert_eq!((standing.coming, standing.sealed, standing.known), (2, 1, 0));
    for id in [part, whole] {
        stage.send_all(id, &content).await?;
    }
    let standing = stage.standing()?;
    assert_eq!((standing.coming, standing.sealed, standing.known), (1, 0, 2), "the other may still come");
    let last = stage.hand_part(&stage.phone, kept.head.file, kept.part(PART)).await?;
    assert!(last.stored, "the phone need not go on");
    assert_eq!(stage.open()?, (0, 0));
    sweep(stage.app()).await?;
    assert!(stage.fetch(&stage.phone, part, 0).await? == content);
    Ok(())
}

#[tokio::test]
async fn what_is_forged_anothers_or_too_large_is_refused() -> TestResult {
    let limits = AttachmentLimits { one: 3 * PART, ..AttachmentLimits::default() };
    let mut stage = Stage::new(limits)?;
    let content = photo(PART as usize);
    let (id, _) = stage.describe(PART, sha256(&[&content]))?;
    let kept = Kept::new(&stage, id, &content)?;
    let name = kept.head.file;
    let other = stage.org.phone(stage.org.rep("bo", &["NJ"])?)?;
    let malformed = Some(ErrorCode::Malformed);
    assert_eq!(code(stage.hand_part(&other, name, kept.part(0)).await), malformed, "another device's key");
    assert_eq!(code(stage.hand_part(&stage.phone, id, kept.part(0)).await), malformed, "another place");
    let org = roundsman_model::OrgId(Uuid::from_u128(5));
    let elsewhere = PhotoHead { org, ..kept.head };
    let public = stage.org.first.rescue.public().0;
    let sealed = SealedKey::seal([9; 32], &public, &elsewhere, &FileKey::new([6; 32]), PART)?;
    let part = Part { key: sealed, ..kept.part(0) };
    assert_eq!(code(stage.hand_part(&stage.phone, name, part).await), malformed, "another organisation's");
    // Signed by the right device, and then changed or cut.
    let whole = SignedPart::sign(kept.part(0), |message| stage.phone.es256(message))?.to_bytes();
    let last = whole.len() - 100;
    for raw in [[&whole[..last], &[whole[last] ^ 1], &whole[last + 1..]].concat(), whole[..last].to_vec()] {
        let part = PhotoPart { key: stage.phone.key.clone(), file: name, offset: 0, raw: raw.into() };
        assert_eq!(code(take_photo(stage.app(), part).await), malformed);
    }
    assert_eq!(stage.standing()?, PhotoStanding::default(), "nothing of it is kept");
    stage.hand_part(&stage.phone, name, kept.part(0)).await?;
    let shorter = Part { size: PART + 9, bytes: vec![], ..kept.part(0) };
    assert_eq!(
        code(stage.hand_part(&stage.phone, name, shorter).await),
        malformed,
        "it has another size now"
    );
    let large = Kept::new(&stage, id, &photo(4 * PART as usize))?;
    let refused = stage.hand_part(&stage.phone, large.head.file, large.part(0)).await;
    assert_eq!(code(refused), Some(ErrorCode::TooLarge));
    Ok(())
}

#[tokio::test]
async fn a_device_can_not_fill_the_server_with_photos() -> TestResult {
    let stage = Stage::new(AttachmentLimits::default())?;
    let kept = Kept::new(&stage, Uuid::now_v7(), &photo(20_000))?;
    let mut tx = stage.app().storage.write()?;
    let full = StoredPhoto {
        device: stage.phone.id,
        file: Uuid::now_v7(),
        attachment: Uuid::now_v7(),
        sealed_key: vec![],
        object: Uuid::now_v7(),
        key: Zeroizing::new(vec![1; 32]),
        size: MAX_KEPT - kept.file.len() as u64 + 1,
        received: 0,
        state: PhotoState::Coming,
        opened_key: Zeroizing::default(),
        moved_ms: stage.org.now().timestamp_millis(),
        opened_ms: None,
    };
    tx.put_photo(&full)?;
    tx.commit()?;
    assert_eq!(code(stage.hand_over(&kept).await), Some(ErrorCode::RescueFull));
    let mut tx = stage.app().storage.write()?;
    tx.put_photo(&StoredPhoto { size: full.size - 1, ..full })?;
    tx.commit()?;
    stage.hand_over(&kept).await?;
    // What nobody goes on sending makes room again.
    stage.org.wait(TimeDelta::days(31));
    stage.forget()?;
    assert_eq!(stage.standing()?, PhotoStanding { sealed: 1, ..PhotoStanding::default() });
    Ok(())
}

#[tokio::test]
async fn only_what_the_record_says_is_filed_and_only_its_authors() -> TestResult {
    let mut stage = Stage::new(AttachmentLimits::default())?;
    let content = photo(PART as usize + 5);
    let (hash, size) = (sha256(&[&content]), content.len() as u64);
    let whole = stage.describe(size, hash)?.0;
    let other_hash = stage.describe(size, [7; 32])?.0;
    let other_size = stage.describe(size + 1, hash)?.0;
    let damaged = stage.describe(size, hash)?.0;
    let known = stage.describe(size, hash)?.0;
    let unknown = Uuid::now_v7();
    stage.send_all(known, &content).await?;
    for id in [whole, other_hash, other_size, known, unknown] {
        stage.hand_over(&Kept::new(&stage, id, &content)?).await?;
    }
    let mut broken = Kept::new(&stage, damaged, &content)?;
    broken.file[PART as usize] ^= 1;
    stage.hand_over(&broken).await?;
    let mut foreign = Kept::new(&stage, whole, &content)?;
    foreign.file[7] ^= 1;
    stage.hand_over(&foreign).await?;
    assert_eq!(stage.open()?, (7, 1));
    assert_eq!(file_rescued(stage.app()).await?, 1);
    let standing = PhotoStanding { filed: 1, known: 2, damaged: 3, waiting: 1, ..PhotoStanding::default() };
    assert_eq!(stage.standing()?, standing);
    assert_eq!(stage.fetch(&stage.phone, whole, 0).await?, content);
    for id in [other_hash, other_size, damaged] {
        assert_eq!(code(stage.fetch(&stage.phone, id, 0).await), Some(ErrorCode::NotFound));
    }
    // The phone may still send what was refused here, as if nothing had been.
    stage.send_all(damaged, &content).await?;

    let bo = stage.org.rep("bo", &["NJ"])?;
    let (ana, phone) = (stage.rep, stage.org.phone(bo)?);
    let id = stage.describe(size, hash)?.0;
    let before = std::mem::replace(&mut stage.phone, phone);
    stage.hand_over(&Kept::new(&stage, id, &content)?).await?;
    assert_eq!(stage.open()?, (1, 0));
    assert_eq!(file_rescued(stage.app()).await?, 0, "it is not this rep's to file");
    assert_eq!((stage.standing()?.damaged, stage.rep == ana), (1, true));
    assert_eq!(code(stage.fetch(&before, id, 0).await), Some(ErrorCode::NotFound));
    Ok(())
}

#[tokio::test]
async fn photos_are_deleted_thirty_days_after_they_were_opened() -> TestResult {
    let mut stage = Stage::new(AttachmentLimits::default())?;
    let content = photo(500);
    let (id, _) = stage.describe(500, sha256(&[&content]))?;
    let sealed = Kept::new(&stage, id, &content)?;
    let waiting = Kept::new(&stage, Uuid::now_v7(), &content)?;
    stage.hand_over(&waiting).await?;
    stage.open()?;
    stage.hand_over(&sealed).await?;
    stage.org.wait(TimeDelta::days(29));
    stage.forget()?;
    assert_eq!((stage.standing()?.waiting, stage.standing()?.sealed), (1, 1));
    stage.org.wait(TimeDelta::days(2));
    stage.forget()?;
    let standing = PhotoStanding { sealed: 1, ..PhotoStanding::default() };
    assert_eq!(stage.standing()?, standing, "what nobody has opened stays");
    sweep(stage.app()).await?;
    assert_eq!(stage.files().len(), 1, "its bytes go too");
    Ok(())
}
