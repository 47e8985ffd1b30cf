//! Nothing a rep holds can be read from any file, before and after a wipe.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]

use roundsman_core::State;
use roundsman_core::model::visit::Outcome;
use roundsman_tests::canary::{files, scan};
use roundsman_tests::rig::{PASSCODE, Rig, passcode};

#[tokio::test(flavor = "multi_thread")]
async fn no_canary_is_found_in_any_file_before_and_after_a_wipe() {
    let rig = Rig::start().await;
    let mut canaries = Vec::new();
    let mut canary = |what: &str| {
        let text = format!("canary{:03}{what}", canaries.len());
        canaries.push(text.clone());
        text
    };
    // 10 customers with four texts each, then 10 visits with a note.
    let mut csv = "code,name,address,city,phone\n".to_owned();
    for n in 0..10 {
        let phone = format!("+1555{n:03}73190{n}");
        csv.push_str(&format!(
            "{},{},{},{},{phone}\n",
            canary("code"),
            canary("name"),
            canary("street"),
            canary("city")
        ));
    }
    rig.import(&csv);
    let phone = rig.enrolled("ana").await;
    let (customers, visits) = (phone.customers().unwrap(), phone.visits().unwrap());
    for store in customers.list(None, 10).unwrap() {
        let visit = visits.start(store.id, None).unwrap();
        visits.write(visit.id, Some(canary("note")), None).unwrap();
        visits.check_out(visit.id, Outcome::NoOrder, None).unwrap();
    }
    assert_eq!(canaries.len(), 50);
    assert_eq!(customers.search("canary001name", 5).unwrap().len(), 1, "the canaries are really there");
    canaries.push(PASSCODE.to_owned());
    let folder = rig.disk.path().join("ana");
    let vault = folder.join("vault");

    let look = |when: &str| {
        let found = scan(&vault, &canaries);
        assert!(found.is_empty(), "{when}: {found:?}");
        println!("{when}: {} files, {} canaries, none found", files(&vault).len(), canaries.len());
    };
    assert!(
        files(&vault)
            .iter()
            .any(|file| file.extension().is_some_and(|end| end.to_string_lossy().contains("wal")))
    );
    look("open, with unsent work");
    phone.sync(&()).await.unwrap();
    look("open, synced");
    phone.lock();
    look("closed");
    phone.unlock(&passcode()).unwrap();

    let device = rig.device("ana").id;
    rig.wipe(device, "lost");
    phone.check_in().await.unwrap();
    assert_eq!(phone.state(), State::Wiped);
    look("wiped");
    let left: Vec<_> = files(&vault).iter().filter_map(|file| Some(file.file_name()?.to_owned())).collect();
    assert!(left.iter().all(|name| name == "tombstone" || name == "lock"), "left after the wipe: {left:?}");
}
