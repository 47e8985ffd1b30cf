//! Users, their territories, second factors and tickets.

use super::{Admin, AdminError, IssuedTicket, UserView, allow, record};
use crate::enrolment;
use crate::password::{self, PasswordError};
use crate::refusal::Refusal;
use crate::storage::{StoredUser, WriteTx};
use crate::{NewAdmin, Secret, random};
use chrono::{DateTime, Utc};
use roundsman_model::{Role, UserId};
use totp_rs::{Algorithm, Builder, Totp};
use zeroize::Zeroizing;

/// The shortest password.
const MIN_PASSWORD: usize = 12;

/// A user to create.
pub struct NewUser {
    /// The email to sign in with; unique.
    pub email: String,
    /// The name to show.
    pub name: String,
    /// What the person is.
    pub role: Role,
    /// The codes of the territories.
    pub territories: Vec<String>,
    /// The password for the console, at least 12 characters; administrators need one, reps don't.
    pub password: Option<Secret>,
}

/// A second factor for an authenticator app. Shown once.
pub struct SecondFactor {
    /// The `otpauth://` address for the QR code.
    pub url: String,
    /// The secret in base32, to type in.
    pub secret: String,
}

impl Admin {
    /// Adds a user. An administrator needs a second factor besides, from [`Admin::reset_second_factor`].
    ///
    /// # Errors
    /// The email, name, password or a territory is not one, or the email is taken.
    pub fn add_user(&self, actor: UserId, user: NewUser) -> Result<UserId, AdminError> {
        if user.role == Role::Admin && user.password.is_none() {
            return Err(AdminError::PasswordMissing);
        }
        let stored = self.app.gate.pass(|| to_store(user))?;
        let now = self.app.now();
        let mut tx = self.app.storage.write()?;
        allow(tx.as_ref(), actor)?;
        if tx.user_by_email(&stored.email)?.is_some() {
            return Err(AdminError::EmailTaken);
        }
        tx.add_user(&stored, now.timestamp_millis())?;
        record(tx.as_mut(), actor, "add_user", stored.id, now)?;
        tx.commit()?;
        Ok(stored.id)
    }

    /// Makes a new second factor for an administrator; the old one is void at once.
    ///
    /// # Errors
    /// [`AdminError::NotFound`] if there is no such administrator.
    pub fn reset_second_factor(&self, actor: UserId, user: UserId) -> Result<SecondFactor, AdminError> {
        let now = self.app.now();
        let mut tx = self.app.storage.write()?;
        allow(tx.as_ref(), actor)?;
        let stored = tx.user(user)?.filter(|user| user.role == Role::Admin).ok_or(AdminError::NotFound)?;
        let (secret, shown) = new_factor(&stored.email, self.org_name())?;
        tx.set_totp(user, secret.as_slice())?;
        record(tx.as_mut(), actor, "reset_second_factor", user, now)?;
        tx.commit()?;
        Ok(shown)
    }

    /// Every user, by name.
    ///
    /// # Errors
    /// [`AdminError::Storage`].
    pub fn users(&self) -> Result<Vec<UserView>, AdminError> {
        Ok(self.app.storage.read()?.users()?.into_iter().map(user_view).collect())
    }

    /// Changes a user's territories. Rows of the others leave the user's devices with their next sync.
    ///
    /// # Errors
    /// [`AdminError::NotFound`], or a code is not one.
    pub fn set_territories(&self, actor: UserId, user: UserId, codes: Vec<String>) -> Result<(), AdminError> {
        let codes = territories(codes)?;
        let mut tx = self.app.storage.write()?;
        allow(tx.as_ref(), actor)?;
        tx.user(user)?.ok_or(AdminError::NotFound)?;
        tx.set_territories(user, &codes)?;
        record(tx.as_mut(), actor, "set_territories", user, self.app.now())?;
        Ok(tx.commit()?)
    }

    /// Issues a ticket: leave to enrol one device within 15 minutes.
    ///
    /// # Errors
    /// [`AdminError::NotFound`] if there is no such user.
    pub fn issue_ticket(&self, actor: UserId, user: UserId) -> Result<IssuedTicket, AdminError> {
        let now = self.app.now();
        let mut tx = self.app.storage.write()?;
        allow(tx.as_ref(), actor)?;
        tx.user(user)?.ok_or(AdminError::NotFound)?;
        let ticket = enrolment::issue(&self.app, tx.as_mut(), user, now)?;
        record(tx.as_mut(), actor, "issue_ticket", user, now)?;
        tx.commit()?;
        Ok(IssuedTicket { text: ticket.to_text(), expires_at: ticket.expires() })
    }
}

