//! Several organisations on one phone.

use crate::client::{RoundsmanClient, config};
use crate::keys::{ForeignKeys, NoKeys};
use crate::worker::local;
use crate::{CallbackError, HostClock, KeyError, Options, PlatformKeys, RoundsmanError};
use roundsman_core::{platform, profiles};
use std::io;
use std::path::Path;
use std::sync::Arc;
use uuid::Uuid;

/// What the app does for profiles. Called from threads of the library. Must not call the profiles.
#[uniffi::export(with_foreign)]
pub trait ProfileHost: Send + Sync {
    /// The keystore for one profile. Its keys and its mark must have names of their own, so that a wipe of one
    /// profile deletes no other's. If it throws, the profile is not opened, and it is asked again the next time.
    fn keys(&self, profile: Uuid) -> Result<Arc<dyn PlatformKeys>, KeyError>;

    /// Marks a folder as not to be backed up, as far as the platform has such a mark: `isExcludedFromBackup` on
    /// iOS; on Android nothing, there the manifest's `dataExtractionRules` do it. Called each time a profile is
    /// opened. If it throws, the profile is not opened: a copy in a backup would be a copy of the vault.
    fn keep_out_of_backups(&self, folder: String) -> Result<(), CallbackError>;
}

/// The profiles in one folder. Each has a vault, keys and a session of its own, and knows nothing of the others.
#[derive(uniffi::Object)]
pub struct Profiles(Arc<profiles::Profiles>);

/// A profile that was just made.
#[derive(uniffi::Record)]
pub struct NewProfile {
    /// Its id, by which it is opened again.
    pub id: Uuid,
    /// Its client, which is not enrolled.
    pub client: Arc<RoundsmanClient>,
}

#[uniffi::export]
impl Profiles {
    /// The profiles in `options.dir`, which is created if it is missing. Without a clock of the app the system's
    /// own is taken.
    ///
    /// # Errors
    /// `Storage`, `DiskFull`.
    #[uniffi::constructor(default(clock = None))]
    pub async fn at(
        options: Options,
        host: Arc<dyn ProfileHost>,
        clock: Option<Arc<dyn HostClock>>,
    ) -> Result<Arc<Self>, RoundsmanError> {
        local(move || {
            // The host gives each profile its keys; the template's are never asked.
            let template = config(options, Arc::new(NoKeys), clock);
            profiles::Profiles::at(template, Arc::new(ForeignHost(host)))
                .map(|profiles| Arc::new(Self(Arc::new(profiles))))
        })
        .await
    }

    /// The profiles that are there, oldest first.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn ids(&self) -> Result<Vec<Uuid>, RoundsmanError> {
        let profiles = Arc::clone(&self.0);
        local(move || profiles.ids()).await
    }

    /// Makes a new profile.
    ///
    /// # Errors
    /// As `RoundsmanClient.open`.
    pub async fn add(&self) -> Result<NewProfile, RoundsmanError> {
        let profiles = Arc::clone(&self.0);
        let (id, client) = local(move || profiles.add()).await?;
        Ok(NewProfile { id, client: Arc::new(RoundsmanClient { client }) })
    }

    /// The client of a profile, opened if it is not open yet. Asked again, it is the same vault and the same
    /// session.
    ///
    /// # Errors
    /// `NotFound` if there is no such profile; otherwise as `RoundsmanClient.open`.
    pub async fn open(&self, id: Uuid) -> Result<Arc<RoundsmanClient>, RoundsmanError> {
        let profiles = Arc::clone(&self.0);
        let client = local(move || profiles.open(id)).await?;
        Ok(Arc::new(RoundsmanClient { client }))
    }

    /// Removes what is left of a profile that was wiped, or was never enrolled. Its clients are of no use
    /// afterwards.
    ///
    /// # Errors
    /// `NotFound`; `ProfileHoldsVault` if only a wipe may remove it; `Storage`.
    pub async fn remove(&self, id: Uuid) -> Result<(), RoundsmanError> {
        let profiles = Arc::clone(&self.0);
        local(move || profiles.remove(id)).await
    }
}

/// The app, as the core takes it.
struct ForeignHost(Arc<dyn ProfileHost>);

impl profiles::Host for ForeignHost {
    fn keys(&self, profile: Uuid) -> Result<Arc<dyn platform::PlatformKeys>, platform::KeyError> {
        Ok(Arc::new(ForeignKeys(self.0.keys(profile)?)))
    }

    fn keep_out_of_backups(&self, folder: &Path) -> io::Result<()> {
        let folder = folder.to_str().ok_or(io::ErrorKind::InvalidFilename)?;
        self.0.keep_out_of_backups(folder.to_owned()).map_err(io::Error::other)
    }
}
