//! What is done in the console more than once.

use crate::driver::Browser;
use anyhow::Result;
use std::path::Path;

/// Signs in.
pub(crate) async fn sign_in(
    desk: &Browser,
    console: &str,
    email: &str,
    password: &str,
    code: &str,
) -> Result<()> {
    desk.goto(console).await?;
    desk.see("h1", "Sign in").await?;
    desk.fill("#email", email).await?;
    desk.fill("#password", password).await?;
    desk.fill("#code", code).await?;
    desk.press("button[type='submit']", "Sign in").await?;
    desk.see("nav", "Devices").await
}

/// The page of the device with this name.
pub(crate) async fn device(desk: &Browser, console: &str, name: &str) -> Result<()> {
    desk.goto(&format!("{console}/devices")).await?;
    desk.press("a[href*='/console/devices/']", name).await?;
    desk.see("h1", name).await
}

/// Goes to the approvals and has this key file sign the wipe that waits.
pub(crate) async fn approve(desk: &Browser, console: &str, file: &Path) -> Result<()> {
    desk.goto(&format!("{console}/approvals")).await?;
    desk.see("form[data-message]:not([hidden])", "File of your approver").await?;
    desk.type_on("form[data-message] input[type='file']", &file.display().to_string()).await?;
    desk.press("form[data-message] button", "Sign and approve").await
}

/// Opens the unsent work that waits with this key file.
pub(crate) async fn open_rescue(desk: &Browser, console: &str, file: &Path) -> Result<()> {
    desk.goto(&format!("{console}/rescue")).await?;
    desk.see("#waiting", "Sealed").await?;
    desk.type_on("#file", &file.display().to_string()).await?;
    desk.press("form[enctype] button", "Open").await
}
