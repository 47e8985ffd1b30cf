//! Several organisations on one phone: each has a vault, keys and a session of its own, and knows nothing of the
//! others.
//!
//! A profile is a folder with a random name inside one folder. Nothing outside that is read or written: what the
//! person keeps beside it is theirs, and no wipe reaches it.

use crate::platform::{Disk, KeyError, PlatformKeys};
use crate::{Client, Config, Error, State};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use uuid::Uuid;

/// What the host app does for profiles.
pub trait Host: Send + Sync {
    /// The keystore for one profile. Its keys must have names of their own, so that a wipe of one profile deletes no
    /// other's.
    ///
    /// # Errors
    /// The keystore can't be had. The profile is not opened then; it is asked again the next time.
    fn keys(&self, profile: Uuid) -> Result<Arc<dyn PlatformKeys>, KeyError>;

    /// Marks a folder as not to be backed up, as far as the platform has such a mark: `isExcludedFromBackup` on iOS;
    /// on Android nothing, there the manifest's `dataExtractionRules` do it. Called each time a profile is opened.
    ///
    /// # Errors
    /// The platform refused. The profile is not opened then: a copy in a backup would be a copy of the vault.
    fn keep_out_of_backups(&self, folder: &Path) -> std::io::Result<()>;
}

/// The profiles in one folder.
pub struct Profiles {
    template: Config,
    host: Arc<dyn Host>,
    /// A vault is open once in a process; whoever asks again gets the same client.
    open: Mutex<BTreeMap<Uuid, Client>>,
}

impl Profiles {
    /// The profiles in `template.dir`, which is created if it is missing. Every profile is opened with the template's
    /// clock, disk and network, and with keys from the host.
    ///
    /// # Errors
    /// The folder can't be used.
    pub fn at(template: Config, host: Arc<dyn Host>) -> Result<Self, Error> {
        template.disk.create_dir_all(&template.dir).map_err(crate::vault::VaultError::from)?;
        Ok(Self { template, host, open: Mutex::default() })
    }

