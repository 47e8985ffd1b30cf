//! Making, opening and re-keying the vault: what takes a passcode.

use super::keys::Secret;
use super::record::{Record, Status};
use super::share::{self, Share};
use super::slots::{Slot, Slots};
use super::{
    CONTROL, CONTROL_NAMES, CREATING, Control, DatabaseKey, Held, IN_USE, Passcode, Profile, Vault,
    VaultError,
};
use super::{KdfCost, Pair};
use crate::platform::KeyAlias;
use roundsman_protocol::keys::DeviceKey;
use uuid::Uuid;

/// So many wrong passcodes lock the device.
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

/// What the right passcode gave.
struct Opened {
    vault: Uuid,
    vault_key: Secret,
    share: Share,
    slots: Slots,
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
        let record = self.lay_out(vault, &vault_key, profile, passcode)?;
        fill(&DatabaseKey::derive(&vault_key, vault))?;
        // From the moment this is written there is a vault.
        let mut pair = Pair::empty(CONTROL, CONTROL_NAMES);
        pair.store(&self.folder(), &record.to_bytes()?)?;
        Ok(Control { pair, record })
    }

    /// Writes all that a vault is made of but the control file.
    fn lay_out(
        &self,
        vault: Uuid,
        vault_key: &Secret,
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
        let slot = Slot::wrap(&folder, entropy, vault, self.seams.cost, passcode, &share, vault_key)?;
        share.store(&folder, entropy, share::PRESENT, vault)?;
        Slots::replace(&folder, None, &slot)?;
        let escrow = share.escrow(&profile, entropy)?;
        Ok(Record::new(self.install, vault, profile, device_key.thumbprint(), escrow))
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
        let mut remains = folder.disk.list(folder.dir)?;
        remains.retain(|path| !kept.contains(path));
        share::destroy(&folder, &remains)?;
        folder.disk.remove(&folder.path(CREATING))?;
        Ok(folder.disk.sync_dir(folder.dir)?)
    }

    /// The key of the database. The attempt is counted on disk before the passcode is looked at; call
    /// [`opened`](Self::opened) when the database has really opened.
    ///
    /// # Errors
    /// The passcode is wrong, with the attempts left; too soon after others; locked or wiped; the platform's key
    /// is gone; a file is damaged. Files are as they were, but for the count.
    pub fn unlock(&self, passcode: &Passcode) -> Result<DatabaseKey, VaultError> {
        let _gate = self.gate();
        let opened = self.try_passcode(passcode)?;
        let key = DatabaseKey::derive(&opened.vault_key, opened.vault);
        if let Err(error) = self.renew(passcode, opened) {
            // The share in use still holds; the next passcode tries again.
            tracing::warn!(%error, "the release share could not be renewed yet");
        }
        Ok(key)
    }

    /// Forgets the wrong passcodes: the database has opened.
    ///
    /// # Errors
    /// Locked or wiped in the meantime: close the database. Or the disk failed, and they still count.
    pub fn opened(&self) -> Result<(), VaultError> {
        let _gate = self.gate();
        if self.usable()? > 0 { self.update(|record| record.attempts = 0) } else { Ok(()) }
    }

    /// Changes the passcode. Nothing else of the vault changes. No file opens with the old one afterwards.
    ///
    /// # Errors
    /// As [`unlock`](Self::unlock) for the old passcode. If the disk failed, either of the two may be the right
    /// one.
    pub fn change_passcode(&self, old: &Passcode, new: &Passcode) -> Result<(), VaultError> {
        let _gate = self.gate();
        let Opened { vault, vault_key, share, slots } = self.try_passcode(old)?;
        let present = slots.slot.cost();
        let cost = KdfCost {
            memory_kib: self.seams.cost.memory_kib.max(present.memory_kib),
            passes: self.seams.cost.passes.max(present.passes),
        };
        let (folder, entropy) = (self.folder(), &*self.seams.entropy);
        let slot = Slot::wrap(&folder, entropy, vault, cost, new, &share, &vault_key)?;
        Slots::replace(&folder, Some(slots), &slot)?;
        // The right passcode has opened the slot: nobody was guessing.
        self.update(|record| record.attempts = 0)
    }

    /// The attempts so far, if the vault may be opened at all.
    fn usable(&self) -> Result<u32, VaultError> {
        self.read(|record| match record.status {
            Status::Ready { .. } => Ok(record.attempts),
            Status::Wiping(_) => Err(VaultError::Wiping),
            Status::Locking(_) | Status::SoftLocked(_) | Status::Locked => Err(VaultError::Locked),
        })?
    }

    fn try_passcode(&self, passcode: &Passcode) -> Result<Opened, VaultError> {
        let attempts = self.usable()?;
        if attempts >= MAX_ATTEMPTS {
            // The process was stopped after the last attempt was counted.
            self.lock(None, &|| ())?;
            return Err(VaultError::Locked);
        }
        self.check_wait(attempts)?;

        // What is damaged or gone is found before the attempt counts: it says nothing about the passcode.
        self.settle_share()?;
        let (folder, vault) = (self.folder(), self.read(|record| record.vault)?);
        let slots = Slots::load(&folder)?;
        let share = Share::load(&folder, vault, slots.slot.share())?;

        let now = self.seams.clock.now().timestamp_millis();
        let attempts = self.update(|record| {
            record.attempts += 1;
            record.last_attempt_ms = now;
            record.attempts
        })?;
        if let Some(vault_key) = slots.slot.unwrap(&folder, passcode, &share)? {
            return Ok(Opened { vault, vault_key, share, slots });
        }
        if attempts >= MAX_ATTEMPTS {
            self.lock(None, &|| ())?;
            return Err(VaultError::Locked);
        }
        Err(VaultError::WrongPasscode { attempts_left: MAX_ATTEMPTS - attempts })
    }

    fn check_wait(&self, attempts: u32) -> Result<(), VaultError> {
        let wait_ms = i64::try_from(wait_after(attempts) * 1000).unwrap_or(i64::MAX);
        let since = self.seams.clock.now().timestamp_millis() - self.read(|record| record.last_attempt_ms)?;
        // A clock that was set back does not shorten the wait.
        let left_ms = if since < 0 { wait_ms } else { wait_ms - since };
        if left_ms > 0 { Err(VaultError::Wait { seconds: (left_ms as u64).div_ceil(1000) }) } else { Ok(()) }
    }

    /// What is due at a passcode: a new release share after the present one has been away, and the end of an older
    /// slot whose removal was interrupted.
    fn renew(&self, passcode: &Passcode, opened: Opened) -> Result<(), VaultError> {
        let Opened { vault, vault_key, slots, .. } = opened;
        let (folder, entropy) = (self.folder(), &*self.seams.entropy);
        if self.read(|record| record.status == Status::Ready { rotate: true })? {
            let share = Share::generate(entropy)?;
            let slot = Slot::wrap(&folder, entropy, vault, slots.slot.cost(), passcode, &share, &vault_key)?;
            share.store(&folder, entropy, share::NEXT, vault)?;
            Slots::replace(&folder, Some(slots), &slot)?;
            self.settle_share()?;
            self.update(|record| record.status = Status::Ready { rotate: false })
        } else if slots.holds_an_older_one() {
            slots.even_out(&folder)
        } else {
            Ok(())
        }
    }
}
