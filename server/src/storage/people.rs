//! Users, console sessions, failures to sign in, the log of administrators' acts, and settings.

use super::Result;
use roundsman_model::{Role, UserId};
use zeroize::Zeroizing;

/// A user as stored.
pub struct StoredUser {
    /// The id.
    pub id: UserId,
    /// The email, in lower case.
    pub email: String,
    /// The name.
    pub name: String,
    /// The role.
    pub role: Role,
    /// The password's hash with its parameters; none for a user who never signs in to the console.
    pub password: Option<String>,
    /// The second factor's secret.
    pub totp: Option<Zeroizing<Vec<u8>>>,
    /// The last time step whose code was accepted.
    pub totp_step: u64,
    /// The codes of the territories, sorted.
    pub territories: Vec<String>,
}

/// A console session as stored.
pub struct StoredSession {
    /// SHA-256 of the cookie's value.
    pub token: [u8; 32],
    /// Who.
    pub user: UserId,
    /// What forms must carry.
    pub csrf: String,
    /// When it began: milliseconds since 1970.
    pub created_ms: i64,
    /// When it was last used: milliseconds since 1970.
    pub seen_ms: i64,
}

/// One entry of the log of administrators' acts.
#[derive(Clone, Debug, PartialEq)]
pub struct AdminAct {
    /// When: milliseconds since 1970.
    pub at_ms: i64,
    /// Who.
    pub actor: UserId,
    /// What was done.
    pub action: String,
    /// To what: an id, never personal data.
    pub object: String,
}

/// Reading people and settings.
pub trait PeopleRead {
    /// A setting's bytes.
    fn setting(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>>;
    /// The user with this id.
    fn user(&self, id: UserId) -> Result<Option<StoredUser>>;
    /// The user with this email, given in lower case.
    fn user_by_email(&self, email: &str) -> Result<Option<StoredUser>>;
    /// Every user, by name.
    fn users(&self) -> Result<Vec<StoredUser>>;
    /// The session with this token's hash.
    fn session(&self, token: &[u8; 32]) -> Result<Option<StoredSession>>;
    /// How many failures an account has had since a time, and the first of them.
    fn failures_since(&self, account: &str, since_ms: i64) -> Result<(u32, Option<i64>)>;
    /// The acts of administrators, the latest first.
    fn admin_acts(&self, limit: usize) -> Result<Vec<AdminAct>>;
}

/// Writing people and settings.
pub trait PeopleWrite {
    /// Sets a setting.
    fn set_setting(&mut self, name: &str, value: &[u8]) -> Result<()>;
    /// Adds a user, with the territories.
    fn add_user(&mut self, user: &StoredUser, at_ms: i64) -> Result<()>;
    /// Replaces a user's territories.
    fn set_territories(&mut self, user: UserId, codes: &[String]) -> Result<()>;
    /// Replaces a user's second factor; its steps count anew.
    fn set_totp(&mut self, user: UserId, secret: &[u8]) -> Result<()>;
    /// Notes the time step of a code that was accepted. False if that step, or a later one, was noted before.
    fn spend_totp_step(&mut self, user: UserId, step: u64) -> Result<bool>;
    /// Begins a session.
    fn add_session(&mut self, session: &StoredSession) -> Result<()>;
    /// Notes that a session was used.
    fn touch_session(&mut self, token: &[u8; 32], at_ms: i64) -> Result<()>;
    /// Ends a session.
    fn remove_session(&mut self, token: &[u8; 32]) -> Result<()>;
    /// Notes a failure of an account, and forgets those before `forget_before_ms`.
    fn add_failure(&mut self, account: &str, at_ms: i64, forget_before_ms: i64) -> Result<()>;
    /// Forgets an account's failures.
    fn clear_failures(&mut self, account: &str) -> Result<()>;
    /// Appends to the log of acts. Nothing removes from it.
    fn add_admin_act(&mut self, act: &AdminAct) -> Result<()>;
}
