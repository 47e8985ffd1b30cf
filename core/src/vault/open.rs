//! Making and opening the vault, and changing its passcode: what takes a passcode.

use super::record::{Record, Status};
use super::share::{self, Share};
use super::slots::{Slot, Slots, Terms, VaultKeys};
use super::{
    CONTROL, CONTROL_NAMES, CREATING, Control, DatabaseKey, Held, IN_USE, Pair, Passcode, PasscodeError,
    Profile, Vault, VaultError,
};
use crate::platform::KeyAlias;
use crate::rescue::{self, PhotoFile};
use roundsman_protocol::keys::DeviceKey;
use std::sync::Arc;
use uuid::Uuid;

/// So many wrong passcodes lock the device or wipe it, as the policy says.
const MAX_ATTEMPTS: u32 = 10;

/// Seconds to wait after so many attempts in a row.
fn wait_after(attempts: u32) -> u64 {
    match attempts {
        0..=4 => 0,
        5 => 60,
        6 => 5 * 60,
        7 => 15 * 60,
        _ => 60 * 60,
    }
}

/// A release share is replaced at the first passcode after so long: 30 days.
const SHARE_LIFE_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// What the right passcode gave.
pub(super) struct Opened {
    pub(super) vault: Uuid,
    pub(super) keys: VaultKeys,
    pub(super) share: Arc<Share>,
    pub(super) slots: Slots,
}

/// An opened vault: what the database opens with.
pub struct Unlocked {
    /// The key of the database.
    pub key: DatabaseKey,
    /// The key that a change of key was leading to when it was interrupted; the database has one of the two. Find out
    /// which with the store's `finish_rekey`, then call [`Vault::settle_key`].
    pub next: Option<DatabaseKey>,
    /// When the passcode was chosen: milliseconds since 1970.
    pub passcode_set_ms: i64,
}

impl Unlocked {
    pub(super) fn new(vault: Uuid, keys: &VaultKeys, slots: &Slots) -> Result<Self, VaultError> {
        Ok(Self {
            key: DatabaseKey::derive(&keys.present, vault),
            next: keys.next.as_ref().map(|next| DatabaseKey::derive(next, vault)),
            passcode_set_ms: slots.terms()?.set_ms,
        })
    }
}

impl Vault {
    /// Makes the vault. `fill` gets the key to create the database with; only when it has succeeded does the vault
    /// count as made, in one step: a stop anywhere leaves either no vault or the whole of it.
    ///
    /// # Errors
    /// There is one already; the disk, the keystore or `fill` failed. There is no vault then.
    pub fn create<E: From<VaultError>>(
        &self,
        profile: Profile,
        passcode: &Passcode,
        fill: impl FnOnce(&DatabaseKey) -> Result<(), E>,
    ) -> Result<(), E> {
        let _gate = self.gate();
        match &*self.held() {
            Held::New => {}
            Held::Alive(_) => return Err(VaultError::AlreadyCreated.into()),
            Held::Buried => return Err(VaultError::Wiped.into()),
        }
        // An attempt that failed may have left something.
        self.clear_half_made()?;
        match self.make(profile, passcode, fill) {
            Ok(control) => {
                *self.held() = Held::Alive(Box::new(control));
                if let Err(error) = self.folder().disk.remove(&self.folder().path(CREATING)) {
                    tracing::warn!(%error, "the mark of a finished creation is still there");
                }
                Ok(())
            }
            Err(error) => {
                if let Err(error) = self.clear_half_made() {
                    tracing::warn!(%error, "what is left of a failed creation could not be removed yet");
                }
                Err(error)
            }
        }
    }

    fn make<E: From<VaultError>>(
        &self,
        profile: Profile,
        passcode: &Passcode,
        fill: impl FnOnce(&DatabaseKey) -> Result<(), E>,
    ) -> Result<Control, E> {
        let vault = Uuid::from_bytes(self.seams.entropy.bytes().map_err(VaultError::from)?);
        let vault_key = self.seams.entropy.secret().map_err(VaultError::from)?;
        let keys = VaultKeys { present: vault_key, next: None };
        let record = self.lay_out(vault, &keys, profile, passcode)?;
        fill(&DatabaseKey::derive(&keys.present, vault))?;
        // From the moment this is written there is a vault.
        let mut pair = Pair::empty(CONTROL, CONTROL_NAMES);
        pair.store(&self.folder(), &record.to_bytes()?)?;
        Ok(Control { pair, record, commit: 0 })
    }

