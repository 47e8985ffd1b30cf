//! What lock, unlock and wipe promise.

use crate::admin::DeviceStatus;
use crate::random;
use crate::testkit::{Org, Phone, TestResult};
use roundsman_protocol::api::{Checkin, DeviceState};
use roundsman_protocol::command::{Command, Judge, Kind};
use roundsman_protocol::escrow::{
    ESCROW_INFO, EscrowReceipt, EscrowedShare, UNLOCK_INFO, UnlockChallenge, share_aad,
};
use roundsman_protocol::hpke_seal;
use roundsman_protocol::receipt::{Progress, Rescue, Trigger};
use uuid::Uuid;

/// Opens the one command of an answer as the device would.
fn open(
    org: &Org,
    phone: &Phone,
    envelopes: &[Vec<u8>],
    last: [u8; 32],
    nonce: Option<[u8; 16]>,
) -> TestResult<Command> {
    let [envelope] = envelopes else { return Err(format!("{} commands", envelopes.len()).into()) };
    let judge = Judge {
        root: &org.keys()?.root,
        device: phone.id,
        thumbprint: phone.key.thumbprint(),
        last_seq: phone.last_command,
        last_hash: last,
        challenge: nonce,
        now: org.now(),
    };
    Ok(Command::open(envelope, &judge)?)
}

fn escrowed(org: &Org, phone: &Phone, secret: &[u8; 32]) -> TestResult<EscrowedShare> {
    let share = Uuid::now_v7();
    let aad = share_aad(phone.id, share);
    let sealed = hpke_seal::seal(random::bytes()?, &org.keys()?.root.release_key, ESCROW_INFO, &aad, secret)?;
    Ok(EscrowedShare { share, sealed, recovery: None })
}

fn shredded() -> Progress {
    Progress::Shredded {
        keys: vec!["wrap".into(), "release".into()],
        platform_confirmed: true,
        unsent: Some(2),
        trigger: Trigger::Command,
    }
}

fn status(org: &Org, phone: &Phone) -> TestResult<DeviceStatus> {
    Ok(org.stored(phone)?.status)
}

#[test]
fn a_locked_device_gets_its_share_back_only_once_it_is_granted() -> TestResult {
    let org = Org::new()?;
    let mut phone = org.phone(org.rep("ana", &["A"])?)?;
    let secret = [42; 32];
    let share = escrowed(&org, &phone, &secret)?;
    let kept = phone.check_in(&Checkin { escrow: Some(share.clone()), ..phone.report() })?;
    let receipt = kept.escrow_receipt.ok_or("no receipt")?;
    EscrowReceipt::open(&receipt, &org.keys()?.root, phone.id, share.share)?;

    org.admin.lock(org.boss, phone.id, "left in a taxi")?;
    let lock = open(&org, &phone, &phone.check_in(&phone.report())?.commands, [0; 32], None)?;
    assert_eq!((lock.seq, &lock.kind, lock.reason.as_str()), (1, &Kind::Lock, "left in a taxi"));
    phone.last_command = 1;
    phone.state = DeviceState::Locked;
    let locked = phone.sign(&phone.receipt(lock.id(), lock.hash(), Progress::Locked))?;
    let (private, public_key) = hpke_seal::key_pair(&[3; 32]);
    let challenge = UnlockChallenge { nonce: [5; 16], public_key };
    let report = Checkin { receipts: vec![locked], unlock: Some(challenge.clone()), ..phone.report() };
    let answer = phone.check_in(&report)?;
    assert_eq!((answer.receipts_stored, answer.commands.len()), (1, 0), "nobody has granted an unlock");
    assert_eq!(status(&org, &phone)?, DeviceStatus::Locked);

    org.admin.unlock(org.boss, phone.id)?;
    let report = Checkin { unlock: Some(challenge), ..phone.report() };
    let answer = phone.check_in(&report)?;
    assert_eq!(phone.check_in(&report)?.commands, answer.commands, "one challenge, one command");
    let unlock = open(&org, &phone, &answer.commands, lock.hash(), Some([5; 16]))?;
    let Kind::Unlock { share: sealed, .. } = &unlock.kind else { return Err("not an unlock".into()) };
    let opened = hpke_seal::open(sealed, &private, UNLOCK_INFO, &share_aad(phone.id, share.share))?;
    assert_eq!(opened.as_slice(), secret);
    phone.last_command = 2;
    phone.state = DeviceState::Active;
    let unlocked = phone.sign(&phone.receipt(unlock.id(), unlock.hash(), Progress::Unlocked))?;
    phone.check_in(&Checkin { receipts: vec![unlocked], ..phone.report() })?;
    assert_eq!(status(&org, &phone)?, DeviceStatus::Active);
    Ok(())
}

