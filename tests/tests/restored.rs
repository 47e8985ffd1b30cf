//! A server whose disk was lost and whose backup was put back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]

use roundsman_core::model::visit::Outcome;
use roundsman_core::{Client, State};
use roundsman_server::{Admin, Config, Server};
use roundsman_tests::rig::Rig;
use std::fs;
use std::path::Path;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

async fn start(data: &Path, url: &str) -> Server {
    let config = Config {
        data_dir: data.to_owned(),
        database: None,
        attachments: roundsman_server::AttachmentConfig::default(),
        listen: url.replace("https://localhost", "127.0.0.1").parse().unwrap(),
        public_url: Some(url.to_owned()),
        org_name: String::new(),
        anchors: None,
        first_admin: None,
    };
    Server::start(config).await.unwrap()
}

fn visit(phone: &Client, notes: &str) {
    let store = phone.customers().unwrap().list(None, 1).unwrap().remove(0);
    let visits = phone.visits().unwrap();
    let visit = visits.start(store.id, None).unwrap();
    visits.write(visit.id, Some(notes.to_owned()), None).unwrap();
    visits.check_out(visit.id, Outcome::NoOrder, None).unwrap();
}

fn notes(admin: &Admin) -> Vec<String> {
    let mut notes: Vec<_> =
        admin.recent_visits(99).unwrap().into_iter().filter_map(|visit| visit.notes).collect();
    notes.sort();
    notes
}

#[tokio::test(flavor = "multi_thread")]
async fn phones_go_on_with_a_server_that_was_put_back_from_a_backup() {
    let rig = Rig::start().await;
    rig.import_stores(3);
    let phone = rig.enrolled("ana").await;
    visit(&phone, "before");
    phone.sync(&()).await.unwrap();
    let Rig { server, admin, disk, .. } = rig;
    let (data, backup, url) =
        (disk.path().join("server"), disk.path().join("backup"), server.url().to_owned());
    drop(admin);
    server.stop().await;
    copy(&data, &backup);
    let server = start(&data, &url).await;
    visit(&phone, "after the backup");
    phone.sync(&()).await.unwrap();
    server.stop().await;

    fs::remove_dir_all(&data).unwrap();
    copy(&backup, &data);
    Admin::open(&data).unwrap().trust_turns_anew(Admin::OPERATOR).unwrap();
    let server = start(&data, &url).await;
    visit(&phone, "later");
    phone.sync(&()).await.unwrap();
    assert_eq!((phone.state(), phone.outbox().unwrap().count().unwrap()), (State::Open, 0));
    assert_eq!(server.admin().alerts(9).unwrap().len(), 0);
    assert_eq!(notes(&server.admin()), ["before", "later"]);
    // What came after the backup is on the phone still; the office has to be told by hand.
    let round = phone.visits().unwrap().round(chrono::Utc::now().date_naive()).unwrap();
    assert_eq!(round.len(), 3);
    visit(&phone, "last");
    phone.sync(&()).await.unwrap();
    assert_eq!(notes(&server.admin()), ["before", "last", "later"]);
}
