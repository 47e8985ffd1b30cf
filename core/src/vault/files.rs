//! Small files that must be found whole or not at all, and changed by nobody else.
//!
//! One file is `magic ‖ generation (8) ‖ length (4) ‖ body ‖ HMAC-SHA256 (32)`, numbers in big-endian order, under
//! the platform key [`KeyAlias::Control`]. A [`Pair`] keeps its content in two such files: a change goes into the
//! one that does not hold the present state.

use super::VaultError;
use crate::platform::{Disk, KeyAlias, KeyError, PlatformKeys};
use std::path::{Path, PathBuf};
use subtle::ConstantTimeEq;

const TAG: usize = 32;
const HEAD: usize = 8 + 8 + 4;

/// What sort of file it is, so that none can pass as another.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Sort {
    pub(super) magic: [u8; 8],
    /// The name for people.
    pub(super) name: &'static str,
}

/// Why a file's content is not to be had.
enum Unreadable {
    Missing,
    Truncated,
    Tampered,
}

impl Unreadable {
    fn of(self, sort: Sort) -> VaultError {
        match self {
            Self::Missing => VaultError::Missing { file: sort.name },
            Self::Truncated => VaultError::Truncated { file: sort.name },
            Self::Tampered => VaultError::Tampered { file: sort.name },
        }
    }
}

/// Where the files are, and what authenticates them.
#[derive(Clone, Copy)]
pub(super) struct Folder<'a> {
    pub(super) dir: &'a Path,
    pub(super) disk: &'a dyn Disk,
    pub(super) keys: &'a dyn PlatformKeys,
}

impl Folder<'_> {
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Every file whose name in the folder itself begins so; those that are being replaced are among them.
    pub(super) fn named(&self, prefixes: &[&str]) -> Result<Vec<PathBuf>, VaultError> {
        let mut files = self.disk.list(self.dir)?;
        files.retain(|path| {
            let name = path.strip_prefix(self.dir).ok().and_then(Path::to_str);
            name.is_some_and(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)))
        });
        Ok(files)
    }

    pub(super) fn has(&self, name: &str) -> Result<bool, VaultError> {
        Ok(self.disk.read(&self.path(name))?.is_some())
    }

    pub(super) fn has_any(&self, names: &[&str]) -> Result<bool, VaultError> {
        names.iter().try_fold(false, |found, name| Ok(found || self.has(name)?))
    }

    /// Reads a single file.
    pub(super) fn read(&self, sort: Sort, name: &str) -> Result<Vec<u8>, VaultError> {
        Ok(self.open(sort, name)?.map_err(|unreadable| unreadable.of(sort))?.body)
    }

    /// Replaces a single file.
    pub(super) fn write(&self, sort: Sort, name: &str, body: &[u8]) -> Result<(), VaultError> {
        Ok(self.disk.replace(self.dir, name, &self.seal(sort, 0, body)?)?)
    }

    fn tag(&self, message: &[u8]) -> Result<[u8; TAG], KeyError> {
        Ok(*self.keys.hmac(KeyAlias::Control, message)?)
    }

    fn seal(&self, sort: Sort, generation: u64, body: &[u8]) -> Result<Vec<u8>, VaultError> {
        let mut bytes = Vec::with_capacity(HEAD + body.len() + TAG);
        bytes.extend_from_slice(&sort.magic);
        bytes.extend_from_slice(&generation.to_be_bytes());
        bytes.extend_from_slice(&(body.len() as u32).to_be_bytes());
        bytes.extend_from_slice(body);
        let tag = self.tag(&bytes)?;
        bytes.extend_from_slice(&tag);
        Ok(bytes)
    }

    /// The inner error says what is wrong with the file, the outer one that it could not be judged.
    fn open(&self, sort: Sort, name: &str) -> Result<Result<Content, Unreadable>, VaultError> {
        let Some(bytes) = self.disk.read(&self.path(name))? else { return Ok(Err(Unreadable::Missing)) };
        let Some((generation, length)) = head(&bytes) else { return Ok(Err(Unreadable::Truncated)) };
        if bytes[..8] != sort.magic {
            return Ok(Err(Unreadable::Tampered));
        }
        let Some((message, tag)) = bytes.split_last_chunk::<TAG>().filter(|(rest, _)| rest.len() >= HEAD)
        else {
            return Ok(Err(Unreadable::Truncated));
        };
        if message.len() != HEAD + length {
            let shorter = message.len() < HEAD + length;
            return Ok(Err(if shorter { Unreadable::Truncated } else { Unreadable::Tampered }));
        }
        if !bool::from(self.tag(message)?.ct_eq(tag)) {
            return Ok(Err(Unreadable::Tampered));
        }
        Ok(Ok(Content { generation, body: message[HEAD..].to_vec() }))
    }
}

/// Generation and length, which are not trusted yet.
fn head(bytes: &[u8]) -> Option<(u64, usize)> {
    let (generation, rest) = bytes.get(8..)?.split_first_chunk()?;
    let (length, _) = rest.split_first_chunk()?;
    Some((u64::from_be_bytes(*generation), u32::from_be_bytes(*length) as usize))
}

struct Content {
    generation: u64,
    body: Vec<u8>,
}

