//! Enrolment that a person confirms. Until then the device is given nothing: no id, no tokens, no data.

use super::{admit, check, redeem, welcome};
use crate::admin::AlertKind;
use crate::app::App;
use crate::devices::alerts::raise;
use crate::random;
use crate::refusal::Refusal;
use crate::storage::{EnrolmentState, StoredEnrolment};
use chrono::{DateTime, TimeDelta, Utc};
use roundsman_protocol::ErrorCode;
use roundsman_protocol::api::EnrolRequest;
use roundsman_protocol::enrolment::{
    BeginAnswer, BeginRequest, FinishAnswer, FinishRequest, Transcript, commitment,
};
use roundsman_protocol::keys::DeviceKey;

/// How long a device may wait for a person.
pub(crate) const CONFIRM_MINUTES: i64 = 15;

/// How long what was decided is kept; the next enrolment that begins after it clears it away.
const KEPT: TimeDelta = TimeDelta::days(1);

/// Takes a device's commitment. The ticket is spent, whatever comes after.
pub(crate) fn begin(app: &App, key: DeviceKey, request: &BeginRequest) -> Result<BeginAnswer, Refusal> {
    let device = &request.device;
    check(device)?;
    let now = app.now();
    let mut tx = app.storage.write()?;
    let ticket = redeem(tx.as_mut(), &key, device, now)?;
    let enrolment = StoredEnrolment {
        id: random::uuid(),
        user: ticket.user,
        key,
        install: device.install,
        name: device.name.trim().to_owned(),
        platform: device.platform.clone(),
        hardware_keys: device.hardware_keys,
        core: device.core.clone(),
        // Only one of an earlier version has no digest; it is as good as expired.
        ticket: ticket.digest.ok_or(ErrorCode::TicketExpired)?,
        commitment: request.commitment,
        nonce: random::bytes()?,
        begun_ms: now.timestamp_millis(),
        digits: None,
        state: EnrolmentState::Begun,
        device: None,
    };
    tx.add_enrolment(&enrolment, (now - KEPT).timestamp_millis())?;
    let org = app.keys(tx.as_ref())?.org();
    tx.commit()?;
    let expires_at = now + TimeDelta::minutes(CONFIRM_MINUTES);
    Ok(BeginAnswer { enrolment: enrolment.id, org, nonce: enrolment.nonce, expires_at })
}

/// Takes the value that the device has committed to, and lets it in once a person has confirmed the digits.
pub(crate) fn finish(app: &App, key: &DeviceKey, request: &FinishRequest) -> Result<FinishAnswer, Refusal> {
    let now = app.now();
    let mut tx = app.storage.write()?;
    let found = tx.enrolment(request.enrolment)?.filter(|enrolment| enrolment.key == *key);
    let mut enrolment = found.ok_or(ErrorCode::NotFound)?;
    if enrolment.state == EnrolmentState::Refused {
        return Err(ErrorCode::EnrolmentRefused.into());
    }
    if enrolment.is_over(now) {
        return Err(ErrorCode::EnrolmentExpired.into());
    }
    if commitment(&request.nonce) != enrolment.commitment {
        // Whoever may choose again after the server's value is known may aim at digits.
        enrolment.state = EnrolmentState::Refused;
        tx.set_enrolment(&enrolment)?;
        let detail = "the device revealed another value than it had committed to".to_owned();
        raise(tx.as_mut(), AlertKind::EnrolmentRefused, None, detail, now)?;
        tx.commit()?;
        return Err(ErrorCode::EnrolmentRefused.into());
    }
    let answer = match enrolment.state {
        EnrolmentState::Waiting | EnrolmentState::Refused => return Ok(FinishAnswer::Waiting),
        EnrolmentState::Begun => {
            let transcript = Transcript {
                ticket: enrolment.ticket,
                org: app.keys(tx.as_ref())?.org(),
                install: enrolment.install,
                key: key.thumbprint(),
                device_nonce: request.nonce,
                server_nonce: enrolment.nonce,
            };
            enrolment.digits = Some(transcript.digits());
            enrolment.state = EnrolmentState::Waiting;
            FinishAnswer::Waiting
        }
        EnrolmentState::Confirmed | EnrolmentState::Done if !request.enter => {
            return Ok(FinishAnswer::Confirmed);
        }
        EnrolmentState::Confirmed => {
            if tx.device_by_key(key.thumbprint())?.is_some() {
                return Err(ErrorCode::ProofInvalid.into());
            }
            let (user, as_asked) = (enrolment.user, enrolment.as_asked());
            let answer = admit(app, tx.as_mut(), user, key.clone(), &as_asked, now)?;
            enrolment.device = Some(answer.device);
            enrolment.state = EnrolmentState::Done;
            FinishAnswer::Enrolled(answer)
        }
        EnrolmentState::Done => {
            // The answer was lost on the way. Only the same key gets here.
            let device = enrolment.device.ok_or(ErrorCode::DeviceUnknown)?;
            let user = tx.user(enrolment.user)?.ok_or(ErrorCode::TicketUnknown)?;
            tx.revoke_tokens(device)?;
            FinishAnswer::Enrolled(welcome(app, tx.as_mut(), device, user, now)?)
        }
    };
    tx.set_enrolment(&enrolment)?;
    tx.commit()?;
    Ok(answer)
}

impl StoredEnrolment {
    /// Until when a person may confirm it, and the device may come for the answer.
    pub(crate) fn until(&self) -> DateTime<Utc> {
        let begun = DateTime::from_timestamp_millis(self.begun_ms).unwrap_or_default();
        begun + TimeDelta::minutes(CONFIRM_MINUTES)
    }

    /// Whether its time is over.
    pub(crate) fn is_over(&self, now: DateTime<Utc>) -> bool {
        self.until() < now
    }

    /// The request as it was made, but for the ticket's secret, which is not kept.
    fn as_asked(&self) -> EnrolRequest {
        EnrolRequest {
            ticket: [0; 16],
            install: self.install,
            name: self.name.clone(),
            platform: self.platform.clone(),
            hardware_keys: self.hardware_keys,
            core: self.core.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
