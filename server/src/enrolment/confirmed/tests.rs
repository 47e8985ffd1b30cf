use super::*;
use crate::admin::{AdminError, EnrolmentView};
use crate::testkit::{Org, TestResult, request};
use p256::ecdsa::SigningKey;
use roundsman_protocol::ticket::Ticket;
use uuid::Uuid;

const NONCE: [u8; 32] = [42; 32];

/// A new device that has begun.
struct Newcomer {
    key: DeviceKey,
    ticket: Ticket,
    install: Uuid,
    begun: BeginAnswer,
}

fn key(seed: u8) -> TestResult<DeviceKey> {
    let signing = SigningKey::from_slice(&[seed; 32])?;
    Ok(DeviceKey::from_sec1(signing.verifying_key().to_sec1_point(false).as_ref())?)
}

impl Newcomer {
    fn begins(org: &Org, seed: u8) -> TestResult<Self> {
        let rep = org.rep(&format!("rep{seed}"), &["A"])?;
        let ticket = Ticket::from_text(&org.admin.issue_ticket(org.boss, rep)?.text)?;
        let (key, device) = (key(seed)?, request(ticket.token));
        let install = device.install;
        let begun = begin(&org.app, key.clone(), &BeginRequest { device, commitment: commitment(&NONCE) })?;
        Ok(Self { key, ticket, install, begun })
    }

    fn reveals(&self, org: &Org, nonce: [u8; 32]) -> Result<FinishAnswer, Refusal> {
        finish(&org.app, &self.key, &FinishRequest { enrolment: self.begun.enrolment, nonce, enter: true })
    }

    /// What the device shows.
    fn digits(&self) -> roundsman_protocol::enrolment::Digits {
        let transcript = Transcript {
            ticket: self.ticket.digest(),
            org: self.begun.org,
            install: self.install,
            key: self.key.thumbprint(),
            device_nonce: NONCE,
            server_nonce: self.begun.nonce,
        };
        transcript.digits()
    }

    fn shown(&self, org: &Org) -> TestResult<Option<EnrolmentView>> {
        let waiting = org.admin.waiting_enrolments()?;
        Ok(waiting.into_iter().find(|view| view.id == self.begun.enrolment))
    }
}

fn code<T>(result: Result<T, Refusal>) -> Option<ErrorCode> {
    match result {
        Err(Refusal::Problem(problem)) => Some(problem.code),
        _ => None,
    }
}

fn alerts(org: &Org) -> TestResult<usize> {
    let all = org.admin.alerts(100)?;
    Ok(all.iter().filter(|alert| alert.kind == AlertKind::EnrolmentRefused).count())
}

#[test]
fn both_sides_show_the_same_digits_and_nothing_is_given_before_a_person_has_said_so() -> TestResult {
    let org = Org::new()?;
    let phone = Newcomer::begins(&org, 1)?;
    assert_eq!(phone.shown(&org)?.ok_or("not listed")?.digits, None, "nothing to compare yet");
    assert!(matches!(phone.reveals(&org, NONCE)?, FinishAnswer::Waiting));
    assert_eq!(phone.shown(&org)?.ok_or("not listed")?.digits, Some(phone.digits()));
    assert!(matches!(phone.reveals(&org, NONCE)?, FinishAnswer::Waiting), "asked again");
    assert!(org.admin.devices()?.is_empty());

    org.admin.confirm_enrolment(org.boss, phone.begun.enrolment)?;
    let asks = FinishRequest { enrolment: phone.begun.enrolment, nonce: NONCE, enter: false };
    assert!(matches!(finish(&org.app, &phone.key, &asks)?, FinishAnswer::Confirmed));
    assert!(org.admin.devices()?.is_empty(), "it is let in when it wants to enter");
    let FinishAnswer::Enrolled(first) = phone.reveals(&org, NONCE)? else { return Err("not let in".into()) };
    let FinishAnswer::Enrolled(again) = phone.reveals(&org, NONCE)? else {
        return Err("a lost answer".into());
    };
    assert_eq!(first.device, again.device);
    assert_eq!(org.admin.devices()?.len(), 1);
    assert!(phone.shown(&org)?.is_none());
    let late = org.admin.refuse_enrolment(org.boss, phone.begun.enrolment);
    assert!(matches!(late, Err(AdminError::EnrolmentClosed)));
    let acts: Vec<String> = org.admin.acts(1)?.into_iter().map(|act| act.action).collect();
    assert_eq!(acts, ["confirm_enrolment"]);
    Ok(())
}

#[test]
fn a_person_confirms_nothing_that_has_no_digits_yet() -> TestResult {
    let org = Org::new()?;
    let phone = Newcomer::begins(&org, 1)?;
    let early = org.admin.confirm_enrolment(org.boss, phone.begun.enrolment);
    assert!(matches!(early, Err(AdminError::EnrolmentClosed)));
    assert!(matches!(phone.reveals(&org, NONCE)?, FinishAnswer::Waiting));
    Ok(())
}

