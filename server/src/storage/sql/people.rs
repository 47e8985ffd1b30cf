//! SQL of users, sessions, failures, acts and settings.

use super::{Row, Tx, blob, bytes, id, number, params};
use crate::storage::{
    AdminAct, Notice, PeopleRead, PeopleWrite, Result, StorageError, StoredSession, StoredUser,
};
use roundsman_model::{Role, UserId};
use uuid::Uuid;
use zeroize::Zeroizing;

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Rep => "rep",
        Role::Admin => "admin",
    }
}

fn role(name: &str) -> Result<Role> {
    match name {
        "rep" => Ok(Role::Rep),
        "admin" => Ok(Role::Admin),
        _ => Err(StorageError::Damaged("role")),
    }
}

/// What a second factor's secret is sealed for.
fn totp_label(user: &Uuid) -> String {
    format!("totp/{user}")
}

impl Tx<'_> {
    fn read_user(&self, row: &Row<'_>) -> Result<StoredUser> {
        let user = id(row, "id")?;
        let territories = self.all(
            "SELECT code FROM user_territory WHERE \"user\" = ?1 ORDER BY code",
            params![blob(&user)],
            |row| row.get("code"),
        )?;
        let totp = row.get::<_, Option<Vec<u8>>>("totp")?.map(Zeroizing::new);
        Ok(StoredUser {
            id: UserId(user),
            email: row.get("email")?,
            name: row.get("name")?,
            role: role(&row.get::<_, String>("role")?)?,
            password: row.get("password")?,
            totp: totp.map(|sealed| self.database.opened(&totp_label(&user), sealed)).transpose()?,
            totp_step: number(row, "totp_step")?,
            territories,
        })
    }
}

impl PeopleRead for Tx<'_> {
    fn setting(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        self.one("SELECT value FROM setting WHERE name = ?1", params![name], |row| {
            self.database.opened(&format!("setting/{name}"), Zeroizing::new(row.get("value")?))
        })
    }

    fn user(&self, id: UserId) -> Result<Option<StoredUser>> {
        self.one("SELECT * FROM \"user\" WHERE id = ?1", params![blob(&id.0)], |row| self.read_user(row))
    }

    fn user_by_email(&self, email: &str) -> Result<Option<StoredUser>> {
        self.one("SELECT * FROM \"user\" WHERE email = ?1", params![email], |row| self.read_user(row))
    }

    fn users(&self) -> Result<Vec<StoredUser>> {
        self.all("SELECT * FROM \"user\" ORDER BY name, id", params![], |row| self.read_user(row))
    }

    fn session(&self, token: &[u8; 32]) -> Result<Option<StoredSession>> {
        self.one("SELECT * FROM session WHERE token = ?1", params![token.as_slice()], |row| {
            Ok(StoredSession {
                token: bytes(row, "token")?,
                user: UserId(id(row, "user")?),
                csrf: row.get("csrf")?,
                created_ms: row.get("created_ms")?,
                seen_ms: row.get("seen_ms")?,
            })
        })
    }

    fn failures_since(&self, account: &str, since_ms: i64) -> Result<(u32, Option<i64>)> {
        let found = self.one(
            "SELECT count(*) AS n, min(at_ms) AS first FROM failure WHERE account = ?1 AND at_ms > ?2",
            params![account, since_ms],
            |row| Ok((row.get("n")?, row.get("first")?)),
        )?;
        Ok(found.unwrap_or((0, None)))
    }

    fn admin_acts(&self, limit: usize) -> Result<Vec<AdminAct>> {
        self.all("SELECT * FROM admin_log ORDER BY seq DESC LIMIT ?1", params![limit as i64], |row| {
            Ok(AdminAct {
                at_ms: row.get("at_ms")?,
                actor: UserId(id(row, "actor")?),
                action: row.get("action")?,
                object: row.get("object")?,
            })
        })
    }
}

impl PeopleWrite for Tx<'_> {
    fn set_setting(&mut self, name: &str, value: &[u8]) -> Result<()> {
        self.run(
            "INSERT INTO setting (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            params![name, &*self.database.sealed(&format!("setting/{name}"), value)?],
        )?;
        Ok(())
    }

    fn add_user(&mut self, user: &StoredUser, at_ms: i64) -> Result<()> {
        let totp = user
            .totp
            .as_ref()
            .map(|secret| self.database.sealed(&totp_label(&user.id.0), secret))
            .transpose()?;
        self.run(
            "INSERT INTO \"user\" (id, email, name, role, password, totp, totp_step, created_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                blob(&user.id.0),
                user.email,
                user.name,
                role_name(user.role),
                user.password,
                totp.as_ref().map(|sealed| sealed.as_slice()),
                user.totp_step as i64,
                at_ms
            ],
        )?;
        self.set_territories(user.id, &user.territories)
    }

    fn set_territories(&mut self, user: UserId, codes: &[String]) -> Result<()> {
        self.notice(Notice::User(user));
        self.run("DELETE FROM user_territory WHERE \"user\" = ?1", params![blob(&user.0)])?;
        for code in codes {
            self.run(
                "INSERT INTO user_territory (\"user\", code) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                params![blob(&user.0), code],
            )?;
        }
        Ok(())
    }

    fn set_totp(&mut self, user: UserId, secret: &[u8]) -> Result<()> {
        let sealed = self.database.sealed(&totp_label(&user.0), secret)?;
        self.run(
            "UPDATE \"user\" SET totp = ?2, totp_step = 0 WHERE id = ?1",
            params![blob(&user.0), sealed.as_slice()],
        )?;
        Ok(())
    }

    fn spend_totp_step(&mut self, user: UserId, step: u64) -> Result<bool> {
        let spent = self.run(
            "UPDATE \"user\" SET totp_step = ?2 WHERE id = ?1 AND totp_step < ?2",
            params![blob(&user.0), step as i64],
        )?;
        Ok(spent == 1)
    }

    fn add_session(&mut self, session: &StoredSession) -> Result<()> {
        self.run(
            "INSERT INTO session (token, \"user\", csrf, created_ms, seen_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                session.token.as_slice(),
                blob(&session.user.0),
                session.csrf,
                session.created_ms,
                session.seen_ms
            ],
        )?;
        Ok(())
    }

    fn touch_session(&mut self, token: &[u8; 32], at_ms: i64) -> Result<()> {
        self.run("UPDATE session SET seen_ms = ?2 WHERE token = ?1", params![token.as_slice(), at_ms])?;
        Ok(())
    }

    fn remove_session(&mut self, token: &[u8; 32]) -> Result<()> {
        self.run("DELETE FROM session WHERE token = ?1", params![token.as_slice()])?;
        Ok(())
    }

    fn add_failure(&mut self, account: &str, at_ms: i64, forget_before_ms: i64) -> Result<()> {
        self.run("DELETE FROM failure WHERE at_ms < ?1", params![forget_before_ms])?;
        self.run("INSERT INTO failure (account, at_ms) VALUES (?1, ?2)", params![account, at_ms])?;
        Ok(())
    }

    fn clear_failures(&mut self, account: &str) -> Result<()> {
        self.run("DELETE FROM failure WHERE account = ?1", params![account])?;
        Ok(())
    }

    fn add_admin_act(&mut self, act: &AdminAct) -> Result<()> {
        self.run(
            "INSERT INTO admin_log (at_ms, actor, action, object) VALUES (?1, ?2, ?3, ?4)",
            params![act.at_ms, blob(&act.actor.0), act.action, act.object],
        )?;
        Ok(())
    }
}
