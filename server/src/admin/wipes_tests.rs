//! What approvals, roots and the breaker promise.

use super::{AdminError, AlertKind, DeviceStatus, RootChange, WipeProposal, WipeStanding};
use crate::keyfile::{KeyFile, KeyKind};
use crate::testkit::{Org, Phone, TestResult};
use chrono::TimeDelta;
use roundsman_protocol::command::{Command, Judge, Kind};
use roundsman_protocol::envelope::Domain;
use roundsman_protocol::root::{PublicKey, Root, RootError};

fn approver(name: &str) -> TestResult<KeyFile> {
    Ok(KeyFile::generate(KeyKind::Approver, name)?)
}

/// Publishes a root with this change, signed by the first root key.
fn publish(org: &Org, change: RootChange) -> TestResult<super::RootView> {
    let draft = org.admin.propose_root(org.boss, change)?;
    let signature = org.first.root.sign(Domain::Root, &draft.payload)?;
    Ok(org.admin.publish_root(draft.payload, &[(org.first.root.id(), signature)])?)
}

/// Makes these people the approvers, so many of whom are needed.
fn appoint(org: &Org, keys: &[&KeyFile], threshold: u8) -> TestResult {
    let approvers = keys.iter().map(|key| (key.name().to_owned(), key.public())).collect();
    let change = RootChange {
        approvers: Some(approvers),
        approver_threshold: Some(threshold),
        ..RootChange::default()
    };
    publish(org, change)?;
    Ok(())
}

fn refused(result: Result<WipeProposal, AdminError>) -> Option<AdminError> {
    result.err()
}

fn phone(org: &Org) -> TestResult<Phone> {
    let rep = match org.admin.users()?.iter().find(|user| user.name == "ana") {
        Some(ana) => ana.id,
        None => org.rep("ana", &["A"])?,
    };
    org.phone(rep)
}

/// Opens a command as a device would that trusts the present root.
fn open(org: &Org, phone: &Phone, envelope: &[u8]) -> TestResult<Command> {
    let judge = Judge {
        root: &org.keys()?.root,
        device: phone.id,
        thumbprint: phone.key.thumbprint(),
        last_seq: 0,
        last_hash: [0; 32],
        challenge: None,
        now: org.now(),
    };
    Ok(Command::open(envelope, &judge)?)
}

#[test]
fn wipe_needs_two_approvals_by_two_people() -> TestResult {
    let org = Org::new()?;
    let (ana, bo, eve) = (approver("Ana")?, approver("Bo")?, approver("Eve")?);
    appoint(&org, &[&ana, &bo], 2)?;
    let phone = phone(&org)?;
    let proposal = org.admin.propose_wipe(org.boss, phone.id, "lost", true)?;
    assert_eq!((proposal.needed, proposal.is_one_persons()), (2, false));
    let again = org.admin.propose_wipe(org.boss, phone.id, "lost", true);
    assert!(matches!(again, Err(AdminError::WipeProposed)));

    let one = org.approve(&proposal, &ana)?;
    assert!(matches!(one.standing, WipeStanding::Waiting { .. }));
    assert!(matches!(refused(org.approve(&proposal, &ana)), Some(AdminError::AlreadyApproved)));
    assert!(matches!(refused(org.approve(&proposal, &eve)), Some(AdminError::NotAnApprover)));
    let dropped = refused(org.approve(&proposal, &org.first.approver));
    assert!(matches!(dropped, Some(AdminError::NotAnApprover)), "the root dropped the first approver");
    let forged = ana.sign(Domain::WipeOrder, &proposal.payload)?;
    let forged = org.admin.approve_wipe(proposal.id, bo.id(), &forged);
    assert!(matches!(forged, Err(AdminError::SignatureWrong)));
    assert!(phone.check_in(&phone.report())?.commands.is_empty(), "one is not enough");

    let both = org.approve(&proposal, &bo)?;
    assert!(matches!(both.standing, WipeStanding::Ordered { .. }));
    let answer = phone.check_in(&phone.report())?;
    let wipe = open(&org, &phone, &answer.commands[0])?;
    assert!(matches!(wipe.kind, Kind::Wipe { .. }) && wipe.discards_unsent());
    let detail = org.admin.device(phone.id)?.ok_or("device")?;
    let shown = detail.commands[0].order.as_ref().ok_or("the order")?;
    let names: Vec<&str> = shown.approvals.iter().map(|it| it.by.as_str()).collect();
    assert_eq!((shown.proposed_by.as_str(), names), ("Boss", vec!["Ana", "Bo"]));
    assert!(matches!(refused(org.approve(&proposal, &bo)), Some(AdminError::ProposalClosed)));
    let third = org.admin.propose_wipe(org.boss, phone.id, "lost", false);
    assert!(matches!(third, Err(AdminError::AlreadyWiped)));
    Ok(())
}