#[test]
fn a_refusal_is_for_good_and_raises_an_alert() -> TestResult {
    let org = Org::new()?;
    let phone = Newcomer::begins(&org, 1)?;
    phone.reveals(&org, NONCE)?;
    org.admin.refuse_enrolment(org.boss, phone.begun.enrolment)?;
    assert_eq!(code(phone.reveals(&org, NONCE)), Some(ErrorCode::EnrolmentRefused));
    let changed_mind = org.admin.confirm_enrolment(org.boss, phone.begun.enrolment);
    assert!(matches!(changed_mind, Err(AdminError::EnrolmentClosed)));
    assert_eq!((alerts(&org)?, org.admin.devices()?.len()), (1, 0));
    assert_eq!(org.admin.acts(1)?.first().map(|act| act.action.as_str()), Some("refuse_enrolment"));
    Ok(())
}

#[test]
fn a_device_that_reveals_another_value_is_refused_even_after_it_was_confirmed() -> TestResult {
    let org = Org::new()?;
    let (early, late) = (Newcomer::begins(&org, 1)?, Newcomer::begins(&org, 2)?);
    assert_eq!(code(early.reveals(&org, [9; 32])), Some(ErrorCode::EnrolmentRefused));
    assert_eq!(code(early.reveals(&org, NONCE)), Some(ErrorCode::EnrolmentRefused), "for good");
    late.reveals(&org, NONCE)?;
    org.admin.confirm_enrolment(org.boss, late.begun.enrolment)?;
    assert_eq!(code(late.reveals(&org, [9; 32])), Some(ErrorCode::EnrolmentRefused));
    assert_eq!((alerts(&org)?, org.admin.devices()?.len()), (1, 0));
    Ok(())
}

#[test]
fn a_revealed_value_is_worth_nothing_to_another_key() -> TestResult {
    let org = Org::new()?;
    let phone = Newcomer::begins(&org, 1)?;
    phone.reveals(&org, NONCE)?;
    org.admin.confirm_enrolment(org.boss, phone.begun.enrolment)?;
    let thief = FinishRequest { enrolment: phone.begun.enrolment, nonce: NONCE, enter: true };
    assert_eq!(code(finish(&org.app, &key(7)?, &thief)), Some(ErrorCode::NotFound));
    assert!(matches!(phone.reveals(&org, NONCE)?, FinishAnswer::Enrolled(_)));
    Ok(())
}

#[test]
fn an_enrolment_that_nobody_confirms_expires_and_its_ticket_is_spent() -> TestResult {
    let org = Org::new()?;
    let (slow, confirmed) = (Newcomer::begins(&org, 1)?, Newcomer::begins(&org, 2)?);
    slow.reveals(&org, NONCE)?;
    confirmed.reveals(&org, NONCE)?;
    org.admin.confirm_enrolment(org.boss, confirmed.begun.enrolment)?;
    org.wait(TimeDelta::minutes(CONFIRM_MINUTES) + TimeDelta::milliseconds(1));
    for phone in [&slow, &confirmed] {
        assert_eq!(code(phone.reveals(&org, NONCE)), Some(ErrorCode::EnrolmentExpired));
        assert!(phone.shown(&org)?.is_none());
        let late = org.admin.confirm_enrolment(org.boss, phone.begun.enrolment);
        assert!(matches!(late, Err(AdminError::EnrolmentClosed)));
        let again = BeginRequest { device: request(phone.ticket.token), commitment: commitment(&NONCE) };
        assert_eq!(code(begin(&org.app, phone.key.clone(), &again)), Some(ErrorCode::TicketUsed));
    }
    assert!(org.admin.devices()?.is_empty());
    Ok(())
}

#[test]
fn where_digits_are_compared_one_step_is_refused_and_spends_nothing() -> TestResult {
    let org = Org::new()?;
    assert!(!org.admin.confirms_enrolments()?, "off at first");
    org.admin.set_confirms_enrolments(org.boss, true)?;
    let rep = org.rep("ana", &["A"])?;
    let ticket = Ticket::from_text(&org.admin.issue_ticket(org.boss, rep)?.text)?;
    let one_step = super::super::enrol(&org.app, key(1)?, &request(ticket.token));
    assert_eq!(code(one_step), Some(ErrorCode::ConfirmationNeeded));
    let begins = BeginRequest { device: request(ticket.token), commitment: commitment(&NONCE) };
    begin(&org.app, key(1)?, &begins)?;
    let stranger = org.admin.set_confirms_enrolments(rep, false);
    assert!(matches!(stranger, Err(AdminError::NotAllowed)));
    org.admin.set_confirms_enrolments(org.boss, false)?;
    org.phone(org.rep("bo", &["A"])?)?;
    Ok(())
}

#[test]
fn what_was_decided_is_forgotten_after_a_day() -> TestResult {
    let org = Org::new()?;
    let first = Newcomer::begins(&org, 1)?;
    org.wait(KEPT + TimeDelta::minutes(1));
    Newcomer::begins(&org, 2)?;
    assert!(org.app.storage.read()?.enrolment(first.begun.enrolment)?.is_none());
    Ok(())
}
