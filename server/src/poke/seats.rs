//! The seats of those who listen.

use roundsman_model::{Bucket, DeviceId, UserId};
use roundsman_protocol::poke::Poke;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// How many devices may listen to one instance: a connection costs a file descriptor and some ten kilobytes.
const MAX_SEATS: usize = 20_000;

/// Every device that listens.
#[derive(Default)]
pub(crate) struct Seats(Mutex<Room>);

#[derive(Default)]
struct Room {
    last: u64,
    closed: bool,
    taken: HashMap<DeviceId, Taken>,
}

struct Taken {
    number: u64,
    /// Whose changes it hears of; nobody's if it showed no token.
    user: Option<UserId>,
    buckets: HashSet<Bucket>,
    bell: Arc<Bell>,
}

/// Rings until somebody has heard.
#[derive(Default)]
struct Bell {
    due: Mutex<Due>,
    rung: Notify,
}

#[derive(Clone, Copy, Default)]
struct Due {
    sync: bool,
    check_in: bool,
    over: bool,
}

/// A device's seat. It is free again when this is dropped.
pub(crate) struct Seat {
    seats: Arc<Seats>,
    device: DeviceId,
    number: u64,
    bell: Arc<Bell>,
}

impl Seats {
    /// Sits a device down; who had its seat loses it. A device with a user may hear of changes, once it is said which.
    /// `None` if every seat is taken, or the server is stopping.
    pub(crate) fn sit(self: &Arc<Self>, device: DeviceId, user: Option<UserId>) -> Option<Seat> {
        let mut room = self.room();
        if room.closed || (room.taken.len() >= MAX_SEATS && !room.taken.contains_key(&device)) {
            return None;
        }
        room.last += 1;
        let (number, bell) = (room.last, Arc::<Bell>::default());
        let taken = Taken { number, user, buckets: HashSet::new(), bell: Arc::clone(&bell) };
        if let Some(former) = room.taken.insert(device, taken) {
            former.bell.ring(|due| due.over = true);
        }
        Some(Seat { seats: Arc::clone(self), device, number, bell })
    }

    /// Says anew which changes a device may hear of. It is poked if those are others than before.
    pub(super) fn may_hear(&self, device: DeviceId, buckets: HashSet<Bucket>) {
        if let Some(seat) = self.room().taken.get_mut(&device)
            && seat.user.is_some()
            && seat.buckets != buckets
        {
            let any = !buckets.is_empty();
            seat.buckets = buckets;
            seat.bell.ring(|due| due.sync |= any);
        }
    }

    /// A bucket has changed; `by` has its changes already.
    pub(super) fn changed(&self, bucket: &Bucket, by: Option<DeviceId>) {
        for (device, seat) in &self.room().taken {
            if Some(*device) != by && seat.buckets.contains(bucket) {
                seat.bell.ring(|due| due.sync = true);
            }
        }
    }

    /// A device is to report.
    pub(super) fn called(&self, device: DeviceId) {
        if let Some(seat) = self.room().taken.get(&device) {
            seat.bell.ring(|due| due.check_in = true);
        }
    }

    /// Everyone is to look after everything.
    pub(super) fn everyone(&self) {
        for seat in self.room().taken.values() {
            let hears = !seat.buckets.is_empty();
            seat.bell.ring(|due| (due.sync, due.check_in) = (due.sync | hears, true));
        }
    }

    /// Ends every channel; nobody sits down any more.
    pub(crate) fn close(&self) {
        let mut room = self.room();
        room.closed = true;
        room.taken.values().for_each(|seat| seat.bell.ring(|due| due.over = true));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.room().taken.is_empty()
    }

    pub(super) fn devices(&self) -> Vec<DeviceId> {
        self.room().taken.keys().copied().collect()
    }

    pub(super) fn of_user(&self, user: UserId) -> Vec<DeviceId> {
        let room = self.room();
        room.taken.iter().filter(|(_, seat)| seat.user == Some(user)).map(|(device, _)| *device).collect()
    }

    fn room(&self) -> MutexGuard<'_, Room> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Says which changes this device may hear of, as was read after it had sat down. What was said anew meanwhile is not
    /// older, and stands.
    pub(crate) fn hear(&self, buckets: HashSet<Bucket>) {
        if let Some(taken) = self.seats.room().taken.get_mut(&self.device)
            && taken.number == self.number
            && taken.user.is_some()
            && taken.buckets.is_empty()
        {
            taken.buckets = buckets;
        }
    }

    /// Waits for the next poke. `None` if the seat is lost. May be dropped and asked again.
    pub(crate) async fn poke(&self) -> Option<Poke> {
        loop {
            {
                let mut due = self.bell.due.lock().unwrap_or_else(PoisonError::into_inner);
                if due.over {
                    return None;
                }
                // A command before anything else.
                if std::mem::take(&mut due.check_in) {
                    return Some(Poke::CheckIn);
                }
                if std::mem::take(&mut due.sync) {
                    return Some(Poke::Sync);
                }
            }
            self.bell.rung.notified().await;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut room = self.seats.room();
        if room.taken.get(&self.device).is_some_and(|taken| taken.number == self.number) {
            room.taken.remove(&self.device);
        }
    }
}

impl Bell {
    fn ring(&self, change: impl FnOnce(&mut Due)) {
        change(&mut self.due.lock().unwrap_or_else(PoisonError::into_inner));
        // Kept for the next who waits, if nobody does now.
        self.rung.notify_one();
    }
}
