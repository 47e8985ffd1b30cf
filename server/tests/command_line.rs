//! What the command line promises about approvals, enrolments and pins, beside a running server.
#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code, reason = "the kit is shared with the tests of the wire")]
mod kit;

use kit::{Phone, Rig, TestResult, enrolment, rig};
use roundsman_protocol::api::{Checkin, CheckinAnswer, DeviceState, EnrolAnswer};
use roundsman_protocol::enrolment::{BeginAnswer, BeginRequest, FinishRequest, commitment};
use roundsman_protocol::root_bundle::RootBundle;
use roundsman_protocol::ticket::SpkiPin;
use std::path::Path;
use std::process::Command;

/// Runs the server's program and returns what it says, if it succeeds.
fn run(data: Option<&Path>, args: &[&str]) -> TestResult<Option<String>> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roundsman-server"));
    command.args(args).env_remove("ROUNDSMAN_DB_KEY");
    if let Some(data) = data {
        command.arg("--data").arg(data);
    }
    let output = command.output()?;
    Ok(output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned()))
}

async fn check_in(rig: &Rig, phone: &Phone) -> TestResult<CheckinAnswer> {
    let body = serde_json::to_vec(&Checkin::of(DeviceState::Active, "0.1.0", 0))?;
    let answer = rig.proved(phone, "/v1/device/checkin", None, body).await?;
    assert_eq!(answer.status(), 200);
    Ok(serde_json::from_slice(&answer.bytes().await?)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_approve_a_wipe_with_keys_the_server_does_not_hold() -> TestResult {
    let rig = rig().await?;
    let phone = Phone::new()?;
    let ticket = rig.ticket("ana", "A")?;
    let enrolled = rig.proved(&phone, "/v1/enrol", None, enrolment(ticket.token)?).await?;
    let enrolled: EnrolAnswer = serde_json::from_slice(&enrolled.bytes().await?)?;
    let device = enrolled.device.to_string();

    // The operator moves the first keys off the machine.
    let away = tempfile::tempdir()?;
    let keys = away.path().join("keys");
    std::fs::rename(rig.dir.path().join("keep-offline"), &keys)?;
    let mut names: Vec<_> = std::fs::read_dir(&keys)?
        .map(|file| Ok(file?.file_name().to_string_lossy().into_owned()))
        .collect::<std::io::Result<_>>()?;
    names.sort();
    assert_eq!(names, ["approver-boss.key", "recovery.key", "rescue.key", "root.key"]);
    let path = |name: &str| keys.join(name).to_string_lossy().into_owned();
    let (boss, bo, root) = (path("approver-boss.key"), path("bo.key"), path("root.key"));

    let said = run(None, &["approver", "new", "--name", "Bo", "--out", &bo])?.ok_or("no key")?;
    let public = said.lines().find_map(|line| line.split_once("--public=")).ok_or("no public key")?.1;
    let public = format!("--public={public}");
    let data = Some(rig.dir.path());
    let add = ["root", "add-approver", "--root-key", &root, "--name", "Bo", &public];
    assert!(run(data, &add)?.is_some());
    assert!(run(data, &["root", "set-threshold", "--root-key", &boss, "--approvers", "2"])?.is_none());
    assert!(run(data, &["root", "set-threshold", "--root-key", &root, "--approvers", "2"])?.is_some());
    assert_eq!(check_in(&rig, &phone).await?.roots.len(), 2, "the running server hands them out");

    assert!(run(data, &["wipe", "--device", &device, "--reason", "lost"])?.is_some());
    let said = run(data, &["approve", "--key", &boss, "--yes"])?.ok_or("not approved")?;
    assert!(
        said.contains("Test phone") && said.contains("lost") && said.contains("1 of 2 approvals"),
        "{said}"
    );
    assert!(check_in(&rig, &phone).await?.commands.is_empty());
    assert!(run(data, &["approve", "--key", &root, "--yes"])?.is_none(), "a root key approves nothing");
    let said = run(data, &["approve", "--key", &bo, "--yes"])?.ok_or("not approved")?;
    assert!(said.contains("Approved: Boss") && said.contains("Ordered."), "{said}");
    assert_eq!(check_in(&rig, &phone).await?.commands.len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rules_that_devices_keep_are_set_from_the_command_line() -> TestResult {
    let rig = rig().await?;
    let data = Some(rig.dir.path());
    let file = rig.dir.path().join("policy.json");
    std::fs::write(&file, r#"{"idle_lock_s": 60}"#)?;
    assert!(run(data, &["policy", "set", &file.to_string_lossy()])?.is_some());
    assert_eq!((rig.admin.policy()?.version, rig.admin.policy()?.idle_lock_s), (2, 60));
    assert!(run(data, &["policy", "show"])?.ok_or("nothing")?.contains("\"idle_lock_s\": 60"));
    assert!(run(data, &["policy", "lease", "--lock-days", "5", "--never-wipe"])?.is_some());
    assert_eq!(rig.admin.lease_terms()?.wipe_after_s, None);
    assert!(run(data, &["alerts"])?.is_some_and(|said| said.trim() == "No alerts."));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_waits_is_confirmed_or_refused_from_the_command_line() -> TestResult {
    let rig = rig().await?;
    let data = Some(rig.dir.path());
    assert!(run(data, &["policy", "enrolments"])?.ok_or("nothing")?.contains("The code alone"));
    assert!(run(data, &["policy", "enrolments", "--confirm", "on"])?.is_some());
    assert!(rig.admin.confirms_enrolments()?, "the running server asks for digits at once");

    for (name, decision, status) in [("ana", "confirm", 200), ("bo", "refuse", 403)] {
        let phone = Phone::new()?;
        let ticket = rig.ticket(name, "A")?;
        let one_step = rig.proved(&phone, "/v1/enrol", None, enrolment(ticket.token)?).await?;
        assert_eq!(one_step.status(), 403, "one step is not enough");
        let device = serde_json::from_slice(&enrolment(ticket.token)?)?;
        let begin = BeginRequest { device, commitment: commitment(&[5; 32]) };
        let begun = rig.proved(&phone, "/v1/enrol/begin", None, serde_json::to_vec(&begin)?).await?;
        let begun: BeginAnswer = serde_json::from_slice(&begun.bytes().await?)?;
        let finish = FinishRequest { enrolment: begun.enrolment, nonce: [5; 32], enter: true };
        let finish = serde_json::to_vec(&finish)?;
        let waits = rig.proved(&phone, "/v1/enrol/finish", None, finish.clone()).await?;
        assert_eq!(waits.text().await?, r#"{"state":"waiting"}"#);

        let digits = rig.admin.waiting_enrolments()?.first().and_then(|it| it.digits).ok_or("no digits")?;
        let listed = run(data, &["enrolments", "list"])?.ok_or("no list")?;
        let id = begun.enrolment.to_string();
        assert!(listed.contains(&digits.to_string()) && listed.contains(&id), "{listed}");
        assert!(run(data, &["enrolments", decision, "--enrolment", &id])?.is_some());
        let decided = rig.proved(&phone, "/v1/enrol/finish", None, finish).await?;
        assert_eq!(decided.status(), status, "{decision}");
        assert!(run(data, &["enrolments", decision, "--enrolment", &id])?.is_none(), "decided once");
    }
    assert_eq!(rig.admin.devices()?.len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pins_are_changed_by_the_root_key_and_handed_out_as_a_bundle() -> TestResult {
    let rig = rig().await?;
    let data = Some(rig.dir.path());
    let key = rig.dir.path().join("keep-offline/root.key").to_string_lossy().into_owned();
    let known = run(data, &["pin"])?.ok_or("no pins")?;
    let (used, spare) = known.trim().split_once('\n').ok_or("two pins")?;
    let new = SpkiPin([9; 32]).to_string();
    assert!(run(data, &["root", "bundle"])?.is_none(), "there is no root after the first yet");

    let set = |pins: &[&str], more: &[&str]| {
        let pins = pins.iter().flat_map(|pin| ["--pin", *pin]);
        let args: Vec<&str> = ["root", "set-pins", "--root-key", &key]
            .into_iter()
            .chain(pins)
            .chain(more.iter().copied())
            .collect();
        run(data, &args)
    };
    assert!(set(&[used], &[])?.is_none(), "one pin is too few");
    assert!(set(&[spare, &new], &[])?.is_none(), "the pin in use can't go at once");
    let said = set(&[used, spare, &new], &[])?.ok_or("not published")?;
    assert!(said.contains("Root 2") && said.contains(&new), "{said}");
    let said = set(&[spare, &new], &["--emergency"])?.ok_or("not published")?;
    assert!(said.contains("Root 3") && said.contains("is not among them"), "{said}");

    let out = rig.dir.path().join("roots.txt");
    let said = run(data, &["root", "bundle", "--out", &out.to_string_lossy()])?.ok_or("no bundle")?;
    let text = std::fs::read_to_string(&out)?;
    assert!(said.contains(text.trim()) && RootBundle::from_text(&text).is_ok());
    assert!(said.contains('█'), "a code to scan");
    assert!(
        run(data, &["root", "bundle", "--out", &out.to_string_lossy()])?.is_none(),
        "no file is replaced"
    );

    for _ in 0..6 {
        assert!(run(data, &["root", "renew", "--root-key", &key])?.is_some());
    }
    let said = run(data, &["root", "bundle"])?.ok_or("no bundle")?;
    assert!(said.contains("too long for one QR code") && said.contains("RMR1:"), "{said}");
    let said = run(data, &["root", "bundle", "--after", "8"])?.ok_or("no bundle")?;
    assert!(said.contains('█'), "the last root alone fits");
    Ok(())
}
