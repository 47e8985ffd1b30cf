//! The wipe. Nothing readable outlives its second stage; every stage is on disk, and a stop anywhere is made good
//! by the next start.
//!
//! ```text
//! marked    nothing opens this vault again, in any process
//! shredded  release share, slots and the platform's key are destroyed: the rest is noise
//! purged    every file is removed but the sealed outbox and photos that were not sent, which nobody here can read
//! rescued   both are handed over, or given up, and removed
//! buried    the server has proof of it all: the last keys and the control file give way to a tombstone
//! ```

use super::lock::Order;
use super::record::{Cause, Record, Stage, Status, Wipe, encode};
use super::{CONTROL_NAMES, Control, Held, IN_USE, TOMBSTONE, Vault, VaultError, VaultState, audit, share};
use crate::platform::KeyAlias;
use crate::rescue::{self, PhotoFile};
use roundsman_protocol::receipt::{Progress, Trigger};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// How often the keystore is asked to delete a key before it is reported as not confirmed.
const DELETE_TRIES: usize = 3;

/// How the names of the files begin that hold keys.
const KEY_FILES: [&str; 2] = ["release.", "slots."];

/// Why the vault is wiped.
#[derive(Clone, Copy)]
pub(crate) enum Why {
    /// A command, and whether it says to destroy unsent work too.
    Order { order: Order, discard: bool },
    /// The device decided by itself; unsent work is handed over.
    Own(Trigger),
}

impl Vault {
    /// Wipes, as far as it can be done without the server. Call it with the gate held; `close` must close the
    /// database.
    ///
    /// `unsent` is the number of changes that were not sent, if the database is open to be asked.
    pub(crate) fn wipe(&self, why: Why, unsent: Option<u64>, close: &dyn Fn()) -> Result<(), VaultError> {
        let (cause, trigger, discard) = match why {
            Why::Order { order, discard } => (order.cause, Trigger::Command, discard),
            Why::Own(trigger) => (Cause::default(), trigger, false),
        };
        let mark = |record: &mut Record| {
            if let Why::Order { order, .. } = why {
                record.accept(order.seq, order.cause);
            }
            record.status = Status::Wiping(Wipe::begun(cause, trigger, unsent, discard));
        };
        let marked = self.update(mark);
        self.forget_share();
        close();
        if marked.is_err() && self.state() != VaultState::Wiping {
            // A full or broken disk must not save the vault: keys first, and each later write tries to record it.
            self.shred().0?;
            self.mark_in_memory(mark);
        }
        self.wipe_on()
    }

    /// Goes on with a wipe that destroyed the keys on a disk that could not record it, if the folder shows one: every
    /// file with a key is gone, and so is the platform's key. No other change of state leaves a vault like that. Call it
    /// with the gate held.
    pub(super) fn find_unrecorded_wipe(&self) -> Result<(), VaultError> {
        let shredded = !self.read(Record::is_wiping)?
            && self.folder().named(&KEY_FILES)?.is_empty()
            && self.seams.keys.exists(KeyAlias::Wrap) == Ok(false);
        if shredded { self.wipe(Why::Own(Trigger::Unrecorded), None, &|| ()) } else { Ok(()) }
    }

    /// Whether it is wiped for a reason that could not be recorded.
    pub(crate) fn wipes_without_cause(&self) -> Result<bool, VaultError> {
        match self.read(
            |record| matches!(&record.status, Status::Wiping(wipe) if wipe.trigger == Trigger::Unrecorded),
        ) {
            Err(VaultError::Wiped | VaultError::NotEnrolled) => Ok(false),
            other => other,
        }
    }

    /// Lends a command to a wipe whose cause could not be recorded: its receipts are made again, for this command. False
    /// if the wipe has a cause of its own. Call it with the gate held.
    pub(crate) fn adopt_wipe(&self, order: Order, discard: bool) -> Result<bool, VaultError> {
        if !self.wipes_without_cause()? {
            return Ok(false);
        }
        self.update(|record| {
            record.accept(order.seq, order.cause);
            if let Status::Wiping(wipe) = &mut record.status {
                (wipe.cause, wipe.trigger, wipe.discard) = (order.cause, Trigger::Command, discard);
                wipe.stage = Stage::Marked;
            }
        })?;
        self.wipe_on()?;
        Ok(true)
    }

    /// Goes on with a wipe from the stage it has reached. Call it with the gate held.
    pub(super) fn wipe_on(&self) -> Result<(), VaultError> {
        while let Status::Wiping(wipe) = self.read(|record| record.status.clone())? {
            match wipe.stage {
                Stage::Marked => self.go_on_to_shredded(wipe)?,
                Stage::Shredded => {
                    let files = wipe.files + self.purge()?;
                    self.reach(Wipe { stage: Stage::Purged, files, ..wipe }, None)?;
                }
                Stage::Purged => {
                    let Some(rescue) = self.hand_over(&wipe)? else { break };
                    let files = wipe.files + self.purge()?;
                    let disk = &self.seams.disk;
                    disk.remove_dir(&rescue::folder(&self.dir))?;
                    disk.sync_dir(&self.dir)?;
                    let complete = Progress::Complete { files, rescue };
                    self.reach(Wipe { stage: Stage::Rescued, files, rescue, ..wipe }, Some(complete))?;
                }
                Stage::Rescued => break,
            }
        }
        Ok(())
    }

