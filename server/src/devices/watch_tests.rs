//! What leases, policies and the watch over devices promise.

use crate::admin::{AdminError, AlertKind, DeviceStatus, LeaseTerms};
use crate::testkit::{Org, Phone, TestResult};
use chrono::TimeDelta;
use roundsman_model::UserId;
use roundsman_protocol::api::{Checkin, CheckinAnswer, DeviceState, Turn};
use roundsman_protocol::audit::{Action, AuditReport, Head, head_message};
use roundsman_protocol::lease::Lease;
use roundsman_protocol::policy::Policy;
use roundsman_protocol::posture::{Posture, Verdict};
use uuid::Uuid;

fn org_with_phone() -> TestResult<(Org, Phone)> {
    let org = Org::new()?;
    let phone = org.phone(org.rep("ana", &["A"])?)?;
    Ok((org, phone))
}

fn phone_user(org: &Org, phone: &Phone) -> TestResult<UserId> {
    Ok(org.stored(phone)?.user)
}

fn kinds(org: &Org) -> TestResult<Vec<AlertKind>> {
    Ok(org.admin.alerts(100)?.into_iter().map(|alert| alert.kind).collect())
}

fn lease(org: &Org, phone: &Phone, answer: &CheckinAnswer) -> TestResult<Lease> {
    let lease = answer.lease.as_ref().ok_or("no lease")?;
    Ok(Lease::open(lease, &org.keys()?.root, phone.id)?)
}

/// One of the devices that hold a key: it remembers its own turn.
#[derive(Clone, Copy, Default)]
struct Holder {
    turn: Turn,
    reports: u8,
}

impl Holder {
    /// Reports and takes note of the answer.
    fn reports(&mut self, phone: &Phone) -> TestResult<CheckinAnswer> {
        self.reports += 1;
        self.turn.attempt = [self.reports; 16];
        let answer = self.repeats(phone)?;
        if let Some(nonce) = &answer.nonce {
            self.turn.counter += 1;
            self.turn.nonce = nonce.as_slice().try_into()?;
        }
        Ok(answer)
    }

    /// Reports once more what it reported last.
    fn repeats(&self, phone: &Phone) -> TestResult<CheckinAnswer> {
        phone.check_in(&Checkin { turn: Some(self.turn), ..phone.report() })
    }
}

#[test]
fn clone_two_devices_diverge_detected() -> TestResult {
    let (org, phone) = org_with_phone()?;
    let mut original = Holder::default();
    original.reports(&phone)?;
    original.reports(&phone)?;
    let mut copy = Holder { reports: 100, ..original };
    assert_eq!(kinds(&org)?, []);

    copy.reports(&phone)?;
    assert_eq!(kinds(&org)?, [], "one report alone gives nobody away");
    let answer = original.reports(&phone)?;
    assert_eq!(kinds(&org)?, [AlertKind::Copied]);
    assert_eq!((answer.commands.len(), &answer.nonce), (1, &None), "locked at once, by the same answer");
    assert_eq!(org.stored(&phone)?.status, DeviceStatus::LockPending);
    copy.reports(&phone)?;
    original.reports(&phone)?;
    assert_eq!(kinds(&org)?, [AlertKind::Copied], "said once");

    org.admin.unlock(org.boss, phone.id)?;
    original.reports(&phone)?;
    assert_eq!(org.stored(&phone)?.status, DeviceStatus::Active, "an administrator trusts it again");
    original.reports(&phone)?;
    assert_eq!(org.stored(&phone)?.status, DeviceStatus::Active);
    org.admin.acknowledge(org.boss, org.admin.alerts(1)?[0].id)?;
    copy.reports(&phone)?;
    assert_eq!(kinds(&org)?, [AlertKind::Copied, AlertKind::Copied], "and the copy is noticed again");
    assert_eq!(org.stored(&phone)?.status, DeviceStatus::LockPending);
    Ok(())
}

#[test]
fn a_lost_answer_is_no_copy() -> TestResult {
    let (org, phone) = org_with_phone()?;
    let mut holder = Holder::default();
    for _ in 0..3 {
        let unheard = Holder { reports: holder.reports, ..holder }.reports(&phone)?;
        let mut again = holder;
        again.reports += 1;
        again.turn.attempt = [again.reports; 16];
        assert_eq!(again.repeats(&phone)?.nonce, unheard.nonce, "the same nonce again");
        assert!(unheard.nonce.is_some());
        // Only now the answer is heard.
        let heard = holder.reports(&phone)?;
        assert_eq!(heard.nonce, unheard.nonce);
    }
    assert_eq!(kinds(&org)?, []);
    assert_eq!(org.stored(&phone)?.status, DeviceStatus::Active);
    let turnless = phone.check_in(&phone.report())?;
    assert_eq!((turnless.nonce, kinds(&org)?), (None, vec![AlertKind::TurnMissing]));
    Ok(())
}

