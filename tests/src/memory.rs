//! What lies in the memory of a process.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

/// How often each of `wanted` is in the writable memory of a process, which must be this one's child.
///
/// # Errors
/// The process is gone, or may not be looked at.
pub fn find(process: u32, wanted: &[Vec<u8>]) -> io::Result<Vec<usize>> {
    let maps = fs::read_to_string(format!("/proc/{process}/maps"))?;
    let memory = File::open(format!("/proc/{process}/mem"))?;
    let mut found = vec![0; wanted.len()];
    for line in maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|may| may.starts_with("rw"))) {
        let Some((from, to)) = line.split(' ').next().and_then(|range| range.split_once('-')) else {
            continue;
        };
        let (Ok(from), Ok(to)) = (u64::from_str_radix(from, 16), u64::from_str_radix(to, 16)) else {
            continue;
        };
        let mut bytes = vec![0; (to - from) as usize];
        // Some of the kernel's own mappings can't be read.
        if memory.read_exact_at(&mut bytes, from).is_err() {
            continue;
        }
        for (count, wanted) in found.iter_mut().zip(wanted) {
            *count += occurrences(&bytes, wanted);
        }
    }
    Ok(found)
}

fn occurrences(bytes: &[u8], wanted: &[u8]) -> usize {
    let Some((first, rest)) = wanted.split_first() else { return 0 };
    let starts = bytes.iter().enumerate().filter(|(_, byte)| *byte == first);
    starts.filter(|(at, _)| bytes[at + 1..].starts_with(rest)).count()
}
