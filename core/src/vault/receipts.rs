//! Receipts: written with the state they prove, signed when they are first sent.

use super::record::{Cause, Queued};
use super::{Vault, VaultError};
use crate::platform::KeyAlias;
use roundsman_protocol::receipt::{Progress, Receipt, SignedReceipt};

impl Vault {
    /// A receipt for now.
    pub(crate) fn receipt(&self, cause: Cause, progress: Progress) -> Result<Receipt, VaultError> {
        let (device, vault) = self.read(|record| (record.profile.device, record.vault))?;
        Ok(Receipt {
            v: roundsman_protocol::VERSION,
            device: *device.0.as_bytes(),
            vault: *vault.as_bytes(),
            command: cause.command,
            command_hash: cause.hash,
            progress,
            at_ms: self.seams.clock.now().timestamp_millis(),
            core: crate::VERSION.to_owned(),
        })
    }

    /// Every receipt that the server has not confirmed, signed. The same receipt has the same bytes each time.
    pub(crate) fn signed_receipts(&self) -> Result<Vec<Vec<u8>>, VaultError> {
        let mut fresh = Vec::new();
        for (place, queued) in self.read(|record| record.queue.clone())?.iter().enumerate() {
            if let Queued::Owed(receipt) = queued {
                let sign = |message: &[u8]| self.seams.keys.sign(KeyAlias::Identity, message);
                fresh.push((place, SignedReceipt::sign(receipt, sign)?.to_bytes()));
            }
        }
        if !fresh.is_empty() {
            self.update(|record| {
                for (place, signed) in fresh {
                    record.signed(place, signed);
                }
            })?;
        }
        self.read(|record| {
            let signed = record.queue.iter().filter_map(|queued| match queued {
                Queued::Signed(bytes) => Some(bytes.to_vec()),
                Queued::Owed(_) => None,
            });
            signed.collect()
        })
    }
}