#[test]
fn a_report_that_was_overtaken_on_its_way_raises_nothing() -> TestResult {
    let (org, phone) = org_with_phone()?;
    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    let mut chain = vec![(Head::default(), Vec::new())];
    for _ in 0..3 {
        let (head, _) = chain[chain.len() - 1];
        chain.push(head.append(org.now(), phone_user(&org, &phone)?.0, phone.id, Action::Opened, None));
    }
    let report = |turn: Turn, commit: u64, boot: Uuid| -> TestResult<Checkin> {
        let head = chain[commit as usize].0;
        let entries = chain[1..=commit as usize].iter().map(|(_, bytes)| bytes.clone()).collect();
        let signature = phone.es256(&head_message(phone.id, head))?.to_vec();
        let audit = Some(AuditReport { entries, head, signature });
        Ok(Checkin { turn: Some(turn), commit: Some(commit), boot: Some(boot), audit, ..phone.report() })
    };
    let turn = Turn { attempt: [1; 16], ..Turn::default() };
    let answer = phone.check_in(&report(turn, 1, first)?)?;
    let nonce = answer.nonce.ok_or("no nonce")?.as_slice().try_into()?;
    let turn = Turn { counter: 1, nonce, attempt: [2; 16] };
    let heard = phone.check_in(&report(turn, 3, second)?)?;
    // The same turn as it was reported first; nobody waits for its answer any more.
    phone.check_in(&report(turn, 2, first)?)?;
    assert_eq!(kinds(&org)?, []);
    assert_eq!(org.admin.audit_status(phone.id)?.faults, []);

    // What is put back and takes its next turn is found.
    let turn =
        Turn { counter: 2, nonce: heard.nonce.ok_or("no nonce")?.as_slice().try_into()?, attempt: [3; 16] };
    phone.check_in(&report(turn, 2, first)?)?;
    assert_eq!(kinds(&org)?, [AlertKind::AuditLog, AlertKind::StoreWentBack, AlertKind::BootsAlternate]);
    Ok(())
}

#[test]
fn a_report_that_comes_again_turns_later_raises_nothing_and_a_copy_of_it_does() -> TestResult {
    let (org, phone) = org_with_phone()?;
    let mut holder = Holder::default();
    let mut sent = Vec::new();
    for _ in 0..5 {
        holder.reports += 1;
        holder.turn.attempt = [holder.reports; 16];
        sent.push(holder);
        holder.turn.nonce = holder.repeats(&phone)?.nonce.ok_or("no nonce")?.as_slice().try_into()?;
        holder.turn.counter += 1;
    }
    // Out of order, and by a network that doubles.
    for late in [&sent[2], &sent[0], &sent[1]] {
        assert_eq!(late.repeats(&phone)?.nonce, None, "it leads nobody on");
    }
    assert_eq!(kinds(&org)?, []);
    holder.reports(&phone)?;
    assert_eq!((kinds(&org)?, org.stored(&phone)?.status), (vec![], DeviceStatus::Active));

    sent[1].repeats(&phone)?;
    assert_eq!(
        kinds(&org)?,
        [AlertKind::Copied],
        "a third time it is another device that waits for the answer"
    );
    Ok(())
}

#[test]
fn a_restored_server_takes_no_device_for_a_copy() -> TestResult {
    let (org, phone) = org_with_phone()?;
    let unheard_of = org.phone(phone_user(&org, &phone)?)?;
    Holder::default().reports(&phone)?;
    org.admin.trust_turns_anew(org.boss)?;
    let far = Turn { counter: 40, nonce: [7; 16], attempt: [0; 16] };
    for phone in [&phone, &unheard_of] {
        let mut holder = Holder { turn: far, reports: 0 };
        holder.reports(phone)?;
        holder.reports(phone)?;
        assert_eq!(org.stored(phone)?.status, DeviceStatus::Active);
    }
    assert_eq!(kinds(&org)?, []);
    Ok(())
}

