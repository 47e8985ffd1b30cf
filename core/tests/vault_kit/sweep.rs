//! One fault at every call in turn.

use super::{Fault, Office, Phone};

/// Where a fault strikes.
#[derive(Clone, Copy, Debug)]
enum Place {
    Disk,
    Keys,
}

const FAULTS: [(Place, Fault); 5] = [
    (Place::Disk, Fault::Once),
    (Place::Disk, Fault::Kill),
    (Place::Disk, Fault::PowerCut),
    (Place::Keys, Fault::Once),
    (Place::Keys, Fault::Kill),
];

/// Runs `act` on copies of a phone, with a fault at its first call, its second, and so on until none is reached;
/// after each, restarts the app on a good disk and hands it to `check` with what `act` returned.
///
/// Returns the number of faults.
pub(crate) fn sweep<T, E>(
    template: &Phone,
    office: &Office,
    act: impl Fn(&Phone, &mut Office) -> Result<T, E>,
    check: impl Fn(&str, &Phone, &mut Office, Result<T, E>),
) -> usize {
    let mut faults = 0;
    for (place, fault) in FAULTS {
        for number in 0.. {
            let (phone, mut office) = (template.copy(), office.clone());
            match place {
                Place::Disk => phone.disk.fail_at(number, fault),
                Place::Keys => phone.keys.fail_at(number, fault),
            }
            let outcome = act(&phone, &mut office);
            let reached = match place {
                Place::Disk => phone.disk.failed(),
                Place::Keys => phone.keys.failed(),
            };
            phone.heal();
            if !reached {
                assert!(outcome.is_ok(), "without a fault there is no error");
                break;
            }
            faults += 1;
            check(&format!("{place:?} {fault:?} at call {number}"), &phone, &mut office, outcome);
        }
    }
    faults
}
