//! In what state a phone is, and how long it may stay away.

use super::devices::is_gone;
use super::page::sentence;
use super::show::{self, Badge, When};
use crate::admin::{DeviceView, LeaseTerms, PostureView};
use chrono::{DateTime, TimeDelta, Utc};
use roundsman_protocol::posture::Verdict;

/// The phone's state, as its app told it.
pub(super) struct Condition {
    pub(super) verdict: Badge,
    pub(super) meaning: &'static str,
    pub(super) concerns: Vec<String>,
    /// What was told, in pairs.
    pub(super) told: Vec<(&'static str, String)>,
}

impl Condition {
    pub(super) fn new(posture: &PostureView) -> Self {
        let meaning = match posture.verdict {
            Verdict::Allow => "Nothing that the rules object to.",
            Verdict::Warn => "The rep is told. The app opens all the same.",
            Verdict::Lock => "The app does not open, and gets no new lease, until this is put right.",
        };
        let told = &posture.told;
        let known = |label, is: Option<bool>| {
            (label, is.map_or("not known", |is| if is { "yes" } else { "no" }).to_owned())
        };
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "not known".to_owned());
        Self {
            verdict: show::posture(posture.verdict).unwrap_or(show::SOUND),
            meaning,
            concerns: posture.concerns.iter().map(sentence).collect(),
            told: vec![
                ("System", text(&told.os)),
                ("Security patches of", text(&told.patch_level)),
                ("Screen lock", known("", told.screen_lock).1),
                known("Rooted or jailbroken", told.rooted),
                known("Debugger attached", told.debugger),
                known("Emulator", told.emulator),
            ],
        }
    }
}

/// How long the device may stay away.
pub(super) struct Lease {
    /// Whether its report renews it.
    pub(super) renewed: bool,
    pub(super) warns: When,
    pub(super) closes: When,
    pub(super) wipes: Option<When>,
}

impl Lease {
    /// From the device's last report on. A device without keys has no lease.
    pub(super) fn new(device: &DeviceView, terms: LeaseTerms, now: DateTime<Utc>) -> Option<Self> {
        if is_gone(device.state) {
            return None;
        }
        let seen = device.last_seen?;
        let after = |seconds: u32| When::new(seen + TimeDelta::seconds(seconds.into()), now);
        Some(Self {
            renewed: device.posture.as_ref().is_none_or(|posture| posture.verdict != Verdict::Lock),
            warns: after(terms.warn_after_s),
            closes: after(terms.lock_after_s),
            wipes: terms.wipe_after_s.map(after),
        })
    }
}