#[test]
fn a_share_that_cant_be_opened_here_gets_no_receipt() -> TestResult {
    let org = Org::new()?;
    let phone = org.phone(org.rep("ana", &["A"])?)?;
    let mut share = escrowed(&org, &phone, &[1; 32])?;
    share.share = Uuid::now_v7();
    let answer = phone.check_in(&Checkin { escrow: Some(share), ..phone.report() })?;
    assert_eq!(answer.escrow_receipt, None);
    assert!(org.app.storage.read()?.share(phone.id)?.is_none());
    Ok(())
}

#[test]
fn a_wipe_is_done_when_its_receipts_prove_it_in_order() -> TestResult {
    let org = Org::new()?;
    let rep = org.rep("ana", &["A"])?;
    let (mut phone, other) = (org.phone(rep)?, org.phone(rep)?);
    phone.check_in(&Checkin { escrow: Some(escrowed(&org, &phone, &[1; 32])?), ..phone.report() })?;
    org.wipe(&phone, "stolen")?;
    let wipe = open(&org, &phone, &phone.check_in(&phone.report())?.commands, [0; 32], None)?;
    phone.last_command = 1;
    phone.state = DeviceState::Wiped;
    let complete = Progress::Complete { files: 9, rescue: Rescue::default() };
    let proof = |progress: Progress| phone.receipt(wipe.id(), wipe.hash(), progress);
    let mut other_hash = proof(shredded());
    other_hash.command_hash[0] ^= 1;
    let forged = [
        other.sign(&proof(shredded()))?,
        phone.sign(&other_hash)?,
        phone.sign(&proof(complete.clone()))?,
        phone.sign(&proof(Progress::Unlocked))?,
        b"no receipt at all".to_vec(),
    ];
    let answer = phone.check_in(&Checkin { receipts: forged.to_vec(), ..phone.report() })?;
    assert_eq!(answer.receipts_stored, 5);
    assert_eq!(status(&org, &phone)?, DeviceStatus::WipePending, "nothing is proved yet");
    let detail = org.admin.device(phone.id)?.ok_or("device")?;
    let shown = || detail.commands.iter().flat_map(|c| &c.receipts).chain(&detail.local_receipts);
    assert_eq!((shown().count(), shown().filter(|receipt| receipt.verified).count()), (5, 0));

    let real = phone.sign(&proof(shredded()))?;
    phone.check_in(&Checkin { receipts: vec![real.clone()], ..phone.report() })?;
    assert_eq!(status(&org, &phone)?, DeviceStatus::Shredded);
    assert!(org.app.storage.read()?.share(phone.id)?.is_none(), "the escrowed share is gone too");
    let mut late = org.app.storage.write()?;
    let access = crate::tokens::authorise(late.as_mut(), &phone.key, &phone.tokens.access, 0);
    assert!(access.is_err(), "tokens are revoked");
    drop(late);
    let mut done = phone.receipt(wipe.id(), wipe.hash(), complete);
    done.at_ms += 1;
    phone.check_in(&Checkin { receipts: vec![real, phone.sign(&done)?], ..phone.report() })?;
    assert_eq!(status(&org, &phone)?, DeviceStatus::Wiped);
    let detail = org.admin.device(phone.id)?.ok_or("device")?;
    let proved: Vec<&str> =
        detail.commands[0].receipts.iter().filter(|r| r.verified).map(|r| r.progress.as_str()).collect();
    assert_eq!(proved, ["shredded", "complete"], "a repeat is stored once");
    Ok(())
}

#[test]
fn a_stale_unlock_never_stands_before_a_wipe() -> TestResult {
    let org = Org::new()?;
    for accepted in [false, true] {
        let mut phone = org.phone(org.rep(if accepted { "ana" } else { "bo" }, &["A"])?)?;
        phone.check_in(&Checkin { escrow: Some(escrowed(&org, &phone, &[1; 32])?), ..phone.report() })?;
        org.admin.lock(org.boss, phone.id, "lost")?;
        let lock = open(&org, &phone, &phone.check_in(&phone.report())?.commands, [0; 32], None)?;
        phone.last_command = 1;
        phone.state = DeviceState::Locked;
        phone.check_in(&phone.report())?;
        let locked = phone.sign(&phone.receipt(lock.id(), lock.hash(), Progress::Locked))?;
        phone.check_in(&Checkin { receipts: vec![locked], ..phone.report() })?;
        org.admin.unlock(org.boss, phone.id)?;
        let challenge = UnlockChallenge { nonce: [5; 16], public_key: hpke_seal::key_pair(&[3; 32]).1 };
        let answer = phone.check_in(&Checkin { unlock: Some(challenge), ..phone.report() })?;
        let unlock = open(&org, &phone, &answer.commands, lock.hash(), Some([5; 16]))?;
        org.wipe(&phone, "stolen after all")?;
        // The unlock was handed out: the device may have accepted it, or it may never have arrived.
        let last = if accepted {
            phone.last_command = 2;
            unlock.hash()
        } else {
            lock.hash()
        };
        let wipe = open(&org, &phone, &phone.check_in(&phone.report())?.commands, last, None)?;
        assert!(wipe.seq == phone.last_command + 1 && matches!(wipe.kind, Kind::Wipe { .. }));
    }
    Ok(())
}
