//! A JPEG as it is read, without what tells where it was taken.
//!
//! Cameras write the place into segments of their own (Exif and XMP in APP1, IPTC in APP13), and phones append whole files
//! with the same after the picture's end. Those segments are overwritten and what follows the end is, so nothing moves and
//! the size stays: it has to be known before the first byte is sealed. Of Exif the orientation is kept, without which a
//! picture lies on its side. Pixels are not touched, and what is no JPEG goes through as it is.
//!
//! Segments: ITU-T T.81, annex B. Exif: CIPA DC-008, sections 4.5 to 4.7.

use std::io::{self, BufRead, BufReader, Read};

const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
const APP1: u8 = 0xe1;
const APP2: u8 = 0xe2;
const APP13: u8 = 0xed;

/// The tag of the orientation in Exif.
const ORIENTATION: u16 = 0x0112;

/// How much is read at a time.
const BLOCK: u64 = 8 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first byte.
    Start,
    /// Before a marker.
    Marker,
    /// In the picture's own data.
    Scan,
    /// After the picture's end.
    Tail,
    /// It is no JPEG, or not any more.
    Plain,
}

/// Reads a picture without its place.
pub(super) struct Placeless<'r> {
    from: BufReader<&'r mut dyn Read>,
    state: State,
    /// What was read and not handed out.
    ready: Vec<u8>,
    at: usize,
}

impl<'r> Placeless<'r> {
    pub(super) fn new(from: &'r mut dyn Read) -> Self {
        Self { from: BufReader::new(from), state: State::Start, ready: Vec::new(), at: 0 }
    }

    /// Gets more ready; nothing at the end.
    fn refill(&mut self) -> io::Result<()> {
        self.ready.clear();
        self.at = 0;
        match self.state {
            State::Start => {
                let begins = self.take(2)? && self.ready == [0xff, SOI];
                self.state = if begins { State::Marker } else { State::Plain };
                Ok(())
            }
            State::Marker => self.segment(),
            State::Scan => self.scan(),
            State::Plain => self.take(BLOCK).map(drop),
            State::Tail => {
                self.take(BLOCK)?;
                self.ready.fill(0);
                Ok(())
            }
        }
    }

    /// Reads so many bytes, or what there is; whether it was all.
    fn take(&mut self, count: u64) -> io::Result<bool> {
        let read = (&mut self.from).take(count).read_to_end(&mut self.ready)?;
        Ok(read as u64 == count)
    }

    /// One marker with its segment.
    fn segment(&mut self) -> io::Result<()> {
        if self.take(1)? && self.ready.ends_with(&[0xff]) {
            return self.after_ff();
        }
        self.state = State::Plain;
        Ok(())
    }

    /// The rest of a marker whose first byte is there, and its segment.
    fn after_ff(&mut self) -> io::Result<()> {
        // Any number of these may fill up to a marker.
        while self.ready.ends_with(&[0xff]) {
            if !self.take(1)? {
                return Ok(());
            }
        }
        let code = self.ready.last().copied().unwrap_or_default();
        self.state = match code {
            EOI => State::Tail,
            SOS => State::Scan,
            _ => State::Marker,
        };
        // Without a length: the end, a beginning once more, restarts, TEM.
        if matches!(code, EOI | SOI | 0xd0..=0xd7 | 0x01) {
            return Ok(());
        }
        let start = self.ready.len();
        self.take(2)?;
        let Some(&[high, low]) = self.ready.get(start..) else { return Ok(()) };
        let Some(length) = u16::from_be_bytes([high, low]).checked_sub(2) else {
            self.state = State::Plain;
            return Ok(());
        };
        self.take(u64::from(length))?;
        let payload = self.ready.get_mut(start + 2..).unwrap_or_default();
        if matches!(code, APP1 | APP13) || (code == APP2 && payload.starts_with(b"MPF\0")) {
            overwrite(payload);
        }
        Ok(())
    }

    /// The picture's own data, up to the next segment.
    fn scan(&mut self) -> io::Result<()> {
        while (self.ready.len() as u64) < BLOCK {
            let read = (&mut self.from).take(BLOCK).read_until(0xff, &mut self.ready)?;
            if read == 0 {
                return Ok(());
            }
            if !self.ready.ends_with(&[0xff]) {
                continue;
            }
            // A byte of data that looks like a marker's has a zero after it; restarts are among the data.
            match self.from.fill_buf()?.first() {
                Some(0 | 0xff | 0xd0..=0xd7) => {}
                Some(_) => return self.after_ff(),
                None => return Ok(()),
            }
        }
        Ok(())
    }
}

impl Read for Placeless<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at == self.ready.len() {
            self.refill()?;
        }
        let left = self.ready.get(self.at..).unwrap_or_default();
        let count = left.len().min(into.len());
        into[..count].copy_from_slice(&left[..count]);
        self.at += count;
        Ok(count)
    }
}

/// Overwrites a segment with as many zeros; in Exif the orientation stays.
fn overwrite(payload: &mut [u8]) {
    let orientation = payload.strip_prefix(b"Exif\0\0").and_then(orientation);
    payload.fill(0);
    let Some(orientation) = orientation else { return };
    // One directory with one entry: tag, SHORT, one of them, the value; and no other directory.
    let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01".to_vec();
    exif.extend(ORIENTATION.to_be_bytes());
    exif.extend([0, 3, 0, 0, 0, 1, 0, orientation, 0, 0, 0, 0, 0, 0]);
    if let Some(place) = payload.get_mut(..exif.len()) {
        place.copy_from_slice(&exif);
    }
}

