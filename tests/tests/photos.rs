//! Photos travel: sent part by part over any connection, seen and fetched by whoever holds the visit, and gone with it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]

use async_trait::async_trait;
use bytes::Bytes;
use roundsman_core::attachments::{
    AttachedTo, Attachment, AttachmentError, AttachmentKind, AttachmentLimits, Moved, Network, NewAttachment,
    Sent, Transfers,
};
use roundsman_core::platform::{Body, Request, Response, Transport, TransportError};
use roundsman_core::{Client, Config, Error};
use roundsman_model::UserId;
use roundsman_tests::canary::{Canary, files, scan};
use roundsman_tests::rig::{Rig, passcode, phone_config};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use uuid::Uuid;

const CANARY: &str = "canary-in-a-photo-of-a-shelf";
const PART: usize = 256 * 1024;

/// Content in which no two parts are alike, with the canary in each block.
fn photo(size: usize, salt: u32) -> Vec<u8> {
    let block = |n: u32| [CANARY.as_bytes(), &n.to_le_bytes(), &salt.to_le_bytes(), &[b' '; 64]].concat();
    (0..).flat_map(block).take(size).collect()
}

/// What happens to a request about content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// It never arrives.
    Lost,
    /// It arrives, and its answer does not.
    Unanswered,
    /// The answer ends after so many bytes.
    Cut(usize),
    /// A bit of the answer, or of what is sent, is another one.
    Flipped,
}

/// Passes requests on; those about content as told.
struct Wire {
    real: Arc<dyn Transport>,
    faults: Mutex<Vec<Fault>>,
    parts: AtomicU64,
}

impl Wire {
    /// The next requests go like this, the last one first; then all go well.
    fn next(&self, faults: &[Fault]) {
        *self.faults.lock().unwrap() = faults.to_vec();
    }
}

#[async_trait]
impl Transport for Wire {
    async fn send(&self, mut request: Request) -> Result<Response, TransportError> {
        if !request.url.contains("/v1/attachments/") {
            return self.real.send(request).await;
        }
        self.parts.fetch_add(u64::from(request.method == "POST"), Ordering::SeqCst);
        let fault = self.faults.lock().unwrap().pop().unwrap_or(Fault::None);
        if fault == Fault::Lost {
            return Err(TransportError::Offline);
        }
        if fault == Fault::Flipped && !request.body.is_empty() {
            let mut body = request.body.to_vec();
            body[9] ^= 4;
            request.body = body.into();
        }
        let answer = self.real.send(request).await?;
        let left = match fault {
            Fault::Unanswered => return Err(TransportError::Offline),
            Fault::Cut(bytes) => Some(bytes),
            _ => None,
        };
        // Problems come through whole.
        if answer.status != 200 {
            return Ok(answer);
        }
        let body = Faulty { real: answer.body, left, flip: fault == Fault::Flipped };
        Ok(Response { body: Box::new(body), ..answer })
    }
}

struct Faulty {
    real: Box<dyn Body>,
    left: Option<usize>,
    flip: bool,
}

#[async_trait]
impl Body for Faulty {
    async fn chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        if self.left == Some(0) {
            return Err(TransportError::Offline);
        }
        let Some(chunk) = self.real.chunk().await? else { return Ok(None) };
        let mut chunk = chunk.to_vec();
        if let Some(left) = &mut self.left {
            chunk.truncate(*left);
            *left -= chunk.len();
        }
        // JSON would no longer be read: that is another test's.
        if self.flip && chunk.len() > 200 {
            chunk[100] ^= 1;
        }
        Ok(Some(chunk.into()))
    }
}

struct Phone {
    client: Client,
    wire: Arc<Wire>,
    folder: PathBuf,
    user: UserId,
    config: Config,
}

impl Phone {
    async fn new(rig: &Rig, name: &str, limits: AttachmentLimits) -> Self {
        let folder = rig.disk.path().join(name);
        let config = phone_config(&folder, name);
        let wire = Arc::new(Wire {
            real: Arc::clone(&config.transport),
            faults: Mutex::default(),
            parts: AtomicU64::new(0),
        });
        let transport: Arc<dyn Transport> = wire.clone();
        let config = Config { transport, attachments: limits, ..config };
        let client = Client::open(config.clone()).unwrap();
        let user = rig.rep(name);
        client.enrol(&rig.ticket(user), &passcode()).await.unwrap();
        client.sync(&()).await.unwrap();
        Self { client, wire, folder, user, config }
    }

    /// The app is stopped and started.
    fn restart(self) -> Self {
        let Self { client, wire, folder, user, config } = self;
        drop(client);
        let client = Client::open(config.clone()).unwrap();
        client.unlock(&passcode()).unwrap();
        Self { client, wire, folder, user, config }
    }

