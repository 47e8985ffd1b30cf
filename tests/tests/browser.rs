//! The demo, its phones and the console as a person sees them, in a real browser.

#[path = "browser/console.rs"]
mod console;
#[path = "browser/driver.rs"]
mod driver;
#[path = "browser/lost.rs"]
mod lost;
#[path = "browser/photos.rs"]
mod photos;
#[path = "browser/wipe.rs"]
mod wipe;

use anyhow::{Context, Result, ensure};
use driver::{Browser, Driver};
use roundsman_server::admin::LeaseTerms;
use roundsman_web_demo::web::Pages;
use roundsman_web_demo::{Options, World};
use std::sync::Arc;

const NOTE: &str = "The shelf by the door is half empty.";
const NEXT: &str = "Bring two cases of tea";

/// A file with two good rows and one that has no name.
const FILE: &str = "code,name,address,city,region,lat,lon\n\
    X-1,Browser Test Deli,1 Elm St,Millbrook,NJ,40.35,-74.31\n\
    X-2,,2 Elm St,Millbrook,NJ,40.35,-74.32\n\
    X-3,茶叶店 Elm,3 Elm St,Millbrook,NJ,40.36,-74.31\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_day_with_two_phones_and_the_console() -> Result<()> {
    let (world, prepared) = World::start(Options::default(), &|_| {}).await?;
    ensure!(prepared.planned == 22, "{} visits planned", prepared.planned);
    world.hand_out_phones(&|_| {}).await?;
    let world = Arc::new(world);
    let pages = Pages::serve(Arc::clone(&world), 0).await?;
    let driver = Driver::start().await?;
    let phone = driver.browser(390, 844, true).await?;
    let desk = driver.browser(1366, 1000, false).await?;

    the_overview_shows_the_way(&desk, &world, &pages).await?;
    a_phone_is_unlocked(&phone, &world, &pages).await?;
    a_customer_is_found(&phone).await?;
    a_visit_is_made_in_airplane_mode(&phone).await?;
    unsent_work_is_shown_and_synced(&phone).await?;
    the_passcode_is_changed(&phone, &world).await?;

    the_administrator_signs_in(&desk, &world).await?;
    the_visit_is_in_the_console(&desk, &world).await?;
    photos::small_pictures_stand_beside_photos(&desk, &world).await?;
    a_file_is_imported(&desk, &world).await?;
    a_device_is_offered_a_code(&desk, &world).await?;
    a_lock_and_an_unlock_reach_the_phone(&desk, &phone, &world).await?;
    the_phone_warns_of_its_lease(&phone, &world).await?;
    wipe::two_people_wipe_a_phone(&desk, &phone, &world).await?;
    wipe::what_was_unsent_is_rescued(&desk, &world).await?;

    phone.close().await?;
    desk.close().await?;
    pages.stop().await;
    world.stop().await;
    Ok(())
}

async fn the_overview_shows_the_way(desk: &Browser, world: &World, pages: &Pages) -> Result<()> {
    // The page asks for a code when it opens, and shows the next one within a second of its time.
    let (before, _) = world.sign_in().code();
    desk.goto(pages.url()).await?;
    desk.see("h1", "Roundsman").await?;
    desk.see("header p", "520 stores from the built-in sample").await?;
    for rep in world.reps() {
        desk.see("figcaption", &rep.name).await?;
        desk.see("figcaption", &rep.passcode).await?;
    }
    desk.see("dd", &world.sign_in().email).await?;
    ensure!(desk.count("a[download]").await? == 3, "the keys of the people are not offered");
    let shown = desk.text("#code:not([aria-busy])").await?;
    ensure!([before, world.sign_in().code().0].contains(&shown), "the code is {shown}");
    desk.picture("overview").await
}

async fn tap(phone: &Browser, passcode: &str) -> Result<()> {
    for digit in passcode.chars() {
        phone.press(&format!("[data-key='{digit}']"), "").await?;
    }
    phone.press("#unlock", "").await
}

async fn a_phone_is_unlocked(phone: &Browser, world: &World, pages: &Pages) -> Result<()> {
    let rep = &world.reps()[0];
    phone.goto(&format!("{}/phone/1", pages.url())).await?;
    phone.see("h1", "Mara").await?;
    phone.picture("phone-01-unlock").await?;
    tap(phone, "808080").await?;
    phone.see(".problem", "The passcode is wrong, 9 attempts are left.").await?;
    phone.picture("phone-02-wrong-passcode").await?;
    tap(phone, &rep.passcode).await?;
    phone.see("h1", "Today’s round").await?;
    phone.see(".progress", "11 stops to go").await?;
    ensure!(phone.count("[data-visit]").await? == 11, "the round has not eleven stops");
    phone.picture("phone-03-round").await
}

