//! Canaries: texts that must not be found in any file.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// The shortest canary: a shorter one would be found by chance.
const SHORTEST: usize = 6;

/// Something that must not be readable.
#[derive(Clone, PartialEq, Eq)]
pub struct Canary {
    /// What it is.
    pub what: String,
    /// The text.
    pub text: String,
}

/// One canary found in one file.
#[derive(Clone, PartialEq, Eq)]
pub struct Leak {
    /// The file.
    pub file: PathBuf,
    /// What was found.
    pub canary: Canary,
    /// How it was written there.
    pub form: &'static str,
}

impl fmt::Debug for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Canary { what, text } = &self.canary;
        write!(f, "{what} {text:?} as {} in {}", self.form, self.file.display())
    }
}

/// What was looked at, and what was found.
#[derive(Debug, Default)]
pub struct Scan {
    /// Every file.
    pub files: Vec<PathBuf>,
    /// How many bytes they hold.
    pub bytes: u64,
    /// Every canary in them, once for each file and form.
    pub leaks: Vec<Leak>,
}

/// Every file under a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return vec![] };
    entries
        .flatten()
        .flat_map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { vec![entry.path()] })
        .collect()
}

/// Looks for every canary in every file under a folder, and in the files' names: as UTF-8, UTF-16 of both byte orders,
/// base64 of both alphabets at any alignment, hex in both cases, and backwards.
///
/// # Errors
/// A file is there and can't be read.
pub fn scan(folder: &Path, canaries: &[Canary]) -> io::Result<Scan> {
    let forms = Forms::of(canaries);
    let mut scan = Scan::default();
    for file in files(folder) {
        let content = match fs::read(&file) {
            // It was removed since its folder was read.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            content => content?,
        };
        let name = file.file_name().unwrap_or_default().as_encoded_bytes();
        let mut found = forms.found(&content);
        found.extend(forms.found(name));
        found.sort_unstable();
        found.dedup();
        scan.leaks.extend(found.into_iter().map(|n| Leak {
            file: file.clone(),
            canary: canaries[forms.all[n].canary].clone(),
            form: forms.all[n].name,
        }));
        scan.bytes += content.len() as u64;
        scan.files.push(file);
    }
    Ok(scan)
}

struct Form {
    canary: usize,
    name: &'static str,
    bytes: Vec<u8>,
}

/// All forms of all canaries, by their first two bytes, so that one look at a file is enough.
struct Forms {
    all: Vec<Form>,
    begin_with: Vec<Vec<usize>>,
}

impl Forms {
    fn of(canaries: &[Canary]) -> Self {
        let mut all = Vec::new();
        for (canary, Canary { what, text }) in canaries.iter().enumerate() {
            assert!(text.len() >= SHORTEST, "{what} is too short to be told from noise");
            all.extend(forms(text).into_iter().map(|(name, bytes)| Form { canary, name, bytes }));
        }
        let mut begin_with = vec![Vec::new(); 1 << 16];
        for (n, form) in all.iter().enumerate() {
            begin_with[pair(&form.bytes)].push(n);
        }
        Self { all, begin_with }
    }

    /// The numbers of the forms that are in the content.
    fn found(&self, content: &[u8]) -> Vec<usize> {
        let mut found = Vec::new();
        for at in 0..content.len().saturating_sub(1) {
            let rest = &content[at..];
            let candidates = &self.begin_with[pair(rest)];
            found.extend(candidates.iter().filter(|&&n| rest.starts_with(&self.all[n].bytes)));
        }
        found
    }
}

fn pair(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 8 | usize::from(bytes[1])
}

fn forms(canary: &str) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = canary.as_bytes();
    let mut forms = vec![
        ("utf-8", bytes.to_vec()),
        ("utf-16le", canary.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("utf-16be", canary.encode_utf16().flat_map(u16::to_be_bytes).collect()),
        ("hex", bytes.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()),
        ("upper-case hex", bytes.iter().flat_map(|byte| format!("{byte:02X}").into_bytes()).collect()),
        ("reversed", bytes.iter().rev().copied().collect()),
    ];
    for (shift, name) in ["base64", "base64, shifted by 1", "base64, shifted by 2"].into_iter().enumerate() {
        // The characters that depend on the canary alone, wherever it lies among other bytes.
        let padded = [vec![0; shift], bytes.to_vec()].concat();
        let text = roundsman_protocol::b64::encode(&padded);
        let from = if shift == 0 { 0 } else { shift + 1 };
        let to = padded.len() / 3 * 4;
        let url_safe = &text[from..to];
        let standard = url_safe.replace('-', "+").replace('_', "/");
        if standard != url_safe {
            forms.push((name, standard.into_bytes()));
        }
        forms.push((name, url_safe.as_bytes().to_vec()));
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn canary(text: &str) -> Canary {
        Canary { what: "a canary".to_owned(), text: text.to_owned() }
    }

    #[test]
    fn the_scan_finds_each_form_at_the_start_in_the_middle_and_at_the_end() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        // Written out by hand, or by other tools.
        let texts = [
            ("utf-8", b"n\xc3\xb8te-0f?>".to_vec()),
            ("utf-16le", b"n\0\xf8\0t\0e\0-\x000\0f\0?\0>\0".to_vec()),
            ("utf-16be", b"\0n\0\xf8\0t\0e\0-\x000\0f\0?\0>".to_vec()),
            ("hex", b"6ec3b874652d30663f3e".to_vec()),
            ("upper-case hex", b"6EC3B874652D30663F3E".to_vec()),
            ("reversed", b">?f0-et\xb8\xc3n".to_vec()),
            ("base64", b"bsO4dGUtMGY/Pg==".to_vec()),
            ("base64", b"bsO4dGUtMGY_Pg".to_vec()),
            ("base64, shifted by 1", b"Lm7DuHRlLTBmPz4=".to_vec()),
            ("base64, shifted by 2", b"Li5uw7h0ZS0wZj8+".to_vec()),
            ("base64, shifted by 2", b"Li5uw7h0ZS0wZj8-".to_vec()),
        ];
        for (form, bytes) in &texts {
            for (before, after) in [("", ""), ("....", "...."), ("....", "")] {
                let content = [before.as_bytes(), bytes, after.as_bytes()].concat();
                fs::write(folder.path().join("file"), &content)?;
                let scan = scan(folder.path(), &[canary("nøte-0f?>")])?;
                let found: BTreeSet<&str> = scan.leaks.iter().map(|leak| leak.form).collect();
                assert_eq!(found, BTreeSet::from([*form]));
                assert_eq!((scan.files.len(), scan.bytes), (1, content.len() as u64));
            }
        }
        Ok(())
    }

    #[test]
    fn a_name_of_a_file_is_read_too_and_what_is_not_there_is_not_found() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        fs::create_dir(folder.path().join("inner"))?;
        fs::write(folder.path().join("inner/of-canary-7"), b"canary-8")?;
        let found = |text| scan(folder.path(), &[canary(text)]).map(|scan| scan.leaks.len());
        assert_eq!((found("canary-7")?, found("canary-8")?, found("canary-9")?), (1, 1, 0));
        Ok(())
    }
}
