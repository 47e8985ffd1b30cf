//! Pokes: what commits change is told to the devices that listen, without saying what it is.
//!
//! # Promises
//! - A device that has a seat before a commit is poked after it, by whichever instance or process it was made.
//! - A device has one seat: the newest. What nobody takes is kept as one poke, however much happens.
//! - What a device has sent itself does not poke it: its answer has it.
//!
//! # Not promised
//! - That a poke means a change: after notices were lost everyone is poked.

mod seats;
#[cfg(test)]
mod tests;

pub(crate) use seats::{Seat, Seats};

use crate::admin::DeviceStatus;
use crate::app::{App, buckets};
use crate::storage::{Notice, StorageError};
use roundsman_model::{Bucket, DeviceId};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

/// How often to look for what another process, the command line on the same machine, has committed. A wipe ordered there
/// should reach a listening phone in less than two seconds.
const LOOK: Duration = Duration::from_millis(500);

/// Hands notices on to the seats until it is dropped. Subscribe before anyone can sit down.
pub(crate) async fn go_on(app: Arc<App>, seats: Arc<Seats>, mut notices: Receiver<Notice>) {
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            notice = notices.recv() => match notice {
                Ok(notice) => tell(&app, &seats, notice).await,
                Err(RecvError::Lagged(_)) => tell(&app, &seats, Notice::Anything).await,
                // The storage is gone, and the server with it.
                Err(RecvError::Closed) => return,
            },
            // Asked at the tick: a seat that is taken while this waits counts.
            _ = look.tick() => if !seats.is_empty() {
                let app = Arc::clone(&app);
                let looked = tokio::task::spawn_blocking(move || app.storage.look()).await;
                if let Ok(Err(error)) = looked {
                    tracing::warn!(%error, "the database could not be asked for other processes' commits");
                }
            }
        }
    }
}

async fn tell(app: &Arc<App>, seats: &Arc<Seats>, notice: Notice) {
    match notice {
        Notice::Bucket(bucket) => seats.changed(&bucket, None),
        Notice::Sent(bucket, device) => seats.changed(&bucket, Some(device)),
        Notice::Device(device) => {
            seats.called(device);
            renew(app, seats, vec![device]).await;
        }
        Notice::User(user) => renew(app, seats, seats.of_user(user)).await,
        Notice::Anything => {
            renew(app, seats, seats.devices()).await;
            seats.everyone();
        }
    }
}

/// Reads anew what these devices may hear of. Who lost or won something is poked.
async fn renew(app: &Arc<App>, seats: &Arc<Seats>, devices: Vec<DeviceId>) {
    if devices.is_empty() {
        return;
    }
    let (app, seats) = (Arc::clone(app), Arc::clone(seats));
    let read = tokio::task::spawn_blocking(move || {
        for device in devices {
            seats.may_hear(device, scope(&app, device)?);
        }
        Ok::<(), StorageError>(())
    });
    if let Ok(Err(error)) = read.await {
        tracing::warn!(%error, "what listening devices may hear of could not be read");
    }
}

/// The buckets whose changes a device may hear of: its user's while it is in use, and none else.
pub(crate) fn scope(app: &App, device: DeviceId) -> Result<HashSet<Bucket>, StorageError> {
    let tx = app.storage.read()?;
    let Some(device) = tx.device(device)?.filter(|device| device.status == DeviceStatus::Active) else {
        return Ok(HashSet::new());
    };
    let user = tx.user(device.user)?;
    Ok(user.map(|user| buckets(user.id, &user.territories).into_iter().collect()).unwrap_or_default())
}
