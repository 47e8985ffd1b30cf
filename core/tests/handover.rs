//! During a wipe the app hands the sealed outbox to the server, over a network that loses answers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

mod vault_kit;

use async_trait::async_trait;
use bytes::Bytes;
use roundsman_core::customers::Customers;
use roundsman_core::platform::{Body, OsEntropy, Request, Response, Transport, TransportError};
use roundsman_core::protocol::receipt::{Progress, Rescue};
use roundsman_core::protocol::rescue::{RescueAnswer, Segment, SignedSegment};
use roundsman_core::{Client, Config, State};
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use vault_kit::{Office, Phone};

/// The office behind a network.
struct Wire {
    office: Mutex<Office>,
    /// The paths that were asked for.
    asked: Mutex<Vec<String>>,
    /// How many answers about segments are lost.
    losses: Mutex<u32>,
}

struct Whole(Option<Bytes>);

#[async_trait]
impl Body for Whole {
    async fn chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        Ok(self.0.take())
    }
}

fn json(value: &impl Serialize) -> Response {
    let body = Box::new(Whole(Some(serde_json::to_vec(value).unwrap().into())));
    Response { status: 200, dpop_nonce: None, retry_after_s: None, body }
}

#[async_trait]
impl Transport for Wire {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let mut office = self.office.lock().unwrap();
        let path = request.url.strip_prefix("https://roundsman.example").unwrap();
        self.asked.lock().unwrap().push(path.to_owned());
        assert!(request.headers.iter().any(|(name, _)| *name == "dpop"), "it proves the device's key");
        if path == "/v1/device/checkin" {
            return Ok(json(&office.answer(&serde_json::from_slice(&request.body).unwrap())));
        }
        assert_eq!(path, "/v1/device/rescue");
        assert!(request.headers.contains(&("content-type", "application/octet-stream".to_owned())));
        office.take_segment(&request.body);
        let mut losses = self.losses.lock().unwrap();
        if *losses > 0 {
            *losses -= 1;
            return Err(TransportError::Offline);
        }
        let segment = SignedSegment::open(&request.body, office.device_key()).unwrap();
        Ok(json(&RescueAnswer { stored: Segment::read(&segment).unwrap().head.segment }))
    }
}

#[tokio::test]
async fn a_wiped_app_sends_its_unsent_work_until_the_server_has_it() {
    let mut office = Office::new();
    let phone = Phone::enrolled(&mut office);
    let mut unsent = BTreeSet::new();
    for session in 0..2 {
        let app = phone.start().unwrap();
        let store =
            Arc::new(if session == 0 { app.make_store(&office) } else { app.open_store(&office).unwrap() });
        let customers = Customers::new(store.clone(), phone.clock.clone(), Arc::new(OsEntropy));
        customers.add(&customers.draft("C1", "Corner", "nj").unwrap()).unwrap();
        unsent.extend(store.pending(9).unwrap().into_iter().map(|mutation| mutation.id));
        store.close();
    }
    let kind = office.wipe();
    office.order(kind);
    let wire = Arc::new(Wire { office: Mutex::new(office), asked: Mutex::default(), losses: Mutex::new(2) });
    let config = Config {
        clock: phone.clock.clone(),
        disk: phone.disk.clone(),
        transport: wire.clone(),
        ..Config::new(phone.dir(), phone.keys.clone())
    };
    let client = Client::open(config).unwrap();
    for lost in 0..2 {
        client.check_in().await.unwrap();
        assert_eq!(client.state(), State::Wiping, "{lost} answers were lost before");
    }
    client.check_in().await.unwrap();
    assert_eq!((client.state(), phone.files()), (State::Wiped, vec!["tombstone".to_owned()]));
    let asked = wire.asked.lock().unwrap();
    assert_eq!(asked.iter().filter(|path| path.ends_with("rescue")).count(), 4, "two lost, two stored");
    let office = wire.office.lock().unwrap();
    assert_eq!((office.proven(), office.rescued()), (vec!["shredded", "complete"], unsent));
    assert!(matches!(
        office.receipts[1].progress,
        Progress::Complete {
            rescue: Rescue { segments: 2, discarded: 0, photos: 0, photos_discarded: 0 },
            ..
        }
    ));
}