    /// The profiles that are there, oldest first.
    ///
    /// # Errors
    /// The folder can't be read.
    pub fn ids(&self) -> Result<Vec<Uuid>, Error> {
        let files = self.template.disk.list(&self.template.dir).map_err(crate::vault::VaultError::from)?;
        let folders = files.iter().filter_map(|path| path.strip_prefix(&self.template.dir).ok()?.parent());
        let mut ids: Vec<Uuid> =
            folders.filter_map(|folder| Uuid::parse_str(folder.iter().next()?.to_str()?).ok()).collect();
        // The names are UUIDv7, which sort by age.
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// Makes a new profile: a client that is not enrolled.
    ///
    /// # Errors
    /// There are no random numbers, or as [`open`](Self::open).
    pub fn add(&self) -> Result<(Uuid, Client), Error> {
        let id = self.template.entropy.uuid(self.template.clock.now())?;
        self.start(id).map(|client| (id, client))
    }

    /// The client of a profile, opened if it is not open yet.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such profile; otherwise as [`Client::open`].
    pub fn open(&self, id: Uuid) -> Result<Client, Error> {
        if self.ids()?.contains(&id) { self.start(id) } else { Err(Error::NotFound) }
    }

    /// Removes what is left of a profile that was wiped, or was never enrolled. The caller's clients of it are of no
    /// use afterwards.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such profile; [`Error::InUse`] if it holds a vault, which only a wipe
    /// removes; the disk failed.
    pub fn remove(&self, id: Uuid) -> Result<(), Error> {
        let client = self.open(id)?;
        if !matches!(client.state(), State::New | State::Wiped) {
            return Err(Error::InUse);
        }
        self.clients().remove(&id);
        drop(client);
        let folder = self.folder(id);
        let disk = &*self.template.disk;
        remove_all(disk, &folder).map_err(|error| crate::vault::VaultError::from(error).into())
    }

    fn start(&self, id: Uuid) -> Result<Client, Error> {
        let mut open = self.clients();
        if let Some(client) = open.get(&id) {
            return Ok(client.clone());
        }
        let (keys, folder) = (self.host.keys(id)?, self.folder(id));
        let disk = &self.template.disk;
        disk.create_dir_all(&folder)
            .and_then(|()| self.host.keep_out_of_backups(&folder))
            .map_err(crate::vault::VaultError::from)?;
        let config = Config { dir: folder, keys, ..self.template.clone() };
        let client = Client::open(config)?;
        open.insert(id, client.clone());
        Ok(client)
    }

    fn folder(&self, id: Uuid) -> PathBuf {
        self.template.dir.join(id.simple().to_string())
    }

    fn clients(&self) -> std::sync::MutexGuard<'_, BTreeMap<Uuid, Client>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remove_all(disk: &dyn Disk, folder: &Path) -> std::io::Result<()> {
    for path in disk.list(folder)? {
        disk.remove(&path)?;
    }
    disk.sync_dir(folder)?;
    // Folders in it would keep it; what is in them is removed.
    disk.remove_dir(folder).or(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::{KeyAlias, OsEntropy, SoftwareKeys};
    use crate::vault::VaultError;
    use std::fs;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    struct Desk {
        keys: PathBuf,
        marked: Mutex<Vec<PathBuf>>,
        refuses: bool,
        locked: Mutex<bool>,
    }

    impl Desk {
        fn lock_keystore(&self, locked: bool) {
            *self.locked.lock().unwrap_or_else(PoisonError::into_inner) = locked;
        }
    }

    impl Host for Desk {
        fn keys(&self, profile: Uuid) -> Result<Arc<dyn PlatformKeys>, KeyError> {
            if *self.locked.lock().unwrap_or_else(PoisonError::into_inner) {
                return Err(KeyError::LockedOut);
            }
            Ok(Arc::new(SoftwareKeys::new(self.keys.join(profile.to_string()), Arc::new(OsEntropy))))
        }

        fn keep_out_of_backups(&self, folder: &Path) -> std::io::Result<()> {
            self.marked.lock().unwrap_or_else(PoisonError::into_inner).push(folder.to_owned());
            if self.refuses { Err(std::io::Error::other("no")) } else { Ok(()) }
        }
    }

    fn profiles(root: &Path, refuses: bool) -> Result<(Profiles, Arc<Desk>), Error> {
        let (marked, locked) = (Mutex::default(), Mutex::default());
        let desk = Arc::new(Desk { keys: root.join("keys"), marked, refuses, locked });
        let template = Config::new(root.join("profiles"), desk.keys(Uuid::nil())?);
        Ok((Profiles::at(template, Arc::clone(&desk) as Arc<dyn Host>)?, desk))
    }

    #[test]
    fn profiles_lie_side_by_side_and_keep_to_their_folders() -> Outcome {
        let root = tempfile::tempdir()?;
        fs::write(root.path().join("holiday.jpg"), b"mine")?;
        let (profiles, desk) = profiles(root.path(), false)?;
        let ((one, first), (two, second)) = (profiles.add()?, profiles.add()?);
        // Two ids of the same millisecond come in any order.
        assert_eq!(profiles.ids()?, [one.min(two), one.max(two)]);
        assert_eq!((first.state(), second.state()), (State::New, State::New));
        assert_eq!(
            *desk.marked.lock().unwrap_or_else(PoisonError::into_inner),
            [profiles.folder(one), profiles.folder(two)]
        );
        desk.keys(one)?.create(KeyAlias::Wrap)?;
        assert!(!desk.keys(two)?.exists(KeyAlias::Wrap)?);
        drop((first, second));
        profiles.remove(one)?;
        assert_eq!(profiles.ids()?, [two]);
        assert!(matches!(profiles.open(one), Err(Error::NotFound)));
        assert_eq!(fs::read(root.path().join("holiday.jpg"))?, b"mine");
        Ok(())
    }

    #[test]
    fn a_profile_is_open_once_and_asked_for_often() -> Outcome {
        let root = tempfile::tempdir()?;
        let (profiles, _) = profiles(root.path(), false)?;
        let (id, client) = profiles.add()?;
        let again = profiles.open(id)?;
        assert_eq!(client.state(), again.state());
        Ok(())
    }

    #[test]
    fn a_profile_whose_keystore_is_locked_opens_once_it_is_not() -> Outcome {
        let root = tempfile::tempdir()?;
        let (profiles, desk) = profiles(root.path(), false)?;
        desk.lock_keystore(true);
        assert!(matches!(profiles.add(), Err(Error::Vault(VaultError::Key(KeyError::LockedOut)))));
        assert!(profiles.ids()?.is_empty(), "nothing was begun");
        desk.lock_keystore(false);
        assert_eq!(profiles.add()?.1.state(), State::New);
        Ok(())
    }

    #[test]
    fn a_folder_that_would_be_backed_up_is_not_used() -> Outcome {
        let root = tempfile::tempdir()?;
        let (profiles, _) = profiles(root.path(), true)?;
        assert!(profiles.add().is_err());
        assert!(profiles.ids()?.is_empty());
        Ok(())
    }
}
