//! Two instances of the server on one PostgreSQL, and phones that meet now one and now the other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]

use roundsman_core::model::visit::Outcome;
use roundsman_core::{Client, Ended, Heard, Listening, State, Watcher};
use roundsman_server::admin::{DeviceStatus, Mapping, NewUser, TerritoryFrom};
use roundsman_server::storage::StorageError;
use roundsman_server::{Admin, Config, Database, Server, StartError};
use roundsman_tests::balancer::Balancer;
use roundsman_tests::postgres::{again, empty_database};
use roundsman_tests::rig::{passcode, phone_config, server_config};
use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

fn config(data: &Path, database: &Database, listen: SocketAddr, public_url: Option<String>) -> Config {
    Config { database: Some(again(database)), listen, public_url, ..server_config(data) }
}

/// An address that is free now.
fn free() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap()
}

/// What a further instance needs of the first one's data folder.
fn share(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in ["server.key", "tls.crt", "tls.key"] {
        fs::copy(from.join(file), to.join(file)).unwrap();
    }
}

fn import(admin: &Admin, csv: &str) {
    let headers: Vec<String> = csv.lines().next().unwrap().split(',').map(str::to_owned).collect();
    let mut mapping = Mapping::guess(&headers);
    mapping.territory = TerritoryFrom::Fixed("NJ".to_owned());
    admin.import_customers(Admin::OPERATOR, csv.as_bytes(), &mapping, &mut |_| {}).unwrap();
}

async fn enrolled(admin: &Admin, disk: &Path, name: &str) -> Client {
    let user = NewUser {
        email: format!("{name}@example.com"),
        name: name.to_owned(),
        role: roundsman_model::Role::Rep,
        territories: vec!["NJ".to_owned()],
        password: None,
    };
    let rep = admin.add_user(Admin::OPERATOR, user).unwrap();
    let phone = Client::open(phone_config(&disk.join(name), name)).unwrap();
    phone.enrol(&admin.issue_ticket(Admin::OPERATOR, rep).unwrap().text, &passcode()).await.unwrap();
    phone
}

