//! The message on the page after a form was carried out.
//!
//! It travels in a cookie as a name out of a fixed list, so that no text from outside is ever shown.

use super::visitor::own_cookie;
use axum_extra::extract::cookie::CookieJar;

const COOKIE: &str = "__Host-roundsman-said";

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flash {
    Locked,
    UnlockGranted,
    WipeProposed,
    WipeApproved,
    WipeOrdered,
    WipeWithdrawn,
    UserAdded,
    TerritoriesSet,
    RescuedTaken,
    RescuedDismissed,
    AlertSeen,
    EnrolmentConfirmed,
    EnrolmentRefused,
    EnrolmentsSet,
    ConflictSettled,
    CustomerRemoved,
    CustomerRestored,
    CustomerErased,
    Frozen,
    FreezeLifted,
}

impl Flash {
    const ALL: [(Self, &'static str, &'static str); 20] = [
        (Self::Locked, "locked", "Lock ordered. The device carries it out the next time it is online."),
        (
            Self::UnlockGranted,
            "unlock-granted",
            "Unlock granted. The device can be opened again once it has asked the server.",
        ),
        (Self::WipeProposed, "wipe-proposed", "Wipe proposed. Nothing happens until it is approved."),
        (Self::WipeApproved, "wipe-approved", "Approval taken. The wipe waits for others."),
        (
            Self::WipeOrdered,
            "wipe-ordered",
            "Wipe ordered. Its progress and the device's proof appear below.",
        ),
        (Self::WipeWithdrawn, "wipe-withdrawn", "Proposal taken back. Nothing happens to the device."),
        (Self::UserAdded, "user-added", "User added."),
        (Self::TerritoriesSet, "territories-set", "Territories saved. Devices follow with their next sync."),
        (Self::RescuedTaken, "rescued-taken", "Taken into the records, under the name of who made it."),
        (Self::RescuedDismissed, "rescued-dismissed", "Dismissed. Its content is deleted in 30 days."),
        (Self::AlertSeen, "alert-seen", "Noted as seen. If it happens again, there is a new alert."),
        (
            Self::EnrolmentConfirmed,
            "enrolment-confirmed",
            "Confirmed. The device is let in when it next asks.",
        ),
        (
            Self::EnrolmentRefused,
            "enrolment-refused",
            "Refused for good. Find out who else has seen the code before you issue another.",
        ),
        (
            Self::EnrolmentsSet,
            "enrolments-set",
            "Saved. It holds for every code that is scanned from now on.",
        ),
        (Self::ConflictSettled, "conflict-settled", "Settled. Devices follow with their next sync."),
        (
            Self::CustomerRemoved,
            "customer-removed",
            "Removed. It leaves the devices with their next sync, and can be brought back from here.",
        ),
        (Self::CustomerRestored, "customer-restored", "Brought back as it was."),
        (Self::CustomerErased, "customer-erased", "Erased for good."),
        (
            Self::Frozen,
            "frozen",
            "Every phone is told to lock. Each carries it out the next time it is online.",
        ),
        (
            Self::FreezeLifted,
            "freeze-lifted",
            "Unlock granted to the phones that were locked together. Each opens again once it has asked the server.",
        ),
    ];

    /// The sentence to show.
    pub(super) fn text(self) -> &'static str {
        Self::ALL.iter().find(|(flash, ..)| *flash == self).map_or("", |(_, _, text)| text)
    }

    /// The cookie that carries it to the next page.
    pub(super) fn cookie(self) -> CookieJar {
        let name = Self::ALL.iter().find(|(flash, ..)| *flash == self).map_or("", |(_, name, _)| name);
        CookieJar::new().add(own_cookie(COOKIE, name.to_owned()))
    }
}

/// The message that waits, if there is one.
pub(super) fn waiting(jar: &CookieJar) -> Option<Flash> {
    let name = jar.get(COOKIE)?.value();
    Flash::ALL.iter().find(|(_, known, _)| *known == name).map(|(flash, ..)| *flash)
}

/// Forgets it.
pub(super) fn forget() -> CookieJar {
    let mut cookie = own_cookie(COOKIE, String::new());
    cookie.make_removal();
    CookieJar::new().add(cookie)
}
