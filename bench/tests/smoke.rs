//! Every program runs to its end at a tiny size. What it measures then means nothing, and is not looked at.
#![allow(clippy::expect_used, reason = "a test that can't go on fails")]

use roundsman_tests::rig::Rig;
use std::path::Path;
use std::process::Command;

const BENCH: &str = env!("CARGO_BIN_EXE_roundsman-bench");
const LOAD: &str = env!("CARGO_BIN_EXE_roundsman-load");

/// What it prints; it must succeed.
fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().expect("the program runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{args:?}\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[test]
fn everything_runs_and_leaves_a_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let page = folder.path().join("page.md");
    run(BENCH, &["all", "--quick", "--no-peers", "--write", page.to_str().expect("a path")]);
    let page = std::fs::read_to_string(page).expect("the page");
    for part in [
        "the figures mean nothing",
        "## Goals",
        "## Initial sync",
        "## Upload of offline visits",
        "## Latency of a change",
        "## Bytes on the wire",
        "## What a rep waits for",
        "## The store beside SQLCipher alone",
        "## Wipe",
        "## Attachments",
    ] {
        assert!(page.contains(part), "{part} is missing:\n{page}");
    }
}

#[test]
fn real_stores_are_read_from_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let stores = folder.path().join("stores.csv");
    std::fs::write(
        &stores,
        "code,name,city,lat,lon\nA,Oak Market,Deal,40.2,-74.0\nB,Corner 7,Deal,40.3,-74.1\n",
    )
    .expect("the file");
    let said = run(
        BENCH,
        &["initial-sync", "--customers", "60", "--runs", "1", "--stores", stores.to_str().expect("a path")],
    );
    assert!(said.contains("60 real stores"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_with_codes_load_a_server() {
    let rig = Rig::start().await;
    rig.import_stores(20);
    let codes: Vec<_> = (0..3).map(|n| rig.ticket(rig.rep(&format!("rep{n}")))).collect();
    let file = rig.disk.path().join("codes");
    std::fs::write(&file, codes.join("\n")).expect("the file");
    let said = load(&["--codes"], &file).await;
    assert!(said.contains("3 devices enrolled"), "{said}");
    assert_eq!(rig.admin.devices().expect("devices").len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_on_this_machine_gets_its_devices_by_itself() {
    let rig = Rig::start().await;
    rig.import_stores(20);
    let said = load(&["--devices", "2", "--data"], &rig.disk.path().join("server")).await;
    assert!(said.contains("2 devices enrolled"), "{said}");
    assert_eq!(rig.admin.devices().expect("devices").len(), 2);
}

/// Runs the load beside a server of this process.
async fn load(args: &[&'static str], path: &Path) -> String {
    let mut args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
    args.extend([path.display().to_string()]);
    args.extend(["--rate", "4", "--seconds", "1"].map(str::to_owned));
    let run = move || run(LOAD, &args.iter().map(String::as_str).collect::<Vec<_>>());
    let said = tokio::task::spawn_blocking(run).await.expect("it ran");
    assert!(said.contains("errors                              0"), "{said}");
    said
}
