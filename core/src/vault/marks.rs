//! The mark in the platform's keystore: what is known there does not go back when files are put back.
//!
//! It is `version (1) ‖ vault (16) ‖ commit (8) ‖ generation (8)`, numbers in big-endian order: the highest number
//! of a commit of the database, and how often the control file had been stored when the mark was made. It is written
//! after each sync and each close, always behind the control file and never ahead of it.

use super::record::Record;
use super::{Held, Vault, VaultError};
use uuid::Uuid;

const VERSION: u8 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    vault: Uuid,
    commit: u64,
    generation: u64,
}

impl Mark {
    fn to_bytes(self) -> Vec<u8> {
        let Self { vault, commit, generation } = self;
        [&[VERSION], vault.as_bytes().as_slice(), &commit.to_be_bytes(), &generation.to_be_bytes()].concat()
    }

    /// `None` if it is of another form: a newer app's.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        let (vault, rest) = rest.split_first_chunk()?;
        let (commit, rest) = rest.split_first_chunk()?;
        let generation = rest.try_into().ok()?;
        let mark = Self {
            vault: Uuid::from_bytes(*vault),
            commit: u64::from_be_bytes(*commit),
            generation: u64::from_be_bytes(generation),
        };
        (*version == VERSION).then_some(mark)
    }
}

impl Vault {
    /// The highest number of a commit that the control file or the keystore has seen. The database must not be of
    /// an earlier one.
    ///
    /// # Errors
    /// Not enrolled or wiped; the keystore could not say.
    pub fn seen_commit(&self) -> Result<u64, VaultError> {
        let seen = self.read(|record| record.commit)?;
        Ok(self.mark()?.map_or(seen, |mark| seen.max(mark.commit)))
    }

    /// Has the number of the database's last commit noted with whatever is next changed in the control file, which spares
    /// [`note_commit`](Self::note_commit) a write.
    pub(crate) fn committed(&self, commit: u64) {
        if let Held::Alive(control) = &mut *self.held() {
            control.commit = control.commit.max(commit);
        }
    }

    /// Notes the number of the database's last commit, in the control file and in the keystore. Does nothing
    /// during a wipe.
    ///
    /// # Errors
    /// The disk or the keystore failed; then an earlier number is what is known.
    pub fn note_commit(&self, commit: u64) -> Result<(), VaultError> {
        let _gate = self.gate();
        let (noted, notes) = match self.read(|record| (record.commit, record.notes_commits())) {
            Err(VaultError::NotEnrolled | VaultError::Wiped) => return Ok(()),
            looked => looked?,
        };
        if !notes {
            return Ok(());
        }
        if noted < commit {
            self.update(|record| record.commit = commit)?;
        }
        self.renew_mark()
    }

    /// Writes the mark anew.
    pub(super) fn renew_mark(&self) -> Result<(), VaultError> {
        let commit = self.seen_commit()?;
        let mark =
            self.with_generation(|record, generation| Mark { vault: record.vault, commit, generation })?;
        Ok(self.seams.keys.set_mark(&mark.to_bytes())?)
    }

    /// Remembers for good if the control file is an earlier one than the mark knows. It is found at a start or
    /// never: with each report the file would come nearer to the mark.
    pub(super) fn check_mark(&self) -> Result<(), VaultError> {
        let Some(mark) = self.mark()? else { return Ok(()) };
        let (put_back, known) =
            self.with_generation(|record, generation| (generation < mark.generation, record.put_back))?;
        if put_back && !known {
            self.update(|record| record.put_back = true)?;
        }
        Ok(())
    }

    /// Removes the mark of a vault that is no more. One that stays says nothing about another vault.
    pub(super) fn forget_mark(&self) {
        if let Err(error) = self.seams.keys.set_mark(&[]) {
            tracing::warn!(%error, "the keystore's mark could not be removed");
        }
    }

    /// The mark of this vault.
    fn mark(&self) -> Result<Option<Mark>, VaultError> {
        let vault = self.read(|record| record.vault)?;
        let mark = self.seams.keys.mark()?;
        Ok(mark.as_deref().and_then(Mark::from_bytes).filter(|mark| mark.vault == vault))
    }

    fn with_generation<T>(&self, look: impl FnOnce(&Record, u64) -> T) -> Result<T, VaultError> {
        match &*self.held() {
            Held::New => Err(VaultError::NotEnrolled),
            Held::Buried => Err(VaultError::Wiped),
            Held::Alive(control) => Ok(look(&control.record, control.pair.generation())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written_and_no_other_form_is() {
        let mark = Mark { vault: Uuid::from_u128(7), commit: 300, generation: u64::MAX };
        let bytes = mark.to_bytes();
        assert_eq!((bytes.len(), Mark::from_bytes(&bytes)), (33, Some(mark)));
        assert_eq!(Mark::from_bytes(&bytes[..32]), None);
        assert_eq!(Mark::from_bytes(&[&[2], &bytes[1..]].concat()), None);
        assert_eq!(Mark::from_bytes(&[]), None);
    }
}
