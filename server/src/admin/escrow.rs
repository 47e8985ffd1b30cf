//! Copies of the release shares for the organisation's recovery key: what unlocks locked devices when the server has lost
//! its own.

use super::{Admin, AdminError, DeviceStatus, allow, record};
use crate::random;
use crate::storage::StoredShare;
use roundsman_model::{DeviceId, UserId};
use roundsman_protocol::escrow::{ESCROW_INFO, EscrowedShare, share_aad};
use roundsman_protocol::hpke_seal::{self, Sealed};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const TITLE: &str = "roundsman escrow v1";

/// One share in an export: a line of JSON.
#[derive(Serialize, Deserialize)]
struct Line {
    device: DeviceId,
    share: Uuid,
    stored_ms: i64,
    recovery: Sealed,
}

/// What came of restoring shares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestoredShares {
    /// Shares that the server has again.
    pub restored: u64,
    /// Shares that the server has, or has a later one of.
    pub present: u64,
    /// Shares of devices that the server does not know, or that are wiped.
    pub gone: u64,
    /// Shares that are sealed to another recovery key.
    pub other_key: u64,
}

impl Admin {
    /// Every device's release share as it was sealed to the recovery key: the text of a file to keep elsewhere. Nobody
    /// reads it without that key; with it, and a device's passcode and hardware key, the device can be opened.
    ///
    /// # Errors
    /// [`AdminError::NotAllowed`]; [`AdminError::Storage`].
    pub fn export_shares(&self, actor: UserId) -> Result<String, AdminError> {
        let mut tx = self.app.storage.write()?;
        allow(tx.as_ref(), actor)?;
        let mut text = format!("{TITLE}\n");
        let mut count = 0_u64;
        for device in tx.devices()? {
            let Some(StoredShare { share, stored_ms, .. }) = tx.share(device.id)? else { continue };
            let Some(recovery) = share.recovery else { continue };
            let line = Line { device: device.id, share: share.share, stored_ms, recovery };
            text.push_str(&serde_json::to_string(&line).map_err(|_| AdminError::NotAnExport)?);
            text.push('\n');
            count += 1;
        }
        record(tx.as_mut(), actor, "release shares exported", count, self.app.now())?;
        tx.commit()?;
        Ok(text)
    }

    /// Brings exported shares back with the private recovery key: each is opened, sealed to the server's present release
    /// key, and kept unless the server has a later one. Locked devices can be unlocked then as ever.
    ///
    /// # Errors
    /// [`AdminError::NotAllowed`]; [`AdminError::NotAnExport`], with nothing restored; [`AdminError::Storage`].
    pub fn restore_shares(
        &self,
        actor: UserId,
        text: &str,
        recovery_key: &[u8; 32],
    ) -> Result<RestoredShares, AdminError> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        if lines.next() != Some(TITLE) {
            return Err(AdminError::NotAnExport);
        }
        let lines: Vec<Line> = lines
            .map(|line| serde_json::from_str(line).map_err(|_| AdminError::NotAnExport))
            .collect::<Result<_, _>>()?;
        let mut tx = self.app.storage.write()?;
        allow(tx.as_ref(), actor)?;
        let keys = self.app.keys(tx.as_ref())?;
        let mut done = RestoredShares::default();
        for Line { device, share, stored_ms, recovery } in lines {
            let wiped = |status| matches!(status, DeviceStatus::Shredded | DeviceStatus::Wiped);
            if tx.device(device)?.is_none_or(|known| wiped(known.status)) {
                done.gone += 1;
                continue;
            }
            if tx
                .share(device)?
                .is_some_and(|known| known.share.share == share || known.stored_ms >= stored_ms)
            {
                done.present += 1;
                continue;
            }
            let (aad, seed) = (share_aad(device, share), random::bytes()?);
            let sealed = hpke_seal::open(&recovery, recovery_key, ESCROW_INFO, &aad)
                .and_then(|secret| hpke_seal::seal(seed, &keys.root.release_key, ESCROW_INFO, &aad, &secret));
            let Ok(sealed) = sealed else {
                done.other_key += 1;
                continue;
            };
            let share = EscrowedShare { share, sealed, recovery: Some(recovery) };
            tx.put_share(&StoredShare { device, share, stored_ms })?;
            done.restored += 1;
        }
        record(tx.as_mut(), actor, "release shares restored", done.restored, self.app.now())?;
        tx.commit()?;
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyfile::{KeyFile, KeyKind};
    use crate::testkit::{Org, Phone, TestResult};
    use roundsman_protocol::api::Checkin;

