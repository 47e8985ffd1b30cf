//! Signing in to the console: password, six-digit code, session.

use super::people::{lower_email, user_view};
use super::{Admin, AdminError, Session, SignInError, SignedIn, allow, record};
use crate::app::App;
use crate::password::{self, PasswordError};
use crate::storage::{StorageError, StoredSession, StoredUser};
use crate::{Secret, random};
use chrono::{DateTime, TimeDelta, Utc};
use roundsman_model::Role;
use roundsman_protocol::sha256;

/// How long a session lives without use.
const IDLE: TimeDelta = TimeDelta::minutes(30);

/// How long a session lives at most.
const ABSOLUTE: TimeDelta = TimeDelta::hours(12);

/// How exactly the last use of a session is known; saves a write for each page.
const SEEN: TimeDelta = TimeDelta::minutes(1);

/// How many failures an account may have in [`WINDOW`].
const MAX_FAILURES: u32 = 5;

/// The time in which failures are counted.
const WINDOW: TimeDelta = TimeDelta::minutes(15);

impl Admin {
    /// Signs an administrator in to the console. Failures are counted for each account: five in 15 minutes.
    ///
    /// # Errors
    /// See [`SignInError`].
    pub fn sign_in(&self, email: &str, password: &Secret, totp_code: &str) -> Result<Session, SignInError> {
        let app = &self.app;
        let now = app.now();
        let account = format!("sign-in:{}", lower_email(email));
        count_attempt(app, &account, now)?;
        let user = app.storage.read().map_err(AdminError::from)?.user_by_email(&lower_email(email));
        let user = user.map_err(AdminError::from)?;
        let stored = user.as_ref().and_then(|user| user.password.as_deref());
        match app.gate.pass(|| password::check(password, stored)) {
            Ok(()) => {}
            Err(PasswordError::Wrong) => return Err(SignInError::WrongCredentials),
            Err(PasswordError::Damaged) => return Err(AdminError::Keys.into()),
            Err(PasswordError::Entropy(error)) => return Err(AdminError::Entropy(error).into()),
        }
        let user = user.ok_or(SignInError::WrongCredentials)?;
        if user.role != Role::Admin {
            return Err(SignInError::NotAdmin);
        }
        let step = accepted_step(&user, totp_code, now).ok_or(SignInError::WrongCode)?;
        begin(app, &user, step, &account, now)?.ok_or(SignInError::WrongCode)
    }

    /// Who holds this session, if it is alive; a look keeps it alive.
    pub fn session(&self, token: &str) -> Option<SignedIn> {
        self.look_up(token).unwrap_or_else(|error| {
            tracing::error!(%error, "a session can't be looked up");
            None
        })
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`AdminError::Storage`].
    pub fn sign_out(&self, token: &str) -> Result<(), AdminError> {
        let mut tx = self.app.storage.write()?;
        tx.remove_session(&sha256(&[token.as_bytes()]))?;
        Ok(tx.commit()?)
    }

    fn look_up(&self, token: &str) -> Result<Option<SignedIn>, StorageError> {
        let (now, hash) = (self.app.now(), sha256(&[token.as_bytes()]));
        let tx = self.app.storage.read()?;
        let Some(session) = tx.session(&hash)? else { return Ok(None) };
        let age = |since_ms: i64| TimeDelta::milliseconds(now.timestamp_millis() - since_ms);
        let user = tx.user(session.user)?.filter(|user| user.role == Role::Admin);
        drop(tx);
        let alive = age(session.seen_ms) <= IDLE && age(session.created_ms) <= ABSOLUTE;
        let Some(user) = user.filter(|_| alive) else {
            let mut tx = self.app.storage.write()?;
            tx.remove_session(&hash)?;
            tx.commit()?;
            return Ok(None);
        };
        if age(session.seen_ms) >= SEEN {
            let mut tx = self.app.storage.write()?;
            tx.touch_session(&hash, now.timestamp_millis())?;
            tx.commit()?;
        }
        Ok(Some(SignedIn { user: user_view(user), csrf: session.csrf }))
    }
}

/// Counts an attempt before it is judged, so that many at once count as many.
fn count_attempt(app: &App, account: &str, now: DateTime<Utc>) -> Result<(), Throttled> {
    let since = (now - WINDOW).timestamp_millis();
    let mut tx = app.storage.write()?;
    let (failures, first) = tx.failures_since(account, since)?;
    if failures >= MAX_FAILURES {
        let wait_ms = first.unwrap_or(since) + WINDOW.num_milliseconds() - now.timestamp_millis();
        return Err(Throttled::Wait { seconds: (wait_ms.max(0) as u64).div_ceil(1_000).max(1) });
    }
    tx.add_failure(account, now.timestamp_millis(), since)?;
    Ok(tx.commit()?)
}

/// Why an attempt is not judged.
enum Throttled {
    Wait { seconds: u64 },
    Storage(StorageError),
}

impl From<StorageError> for Throttled {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl From<Throttled> for SignInError {
    fn from(throttled: Throttled) -> Self {
        match throttled {
            Throttled::Wait { seconds } => Self::Throttled { seconds },
            Throttled::Storage(error) => Self::Failed(error.into()),
        }
    }
}

/// The time step a code belongs to, one before and after the present one allowed (RFC 6238 section 5.2).
fn accepted_step(user: &StoredUser, code: &str, now: DateTime<Utc>) -> Option<u64> {
    let secret = user.totp.as_ref()?;
    let totp = super::people::authenticator(&user.email, "Roundsman", secret).ok()?;
    let digits: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    totp.check(&digits, u64::try_from(now.timestamp()).ok()?)
}

/// Begins a session, unless the code's time step was used before.
fn begin(
    app: &App,
    user: &StoredUser,
    step: u64,
    account: &str,
    now: DateTime<Utc>,
) -> Result<Option<Session>, AdminError> {
    let (token, csrf) = (random::token()?, random::token()?);
    let mut tx = app.storage.write()?;
    allow(tx.as_ref(), user.id)?;
    if !tx.spend_totp_step(user.id, step)? {
        return Ok(None);
    }
    tx.clear_failures(account)?;
    let now_ms = now.timestamp_millis();
    tx.add_session(&StoredSession {
        token: sha256(&[token.as_bytes()]),
        user: user.id,
        csrf: csrf.clone(),
        created_ms: now_ms,
        seen_ms: now_ms,
    })?;
    record(tx.as_mut(), user.id, "sign_in", user.id, now)?;
    let view = tx.user(user.id)?.map(user_view).ok_or(AdminError::NotFound)?;
    tx.commit()?;
    Ok(Some(Session { token, user: view, csrf }))
}
