//! When a pin may leave. Devices learn of new pins with their reports: one that was away for less than 30 days must
//! still find a key that it knows.

use super::AdminError;
use crate::storage::ApprovalsRead;
use chrono::{DateTime, TimeDelta, Utc};
use roundsman_protocol::root::Root;
use roundsman_protocol::sha256;
use roundsman_protocol::ticket::SpkiPin;

/// How long old and new pins stand side by side.
const OVERLAP: TimeDelta = TimeDelta::days(30);

/// Whether these pins may follow the present ones: none leaves before all that stay were published for 30 days. While
/// the root has no pins, devices go by those of their tickets.
///
/// # Errors
/// [`AdminError::PinsTooFew`], [`AdminError::PinsTooSoon`].
pub(super) fn may_follow(
    tx: &(impl ApprovalsRead + ?Sized),
    present: &Root,
    tickets: &[SpkiPin],
    next: &[SpkiPin],
    now: DateTime<Utc>,
) -> Result<(), AdminError> {
    enough(next)?;
    let known = if present.pins.is_empty() { tickets } else { &present.pins };
    if known.iter().all(|pin| next.contains(pin)) {
        return Ok(());
    }
    let published = published(tx, tickets)?;
    let old = |pin: &SpkiPin| {
        let since = published.iter().find(|(known, _)| known == pin).map(|(_, since_ms)| *since_ms);
        since.is_some_and(|since_ms| since_ms <= (now - OVERLAP).timestamp_millis())
    };
    if next.iter().all(old) { Ok(()) } else { Err(AdminError::PinsTooSoon) }
}

/// Two at least: one may be lost.
pub(super) fn enough(pins: &[SpkiPin]) -> Result<(), AdminError> {
    let distinct: std::collections::BTreeSet<&SpkiPin> = pins.iter().collect();
    if distinct.len() >= 2 && distinct.len() == pins.len() { Ok(()) } else { Err(AdminError::PinsTooFew) }
}

/// The pins of the present root, and since when each has been in every root: milliseconds since 1970.
fn published(
    tx: &(impl ApprovalsRead + ?Sized),
    tickets: &[SpkiPin],
) -> Result<Vec<(SpkiPin, i64)>, AdminError> {
    let mut published: Vec<(SpkiPin, i64)> = Vec::new();
    for (envelope, at_ms) in tx.root_times()? {
        let root = Root::open_first(&envelope, &sha256(&[&envelope]))?;
        let pins = if root.pins.is_empty() { tickets } else { &root.pins };
        published.retain(|(known, _)| pins.contains(known));
        for pin in pins {
            if published.iter().all(|(known, _)| known != pin) {
                published.push((*pin, at_ms));
            }
        }
    }
    Ok(published)
}

#[cfg(test)]
mod tests {
    use super::super::{Admin, RootChange};
    use super::*;
    use crate::testkit::{Org, TestResult};
    use roundsman_protocol::envelope::Domain;

    fn pins(numbers: &[u8]) -> Vec<SpkiPin> {
        numbers.iter().map(|n| SpkiPin([*n; 32])).collect()
    }

    /// Publishes a root with these pins.
    fn publish(org: &Org, numbers: &[u8], pins_emergency: bool) -> Result<(), AdminError> {
        let change = RootChange { pins: Some(pins(numbers)), pins_emergency, ..RootChange::default() };
        let draft = org.admin.propose_root(Admin::OPERATOR, change)?;
        let key = &org.first.root;
        let signature = key.sign(Domain::Root, &draft.payload).map_err(|_| AdminError::Keys)?;
        org.admin.publish_root(draft.payload, &[(key.id(), signature)]).map(drop)
    }

    // Tickets of the test's organisation have the pins 1 and 2.
    #[test]
    fn a_pin_leaves_only_after_30_days_side_by_side_with_the_new_ones() -> TestResult {
        let org = Org::new()?;
        assert!(matches!(publish(&org, &[2, 3], false), Err(AdminError::PinsTooSoon)), "not at once");
        publish(&org, &[1, 2, 3], false)?;
        org.wait(OVERLAP - TimeDelta::milliseconds(1));
        assert!(
            matches!(publish(&org, &[2, 3], false), Err(AdminError::PinsTooSoon)),
            "not a moment too soon"
        );
        org.wait(TimeDelta::milliseconds(1));
        publish(&org, &[2, 3], false)?;
        assert_eq!(org.admin.root()?.pins, pins(&[2, 3]));
        Ok(())
    }

    #[test]
    fn a_pin_that_was_away_counts_as_new() -> TestResult {
        let org = Org::new()?;
        publish(&org, &[1, 2, 3], false)?;
        org.wait(OVERLAP);
        publish(&org, &[2, 3], false)?;
        publish(&org, &[1, 2, 3], false)?;
        assert!(matches!(publish(&org, &[1, 2], false), Err(AdminError::PinsTooSoon)));
        org.wait(OVERLAP);
        publish(&org, &[1, 2], false)?;
        Ok(())
    }

    #[test]
    fn an_emergency_drops_a_pin_at_once_but_never_leaves_a_single_one() -> TestResult {
        let org = Org::new()?;
        publish(&org, &[8, 9], true)?;
        assert_eq!(org.admin.root()?.pins, pins(&[8, 9]));
        for few in [&[8][..], &[8, 8], &[]] {
            for emergency in [false, true] {
                assert!(matches!(publish(&org, few, emergency), Err(AdminError::PinsTooFew)), "{few:?}");
            }
        }
        Ok(())
    }

    #[test]
    fn a_bundle_has_the_roots_after_a_version() -> TestResult {
        let org = Org::new()?;
        let first = org.keys()?.root.clone();
        assert!(matches!(org.admin.root_bundle(1), Err(AdminError::NotFound)));
        publish(&org, &[1, 2, 3], false)?;
        publish(&org, &[1, 2, 3, 4], false)?;
        let (root, _) = org.admin.root_bundle(1)?.follow(&first, org.now())?;
        assert_eq!((root.version, root.pins), (3, pins(&[1, 2, 3, 4])));
        Ok(())
    }
}
