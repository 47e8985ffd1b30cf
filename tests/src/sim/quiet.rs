//! A quiet period: everything works again, and everybody syncs until nothing is left to say.

use super::faults::settle;
use super::operations::name;
use super::world::World;
use roundsman_core::sync::Report;
use roundsman_core::{Error, State};
use std::sync::Arc;
use std::time::Duration;

/// Rounds after which everybody must be in step.
const ROUNDS: usize = 14;

impl World {
    /// Heals everything, brings everybody into step, checks all that must hold, and lets the weather come back.
    pub(super) async fn quiet(&mut self) {
        self.counts.quiets += 1;
        self.scopes.phones.go_on();
        if self.scopes.server.go_on() {
            self.kill_server();
        }
        for phone in &self.phones {
            phone.disk.heal();
            phone.network.heal();
        }
        let mut unsettled = String::new();
        for round in 0..ROUNDS {
            self.clock.advance(Duration::from_secs(61));
            unsettled.clear();
            for slot in 0..self.phones.len() {
                if let Some(what) = self.bring_into_step(slot).await {
                    unsettled = format!("phone {slot}: {what}");
                }
                settle().await;
            }
            if self.found() {
                return;
            }
            if unsettled.is_empty() {
                self.note(format!("quiet after {round} rounds"));
                break;
            }
        }
        if !unsettled.is_empty() {
            self.journal.open().find("heals", format!("after {ROUNDS} rounds {unsettled}"));
            return;
        }
        self.verify_phones().await;
        self.check().await;
        let weather = self.weather;
        for slot in 0..self.phones.len() {
            let seed = self.chance.below(u64::MAX);
            self.phones[slot].network.weather(weather, seed);
        }
    }

    /// Has every phone check itself, end to end. Nothing is to be found, and nothing to be mended.
    async fn verify_phones(&mut self) {
        for slot in 0..self.phones.len() {
            let verified = self.phones[slot].client.verify(&()).await;
            let wrong = match verified {
                Ok(verified) if verified.is_sound() && verified.server.is_ok() => continue,
                Ok(verified) => format!("{:?}, {:?}", verified.findings, verified.server),
                Err(error) => name(error),
            };
            self.journal.open().find("store_is_sound", format!("phone {slot}: {wrong}"));
        }
    }

    /// Takes the next step towards a phone that is open and has nothing to say; what it was, or `None` if there was none
    /// to take.
    async fn bring_into_step(&mut self, slot: usize) -> Option<String> {
        let state = self.phones[slot].client.state();
        match state {
            State::Open => {
                let synced = self.phones[slot].client.sync(&()).await;
                match synced {
                    Ok(report) if is_quiet(&report) && self.phones[slot].client.state() == State::Open => {
                        match self.phones[slot].client.send_attachments(&()).await {
                            Ok(sent) if sent.files == 0 => None,
                            sent => Some(format!("{:?}", sent.map_err(name))),
                        }
                    }
                    Ok(report) => Some(format!("{report:?}")),
                    Err(error) => Some(name(error)),
                }
            }
            State::Closed => match self.phones[slot].unlock() {
                Ok(()) => Some("opened".to_owned()),
                Err(error) => {
                    let told = self.phones[slot].client.check_in().await;
                    Some(format!("{error:?}, {told:?}"))
                }
            },
            State::Locked { .. } => {
                let granted =
                    self.office().unlock(self.phones[slot].device).map_err(|error| error.to_string());
                let told = self.phones[slot].client.check_in().await;
                Some(format!("{state:?} {granted:?} {told:?}"))
            }
            State::Wiping => Some(format!("wiping {:?}", self.phones[slot].client.check_in().await)),
            State::Wiped => {
                self.bury(slot);
                self.content_is_rescued(&self.phones[slot]).await;
                let enrolled = self.enrol_anew(slot).await.map_err(name);
                Some(format!("wiped, {enrolled:?}"))
            }
            State::New => {
                let enrolled = self.enrol_anew(slot).await.map_err(name);
                Some(format!("new, {enrolled:?}"))
            }
        }
    }

    /// Another device for a rep whose phone was wiped.
    async fn enrol_anew(&mut self, slot: usize) -> Result<(), Error> {
        let office = self.office();
        let number = self.devices;
        self.devices += 1;
        let phone = &mut self.phones[slot];
        phone.replace(number)?;
        let ticket = office.ticket(phone.rep).expect("a ticket");
        phone.client.enrol(&ticket, &phone.passcode()).await?;
        if let Some(profile) = phone.client.profile() {
            phone.device = profile.device;
        }
        Ok(())
    }

    /// The server that phones reach, for checks.
    pub(super) fn rescue_key(&self) -> Option<[u8; 32]> {
        let key = Arc::clone(&self.keys).rescue.opening_key().ok()?;
        Some(*key)
    }
}

fn is_quiet(report: &Report) -> bool {
    report.sent + report.rejected + report.received + report.removed == 0 && report.events.is_empty()
}