/// The present state of a content that is kept in two files.
pub(super) struct Pair {
    sort: Sort,
    names: [&'static str; 2],
    /// Which of the two files holds the present state.
    at: usize,
    generation: u64,
    /// Whether the other file holds the same.
    pub(super) even: bool,
}

impl Pair {
    /// A pair with nothing in it yet.
    pub(super) fn empty(sort: Sort, names: [&'static str; 2]) -> Self {
        Self { sort, names, at: 1, generation: 0, even: false }
    }

    /// Reads the newer of the two that is whole and authentic.
    ///
    /// # Errors
    /// Neither is; both are left as they are.
    pub(super) fn load(
        folder: &Folder<'_>,
        sort: Sort,
        names: [&'static str; 2],
    ) -> Result<(Self, Vec<u8>), VaultError> {
        let (a, b) = (folder.open(sort, names[0])?, folder.open(sort, names[1])?);
        let even = matches!((&a, &b), (Ok(a), Ok(b)) if a.body == b.body);
        let (at, content) = match (a, b) {
            (Ok(a), Ok(b)) if b.generation > a.generation => (1, b),
            (Ok(a), _) => (0, a),
            (Err(_), Ok(b)) => (1, b),
            (Err(Unreadable::Missing), Err(unreadable)) | (Err(unreadable), Err(_)) => {
                return Err(unreadable.of(sort));
            }
        };
        Ok((Self { sort, names, at, generation: content.generation, even }, content.body))
    }

    /// How often a state was stored.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Stores a new state, durably. After an error the old state holds, or already the new one.
    pub(super) fn store(&mut self, folder: &Folder<'_>, body: &[u8]) -> Result<(), VaultError> {
        let (at, generation) = (1 - self.at, self.generation + 1);
        let bytes = folder.seal(self.sort, generation, body)?;
        // Over the state before the present one: a write that is cut off leaves that one, whose file nobody touches.
        if !folder.disk.rewrite_sync(&folder.path(self.names[at]), &bytes)? {
            folder.disk.replace(folder.dir, self.names[at], &bytes)?;
        }
        (self.at, self.generation, self.even) = (at, generation, false);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::{OsEntropy, RealDisk, SoftwareKeys};
    use proptest::prelude::*;
    use std::sync::Arc;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    const SORT: Sort = Sort { magic: *b"fv1/test", name: "test" };
    const NAMES: [&str; 2] = ["test.a", "test.b"];

    struct Bench {
        dir: tempfile::TempDir,
        keys: SoftwareKeys,
        _key_dir: tempfile::TempDir,
    }

    impl Bench {
        fn new() -> Result<Self, Box<dyn std::error::Error>> {
            let (dir, key_dir) = (tempfile::tempdir()?, tempfile::tempdir()?);
            let keys = SoftwareKeys::new(key_dir.path(), Arc::new(OsEntropy));
            keys.create(KeyAlias::Control)?;
            Ok(Self { dir, keys, _key_dir: key_dir })
        }

        fn folder(&self) -> Folder<'_> {
            Folder { dir: self.dir.path(), disk: &RealDisk, keys: &self.keys }
        }
    }

    #[test]
    fn the_newer_of_two_holds_and_the_older_steps_in_if_it_is_damaged() -> Outcome {
        let bench = Bench::new()?;
        let folder = bench.folder();
        let mut pair = Pair::empty(SORT, NAMES);
        for body in [b"one", b"two", b"3rd"] {
            pair.store(&folder, body)?;
            assert_eq!(Pair::load(&folder, SORT, NAMES)?.1, body);
        }
        let newest = folder.path(NAMES[0]);
        let mut bytes = std::fs::read(&newest)?;
        bytes[HEAD] ^= 1;
        std::fs::write(&newest, &bytes)?;
        let (mut pair, body) = Pair::load(&folder, SORT, NAMES)?;
        assert_eq!(body, b"two");
        pair.store(&folder, b"4th")?;
        assert_eq!(Pair::load(&folder, SORT, NAMES)?.1, b"4th");
        Ok(())
    }

    #[test]
    fn a_file_of_another_sort_is_not_taken() -> Outcome {
        let bench = Bench::new()?;
        let folder = bench.folder();
        folder.write(SORT, "file", b"body")?;
        let other = Sort { magic: *b"fv1/othr", name: "other" };
        assert!(matches!(folder.read(other, "file"), Err(VaultError::Tampered { file: "other" })));
        assert_eq!(folder.read(SORT, "file")?, b"body");
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_flipped_bit_and_every_cut_is_noticed(byte in 0usize..64, bit in 0u8..8, cut in 0usize..64) {
            let bench = Bench::new().map_err(|error| TestCaseError::fail(error.to_string()))?;
            let folder = bench.folder();
            folder.write(SORT, "file", &[5; 12]).map_err(|error| TestCaseError::fail(error.to_string()))?;
            let whole = std::fs::read(folder.path("file"))?;
            prop_assert_eq!(whole.len(), 64);

            let mut flipped = whole.clone();
            flipped[byte] ^= 1 << bit;
            std::fs::write(folder.path("file"), &flipped)?;
            let refused =
                matches!(folder.read(SORT, "file"), Err(VaultError::Tampered { .. } | VaultError::Truncated { .. }));
            prop_assert!(refused);
            prop_assert_eq!(std::fs::read(folder.path("file"))?, flipped);

            std::fs::write(folder.path("file"), &whole[..cut])?;
            let refused = matches!(folder.read(SORT, "file"), Err(VaultError::Truncated { .. }));
            prop_assert!(refused);
        }
    }
}