    /// Writes all that a vault is made of but the control file.
    fn lay_out(
        &self,
        vault: Uuid,
        vault_keys: &VaultKeys,
        profile: Profile,
        passcode: &Passcode,
    ) -> Result<Record, VaultError> {
        let (folder, keys, entropy) = (self.folder(), &*self.seams.keys, &*self.seams.entropy);
        folder.disk.replace(folder.dir, CREATING, &[])?;
        for alias in [KeyAlias::Identity, KeyAlias::Wrap, KeyAlias::Control] {
            keys.create(alias)?;
        }
        let device_key = self.identity()?;
        let share = Share::generate(entropy)?;
        let now = self.now_ms();
        let terms = Terms { vault, cost: self.calibrated()?, set_ms: now, share_ms: now };
        let slot = Slot::for_passcode(&folder, entropy, terms, passcode, &share, vault_keys)?;
        share.store(&folder, entropy, share::PRESENT, vault)?;
        Slots::new(slot).save(&folder)?;
        let escrow = share.escrow(&profile, entropy)?;
        let mut record = Record::new(self.install, vault, profile, device_key.thumbprint(), escrow);
        record.entered_ms = now;
        Ok(record)
    }

    /// The device's public key.
    pub(crate) fn identity(&self) -> Result<DeviceKey, VaultError> {
        let public = self.seams.keys.public_key(KeyAlias::Identity)?;
        DeviceKey::from_sec1(&public).map_err(|_| VaultError::WrongKey)
    }

    /// Removes what is left of a vault that was not finished. The control file goes first and the mark last, so
    /// that a stop in between leaves something that is still to be cleared.
    pub(super) fn clear_half_made(&self) -> Result<(), VaultError> {
        let folder = self.folder();
        for name in CONTROL_NAMES {
            folder.disk.remove(&folder.path(name))?;
        }
        folder.disk.sync_dir(folder.dir)?;
        let kept = [folder.path(IN_USE), folder.path(CREATING)];
        // What a vault before this one left sealed for the organisation is not this one's to remove.
        let sealed = rescue::folder(folder.dir);
        let unsent: Vec<_> = self.photo_files()?.iter().flat_map(PhotoFile::paths).collect();
        let mut remains = folder.disk.list(folder.dir)?;
        remains.retain(|path| !kept.contains(path) && !path.starts_with(&sealed) && !unsent.contains(path));
        share::destroy(&folder, &remains)?;
        folder.disk.remove(&folder.path(CREATING))?;
        Ok(folder.disk.sync_dir(folder.dir)?)
    }

    /// The key of the database. The attempt is counted on disk before the passcode is looked at; call
    /// [`opened`](Self::opened) when the database has really opened. `close` must close the database if it is open: it
    /// is called before the last wrong passcode locks or wipes.
    ///
    /// # Errors
    /// The passcode is wrong, with the attempts left; too soon after others; locked or wiped; the platform's key
    /// is gone; a file is damaged; the server has to be heard first. Files are as they were, but for the count.
    pub fn unlock(&self, passcode: &Passcode, close: &dyn Fn()) -> Result<Unlocked, VaultError> {
        let _gate = self.gate();
        let opened = self.try_passcode(passcode, close)?;
        let unlocked = Unlocked::new(opened.vault, &opened.keys, &opened.slots)?;
        if let Err(error) = self.renew(passcode, opened) {
            // The share in use still holds; the next passcode tries again.
            tracing::warn!(%error, "the slots could not be renewed yet");
        }
        if let Err(error) = self.settle_leash() {
            tracing::warn!(%error, "the leash could not be put on or taken off yet");
        }
        Ok(unlocked)
    }

    /// Forgets the wrong passcodes: the database has opened.
    ///
    /// # Errors
    /// Locked or wiped in the meantime: close the database. Or the disk failed, and they still count.
    pub fn opened(&self) -> Result<(), VaultError> {
        let _gate = self.gate();
        if self.usable()? > 0 { self.forget_attempts() } else { Ok(()) }
    }

    /// Changes the passcode, and takes biometrics away. Nothing else of the vault changes. No file opens with the old
    /// passcode afterwards. `judge` is asked about the new one when the old one has proven right; if it refuses,
    /// nothing has changed. `close` is as for [`unlock`](Self::unlock).
    ///
    /// # Errors
    /// As [`unlock`](Self::unlock) for the old passcode; the new one is the old one; what `judge` fails with. If the
    /// disk failed, either of the two may be the right one.
    pub fn change_passcode<E: From<VaultError>>(
        &self,
        old: &Passcode,
        new: &Passcode,
        close: &dyn Fn(),
        judge: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let _gate = self.gate();
        let Opened { keys, share, mut slots, .. } = self.try_passcode(old, close)?;
        // The right passcode has opened the slot: nobody was guessing.
        self.forget_attempts()?;
        if old.is(new) {
            return Err(VaultError::from(PasscodeError::Unchanged).into());
        }
        judge()?;
        let present = slots.terms()?;
        let cost = self.calibrated()?.at_least(present.cost);
        let terms = Terms { cost, set_ms: self.now_ms(), ..present };
        let (folder, entropy) = (self.folder(), &*self.seams.entropy);
        slots.passcode = Slot::for_passcode(&folder, entropy, terms, new, &share, &keys)?;
        let biometrics = slots.biometric.take().is_some();
        slots.save(&folder)?;
        if biometrics {
            self.forget_biometric_key();
        }
        Ok(())
    }

