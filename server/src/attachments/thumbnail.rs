//! Small pictures of photos, made when somebody asks for the first time.
//!
//! They are drawn anew from the pixels: nothing that a camera writes beside them, such as the place, is in them.

use super::Contents;
use super::give;
use super::seal;
use crate::app::App;
use crate::refusal::Refusal;
use crate::storage::StoredContent;
use crate::worker::work;
use image::codecs::jpeg::JpegEncoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits, Rgb, RgbImage};
use roundsman_protocol::ErrorCode;
use roundsman_protocol::attachment::MAX_THUMBNAIL;
use roundsman_protocol::keys::DeviceKey;
use std::io::Cursor;
use std::sync::Arc;
use tokio::sync::Semaphore;
use uuid::Uuid;
use zeroize::Zeroizing;

/// The longer side, in pixels.
const SIDE: u32 = 320;

/// Of 100.
const QUALITY: u8 = 75;

/// The formats that are read.
const DRAWN: [&str; 2] = ["image/jpeg", "image/png"];

/// The largest content that is looked at, in bytes.
const LARGEST: u64 = 32 << 20;

/// The most bytes of a picture in memory: 70 megapixels of a photo.
const MOST_PIXELS: u64 = 210_000_000;

/// One picture at a time is in memory.
static MAKING: Semaphore = Semaphore::const_new(1);

/// The small picture of an attachment that a device may have, as a JPEG.
///
/// # Errors
/// [`ErrorCode::NotFound`] if there is no such attachment for this device, if its content is not there, or if no
/// picture can be made of it.
pub(crate) async fn thumbnail(
    app: &Arc<App>,
    key: DeviceKey,
    access: String,
    attachment: Uuid,
) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let shared = Arc::clone(app);
    let content = work(move || give::allowed(&shared, &key, &access, attachment)).await?;
    Small::stored(app, content)?.jpeg().await
}

/// Whether a small picture is worth asking for: the format is one that is drawn, by what the phone says of it.
pub(crate) fn may_be_drawn(media_type: &str, size: u64) -> bool {
    size <= LARGEST && DRAWN.iter().any(|drawn| drawn.eq_ignore_ascii_case(media_type))
}

/// The small picture of a content, for somebody who may have it.
pub(crate) struct Small {
    contents: Contents,
    content: StoredContent,
}

impl Small {
    /// Of the content of an attachment, if all of it is there.
    pub(crate) fn stored(app: &App, content: Option<StoredContent>) -> Result<Self, Refusal> {
        let content = content.filter(|content| content.stored).ok_or(ErrorCode::NotFound)?;
        Ok(Self { contents: app.contents.clone(), content })
    }

    /// As a JPEG; [`ErrorCode::NotFound`] if no picture can be made of it.
    pub(crate) async fn jpeg(self) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let jpeg = match self.contents.thumbnail(&self.content).await? {
            Some(made) => made,
            None => self.make().await?,
        };
        // That none can be made is kept too, so that it is tried once.
        if jpeg.is_empty() { Err(ErrorCode::NotFound.into()) } else { Ok(jpeg) }
    }

    async fn make(self) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let Self { contents, content } = self;
        let _alone = MAKING.acquire().await.map_err(|_| Refusal::Worker)?;
        if let Some(made) = contents.thumbnail(&content).await? {
            return Ok(made);
        }
        let mut jpeg = Zeroizing::new(Vec::new());
        if content.size <= LARGEST {
            let mut picture = Zeroizing::new(Vec::with_capacity(usize::try_from(content.size).unwrap_or(0)));
            for number in 0..seal::count(content.size) {
                picture.extend_from_slice(&contents.part(&content, number).await?);
            }
            jpeg = work(move || Ok(draw(&picture).unwrap_or_default().into())).await?;
        }
        contents.put_thumbnail(&content, &jpeg).await?;
        Ok(jpeg)
    }
}

