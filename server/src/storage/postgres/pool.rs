//! Connections, and those that are lent to readers.

use super::dialect;
use super::link::Link;
use crate::storage::sql::Param;
use crate::storage::{Result, StorageError};
use futures_executor::block_on;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement};

/// The most connections that read at a time.
const READERS: usize = 16;

/// How long to wait for one of them.
const WAIT: Duration = Duration::from_secs(10);

/// How many statements a connection keeps prepared.
const STATEMENTS: usize = 256;

/// A connection. Its calls block, on any thread: what drives it runs elsewhere.
pub(super) struct Conn {
    client: Client,
    statements: RefCell<HashMap<String, Statement>>,
    lost: Cell<bool>,
}

impl Conn {
    pub(super) fn new(client: Client) -> Self {
        Self { client, statements: RefCell::default(), lost: Cell::new(false) }
    }

    /// Whether it is known to have ended.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Whether a call has failed because it had ended.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.get() || self.client.is_closed()
    }

    fn error(&self, error: tokio_postgres::Error) -> StorageError {
        let ended = [
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
        ];
        let broken = error.source().is_some_and(|source| source.is::<io::Error>());
        let told = error.code().is_some_and(|code| ended.contains(code));
        if broken || told || error.is_closed() || self.client.is_closed() {
            self.lost.set(true);
            return StorageError::Unreachable(Box::new(error));
        }
        StorageError::Database(Box::new(error))
    }

    /// Runs statements without parameters.
    pub(super) fn batch(&self, sql: &str) -> Result<()> {
        block_on(self.client.batch_execute(sql)).map_err(|error| self.error(error))
    }

    /// Runs a statement that changes rows, and says how many.
    pub(super) fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<usize> {
        let statement = self.statement(sql)?;
        let changed = block_on(self.client.execute(&statement, &lent(params)));
        Ok(changed.map_err(|error| self.error(error))? as usize)
    }

    /// Reads every row.
    pub(super) fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>> {
        let statement = self.statement(sql)?;
        block_on(self.client.query(&statement, &lent(params))).map_err(|error| self.error(error))
    }

    fn statement(&self, sql: &str) -> Result<Statement> {
        if let Some(known) = self.statements.borrow().get(sql) {
            return Ok(known.clone());
        }
        let translated = dialect::translate(sql);
        let prepared = block_on(self.client.prepare(&translated)).map_err(|error| self.error(error))?;
        let mut statements = self.statements.borrow_mut();
        if statements.len() >= STATEMENTS {
            statements.clear();
        }
        statements.insert(sql.to_owned(), prepared.clone());
        Ok(prepared)
    }
}

fn lent<'a>(params: &'a [Param<'a>]) -> Vec<&'a (dyn ToSql + Sync)> {
    params.iter().map(|param| param as &(dyn ToSql + Sync)).collect()
}

/// Lends connections to readers.
pub(super) struct Pool {
    link: Arc<Link>,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Conn>,
    lent: usize,
}

impl Pool {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self { link, state: Mutex::default(), returned: Condvar::new() }
    }

    /// A connection that no transaction is open on.
    pub(super) fn take(&self) -> Result<Loan<'_>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut state, waited) = self
            .returned
            .wait_timeout_while(state, WAIT, |state| state.lent >= READERS)
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return Err(StorageError::Database("every connection is in use".into()));
        }
        state.lent += 1;
        let mut loan = Loan { pool: self, conn: None };
        while let Some(conn) = state.idle.pop() {
            if !conn.is_closed() {
                loan.conn = Some(conn);
                break;
            }
        }
        drop(state);
        if loan.conn.is_none() {
            loan.conn = Some(self.link.connect()?);
        }
        Ok(loan)
    }

    /// A connection on which this statement has begun a transaction. One that was lost while it was idle is replaced.
    pub(super) fn begin(&self, begin: &str) -> Result<Loan<'_>> {
        let mut loan = self.take()?;
        let begun = loan.get()?.batch(begin);
        if begun.is_err() && loan.get()?.is_lost() {
            loan.conn = None;
            loan.conn = Some(self.link.connect()?);
            loan.get()?.batch(begin)?;
            return Ok(loan);
        }
        begun?;
        Ok(loan)
    }
}

/// A connection on loan; given back when dropped, unless it was lost.
pub(super) struct Loan<'a> {
    pool: &'a Pool,
    conn: Option<Conn>,
}

impl Loan<'_> {
    pub(super) fn get(&self) -> Result<&Conn> {
        self.conn.as_ref().ok_or_else(|| StorageError::Unreachable("the connection was lost".into()))
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.lent -= 1;
        if let Some(conn) = self.conn.take().filter(|conn| !conn.is_lost()) {
            state.idle.push(conn);
        }
        drop(state);
        self.pool.returned.notify_one();
    }
}
