//! The server's databases where they are not files: one of PostgreSQL for each seed, made from that of the template.

use roundsman_server::Database as Address;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A database on a PostgreSQL, which goes when this is dropped.
pub(super) struct Database {
    /// Any other database on the same server.
    base: &'static str,
    name: String,
}

impl Database {
    /// An empty one.
    pub(super) fn empty(base: &'static str) -> Self {
        Self::made(base, "")
    }

    /// One that holds what this one does, to which nobody is connected any more.
    pub(super) fn copy(&self) -> Self {
        Self::made(self.base, &format!("TEMPLATE {}", self.name))
    }

    fn made(base: &'static str, of: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("roundsman_sim_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        assert!(run(base, &format!("CREATE DATABASE {name} {of}")), "no database can be made at {base}");
        Self { base, name }
    }

    /// Where a server finds it.
    pub(super) fn address(&self) -> Address {
        let (server, _) = self.base.rsplit_once('/').unwrap_or((self.base, ""));
        Address { url: format!("{server}/{}", self.name).as_str().into(), ca: None }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // One that stays is in nobody's way.
        let _dropped = run(self.base, &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
    }
}

fn run(url: &str, sql: &str) -> bool {
    let ran = Command::new("psql").args(["--no-psqlrc", "--quiet", "--command", sql, url]).status();
    ran.is_ok_and(|status| status.success())
}
