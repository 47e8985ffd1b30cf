//! Damage of every sort, planted on a phone, on its server, in an index, in a file and in a log: a check of everything
//! names it, what can be mended is, and what the phone holds is what the server has.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]

use roundsman_core::attachments::{AttachedTo, AttachmentError, AttachmentKind, NewAttachment};
use roundsman_core::protocol::audit::AuditError;
use roundsman_core::simulation::{PhoneRow, behind, rows};
use roundsman_core::store::StoreError;
use roundsman_core::verify::{Fault, Finding, Part, ToDo, Verified, VerifyProgress};
use roundsman_core::{Client, Error};
use roundsman_model::Bucket;
use roundsman_server::admin::{AlertKind, Mapping, TerritoryFrom};
use roundsman_server::verify::FindingKind;
use roundsman_server::{Admin, Config, Database, Server};
use roundsman_tests::canary::files;
use roundsman_tests::postgres::{again, empty_database};
use roundsman_tests::rig::{Rig, server_config};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use uuid::Uuid;

/// What is on the phone and what has come of its server's log, row by row.
fn held(phone: &Client) -> Vec<PhoneRow> {
    rows(phone).unwrap()
}

async fn check(phone: &Client) -> Verified {
    phone.verify(&()).await.unwrap()
}

async fn found(phone: &Client) -> Vec<Finding> {
    check(phone).await.findings
}

fn store(phone: &Client, name: &str) -> Uuid {
    phone.customers().unwrap().search(name, 1).unwrap().remove(0).id
}

fn photo(phone: &Client, of: Uuid, content: &[u8]) -> Uuid {
    let new = NewAttachment::new(
        AttachedTo::Customer(of),
        AttachmentKind::File,
        "application/octet-stream",
        content.len() as u64,
    );
    phone.attachments().unwrap().add(&new, &mut &content[..]).unwrap().id
}

fn sealed_files(rig: &Rig, phone: &str) -> Vec<PathBuf> {
    let all = files(&rig.disk.path().join(phone).join("vault"));
    let sealed = |file: &PathBuf| {
        file.components().any(|part| part.as_os_str() == "att") && file.extension().is_none()
    };
    all.into_iter().filter(sealed).collect()
}

/// Follows a check.
#[derive(Default)]
struct Steps(Mutex<Vec<Part>>);