async fn a_customer_is_found(phone: &Browser) -> Result<()> {
    phone.press("[data-tab='customers']", "").await?;
    phone.see("[role=status]", "All 520 customers").await?;
    phone.type_on("#search", "沈").await?;
    phone.see("[role=status]", "12 matches").await?;
    phone.picture("phone-04-search").await?;
    phone.fill("#search", "kow del").await?;
    phone.see("#found .title", "Kowalski’s Deli").await?;
    phone.press("#found a", "Kowalski’s Deli").await?;
    phone.see(".hero .name", "Kowalski’s Deli").await?;
    phone.see(".button", "Call").await?;
    phone.see("main", "No visit yet.").await?;
    phone.picture("phone-05-customer").await
}

async fn a_visit_is_made_in_airplane_mode(phone: &Browser) -> Result<()> {
    phone.press("[data-tab='more']", "").await?;
    phone.press("#airplane", "").await?;
    phone.see(".strip", "Airplane mode").await?;
    phone.picture("phone-06-airplane-mode").await?;

    phone.press("[data-tab='round']", "").await?;
    phone.press("[data-action='check-in']", "Check in").await?;
    phone.see(".sheet", "Where are you?").await?;
    phone.picture("phone-07-check-in").await?;
    phone.press("[data-choice='at_the_store']", "").await?;
    phone.see("#verdict", "At the store").await?;
    phone.fill("#notes", NOTE).await?;
    phone.fill("#next-step", NEXT).await?;
    phone.see("#saved", "Saved on this phone").await?;
    phone.picture("phone-08-visit").await?;
    phone.press("#check-out", "").await?;
    phone.see(".sheet", "How did it go?").await?;
    phone.picture("phone-09-check-out").await?;
    phone.press("[data-choice='order']", "").await?;
    phone.see(".progress", "10 stops to go").await?;
    phone.see("[data-state='checked_out']", "Order placed").await?;

    phone.press("[data-action='check-in']", "Check in").await?;
    phone.press("[data-choice='two_kilometres_away']", "").await?;
    phone.see("#verdict[data-verdict='outside']", "Away from the store").await?;
    phone.see("#verdict", "2.0 km").await?;
    phone.picture("phone-10-away").await?;
    phone.press("#check-out", "").await?;
    phone.press("[data-choice='left']", "").await?;
    phone.fill("#reason", "The manager was called away").await?;
    phone.press(".sheet button", "Check out").await?;
    phone.see(".progress", "9 stops to go").await?;
    phone.picture("phone-11-round-going").await
}

async fn unsent_work_is_shown_and_synced(phone: &Browser) -> Result<()> {
    let badge = phone.text("[data-tab='unsent'] .badge").await?;
    let unsent: usize = badge.parse().with_context(|| format!("the badge says {badge}"))?;
    ensure!(unsent >= 5, "two visits are more than {unsent} changes");
    phone.press("[data-tab='unsent']", "").await?;
    phone.see("h2", &format!("{unsent} changes on this phone only")).await?;
    ensure!(phone.count("#entries li").await? == 2, "the list does not show two visits");
    phone.press("#sync-now", "").await?;
    phone.see("#sync-card", "Sync did not get through").await?;
    phone.see("#sync-card", "Nothing is lost.").await?;
    phone.picture("phone-12-unsent").await?;

    phone.press("[data-tab='more']", "").await?;
    phone.press("#airplane", "").await?;
    phone.see_no(".strip").await?;
    phone.press("#sync-now", "").await?;
    phone.see("#sync-card", &format!("{unsent} sent")).await?;
    phone.see_no(".badge").await?;
    phone.picture("phone-13-synced").await?;
    phone.press("[data-tab='unsent']", "").await?;
    phone.see(".empty", "Everything is sent").await
}

async fn the_passcode_is_changed(phone: &Browser, world: &World) -> Result<()> {
    phone.press("[data-tab='more']", "").await?;
    phone.press("[data-choice='passcode']", "").await?;
    phone.fill("#old-passcode", &world.reps()[0].passcode).await?;
    phone.fill("#fresh-passcode", "123456").await?;
    phone.fill("#again-passcode", "123456").await?;
    phone.see(".rules li", "plain run").await?;
    phone.picture("phone-16-passcode-rules").await?;
    phone.press("button[type='submit']", "Change passcode").await?;
    phone.see(".problem", "plain run").await?;
    phone.fill("#fresh-passcode", "607418").await?;
    phone.see(".rules .good", "It will do").await?;
    phone.fill("#again-passcode", "607418").await?;
    phone.press("button[type='submit']", "Change passcode").await?;
    phone.see("#toast", "Passcode changed").await?;
    phone.press("[data-choice='lock']", "").await?;
    phone.see("p", "Enter your passcode").await?;
    tap(phone, "607418").await?;
    phone.see("nav", "More").await
}