fn visit(phone: &Client, notes: &str) {
    let store = phone.customers().unwrap().list(None, 1).unwrap().remove(0);
    let visits = phone.visits().unwrap();
    let visit = visits.start(store.id, None).unwrap();
    visits.write(visit.id, Some(notes.to_owned()), None).unwrap();
    visits.check_out(visit.id, Outcome::NoOrder, None).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn phones_that_alternate_between_two_instances_lose_nothing_and_send_nothing_twice() {
    let (disk, database) = (tempfile::tempdir().unwrap(), empty_database());
    let (data, further) = (disk.path().join("one"), disk.path().join("two"));
    let at = [free(), free()];
    let balancer = Balancer::start(at[0]).await;
    let one = Server::start(config(&data, &database, at[0], Some(balancer.url()))).await.unwrap();

    // The second one needs the first one's key and certificate, and says so.
    fs::create_dir_all(&further).unwrap();
    let missing = Server::start(config(&further, &database, at[1], None)).await;
    assert!(matches!(missing, Err(StartError::KeyMissing)));
    fs::copy(data.join("server.key"), further.join("server.key")).unwrap();
    let missing = Server::start(config(&further, &database, at[1], None)).await;
    assert!(matches!(missing, Err(StartError::CertificateMissing)));
    fs::write(further.join("server.key"), "00".repeat(32)).unwrap();
    let wrong = Server::start(config(&further, &database, at[1], None)).await;
    assert!(matches!(wrong, Err(StartError::Storage(StorageError::WrongKey))));
    share(&data, &further);
    let two = Server::start(config(&further, &database, at[1], None)).await.unwrap();
    assert_eq!((two.url(), two.pin()), (one.url(), one.pin()));
    assert!(one.first_keys().is_some() && two.first_keys().is_none(), "one organisation");
    let admins = [one.admin(), two.admin()];

    import(&admins[0], "code,name\nS1,Store One\nS2,Store Two\n");
    // The ticket of the one is taken by the other.
    balancer.choose(at[1]);
    let ana = enrolled(&admins[0], disk.path(), "ana").await;
    balancer.choose(at[0]);
    let bo = enrolled(&admins[1], disk.path(), "bo").await;
    for phone in [&ana, &bo] {
        phone.sync(&()).await.unwrap();
        assert_eq!(phone.customers().unwrap().list(None, 9).unwrap().len(), 2);
    }

    let mut expected = BTreeSet::new();
    for round in 0..12 {
        for (name, phone) in [("ana", &ana), ("bo", &bo)] {
            let notes = format!("{name} {round}");
            visit(phone, &notes);
            expected.insert(notes);
        }
        import(&admins[round % 2], &format!("code,name\nR{round},Round {round}\n"));
        for (turn, phone) in [&ana, &bo].into_iter().enumerate() {
            balancer.choose(at[(round + turn) % 2]);
            let report = phone.sync(&()).await.unwrap();
            assert_eq!((report.rejected, report.conflicts), (0, 0), "round {round}");
            assert_eq!(phone.outbox().unwrap().count().unwrap(), 0);
            let stores = phone.customers().unwrap().list(None, 99).unwrap().len();
            assert_eq!(stores, 3 + round, "round {round}: a store that came at the other instance");
        }
    }
    // Exactly once: every visit, and no other, at both.
    for admin in &admins {
        let notes: Vec<String> =
            admin.recent_visits(99).unwrap().into_iter().filter_map(|visit| visit.notes).collect();
        assert_eq!(notes.len(), expected.len());
        assert_eq!(notes.into_iter().collect::<BTreeSet<_>>(), expected);
    }
    // Cursors hold at both: what is known is not sent again. The first of these brings what the other phone did last.
    for phone in [&ana, &bo] {
        for instance in [at[0], at[1]] {
            balancer.choose(instance);
            phone.sync(&()).await.unwrap();
        }
        for instance in [at[0], at[1]] {
            balancer.choose(instance);
            let quiet = phone.sync(&()).await.unwrap();
            assert_eq!((quiet.sent, quiet.received), (0, 0));
        }
    }

    // A command that was given at the one comes from the other.
    let device = admins[0].devices().unwrap().into_iter().find(|device| device.name == "ana").unwrap().id;
    admins[0].lock(Admin::OPERATOR, device, "left in a taxi").unwrap();
    balancer.choose(at[1]);
    ana.check_in().await.unwrap();
    assert_eq!(ana.state(), State::Locked { soft: false });
    balancer.choose(at[0]);
    admins[1].unlock(Admin::OPERATOR, device).unwrap();
    ana.check_in().await.unwrap();
    assert_eq!(ana.state(), State::Closed);
    ana.unlock(&passcode()).unwrap();
    ana.sync(&()).await.unwrap();
    let status = admins[1].devices().unwrap().into_iter().find(|view| view.id == device).unwrap().state;
    assert_eq!(status, DeviceStatus::Active);
    assert!(admins[0].alerts(9).unwrap().is_empty(), "nobody was taken for a copy");

    // The one stops; the other goes on alone, and so does the command line beside it.
    one.stop().await;
    balancer.choose(at[1]);
    visit(&bo, "alone");
    bo.sync(&()).await.unwrap();
    let operator = Admin::open_on(&further, Some(&again(&database))).unwrap();
    assert!(operator.recent_visits(1).unwrap()[0].notes.as_deref() == Some("alone"));
    two.stop().await;
}

/// Tells when a phone that listens is connected.
struct Connected(tokio::sync::mpsc::UnboundedSender<()>);

impl Watcher for Connected {
    fn heard(&self, heard: &Heard<'_>) {
        if let Heard::Connected = heard {
            let _gone = self.0.send(());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wipe_ordered_at_one_instance_reaches_a_phone_that_listens_at_the_other() {
    let (disk, database) = (tempfile::tempdir().unwrap(), empty_database());
    let (data, further) = (disk.path().join("one"), disk.path().join("two"));
    let at = [free(), free()];
    let balancer = Balancer::start(at[0]).await;
    let one = Server::start(config(&data, &database, at[0], Some(balancer.url()))).await.unwrap();
    share(&data, &further);
    let two = Server::start(config(&further, &database, at[1], None)).await.unwrap();
    balancer.choose(at[1]);
    let phone = enrolled(&two.admin(), disk.path(), "ana").await;
    phone.sync(&()).await.unwrap();
    let (sender, mut connected) = tokio::sync::mpsc::unbounded_channel();
    let listening = tokio::spawn({
        let phone = phone.clone();
        async move { phone.listen(&Listening::new(), &Connected(sender)).await }
    });
    let soon = std::time::Duration::from_mins(1);
    tokio::time::timeout(soon, connected.recv()).await.unwrap().unwrap();

    let admin = one.admin();
    let device = admin.devices().unwrap()[0].id;
    let ordered = std::time::Instant::now();
    let proposal = admin.propose_wipe(Admin::OPERATOR, device, "left in a taxi", false).unwrap();
    let approver = &one.first_keys().unwrap().approver;
    admin.approve_wipe(proposal.id, approver.id(), &proposal.sign(approver).unwrap()).unwrap();
    let ended = tokio::time::timeout(soon, listening).await.unwrap().unwrap().unwrap();
    println!("wiped, and proven, {:?} after the order", ordered.elapsed());
    assert_eq!((ended, phone.state()), (Ended::Wiped, State::Wiped));
    assert_eq!(admin.devices().unwrap()[0].state, DeviceStatus::Wiped);
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_alone_tells_no_secret_of_the_server() {
    let (disk, database) = (tempfile::tempdir().unwrap(), empty_database());
    let data = disk.path().join("one");
    let server = Server::start(config(&data, &database, free(), None)).await.unwrap();
    let second_factor = server.first_admin().unwrap().totp_secret.clone();
    let dump = std::process::Command::new("pg_dump").arg(database.url.expose()).output().unwrap();
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    let dump = String::from_utf8(dump.stdout).unwrap();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    assert!(dump.contains("command_key") && dump.contains("release_key"), "the settings are there");
    let mut secrets = vec![hex(second_factor.as_bytes()), hex(b"Garden State Snacks"), second_factor];
    secrets.push(fs::read_to_string(data.join("server.key")).unwrap());
    for secret in secrets {
        assert!(!dump.contains(&secret));
    }
    server.stop().await;
}
