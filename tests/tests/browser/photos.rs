//! Photos of a visit, as the administrator sees them.

use crate::NOTE;
use crate::driver::Browser;
use anyhow::{Context, Result, ensure};
use roundsman_core::attachments::{AttachedTo, AttachmentKind, NewAttachment};
use roundsman_web_demo::World;
use std::io::Cursor;

/// A shelf, as far as a few lines of code can make one.
fn shelf(width: u32, height: u32) -> Result<Vec<u8>> {
    let picture = image::RgbImage::from_fn(width, height, |x, y| {
        let plank = y % (height / 4) < 24;
        let box_of = u8::try_from((x / 90 * 67 + y / (height / 4) * 41) % 200).unwrap_or(0);
        image::Rgb(if plank { [92, 64, 40] } else { [box_of + 50, 150, 230 - box_of] })
    });
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Jpeg)?;
    Ok(bytes.into_inner())
}

/// Small pictures stand beside the photos; whatever else is attached is listed without one.
pub(crate) async fn small_pictures_stand_beside_photos(desk: &Browser, world: &World) -> Result<()> {
    let visits = world.act(|admin, _| admin.recent_visits(50)).await??;
    let visit = visits.iter().find(|visit| visit.notes.as_deref() == Some(NOTE)).context("no visit")?.id;
    let client = world.phone(1).context("no phone")?.client().clone();
    for (kind, media_type, content) in [
        (AttachmentKind::Photo, "image/jpeg", shelf(1600, 1200)?),
        (AttachmentKind::Photo, "image/jpeg", shelf(900, 1600)?),
        (AttachmentKind::Signature, "image/jpeg", shelf(400, 100)?),
        (AttachmentKind::Photo, "image/png", b"no picture at all".to_vec()),
        (AttachmentKind::File, "application/pdf", b"%PDF-1.7".to_vec()),
    ] {
        let new = NewAttachment::new(AttachedTo::Visit(visit), kind, media_type, content.len() as u64);
        client.attachments()?.add(&new, &mut content.as_slice())?;
    }
    client.sync(&()).await?;
    client.send_attachments(&()).await?;

    desk.goto(&format!("{}/visits", world.sign_in().url)).await?;
    desk.press("td a", "5 photos").await?;
    desk.see("h1", "Photos of a visit").await?;
    ensure!(desk.count("img.thumbnail").await? == 3, "there are three photos");
    desk.see_drawn("img.thumbnail", 2).await?;
    desk.page("console-12-photos").await
}