async fn the_administrator_signs_in(desk: &Browser, world: &World) -> Result<()> {
    let sign_in = world.sign_in();
    desk.goto(&sign_in.url).await?;
    desk.see("h1", "Sign in").await?;
    desk.picture("console-01-sign-in").await?;
    desk.fill("#email", &sign_in.email).await?;
    desk.fill("#password", &sign_in.password).await?;
    desk.fill("#code", &sign_in.code().0).await?;
    desk.press("button[type='submit']", "Sign in").await?;
    desk.see("nav", "Devices").await?;
    desk.see("main", "520").await?;
    desk.page("console-02-overview").await
}

async fn the_visit_is_in_the_console(desk: &Browser, world: &World) -> Result<()> {
    desk.press("nav a", "Visits").await?;
    desk.see("td", NOTE).await?;
    desk.see("td", NEXT).await?;
    desk.see("td", &world.reps()[0].name).await?;
    desk.see("td", "2.0 km from the store").await?;
    desk.page("console-03-visits").await
}

async fn a_file_is_imported(desk: &Browser, world: &World) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("more-stores.csv");
    std::fs::write(&file, FILE)?;
    desk.goto(&format!("{}/import", world.sign_in().url)).await?;
    desk.type_on("#file", &file.display().to_string()).await?;
    desk.press("button[type='submit']", "Continue").await?;
    desk.see("h2", "more-stores.csv").await?;
    ensure!(desk.text("#field-name").await? == "name", "the column of the name is not guessed");
    desk.press("#from-fixed", "").await?;
    desk.fill("#territory-code", &world.stores().territory).await?;
    desk.picture("console-04-import-columns").await?;
    desk.press("button[type='submit']", "Import").await?;
    desk.see(".figures", "Created").await?;
    desk.see(".figures li:first-child", "2").await?;
    desk.see("tbody", "3").await?;
    desk.page("console-05-import-result").await
}

async fn a_device_is_offered_a_code(desk: &Browser, world: &World) -> Result<()> {
    desk.goto(&format!("{}/enrol", world.sign_in().url)).await?;
    desk.choose("#user", &world.reps()[0].name).await?;
    desk.press("button[type='submit']", "Show the code").await?;
    desk.see("h1", "Scan this code with the new device").await?;
    ensure!(desk.count(".code-side svg").await? >= 1, "there is no QR code");
    ensure!(desk.text("#ticket").await?.starts_with("RM1:"), "the code as text is no ticket");
    desk.page("console-06-enrol").await
}

/// The page of the first phone's device.
async fn device_page(desk: &Browser, world: &World) -> Result<()> {
    desk.goto(&format!("{}/devices", world.sign_in().url)).await?;
    desk.press("a[href*='/console/devices/']", "Mara’s phone").await?;
    desk.see("h1", "Mara’s phone").await
}

async fn a_lock_and_an_unlock_reach_the_phone(desk: &Browser, phone: &Browser, world: &World) -> Result<()> {
    device_page(desk, world).await?;
    desk.press("a.button", "Lock…").await?;
    desk.fill("#reason", "Left in a taxi").await?;
    desk.picture("console-07-lock").await?;
    desk.press("button[type='submit']", "Lock the device").await?;
    phone.see("h1", "Locked by your organisation").await?;
    phone.picture("phone-14-locked").await?;
    desk.see("main", "Signature verified").await?;
    desk.page("console-11-locked").await?;
    desk.press("a.button", "Unlock…").await?;
    desk.press("button[type='submit']", "Unlock the device").await?;
    phone.see("p", "Enter your passcode").await?;
    tap(phone, "607418").await?;
    phone.see("nav", "Round").await?;
    phone.press("[data-tab='round']", "").await?;
    phone.see(".progress", "9 stops to go").await
}

/// For a moment the organisation wants its phones to warn of every absence.
async fn the_phone_warns_of_its_lease(phone: &Browser, world: &World) -> Result<()> {
    let usual = world.act(|admin, _| admin.lease_terms()).await??;
    let short = LeaseTerms { warn_after_s: 0, ..usual };
    world.act(move |admin, actor| admin.set_lease_terms(actor, short)).await??;
    phone.see("#lease", "Not in touch for a while. Connect before").await?;
    phone.picture("phone-17-lease").await?;
    world.act(move |admin, actor| admin.set_lease_terms(actor, usual)).await??;
    phone.see_no("#lease").await
}
