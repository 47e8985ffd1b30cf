//! What holds for a sealed file whatever its length, and whatever is done to it.
#![allow(clippy::unwrap_used, reason = "test code")]

use super::*;
use proptest::prelude::*;

const FILE: Uuid = Uuid::from_u128(0x0123_4567_89ab_cdef);

fn key(n: u8) -> FileKey {
    FileKey::new([n; 32])
}

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at / 7 + at) as u8).collect()
}

fn seal_with(header: Header, content: &[u8]) -> Vec<u8> {
    let mut file = header.to_bytes().to_vec();
    let chunks = Chunks::of(header);
    let mut padded = content.to_vec();
    padded.resize(chunks.header().padded as usize, 0);
    for number in 0..chunks.header().chunks() {
        let from = number as usize * CHUNK;
        let mut chunk = padded[from..from + chunks.header().chunk_size(number)].to_vec();
        chunks.seal(&key(1), number, &mut chunk).unwrap();
        file.extend(chunk);
    }
    file
}

fn seal(content: &[u8]) -> Vec<u8> {
    seal_with(Header::new(FILE, [9; PREFIX], content.len() as u64), content)
}

fn at(file: &[u8]) -> impl Fn(u64, &mut [u8]) -> Result<usize, FileError> {
    |from, into| {
        let rest = file.get(from as usize..).unwrap_or_default();
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

/// Everything in a file, with its padding.
fn open_with(key: &FileKey, file: &[u8]) -> Result<Vec<u8>, FileError> {
    let chunks = Chunks::of(Header::from_bytes(file)?);
    let mut all = Vec::new();
    for number in 0..chunks.header().chunks() {
        let mut chunk = Vec::new();
        chunks.open(key, number, &mut chunk, at(file))?;
        all.extend(chunk);
    }
    Ok(all)
}

fn open(file: &[u8]) -> Result<Vec<u8>, FileError> {
    open_with(&key(1), file)
}

/// Lengths around the borders of chunks, and any up to three chunks and one byte.
fn sizes() -> impl Strategy<Value = usize> {
    let borders = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 1];
    prop_oneof![proptest::sample::select(borders.to_vec()), 0..=3 * CHUNK + 1]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn content_of_any_length_comes_back_and_every_chunk_opens_by_itself(size in sizes()) {
        let (content, file) = (content(size), seal(&content(size)));
        let header = Header::from_bytes(&file).unwrap();
        prop_assert_eq!(file.len() as u64, header.stored());
        let all = open(&file).unwrap();
        prop_assert_eq!(&all[..size], &content[..]);
        prop_assert!(all[size..].iter().all(|byte| *byte == 0));
        let chunks = Chunks::of(header);
        for number in (0..chunks.header().chunks()).rev() {
            let (mut chunk, from) = (Vec::new(), number as usize * CHUNK);
            chunks.open(&key(1), number, &mut chunk, at(&file)).unwrap();
            prop_assert_eq!(&chunk[..], &all[from..from + chunk.len()]);
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_an_error(size in sizes(), place: prop::sample::Index, bit in 0..8u8) {
        let mut file = seal(&content(size));
        let place = place.index(file.len());
        file[place] ^= 1u8 << bit;
        prop_assert!(open(&file).is_err(), "bit {bit} of byte {place}");
    }

    #[test]
    fn a_file_that_is_cut_anywhere_is_an_error(size in sizes(), place: prop::sample::Index) {
        let file = seal(&content(size));
        let cut = place.index(file.len());
        prop_assert_eq!(open(&file[..cut]).err(), Some(FileError::Truncated), "cut at {}", cut);
    }

    #[test]
    fn chunks_in_another_order_are_an_error(size in 2 * CHUNK..=3 * CHUNK + 1) {
        let file = seal(&content(size));
        let (first, second) = (HEADER, HEADER + CHUNK + TAG);
        let mut swapped = file.clone();
        swapped[first..second].copy_from_slice(&file[second..second + CHUNK + TAG]);
        swapped[second..second + CHUNK + TAG].copy_from_slice(&file[first..second]);
        prop_assert_eq!(open(&swapped).err(), Some(FileError::Damaged));
        let mut twice = file.clone();
        twice[second..second + CHUNK + TAG].copy_from_slice(&file[first..second]);
        prop_assert_eq!(open(&twice).err(), Some(FileError::Damaged));
    }

    #[test]
    fn padding_hides_the_length_and_costs_at_most_an_eighth(size in 0..1u64 << 40) {
        let padded = padded(size);
        prop_assert!(padded >= size);
        prop_assert!(padded - size <= size / 8);
        prop_assert_eq!(super::padded(padded), padded);
    }
}

#[test]
fn every_byte_of_the_header_counts() {
    let file = seal(&content(100));
    for at in 0..HEADER {
        for bit in 0..8 {
            let mut changed = file.clone();
            changed[at] ^= 1 << bit;
            let error = open(&changed).unwrap_err();
            let fits = match at {
                4 | 5 => error == FileError::Newer,
                _ => matches!(error, FileError::Damaged | FileError::Truncated),
            };
            assert!(fits, "bit {bit} of byte {at}: {error:?}");
        }
    }
}

#[test]
fn a_chunk_of_another_file_is_an_error_even_with_the_same_key_and_prefix() {
    let (mine, other) =
        (seal(&content(CHUNK * 2)), Header::new(Uuid::from_u128(2), [9; PREFIX], CHUNK as u64 * 2));
    let other = seal_with(other, &content(CHUNK * 2));
    let spliced = [&mine[..HEADER + CHUNK + TAG], &other[HEADER + CHUNK + TAG..]].concat();
    assert_eq!(open(&spliced).err(), Some(FileError::Damaged));
    let body_of_another = [&mine[..HEADER], &other[HEADER..]].concat();
    assert_eq!(open(&body_of_another).err(), Some(FileError::Damaged));
}

#[test]
fn a_file_that_ends_with_a_whole_chunk_less_and_says_so_is_an_error() {
    // The header is made for what is left, so that only the last chunk's mark can tell.
    let file = seal(&content(3 * CHUNK));
    let shorter = Header::new(FILE, [9; PREFIX], 2 * CHUNK as u64).to_bytes();
    let cut = [&shorter, &file[HEADER..HEADER + 2 * (CHUNK + TAG)]].concat();
    assert_eq!(open(&cut).err(), Some(FileError::Damaged));
}

#[test]
fn another_key_opens_nothing() {
    assert_eq!(open_with(&key(2), &seal(&content(10))).err(), Some(FileError::Damaged));
}

#[test]
fn lengths_are_padded_as_in_the_paper() {
    for (size, expected) in [(0, 0), (1, 1), (8, 8), (9, 10), (100, 104), (1_000_000, 1_015_808)] {
        assert_eq!(padded(size), expected, "{size}");
    }
}

#[test]
fn a_header_with_a_length_that_no_content_has_is_refused() {
    for length in [9u64, u64::MAX, MAX_PADDED + (1 << 40)] {
        let mut bytes = Header::new(FILE, [9; PREFIX], 8).to_bytes();
        bytes[HEADER - 8..].copy_from_slice(&length.to_be_bytes());
        assert_eq!(Header::from_bytes(&bytes).err(), Some(FileError::Damaged), "{length}");
    }
}