    fn visit(&self) -> Uuid {
        let store = self.client.customers().unwrap().list(None, 1).unwrap().remove(0);
        self.client.visits().unwrap().start(store.id, None).unwrap().id
    }

    fn add(&self, visit: Uuid, content: &[u8]) -> Attachment {
        let of = AttachedTo::Visit(visit);
        let new = NewAttachment::new(of, AttachmentKind::Photo, "image/jpeg", content.len() as u64);
        self.client.attachments().unwrap().add(&new, &mut &content[..]).unwrap()
    }

    async fn sync(&self) {
        self.client.sync(&()).await.unwrap();
    }

    async fn send(&self) -> Sent {
        self.client.send_attachments(&()).await.unwrap()
    }

    async fn fetch(&self, id: Uuid) -> Result<Attachment, Error> {
        self.client.fetch_attachment(id, &()).await
    }

    fn get(&self, id: Uuid) -> Option<Attachment> {
        self.client.attachments().unwrap().get(id).unwrap()
    }

    fn content(&self, id: Uuid) -> Vec<u8> {
        let reader = self.client.attachments().unwrap().open(id).unwrap();
        let mut content = vec![0; reader.size() as usize + 10];
        let count = reader.read_at(0, &mut content).unwrap();
        content.truncate(count);
        content
    }

    /// The files of attachments, without the sealed keys of those that were not sent.
    fn files(&self) -> usize {
        let all = files(&self.folder.join("vault/att"));
        all.iter().filter(|path| path.extension().is_none_or(|ending| ending != "key")).count()
    }
}

async fn stage() -> (Rig, Phone, Phone) {
    let rig = Rig::start().await;
    rig.import_stores(3);
    let ana = Phone::new(&rig, "ana", AttachmentLimits::default()).await;
    let bo = Phone::new(&rig, "bo", AttachmentLimits::default()).await;
    (rig, ana, bo)
}

#[derive(Default)]
struct Watch(Mutex<Vec<Moved>>);

