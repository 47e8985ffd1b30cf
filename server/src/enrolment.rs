//! Enrolment: a ticket lets one device in, at once or after a person has compared digits.

mod confirmed;

pub(crate) use confirmed::{CONFIRM_MINUTES, begin, finish};

use crate::admin::DeviceStatus;
use crate::app::App;
use crate::refusal::Refusal;
use crate::storage::{
    PeopleRead, PeopleWrite, StorageError, StoredDevice, StoredTicket, StoredUser, WriteTx,
};
use crate::{random, tokens};
use chrono::{DateTime, TimeDelta, Utc};
use roundsman_model::{DeviceId, DeviceSeq, UserId};
use roundsman_protocol::api::{EnrolAnswer, EnrolRequest};
use roundsman_protocol::keys::DeviceKey;
use roundsman_protocol::ticket::Ticket;
use roundsman_protocol::{ErrorCode, VERSION, sha256};

/// How long a ticket holds.
const TICKET_MINUTES: i64 = 15;

/// The setting that says whether a person compares digits.
const CONFIRM: &str = "confirm_enrolments";

/// Makes a ticket for a user and keeps its hash.
pub(crate) fn issue(
    app: &App,
    tx: &mut dyn WriteTx,
    user: UserId,
    now: DateTime<Utc>,
) -> Result<Ticket, Refusal> {
    let token: [u8; 16] = random::bytes()?;
    let expires_ms = (now + TimeDelta::minutes(TICKET_MINUTES)).timestamp_millis();
    let ticket = Ticket {
        v: VERSION,
        url: app.public_url.clone(),
        org_name: app.org_name.clone(),
        token,
        pins: app.pins.clone(),
        root_sha256: sha256(&[&app.keys(tx)?.root_envelope]),
        expires_ms,
    };
    tx.add_ticket(&StoredTicket {
        token: sha256(&[&token]),
        digest: Some(ticket.digest()),
        user,
        expires_ms,
        used_ms: None,
    })?;
    Ok(ticket)
}

/// Lets a device in. The ticket is spent, whatever comes after.
pub(crate) fn enrol(app: &App, key: DeviceKey, request: &EnrolRequest) -> Result<EnrolAnswer, Refusal> {
    check(request)?;
    let now = app.now();
    let mut tx = app.storage.write()?;
    if needs_confirmation(tx.as_ref())? {
        return Err(ErrorCode::ConfirmationNeeded.into());
    }
    let ticket = redeem(tx.as_mut(), &key, request, now)?;
    let answer = admit(app, tx.as_mut(), ticket.user, key, request, now)?;
    tx.commit()?;
    Ok(answer)
}

/// Whether a person compares digits before a device is let in.
pub(crate) fn needs_confirmation(tx: &(impl PeopleRead + ?Sized)) -> Result<bool, StorageError> {
    Ok(tx.setting(CONFIRM)?.is_some_and(|value| value.as_slice() == [1]))
}

/// Sets whether a person compares digits before a device is let in.
pub(crate) fn set_needs_confirmation(
    tx: &mut (impl PeopleWrite + ?Sized),
    on: bool,
) -> Result<(), StorageError> {
    tx.set_setting(CONFIRM, &[u8::from(on)])
}

fn check(request: &EnrolRequest) -> Result<(), Refusal> {
    let short = |text: &str, max: usize| !text.trim().is_empty() && text.chars().count() <= max;
    let readable = short(&request.name, 100) && short(&request.platform, 32) && short(&request.core, 64);
    if readable { Ok(()) } else { Err(ErrorCode::Malformed.into()) }
}

/// Spends the ticket.
fn redeem(
    tx: &mut dyn WriteTx,
    key: &DeviceKey,
    request: &EnrolRequest,
    now: DateTime<Utc>,
) -> Result<StoredTicket, Refusal> {
    let now_ms = now.timestamp_millis();
    let hash = sha256(&[&request.ticket]);
    let ticket = tx.ticket(&hash)?.ok_or(ErrorCode::TicketUnknown)?;
    if ticket.used_ms.is_some() {
        return Err(ErrorCode::TicketUsed.into());
    }
    if ticket.expires_ms < now_ms {
        return Err(ErrorCode::TicketExpired.into());
    }
    // One key is one device; an installation that enrols again makes a new key.
    if tx.device_by_key(key.thumbprint())?.is_some() {
        return Err(ErrorCode::ProofInvalid.into());
    }
    tx.spend_ticket(&hash, now_ms)?;
    Ok(ticket)
}

