//! A small firm, where one person is enough for a wipe, loses a phone, finds a copied one, and asks what it knows.

use crate::console::{approve, device, open_rescue, sign_in};
use crate::driver::{Browser, Driver};
use anyhow::{Context, Result, ensure};
use roundsman_core::model::visit::Outcome;
use roundsman_core::{Client, State};
use roundsman_protocol::posture::{Posture, Verdict};
use roundsman_tests::rig::{ADMIN_PASSWORD, Rig, passcode, phone_config};
use std::path::{Path, PathBuf};

const NOTE: &str = "Two facings lost to the new brand";

#[tokio::test(flavor = "multi_thread")]
async fn a_small_firm_loses_a_phone_and_keeps_its_work() -> Result<()> {
    let rig = Rig::start().await;
    rig.import_stores(8);
    let driver = Driver::start().await?;
    let desk = driver.browser(1366, 1000, false).await?;
    let console = format!("{}/console", rig.server.url());
    let first = rig.server.first_admin().context("a first start")?;
    let totp = totp_rs::Totp::from_url(&first.totp_url)?.generate_current().to_string();
    sign_in(&desk, &console, "ada@example.com", ADMIN_PASSWORD, &totp).await?;

    the_rules_are_shown(&desk, &console).await?;
    one_person_wipes_and_the_work_is_rescued(&desk, &console, &rig).await?;
    a_rooted_phone_is_refused(&desk, &console, &rig).await?;
    a_copied_phone_is_noticed(&desk, &console, &rig).await?;
    the_audit_log_is_shown(&desk, &console).await?;
    desk.close().await
}

async fn the_rules_are_shown(desk: &Browser, console: &str) -> Result<()> {
    desk.goto(&format!("{console}/rules")).await?;
    desk.see("#approvers", "Who approves wipes").await?;
    desk.see(".badge", "One person is enough").await?;
    desk.see("dd", "30 days").await?;
    desk.page("console-20-rules").await
}

/// Where the server left a key at its first start.
fn key_file(rig: &Rig, name: &str) -> PathBuf {
    rig.disk.path().join("server/keep-offline").join(name)
}

fn visit(phone: &Client, store: usize, note: &str) -> Result<()> {
    let stores = phone.customers()?.list(None, 8)?;
    let store = stores.get(store).context("a store")?;
    let visits = phone.visits()?;
    let visit = visits.start(store.id, None)?;
    visits.write(visit.id, Some(note.to_owned()), None)?;
    visits.check_out(visit.id, Outcome::NoOrder, None)?;
    Ok(())
}

async fn one_person_wipes_and_the_work_is_rescued(desk: &Browser, console: &str, rig: &Rig) -> Result<()> {
    let phone = rig.enrolled("Ana").await;
    visit(&phone, 0, NOTE)?;
    phone.lock();
    phone.check_in().await?;
    device(desk, console, "Ana").await?;
    desk.tab_to("a.button.danger").await?;
    desk.press("a.button", "Wipe…").await?;
    desk.see("main", "one person is enough to wipe a device").await?;
    desk.fill("#reason", "Left on the bus").await?;
    desk.fill("#name", "Ana").await?;
    desk.press("button[type='submit']", "Propose the wipe").await?;
    desk.see("main", "one person is enough for a wipe").await?;
    desk.goto(&format!("{console}/approvals")).await?;
    desk.see("main", "one person is enough to wipe a device").await?;
    desk.tab_to("form[data-message] input[type='file']").await?;
    desk.tab_to("form[data-message] button").await?;
    desk.page("console-21-one-person").await?;
    approve(desk, console, &key_file(rig, "approver-ada.key")).await?;
    desk.see("[role=status]", "Wipe ordered").await?;
    desk.see(".stage", "Ordered one person is enough in this organisation").await?;
    desk.see(".waiting", "waits for the device to come online").await?;
    desk.page("console-22-ordered").await?;
    for _ in 0..4 {
        if phone.state() != State::Wiped {
            phone.check_in().await?;
        }
    }
    ensure!(phone.state() == State::Wiped, "the phone is {:?}", phone.state());
    desk.see("h1 .badge", "Wiped").await?;

    desk.goto(&format!("{console}/rescue")).await?;
    desk.see("tbody", "Ana").await?;
    open_rescue(desk, console, &key_file(rig, "rescue.key")).await?;
    desk.see("td", NOTE).await?;
    desk.press("tbody tr:first-child button", "Take").await?;
    desk.see("[role=status]", "Taken into the records").await?;
    desk.press("tbody tr:last-child button", "Dismiss").await?;
    desk.see("[role=status]", "Dismissed").await?;
    desk.page("console-23-one-left").await?;
    desk.press(".card-head button", "Take all of this device").await?;
    desk.see("main", "No rescued change waits for a decision").await?;
    desk.page("console-24-nothing-left").await
}

