//! The end of a write, and the number it leaves behind: in the database and, with what was sealed, outside of it.

use super::outbox::{self, counter, set_counter};
use super::{Store, StoreError, connection, schema};
use crate::rescue::{Plain, SealedOutbox};
use roundsman_protocol::sync::Mutation;
use rusqlite::{Connection, Transaction};
use std::sync::atomic::Ordering;
use uuid::Uuid;
use zeroize::Zeroizing;

const NUMBER: &str = "commit";

/// Unsent changes that are few enough for segments to be looked through after each commit.
const FEW: u64 = 1_000;

/// How many commits pass otherwise before segments that are done with are removed.
const TIDY_EVERY: u64 = 16;

/// The number of the last commit; 0 before the first.
pub(super) fn number(connection: &Connection) -> Result<u64, StoreError> {
    if schema::has_digests(schema::version(connection)?) { counter(connection, NUMBER) } else { Ok(0) }
}

/// Compares the database with its witnesses: `seen`, the highest number of a commit that anybody has seen, and
/// what the sealed outbox announces. Returns the number of a commit that was announced and did not happen: the
/// process was stopped between the two.
pub(super) fn bear_witness(
    connection: &Connection,
    sealed: &SealedOutbox,
    seen: u64,
) -> Result<Option<u64>, StoreError> {
    let number = number(connection)?;
    let announced = sealed.last_commit().filter(|announced| *announced > number);
    if number < seen || announced.is_some_and(|announced| announced > number + 1) {
        // A page that is damaged reads as zeros: that is another fault.
        connection::authentic(connection)?;
        return Err(StoreError::RolledBack);
    }
    Ok(announced)
}

/// Makes the sealed outbox what it should be: without the commit that did not happen, and with every change that is
/// unsent.
pub(super) fn make_good(
    connection: &Connection,
    sealed: &SealedOutbox,
    announced: Option<u64>,
) -> Result<(), StoreError> {
    if let Some(announced) = announced
        && let Err(error) = sealed.void(announced)
    {
        tracing::warn!(%error, "a change that was not committed is still in the sealed outbox");
    }
    let (unsent, held) = (outbox::ids(connection)?, sealed.changes());
    if !unsent.is_subset(&held) {
        let mut missing = outbox::mutations(connection)?;
        missing.retain(|mutation| !held.contains(&mutation.id));
        sealed.seal_anew(number(connection)?, &plain(&missing)?)?;
    }
    tidy(sealed, |change| unsent.contains(&change));
    Ok(())
}

impl Store {
    /// Ends a write: gives it its number, brings the digests up to date, seals what was added to the outbox, and
    /// commits. The sealing comes last before the commit, so that a failure of either leaves neither. `left` is how
    /// many changes are unsent still, if the outbox has lost any.
    pub(super) fn commit(
        &self,
        tx: Transaction<'_>,
        added: &[Mutation],
        left: Option<u64>,
    ) -> Result<(), StoreError> {
        let number = counter(&tx, NUMBER)? + 1;
        set_counter(&tx, NUMBER, number)?;
        self.digest.settle(&tx)?;
        // Reading all that is unsent for each few that were taken would be most of what a long upload takes.
        let tidies = left.is_some_and(|left| left <= FEW || number.is_multiple_of(TIDY_EVERY));
        let unsent = tidies.then(|| outbox::ids(&tx)).transpose()?;
        connection::authentic(&tx)?;
        self.sealed.seal(number, &plain(added)?)?;
        if let Err(error) = end(tx) {
            // Whether it happened may not be known.
            self.kept.forget();
            if !added.is_empty()
                && let Err(error) = self.sealed.void(number)
            {
                tracing::warn!(%error, "a change that was not committed is still in the sealed outbox");
            }
            return Err(error);
        }
        self.kept.committed(&self.digest, || self.commit.store(number, Ordering::Relaxed));
        // Still under the writer's lock: nothing is sealed meanwhile.
        if let Some(unsent) = unsent {
            tidy(&self.sealed, |change| unsent.contains(&change));
        }
        Ok(())
    }
}

fn end(tx: Transaction<'_>) -> Result<(), StoreError> {
    #[cfg(feature = "simulation")]
    crate::simulation::before_commit()?;
    Ok(tx.commit()?)
}

/// The changes as they are sealed.
fn plain(mutations: &[Mutation]) -> Result<Vec<Plain>, StoreError> {
    mutations
        .iter()
        .map(|mutation| Ok((mutation.id, Zeroizing::new(serde_json::to_vec(mutation)?))))
        .collect()
}

/// Removes segments that are done with. One that stays is no harm, and goes the next time.
fn tidy(sealed: &SealedOutbox, unsent: impl Fn(Uuid) -> bool) {
    if let Err(error) = sealed.retain(unsent) {
        tracing::warn!(%error, "segments of the sealed outbox that are done with could not be removed");
    }
}
