//! Enrolment: a ticket lets one device in.

use crate::admin::DeviceStatus;
use crate::app::App;
use crate::refusal::Refusal;
use crate::storage::{StoredDevice, StoredTicket, WriteTx};
use crate::{random, tokens};
use chrono::{DateTime, TimeDelta, Utc};
use roundsman_model::{DeviceId, DeviceSeq, UserId};
use roundsman_protocol::api::{EnrolAnswer, EnrolRequest};
use roundsman_protocol::keys::DeviceKey;
use roundsman_protocol::ticket::Ticket;
use roundsman_protocol::{ErrorCode, VERSION, sha256};
use uuid::Uuid;

/// How long a ticket holds.
const TICKET_MINUTES: i64 = 15;

/// Makes a ticket for a user and keeps its hash.
pub(crate) fn issue(
    app: &App,
    tx: &mut dyn WriteTx,
    user: UserId,
    now: DateTime<Utc>,
) -> Result<Ticket, Refusal> {
    let token: [u8; 16] = random::bytes()?;
    let expires_ms = (now + TimeDelta::minutes(TICKET_MINUTES)).timestamp_millis();
    tx.add_ticket(&StoredTicket { token: sha256(&[&token]), user, expires_ms, used_ms: None })?;
    Ok(Ticket {
        v: VERSION,
        url: app.public_url.clone(),
        org_name: app.keys.org_name.clone(),
        token,
        pins: app.pins.clone(),
        root_sha256: sha256(&[&app.keys.root_envelope]),
        expires_ms,
    })
}

/// Lets a device in. The ticket is spent, whatever comes after.
pub(crate) fn enrol(app: &App, key: DeviceKey, request: &EnrolRequest) -> Result<EnrolAnswer, Refusal> {
    let short = |text: &str, max: usize| !text.trim().is_empty() && text.chars().count() <= max;
    if !short(&request.name, 100) || !short(&request.platform, 32) || !short(&request.core, 64) {
        return Err(ErrorCode::Malformed.into());
    }
    let now = app.now();
    let now_ms = now.timestamp_millis();
    let mut tx = app.storage.write()?;
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
    let user = tx.user(ticket.user)?.ok_or(ErrorCode::TicketUnknown)?;
    tx.spend_ticket(&hash, now_ms)?;
    let device = StoredDevice {
        id: DeviceId(Uuid::now_v7()),
        user: user.id,
        key,
        install: request.install,
        name: request.name.trim().to_owned(),
        platform: request.platform.clone(),
        hardware_keys: request.hardware_keys,
        core: request.core.clone(),
        enrolled_ms: now_ms,
        seen_ms: Some(now_ms),
        unsent: 0,
        status: DeviceStatus::Active,
        last_command: 0,
        applied: DeviceSeq(0),
    };
    tx.put_device(&device)?;
    let tokens = tokens::begin(tx.as_mut(), device.id, now)?;
    tx.commit()?;
    Ok(EnrolAnswer {
        device: device.id,
        org: app.keys.org(),
        user: user.id,
        user_name: user.name,
        tokens,
        server_time: now,
    })
}
