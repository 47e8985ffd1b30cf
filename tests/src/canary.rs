//! Canaries: texts that must not be found in any file.

use std::fs;
use std::path::{Path, PathBuf};

/// One canary found in one file.
#[derive(Debug, PartialEq, Eq)]
pub struct Leak {
    /// The file.
    pub file: PathBuf,
    /// The canary.
    pub canary: String,
    /// How it was written there.
    pub form: &'static str,
}

/// Every file under a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return vec![] };
    entries
        .flatten()
        .flat_map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { vec![entry.path()] })
        .collect()
}

/// Looks for every canary in every file under a folder, as UTF-8, UTF-16, base64 at any alignment, hex, and
/// backwards.
pub fn scan(folder: &Path, canaries: &[String]) -> Vec<Leak> {
    let forms: Vec<(String, Vec<(&'static str, Vec<u8>)>)> =
        canaries.iter().map(|canary| (canary.clone(), forms(canary))).collect();
    let mut leaks = Vec::new();
    for file in files(folder) {
        let content = fs::read(&file).unwrap_or_default();
        for (canary, forms) in &forms {
            for (form, bytes) in forms {
                if contains(&content, bytes) {
                    leaks.push(Leak { file: file.clone(), canary: canary.clone(), form });
                }
            }
        }
    }
    leaks
}

fn contains(content: &[u8], wanted: &[u8]) -> bool {
    let Some(first) = wanted.first() else { return false };
    content.iter().enumerate().any(|(at, byte)| {
        byte == first && content[at..].len() >= wanted.len() && content[at..].starts_with(wanted)
    })
}

fn forms(canary: &str) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = canary.as_bytes();
    let mut forms = vec![
        ("utf-8", bytes.to_vec()),
        ("utf-16le", canary.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("utf-16be", canary.encode_utf16().flat_map(u16::to_be_bytes).collect()),
        ("hex", bytes.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()),
        ("reversed", bytes.iter().rev().copied().collect()),
    ];
    for shift in 0..3 {
        // The characters that depend on the canary alone, wherever it lies among other bytes.
        let padded = [vec![0; shift], bytes.to_vec()].concat();
        let text = roundsman_protocol::b64::encode(&padded);
        let from = if shift == 0 { 0 } else { shift + 1 };
        let to = padded.len() / 3 * 4;
        forms.push(("base64", text.as_bytes()[from..to].to_vec()));
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scan_finds_each_form() -> std::io::Result<()> {
        let folder = tempfile::tempdir()?;
        let canary = "canary-0f3a-Ødegård".to_owned();
        for (n, (_, bytes)) in forms(&canary).into_iter().enumerate() {
            let surrounded = [b"....".as_slice(), &bytes, b"...."].concat();
            fs::write(folder.path().join(n.to_string()), surrounded)?;
        }
        let found: std::collections::BTreeSet<PathBuf> =
            scan(folder.path(), &[canary]).into_iter().map(|leak| leak.file).collect();
        assert_eq!(found.len(), 8);
        assert!(scan(folder.path(), &["canary-that-is-not-there".to_owned()]).is_empty());
        Ok(())
    }
}