async fn a_rooted_phone_is_refused(desk: &Browser, console: &str, rig: &Rig) -> Result<()> {
    let mut policy = rig.admin.policy()?;
    policy.posture.rooted = Verdict::Lock;
    rig.admin.set_policy(rig.actor, policy)?;
    let phone = rig.enrolled("Bo").await;
    let told = |rooted| Posture {
        rooted: Some(rooted),
        screen_lock: Some(false),
        os: Some("Android 16".to_owned()),
        patch_level: Some("2026-10-05".to_owned()),
        ..Posture::default()
    };
    phone.set_posture(told(false));
    phone.check_in().await?;
    device(desk, console, "Bo").await?;
    desk.see("#condition + p", "Phone: warning").await?;
    desk.see("#lease", "If it stays away").await?;
    desk.page("console-25-warning").await?;
    phone.set_posture(told(true));
    phone.check_in().await?;
    ensure!(phone.customers().is_err(), "a rooted phone is open");
    device(desk, console, "Bo").await?;
    desk.see("#condition + p", "Phone: refused").await?;
    desk.press("summary", "What the app reported").await?;
    desk.see("dd", "Android 16").await?;
    desk.page("console-26-refused").await
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

async fn a_copied_phone_is_noticed(desk: &Browser, console: &str, rig: &Rig) -> Result<()> {
    let phone = rig.enrolled("Cleo").await;
    visit(&phone, 1, "All well")?;
    phone.sync(&()).await?;
    phone.lock();
    copy(&rig.disk.path().join("Cleo"), &rig.disk.path().join("copy"))?;
    let twin = Client::open(phone_config(&rig.disk.path().join("copy"), "Cleo"))?;
    twin.check_in().await?;
    phone.unlock(&passcode())?;
    phone.lock();
    phone.check_in().await?;

    desk.goto(&format!("{console}/alerts")).await?;
    desk.see(".alert", "Two devices answer with this device's key; it was locked.").await?;
    desk.see(".alert", "The policy does not let this phone's state pass.").await?;
    desk.see("nav .waits", "2").await?;
    desk.page("console-27-alerts").await?;
    desk.goto(console).await?;
    desk.see(".tasks a", "2 alerts to look at").await?;
    desk.page("console-28-overview").await?;
    device(desk, console, "Cleo").await?;
    desk.see(".alert", "Two devices answer").await?;
    desk.page("console-29-copied").await?;
    desk.press("a", "All alerts").await?;
    desk.press(".alerts button", "Seen").await?;
    desk.see("[role=status]", "Noted as seen").await?;
    desk.see(".alert", "Seen by Ada").await?;
    desk.page("console-30-seen").await
}

async fn the_audit_log_is_shown(desk: &Browser, console: &str) -> Result<()> {
    device(desk, console, "Cleo").await?;
    desk.press("a[href$='/audit']", "Show").await?;
    desk.see("h1", "Audit log").await?;
    desk.see("td", "countersigned").await?;
    desk.page("console-31-audit").await
}