/// Adds the administrator of a new organisation, in the transaction that founds it.
pub(crate) fn add_first_admin(
    tx: &mut dyn WriteTx,
    org_name: &str,
    new: &NewAdmin,
    now: DateTime<Utc>,
) -> Result<SecondFactor, AdminError> {
    let user = NewUser {
        email: new.email.clone(),
        name: new.name.clone(),
        role: Role::Admin,
        territories: vec![],
        password: Some(new.password.duplicate()),
    };
    let mut stored = to_store(user)?;
    let (secret, shown) = new_factor(&stored.email, org_name)?;
    stored.totp = Some(secret);
    tx.add_user(&stored, now.timestamp_millis())?;
    record(tx, Admin::OPERATOR, "add_user", stored.id, now)?;
    Ok(shown)
}

fn to_store(user: NewUser) -> Result<StoredUser, AdminError> {
    let email = lower_email(&user.email);
    let name = user.name.trim().to_owned();
    let looks_right =
        email.split_once('@').is_some_and(|(local, host)| !local.is_empty() && !host.is_empty());
    // The second factor's address gives a colon a meaning of its own.
    if !looks_right || email.chars().count() > 200 || email.contains([':', ' ', '\n', '\r']) {
        return Err(AdminError::EmailInvalid);
    }
    if name.is_empty() || name.chars().count() > 200 {
        return Err(AdminError::NameInvalid);
    }
    let password = match &user.password {
        Some(password) if password.expose().chars().count() < MIN_PASSWORD => {
            return Err(AdminError::PasswordTooShort);
        }
        Some(password) => Some(password::hash(password)?),
        None => None,
    };
    Ok(StoredUser {
        id: UserId(random::uuid()),
        email,
        name,
        role: user.role,
        password,
        totp: None,
        totp_step: 0,
        territories: territories(user.territories)?,
    })
}

fn territories(codes: Vec<String>) -> Result<Vec<String>, AdminError> {
    let mut codes: Vec<String> = codes.into_iter().map(|code| code.trim().to_owned()).collect();
    if !codes.iter().all(|code| is_territory(code)) {
        return Err(AdminError::TerritoryInvalid);
    }
    codes.sort();
    codes.dedup();
    Ok(codes)
}

/// Whether a text can be a territory's code.
pub(super) fn is_territory(code: &str) -> bool {
    (1..=64).contains(&code.chars().count())
        && code.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '.' | '_' | ' '))
}

/// An email in the form it is compared in.
pub(super) fn lower_email(email: &str) -> String {
    email.trim().to_lowercase()
}

pub(super) fn user_view(user: StoredUser) -> UserView {
    UserView {
        id: user.id,
        email: user.email,
        name: user.name,
        role: user.role,
        territories: user.territories,
    }
}

fn new_factor(email: &str, org_name: &str) -> Result<(Zeroizing<Vec<u8>>, SecondFactor), AdminError> {
    let secret = Zeroizing::new(random::bytes::<20>()?.to_vec());
    let totp = authenticator(email, org_name, &secret)?;
    let url = totp.to_url().map_err(|_| AdminError::EmailInvalid)?;
    Ok((secret, SecondFactor { url, secret: totp.secret().to_base32() }))
}

/// What the user's authenticator app computes: SHA-1, six digits, 30 seconds (RFC 6238), which all apps know.
pub(super) fn authenticator(email: &str, issuer: &str, secret: &[u8]) -> Result<Totp, AdminError> {
    // A colon separates issuer and account in the address.
    let issuer = issuer.replace(':', " ");
    Builder::new()
        .with_algorithm(Algorithm::SHA1)
        .with_digits(6)
        .with_skew(1)
        .with_step_duration(30)
        .with_secret(secret.to_vec())
        .with_account_name(email.to_owned())
        .with_issuer(Some(issuer))
        .build()
        .map_err(|_| AdminError::EmailInvalid)
}

impl From<PasswordError> for AdminError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Entropy(error) => Self::Entropy(error),
            PasswordError::Wrong | PasswordError::Damaged => Self::Keys,
        }
    }
}

impl From<Refusal> for AdminError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Storage(error) => Self::Storage(error),
            Refusal::Entropy(error) => Self::Entropy(error),
            Refusal::Problem(_) | Refusal::Object(_) | Refusal::Worker => Self::NotFound,
        }
    }
}
