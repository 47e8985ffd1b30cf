//! Photos that were not sent outlive a lock and a wipe: the organisation gets them, whole, once, and nobody else does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]

use async_trait::async_trait;
use roundsman_core::attachments::{AttachedTo, Attachment, AttachmentKind, NewAttachment};
use roundsman_core::platform::{Request, Response, Transport, TransportError};
use roundsman_core::{Client, Config, Error, State};
use roundsman_model::DeviceId;
use roundsman_server::admin::{AdminError, DeviceStatus, PhotoStanding};
use roundsman_server::keyfile::{KeyFile, KeyKind};
use roundsman_tests::canary::{Canary, files, scan};
use roundsman_tests::rig::{Rig, passcode, phone_config};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use uuid::Uuid;

const CANARY: &str = "canary-in-a-photo-that-was-not-sent";
const PART: usize = 256 * 1024;

/// Content in which no two parts are alike, with the canary in each block.
fn photo(size: usize, salt: u32) -> Vec<u8> {
    let block = |n: u32| [CANARY.as_bytes(), &n.to_le_bytes(), &salt.to_le_bytes(), &[b' '; 64]].concat();
    (0..).flat_map(block).take(size).collect()
}

/// Passes requests on; after so many about content it is cut for good, before the request or before its answer.
struct Wire {
    real: Arc<dyn Transport>,
    left: AtomicI64,
    unanswered: Mutex<bool>,
    /// Bytes of photos that were handed over.
    handed: AtomicU64,
}

const EVER: i64 = i64::MAX;

#[async_trait]
impl Transport for Wire {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let rescue = request.url.contains("/v1/device/rescue/photos/");
        if !rescue && !request.url.contains("/v1/attachments/") {
            return self.real.send(request).await;
        }
        let left = self.left.load(Ordering::SeqCst);
        if left <= 0 {
            return Err(TransportError::Offline);
        }
        self.left.store(if left == EVER { EVER } else { left - 1 }, Ordering::SeqCst);
        if rescue {
            self.handed.fetch_add(request.body.len() as u64, Ordering::SeqCst);
        }
        let answer = self.real.send(request).await?;
        if left == 1 && *self.unanswered.lock().unwrap() {
            return Err(TransportError::Offline);
        }
        Ok(answer)
    }
}

struct Phone {
    client: Client,
    wire: Arc<Wire>,
    folder: PathBuf,
    config: Config,
    id: DeviceId,
}

impl Phone {
    async fn new(rig: &Rig, name: &str) -> Self {
        let folder = rig.disk.path().join(name);
        let config = phone_config(&folder, name);
        let wire = Arc::new(Wire {
            real: Arc::clone(&config.transport),
            left: AtomicI64::new(EVER),
            unanswered: Mutex::new(false),
            handed: AtomicU64::new(0),
        });
        let transport: Arc<dyn Transport> = wire.clone();
        let config = Config { transport, ..config };
        let client = Client::open(config.clone()).unwrap();
        client.enrol(&rig.ticket(rig.rep(name)), &passcode()).await.unwrap();
        client.sync(&()).await.unwrap();
        let id = rig.device(name).id;
        Self { client, wire, folder, config, id }
    }

