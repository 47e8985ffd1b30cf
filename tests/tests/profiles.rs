//! Two organisations on one phone: each loses what is its own, and nothing else on the phone is touched.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]

use roundsman_core::model::visit::Outcome;
use roundsman_core::platform::{KeyError, OsEntropy, PlatformKeys, SoftwareKeys};
use roundsman_core::profiles::{Host, Profiles};
use roundsman_core::{Client, Error, State};
use roundsman_tests::rig::{Rig, passcode, phone_config};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use uuid::Uuid;

/// The app: keys by profile, in a folder of their own.
struct App(PathBuf);

impl Host for App {
    fn keys(&self, profile: Uuid) -> Result<Arc<dyn PlatformKeys>, KeyError> {
        Ok(Arc::new(SoftwareKeys::new(self.0.join(profile.to_string()), Arc::new(OsEntropy))))
    }

    fn keep_out_of_backups(&self, _: &Path) -> std::io::Result<()> {
        Ok(())
    }
}

/// Every file below a folder, with its bytes and when it was last written.
fn files(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            let written = entry.metadata().unwrap().modified().unwrap();
            found.insert(entry.path(), (fs::read(entry.path()).unwrap(), written));
        }
    }
    found
}

async fn join(client: &Client, office: &Rig) {
    office.import_stores(3);
    client.enrol(&office.ticket(office.rep("ana")), &passcode()).await.unwrap();
    client.sync(&()).await.unwrap();
    visit(client);
}

fn visit(client: &Client) {
    let store = client.customers().unwrap().list(None, 1).unwrap().remove(0);
    let visits = client.visits().unwrap();
    let visit = visits.start(store.id, None).unwrap();
    visits.check_out(visit.id, Outcome::NoOrder, None).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wipe_takes_one_organisation_and_touches_nothing_else() {
    let (snacks, drinks) = (Rig::start().await, Rig::start().await);
    let phone = tempfile::tempdir().unwrap();
    let at = |path: &str| phone.path().join(path);
    // What is the person's lies everywhere: beside the app, in its folders, with names like the vault's.
    let mine =
        ["DCIM/holiday.jpg", "vault.db", "app/tombstone", "app/profiles/vault.db", "app/profiles/slots.a"];
    for name in mine {
        fs::create_dir_all(at(name).parent().unwrap()).unwrap();
        fs::write(at(name), name).unwrap();
    }
    let before = files(phone.path());
    let app = Arc::new(App(at("app/keys")));
    let template = phone_config(&at("unused"), "phone");
    let template = roundsman_core::Config { dir: at("app/profiles"), ..template };
    let profiles = Profiles::at(template, app.clone()).unwrap();
    let ((first, at_snacks), (second, at_drinks)) = (profiles.add().unwrap(), profiles.add().unwrap());
    join(&at_snacks, &snacks).await;
    join(&at_drinks, &drinks).await;
    assert_ne!(at_snacks.profile().unwrap().url, at_drinks.profile().unwrap().url);

    let folder = |id: Uuid| at("app/profiles").join(id.simple().to_string());
    let others = |id: Uuid| {
        let mut all = files(phone.path());
        all.retain(|path, _| !path.starts_with(folder(id)) && !path.starts_with(app.0.join(id.to_string())));
        all
    };
    at_drinks.lock();
    let kept = others(first);
    snacks.wipe(snacks.device("phone").id, "left the firm");
    at_snacks.check_in().await.unwrap();
    assert_eq!((at_snacks.state(), at_drinks.state()), (State::Wiped, State::Closed));
    assert!(files(&folder(first)).keys().all(|path| path.ends_with("tombstone") || path.ends_with("in-use")));
    assert_eq!(others(first), kept, "not a byte outside the one profile was written");

    assert!(matches!(profiles.remove(second), Err(Error::InUse)));
    profiles.remove(first).unwrap();
    assert_eq!(profiles.ids().unwrap(), [second]);
    at_drinks.unlock(&passcode()).unwrap();
    visit(&at_drinks);
    at_drinks.sync(&()).await.unwrap();
    assert_eq!(drinks.admin.recent_visits(9).unwrap().len(), 2, "the other organisation's work goes on");
    drinks.wipe(drinks.device("phone").id, "left the firm");
    at_drinks.check_in().await.unwrap();
    profiles.remove(second).unwrap();
    let mut after = files(phone.path());
    after.retain(|path, _| !path.starts_with(&app.0));
    assert_eq!(after, before, "what is the person's is as it was");
}
