//! A command's way from the console to the device's proof.

use super::show::{self, When};
use crate::admin::{CommandView, ReceiptView, RescueStanding, WipeProposal};
use chrono::{DateTime, Utc};
use roundsman_model::DeviceId;

/// One stage of a command's way.
pub(super) struct Stage {
    /// `done`, `waiting` or `failed`.
    pub(super) look: &'static str,
    pub(super) title: &'static str,
    pub(super) note: String,
    pub(super) at: Option<When>,
    pub(super) receipt: Option<Proof>,
}

/// A receipt to look at.
pub(super) struct Proof {
    pub(super) title: &'static str,
    pub(super) verified: bool,
    pub(super) at: When,
    pub(super) received: When,
    pub(super) details: Vec<(String, String)>,
    pub(super) href: String,
}

/// A command's way from the console to the proof.
pub(super) struct Timeline {
    pub(super) title: &'static str,
    pub(super) tone: &'static str,
    pub(super) number: u64,
    pub(super) reason: String,
    pub(super) superseded: bool,
    pub(super) stages: Vec<Stage>,
}

impl Proof {
    pub(super) fn new(
        device: DeviceId,
        list: impl std::fmt::Display,
        index: usize,
        receipt: &ReceiptView,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            title: progress(&receipt.progress),
            verified: receipt.verified,
            at: When::new(receipt.at, now),
            received: When::new(receipt.received_at, now),
            details: receipt.details.clone(),
            href: format!("/console/devices/{device}/receipts/{list}/{index}"),
        }
    }
}

fn progress(name: &str) -> &'static str {
    match name {
        "soft_locked" => "Locked, release key still on the device",
        "locked" => "Locked",
        "unlocked" => "Unlocked",
        "shredded" => "Keys destroyed",
        "complete" => "Files removed",
        "refused" => "Refused by the device",
        _ => "Receipt",
    }
}

impl Stage {
    fn done(title: &'static str, note: String, at: Option<When>) -> Self {
        Self { look: "done", title, note, at, receipt: None }
    }

    fn waiting(title: &'static str, note: impl Into<String>) -> Self {
        Self { look: "waiting", title, note: note.into(), at: None, receipt: None }
    }
}

impl Timeline {
    /// The way of this command. `rescue` is what became of the device's unsent work, which a wipe hands over.
    pub(super) fn new(
        device: DeviceId,
        command: &CommandView,
        rescue: &RescueStanding,
        now: DateTime<Utc>,
    ) -> Self {
        let (title, tone, expected): (_, _, &[_]) = match command.kind.as_str() {
            "lock" => ("Lock", "amber", &["locked"]),
            "unlock" => ("Unlock", "green", &["unlocked"]),
            "wipe" => ("Wipe", "red", &["shredded", "complete"]),
            _ => ("Command", "grey", &[]),
        };
        let mut stages = orders(command, now);
        let refused = command.receipts.iter().any(|receipt| receipt.progress == "refused");
        // What else it said comes before: a soft lock, a refusal.
        let others = command.receipts.iter().map(|receipt| receipt.progress.as_str());
        let mut others: Vec<&str> = others.filter(|name| !expected.contains(name)).collect();
        others.dedup();
        for name in others {
            stages.extend(receipts(device, command, name, now));
        }
        for name in expected {
            if *name == "complete" && !refused && !command.superseded {
                stages.push(handed_over(command, rescue, now));
            }
            let mut came = receipts(device, command, name, now).peekable();
            if came.peek().is_none() && !command.superseded && !refused {
                stages.push(Stage::waiting(progress(name), "waits for the device's receipt"));
            }
            stages.extend(came);
        }
        let proved = |name: &&str| command.receipts.iter().any(|it| it.verified && it.progress == **name);
        if !expected.is_empty() && expected.iter().all(proved) {
            let note = "every step is proved by a receipt signed with the device's key";
            stages.push(Stage::done("Complete", note.to_owned(), None));
        }
        Self {
            title,
            tone,
            number: command.seq,
            reason: command.reason.clone(),
            superseded: command.superseded,
            stages,
        }
    }
}