impl Transfers for Watch {
    fn moved(&self, moved: Moved) {
        self.0.lock().unwrap().push(moved);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_photo_is_seen_at_once_fetched_when_wanted_and_never_in_the_clear_on_any_disk() {
    let (rig, ana, bo) = stage().await;
    let (visit, content) = (ana.visit(), photo(5 * PART + 321, 1));
    let added = ana.add(visit, &content);
    assert!(added.here && added.stored_at.is_none());
    assert_eq!(ana.send().await.left, 1, "its record goes first");
    ana.sync().await;
    bo.sync().await;
    let seen = bo.get(added.id).unwrap();
    assert!(!seen.here && seen.stored_at.is_none() && seen.size == content.len() as u64);
    let early = bo.fetch(added.id).await;
    assert!(matches!(early, Err(Error::Attachment(AttachmentError::NotSentYet))), "{early:?}");

    let watch = Watch::default();
    let sent = ana.client.send_attachments(&watch).await.unwrap();
    assert_eq!((sent.files, sent.bytes, sent.left), (1, content.len() as u64, 0));
    assert_eq!(ana.wire.parts.load(Ordering::SeqCst), 6);
    let moved: Vec<u64> = watch.0.lock().unwrap().iter().map(|moved| moved.bytes).collect();
    assert_eq!(moved.len(), 6);
    assert!(moved.is_sorted() && moved[5] == content.len() as u64);
    ana.sync().await;
    assert!(ana.get(added.id).unwrap().stored_at.is_some());
    assert_eq!(ana.send().await, Sent::default(), "nothing is sent twice");

    bo.sync().await;
    assert_eq!(bo.client.attachments().unwrap().of(visit).unwrap().len(), 1);
    let unfetched = bo.client.attachments().unwrap().open(added.id).err();
    assert!(matches!(unfetched, Some(Error::Attachment(AttachmentError::NotFetched))));
    let fetched = bo.fetch(added.id).await.unwrap();
    assert!(fetched.here && bo.content(added.id) == content);
    assert_eq!(bo.fetch(added.id).await.unwrap(), bo.get(added.id).unwrap(), "a second time asks nobody");
    assert!(bo.restart().content(added.id) == content);
    let canary = Canary { what: "content".to_owned(), text: CANARY.to_owned() };
    let found = scan(rig.disk.path(), &[canary]).unwrap();
    assert!(found.leaks.is_empty() && !found.files.is_empty(), "{:?}", found.leaks);
}

#[tokio::test(flavor = "multi_thread")]
async fn sending_goes_on_after_a_stop_at_every_part_and_nothing_is_stored_twice() {
    let (_rig, mut ana, bo) = stage().await;
    let content = photo(4 * PART + 5, 2);
    let added = ana.add(ana.visit(), &content);
    ana.sync().await;
    let mut stops = 0;
    loop {
        // Each try gets one part through, loses the next one or its answer, and the app is killed.
        let lost = [Fault::Lost, Fault::Unanswered][stops % 2];
        ana.wire.next(&[lost, Fault::None]);
        match ana.client.send_attachments(&()).await {
            Ok(sent) => {
                assert_eq!((sent.files, sent.left), (1, 0));
                break;
            }
            Err(error) => assert!(matches!(error, Error::Offline), "{error}"),
        }
        stops += 1;
        assert!(stops < 10, "it gets no further");
        ana = ana.restart();
    }
    assert!(stops >= 2, "it was hardly stopped");
    let parts = ana.wire.parts.load(Ordering::SeqCst);
    assert!(parts <= 5 + 2 * stops as u64, "{parts} parts with {stops} stops: it began anew");
    bo.sync().await;
    bo.fetch(added.id).await.unwrap();
    assert!(bo.content(added.id) == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrives_changed_is_noticed_on_either_side_and_comes_right_with_the_next_try() {
    let (_rig, ana, bo) = stage().await;
    let content = photo(2 * PART + 5, 3);
    let added = ana.add(ana.visit(), &content);
    ana.sync().await;
    ana.wire.next(&[Fault::Flipped]);
    let sent = ana.send().await;
    assert_eq!((sent.files, sent.left, sent.stuck.as_slice()), (0, 1, [added.id].as_slice()));
    assert_eq!(ana.send().await.files, 1);
    bo.sync().await;
    bo.wire.next(&[Fault::Flipped]);
    let fetched = bo.fetch(added.id).await;
    assert!(matches!(fetched, Err(Error::Attachment(AttachmentError::OtherContent))), "{fetched:?}");
    assert_eq!(bo.files(), 0, "nothing of it is kept");
    // Cut again and again, it goes on by itself.
    bo.wire.next(&[Fault::Cut(0), Fault::Cut(PART), Fault::Lost, Fault::Cut(100)]);
    bo.fetch(added.id).await.unwrap();
    assert!(bo.content(added.id) == content);
    let before = ana.send().await;
    assert_eq!(before, Sent::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn photos_wait_for_a_network_that_costs_nothing_and_visits_never_wait_for_photos() {
    let (_rig, ana, bo) = stage().await;
    let visit = ana.visit();
    let added = ana.add(visit, &photo(PART, 4));
    ana.client.set_network(Network::Metered);
    ana.sync().await;
    let sent = ana.send().await;
    assert!(sent.waits && sent.left == 1 && sent.left_bytes == PART as u64);
    bo.sync().await;
    assert!(bo.client.visits().unwrap().get(visit).unwrap().is_some(), "the visit is there");
    assert_eq!(ana.wire.parts.load(Ordering::SeqCst), 0);
    ana.client.set_network(Network::Unmetered);
    assert_eq!(ana.send().await.files, 1);
    assert!(ana.get(added.id).unwrap().here);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_photo_leaves_with_its_record_but_what_was_not_sent_is_sent_first() {
    let (rig, ana, bo) = stage().await;
    let visit = ana.visit();
    let (sent, unsent) = (ana.add(visit, &photo(900, 5)), ana.add(visit, &photo(800, 6)));
    ana.sync().await;
    ana.wire.next(&[Fault::Lost]);
    assert!(ana.client.send_attachments(&()).await.is_err());
    bo.sync().await;
    rig.admin.set_territories(rig.actor, ana.user, vec!["NY".to_owned()]).unwrap();
    ana.sync().await;
    assert_eq!(ana.client.customers().unwrap().count().unwrap(), 0);
    assert_eq!(ana.files(), 2, "neither was sent");
    assert_eq!(ana.send().await.files, 2);
    assert_eq!(ana.files(), 0, "nothing leads to them any more");
    assert!(ana.get(sent.id).is_none() && ana.get(unsent.id).is_none());
    bo.sync().await;
    for id in [sent.id, unsent.id] {
        bo.fetch(id).await.unwrap();
    }
    assert_eq!(bo.files(), 2);
    rig.admin.set_territories(rig.actor, bo.user, vec!["NY".to_owned()]).unwrap();
    bo.sync().await;
    assert_eq!(bo.files(), 0);
    assert!(matches!(bo.fetch(sent.id).await, Err(Error::NotFound)));
}

/// A picture of 800 by 600 pixels.
fn jpeg() -> Vec<u8> {
    let picture = image::RgbImage::from_fn(800, 600, |x, y| image::Rgb([(x / 5) as u8, (y / 5) as u8, 90]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Jpeg).unwrap();
    bytes.into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thumbnail_is_fetched_once_sealed_everywhere_and_goes_with_its_record() {
    let (rig, ana, bo) = stage().await;
    let visit = ana.visit();
    let (added, other, text) = (
        ana.add(visit, &jpeg()),
        ana.add(visit, &[jpeg(), vec![0]].concat()),
        ana.add(visit, &photo(500, 20)),
    );
    ana.sync().await;
    bo.sync().await;
    let early = bo.client.thumbnail(added.id).await;
    assert!(matches!(early, Err(Error::Attachment(AttachmentError::NotSentYet))), "{early:?}");
    ana.send().await;
    bo.sync().await;

    bo.wire.next(&[Fault::None, Fault::Cut(600)]);
    assert!(bo.client.thumbnail(added.id).await.is_err(), "a part of one is not kept");
    let small = bo.client.thumbnail(added.id).await.unwrap();
    let shown = image::load_from_memory(&small).unwrap();
    assert_eq!((shown.width(), shown.height()), (320, 240));
    bo.wire.next(&[Fault::Lost]);
    assert_eq!(bo.client.thumbnail(added.id).await.unwrap(), small);
    assert_eq!(bo.wire.faults.lock().unwrap().len(), 1, "the second time asks nobody");
    bo.wire.next(&[]);
    assert!(!bo.get(added.id).unwrap().here, "the content was not fetched for it");
    bo.client.thumbnail(other.id).await.unwrap();
    let none = bo.client.thumbnail(text.id).await;
    assert!(matches!(none, Err(Error::Attachment(AttachmentError::NoThumbnail))), "{none:?}");
    assert!(matches!(bo.client.thumbnail(Uuid::nil()).await, Err(Error::NotFound)));

    let bo = bo.restart();
    let kept = |phone: &Phone, id| phone.client.attachments().unwrap().thumbnail(id).unwrap();
    assert_eq!(kept(&bo, added.id), Some(small.clone()));
    let middle = &small[small.len() / 2..][..24];
    let on_disk = files(rig.disk.path());
    assert!(on_disk.len() > 5);
    for file in on_disk {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!bytes.windows(middle.len()).any(|window| window == middle), "{}", file.display());
    }

    ana.client.attachments().unwrap().remove(other.id).unwrap();
    ana.sync().await;
    bo.sync().await;
    assert!(kept(&bo, other.id).is_none() && kept(&bo, added.id).is_some());
    rig.admin.set_territories(rig.actor, bo.user, vec!["NY".to_owned()]).unwrap();
    bo.sync().await;
    assert!(kept(&bo, added.id).is_none());
    assert!(matches!(bo.client.thumbnail(added.id).await, Err(Error::NotFound)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_photo_that_is_removed_goes_everywhere() {
    let (_rig, ana, bo) = stage().await;
    let added = ana.add(ana.visit(), &photo(900, 7));
    ana.sync().await;
    ana.send().await;
    bo.sync().await;
    bo.fetch(added.id).await.unwrap();
    ana.client.attachments().unwrap().remove(added.id).unwrap();
    assert_eq!(ana.files(), 0);
    ana.sync().await;
    bo.sync().await;
    assert!(bo.get(added.id).is_none() && bo.files() == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_fetched_again_makes_room_and_what_was_not_sent_never_does() {
    let rig = Rig::start().await;
    rig.import_stores(1);
    let limits = AttachmentLimits { one: 1 << 20, all: 500_000 };
    let ana = Phone::new(&rig, "ana", limits).await;
    let visit = ana.visit();
    let (first, second) = (photo(200_000, 8), photo(200_000, 9));
    let (one, two) = (ana.add(visit, &first), ana.add(visit, &second));
    let new = NewAttachment::new(AttachedTo::Visit(visit), AttachmentKind::Photo, "image/jpeg", 200_000);
    let third = photo(200_000, 10);
    let full = ana.client.attachments().unwrap().add(&new, &mut &third[..]);
    assert!(matches!(full, Err(Error::Attachment(AttachmentError::QuotaReached { .. }))), "{full:?}");
    ana.sync().await;
    ana.send().await;
    ana.sync().await;
    let three = ana.add(visit, &third);
    assert_eq!(ana.files(), 2);
    assert!(
        !ana.get(one.id).unwrap().here && ana.get(two.id).unwrap().here && ana.get(three.id).unwrap().here
    );
    ana.fetch(one.id).await.unwrap();
    assert!(ana.content(one.id) == first && ana.content(three.id) == third);
    assert!(!ana.get(two.id).unwrap().here, "the one that was there for longest");
}
