//! Opening the vault, and what belongs to its passcode: rules, age, change, biometrics, and a new key.

use super::with_key;
use super::{Client, Inner, Session};
use crate::Error;
use crate::audit::Action;
use crate::platform::EntropyError;
use crate::store::{Store, StoreError};
use crate::vault::{
    DatabaseKey, FileKeys, Passcode, PasscodeDue, PasscodeError, PasscodeHistory, PasscodeRules, Profile,
    Unlocked, VaultError, VaultState,
};
use std::sync::PoisonError;
use uuid::Uuid;

/// The name under which the store keeps the passcodes before this one.
const HISTORY: &str = "passcode_history";

impl Client {
    /// Opens the vault. Takes about half a second of work by design: call it away from the screen's thread.
    ///
    /// # Errors
    /// The wrong passcode, with the attempts left; too soon after wrong ones; locked or wiped, by the administrator or
    /// by the last wrong passcode; the platform's key is gone; the files are damaged; [`VaultError::ShareNeeded`] on a
    /// leash, until [`check_in`](Self::check_in) has heard the server.
    pub fn unlock(&self, passcode: &Passcode) -> Result<(), Error> {
        if self.session().is_ok() {
            return Ok(());
        }
        let unlocked = self.inner.vault.unlock(passcode, &|| self.inner.shut()).inspect_err(|error| {
            if matches!(error, VaultError::WrongPasscode { .. }) {
                self.inner.audit.record(Action::WrongPasscode);
            }
        })?;
        self.enter(&unlocked, Action::Opened, || Ok(self.inner.vault.opened()?))
    }

    /// Opens the vault by finger or face; the platform asks the person. Never counts as an attempt at the passcode.
    ///
    /// # Errors
    /// [`VaultError::Biometrics`] with the reason, whenever the passcode has to be typed in place of it; locked or wiped;
    /// the files are damaged.
    pub fn unlock_with_biometrics(&self) -> Result<(), Error> {
        if self.session().is_ok() {
            return Ok(());
        }
        let unlocked = self.inner.vault.unlock_with_biometrics()?;
        self.enter(&unlocked, Action::OpenedByBiometrics, || Ok(()))
    }

    /// Opens the store, confirms it to the vault with `opened`, and begins the session.
    fn enter(
        &self,
        unlocked: &Unlocked,
        action: Action,
        opened: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let inner = &self.inner;
        let profile = inner.vault.profile().ok_or_else(|| self.closed())?;
        let store = inner.open_store(unlocked, &profile);
        let put_back = |error: &Error| {
            matches!(error, Error::Store(StoreError::RolledBack | StoreError::PartRolledBack { .. }))
        };
        if store.as_ref().map_or_else(put_back, |_| true) {
            // Either way what opened the vault was right.
            opened()?;
        }
        let ((store, files), seal_to) = (store?, inner.vault.seal_to(&profile)?);
        inner.begin(store, files, profile.user, seal_to, unlocked.passcode_set_ms);
        inner.audit.record(action);
        // A lock or a wipe that came in meanwhile found no session to close.
        if inner.vault.state() == VaultState::Ready {
            Ok(())
        } else {
            inner.end();
            Err(self.closed())
        }
    }

    /// What a new passcode must be like, on this device and in this organisation; before enrolment, with what is known
    /// then.
    pub fn passcode_rules(&self) -> PasscodeRules {
        match self.profile() {
            Some(profile) => self.rules_for(&profile),
            None => PasscodeRules::new(&self.inner.vault.policy(), self.inner.config.keys.hardware(), &[]),
        }
    }

    pub(super) fn rules_for(&self, profile: &Profile) -> PasscodeRules {
        let hardware = self.inner.config.keys.hardware();
        PasscodeRules::new(&self.inner.vault.policy(), hardware, &[&profile.user_name])
    }

    /// Whether the passcode is to be changed, now or soon. `None` while the vault is closed. While it is
    /// [`PasscodeDue::Now`] everything but the outbox and [`change_passcode`](Self::change_passcode) returns
    /// [`Error::PasscodeExpired`].
    pub fn passcode_due(&self) -> Option<PasscodeDue> {
        self.due(&self.session().ok()?)
    }

    fn due(&self, session: &Session) -> Option<PasscodeDue> {
        let (set, now) = (session.passcode_set_ms, self.inner.vault.now_ms());
        // Asked with every call: the policy need not be read for a young one.
        if PasscodeRules::young(set, now) { None } else { self.passcode_rules().due(set, now) }
    }

    /// The session, unless the passcode has to be changed first.
    pub(super) fn working(&self) -> Result<Session, Error> {
        let session = self.session()?;
        match self.due(&session) {
            Some(PasscodeDue::Now) => Err(Error::PasscodeExpired),
            _ => Ok(session),
        }
    }

    /// Changes the passcode, and takes biometrics away until they are enabled with the new one. The vault stays as it
    /// is, open or closed, unless the last attempt was wrong too: then the device locks or wipes itself.
    ///
    /// # Errors
    /// The new one breaks a rule; as [`unlock`](Self::unlock) for the old passcode.
    pub fn change_passcode(&self, old: &Passcode, new: &Passcode) -> Result<(), Error> {
        self.passcode_rules().judge(new).map_err(VaultError::from)?;
        let was_open = self.session().is_ok();
        if !was_open {
            // What was used before is known in the store alone.
            self.unlock(old)?;
        }
        let changed = self.change_in_session(old, new);
        if !was_open {
            self.lock();
        }
        changed
    }