    /// The attempts so far, if the vault may be opened at all.
    pub(super) fn usable(&self) -> Result<u32, VaultError> {
        let attempts = self.read(|record| match record.status {
            Status::Ready { .. } if record.put_back => Err(VaultError::RolledBack),
            Status::Ready { .. } => Ok(record.attempts),
            Status::Wiping(_) => Err(VaultError::Wiping),
            Status::Locking(_) | Status::SoftLocked(_) | Status::Locked => Err(VaultError::Locked),
        })??;
        self.admit()?;
        Ok(attempts)
    }

    /// Checks a passcode, as an unlock does, and opens nothing. Call it with the gate held.
    pub(super) fn check_passcode(&self, passcode: &Passcode, close: &dyn Fn()) -> Result<(), VaultError> {
        self.try_passcode(passcode, close).map(drop)
    }

    /// The right passcode was typed just now.
    pub(super) fn forget_attempts(&self) -> Result<(), VaultError> {
        let now = self.now_ms();
        self.update(|record| (record.attempts, record.entered_ms) = (0, now))
    }

    /// Counts an attempt and opens the slot with it. Call it with the gate held.
    pub(super) fn try_passcode(&self, passcode: &Passcode, close: &dyn Fn()) -> Result<Opened, VaultError> {
        let attempts = self.usable()?;
        if attempts >= MAX_ATTEMPTS {
            // The process was stopped after the last attempt was counted.
            return Err(self.last_attempt(close));
        }
        self.check_wait(attempts)?;

        // What is damaged or gone is found before the attempt counts: it says nothing about the passcode.
        self.settle_share()?;
        let (folder, vault) = (self.folder(), self.read(|record| record.vault)?);
        let slots = Slots::load(&folder)?;
        let share = self.share(slots.passcode.share())?;

        let now = self.now_ms();
        let attempts = self.update(|record| {
            record.attempts += 1;
            record.last_attempt_ms = now;
            record.attempts
        })?;
        if let Some(keys) = slots.passcode.by_passcode(&folder, passcode, &share)? {
            return Ok(Opened { vault, keys, share, slots });
        }
        if attempts >= MAX_ATTEMPTS {
            return Err(self.last_attempt(close));
        }
        Err(VaultError::WrongPasscode { attempts_left: MAX_ATTEMPTS - attempts })
    }

    fn check_wait(&self, attempts: u32) -> Result<(), VaultError> {
        let wait_ms = i64::try_from(wait_after(attempts) * 1000).unwrap_or(i64::MAX);
        let since = self.now_ms() - self.read(|record| record.last_attempt_ms)?;
        // A clock that was set back does not shorten the wait.
        let left_ms = if since < 0 { wait_ms } else { wait_ms - since };
        if left_ms > 0 { Err(VaultError::Wait { seconds: (left_ms as u64).div_ceil(1000) }) } else { Ok(()) }
    }

    /// What is due at a passcode: a new release share after the present one has been away or has grown old, a slot
    /// that costs more to guess at, and the end of older slots whose removal was interrupted.
    fn renew(&self, passcode: &Passcode, opened: Opened) -> Result<(), VaultError> {
        let Opened { vault, keys, share, mut slots } = opened;
        let (folder, entropy) = (self.folder(), &*self.seams.entropy);
        let (present, now) = (slots.terms()?, self.now_ms());
        let cost = self.seams.cost.map_or(present.cost, |cost| cost.clamped().at_least(present.cost));
        let away = self.read(|record| record.status == Status::Ready { rotate: true })?;
        if away || now - present.share_ms > SHARE_LIFE_MS {
            let share = Share::generate(entropy)?;
            let terms = Terms { cost, share_ms: now, ..present };
            slots.passcode = Slot::for_passcode(&folder, entropy, terms, passcode, &share, &keys)?;
            let biometrics = slots.biometric.is_some();
            self.renew_biometric(&mut slots, vault, &share, &keys);
            share.store(&folder, entropy, share::NEXT, vault)?;
            slots.save(&folder)?;
            if biometrics && slots.biometric.is_none() {
                self.forget_biometric_key();
            }
            self.settle_share()?;
            if away { self.update(|record| record.status = Status::Ready { rotate: false }) } else { Ok(()) }
        } else if cost != present.cost {
            let terms = Terms { cost, ..present };
            slots.passcode = Slot::for_passcode(&folder, entropy, terms, passcode, &share, &keys)?;
            slots.save(&folder)
        } else if slots.holds_an_older_one() {
            slots.save(&folder)
        } else {
            Ok(())
        }
    }
}
