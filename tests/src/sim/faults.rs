//! What happens to phones, servers, disks and the network while people work.

use super::operations::{Operation, name};
use super::phone::{OTHER, PASSCODE, Phone};
use super::world::World;
use roundsman_core::vault::Passcode;
use roundsman_core::{Client, Error, State};
use roundsman_testkit::{DiskFault, Fate};
use std::sync::Arc;

impl World {
    /// A sync whose connection hangs: the app gives up, or is killed while it waits.
    pub(super) async fn hang_up(&mut self, slot: usize) -> String {
        let fate = if self.chance.percent(50) { Fate::HangBefore } else { Fate::HangAfter };
        let killed = self.chance.percent(40);
        let sends = self.chance.percent(30);
        let network = Arc::clone(&self.phones[slot].network);
        for _ in 0..self.chance.below(3) {
            network.next(Fate::Deliver);
        }
        network.next(fate);
        let ended = tokio::select! {
            biased;
            done = talk(&self.phones[slot].client, sends) => Some(done),
            () = network.hangs() => None,
        };
        network.forget_next();
        // Work that was begun is finished by itself.
        settle().await;
        let hung = ended.is_none();
        if hung && killed {
            self.killed(slot);
        }
        format!("{fate:?}, sends {sends}, hung {hung}, killed {killed}")
    }

    /// The phone stops at a commit of a sync, or while it sends what is attached.
    pub(super) async fn stop_in_sync(&mut self, slot: usize) -> String {
        let (commits, sends) = (self.chance.below(6) as u32, self.chance.percent(30));
        self.scopes.phones.stop_after(commits);
        let talked = talk(&self.phones[slot].client, sends).await;
        settle().await;
        self.after_stop(slot, format!("after {commits} commits, {talked}"))
    }

    /// The phone stops at a commit of the rep's work, or at a call of its disk.
    pub(super) fn stop_in_work(&mut self, slot: usize) -> String {
        let works =
            [Operation::Visit, Operation::Edit, Operation::Add, Operation::Remove, Operation::OutboxWork];
        let operation = *self.chance.pick(&works).unwrap_or(&Operation::Edit);
        if self.chance.percent(50) {
            self.scopes.phones.stop_after(0);
            let what = self.work(slot, operation, true);
            return self.after_stop(slot, what);
        }
        let calls = self.chance.below(5) as u32;
        self.phones[slot].disk.fail_after(calls, DiskFault::Stopped);
        let what = self.work(slot, operation, true);
        self.killed(slot);
        format!("after {calls} calls of the disk: {operation:?} {what}")
    }

    fn after_stop(&mut self, slot: usize, what: String) -> String {
        if self.scopes.phones.is_stopped() {
            self.killed(slot);
            return format!("stopped {what}");
        }
        self.scopes.phones.go_on();
        format!("went on {what}")
    }

    pub(super) fn killed(&mut self, slot: usize) {
        self.counts.phone_stops += 1;
        // While the old one is there it must not go on; the new one must not be stopped.
        self.scopes.phones.go_on();
        self.start(slot, Phone::kill);
    }

    pub(super) fn close_and_open(&mut self, slot: usize) -> String {
        if self.chance.percent(20) && self.phones[slot].client.state() == State::Open {
            let phone = &mut self.phones[slot];
            let next = if phone.passcode == PASSCODE { OTHER } else { PASSCODE };
            let changed = phone.client.change_passcode(
                &phone.passcode(),
                &Passcode::new(next).expect("a passcode that the policy takes"),
            );
            if changed.is_ok() {
                phone.passcode = next;
            }
            return format!("another passcode {:?}", changed.map_err(name));
        }
        self.start(slot, Phone::restart);
        "restarted".to_owned()
    }

    /// Starts a phone in this way, and opens it if a passcode may.
    fn start(&mut self, slot: usize, how: fn(&mut Phone) -> Result<(), Error>) {
        let phone = &mut self.phones[slot];
        let started = how(phone)
            .and_then(|()| if phone.client.state() == State::Closed { phone.unlock() } else { Ok(()) });
        if let Err(error) = started {
            let what = format!("phone {slot} does not start: {error:?}");
            self.journal.open().find("acknowledged_never_lost", what);
        }
    }

    /// The server stops at a commit while it works for a phone, and is started again.
    pub(super) async fn server_stops(&mut self, slot: usize) -> String {
        let (commits, sends) = (self.chance.below(5) as u32, self.chance.percent(30));
        self.scopes.server.stop_after(commits);
        let talked = talk(&self.phones[slot].client, sends).await;
        settle().await;
        let stopped = self.scopes.server.is_stopped();
        if stopped {
            self.kill_server();
        } else {
            self.scopes.server.go_on();
        }
        format!("after {commits} commits, stopped {stopped}: {talked}")
    }

    /// The phone's disk fails once, or is full for a while.
    pub(super) async fn disk_fails(&mut self, slot: usize) -> String {
        self.counts.disk_faults += 1;
        let fault = if self.chance.percent(50) { DiskFault::Once } else { DiskFault::Full };
        let calls = self.chance.below(6) as u32;
        self.phones[slot].disk.fail_after(calls, fault);
        let edited = self.work(slot, Operation::Edit, true);
        let synced = self.sync(slot).await;
        let visited = self.work(slot, Operation::Visit, true);
        let attached = self.work(slot, Operation::Attach, true);
        self.phones[slot].disk.heal();
        format!("{fault:?} after {calls} calls: {edited}, {synced}, {visited}, {attached}")
    }
}

/// A sync, or the sending of what is attached; what came of it.
async fn talk(client: &Client, sends: bool) -> String {
    if sends {
        format!("{:?}", client.send_attachments(&()).await.map_err(name))
    } else {
        format!("{:?}", client.sync(&()).await.map_err(name))
    }
}

/// Waits until all work that was begun in the background is done.
pub(super) async fn settle() {
    let _done = tokio::spawn(async {}).await;
    let _done = tokio::task::spawn_blocking(|| ()).await;
}
