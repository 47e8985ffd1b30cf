//! A phone is wiped by two people, each with a key file in a browser, and what it had not sent is rescued.

use crate::console::{approve, device, open_rescue};
use crate::driver::Browser;
use anyhow::{Context, Result, ensure};
use roundsman_server::keyfile::{KeyFile, KeyKind};
use roundsman_web_demo::World;
use std::path::PathBuf;
use tempfile::TempDir;

/// What the rep writes when there is no signal any more.
const LATE: &str = "Owner asks for a second rack";

/// A key file as its holder has it.
fn key_file(world: &World, folder: &TempDir, name: &str) -> Result<PathBuf> {
    let path = folder.path().join(name);
    std::fs::write(&path, world.offered_key(name).context("there is no such key")?)?;
    Ok(path)
}

/// A visit that the phone has no time to send.
async fn something_is_left_unsent(phone: &Browser) -> Result<()> {
    phone.press("[data-tab='round']", "").await?;
    phone.press("[data-action='check-in']", "Check in").await?;
    phone.press("[data-choice='at_the_store']", "").await?;
    phone.fill("#notes", LATE).await?;
    phone.see("#saved", "Saved on this phone").await?;
    phone.press("#check-out", "").await?;
    phone.press("[data-choice='no_order']", "").await?;
    phone.see(".progress", "8 stops to go").await?;
    phone.see(".badge", "").await
}

pub(crate) async fn two_people_wipe_a_phone(desk: &Browser, phone: &Browser, world: &World) -> Result<()> {
    let console = &world.sign_in().url;
    something_is_left_unsent(phone).await?;
    device(desk, console, "Mara’s phone").await?;
    desk.press("a.button", "Wipe…").await?;
    desk.see("h2", "This can't be undone").await?;
    desk.see("main", "2 approvers sign it").await?;
    desk.fill("#reason", "Stolen").await?;
    desk.fill("#name", "another phone").await?;
    desk.page("console-08-wipe").await?;
    desk.press("button[type='submit']", "Propose the wipe").await?;
    desk.see("[role=alert]", "Nothing was changed").await?;
    desk.fill("#name", "Mara’s phone").await?;
    desk.press("button[type='submit']", "Propose the wipe").await?;
    desk.see("[role=status]", "Nothing happens until it is approved").await?;
    desk.see("main", "0 of 2 approvals").await?;
    desk.page("console-12-proposed").await?;

    let folder = tempfile::tempdir()?;
    let [ada, ben] = ["approver-ada-bell.key", "approver-ben-cole.key"];
    let (ada, ben) = (key_file(world, &folder, ada)?, key_file(world, &folder, ben)?);
    wrong_files_approve_nothing(desk, world, &folder).await?;
    approve(desk, console, &ada).await?;
    desk.see("[role=status]", "Approval taken").await?;
    desk.see("dd", "1 of 2").await?;
    desk.see("dd", "by Ada Bell").await?;
    desk.page("console-13-approvals").await?;
    approve(desk, console, &ada).await?;
    desk.see("[role=alert]", "This approver has approved the wipe before; another one must").await?;
    desk.page("console-14-same-person").await?;
    phone.see(".progress", "8 stops to go").await?;

    approve(desk, console, &ben).await?;
    desk.see("[role=status]", "Wipe ordered").await?;
    phone.see("h1", "This device was wiped by your organisation").await?;
    phone.picture("phone-15-wiped").await?;
    the_way_of_the_wipe_is_shown(desk, console).await
}

/// A key of another sort is refused in the browser, a stranger's by the server.
async fn wrong_files_approve_nothing(desk: &Browser, world: &World, folder: &TempDir) -> Result<()> {
    let console = &world.sign_in().url;
    approve(desk, console, &key_file(world, folder, "rescue.key")?).await?;
    desk.see("form [role=alert]", "This is not the file of an approver’s key.").await?;
    desk.page("console-15-wrong-file").await?;
    let damaged = folder.path().join("damaged.key");
    let text = world.offered_key("approver-ada-bell.key").context("no key")?;
    let (head, _) = text.split_once("seed:").context("no seed")?;
    std::fs::write(&damaged, format!("{head}seed: {}\n", "A".repeat(43)))?;
    approve(desk, console, &damaged).await?;
    desk.see("form [role=alert]", "The key file is damaged").await?;
    let stranger = folder.path().join("stranger.key");
    KeyFile::generate(KeyKind::Approver, "Eve")?.write(&stranger)?;
    approve(desk, console, &stranger).await?;
    desk.see("[role=alert]", "This key is no approver's").await?;
    desk.see("dd", "0 of 2").await
}

async fn the_way_of_the_wipe_is_shown(desk: &Browser, console: &str) -> Result<()> {
    desk.see("h1 .badge", "Wiped").await?;
    for (stage, note) in [
        ("Proposed", "by Ada Bell"),
        ("Approved", "by Ada Bell"),
        ("Approved", "by Ben Cole"),
        ("Ordered", "2 approvers were needed"),
        ("Delivered to the device", ""),
        ("Keys destroyed", ""),
        ("Unsent work handed over", "3 changes sealed: open it with the rescue key"),
        ("Files removed", ""),
        ("Complete", "every step is proved"),
    ] {
        desk.see(".stage", format!("{stage} {note}").trim_end()).await?;
    }
    ensure!(
        desk.count(".command:first-of-type .proof .badge.green").await? == 2,
        "a receipt is not verified"
    );
    desk.page("console-09-wiped").await?;
    desk.press("a[download]", "Download the signed receipt").await?;
    desk.goto(&format!("{console}/devices")).await?;
    desk.see("tbody", "Wiped").await?;
    desk.page("console-10-devices").await?;
    ensure!(desk.address().await?.ends_with("/console/devices"), "the console went elsewhere");
    Ok(())
}

pub(crate) async fn what_was_unsent_is_rescued(desk: &Browser, world: &World) -> Result<()> {
    let console = &world.sign_in().url;
    let folder = tempfile::tempdir()?;
    desk.goto(console).await?;
    desk.see(".tasks a", "rescued work").await?;
    desk.goto(&format!("{console}/rescue")).await?;
    desk.see("#waiting", "Sealed").await?;
    desk.see("tbody", "Mara’s phone").await?;
    desk.page("console-16-sealed").await?;

    open_rescue(desk, console, &key_file(world, &folder, "approver-ada-bell.key")?).await?;
    desk.see("[role=alert]", "That is no rescue key").await?;
    open_rescue(desk, console, &key_file(world, &folder, "rescue.key")?).await?;
    desk.see("[role=status]", "to review").await?;
    desk.see("h2", "needs review").await?;
    desk.see("td", LATE).await?;
    desk.page("console-17-rescued").await?;
    desk.press(".card-head button", "Take all of this device").await?;
    desk.see("[role=status]", "Taken into the records").await?;
    desk.see("main", "No rescued change waits for a decision").await?;
    desk.goto(&format!("{console}/visits")).await?;
    desk.see("td", LATE).await?;
    device(desk, console, "Mara’s phone").await?;
    desk.see(".stage", "taken into the records").await
}
