//! A door for fuzz targets: sealed files, as they lie on a disk and as somebody might change them.

use crate::vault::FileKey;
use roundsman_protocol::sealed_file::{Chunks, FileError, HEADER, Header, PREFIX, TAG};
use uuid::Uuid;

/// Reads a file as it comes, and as the body behind a header that fits; then seals the bytes and changes the file at a
/// place that they name. What opens after that must be what was sealed.
///
/// # Panics
/// A changed file opens, or what was sealed does not: a find.
pub fn attachment(bytes: &[u8]) {
    let key = FileKey::new([1; 32]);
    if let Ok(header) = Header::from_bytes(bytes) {
        assert_eq!(header.to_bytes(), bytes[..HEADER], "a header is written in one way");
        open(&key, header, bytes);
    }
    let header = Header::new(Uuid::from_u128(2), [3; PREFIX], bytes.len() as u64);
    open(&key, header.clone(), &[&header.to_bytes(), bytes].concat());

    let mut file = seal(&key, &header, bytes);
    assert!(open(&key, header.clone(), &file).is_some_and(|content| content.starts_with(bytes)));
    if let Some((place, [change, ..])) = bytes.split_first_chunk::<4>() {
        let place = u32::from_le_bytes(*place) as usize % file.len();
        file[place] ^= change;
        let opened = Header::from_bytes(&file).ok().and_then(|header| open(&key, header, &file));
        assert_eq!(opened.is_some(), *change == 0, "a changed file opens");
    }
}

fn seal(key: &FileKey, header: &Header, content: &[u8]) -> Vec<u8> {
    let chunks = Chunks::of(header.clone());
    let mut file = header.to_bytes().to_vec();
    let mut left = content;
    for number in 0..header.chunks() {
        let (part, rest) = left.split_at(left.len().min(header.chunk_size(number)));
        left = rest;
        let mut chunk = part.to_vec();
        chunk.resize(header.chunk_size(number), 0);
        assert!(chunks.seal(key, number, &mut chunk).is_ok());
        assert_eq!(chunk.len(), header.chunk_size(number) + TAG);
        file.extend(chunk);
    }
    file
}

/// All chunks of a file. It ends at the first that does not open, so that a header which promises more than there is
/// costs nothing.
fn open(key: &FileKey, header: Header, file: &[u8]) -> Option<Vec<u8>> {
    let chunks = Chunks::of(header);
    let (mut content, mut chunk) = (Vec::new(), Vec::new());
    for number in 0..chunks.header().chunks() {
        let read = |at: u64, into: &mut [u8]| {
            let rest = usize::try_from(at).ok().and_then(|at| file.get(at..)).unwrap_or_default();
            let count = rest.len().min(into.len());
            into[..count].copy_from_slice(&rest[..count]);
            Ok::<_, FileError>(count)
        };
        chunks.open(key, number, &mut chunk, read).ok()?;
        content.extend_from_slice(&chunk);
    }
    Some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_door_takes_any_length_and_any_change() {
        for size in [0, 1, 4, 5, HEADER, HEADER + TAG, 70_000] {
            let bytes: Vec<u8> = (0..size).map(|at| at as u8).collect();
            attachment(&bytes);
            let key = FileKey::new([1; 32]);
            let header = Header::new(Uuid::from_u128(2), [3; PREFIX], size as u64);
            let sealed = seal(&key, &header, &bytes);
            attachment(&sealed);
            assert!(open(&key, header, &sealed).is_some_and(|content| content.starts_with(&bytes)));
        }
    }
}
