//! A small store for what lives between two pages of one session: uploads, codes that are shown once.
//!
//! It is bounded three ways: one thing a session, [`MAX_THINGS`] in all, and a quarter of an hour since it
//! was last used.

use super::visitor::SessionKey;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// The most things kept at a time.
const MAX_THINGS: usize = 8;

/// How long an unused thing is kept.
const LIFE: Duration = Duration::from_mins(15);

struct Thing<T> {
    owner: SessionKey,
    used: Instant,
    value: T,
}

/// The store.
pub(super) struct Shelf<T>(Mutex<HashMap<Uuid, Thing<T>>>);

/// No room: other sessions' things fill it. Try again in some minutes.
#[derive(Debug)]
pub(super) struct Full;

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Shelf<T> {
    /// Puts a thing in for a session, in the place of the one it had before.
    pub(super) fn put(&self, owner: SessionKey, now: Instant, value: T) -> Result<Uuid, Full> {
        let mut things = self.fresh(now);
        things.retain(|_, thing| thing.owner != owner);
        if things.len() >= MAX_THINGS {
            return Err(Full);
        }
        let id = Uuid::now_v7();
        things.insert(id, Thing { owner, used: now, value });
        Ok(id)
    }

    /// Lets `look` see and change a thing, if it is there and belongs to this session.
    pub(super) fn with<R>(
        &self,
        owner: SessionKey,
        id: Uuid,
        now: Instant,
        look: impl FnOnce(&mut T) -> R,
    ) -> Option<R> {
        let mut things = self.fresh(now);
        let thing = things.get_mut(&id).filter(|thing| thing.owner == owner)?;
        thing.used = now;
        Some(look(&mut thing.value))
    }

    fn fresh(&self, now: Instant) -> MutexGuard<'_, HashMap<Uuid, Thing<T>>> {
        let mut things = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        things.retain(|_, thing| now.saturating_duration_since(thing.used) < LIFE);
        things
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: SessionKey = [1; 32];
    const BEN: SessionKey = [2; 32];

    #[test]
    fn a_thing_is_seen_by_its_own_session_only_and_expires() -> Result<(), Full> {
        let shelf = Shelf::default();
        let start = Instant::now();
        let id = shelf.put(ANN, start, "upload")?;
        assert_eq!(shelf.with(BEN, id, start, |thing| *thing), None);
        assert_eq!(shelf.with(ANN, id, start + LIFE / 2, |thing| *thing), Some("upload"));
        assert_eq!(shelf.with(ANN, id, start + LIFE, |thing| *thing), Some("upload"), "use keeps it");
        assert_eq!(shelf.with(ANN, id, start + LIFE * 2, |thing| *thing), None);
        Ok(())
    }

    #[test]
    fn a_session_keeps_one_thing_and_all_sessions_a_few() -> Result<(), Full> {
        let shelf = Shelf::default();
        let now = Instant::now();
        let first = shelf.put(ANN, now, 1)?;
        let second = shelf.put(ANN, now, 2)?;
        assert_eq!(shelf.with(ANN, first, now, |thing| *thing), None);
        assert_eq!(shelf.with(ANN, second, now, |thing| *thing), Some(2));
        for other in 2..=MAX_THINGS {
            shelf.put([u8::try_from(other).unwrap_or(0); 32], now, 3)?;
        }
        assert!(shelf.put([99; 32], now, 4).is_err());
        shelf.put([99; 32], now + LIFE, 4)?;
        Ok(())
    }
}
