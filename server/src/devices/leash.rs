//! The leash: a device whose policy keeps its release share off its disk gets it back with its reports, for as long as it
//! is in good standing. No administrator is asked: what a lock takes away is given back by a grant alone.

use crate::admin::DeviceStatus;
use crate::keys::OrgKeys;
use crate::random;
use crate::refusal::Refusal;
use crate::storage::{PeopleRead, PeopleWrite, StorageError, StoredDevice, WriteTx};
use roundsman_protocol::api::{Checkin, DeviceState};
use roundsman_protocol::escrow::{ESCROW_INFO, LEASH_INFO, leash_aad, share_aad};
use roundsman_protocol::hpke_seal::{self, Sealed};

/// The setting that says that a policy has had a leash: devices may be on one that have not heard of its end.
const USED: &str = "leash_used";

/// Remembers that a policy has a leash.
pub(crate) fn note_use(tx: &mut (impl PeopleWrite + ?Sized)) -> Result<(), StorageError> {
    tx.set_setting(USED, b"yes")
}

fn was_used(tx: &(impl PeopleRead + ?Sized)) -> Result<bool, StorageError> {
    Ok(tx.setting(USED)?.is_some())
}

/// The share that a device in use has asked for, sealed to its question. Call it only for a device that gets a lease, and
/// that has no command left to obey.
pub(crate) fn answer(
    tx: &dyn WriteTx,
    keys: &OrgKeys,
    device: &StoredDevice,
    report: &Checkin,
) -> Result<Option<Sealed>, Refusal> {
    let Some(challenge) = &report.unlock else { return Ok(None) };
    let in_use = device.status == DeviceStatus::Active && report.state == DeviceState::Active;
    if !in_use || !was_used(tx)? {
        return Ok(None);
    }
    let Some(stored) = tx.share(device.id)? else { return Ok(None) };
    let share = stored.share.share;
    let sealed_to = leash_aad(device.id, share, challenge.nonce);
    let seed = random::bytes()?;
    let sealed =
        hpke_seal::open(&stored.share.sealed, &keys.release, ESCROW_INFO, &share_aad(device.id, share))
            .and_then(|secret| hpke_seal::seal(seed, &challenge.public_key, LEASH_INFO, &sealed_to, &secret));
    if sealed.is_err() {
        tracing::warn!(device = %device.id, "the share of a device on a leash can't be given back");
    }
    Ok(sealed.ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Org, Phone, TestResult};
    use roundsman_protocol::escrow::{EscrowedShare, UnlockChallenge};
    use roundsman_protocol::policy::Policy;
    use roundsman_protocol::posture::{Posture, Verdict};
    use uuid::Uuid;

    const SECRET: [u8; 32] = [42; 32];
    const NONCE: [u8; 16] = [5; 16];

    /// A device whose share is in escrow, and the share's id.
    fn device(org: &Org) -> TestResult<(Phone, Uuid)> {
        let (phone, share) = (org.phone(org.rep("ana", &["A"])?)?, Uuid::now_v7());
        let aad = share_aad(phone.id, share);
        let sealed =
            hpke_seal::seal(random::bytes()?, &org.keys()?.root.release_key, ESCROW_INFO, &aad, &SECRET)?;
        let escrow = Some(EscrowedShare { share, sealed, recovery: None });
        assert!(phone.check_in(&Checkin { escrow, ..phone.report() })?.escrow_receipt.is_some());
        Ok((phone, share))
    }

    fn asking(phone: &Phone) -> Checkin {
        let challenge = UnlockChallenge { nonce: NONCE, public_key: hpke_seal::key_pair(&[3; 32]).1 };
        Checkin { unlock: Some(challenge), ..phone.report() }
    }

    fn set(org: &Org, change: impl FnOnce(&mut Policy)) -> TestResult {
        let mut policy = org.admin.policy()?;
        change(&mut policy);
        org.admin.set_policy(org.boss, policy)?;
        Ok(())
    }

    #[test]
    fn a_device_in_use_gets_its_share_for_its_own_question() -> TestResult {
        let org = Org::new()?;
        let (phone, share) = device(&org)?;
        assert_eq!(phone.check_in(&asking(&phone))?.share, None, "there never was a leash");
        set(&org, |policy| policy.leash_h = Some(8))?;
        let given = phone.check_in(&asking(&phone))?.share.ok_or("no share")?;
        let (private, _) = hpke_seal::key_pair(&[3; 32]);
        let open = |aad: &[u8]| hpke_seal::open(&given, &private, LEASH_INFO, aad);
        assert_eq!(open(&leash_aad(phone.id, share, NONCE))?.as_slice(), SECRET);
        assert!(open(&leash_aad(phone.id, share, [6; 16])).is_err(), "another question");
        assert_eq!(phone.check_in(&phone.report())?.share, None, "nobody has asked");
        // A device that was on a leash while it was taken off has to come back from it.
        set(&org, |policy| policy.leash_h = None)?;
        assert!(phone.check_in(&asking(&phone))?.share.is_some());
        Ok(())
    }

    #[test]
    fn a_device_that_is_locked_wiped_or_refused_gets_none() -> TestResult {
        let org = Org::new()?;
        let (mut phone, _) = device(&org)?;
        set(&org, |policy| {
            policy.leash_h = Some(8);
            policy.posture.rooted = Verdict::Lock;
        })?;
        let rooted = Posture { rooted: Some(true), ..Posture::default() };
        assert_eq!(phone.check_in(&Checkin { posture: Some(rooted), ..asking(&phone) })?.share, None);
        let sound = Posture { rooted: Some(false), ..Posture::default() };
        assert!(phone.check_in(&Checkin { posture: Some(sound), ..asking(&phone) })?.share.is_some());
        phone.state = DeviceState::Wiped;
        assert_eq!(phone.check_in(&asking(&phone))?.share, None);
        phone.state = DeviceState::Active;
        org.admin.lock(org.boss, phone.id, "left in a taxi")?;
        assert_eq!(phone.check_in(&asking(&phone))?.share, None, "a lock is on its way");
        phone.state = DeviceState::Locked;
        phone.last_command = 1;
        assert_eq!(phone.check_in(&asking(&phone))?.share, None, "it takes a grant");
        Ok(())
    }

    #[test]
    fn a_leash_is_from_one_hour_to_three_days() -> TestResult {
        let org = Org::new()?;
        for hours in [0, Policy::MAX_LEASH_H + 1] {
            assert!(set(&org, |policy| policy.leash_h = Some(hours)).is_err(), "{hours}");
        }
        for hours in [1, Policy::MAX_LEASH_H] {
            set(&org, |policy| policy.leash_h = Some(hours))?;
            assert_eq!(org.admin.policy()?.leash_h, Some(hours));
        }
        Ok(())
    }
}