impl VerifyProgress for Steps {
    fn checked(&self, part: Part, done: u64, of: u64) {
        assert!(done <= of.max(1));
        let mut steps = self.0.lock().unwrap();
        if steps.last() != Some(&part) {
            steps.push(part);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_system_reports_nothing_and_says_what_was_checked() {
    let rig = Rig::start().await;
    rig.import_stores(40);
    let phone = rig.enrolled("ana").await;
    let content = vec![7; 300_000];
    photo(&phone, store(&phone, "store 7"), &content);
    phone.sync(&()).await.unwrap();
    phone.send_attachments(&()).await.unwrap();
    let visits = phone.visits().unwrap();
    visits.start(store(&phone, "store 3"), None).unwrap();

    let steps = Steps::default();
    let checked = phone.verify(&steps).await.unwrap();
    assert!(checked.is_sound(), "{:?}", checked.findings);
    assert_eq!(
        *steps.0.lock().unwrap(),
        [Part::Store, Part::Search, Part::Outbox, Part::Audit, Part::Attachments, Part::Server]
    );
    assert_eq!((checked.rows, checked.changes), (42, 1));
    assert_eq!((checked.attachments, checked.attachment_bytes), (1, 300_000));
    assert!(checked.searchable >= 40 && checked.audit_entries > 0);
    let compared = checked.server.unwrap();
    assert_eq!(compared.unknown, 0);
    assert!(compared.buckets >= 1);

    let report = rig.admin.verify(true, &mut |_, _| {}).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
    assert_eq!((report.checked.contents, report.checked.content_bytes), (1, 300_000));
    assert!(rig.admin.alerts(9).unwrap().is_empty());

    // Without a network everything here is checked all the same.
    rig.server.stop().await;
    let alone = check(&phone).await;
    assert!(alone.is_sound() && matches!(alone.server, Err(Error::Offline)), "{alone:?}");
    phone.lock();
    assert!(matches!(phone.verify(&()).await, Err(Error::Locked)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_only_the_servers_sum_tells_of_is_healed_and_the_office_is_told() {
    let rig = Rig::start().await;
    rig.import_stores(12);
    let phone = rig.enrolled("ana").await;
    let visits = phone.visits().unwrap();
    let visit = visits.start(store(&phone, "store 3"), None).unwrap().id;
    let before = held(&phone);
    for (sql, search) in [
        // Not one that is searched by: nothing on the phone tells of it.
        ("UPDATE customer SET lat = 1.5 WHERE name = 'Store 5'", false),
        ("DELETE FROM customer WHERE name = 'Store 7'", true),
        (
            "INSERT INTO customer (id, _rev, _bucket, _state, code, name, _folded_name, territory)
             VALUES (x'0000000000000000000000000000ffff', 1, 'territory/NJ', 0, 'X', 'Nobody', 'nobody', 'NJ')",
            true,
        ),
    ] {
        assert_eq!(behind(&phone, sql).unwrap(), 1);
        phone.check_store().expect("the digests were kept in step");
        assert!(held(&phone) != before);
        let findings = found(&phone).await;
        let bucket = Finding { fault: Fault::Bucket { bucket: Bucket::territory("NJ") }, mended: true };
        assert!(findings.contains(&bucket), "{sql}: {findings:?}");
        assert_eq!(findings.iter().any(|found| matches!(found.fault, Fault::Search { .. })), search, "{sql}");
        assert!(findings.iter().all(|found| found.mended && found.to_do() == ToDo::Nothing));
        assert!(found(&phone).await.is_empty(), "{sql}: nothing is left to be found");
    }
    // The visit was unsent at first, and has gone up with the first check.
    let now: Vec<_> = held(&phone).into_iter().filter(|row| row.entity == "customer").collect();
    let then: Vec<_> = before.into_iter().filter(|row| row.entity == "customer").collect();
    assert!(now == then, "what the server has");
    assert!(
        rig.admin.recent_visits(9).unwrap().iter().any(|known| known.id == visit),
        "unsent work came through"
    );
    let alerts = rig.admin.alerts(9).unwrap();
    assert!(alerts.iter().any(|alert| alert.kind == AlertKind::DataDiffers), "{alerts:?}");
    assert!(phone.customers().unwrap().search("nobody", 9).unwrap().is_empty());
    let names = phone.customers().unwrap().search("store 7", 9).unwrap();
    assert!(names.iter().any(|customer| customer.name == "Store 7"), "it is found again");
}

#[tokio::test(flavor = "multi_thread")]
async fn words_that_a_row_left_in_the_search_are_found_and_gone() {
    let rig = Rig::start().await;
    rig.import_stores(9);
    let phone = rig.enrolled("ana").await;
    rig.server.stop().await;
    for (sql, wrong, left) in [
        ("DELETE FROM customer_search WHERE rowid = 4", 1, 0),
        ("INSERT INTO customer_search (rowid, terms) VALUES (700, 'ghost ')", 0, 1),
        ("INSERT INTO customer_search (customer_search) VALUES ('delete-all')", 9, 0),
    ] {
        behind(&phone, sql).unwrap();
        let expected = Finding { fault: Fault::Search { wrong, left }, mended: true };
        assert_eq!(found(&phone).await, [expected], "{sql}");
        assert!(found(&phone).await.is_empty());
        assert_eq!(phone.customers().unwrap().search("stor", 50).unwrap().len(), 9);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_named_and_fetched_anew_if_the_server_has_it() {
    let rig = Rig::start().await;
    rig.import_stores(3);
    let phone = rig.enrolled("ana").await;
    let content: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    let photo = photo(&phone, store(&phone, "store 1"), &content);
    let file = sealed_files(&rig, "ana").pop().unwrap();
    let whole = fs::read(&file).unwrap();
    let damage = |at: usize| {
        let mut bytes = fs::read(&file).unwrap();
        bytes[at] ^= 1;
        fs::write(&file, bytes).unwrap();
    };
    let fault = |error| Fault::Attachment { id: photo, error };

    // The only copy: it is left as it is, and the rep is told. The last byte is of the padding.
    for at in [20, 70_000, whole.len() - 1] {
        damage(at);
        let findings = found(&phone).await;
        assert!(
            matches!(findings.as_slice(), [Finding { fault: Fault::Attachment { id, .. }, mended: false }]
            if *id == photo),
            "byte {at}: {findings:?}"
        );
        assert_eq!(findings[0].to_do(), ToDo::AddAgain);
        damage(at);
    }
    assert!(found(&phone).await.is_empty());

    // Its key, with which a wipe would hand it over, is sealed anew.
    let key = file.with_extension("key");
    for changed in [None, Some(&b"torn"[..])] {
        match changed {
            None => fs::remove_file(&key).unwrap(),
            Some(bytes) => fs::write(&key, bytes).unwrap(),
        }
        let anew = Finding { fault: Fault::KeysNotSealed { files: 1 }, mended: true };
        assert_eq!(found(&phone).await, [anew]);
        assert!(found(&phone).await.is_empty());
    }

    phone.send_attachments(&()).await.unwrap();
    phone.sync(&()).await.unwrap();
    damage(100_000);
    let findings = found(&phone).await;
    assert_eq!(findings, [Finding { fault: fault(AttachmentError::Damaged), mended: true }]);
    assert_eq!(findings[0].to_do(), ToDo::FetchAgain);
    assert!(!file.exists(), "what opens for nobody is gone");
    assert!(found(&phone).await.is_empty());
    phone.fetch_attachment(photo, &()).await.unwrap();
    let mut read = vec![0; content.len()];
    phone.attachments().unwrap().open(photo).unwrap().read_at(0, &mut read).unwrap();
    assert!(read == content);
    assert_eq!(check(&phone).await.attachments, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn unsent_changes_without_a_sealed_copy_are_sealed_anew_and_an_edited_audit_log_is_named() {
    let rig = Rig::start().await;
    rig.import_stores(3);
    let phone = rig.enrolled("ana").await;
    rig.server.stop().await;
    phone.visits().unwrap().start(store(&phone, "store 2"), None).unwrap();
    let vault = rig.disk.path().join("ana/vault");
    let segments = vault.join("outbox");
    for file in files(&segments) {
        fs::remove_file(file).unwrap();
    }
    let findings = found(&phone).await;
    assert_eq!(findings, [Finding { fault: Fault::NotSealed { changes: 1 }, mended: true }]);
    assert_eq!(files(&segments).len(), 1);
    assert!(found(&phone).await.is_empty());

    let log = vault.join("audit.log");
    let whole = fs::read(&log).unwrap();
    let mut edited = whole.clone();
    let middle = edited.len() / 2;
    edited[middle] ^= 1;
    fs::write(&log, &edited).unwrap();
    let findings = found(&phone).await;
    let [Finding { fault: Fault::Audit { .. }, mended: false }] = findings.as_slice() else {
        panic!("{findings:?}");
    };
    assert_eq!(findings[0].to_do(), ToDo::AskAdministrator);
    fs::write(&log, []).unwrap();
    let findings = found(&phone).await;
    assert!(
        matches!(
            findings.as_slice(),
            [Finding { fault: Fault::Audit { kind: AuditError::Truncated, .. }, .. }]
        ),
        "{findings:?}"
    );
    fs::write(&log, &whole).unwrap();
    assert!(found(&phone).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_not_of_one_state_is_named_and_the_rest_is_checked_and_a_check_can_be_stopped() {
    let rig = Rig::start().await;
    rig.import_stores(3);
    let phone = rig.enrolled("ana").await;
    behind(&phone, "UPDATE digest SET sum = zeroblob(32) WHERE name = 'customer'").unwrap();
    let checked = check(&phone).await;
    let [found] = checked.findings.as_slice() else { panic!("{:?}", checked.findings) };
    assert_eq!(found.fault, Fault::Store(StoreError::PartRolledBack { table: "customer" }));
    assert_eq!((found.mended, found.to_do()), (false, ToDo::AskAdministrator));
    assert!(checked.searchable > 0 && checked.server.is_ok());

    struct Impatient;
    impl VerifyProgress for Impatient {
        fn checked(&self, _: Part, _: u64, _: u64) {}

        fn cancelled(&self) -> bool {
            true
        }
    }
    assert!(matches!(phone.verify(&Impatient).await, Err(Error::Cancelled)));
}

/// A server with customers on either database.
async fn server(data: &Path, database: Option<&Database>) -> Server {
    let config = Config { database: database.map(again), ..server_config(data) };
    let server = Server::start(config).await.unwrap();
    let mut mapping = Mapping::guess(&["code".to_owned(), "name".to_owned()]);
    mapping.territory = TerritoryFrom::Fixed("NJ".to_owned());
    let csv = "code,name\nS1,Corner Shop\nS2,Deli\nS3,Market\n";
    let admin = server.admin();
    let report = admin.import_customers(Admin::OPERATOR, csv.as_bytes(), &mapping, &mut |_| {}).unwrap();
    assert_eq!(report.created, 3);
    server
}

/// Runs a statement past a server's rules, beside the server.
fn tamper(data: &Path, database: Option<&Database>, sql: &str) {
    if let Some(database) = database {
        let run = std::process::Command::new("psql")
            .args(["-qX", "-v", "ON_ERROR_STOP=1", "-c", sql, database.url.expose()])
            .output()
            .unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        return;
    }
    let connection = rusqlite::Connection::open(data.join("roundsman.db")).unwrap();
    let key = fs::read_to_string(data.join("server.key")).unwrap();
    connection.execute_batch(&format!("PRAGMA key = \"x'{}'\"", key.trim())).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    assert!(connection.execute(sql, []).unwrap() > 0, "{sql}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_past_the_server_is_found_by_name_on_either_database_while_it_runs() {
    for database in [None, Some(empty_database())] {
        let disk = tempfile::tempdir().unwrap();
        let data = disk.path().join("server");
        let server = server(&data, database.as_ref()).await;
        let admin = server.admin();
        // As the command line does it, beside the one that runs.
        let place = roundsman_server::AttachmentPlace::DataFolder;
        let beside = Admin::open_as_is(&data, database.as_ref(), &place).unwrap();
        let verify = || beside.verify(true, &mut |_, _| {}).unwrap();
        assert!(verify().is_sound());

        let deli = admin.customers("deli", None, 1).unwrap().remove(0).id;
        let fields =
            "UPDATE record SET fields = '{\"code\":\"S2\",\"name\":\"Delicious\",\"territory\":\"NJ\"}'
                      WHERE fields ->> 'code' = 'S2'";
        tamper(&data, database.as_ref(), fields);
        let report = verify();
        let named = report.findings.iter().find(|found| found.kind == FindingKind::RecordChanged).unwrap();
        assert_eq!((named.id, named.bucket.as_ref()), (Some(deli), Some(&Bucket::territory("NJ"))));
        assert!(report.has(FindingKind::BucketSum));
        assert!(!report.findings.iter().any(|found| found.to_string().contains("Deli")));

        tamper(&data, database.as_ref(), "DELETE FROM log WHERE seq = 3");
        let report = verify();
        assert!(
            report.has(FindingKind::NotLogged) && report.has(FindingKind::LogEnd),
            "{:?}",
            report.findings
        );
        server.stop().await;
    }
}
