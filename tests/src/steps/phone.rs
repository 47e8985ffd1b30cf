//! The phone: a folder, and the client in it.

use super::office::{Event, SavedOffice};
use crate::rig::phone_config;
use chrono::{DateTime, Utc};
use roundsman_core::platform::{Clock, Transport};
use roundsman_core::vault::{Passcode, PasscodeError, VaultError};
use roundsman_core::{Client, Config, Error};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The passcode that the phone was enrolled with.
pub const RIGHT: &str = "red kayak 7";

/// Another passcode.
pub const OTHER: &str = "blue heron 3";

/// Where a phone and its office are kept. Only what is in [`disk`](Self::disk) is under faults.
#[derive(Clone)]
pub struct Phone {
    folder: PathBuf,
}

impl Phone {
    /// The phone in this folder, which has no symbolic link in its path.
    pub fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Another phone in exactly this state, in an empty or missing folder.
    ///
    /// # Errors
    /// A file can't be copied.
    pub fn copy_to(&self, folder: &Path) -> std::io::Result<Self> {
        copy_tree(&self.folder, folder)?;
        Ok(Self::at(folder))
    }

    /// The folder on the disk that fails: the vault's and the keystore's are in it.
    pub fn disk(&self) -> PathBuf {
        self.folder.join("disk")
    }

    /// A file or folder of the vault's.
    pub fn vault(&self, name: &str) -> PathBuf {
        self.disk().join("vault").join(name)
    }

    /// Names in one of the folders of the disk, sorted; the file that keeps other processes out is not among them.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.disk().join(folder)).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| name != "in-use").collect();
        names.sort();
        names
    }

    /// Whether a file of a release share is here.
    pub fn has_share(&self) -> bool {
        self.names("vault").iter().any(|name| name.starts_with("release"))
    }

    /// Where the shim is to note the steps.
    pub fn log(&self) -> PathBuf {
        self.folder.join("steps.log")
    }

    /// Where the shim is to put what a power cut leaves on the medium of files that were removed.
    pub fn residue(&self) -> PathBuf {
        self.folder.join("residue")
    }

    /// The mark in the keystore, in hexadecimal digits: of two marks of one vault the later one is the greater text.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn mark(&self) -> std::io::Result<String> {
        let mark = fs::read(self.disk().join("keys/mark"))?;
        Ok(mark.iter().fold(String::new(), |mut text, byte| {
            // Writing to a string can't fail.
            let _ = write!(text, "{byte:02x}");
            text
        }))
    }

    /// What was promised while the phone was brought to its present state.
    pub fn promised(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.join("promised")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Keeps what was promised.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn promise(&self, lines: &[String]) -> std::io::Result<()> {
        let all = [self.promised(), lines.to_vec()].concat();
        fs::write(self.folder.join("promised"), all.join("\n"))
    }

    /// Tells the office something while the phone is off.
    ///
    /// # Errors
    /// The journal can't be used.
    pub fn office(&self, event: Event) -> anyhow::Result<()> {
        SavedOffice::at(&self.folder.join("office"))?.tell(event).map(drop)
    }

    /// Starts the app. Dropping it ends it as the system does, in good order.
    ///
    /// # Errors
    /// The client does not open.
    pub fn start(&self) -> anyhow::Result<App> {
        fs::create_dir_all(self.disk())?;
        let office = SavedOffice::at(&self.folder.join("office"))?;
        let transport: Arc<dyn Transport> = office.clone();
        let clock = Arc::new(OfficeClock(Arc::clone(&office)));
        let config = Config { transport, clock, ..phone_config(&self.disk(), "phone") };
        let mut client = Client::open(config.clone());
        // A process that another thread is just starting holds copies of our open files, the lock of a phone that
        // we have ended among them, until it begins its own program.
        for _ in 0..100_000 {
            if !matches!(client, Err(Error::Vault(VaultError::InUse))) {
                break;
            }
            std::thread::yield_now();
            client = Client::open(config.clone());
        }
        Ok(App { client: client?, office })
    }
}

/// The app while it runs.
pub struct App {
    /// The client.
    pub client: Client,
    /// The office it talks to.
    pub office: Arc<SavedOffice>,
}

impl App {
    /// Syncs.
    ///
    /// # Errors
    /// As [`Client::sync`].
    pub fn sync(&self) -> Result<(), Error> {
        wait(self.client.sync(&())).map(drop)
    }

    /// Checks in.
    ///
    /// # Errors
    /// As [`Client::check_in`].
    pub fn check_in(&self) -> Result<(), Error> {
        wait(self.client.check_in()).map(drop)
    }

    /// Enrols with the passcode [`RIGHT`].
    ///
    /// # Errors
    /// As [`Client::enrol`].
    pub fn enrol(&self) -> anyhow::Result<()> {
        Ok(wait(self.client.enrol(&self.office.ticket(), &passcode(RIGHT)?))?)
    }

    /// Opens the vault.
    ///
    /// # Errors
    /// As [`Client::unlock`].
    pub fn unlock(&self, text: &str) -> anyhow::Result<()> {
        Ok(self.client.unlock(&passcode(text)?)?)
    }
}

/// A passcode that the policy takes.
///
/// # Errors
/// It is too easy.
pub fn passcode(text: &str) -> Result<Passcode, PasscodeError> {
    Passcode::new(text)
}

/// Runs a future to its end on this thread.
fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(future)
}

/// A clock that shows the office's time: it stands still unless the office lets time pass.
struct OfficeClock(Arc<SavedOffice>);

impl Clock for OfficeClock {
    fn now(&self) -> DateTime<Utc> {
        self.0.now()
    }

    fn zone_min(&self) -> i32 {
        0
    }
}

fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
