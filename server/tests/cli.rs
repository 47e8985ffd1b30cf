//! What the command line makes of work that was handed over, and of the audit logs.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "each test binary uses another part of the kit")]
mod kit;

use kit::{Phone, Rig, TestResult, enrolment, rig};
use roundsman_model::{DeviceSeq, Rev, Stamp};
use roundsman_protocol::api::{Checkin, DeviceState, EnrolAnswer};
use roundsman_protocol::audit::{Action, AuditReport, Head, head_message};
use roundsman_protocol::rescue::{Sealer, SegmentHead, SignedSegment};
use roundsman_protocol::sync::{Change, Mutation};
use roundsman_server::Admin;
use roundsman_server::admin::Mapping;
use roundsman_server::keyfile::{KeyFile, KeyKind};
use std::path::Path;
use std::process::{Command, Output};
use uuid::Uuid;

fn run(data: &Path, args: &[&str]) -> TestResult<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roundsman-server"));
    Ok(command.args(args).arg("--data").arg(data).output()?)
}

fn says(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn enrolled(rig: &Rig, phone: &Phone) -> TestResult<EnrolAnswer> {
    let ticket = rig.ticket("ana", "A")?;
    let answer = rig.proved(phone, "/v1/enrol", None, enrolment(ticket.token)?).await?;
    Ok(serde_json::from_slice(&answer.bytes().await?)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn rescued_work_is_opened_listed_and_taken_from_the_command_line() -> TestResult {
    let rig = rig().await?;
    let phone = Phone::new()?;
    let device = enrolled(&rig, &phone).await?;
    let change = Mutation {
        seq: DeviceSeq(1),
        id: Uuid::now_v7(),
        entity: "customer".into(),
        record: Uuid::now_v7(),
        change: Change::Put,
        was: roundsman_model::Fields::new(),
        settles: vec![],
        base: Rev(0),
        stamp: Stamp(1 << 40),
        fields: [("code", "7"), ("name", "Found Shop"), ("territory", "A")]
            .map(|(name, text)| (name.to_owned(), text.into()))
            .into(),
    };
    let data = rig.dir.path();
    let right = data.join("keep-offline/rescue.key").display().to_string();
    let public = KeyFile::read(Path::new(&right))?.public().0;
    let head = SegmentHead { org: device.org, device: device.device, segment: Uuid::now_v7() };
    let (mut sealer, mut bytes) = Sealer::begin([9; 32], &public, &head)?;
    bytes.extend(sealer.seal(change.id, 1, &serde_json::to_vec(&change)?)?);
    let signed = SignedSegment::sign(bytes, |message| phone.es256(message))?.to_bytes();
    let answer = rig.proved(&phone, "/v1/device/rescue", None, signed).await?;
    assert_eq!(answer.status(), 200);

    let wrong = data.join("other.key").display().to_string();
    KeyFile::generate(KeyKind::Rescue, "of another firm")?.write(Path::new(&wrong))?;
    assert!(!run(data, &["rescue", "--key", &wrong])?.status.success());
    let opened = run(data, &["rescue", "--key", &right])?;
    assert!(opened.status.success());
    assert!(says(&opened).contains(&device.device.to_string()) && says(&opened).contains("Test phone"));
    let listed = says(&run(data, &["rescue", "list"])?);
    assert!(listed.contains(&change.id.to_string()) && listed.contains("Found Shop"), "{listed}");
    assert!(!run(data, &["rescue", "take"])?.status.success(), "say which");
    let taken = says(&run(data, &["rescue", "take", "--all"])?);
    assert!(taken.contains("1 taken, 0 refused"), "{taken}");
    assert_eq!(
        rig.admin.customer(change.record)?.map(|customer| customer.name).as_deref(),
        Some("Found Shop")
    );
    let again = run(data, &["rescue", "dismiss", "--change", &change.id.to_string()])?;
    assert!(!again.status.success(), "it is settled");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn verifying_the_audit_log_fails_and_names_the_entry_that_was_changed() -> TestResult {
    let rig = rig().await?;
    let phone = Phone::new()?;
    let device = enrolled(&rig, &phone).await?;
    let mut head = Head::default();
    let mut entries = Vec::new();
    for action in [Action::Opened, Action::RecordViewed, Action::Closed] {
        let (next, bytes) = head.append(chrono::Utc::now(), device.user.0, device.device, action, None);
        head = next;
        entries.push(bytes);
    }
    let signature = phone.es256(&head_message(device.device, head))?.to_vec();
    let mut report = Checkin::of(DeviceState::Active, "0.1.0", 0);
    report.audit = Some(AuditReport { entries, head, signature });
    let answer = rig.proved(&phone, "/v1/device/checkin", None, serde_json::to_vec(&report)?).await?;
    assert_eq!(answer.status(), 200);
    let data = rig.dir.path();
    let sound = run(data, &["audit", "verify"])?;
    assert!(sound.status.success() && says(&sound).matches("sound").count() == 2, "{}", says(&sound));

    let conn = rusqlite::Connection::open(data.join("roundsman.db"))?;
    let key = std::fs::read_to_string(data.join("server.key"))?;
    conn.execute_batch(&format!("PRAGMA key = \"x'{}'\"; DROP TRIGGER audit_stands;", key.trim()))?;
    conn.execute("UPDATE audit SET actor = zeroblob(16) WHERE seq = 2", [])?;
    let changed = run(data, &["audit", "verify"])?;
    assert!(!changed.status.success());
    assert!(says(&changed).contains("entry 2: an entry of the audit log was changed"), "{}", says(&changed));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn verifying_everything_names_what_was_changed_past_the_running_server_and_fails() -> TestResult {
    let rig = rig().await?;
    let mapping = Mapping::guess(&["code".into(), "name".into(), "territory".into()]);
    let file = "code,name,territory\nS1,Corner Shop,A\n";
    rig.admin.import_customers(Admin::OPERATOR, file.as_bytes(), &mapping, &mut |_| {})?;
    let data = rig.dir.path();
    let sound = run(data, &["verify", "--contents"])?;
    assert!(sound.status.success(), "{}", String::from_utf8_lossy(&sound.stderr));
    let said = says(&sound);
    assert!(said.contains("Nothing is wrong.") && said.contains("records"), "{said}");

    let conn = rusqlite::Connection::open(data.join("roundsman.db"))?;
    let key = std::fs::read_to_string(data.join("server.key"))?;
    conn.execute_batch(&format!("PRAGMA key = \"x'{}'\"", key.trim()))?;
    conn.execute("UPDATE record SET fields = replace(fields, 'Corner', 'Other')", [])?;
    let changed = run(data, &["verify"])?;
    let said = says(&changed);
    assert!(!changed.status.success());
    assert!(
        said.contains("the record was changed past the server") && said.contains("territory/A"),
        "{said}"
    );
    let id: Vec<u8> = conn.query_row("SELECT id FROM record", [], |row| row.get(0))?;
    assert!(said.contains(&Uuid::from_slice(&id)?.to_string()), "{said}");
    assert!(!said.contains("Shop") && !says(&changed).contains("Other"), "no field of it is told: {said}");

    // The console says so, once, and not if nothing was to be written.
    let alerts = || Ok::<_, Box<dyn std::error::Error>>(says(&run(data, &["alerts"])?));
    let told = |text: &str| text.matches("the record was changed past the server").count();
    assert_eq!(told(&alerts()?), 1);
    assert!(!run(data, &["verify"])?.status.success());
    assert_eq!(told(&alerts()?), 1);
    conn.execute("DELETE FROM alert", [])?;
    assert!(!run(data, &["verify", "--no-alerts"])?.status.success());
    assert_eq!(told(&alerts()?), 0);
    // A database that takes no alert is looked at all the same.
    conn.execute_batch("ALTER TABLE alert RENAME TO gone")?;
    let unheard = run(data, &["verify"])?;
    assert!(!unheard.status.success() && told(&says(&unheard)) == 1, "{}", says(&unheard));
    conn.execute_batch("ALTER TABLE gone RENAME TO alert")?;
    // Options that share a name would be one: `--attachments` for `--data`.
    let help = run(data, &["serve", "--attachments", "elsewhere", "--help"])?;
    assert!(help.status.success() && says(&help).contains("--attachments <DIR>"));
    let nowhere = tempfile::tempdir()?;
    assert!(!run(nowhere.path(), &["verify"])?.status.success(), "nothing was set up there");
    Ok(())
}