#[test]
fn a_proposal_can_be_withdrawn_and_expires_after_a_day() -> TestResult {
    let org = Org::new()?;
    let phone = phone(&org)?;
    let withdrawn = org.admin.propose_wipe(org.boss, phone.id, "lost", false)?;
    org.admin.withdraw_wipe(org.boss, withdrawn.id)?;
    let key = &org.first.approver;
    assert!(matches!(refused(org.approve(&withdrawn, key)), Some(AdminError::ProposalClosed)));
    assert!(matches!(org.admin.withdraw_wipe(org.boss, withdrawn.id), Err(AdminError::ProposalClosed)));

    let expired = org.admin.propose_wipe(org.boss, phone.id, "lost", false)?;
    org.wait(TimeDelta::hours(24) + TimeDelta::milliseconds(1));
    assert!(matches!(refused(org.approve(&expired, key)), Some(AdminError::ProposalClosed)));
    assert!(org.admin.wipe_proposals()?.is_empty());
    let anew = org.admin.propose_wipe(org.boss, phone.id, "lost", false)?;
    assert!(matches!(org.approve(&anew, key)?.standing, WipeStanding::Ordered { .. }));
    assert!(anew.is_one_persons(), "a small firm's wipes say so");
    Ok(())
}

#[test]
fn mass_wipe_breaker() -> TestResult {
    let org = Org::new()?;
    let (ana, bo) = (approver("Ana")?, approver("Bo")?);
    appoint(&org, &[&ana, &bo], 1)?;
    let phones: Vec<Phone> = (0..13).map(|_| phone(&org)).collect::<TestResult<_>>()?;
    let wipe = |phone: &Phone| -> TestResult<WipeProposal> {
        let proposal = org.admin.propose_wipe(org.boss, phone.id, "all of them", false)?;
        Ok(org.approve(&proposal, &ana)?)
    };
    for phone in &phones[..10] {
        assert!(matches!(wipe(phone)?.standing, WipeStanding::Ordered { .. }));
    }
    assert!(org.admin.alerts(10)?.is_empty());
    let held: Vec<WipeProposal> = phones[10..].iter().map(wipe).collect::<TestResult<_>>()?;
    assert!(held.iter().all(|it| matches!(it.standing, WipeStanding::Held { .. })));
    let alerts: Vec<AlertKind> = org.admin.alerts(10)?.iter().map(|alert| alert.kind).collect();
    assert_eq!(alerts, [AlertKind::WipeBreaker], "once");
    assert!(phones[10].check_in(&phones[10].report())?.commands.is_empty());

    // One person more than usual lets one go on.
    assert!(matches!(org.approve(&held[0], &bo)?.standing, WipeStanding::Ordered { .. }));
    assert_eq!(phones[10].check_in(&phones[10].report())?.commands.len(), 1);
    assert!(phones[11].check_in(&phones[11].report())?.commands.is_empty());
    // Time lets the others go on, with the device's next report.
    org.wait(TimeDelta::minutes(20) + TimeDelta::milliseconds(1));
    let waiting = org.admin.wipe_proposals()?;
    assert_eq!((waiting.len(), waiting[0].standing), (2, WipeStanding::Approved));
    for phone in &phones[11..] {
        assert_eq!(phone.check_in(&phone.report())?.commands.len(), 1);
        assert_eq!(org.stored(phone)?.status, DeviceStatus::WipePending);
    }
    Ok(())
}