    fn go_on_to_shredded(&self, wipe: Wipe) -> Result<(), VaultError> {
        let (shredded, platform_confirmed) = self.shred();
        shredded?;
        let keys = ["release share", "slots", KeyAlias::Wrap.name()].map(str::to_owned).to_vec();
        // Of a closed vault the sealed outbox knows it; but not before the keys are gone.
        let unsent = wipe.unsent.or_else(|| self.sealed_changes().ok());
        let trigger = wipe.trigger;
        let shredded = Progress::Shredded { keys, platform_confirmed, unsent, trigger };
        let shredded_ms = self.now_ms();
        self.reach(Wipe { stage: Stage::Shredded, unsent, shredded_ms, ..wipe }, Some(shredded))
    }

    /// Notes how far the wipe has come, with the receipt that proves it.
    pub(super) fn reach(&self, wipe: Wipe, progress: Option<Progress>) -> Result<(), VaultError> {
        let receipt = progress.map(|progress| self.receipt(wipe.cause, progress)).transpose()?;
        self.update(|record| {
            record.status = Status::Wiping(wipe);
            if let Some(receipt) = receipt {
                record.owe(receipt);
            }
        })
    }

    /// Destroys every key, in a time that does not depend on how much the vault holds. Says whether the files are
    /// gone, and whether the keystore confirmed that its keys are.
    fn shred(&self) -> (Result<(), VaultError>, bool) {
        let folder = self.folder();
        let destroyed = folder.named(&KEY_FILES).and_then(|files| share::destroy(&folder, &files));
        // The key that everything depends on goes first.
        let wrap = self.delete_key(KeyAlias::Wrap);
        (destroyed, self.delete_key(KeyAlias::Biometric) && wrap)
    }

    pub(super) fn delete_key(&self, alias: KeyAlias) -> bool {
        let keys = &self.seams.keys;
        (0..DELETE_TRIES).any(|_| keys.delete(alias).is_ok() && keys.exists(alias) == Ok(false))
    }

    /// Removes every file but the control file, the sealed outbox and what was not sent of the attachments. Says how many
    /// there were.
    fn purge(&self) -> Result<u32, VaultError> {
        let folder = self.folder();
        let files = self.remains()?;
        let mut outcome = Ok(());
        for path in &files {
            // A file that can't be cut can still be removed; it is noise by now.
            let _ = folder.disk.truncate(path);
            outcome = outcome.and(folder.disk.remove(path));
        }
        let folders: BTreeSet<&Path> = files.iter().filter_map(|path| path.parent()).collect();
        for dir in folders {
            outcome = outcome.and(folder.disk.sync_dir(dir));
        }
        outcome?;
        if self.photo_files()?.is_empty() {
            // The next write of the control file brings this to the disk.
            folder.disk.remove_dir(&self.attachments_path())?;
        }
        if self.remains()?.is_empty() {
            Ok(files.len() as u32)
        } else {
            Err(std::io::Error::other("files appeared during the wipe").into())
        }
    }

    fn remains(&self) -> Result<Vec<PathBuf>, VaultError> {
        let folder = self.folder();
        let kept =
            [CONTROL_NAMES[0], CONTROL_NAMES[1], IN_USE, TOMBSTONE, audit::LOG].map(|name| folder.path(name));
        let sealed = rescue::paths(folder.disk, &rescue::folder(folder.dir))?;
        let sealed: BTreeSet<PathBuf> = sealed.into_iter().map(|(_, segment)| segment).collect();
        let unsent: BTreeSet<PathBuf> = self.photo_files()?.iter().flat_map(PhotoFile::paths).collect();
        let mut files = folder.disk.list(folder.dir)?;
        files.retain(|path| !kept.contains(path) && !sealed.contains(path) && !unsent.contains(path));
        Ok(files)
    }

    /// Ends the wipe when the server has confirmed every receipt of it. Call it with the gate held.
    pub(crate) fn bury(&self) -> Result<(), VaultError> {
        let due = self.read(|record| match &record.status {
            Status::Wiping(wipe) if wipe.stage == Stage::Rescued && record.queue.is_empty() => Some((
                minicbor::bytes::ByteArray::from(wipe.cause.command),
                self.seams.clock.now().timestamp_millis(),
            )),
            _ => None,
        })?;
        let Some(tombstone) = due else { return Ok(()) };
        let folder = self.folder();
        folder.disk.replace(folder.dir, TOMBSTONE, &encode(&tombstone)?)?;
        self.remove_last_traces()
    }

    /// A tombstone was found with other files around it.
    pub(super) fn finish_burial(&self) -> Result<(), VaultError> {
        match Control::load(&self.folder()).map(|control| control.record.status) {
            Ok(Status::Wiping(wipe)) if wipe.stage == Stage::Rescued => self.remove_last_traces(),
            // The key that would prove it was the last to go.
            Err(VaultError::KeyGone) => self.remove_last_traces(),
            Ok(_) => Err(VaultError::Tampered { file: TOMBSTONE }),
            Err(error) => Err(error),
        }
    }

    /// Deletes the last keys, and then the files that need them. If the keystore does not confirm that, the next
    /// start comes back to it.
    fn remove_last_traces(&self) -> Result<(), VaultError> {
        *self.held() = Held::Buried;
        let last_keys = [KeyAlias::Biometric, KeyAlias::Wrap, KeyAlias::Identity, KeyAlias::Control];
        if let Some(left) = last_keys.into_iter().find(|&alias| !self.delete_key(alias)) {
            tracing::warn!(key = left.name(), "the platform did not confirm that a key is deleted");
            return Ok(());
        }
        self.forget_mark();
        let folder = self.folder();
        // The control file goes last: it leads the next start here.
        let first = folder.named(&[IN_USE, "tombstone."])?;
        for path in first.iter().chain(&folder.named(&["control."])?) {
            folder.disk.remove(path)?;
        }
        Ok(folder.disk.sync_dir(folder.dir)?)
    }
}