/// The orientation, from 1 to 8, in the first directory of a TIFF.
fn orientation(tiff: &[u8]) -> Option<u8> {
    let little = match tiff.get(..2)? {
        b"II" => true,
        b"MM" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes: [u8; 2] = tiff.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let offset: [u8; 4] = tiff.get(4..8)?.try_into().ok()?;
    let offset = if little { u32::from_le_bytes(offset) } else { u32::from_be_bytes(offset) };
    let directory = usize::try_from(offset).ok()?;
    let entries = usize::from(short(directory)?);
    (0..entries)
        .filter_map(|entry| directory.checked_add(2 + 12 * entry))
        .find(|at| short(*at) == Some(ORIENTATION))
        .and_then(|at| u8::try_from(short(at.checked_add(8)?)?).ok())
        .filter(|value| (1..=8).contains(value))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use super::*;

    fn read(mut bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Placeless::new(&mut bytes).read_to_end(&mut out).unwrap();
        out
    }

    fn segment(code: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len() + 2).unwrap().to_be_bytes();
        [&[0xff, code], length.as_slice(), payload].concat()
    }

    /// Exif of a camera: a maker, an orientation, and a place somewhere behind.
    fn exif(little: bool, orientation: u16) -> Vec<u8> {
        let short = |n: u16| if little { n.to_le_bytes() } else { n.to_be_bytes() };
        let long = |n: u32| if little { n.to_le_bytes() } else { n.to_be_bytes() };
        let mut exif = b"Exif\0\0".to_vec();
        exif.extend(if little { b"II" } else { b"MM" });
        exif.extend([short(42).as_slice(), &long(8), &short(2)].concat());
        exif.extend([short(0x010f).as_slice(), &short(2), &long(4), b"Cam\0"].concat());
        exif.extend(
            [short(ORIENTATION).as_slice(), &short(3), &long(1), &short(orientation), &[0; 2]].concat(),
        );
        exif.extend([long(0).as_slice(), b"GPS 40.7128 N 74.0060 W"].concat());
        exif
    }

    fn photo(exif: &[u8]) -> Vec<u8> {
        let scan = [b"pixels \xff\0 more \xff\xd3 pixels".as_slice(), &vec![7; 20_000]].concat();
        [
            &[0xff, SOI][..],
            &segment(0xe0, b"JFIF\0"),
            &segment(APP1, exif),
            &segment(APP1, b"http://ns.adobe.com/xap/1.0/\0<GPS 40.7128 N/>"),
            &segment(APP2, b"ICC_PROFILE\0colours"),
            &segment(APP2, b"MPF\0where the other picture is"),
            &segment(APP13, b"Photoshop 3.0\0GPS 40.7128 N"),
            &[0xff, 0xff],
            &segment(0xdb, &[9; 64]),
            &segment(SOS, &[1; 10]),
            &scan,
            &segment(0xc4, &[3; 30]),
            &segment(SOS, &[2; 10]),
            &scan,
            &[0xff, EOI],
            b"a film of the same second, GPS 40.7128 N",
        ]
        .concat()
    }

    #[test]
    fn the_place_is_gone_and_everything_else_is_where_it_was() {
        for little in [true, false] {
            let before = photo(&exif(little, 6));
            let after = read(&before);
            assert_eq!(after.len(), before.len());
            for gone in [&b"40.7128"[..], b"GPS", b"Cam", b"xap", b"MPF", b"film"] {
                assert!(!after.windows(gone.len()).any(|window| window == gone), "{gone:?}");
            }
            let at = before.windows(4).position(|window| window == b"Exif").unwrap();
            assert_eq!(orientation(&after[at + 6..]), Some(6), "it still stands upright");
            let kept = |part: &[u8]| {
                let at = before.windows(part.len()).position(|window| window == part).unwrap();
                after[at..at + part.len()] == *part
            };
            assert!(kept(b"JFIF") && kept(b"ICC_PROFILE\0colours") && kept(&[9; 64]) && kept(&[3; 30]));
            let scan = before.windows(6).position(|window| window == b"pixels").unwrap();
            let end = before.windows(6).position(|window| window == b"a film").unwrap();
            assert!(before[scan..end] == after[scan..end], "no pixel is touched");
            assert!(read(&after) == after, "a second time changes nothing");
        }
    }

    #[test]
    fn what_is_no_jpeg_goes_through_as_it_is_and_nothing_is_ever_longer_or_shorter() {
        for plain in [&b""[..], b"\xff", b"a text with GPS", b"\x89PNG\r\n", &[0xff; 9]] {
            assert_eq!(read(plain), plain);
        }
        let whole = photo(&exif(true, 3));
        for cut in (0..whole.len()).step_by(7) {
            let after = read(&whole[..cut]);
            assert_eq!(after.len(), cut);
            assert!(!after.windows(7).any(|window| window == b"40.7128"), "cut at {cut}");
        }
        // Whatever bit is another one.
        for at in (0..400).map(|at| at % whole.len()) {
            let mut broken = whole[..2_000].to_vec();
            broken[at] ^= 1 << (at % 8);
            assert_eq!(read(&broken).len(), broken.len());
        }
    }
}
