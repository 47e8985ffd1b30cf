//! Turns: each report names the nonce of the answer before it, so that of two devices with the same key only one
//! can go on.

use super::Device;
use crate::vault::VaultError;
use roundsman_protocol::api::Turn;

/// No report is waiting for its answer.
const NONE: [u8; 16] = [0; 16];

impl Device {
    /// The turn of this report. Its own id is on disk before it is sent; the report after a lost answer has the
    /// same. `None` if the disk failed: a full disk must not keep a command from the device.
    pub(super) fn turn(&self) -> Option<Turn> {
        match self.begin_turn() {
            Ok(turn) => Some(turn),
            Err(error) => {
                tracing::warn!(%error, "the report goes without its turn");
                None
            }
        }
    }

    fn begin_turn(&self) -> Result<Turn, VaultError> {
        let turn = self.vault.read(|record| record.turn)?;
        if turn.attempt != NONE {
            return Ok(turn);
        }
        let attempt = self.vault.seams().entropy.bytes()?;
        self.vault.update(|record| {
            record.turn.attempt = attempt;
            record.turn
        })
    }

    /// The report was answered: the next one names this nonce. If that can't be stored, the next report is a repeat
    /// of this one.
    pub(super) fn end_turn(&self, nonce: Option<&[u8]>) {
        // A server that keeps no turns sends none.
        let Some(nonce) = nonce.and_then(|nonce| <[u8; 16]>::try_from(nonce).ok()) else { return };
        // An answer to nothing, or the same answer again.
        if !self.vault.read(|record| record.turn.attempt != NONE).unwrap_or(false) {
            return;
        }
        let ended = self.vault.update(|record| {
            record.turn = Turn { counter: record.turn.counter.saturating_add(1), nonce, attempt: NONE };
        });
        if let Err(error) = ended {
            tracing::warn!(%error, "the end of a turn could not be stored");
        }
    }
}
