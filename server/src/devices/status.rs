//! How a device stands, and what moves it.

use crate::admin::DeviceStatus;
use roundsman_protocol::api::DeviceState;
use roundsman_protocol::receipt::Progress;

/// What can happen to a device.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event<'a> {
    LockIssued,
    UnlockGranted,
    WipeIssued,
    /// A verified receipt came in.
    Proved(&'a Progress),
    /// The device says what state it is in.
    Reported(DeviceState),
}

/// The status after an event. What makes no sense in a status changes nothing.
pub(crate) fn step(status: DeviceStatus, event: Event<'_>) -> DeviceStatus {
    use DeviceStatus::{
        Active, LockPending, Locked, Shredded, SoftLocked, UnlockGranted, WipePending, Wiped,
    };
    match (status, event) {
        // The way of a wipe goes one way, and only proof moves it.
        (Wiped, _) | (Shredded, Event::Proved(Progress::Complete { .. })) => Wiped,
        (Shredded, _) | (_, Event::Proved(Progress::Shredded { .. })) => Shredded,
        (WipePending, _) | (_, Event::WipeIssued) => WipePending,
        (Active | UnlockGranted, Event::LockIssued) => LockPending,
        (LockPending | SoftLocked | Locked, Event::UnlockGranted) => UnlockGranted,
        (Active | LockPending | SoftLocked, Event::Proved(Progress::SoftLocked)) => SoftLocked,
        (Active | LockPending | SoftLocked, Event::Proved(Progress::Locked))
        | (Active, Event::Reported(DeviceState::Locked)) => Locked,
        (UnlockGranted, Event::Proved(Progress::Unlocked) | Event::Reported(DeviceState::Active)) => Active,
        (status, _) => status,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DeviceStatus::{Active, LockPending, Locked, Shredded, UnlockGranted, WipePending, Wiped};
    use roundsman_protocol::receipt::{Rescue, Trigger};

    fn shredded() -> Progress {
        Progress::Shredded {
            keys: vec![],
            platform_confirmed: true,
            unsent: Some(0),
            trigger: Trigger::Command,
        }
    }

    #[test]
    fn a_lock_and_an_unlock_go_full_circle() {
        let lock = step(Active, Event::LockIssued);
        assert_eq!(lock, LockPending);
        let locked = step(lock, Event::Proved(&Progress::Locked));
        assert_eq!(locked, Locked);
        let granted = step(locked, Event::UnlockGranted);
        assert_eq!(granted, UnlockGranted);
        assert_eq!(step(granted, Event::Reported(DeviceState::Locked)), UnlockGranted);
        assert_eq!(step(granted, Event::Proved(&Progress::Unlocked)), Active);
    }

    #[test]
    fn a_wipe_goes_on_by_proof_alone_and_never_back() {
        let pending = step(Locked, Event::WipeIssued);
        assert_eq!(pending, WipePending);
        for event in
            [Event::Reported(DeviceState::Wiped), Event::Reported(DeviceState::Active), Event::LockIssued]
        {
            assert_eq!(step(pending, event), WipePending);
        }
        assert_eq!(
            step(pending, Event::Proved(&Progress::Complete { files: 3, rescue: Rescue::default() })),
            WipePending
        );
        assert_eq!(step(pending, Event::Proved(&shredded())), Shredded);
        assert_eq!(
            step(Shredded, Event::Proved(&Progress::Complete { files: 3, rescue: Rescue::default() })),
            Wiped
        );
        assert_eq!(step(Wiped, Event::UnlockGranted), Wiped);
    }
}
