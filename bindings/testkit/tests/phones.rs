//! The kit from the other side: the core's own client, over its own sockets and TLS.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]

use roundsman_core::platform::{OsEntropy, SoftwareKeys};
use roundsman_core::vault::{KdfCost, Passcode};
use roundsman_core::{Client, Config, Error};
use roundsman_kit::{Fate, KitNetwork, KitServer};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::timeout;
use uuid::Uuid;

struct Office {
    server: Arc<KitServer>,
    rep: Uuid,
    folder: TempDir,
}

impl Office {
    fn open() -> Self {
        let server = KitServer::start().unwrap();
        let rep = server.add_rep("ana".to_owned(), vec!["NJ".to_owned()]).unwrap();
        server.import_customers("code,name,territory\nS1,Ocean Deli,NJ\n".to_owned()).unwrap();
        Self { server, rep, folder: TempDir::new().unwrap() }
    }

    async fn phone(&self, name: &str) -> (Client, Arc<KitNetwork>) {
        let network = self.server.network().unwrap();
        let place = self.folder.path().join(name);
        let keys = SoftwareKeys::new(place.join("keys"), Arc::new(OsEntropy));
        let config = Config {
            device_name: name.to_owned(),
            cost: Some(KdfCost::FLOOR),
            ..Config::new(place.join("vault"), Arc::new(keys))
        };
        let phone = Client::open(config).unwrap();
        let ticket = network.ticket(self.rep).unwrap();
        phone.enrol(&ticket, &Passcode::new("copper Kayak 27").unwrap()).await.unwrap();
        phone.sync(&()).await.unwrap();
        (phone, network)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_is_cut_ends_open_connections_and_those_of_no_other_phone() {
    let office = Office::open();
    let (ana, tunnel) = office.phone("ana").await;
    let (bo, _) = office.phone("bo").await;
    tunnel.next(Fate::HangBefore);
    // Much sooner than the client gives a silent server up.
    let cut = timeout(Duration::from_secs(10), ana.sync(&()));
    let (cut, ()) = tokio::join!(cut, async {
        tunnel.hangs().await;
        tunnel.offline(true);
    });
    assert!(matches!(cut, Ok(Err(Error::Offline))));
    assert!(matches!(ana.sync(&()).await, Err(Error::Offline)));
    bo.sync(&()).await.unwrap();
    tunnel.heal();
    ana.sync(&()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_meets_its_fate_and_is_counted() {
    let office = Office::open();
    let (ana, network) = office.phone("ana").await;
    let before = network.requests();
    for fate in [Fate::LoseRequest, Fate::LoseAnswer, Fate::Late, Fate::CutAnswer { bytes: 1 }] {
        network.next(fate);
        assert!(ana.sync(&()).await.is_err(), "{fate:?}");
    }
    assert_eq!(network.requests() - before, 4);
    network.next(Fate::Double);
    ana.sync(&()).await.unwrap();
    assert_eq!(network.requests() - before, 5);
    network.next(Fate::LoseRequest);
    network.forget_next();
    ana.sync(&()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_that_knows_another_network_does_not_trust_this_one() {
    let (office, other) = (Office::open(), Office::open());
    let (here, there) = (office.server.network().unwrap(), other.server.network().unwrap());
    // The code of one office, and the address of the other.
    let mut ticket =
        roundsman_protocol::ticket::Ticket::from_text(&here.ticket(office.rep).unwrap()).unwrap();
    ticket.url = there.url();
    let keys = SoftwareKeys::new(office.folder.path().join("keys"), Arc::new(OsEntropy));
    let phone = Client::open(Config::new(office.folder.path().join("vault"), Arc::new(keys))).unwrap();
    let enrolled = phone.enrol(&ticket.to_text(), &Passcode::new("copper Kayak 27").unwrap()).await;
    assert!(matches!(enrolled, Err(Error::WrongPin)));
}

#[test]
fn time_stands_still_until_it_is_moved() {
    let server = KitServer::start().unwrap();
    let (now, elapsed) = (server.now(), server.elapsed());
    assert_eq!((server.now(), server.elapsed()), (now, elapsed));
    server.advance(Duration::from_mins(1));
    assert_eq!((server.now() - now).num_seconds(), 60);
    assert_eq!(server.elapsed(), elapsed + Duration::from_mins(1));
}
