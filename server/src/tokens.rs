//! Access and refresh tokens of devices (RFC 6749, bound to the device's key as in RFC 9449).
//!
//! A refresh token is good once. Its successor is derived from it and the request's id, so that a repeat of the
//! same request, whose answer was lost, gets the same successor although only hashes are stored, however late it
//! comes: a phone may ask again only when it has left the basement. A token that is
//! used again in any other way was copied: every token of the device is revoked and the device is locked.

use crate::admin::AlertKind;
use crate::app::App;
use crate::devices::alerts::raise;
use crate::devices::commands;
use crate::keys::OrgKeys;
use crate::random::{self, NoEntropy};
use crate::refusal::Refusal;
use crate::storage::{FleetRead, RefreshToken, StoredDevice, WriteTx};
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use roundsman_model::DeviceId;
use roundsman_protocol::api::{TokenRequest, Tokens};
use roundsman_protocol::keys::DeviceKey;
use roundsman_protocol::{ErrorCode, b64, sha256};
use sha2::Sha256;

/// How long an access token holds.
const ACCESS_SECONDS: u32 = 600;

/// How long a refresh token may lie unused.
const IDLE_DAYS: i64 = 30;

/// How long a refresh token may be renewed.
const FAMILY_DAYS: i64 = 90;

/// The first tokens of a device.
pub(crate) fn begin(tx: &mut dyn WriteTx, device: DeviceId, now: DateTime<Utc>) -> Result<Tokens, Refusal> {
    let refresh = random::token()?;
    let family_expires_ms = (now + TimeDelta::days(FAMILY_DAYS)).timestamp_millis();
    tx.put_refresh_token(&fresh(&refresh, device, family_expires_ms, now), now.timestamp_millis())?;
    with_access(tx, device, refresh, now)
}

/// Exchanges a refresh token for its successor.
pub(crate) fn refresh(app: &App, key: &DeviceKey, request: &TokenRequest) -> Result<Tokens, Refusal> {
    let now = app.now();
    let now_ms = now.timestamp_millis();
    let mut tx = app.storage.write()?;
    let mut device = tx.device_by_key(key.thumbprint())?.ok_or(ErrorCode::DeviceUnknown)?;
    let keys = app.keys(tx.as_ref())?;
    let hash = sha256(&[request.refresh.as_bytes()]);
    let mut token =
        tx.refresh_token(&hash)?.filter(|token| token.device == device.id).ok_or(ErrorCode::TokenInvalid)?;
    if token.spent_ms.is_some() {
        let unused = match &token.successor {
            Some(successor) => tx.refresh_token(successor)?.is_some_and(|next| next.spent_ms.is_none()),
            None => false,
        };
        if token.request == Some(request.request) && unused {
            let tokens = with_access(tx.as_mut(), device.id, successor(&keys, request)?, now)?;
            tx.commit()?;
            return Ok(tokens);
        }
        lock_for_reuse(tx.as_mut(), &keys, &mut device, now)?;
        tx.commit()?;
        return Err(ErrorCode::TokenInvalid.into());
    }
    if token.expires_ms < now_ms || token.family_expires_ms < now_ms {
        return Err(ErrorCode::TokenInvalid.into());
    }
    let next = successor(&keys, request)?;
    token.spent_ms = Some(now_ms);
    token.request = Some(request.request);
    token.successor = Some(sha256(&[next.as_bytes()]));
    tx.put_refresh_token(&token, now_ms)?;
    tx.put_refresh_token(&fresh(&next, device.id, token.family_expires_ms, now), now_ms)?;
    let tokens = with_access(tx.as_mut(), device.id, next, now)?;
    tx.commit()?;
    Ok(tokens)
}

/// The device that a request's access token was given to, if the proof was made with that device's key.
pub(crate) fn authorise(
    tx: &(impl FleetRead + ?Sized),
    key: &DeviceKey,
    access: &str,
    now_ms: i64,
) -> Result<StoredDevice, Refusal> {
    let device = tx.device_by_key(key.thumbprint())?.ok_or(ErrorCode::TokenInvalid)?;
    match tx.access_token(&sha256(&[access.as_bytes()]))? {
        Some((owner, _)) if owner != device.id => Err(ErrorCode::TokenInvalid.into()),
        Some((_, expires_ms)) if expires_ms < now_ms => Err(ErrorCode::TokenExpired.into()),
        Some(_) => Ok(device),
        None => Err(ErrorCode::TokenInvalid.into()),
    }
}

fn fresh(token: &str, device: DeviceId, family_expires_ms: i64, now: DateTime<Utc>) -> RefreshToken {
    RefreshToken {
        hash: sha256(&[token.as_bytes()]),
        device,
        expires_ms: (now + TimeDelta::days(IDLE_DAYS)).timestamp_millis(),
        family_expires_ms,
        spent_ms: None,
        request: None,
        successor: None,
    }
}

fn with_access(
    tx: &mut dyn WriteTx,
    device: DeviceId,
    refresh: String,
    now: DateTime<Utc>,
) -> Result<Tokens, Refusal> {
    let access = random::token()?;
    let expires = now + TimeDelta::seconds(ACCESS_SECONDS.into());
    let hash = sha256(&[access.as_bytes()]);
    tx.add_access_token(&hash, device, expires.timestamp_millis(), now.timestamp_millis())?;
    Ok(Tokens { access, expires_in_s: ACCESS_SECONDS, refresh })
}