    /// The app is stopped and started.
    fn restart(self) -> Self {
        let Self { client, wire, folder, config, id } = self;
        drop(client);
        let client = Client::open(config.clone()).unwrap();
        Self { client, wire, folder, config, id }
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

    async fn send(&self) {
        assert_eq!(self.client.send_attachments(&()).await.unwrap().left, 0);
    }

    async fn fetched(&self, id: Uuid) -> Result<Vec<u8>, Error> {
        self.client.sync(&()).await?;
        self.client.fetch_attachment(id, &()).await?;
        let reader = self.client.attachments()?.open(id)?;
        let mut content = vec![0; reader.size() as usize + 10];
        let count = reader.read_at(0, &mut content)?;
        content.truncate(count);
        Ok(content)
    }

    /// Reports, and the wipe is over.
    async fn wiped(&self) {
        self.client.check_in().await.unwrap();
        assert_eq!(self.client.state(), State::Wiped);
        let left = files(&self.folder.join("vault"));
        assert!(left.len() == 1 && left[0].ends_with("tombstone"), "{left:?}");
    }

    fn files(&self) -> usize {
        files(&self.folder.join("vault/att")).len()
    }
}

async fn stage() -> (Rig, Phone, Phone) {
    let rig = Rig::start().await;
    rig.import_stores(3);
    let ana = Phone::new(&rig, "ana").await;
    let bo = Phone::new(&rig, "bo").await;
    (rig, ana, bo)
}

/// The office opens what was handed over; how many photos that were, and how many of them wait for their records.
fn open(rig: &Rig) -> (u64, u64) {
    let key = rig.server.first_keys().unwrap().rescue.opening_key().unwrap();
    let total = rig.admin.open_rescue(rig.actor, &key).unwrap().total();
    (total.photos, total.photos_waiting)
}

fn standing(rig: &Rig, phone: &Phone) -> PhotoStanding {
    rig.admin.rescue_standing(phone.id).unwrap().photos
}

/// What the phone's last receipt says of a wipe: photos handed over, and destroyed.
fn receipt(rig: &Rig, phone: &Phone) -> (u32, u32) {
    let detail = rig.admin.device(phone.id).unwrap().unwrap();
    let rescue = detail.commands.iter().flat_map(|command| &command.receipts).find_map(|it| it.rescue);
    rescue.map(|rescue| (rescue.photos, rescue.photos_discarded)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn photos_that_were_not_sent_outlive_a_wipe_and_another_phone_sees_them() {
    let (rig, ana, bo) = stage().await;
    let visit = ana.visit();
    let contents = [photo(5 * PART + 321, 1), photo(700, 2), photo(PART, 3), photo(0, 4)];
    let sent = ana.add(visit, &photo(900, 5));
    ana.client.sync(&()).await.unwrap();
    ana.send().await;
    // The record of the first goes with a sync; those of the others never leave the phone.
    let mut added = vec![ana.add(visit, &contents[0])];
    ana.client.sync(&()).await.unwrap();
    added.extend(contents[1..].iter().map(|content| ana.add(visit, content)));
    assert_eq!(ana.files(), 5 + 4, "a key beside each that was not sent");
    ana.client.lock();
    rig.wipe(ana.id, "left in a taxi");
    ana.wiped().await;
    assert_eq!(rig.device("ana").state, DeviceStatus::Wiped);
    assert_eq!(receipt(&rig, &ana), (4, 0));
    assert_eq!(standing(&rig, &ana), PhotoStanding { sealed: 4, ..PhotoStanding::default() });
    let waiting = rig.admin.rescue_waiting().unwrap();
    assert_eq!(waiting.iter().map(|it| it.photos).collect::<Vec<_>>(), [4]);

    let other = KeyFile::generate(KeyKind::Rescue, "other").unwrap().opening_key().unwrap();
    assert!(matches!(rig.admin.open_rescue(rig.actor, &other), Err(AdminError::WrongRescueKey)));
    assert_eq!(standing(&rig, &ana).sealed, 4, "another key opens nothing");
    assert_eq!(open(&rig), (4, 3));
    assert_eq!(rig.admin.file_rescued_photos().await.unwrap(), 1, "the others wait for their records");
    assert_eq!((standing(&rig, &ana).filed, standing(&rig, &ana).waiting), (1, 3));
    let taken = rig.admin.take_all_rescued(rig.actor, ana.id).unwrap();
    assert_eq!(taken.refused, []);
    assert_eq!(rig.admin.file_rescued_photos().await.unwrap(), 3);
    assert_eq!(standing(&rig, &ana), PhotoStanding { filed: 4, ..PhotoStanding::default() });
    assert_eq!(rig.admin.file_rescued_photos().await.unwrap(), 0, "each once");
    assert_eq!(open(&rig), (0, 0));

    for (added, content) in added.iter().zip(&contents) {
        assert!(bo.fetched(added.id).await.unwrap() == *content, "identical bytes");
    }
    assert_eq!(bo.fetched(sent.id).await.unwrap().len(), 900);
    assert!(rig.admin.verify(true, &mut |_, _| {}).is_ok_and(|report| report.findings.is_empty()));
    let canary = Canary { what: "content".to_owned(), text: CANARY.to_owned() };
    let found = scan(rig.disk.path(), &[canary]).unwrap();
    assert!(found.leaks.is_empty() && !found.files.is_empty(), "{:?}", found.leaks);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hand_over_that_is_cut_at_every_request_goes_on_where_the_server_has_come_to() {
    let (rig, mut ana, bo) = stage().await;
    let (visit, content) = (ana.visit(), photo(4 * PART + 5, 1));
    let small = ana.add(visit, &photo(300, 2));
    let added = ana.add(visit, &content);
    ana.client.lock();
    rig.wipe(ana.id, "left in a taxi");
    let mut cuts = 0;
    while ana.client.state() != State::Wiped {
        // One part more comes through each time, and then the line is dead and the app is killed.
        ana.wire.left.store(2, Ordering::SeqCst);
        *ana.wire.unanswered.lock().unwrap() = cuts % 2 == 1;
        ana.client.check_in().await.unwrap();
        cuts += 1;
        assert!(cuts < 20, "it gets no further");
        ana = ana.restart();
    }
    assert!(cuts > 4, "it was hardly cut");
    let handed = ana.wire.handed.load(Ordering::SeqCst);
    assert!(handed < 5 * PART as u64 + 20 * 1024, "{handed} bytes with {cuts} cuts: it began anew");
    assert_eq!(receipt(&rig, &ana), (2, 0));
    assert_eq!(open(&rig), (2, 2));
    rig.admin.take_all_rescued(rig.actor, ana.id).unwrap();
    assert_eq!(rig.admin.file_rescued_photos().await.unwrap(), 2);
    assert!(bo.fetched(added.id).await.unwrap() == content);
    assert!(bo.fetched(small.id).await.unwrap() == photo(300, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_phone_that_comes_back_sends_by_itself_and_nothing_is_there_twice() {
    let (rig, ana, bo) = stage().await;
    let visit = ana.visit();
    let contents = [photo(PART + 9, 1), photo(400, 2), photo(500, 3)];
    let added: Vec<_> = contents.iter().map(|content| ana.add(visit, content)).collect();
    ana.client.lock();
    rig.admin.lock(rig.actor, ana.id, "not seen since noon").unwrap();
    ana.client.check_in().await.unwrap();
    assert_eq!(standing(&rig, &ana).sealed, 3);
    let handed = ana.wire.handed.load(Ordering::SeqCst);
    ana.client.check_in().await.unwrap();
    assert_eq!(ana.wire.handed.load(Ordering::SeqCst), handed, "once is enough");
    assert_eq!(ana.files(), 6, "nothing was taken off the phone");

    // The office files what it has; then the phone is found.
    assert_eq!(open(&rig), (3, 3));
    rig.admin.unlock(rig.actor, ana.id).unwrap();
    ana.client.check_in().await.unwrap();
    ana.client.unlock(&passcode()).unwrap();
    ana.client.sync(&()).await.unwrap();
    assert_eq!(rig.admin.file_rescued_photos().await.unwrap(), 3, "their records have come");
    ana.send().await;
    assert_eq!(ana.files(), 3, "no key beside what the server has");
    for (added, content) in added.iter().zip(&contents) {
        assert!(bo.fetched(added.id).await.unwrap() == *content);
    }
    let later = ana.add(visit, &photo(600, 4));
    ana.client.sync(&()).await.unwrap();
    ana.client.lock();
    rig.admin.lock(rig.actor, ana.id, "again").unwrap();
    ana.client.check_in().await.unwrap();
    rig.admin.unlock(rig.actor, ana.id).unwrap();
    ana.client.check_in().await.unwrap();
    ana.client.unlock(&passcode()).unwrap();
    ana.send().await;
    assert_eq!(open(&rig), (0, 0), "the phone was faster");
    assert_eq!(rig.admin.file_rescued_photos().await.unwrap(), 0);
    assert_eq!((standing(&rig, &ana).filed, standing(&rig, &ana).known), (3, 1));
    assert!(bo.fetched(later.id).await.unwrap() == photo(600, 4));
    assert_eq!(rig.admin.attachments_of_visit(visit).unwrap().len(), 4, "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_photo_that_was_half_sent_before_the_wipe_comes_whole() {
    let (rig, ana, bo) = stage().await;
    let content = photo(4 * PART, 1);
    let added = ana.add(ana.visit(), &content);
    ana.client.sync(&()).await.unwrap();
    ana.wire.left.store(2, Ordering::SeqCst);
    assert!(ana.client.send_attachments(&()).await.is_err());
    ana.wire.left.store(EVER, Ordering::SeqCst);
    rig.wipe(ana.id, "stolen");
    ana.wiped().await;
    assert_eq!(open(&rig), (1, 0));
    assert_eq!(rig.admin.file_rescued_photos().await.unwrap(), 1);
    assert!(bo.fetched(added.id).await.unwrap() == content);
    assert!(rig.admin.verify(true, &mut |_, _| {}).is_ok_and(|report| report.findings.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wipe_of_a_phone_that_has_sent_everything_hands_nothing_over() {
    let (rig, ana, bo) = stage().await;
    let visit = ana.visit();
    let sent = ana.add(visit, &photo(900, 1));
    ana.client.sync(&()).await.unwrap();
    ana.send().await;
    bo.client.sync(&()).await.unwrap();
    let removed = ana.add(visit, &photo(800, 2));
    ana.client.attachments().unwrap().remove(removed.id).unwrap();
    ana.client.sync(&()).await.unwrap();
    rig.wipe(ana.id, "sold");
    ana.wiped().await;
    assert_eq!(receipt(&rig, &ana), (0, 0));
    assert_eq!(ana.wire.handed.load(Ordering::SeqCst), 0);
    assert!(rig.admin.rescue_waiting().unwrap().is_empty());
    assert!(bo.fetched(sent.id).await.unwrap() == photo(900, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn photos_are_destroyed_where_the_order_says_so() {
    let (rig, ana, _bo) = stage().await;
    let visit = ana.visit();
    ana.add(visit, &photo(900, 1));
    ana.add(visit, &photo(PART, 2));
    let proposal = rig.admin.propose_wipe(rig.actor, ana.id, "seized", true).unwrap();
    let approver = &rig.server.first_keys().unwrap().approver;
    rig.admin.approve_wipe(proposal.id, approver.id(), &proposal.sign(approver).unwrap()).unwrap();
    ana.wiped().await;
    assert_eq!(receipt(&rig, &ana), (0, 2));
    assert!(rig.admin.rescue_waiting().unwrap().is_empty());
    assert_eq!(standing(&rig, &ana), PhotoStanding::default());
}