/// Makes the device one of the organisation's.
fn admit(
    app: &App,
    tx: &mut dyn WriteTx,
    user: UserId,
    key: DeviceKey,
    request: &EnrolRequest,
    now: DateTime<Utc>,
) -> Result<EnrolAnswer, Refusal> {
    let user = tx.user(user)?.ok_or(ErrorCode::TicketUnknown)?;
    let device = StoredDevice {
        id: DeviceId(random::uuid()),
        user: user.id,
        key,
        install: request.install,
        name: request.name.trim().to_owned(),
        platform: request.platform.clone(),
        hardware_keys: request.hardware_keys,
        core: request.core.clone(),
        enrolled_ms: now.timestamp_millis(),
        seen_ms: Some(now.timestamp_millis()),
        unsent: 0,
        status: DeviceStatus::Active,
        last_command: 0,
        applied: DeviceSeq(0),
    };
    tx.put_device(&device)?;
    welcome(app, tx, device.id, user, now)
}

/// First tokens for a device that was let in, and what it must know of itself.
fn welcome(
    app: &App,
    tx: &mut dyn WriteTx,
    device: DeviceId,
    user: StoredUser,
    now: DateTime<Utc>,
) -> Result<EnrolAnswer, Refusal> {
    let tokens = tokens::begin(tx, device, now)?;
    let org = app.keys(tx)?.org();
    Ok(EnrolAnswer { device, org, user: user.id, user_name: user.name, tokens, server_time: now })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Org, TestResult, request};
    use p256::ecdsa::SigningKey;

    fn key(seed: u8) -> TestResult<DeviceKey> {
        let signing = SigningKey::from_slice(&[seed; 32])?;
        Ok(DeviceKey::from_sec1(signing.verifying_key().to_sec1_point(false).as_ref())?)
    }

    fn code(result: Result<EnrolAnswer, Refusal>) -> Option<ErrorCode> {
        match result {
            Err(Refusal::Problem(problem)) => Some(problem.code),
            _ => None,
        }
    }

    #[test]
    fn a_ticket_lets_one_device_in_once() -> TestResult {
        let org = Org::new()?;
        let rep = org.rep("ana", &["A"])?;
        let ticket = Ticket::from_text(&org.admin.issue_ticket(org.boss, rep)?.text)?;
        assert!(ticket.pins.len() >= 2);
        assert_eq!(ticket.root_sha256, sha256(&[&org.keys()?.root_envelope]));
        let answer = enrol(&org.app, key(1)?, &request(ticket.token))?;
        assert_eq!((answer.user, answer.org), (rep, org.keys()?.org()));
        assert_eq!(code(enrol(&org.app, key(2)?, &request(ticket.token))), Some(ErrorCode::TicketUsed));
        Ok(())
    }

    #[test]
    fn a_ticket_expires_after_a_quarter_of_an_hour() -> TestResult {
        let org = Org::new()?;
        let rep = org.rep("ana", &["A"])?;
        let ticket = Ticket::from_text(&org.admin.issue_ticket(org.boss, rep)?.text)?;
        org.wait(TimeDelta::minutes(15) + TimeDelta::milliseconds(1));
        assert_eq!(code(enrol(&org.app, key(1)?, &request(ticket.token))), Some(ErrorCode::TicketExpired));
        Ok(())
    }

    #[test]
    fn an_invented_ticket_is_unknown_and_a_key_enrols_once() -> TestResult {
        let org = Org::new()?;
        let rep = org.rep("ana", &["A"])?;
        assert_eq!(code(enrol(&org.app, key(1)?, &request([9; 16]))), Some(ErrorCode::TicketUnknown));
        for (turn, expected) in [(1, None), (2, Some(ErrorCode::ProofInvalid))] {
            let ticket = Ticket::from_text(&org.admin.issue_ticket(org.boss, rep)?.text)?;
            assert_eq!(code(enrol(&org.app, key(1)?, &request(ticket.token))), expected, "turn {turn}");
        }
        Ok(())
    }
}
