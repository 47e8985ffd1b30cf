//! Nothing that a person has typed, and no token, can be read from any file of a phone or its server, wherever in its
//! life the phone is looked at.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]
#![allow(clippy::print_stdout, reason = "the table of what was looked at")]

mod leaks {
    pub(crate) mod life;
    pub(crate) mod texts;
}

use leaks::life::{Life, NEW, OLD, WRONG};
use leaks::texts::CUSTOMERS;
use roundsman_tests::told::{Order, Said};
use std::collections::BTreeSet;

/// Customers that fill the pages of a sync, so that it can be stopped between two of them.
const FILL: usize = 1_500;

#[tokio::test(flavor = "multi_thread")]
async fn no_canary_is_found_in_any_file_before_and_after_a_wipe() {
    let mut life = Life::begin(false).await;
    let open = Order::Open(life.device.clone());
    life.done("New", &open);
    let join = life.enrolment(OLD);
    life.done("Open", &join);
    life.look("joined, before the first sync");
    life.done("Open", &Order::Sync);
    let seen = life.texts.of("name").first().unwrap().clone();
    assert_eq!(life.done("Open", &Order::Search(seen.clone())), 1, "the canaries are really there");
    life.look("after the first sync");

    for order in life.texts.day(&seen) {
        life.done("Open", &order);
    }
    for file in ["vault.db-wal", ".seg", "audit.log"] {
        assert!(life.has(file), "work in progress is what is looked at: no {file}");
    }
    life.look("at work, with unsent visits");
    life.done("Closed", &Order::Close);
    life.look("closed");
    let refused = life.tell(&Order::Unlock(WRONG.to_owned()));
    assert!(matches!(&refused, Said::Failed(why) if why.contains("wrong")), "{refused:?}");
    life.look("after a wrong passcode");
    life.done("Open", &Order::Unlock(OLD.to_owned()));
    life.done("Open", &Order::ChangePasscode { old: OLD.to_owned(), new: NEW.to_owned() });
    life.look("after a change of the passcode");
    life.done("Open", &Order::Rotate(NEW.to_owned()));
    life.look("after a change of the vault's key");

    life.rig.import_stores(FILL);
    life.done("Open", &Order::StopAnswer(20_000));
    assert!(matches!(life.tell(&Order::Sync), Said::Stopped(_)));
    life.look("in the middle of a sync");
    life.kill();
    life.look("killed in the middle of it");
    life.done("Closed", &open);
    life.done("Open", &Order::Unlock(NEW.to_owned()));
    let count = life.done("Open", &Order::Count) as usize;
    assert!((CUSTOMERS + 1..CUSTOMERS + FILL).contains(&count), "{count} came before the kill");
    life.done("Open", &Order::Sync);
    assert_eq!(life.done("Open", &Order::Count) as usize, CUSTOMERS + 1 + FILL);
    life.look("opened and synced after the kill");

    // From here on nothing is sent any more but sealed.
    for order in life.texts.last_day(&seen) {
        life.done("Open", &order);
    }
    let device = life.view().id;
    let reason = life.texts.add("reason of the lock");
    life.rig.admin.lock(life.rig.actor, device, &reason).unwrap();
    life.done("Locked { soft: false }", &Order::CheckIn);
    life.look("locked by the administrator");
    life.rig.admin.unlock(life.rig.actor, device).unwrap();
    life.done("Closed", &Order::CheckIn);
    life.done("Open", &Order::Unlock(NEW.to_owned()));
    life.look("unlocked again, and open");
    life.done("Closed", &Order::Close);
    let twin = life.copy("twin");

    let reason = life.texts.add("reason of the wipe");
    life.rig.wipe(device, &reason);
    life.done("Closed", &Order::StopAtSteps(true));
    let said = life.tell(&Order::CheckIn);
    let said = life.look_at_steps("before each step of a wipe", said, "remove vault.db");
    assert_eq!(said, Said::Stopped("remove vault.db".to_owned()));
    life.kill();
    life.look("killed in the middle of it, shredded and half removed");
    life.tell(&Order::StopAtSteps(true));
    let said = life.tell(&open);
    let said = life.look_at_steps("before each step of the next start", said, "");
    assert_eq!(said, Said::Done { state: "Wiping".to_owned(), count: 0 });
    assert!(life.has(".seg"), "sealed work waits");
    life.look("wiped, with sealed work to hand over");
    let said = life.tell(&Order::CheckIn);
    let said = life.look_at_steps("before each step of the hand-over and the burial", said, "");
    assert_eq!(said, Said::Done { state: "Wiped".to_owned(), count: 0 });
    assert_eq!(life.files("vault"), BTreeSet::from(["tombstone".to_owned()]));
    assert_eq!(life.files("keys"), BTreeSet::from(["mark".to_owned()]));
    assert!(life.is_empty("keys/mark"), "nothing is left of the keystore but a file that is empty");
    life.buried = true;
    life.look("wiped, and all handed over");
    life.clean();
    assert!(life.rescued(device).is_superset(&life.texts.last_notes()), "it was in the sealed segments");

    life.move_to(&twin);
    std::fs::remove_file(twin.join("keys/control.key")).unwrap();
    let gone = life.tell(&open);
    assert!(matches!(gone, Said::Failed(_)), "{gone:?}");
    life.look("a copy, of which the platform has lost a key");
    let over = Order::StartOver(life.device.clone());
    life.done("New", &over);
    assert!(life.has(".seg"), "sealed work stays");
    life.buried = true;
    life.look("started over");
    life.buried = false;
    let join = life.enrolment(NEW);
    life.done("Open", &join);
    life.done("Open", &Order::Sync);
    assert_eq!(life.done("Open", &Order::Search(seen)), 1);
    life.look("joined anew, and synced");
    life.report();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaky_app_is_caught_whatever_it_leaks_and_however() {
    let mut life = Life::begin(true).await;
    let open = Order::Open(life.device.clone());
    life.done("New", &open);
    let join = life.enrolment(OLD);
    life.done("Open", &join);
    life.done("Open", &Order::Sync);
    for name in life.texts.of("name") {
        life.done("Open", &Order::Search(name));
    }
    let seen = life.texts.of("name").first().unwrap().clone();
    for order in life.texts.day(&seen).into_iter().chain(life.texts.last_day(&seen)) {
        life.done("Open", &order);
    }
    life.done("Open", &Order::ChangePasscode { old: OLD.to_owned(), new: NEW.to_owned() });
    life.done("Closed", &Order::Close);
    life.tell(&Order::Unlock(WRONG.to_owned()));
    // What was in the vault's folder at the first start, joining has removed.
    life.tell(&open);
    let scan = life.scan();
    let found: BTreeSet<&str> = scan.leaks.iter().map(|leak| leak.canary.what.as_str()).collect();
    let wanted = life.canaries();
    let missed: Vec<_> = wanted.iter().filter(|canary| !found.contains(canary.what.as_str())).collect();
    assert!(missed.is_empty(), "not found: {:?}", missed.iter().map(|it| &it.what).collect::<Vec<_>>());
    let forms: BTreeSet<&str> = scan.leaks.iter().map(|leak| leak.form).collect();
    assert_eq!(forms.len(), 9, "{forms:?}");
    let places: BTreeSet<_> = scan.leaks.iter().map(|leak| leak.file.parent().unwrap()).collect();
    assert_eq!(places.len(), 4, "{places:?}");
    println!(
        "{} canaries leaked in {} forms and {} places: all found",
        wanted.len(),
        forms.len(),
        places.len()
    );
}