#[test]
fn a_root_reaches_devices_and_only_signed_ones_are_published() -> TestResult {
    let org = Org::new()?;
    let phone = phone(&org)?;
    let first = org.keys()?.root.clone();
    assert!(phone.check_in(&phone.report())?.roots.is_empty());
    let draft = org.admin.propose_root(org.boss, RootChange::default())?;
    let stranger = KeyFile::generate(KeyKind::Root, "stranger")?;
    let forged = (stranger.id(), stranger.sign(Domain::Root, &draft.payload)?);
    let refused = org.admin.publish_root(draft.payload.clone(), &[forged]);
    assert!(matches!(refused, Err(AdminError::Root(RootError::Envelope(_)))));
    let unusable = RootChange { approver_threshold: Some(2), ..RootChange::default() };
    let refused = org.admin.propose_root(org.boss, unusable);
    assert!(matches!(refused, Err(AdminError::Root(RootError::Unusable))));

    assert_eq!(publish(&org, RootChange::default())?.version, 2);
    assert_eq!(publish(&org, RootChange::default())?.version, 3);
    let again = (org.first.root.id(), org.first.root.sign(Domain::Root, &draft.payload)?);
    assert!(org.admin.publish_root(draft.payload, &[again]).is_err(), "a root follows by exactly one");
    let roots = phone.check_in(&phone.report())?.roots;
    let (last, _) = first.follow(&roots, org.now())?.ok_or("no roots")?;
    assert_eq!((roots.len(), last.version), (2, 3));
    let current = roundsman_protocol::api::Checkin { root_version: 3, ..phone.report() };
    assert!(phone.check_in(&current)?.roots.is_empty());
    Ok(())
}

#[test]
fn a_new_command_key_signs_even_what_was_ordered_before() -> TestResult {
    let org = Org::new()?;
    let phone = phone(&org)?;
    org.admin.lock(org.boss, phone.id, "lost")?;
    let before = org.keys()?.root.command.clone();
    publish(&org, RootChange { rotate_command_key: true, ..RootChange::default() })?;
    assert_ne!(org.keys()?.root.command, before);
    let answer = phone.check_in(&phone.report())?;
    assert!(matches!(open(&org, &phone, &answer.commands[0])?.kind, Kind::Lock));
    let foreign = PublicKey([9; 32]);
    let present = org.keys()?.root.clone();
    let without = Root {
        version: present.version + 1,
        command: roundsman_protocol::root::RoleKeys { threshold: 1, keys: vec![foreign] },
        ..present
    };
    let signature = org.first.root.sign(Domain::Root, &without.to_bytes())?;
    let refused = org.admin.publish_root(without.to_bytes(), &[(org.first.root.id(), signature)]);
    assert!(matches!(refused, Err(AdminError::RootWithoutServer)));
    Ok(())
}

#[test]
fn a_wipe_whose_approver_was_dropped_is_approved_anew() -> TestResult {
    let org = Org::new()?;
    let phone = phone(&org)?;
    org.wipe(&phone, "lost")?;
    let bo = approver("Bo")?;
    appoint(&org, &[&bo], 1)?;
    assert_eq!(org.admin.alerts(1)?[0].kind, AlertKind::WipeVoid);
    let void = phone.check_in(&phone.report())?;
    assert!(open(&org, &phone, &void.commands[0]).is_err());
    let anew = org.admin.propose_wipe(org.boss, phone.id, "lost", false)?;
    assert!(matches!(org.approve(&anew, &bo)?.standing, WipeStanding::Ordered { .. }));
    let answer = phone.check_in(&phone.report())?;
    assert!(open(&org, &phone, &answer.commands[0]).is_ok());
    Ok(())
}