    fn change_in_session(&self, old: &Passcode, new: &Passcode) -> Result<(), Error> {
        let inner = &self.inner;
        let Session { store, .. } = self.session()?;
        let count = self.passcode_rules().history;
        // Asked only when the old passcode has proven right: it would tell others whether they guessed one.
        let judge = || {
            let Some(count) = count else { return Ok(()) };
            let mut history = inner.history(&store)?;
            // It is written when it is left, so that a stop in between forgets none that was in use.
            history.add(old, count)?;
            if history.knows(new, count)? {
                return Err(VaultError::from(PasscodeError::UsedBefore).into());
            }
            Ok::<_, Error>(store.set_secret(HISTORY, &history.to_text()?)?)
        };
        let changed = inner.vault.change_passcode(old, new, &|| inner.shut(), judge);
        match &changed {
            Ok(()) => inner.audit.record(Action::PasscodeChanged),
            Err(Error::Vault(VaultError::WrongPasscode { .. })) => inner.audit.record(Action::WrongPasscode),
            Err(_) => {}
        }
        if inner.vault.state() != VaultState::Ready {
            inner.end();
        }
        changed?;
        let mut session = inner.session.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = session.as_mut() {
            session.passcode_set_ms = inner.vault.now_ms();
        }
        Ok(())
    }

    /// Lets finger or face open the vault from now on, for 72 hours after each passcode. The platform asks the person
    /// once.
    ///
    /// # Errors
    /// The vault is not open; the policy does not allow it; the passcode is wrong, which counts as in
    /// [`unlock`](Self::unlock); the platform can't, or the person did not confirm. Biometrics are off then.
    pub fn enable_biometrics(&self, passcode: &Passcode) -> Result<(), Error> {
        self.session()?;
        self.inner.vault.enable_biometrics(passcode, &|| self.inner.shut())?;
        self.inner.audit.record(Action::BiometricsChanged);
        Ok(())
    }

    /// Takes biometrics away; on disk when this returns. Needs no passcode.
    ///
    /// # Errors
    /// Not enrolled, locked or wiped; the disk failed.
    pub fn disable_biometrics(&self) -> Result<(), Error> {
        self.inner.vault.disable_biometrics()?;
        self.inner.audit.record(Action::BiometricsChanged);
        Ok(())
    }

    /// Whether finger or face may open the vault. The passcode may have to be typed all the same.
    pub fn biometrics(&self) -> bool {
        self.inner.vault.biometrics()
    }

    /// Gives the vault a new key, after the old one may have become known; takes biometrics away. Every page of the
    /// database is written anew, which takes about a second for 100 MB, and needs that much room on the disk. An open
    /// vault is closed meanwhile, so that running calls end with [`Error::Locked`] and observers with them, and is open
    /// again when this returns. A stop at any moment loses nothing: the next unlock opens with the one key or the other.
    ///
    /// # Errors
    /// As [`unlock`](Self::unlock) for the passcode; the disk is full or failed. The vault is closed then: unlock it.
    pub fn rotate_vault_key(&self, passcode: &Passcode) -> Result<(), Error> {
        let inner = &self.inner;
        let was_open = self.session().is_ok();
        let path = inner.vault.database_path();
        let unlocked = inner.vault.change_key(passcode, &|| inner.shut(), |old, new| {
            let rewrap = inner.rewrap(old, new);
            Ok::<_, Error>(with_key(old, |old| with_key(new, |new| Store::rekey(&path, old, new, &rewrap)))?)
        })?;
        inner.audit.record(Action::KeyRotated);
        if was_open { self.enter(&unlocked, Action::Opened, || Ok(())) } else { Ok(()) }
    }
}

impl Inner {
    /// Opens the store with the key it has, and ends a change of key that was interrupted.
    fn open_store(&self, unlocked: &Unlocked, profile: &Profile) -> Result<(Store, FileKeys), Error> {
        let path = self.vault.database_path();
        let key = match &unlocked.next {
            None => &unlocked.key,
            Some(next) => {
                let rewrap = self.rewrap(&unlocked.key, next);
                let changed = with_key(&unlocked.key, |old| {
                    with_key(next, |new| Store::finish_rekey(&path, old, new, &rewrap))
                })?;
                self.vault.settle_key(changed)?;
                if changed { next } else { &unlocked.key }
            }
        };
        let (sealed, seen) = (self.vault.sealed_outbox(profile)?, self.vault.seen_commit()?);
        let store = with_key(key, |key| Store::open(&path, key, sealed, seen))?;
        Ok((store, key.files().duplicate()))
    }

    /// Wraps the keys of attachments for the new key of the vault in place of the old one.
    fn rewrap<'a>(
        &'a self,
        old: &'a DatabaseKey,
        new: &'a DatabaseKey,
    ) -> impl Fn(Uuid, &[u8]) -> Result<Option<Vec<u8>>, EntropyError> + 'a {
        move |file, wrapped| old.files().rewrap(new.files(), &*self.config.entropy, file, wrapped)
    }

    /// The passcodes before this one. What can't be read is begun anew: it must not keep anybody from a new passcode.
    fn history(&self, store: &Store) -> Result<PasscodeHistory, Error> {
        let kept = store.secret(HISTORY)?.and_then(|text| PasscodeHistory::from_text(&text));
        Ok(match kept {
            Some(history) => history,
            None => PasscodeHistory::begin(&*self.config.entropy)?,
        })
    }
}
