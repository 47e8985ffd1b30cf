//! Looks for words in files that must not hold them.

use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Words shorter than this turn up in ciphertext by chance.
const SHORTEST: usize = 6;

/// Words to look for, in UTF-8 and UTF-16.
pub(super) struct Words {
    by_start: BTreeMap<[u8; 2], Vec<(Vec<u8>, String)>>,
    count: usize,
}

/// What a scan saw.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Scan {
    pub(super) files: usize,
    pub(super) bytes: u64,
    /// Which words were found in which files.
    pub(super) found: BTreeSet<(PathBuf, String)>,
}

impl Words {
    pub(super) fn new(words: impl IntoIterator<Item = String>) -> Self {
        let words: BTreeSet<String> = words.into_iter().filter(|word| word.len() >= SHORTEST).collect();
        let mut by_start: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let count = words.len();
        for word in words {
            let utf16: Vec<u8> = word.encode_utf16().flat_map(u16::to_le_bytes).collect();
            for bytes in [word.clone().into_bytes(), utf16] {
                by_start.entry([bytes[0], bytes[1]]).or_default().push((bytes, word.clone()));
            }
        }
        Self { by_start, count }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Scans every file of these folders, and their names.
    pub(super) fn scan(&self, folders: &[&Path]) -> Result<Scan> {
        let mut scan = Scan::default();
        let mut to_do: Vec<PathBuf> = folders.iter().map(|folder| folder.to_path_buf()).collect();
        while let Some(folder) = to_do.pop() {
            for entry in fs::read_dir(&folder).with_context(|| format!("can't list {}", folder.display()))? {
                let entry = entry?;
                let path = entry.path();
                self.look_at(entry.file_name().as_encoded_bytes(), &path, &mut scan);
                if entry.file_type()?.is_dir() {
                    to_do.push(path);
                    continue;
                }
                let content = fs::read(&path).with_context(|| format!("can't read {}", path.display()))?;
                scan.files += 1;
                scan.bytes += content.len() as u64;
                self.look_at(&content, &path, &mut scan);
            }
        }
        Ok(scan)
    }

    fn look_at(&self, content: &[u8], path: &Path, scan: &mut Scan) {
        // Most places start no word: a table of starts keeps the scan of large files quick.
        let mut starts = vec![false; 1 << 16];
        for start in self.by_start.keys() {
            starts[usize::from(u16::from_le_bytes(*start))] = true;
        }
        for (at, pair) in content.windows(2).enumerate() {
            let start = [pair[0], pair[1]];
            if !starts[usize::from(u16::from_le_bytes(start))] {
                continue;
            }
            for (bytes, word) in self.by_start.get(&start).into_iter().flatten() {
                if content[at..].starts_with(bytes) {
                    scan.found.insert((path.to_owned(), word.clone()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_anywhere_in_either_encoding_and_in_names() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let deep = dir.path().join("deep");
        fs::create_dir(&deep)?;
        fs::write(deep.join("a"), b"\x00\x01xxcanary-7\xFF")?;
        let utf16: Vec<u8> = "沈阳饺子馆 Elm".encode_utf16().flat_map(u16::to_le_bytes).collect();
        fs::write(dir.path().join("b"), utf16)?;
        fs::write(dir.path().join("Corner Deli"), b"nothing")?;
        let words =
            Words::new(["canary-7", "沈阳饺子馆", "Corner Deli", "absent-word", "short"].map(str::to_owned));
        let scan = words.scan(&[dir.path()])?;
        let found: Vec<&str> = scan.found.iter().map(|(_, word)| word.as_str()).collect();
        assert_eq!((words.count(), scan.files), (4, 3));
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(!found.contains(&"absent-word"));
        Ok(())
    }
}