    const SECRET: [u8; 32] = [5; 32];

    /// Gives a share into escrow as devices do.
    fn give(org: &Org, phone: &Phone) -> TestResult<Uuid> {
        let (share, root) = (Uuid::now_v7(), &org.keys()?.root);
        let aad = share_aad(phone.id, share);
        let seal = |key: &[u8; 32]| {
            hpke_seal::seal(random::bytes().unwrap_or_default(), key, ESCROW_INFO, &aad, &SECRET)
        };
        let (sealed, recovery) = (seal(&root.release_key)?, seal(&root.recovery_key)?);
        let escrow = Some(EscrowedShare { share, sealed, recovery: Some(recovery) });
        let answer = phone.check_in(&Checkin { escrow, ..phone.report() })?;
        assert!(answer.escrow_receipt.is_some());
        Ok(share)
    }

    fn stored(org: &Org, phone: &Phone) -> TestResult<Option<StoredShare>> {
        Ok(org.app.storage.read()?.share(phone.id)?)
    }

    #[test]
    fn shares_that_the_server_lost_come_back_with_the_recovery_key() -> TestResult {
        let org = Org::new()?;
        let (phone, other) = (org.phone(org.rep("ana", &["A"])?)?, org.phone(org.rep("bo", &["A"])?)?);
        let share = give(&org, &phone)?;
        give(&org, &other)?;
        let text = org.admin.export_shares(org.boss)?;
        assert_eq!(text.lines().count(), 3);
        let key = org.first.recovery.opening_key()?;
        assert_eq!(org.admin.restore_shares(org.boss, &text, &key)?.present, 2);

        org.tamper("DELETE FROM share")?;
        let wrong = KeyFile::generate(KeyKind::Recovery, "another")?.opening_key()?;
        assert_eq!(org.admin.restore_shares(org.boss, &text, &wrong)?.other_key, 2);
        assert!(stored(&org, &phone)?.is_none());
        // One device has gone on in the meantime.
        let later = give(&org, &other)?;
        let done = org.admin.restore_shares(org.boss, &text, &key)?;
        assert_eq!(done, RestoredShares { restored: 1, present: 1, ..RestoredShares::default() });
        assert_eq!(stored(&org, &other)?.ok_or("share")?.share.share, later);
        let back = stored(&org, &phone)?.ok_or("share")?.share;
        let opened =
            hpke_seal::open(&back.sealed, &org.keys()?.release, ESCROW_INFO, &share_aad(phone.id, share))?;
        assert_eq!((back.share, opened.as_slice()), (share, SECRET.as_slice()));
        Ok(())
    }

    #[test]
    fn a_damaged_export_restores_nothing() -> TestResult {
        let org = Org::new()?;
        let phone = org.phone(org.rep("ana", &["A"])?)?;
        give(&org, &phone)?;
        let text = org.admin.export_shares(org.boss)?;
        org.tamper("DELETE FROM share")?;
        let key = org.first.recovery.opening_key()?;
        for wrong in ["", "{}", &text[..text.len() - 9], &text.replace("v1", "v2")] {
            let refused = org.admin.restore_shares(org.boss, wrong, &key);
            assert!(matches!(refused, Err(AdminError::NotAnExport)), "{wrong}");
        }
        assert!(stored(&org, &phone)?.is_none());
        Ok(())
    }
}
