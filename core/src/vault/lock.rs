//! Lock and unlock by order: the release share goes, and comes back.

use super::record::{Cause, Escrow, Status};
use super::share::{self, Share};
use super::slots::Slots;
use super::{Vault, VaultError};
use roundsman_protocol::receipt::Progress;

/// A command that was found good, to be accepted with its first effect.
#[derive(Clone, Copy)]
pub(crate) struct Order {
    pub(crate) seq: u64,
    pub(crate) cause: Cause,
}

impl Vault {
    /// Locks: from the first step on nothing opens. The release share is destroyed if the server has it, and kept
    /// behind a soft lock until then. Without an order it is the device's own decision.
    ///
    /// Call it with the gate held; `close` must close the database.
    pub(crate) fn lock(&self, order: Option<Order>, close: &dyn Fn()) -> Result<(), VaultError> {
        let cause = order.map(|order| order.cause).unwrap_or_default();
        self.update(|record| {
            if let Some(order) = order {
                record.accept(order.seq, order.cause);
            }
            record.status = Status::Locking(cause);
        })?;
        self.forget_share();
        close();
        self.finish_lock(cause)
    }

    pub(super) fn finish_lock(&self, cause: Cause) -> Result<(), VaultError> {
        if self.harden(cause)? {
            return Ok(());
        }
        let receipt = self.receipt(cause, Progress::SoftLocked)?;
        self.update(|record| {
            record.status = Status::SoftLocked(cause);
            record.owe(receipt);
        })
    }

    /// Destroys the release share, if it is safe in escrow. `false` if it is not.
    pub(crate) fn harden(&self, cause: Cause) -> Result<bool, VaultError> {
        // Whatever keeps us from being sure that the server has the share must not cost it.
        if !self.share_is_safe().unwrap_or(false) {
            return Ok(false);
        }
        self.destroy_share()?;
        let receipt = self.receipt(cause, Progress::Locked)?;
        self.update(|record| {
            record.status = Status::Locked;
            record.owe(receipt);
        })?;
        Ok(true)
    }

    /// Puts a share back that the server has returned. Call it with the gate held.
    pub(crate) fn restore(&self, order: Order, share: Share) -> Result<(), VaultError> {
        let (vault, confirmed) = self.read(|record| (record.vault, record.escrow.receipt.is_some()))?;
        let leashed = confirmed && self.policy().leash_h.is_some();
        if !leashed {
            // Until the state is written this is a share too many, which the next start destroys.
            share.store(&self.folder(), &*self.seams.entropy, share::PRESENT, vault)?;
        }
        let receipt = self.receipt(order.cause, Progress::Unlocked)?;
        self.update(|record| {
            record.accept(order.seq, order.cause);
            record.status = Status::Ready { rotate: true };
            record.escrow.leashed = leashed;
            record.attempts = 0;
            // What is sealed until the next lock may be added to them.
            record.handed.clear();
            // The administrator has decided: what is here holds.
            record.put_back = false;
            record.owe(receipt);
        })?;
        if leashed {
            self.hold_share(share);
        }
        if let Err(error) = self.renew_mark() {
            tracing::warn!(%error, "the keystore's mark could not be renewed");
        }
        Ok(())
    }

    /// Finishes an interrupted change of share, on disk and in what is to be given in escrow. A share that is sealed
    /// to keys which the organisation has replaced is sealed anew.
    pub(super) fn settle_share(&self) -> Result<(), VaultError> {
        let (folder, entropy) = (self.folder(), &*self.seams.entropy);
        let leashed = self.read(|record| record.escrow.leashed.then_some(record.escrow.share))?;
        share::settle(&folder, leashed)?;
        let named = Slots::load(&folder)?.passcode.share();
        let (vault, profile, known, sealed_to) = self.read(|record| {
            (record.vault, record.profile.clone(), record.escrow.share, record.escrow.sealed_to)
        })?;
        if named == known && sealed_to == Escrow::keys_of(&profile.root()?) {
            return Ok(());
        }
        let share = match self.share(named) {
            // It is sealed anew when the server has given it; until then the server has what it confirmed.
            Err(VaultError::ShareNeeded) => return Ok(()),
            share => share?,
        };
        if leashed == Some(named) {
            // What the server has not confirmed is in a file. The next start destroys it if this goes no further.
            share.store(&folder, entropy, share::PRESENT, vault)?;
        }
        let escrow = share.escrow(&profile, entropy)?;
        self.update(|record| record.escrow = escrow)?;
        if named != known {
            self.forget_share();
        }
        Ok(())
    }

    /// Whether the server has confirmed the share that the slot needs.
    fn share_is_safe(&self) -> Result<bool, VaultError> {
        self.settle_share()?;
        self.read(|record| record.escrow.receipt.is_some())
    }

    /// Destroys every file of a release share, and forgets the one in memory.
    pub(super) fn destroy_share(&self) -> Result<(), VaultError> {
        self.forget_share();
        self.destroy_share_files()
    }

    pub(super) fn destroy_share_files(&self) -> Result<(), VaultError> {
        let folder = self.folder();
        share::destroy(&folder, &folder.named(&["release."])?)
    }
}
