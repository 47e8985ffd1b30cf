//! A phone is killed at random moments of a day. No acknowledged visit is lost, none is doubled.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]

use roundsman_tests::rig::Rig;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Kills in one run; `ROUNDSMAN_KILLS` sets another number.
const KILLS: usize = 200;

/// What the phone has promised of one visit.
#[derive(Debug, Default, PartialEq)]
struct Promised {
    notes: Option<String>,
    out: bool,
}

fn phone(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phone"));
    command.arg(folder).args(args).stdin(Stdio::null());
    command
}

/// Lets the phone work, kills it `delay` after it is open, and notes what it promised before it died.
fn killed_day(folder: &Path, mark: &str, delay: Duration, promised: &mut BTreeMap<String, Promised>) -> u32 {
    let mut child = phone(folder, &["day", mark]).stdout(Stdio::piped()).spawn().expect("the phone starts");
    let (lines, said) = mpsc::channel();
    let out = BufReader::new(child.stdout.take().expect("its output"));
    let reader =
        std::thread::spawn(move || out.lines().map_while(Result::ok).for_each(|line| drop(lines.send(line))));
    assert_eq!(
        said.recv_timeout(Duration::from_mins(1)).as_deref(),
        Ok("open"),
        "the vault opens after a kill"
    );
    std::thread::sleep(delay);
    child.kill().expect("it runs until it is killed");
    child.wait().expect("it is gone");
    reader.join().expect("its output is read");
    let mut syncs = 0;
    for line in said.try_iter() {
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["started", visit] => drop(promised.insert((*visit).to_owned(), Promised::default())),
            ["wrote", visit, notes] => {
                promised.entry((*visit).to_owned()).or_default().notes = Some((*notes).to_owned());
            }
            ["out", visit] => promised.entry((*visit).to_owned()).or_default().out = true,
            ["synced"] => syncs += 1,
            other => panic!("the phone said {other:?}"),
        }
    }
    syncs
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_visit_is_lost_or_doubled_by_kills() {
    let kills = std::env::var("ROUNDSMAN_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(KILLS);
    let rig = Rig::start().await;
    rig.import_stores(40);
    let rep = rig.rep("ana");
    let folder = rig.disk.path().join("phone");
    let enrolled = phone(&folder, &["enrol", &rig.ticket(rep)]).status().expect("the phone starts");
    assert!(enrolled.success());

    let mut promised = BTreeMap::new();
    let mut syncs = 0;
    // Spread over the first 300 ms of work, in which a slow machine gets through a sync, in steps that share no factor with the
    // work's own rhythm.
    for round in 0..kills {
        let delay = Duration::from_micros((round as u64 * 7_919) % 300_000);
        syncs += killed_day(&folder, &format!("round{round}"), delay, &mut promised);
    }
    let drained = phone(&folder, &["drain"]).status().expect("the phone starts");
    assert!(drained.success(), "what was left is sent");

    let on_server = rig.admin.recent_visits(usize::MAX >> 1).expect("visits");
    let mut by_id = BTreeMap::new();
    let mut notes = BTreeMap::new();
    for visit in &on_server {
        assert!(by_id.insert(visit.id.to_string(), visit).is_none(), "visit {} is doubled", visit.id);
        if let Some(text) = &visit.notes {
            assert!(notes.insert(text.clone(), visit.id).is_none(), "notes {text} are doubled");
        }
    }
    for (id, promised) in &promised {
        let visit = by_id.get(id).unwrap_or_else(|| panic!("visit {id} is lost"));
        if let Some(text) = &promised.notes {
            assert_eq!(visit.notes.as_ref(), Some(text), "notes of {id}");
        }
        if promised.out {
            assert!(visit.ended_at.is_some(), "the check-out of {id} is lost");
        }
    }
    assert!(
        promised.len() > kills / 4 && syncs > 0,
        "the phone hardly worked: {} visits, {syncs} syncs",
        promised.len()
    );
    println!(
        "{kills} kills: {} visits acknowledged, {} on the server, {syncs} syncs finished, none lost, none doubled",
        promised.len(),
        on_server.len()
    );
}
