//! A phone that listens hears of changes and commands by itself, wherever they are made.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]

use async_trait::async_trait;
use roundsman_core::model::visit::Outcome;
use roundsman_core::platform::{Body, Request, Response, Transport, TransportError};
use roundsman_core::store::{Changed, Observer};
use roundsman_core::{Client, Config, Ended, Heard, Listening, State, Watcher};
use roundsman_server::Admin;
use roundsman_tests::balancer::Balancer;
use roundsman_tests::rig::{Rig, passcode, phone_config};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

/// Much longer than anything takes: a test must not depend on the machine's speed.
const PATIENCE: Duration = Duration::from_mins(1);

async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("{what}: it did not happen"))
}

/// What a phone that listens hears, by name.
struct Ear(mpsc::UnboundedSender<&'static str>);

impl Watcher for Ear {
    fn heard(&self, heard: &Heard<'_>) {
        let _gone = self.0.send(match heard {
            Heard::Connected => "connected",
            Heard::Offline { .. } => "offline",
            Heard::Syncing => "syncing",
            Heard::Synced(_) => "synced",
            Heard::Failed(_) => "failed",
            Heard::Device(_) => "device",
        });
    }
}

/// A phone that listens.
struct Listener {
    control: Listening,
    heard: mpsc::UnboundedReceiver<&'static str>,
    task: JoinHandle<Result<Ended, roundsman_core::Error>>,
}

impl Listener {
    fn start(phone: &Client) -> Self {
        let (sender, heard) = mpsc::unbounded_channel();
        let (control, phone) = (Listening::new(), phone.clone());
        let own = control.clone();
        let task = tokio::spawn(async move { phone.listen(&own, &Ear(sender)).await });
        Self { control, heard, task }
    }

    async fn hears(&mut self, what: &'static str) {
        soon(what, async { while self.heard.recv().await.expect("it listens") != what {} }).await;
    }

    async fn ended(self) -> Ended {
        soon("the end", self.task).await.unwrap().unwrap()
    }

    async fn stop(self) {
        self.control.stop();
        assert_eq!(self.ended().await, Ended::Stopped);
    }
}

/// Says when records of an entity changed.
struct Watch(&'static str, mpsc::UnboundedSender<()>);

impl Observer for Watch {
    fn changed(&self, changed: &Changed) {
        if changed.entity == self.0 {
            let _gone = self.1.send(());
        }
    }
}

fn visit(phone: &Client, notes: &str) {
    let customer = phone.customers().unwrap().list(None, 1).unwrap()[0].id;
    let visits = phone.visits().unwrap();
    let visit = visits.start(customer, None).unwrap();
    visits.write(visit.id, Some(notes.to_owned()), None).unwrap();
    visits.check_out(visit.id, Outcome::NoOrder, None).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_phone_sends_is_seen_on_another_that_listens() {
    let rig = Rig::start().await;
    rig.import_stores(3);
    let (ana, bo) = (rig.enrolled("ana").await, rig.enrolled("bo").await);
    let mut listener = Listener::start(&bo);
    listener.hears("synced").await;
    let (sender, mut seen) = mpsc::unbounded_channel();
    let _watching = bo.observe(Arc::new(Watch("visit", sender))).unwrap();
    for round in 0..5 {
        visit(&ana, &format!("round {round}"));
        let begun = Instant::now();
        ana.sync(&()).await.unwrap();
        let sent = begun.elapsed();
        soon("the visit on the other phone", seen.recv()).await.unwrap();
        println!("sent after {sent:?}, seen by the other after {:?}", begun.elapsed());
        while seen.try_recv().is_ok() {}
        listener.hears("synced").await;
    }
    // A second one does not listen beside the first.
    assert_eq!(bo.listen(&Listening::new(), &()).await.unwrap(), Ended::Already);
    listener.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wipe_reaches_a_phone_that_listens_open_or_closed() {
    let rig = Rig::start().await;
    rig.import_stores(3);
    for (name, closed) in [("ana", false), ("bo", true)] {
        let phone = rig.enrolled(name).await;
        if closed {
            phone.lock();
        }
        let mut listener = Listener::start(&phone);
        listener.hears("connected").await;
        let ordered = Instant::now();
        rig.wipe(rig.device(name).id, "left in a taxi");
        listener.hears("device").await;
        println!("{name}: heard and obeyed {:?} after the order", ordered.elapsed());
        assert_eq!(listener.ended().await, Ended::Wiped);
        assert_eq!(phone.state(), State::Wiped);
        assert_eq!(rig.device(name).state, roundsman_server::admin::DeviceStatus::Wiped, "with its proof");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_from_the_command_line_reaches_a_phone_that_listens_and_so_does_the_unlock() {
    let rig = Rig::start().await;
    rig.import_stores(3);
    let phone = rig.enrolled("ana").await;
    let mut listener = Listener::start(&phone);
    listener.hears("synced").await;
    // The command line opens the same database beside the running server, in a process of its own.
    let operator = Admin::open(&rig.disk.path().join("server")).unwrap();
    let device = rig.device("ana").id;
    let ordered = Instant::now();
    operator.lock(Admin::OPERATOR, device, "left in a taxi").unwrap();
    listener.hears("device").await;
    println!("heard and obeyed {:?} after the order", ordered.elapsed());
    assert_eq!(phone.state(), State::Locked { soft: false });
    operator.unlock(Admin::OPERATOR, device).unwrap();
    listener.hears("device").await;
    assert_eq!(phone.state(), State::Closed);
    // The passcode opens it, and it listens for changes again.
    phone.unlock(&passcode()).unwrap();
    listener.hears("synced").await;
    let (sender, mut seen) = mpsc::unbounded_channel();
    let _watching = phone.observe(Arc::new(Watch("customer", sender))).unwrap();
    rig.import("code,name\nN1,New Store\n");
    soon("the new store", seen.recv()).await.unwrap();
    listener.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_is_cut_is_opened_again_and_brings_what_was_missed() {
    let address = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let nowhere = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let balancer = Balancer::start(address).await;
    let rig = Rig::start_at(address, Some(balancer.url())).await;
    rig.import_stores(3);
    let phone = rig.enrolled("ana").await;
    let mut listener = Listener::start(&phone);
    listener.hears("synced").await;
    balancer.choose(nowhere);
    listener.hears("offline").await;
    let (sender, mut seen) = mpsc::unbounded_channel();
    let _watching = phone.observe(Arc::new(Watch("customer", sender))).unwrap();
    rig.import("code,name\nN1,New Store\n");
    assert!(seen.try_recv().is_err());
    balancer.choose(address);
    listener.control.try_now();
    listener.hears("connected").await;
    soon("the new store", seen.recv()).await.unwrap();
    // A server that stops does not wait for those who listen.
    let stopped = Instant::now();
    rig.server.stop().await;
    println!("the server stopped after {:?}", stopped.elapsed());
    listener.hears("offline").await;
    listener.stop().await;
}

/// Counts requests to a path, and can hold the first one until it is dropped.
struct Counting {
    real: Arc<dyn Transport>,
    path: &'static str,
    sent: AtomicUsize,
    hold_first: bool,
    held: Notify,
}

#[async_trait]
impl Transport for Counting {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        if request.url.ends_with(self.path) {
            let first = self.sent.fetch_add(1, Ordering::SeqCst) == 0;
            if first && self.hold_first {
                self.held.notify_one();
                std::future::pending::<()>().await;
            }
        }
        self.real.send(request).await
    }
}

/// A phone that is enrolled and whose requests to a sync are counted.
async fn counted(rig: &Rig, name: &str, hold_first: bool) -> (Client, Arc<Counting>) {
    let config = phone_config(&rig.disk.path().join(name), name);
    let counting = Arc::new(Counting {
        real: Arc::clone(&config.transport),
        path: "/v1/sync",
        sent: AtomicUsize::new(0),
        hold_first,
        held: Notify::new(),
    });
    let phone = Client::open(Config { transport: counting.clone(), ..config }).unwrap();
    phone.enrol(&rig.ticket(rig.rep(name)), &passcode()).await.unwrap();
    (phone, counting)
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_wait_for_a_sync_share_the_next_one() {
    let rig = Rig::start().await;
    rig.import_stores(3);
    let (phone, counting) = counted(&rig, "ana", false).await;
    let calls: Vec<_> = (0..10)
        .map(|_| {
            let phone = phone.clone();
            async move { phone.sync(&()).await }
        })
        .collect();
    let mut all = tokio::task::JoinSet::new();
    for call in calls {
        all.spawn(call);
    }
    while let Some(done) = all.join_next().await {
        done.unwrap().unwrap();
    }
    let sent = counting.sent.load(Ordering::SeqCst);
    // One, and one more for those who came while it ran; again if some came only then.
    assert!((1..=5).contains(&sent), "{sent} requests for ten calls");
    assert_eq!(phone.customers().unwrap().count().unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_gets_no_answer_steps_aside_for_a_check_in_and_goes_on() {
    let rig = Rig::start().await;
    rig.import_stores(3);
    let (phone, counting) = counted(&rig, "ana", true).await;
    let syncing = tokio::spawn({
        let phone = phone.clone();
        async move { phone.sync(&()).await }
    });
    soon("the sync's request", counting.held.notified()).await;
    soon("the check-in", phone.check_in()).await.unwrap();
    let report = soon("the sync", syncing).await.unwrap().unwrap();
    assert_eq!(report.received, 3);
    assert_eq!(counting.sent.load(Ordering::SeqCst), 2);
}

/// Answers as a server that is busy, once it is told to.
struct Busy {
    real: Arc<dyn Transport>,
    asks_s: Mutex<Option<u64>>,
}

struct Empty;

#[async_trait]
impl Body for Empty {
    async fn chunk(&mut self) -> Result<Option<bytes::Bytes>, TransportError> {
        Ok(None)
    }
}

#[async_trait]
impl Transport for Busy {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let asks = *self.asks_s.lock().unwrap();
        match asks {
            None => self.real.send(request).await,
            asks => {
                Ok(Response { status: 503, dpop_nonce: None, retry_after_s: asks, body: Box::new(Empty) })
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_from_the_background_ends_in_time_and_says_when_to_come_again() {
    let rig = Rig::start().await;
    rig.import_stores(3);
    let config = phone_config(&rig.disk.path().join("ana"), "ana");
    let busy = Arc::new(Busy { real: Arc::clone(&config.transport), asks_s: Mutex::new(None) });
    let phone = Client::open(Config { transport: busy.clone(), ..config }).unwrap();
    phone.enrol(&rig.ticket(rig.rep("ana")), &passcode()).await.unwrap();

    let woken = phone.background_sync(PATIENCE).await.unwrap();
    assert!(woken.done && woken.report.is_some_and(|report| report.received == 3));
    assert!(woken.next.after >= Duration::from_mins(15));

    // A server that asks for an hour is not asked again before, however long the host would wait.
    *busy.asks_s.lock().unwrap() = Some(3_600);
    let woken = soon("the end of it", phone.background_sync(Duration::from_mins(30))).await.unwrap();
    assert!(!woken.done && woken.report.is_none());
    assert!(woken.next.after >= Duration::from_hours(1));
    *busy.asks_s.lock().unwrap() = None;

    // A push message wakes a closed vault for a command; what is no poke wakes nobody.
    phone.lock();
    rig.admin.lock(rig.actor, rig.device("ana").id, "left in a taxi").unwrap();
    for junk in [&b""[..], b"wipe", br#"{"wipe":true}"#, br#"{"poke":"here"}"#] {
        assert_eq!(phone.handle_push(junk).await.unwrap(), None);
    }
    assert_eq!(phone.state(), State::Closed);
    let woken = phone.handle_push(br#"{"poke":"check_in"}"#).await.unwrap().unwrap();
    assert!(woken.done && woken.report.is_none());
    assert_eq!(woken.events, [roundsman_core::device::DeviceEvent::Locked]);
    assert_eq!(phone.state(), State::Locked { soft: false });
}