fn successor(keys: &OrgKeys, request: &TokenRequest) -> Result<String, NoEntropy> {
    // HMAC takes a key of any length, so this can't fail.
    let mut mac = Hmac::<Sha256>::new_from_slice(keys.token_secret.as_slice()).map_err(|_| NoEntropy)?;
    mac.update(request.refresh.as_bytes());
    mac.update(request.request.as_bytes());
    Ok(b64::encode(mac.finalize().into_bytes()))
}

fn lock_for_reuse(
    tx: &mut dyn WriteTx,
    keys: &OrgKeys,
    device: &mut StoredDevice,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    tx.revoke_tokens(device.id)?;
    raise(tx, AlertKind::TokenReuse, Some(device.id), String::new(), now)?;
    commands::lock_by_itself(tx, keys, device, "a copied sign-in of this device was used", now)?;
    tx.put_device(device)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::DeviceStatus;
    use crate::testkit::{Org, Phone, TestResult};
    use uuid::Uuid;

    fn code(result: Result<Tokens, Refusal>) -> Option<ErrorCode> {
        match result {
            Err(Refusal::Problem(problem)) => Some(problem.code),
            _ => None,
        }
    }

    fn ask(phone: &Phone) -> TokenRequest {
        TokenRequest { refresh: phone.tokens.refresh.clone(), request: Uuid::now_v7() }
    }

    fn authorised(org: &Org, phone: &Phone, access: &str) -> TestResult<Result<(), ErrorCode>> {
        let tx = org.app.storage.write()?;
        Ok(match authorise(tx.as_ref(), &phone.key, access, org.now().timestamp_millis()) {
            Ok(_) => Ok(()),
            Err(Refusal::Problem(problem)) => Err(problem.code),
            Err(other) => return Err(other.into()),
        })
    }

    #[test]
    fn an_access_token_holds_ten_minutes_and_for_its_own_key_only() -> TestResult {
        let org = Org::new()?;
        let rep = org.rep("ana", &["A"])?;
        let (phone, other) = (org.phone(rep)?, org.phone(rep)?);
        assert_eq!(authorised(&org, &phone, &phone.tokens.access)?, Ok(()));
        assert_eq!(authorised(&org, &other, &phone.tokens.access)?, Err(ErrorCode::TokenInvalid));
        org.wait(TimeDelta::minutes(11));
        assert_eq!(authorised(&org, &phone, &phone.tokens.access)?, Err(ErrorCode::TokenExpired));
        Ok(())
    }

    #[test]
    fn a_lost_answer_is_repeated_with_the_same_successor() -> TestResult {
        let org = Org::new()?;
        let phone = org.phone(org.rep("ana", &["A"])?)?;
        let request = ask(&phone);
        let first = refresh(&org.app, &phone.key, &request)?;
        // A day without signal.
        org.wait(TimeDelta::days(1));
        let again = refresh(&org.app, &phone.key, &request)?;
        assert_eq!(first.refresh, again.refresh);
        assert_eq!(authorised(&org, &phone, &again.access)?, Ok(()));
        assert_eq!(org.stored(&phone)?.status, DeviceStatus::Active);
        Ok(())
    }

    #[test]
    fn a_spent_token_used_again_revokes_all_and_locks_the_device() -> TestResult {
        let org = Org::new()?;
        let phone = org.phone(org.rep("ana", &["A"])?)?;
        let next = refresh(&org.app, &phone.key, &ask(&phone))?;
        assert_eq!(code(refresh(&org.app, &phone.key, &ask(&phone))), Some(ErrorCode::TokenInvalid));
        assert_eq!(authorised(&org, &phone, &next.access)?, Err(ErrorCode::TokenInvalid));
        let successor = TokenRequest { refresh: next.refresh, request: Uuid::now_v7() };
        assert_eq!(code(refresh(&org.app, &phone.key, &successor)), Some(ErrorCode::TokenInvalid));
        assert_eq!(org.stored(&phone)?.status, DeviceStatus::LockPending);
        assert_eq!(phone.check_in(&phone.report())?.commands.len(), 1);
        Ok(())
    }

    #[test]
    fn a_repeat_after_the_successor_was_used_is_theft() -> TestResult {
        let org = Org::new()?;
        let mut phone = org.phone(org.rep("ana", &["A"])?)?;
        let request = ask(&phone);
        phone.tokens = refresh(&org.app, &phone.key, &request)?;
        refresh(&org.app, &phone.key, &ask(&phone))?;
        assert_eq!(code(refresh(&org.app, &phone.key, &request)), Some(ErrorCode::TokenInvalid));
        assert_eq!(org.stored(&phone)?.status, DeviceStatus::LockPending);
        Ok(())
    }

    #[test]
    fn a_refresh_token_of_another_device_is_worth_nothing() -> TestResult {
        let org = Org::new()?;
        let rep = org.rep("ana", &["A"])?;
        let (phone, other) = (org.phone(rep)?, org.phone(rep)?);
        assert_eq!(code(refresh(&org.app, &other.key, &ask(&phone))), Some(ErrorCode::TokenInvalid));
        assert!(refresh(&org.app, &phone.key, &ask(&phone)).is_ok());
        Ok(())
    }

    #[test]
    fn a_refresh_token_that_lay_unused_for_a_month_is_void() -> TestResult {
        let org = Org::new()?;
        let phone = org.phone(org.rep("ana", &["A"])?)?;
        org.wait(TimeDelta::days(31));
        assert_eq!(code(refresh(&org.app, &phone.key, &ask(&phone))), Some(ErrorCode::TokenInvalid));
        let hash = sha256(&[phone.tokens.refresh.as_bytes()]);
        assert!(org.app.storage.read()?.refresh_token(&hash)?.is_some_and(|token| token.spent_ms.is_none()));
        Ok(())
    }
}
