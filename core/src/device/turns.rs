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

    /// What the next report names after this answer. `None` if it ends no turn: the server keeps none, or it is an answer
    /// to nothing, or the same answer again.
    pub(super) fn ended(&self, nonce: Option<&[u8]>) -> Option<Turn> {
        let nonce = nonce.and_then(|nonce| <[u8; 16]>::try_from(nonce).ok())?;
        let turn = self.vault.read(|record| record.turn).ok().filter(|turn| turn.attempt != NONE)?;
        Some(Turn { counter: turn.counter.saturating_add(1), nonce, attempt: NONE })
    }

    /// Ends the turn. If that can't be stored, the next report is a repeat of this one.
    pub(super) fn end_turn(&self, next: Option<Turn>) {
        let Some(next) = next else { return };
        if let Err(error) = self.vault.update(|record| record.turn = next) {
            tracing::warn!(%error, "the end of a turn could not be stored");
        }
    }
}