/// From the proposal to the delivery.
fn orders(command: &CommandView, now: DateTime<Utc>) -> Vec<Stage> {
    let mut stages = Vec::new();
    if let Some(wipe) = &command.order {
        let proposed = When::new(wipe.proposed_at, now);
        stages.push(Stage::done("Proposed", format!("by {}", wipe.proposed_by), Some(proposed)));
        stages.extend(wipe.approvals.iter().map(|it| {
            let note = format!("by {} with key {}", it.by, it.key);
            Stage::done("Approved", note, Some(When::new(it.at, now)))
        }));
    }
    let issued = Some(When::new(command.issued_at, now));
    stages.push(Stage::done("Ordered", ordered(command), issued));
    stages.push(match command.delivered_at {
        Some(at) => Stage::done("Delivered to the device", String::new(), Some(When::new(at, now))),
        None => Stage::waiting("Delivered to the device", "waits for the device to come online"),
    });
    stages
}

fn ordered(command: &CommandView) -> String {
    let said = |wipe: &WipeProposal| match wipe.needed {
        1 => "one person is enough in this organisation".to_owned(),
        needed => format!("{needed} approvers were needed"),
    };
    command.order.as_ref().map_or_else(|| format!("by {}", command.issued_by), said)
}

/// The receipts that say this.
fn receipts<'a>(
    device: DeviceId,
    command: &'a CommandView,
    name: &'a str,
    now: DateTime<Utc>,
) -> impl Iterator<Item = Stage> + 'a {
    let said = command.receipts.iter().enumerate().filter(move |(_, receipt)| receipt.progress == name);
    said.map(move |(index, receipt)| Stage {
        look: if receipt.progress == "refused" || !receipt.verified { "failed" } else { "done" },
        title: progress(&receipt.progress),
        note: String::new(),
        at: Some(When::new(receipt.at, now)),
        receipt: Some(Proof::new(device, command.seq, index, receipt, now)),
    })
}

/// What a wipe did with the unsent work, between the keys' end and the files'.
fn handed_over(command: &CommandView, rescue: &RescueStanding, now: DateTime<Utc>) -> Stage {
    const TITLE: &str = "Unsent work handed over";
    let receipt = command.receipts.iter().filter(|receipt| receipt.verified).find_map(|it| it.rescue);
    let discard = command.order.as_ref().is_some_and(|wipe| wipe.discard_unsent);
    let at = rescue.received_at.map(|at| When::new(at, now));
    match receipt {
        None if discard => Stage::waiting("Unsent work destroyed", "as the order says"),
        None if rescue.sealed + came(rescue) > 0 => {
            let mut so_far = Vec::new();
            for (count, what) in [(rescue.sealed, "change"), (came(rescue), "photo")] {
                if count > 0 {
                    so_far.push(show::counted(count, what));
                }
            }
            Stage::waiting(TITLE, format!("{} so far", so_far.join(" and ")))
        }
        None => Stage::waiting(TITLE, "comes before the files are removed"),
        Some(receipt) if receipt.segments + receipt.photos > 0 => Stage::done(TITLE, became(rescue), at),
        Some(receipt) if receipt.discarded + receipt.photos_discarded > 0 => {
            let note = if discard { "as the order says" } else { "the server did not take it for 30 days" };
            Stage::done("Unsent work destroyed", note.to_owned(), None)
        }
        Some(_) => Stage::done(TITLE, "there was none".to_owned(), None),
    }
}

/// Photos that came whole.
fn came(rescue: &RescueStanding) -> u64 {
    let photos = rescue.photos;
    photos.sealed + photos.waiting + photos.filed + photos.known + photos.damaged
}

/// Where handed over changes and photos are now: `2 changes sealed, 3 to review, 1 taken, 4 photos filed`.
fn became(rescue: &RescueStanding) -> String {
    let parts = [
        (rescue.sealed, "sealed: open it with the rescue key"),
        (rescue.to_review, "rescued, needs review"),
        (rescue.taken, "taken into the records"),
        (rescue.dismissed, "dismissed"),
        (rescue.known, "known already"),
    ];
    let photos = [
        (rescue.photos.sealed, "sealed: open them with the rescue key"),
        (rescue.photos.waiting, "opened, waiting for their records"),
        (rescue.photos.filed, "filed"),
        (rescue.photos.known, "known already"),
        (rescue.photos.damaged, "damaged"),
    ];
    let say = |noun: &'static str| {
        move |(count, what): &(u64, &str)| {
            (*count > 0).then(|| format!("{} {what}", show::counted(*count, noun)))
        }
    };
    let said: Vec<String> =
        parts.iter().filter_map(say("change")).chain(photos.iter().filter_map(say("photo"))).collect();
    said.join(", ")
}