/// The picture, upright and small; nothing if it is none that can be read, or is too large.
fn draw(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut limits = Limits::default();
    limits.max_alloc = Some(MOST_PIXELS);
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().ok()?;
    reader.limits(limits);
    let mut decoder = reader.into_decoder().ok()?;
    if decoder.total_bytes() > MOST_PIXELS {
        return None;
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut picture = DynamicImage::from_decoder(decoder).ok()?;
    if picture.width().max(picture.height()) > SIDE {
        picture = picture.thumbnail(SIDE, SIDE);
    }
    picture.apply_orientation(orientation);
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY).encode_image(&on_white(&picture)).ok()?;
    (jpeg.len() <= MAX_THUMBNAIL).then_some(jpeg)
}

/// A JPEG lets nothing shine through: a signature without a background would be black on black.
fn on_white(picture: &DynamicImage) -> RgbImage {
    let from = picture.to_rgba8();
    RgbImage::from_fn(from.width(), from.height(), |x, y| {
        let [red, green, blue, alpha] = from.get_pixel(x, y).0.map(u16::from);
        Rgb([red, green, blue]
            .map(|part| u8::try_from((part * alpha + 255 * (255 - alpha)) / 255).unwrap_or(255)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::TestResult;
    use image::{ImageFormat, Rgba, RgbaImage};

    fn encoded(picture: &DynamicImage, format: ImageFormat) -> TestResult<Vec<u8>> {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format)?;
        Ok(bytes.into_inner())
    }

    /// A JPEG with the Exif of a camera that was held upright: the orientation, and a place behind.
    fn upright(jpeg: &[u8]) -> Vec<u8> {
        let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0".to_vec();
        exif.extend(b"GPS 40.7128 N");
        let length = u16::try_from(exif.len() + 2).unwrap_or_default().to_be_bytes();
        [&jpeg[..2], &[0xff, 0xe1], &length, &exif, &jpeg[2..]].concat()
    }

    #[test]
    fn a_thumbnail_is_small_upright_and_does_not_tell_the_place() -> TestResult {
        let photo =
            DynamicImage::ImageRgb8(RgbImage::from_fn(1600, 1200, |x, _| Rgb([(x / 7) as u8, 90, 30])));
        let photo = upright(&encoded(&photo, ImageFormat::Jpeg)?);
        let jpeg = draw(&photo).ok_or("no picture")?;
        let small = image::load_from_memory(&jpeg)?;
        assert_eq!((small.width(), small.height()), (240, 320));
        assert!(jpeg.len() < 20_000, "{} bytes", jpeg.len());
        for gone in [&b"Exif"[..], b"40.7128"] {
            assert!(photo.windows(gone.len()).any(|window| window == gone));
            assert!(!jpeg.windows(gone.len()).any(|window| window == gone));
        }
        Ok(())
    }

    #[test]
    fn a_signature_is_drawn_on_white_and_what_is_small_is_not_blown_up() -> TestResult {
        let ink = |x, _| Rgba([0, 0, 0, if x < 20 { 255 } else { 0 }]);
        let drawn = DynamicImage::ImageRgba8(RgbaImage::from_fn(40, 10, ink));
        let small =
            image::load_from_memory(&draw(&encoded(&drawn, ImageFormat::Png)?).ok_or("none")?)?.to_rgb8();
        assert_eq!(small.dimensions(), (40, 10));
        assert!(small.get_pixel(5, 5).0[0] < 30 && small.get_pixel(35, 5).0[0] > 225);
        Ok(())
    }

    #[test]
    fn what_is_no_picture_or_would_fill_the_memory_has_none() -> TestResult {
        assert!(draw(b"").is_none() && draw(b"\xff\xd8\xff and no more").is_none());
        // A PNG that says it has 30,000 times 30,000 pixels.
        let mut bomb = encoded(&DynamicImage::new_rgb8(1, 1), ImageFormat::Png)?;
        for side in [16, 20] {
            bomb[side..side + 4].copy_from_slice(&30_000_u32.to_be_bytes());
        }
        assert!(draw(&bomb).is_none());
        Ok(())
    }
}