#[test]
fn a_store_that_went_back_locks_and_starts_that_alternate_are_told() -> TestResult {
    let (org, phone) = org_with_phone()?;
    let (a, b) = (Uuid::now_v7(), Uuid::now_v7());
    for (boot, commit) in [(a, 5), (a, 9), (b, 9)] {
        phone.check_in(&Checkin { boot: Some(boot), commit: Some(commit), ..phone.report() })?;
    }
    assert_eq!(kinds(&org)?, []);
    phone.check_in(&Checkin { boot: Some(a), ..phone.report() })?;
    assert_eq!(kinds(&org)?, [AlertKind::BootsAlternate]);
    assert_eq!(org.stored(&phone)?.status, DeviceStatus::Active, "that alone locks nobody out");
    let answer = phone.check_in(&Checkin { commit: Some(8), ..phone.report() })?;
    assert_eq!(kinds(&org)?, [AlertKind::StoreWentBack, AlertKind::BootsAlternate]);
    assert_eq!(answer.commands.len(), 1);
    assert_eq!(org.stored(&phone)?.status, DeviceStatus::LockPending);
    phone.check_in(&Checkin { withheld: Some(7), ..phone.report() })?;
    assert_eq!(kinds(&org)?[0], AlertKind::Withheld);
    Ok(())
}

#[test]
fn each_answer_brings_a_lease_that_names_the_last_command() -> TestResult {
    let (org, mut phone) = org_with_phone()?;
    let answer = phone.check_in(&phone.report())?;
    let first = lease(&org, &phone, &answer)?;
    assert_eq!((first.head_seq, first.issued_at()), (0, org.now()));
    assert_eq!((first.lock_after_s, first.wipe_after_s), (7 * Lease::DAY_S, Some(30 * Lease::DAY_S)));
    org.admin.lock(org.boss, phone.id, "lost")?;
    let answer = phone.check_in(&phone.report())?;
    assert_eq!((answer.commands.len(), lease(&org, &phone, &answer)?.head_seq), (1, 1));
    phone.last_command = 1;
    phone.state = DeviceState::Locked;
    let answer = phone.check_in(&phone.report())?;
    assert_eq!(lease(&org, &phone, &answer)?.head_seq, 1, "a locked device gets one too");

    let terms = LeaseTerms { wipe_after_s: None, ..LeaseTerms::default() };
    org.admin.set_lease_terms(org.boss, terms)?;
    let answer = phone.check_in(&phone.report())?;
    assert_eq!(lease(&org, &phone, &answer)?.wipe_after_s, None);
    let soon = LeaseTerms { wipe_after_s: Some(8 * Lease::DAY_S), ..terms };
    let refused = org.admin.set_lease_terms(org.boss, soon);
    assert!(matches!(refused, Err(AdminError::LeaseInvalid)));
    Ok(())
}

#[test]
fn a_policy_reaches_devices_once_and_judges_their_state() -> TestResult {
    let (org, phone) = org_with_phone()?;
    let root = &org.keys()?.root;
    let first = Policy::open(&phone.check_in(&phone.report())?.policy.ok_or("no policy")?, root)?;
    assert_eq!(first.version, 1);
    let rooted = Posture { rooted: Some(true), ..Posture::default() };
    let report = Checkin { policy_version: 1, posture: Some(rooted), ..phone.report() };
    let answer = phone.check_in(&report)?;
    assert!(answer.policy.is_none() && answer.lease.is_some(), "a warning takes nothing away");
    let shown = org.admin.device(phone.id)?.ok_or("device")?.view.posture.ok_or("posture")?;
    assert_eq!((shown.verdict, shown.concerns.len()), (Verdict::Warn, 1));

    let mut strict = org.admin.policy()?;
    strict.posture.rooted = Verdict::Lock;
    assert_eq!(org.admin.set_policy(org.boss, strict.clone())?.version, 2);
    org.wait(TimeDelta::minutes(1));
    let answer = phone.check_in(&Checkin { policy_version: 1, ..phone.report() })?;
    assert_eq!(Policy::open(&answer.policy.ok_or("no policy")?, root)?.posture.rooted, Verdict::Lock);
    assert!(answer.lease.is_none(), "what was told last counts");
    assert_eq!(kinds(&org)?, [AlertKind::Posture]);
    strict.idle_lock_s = 3_600;
    assert!(matches!(org.admin.set_policy(org.boss, strict), Err(AdminError::PolicyInvalid)));
    let endless = Posture { os: Some("x".repeat(65)), ..Posture::default() };
    assert!(phone.check_in(&Checkin { posture: Some(endless), ..phone.report() }).is_err());
    Ok(())
}
