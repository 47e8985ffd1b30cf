//! A transaction on PostgreSQL.

use super::dialect;
use super::pool::{Conn, Loan};
use super::seal::Sealer;
use crate::storage::sql::{Cell, Cells, Database, Param, Row};
use crate::storage::{Notice, Result, StorageError};
use bytes::BytesMut;
use std::borrow::Cow;
use std::cell::Cell as Flag;
use std::error::Error;
use std::sync::MutexGuard;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use zeroize::Zeroizing;

/// A connection on loan.
pub(super) enum Lease<'a> {
    Writer(MutexGuard<'a, Option<Conn>>),
    Reader(Box<Loan<'a>>),
}

/// A transaction; rolled back when dropped, unless it was committed.
pub(super) struct Transaction<'a> {
    lease: Lease<'a>,
    sealer: &'a Sealer,
    channel: &'a str,
    open: bool,
    // PostgreSQL answers the commit of a transaction that has failed with a rollback, and no error.
    failed: Flag<bool>,
}

impl<'a> Transaction<'a> {
    pub(super) fn new(lease: Lease<'a>, sealer: &'a Sealer, channel: &'a str) -> Self {
        Self { lease, sealer, channel, open: true, failed: Flag::new(false) }
    }

    fn conn(&self) -> Result<&Conn> {
        match &self.lease {
            Lease::Writer(conn) => {
                conn.as_ref().ok_or_else(|| StorageError::Unreachable("the connection was lost".into()))
            }
            Lease::Reader(loan) => loan.get(),
        }
    }

    fn noted<T>(&self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            self.failed.set(true);
        }
        result
    }
}

impl Database for Transaction<'_> {
    fn run(&self, sql: &str, params: &[Param<'_>]) -> Result<usize> {
        self.noted(self.conn()?.execute(sql, params))
    }

    fn each(
        &self,
        sql: &str,
        params: &[Param<'_>],
        read: &mut dyn FnMut(&Row<'_>) -> Result<bool>,
    ) -> Result<()> {
        let rows = self.noted(self.conn()?.query(sql, params))?;
        for row in &rows {
            if !read(&Row(row))? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn search_clause(&self) -> &'static str {
        "AND n IN (SELECT n FROM record_search WHERE terms @@ CAST(CAST(?4 AS TEXT) AS TSQUERY))"
    }

    fn search_query(&self, query: &str) -> String {
        dialect::tsquery(query)
    }

    fn search_rows(&self) -> (&'static str, &'static str) {
        ("record_search", "n")
    }

    // It has programs of its own for that, and a role of the server's may not call them.
    fn faults(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn index_terms(&self, n: i64, terms: &str) -> Result<()> {
        let n = Param::Int(n);
        if terms.is_empty() {
            self.run("DELETE FROM record_search WHERE n = ?1", &[n])?;
        } else {
            self.run(
                "INSERT INTO record_search (n, terms) VALUES (?1, CAST(CAST(?2 AS TEXT) AS TSVECTOR))
                 ON CONFLICT (n) DO UPDATE SET terms = excluded.terms",
                &[n, Param::Text(Cow::Owned(dialect::tsvector(terms)))],
            )?;
        }
        Ok(())
    }

    fn sealed(&self, label: &str, secret: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        self.sealer.seal(label, secret).map(Zeroizing::new)
    }

    fn opened(&self, label: &str, stored: Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>> {
        self.sealer.open(label, &stored)
    }

    fn commit(mut self: Box<Self>, notices: Vec<Notice>) -> Result<()> {
        if self.failed.get() {
            return Err(StorageError::Database("a statement of the transaction has failed".into()));
        }
        #[cfg(feature = "simulation")]
        crate::simulation::before_commit()?;
        // Delivered by the database when, and only if, the commit holds.
        for notice in notices {
            let (channel, notice) = (self.channel, notice.to_text());
            let params = [Param::Text(Cow::Borrowed(channel)), Param::Text(Cow::Owned(notice))];
            self.each("SELECT pg_notify(?1, ?2)", &params, &mut |_| Ok(false))?;
        }
        self.conn()?.batch("COMMIT")?;
        self.open = false;
        Ok(())
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        // A connection that was lost has rolled back by itself.
        if self.open
            && let Ok(conn) = self.conn()
            && !conn.is_lost()
            && let Err(error) = conn.batch("ROLLBACK")
        {
            tracing::error!(%error, "a transaction was not rolled back");
        }
        if let Lease::Writer(conn) = &mut self.lease
            && conn.as_ref().is_some_and(Conn::is_lost)
        {
            **conn = None;
        }
    }
}

impl Cells for tokio_postgres::Row {
    fn cell(&self, column: &str) -> Result<Cell<'_>> {
        self.try_get::<_, Value<'_>>(column)
            .map(|value| value.0)
            .map_err(|error| StorageError::Database(Box::new(error)))
    }
}

/// A value as PostgreSQL sends it.
struct Value<'a>(Cell<'a>);

type Mapped<T> = std::result::Result<T, Box<dyn Error + Sync + Send>>;

impl<'a> FromSql<'a> for Value<'a> {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Mapped<Self> {
        Ok(Self(match *kind {
            Type::INT8 => Cell::Int(i64::from_sql(kind, raw)?),
            Type::INT4 => Cell::Int(i32::from_sql(kind, raw)?.into()),
            Type::BOOL => Cell::Int(bool::from_sql(kind, raw)?.into()),
            Type::BYTEA => Cell::Blob(<&[u8]>::from_sql(kind, raw)?),
            Type::JSON => Cell::Text(dialect::json_from_database(std::str::from_utf8(raw)?)),
            _ => Cell::Text(dialect::text_from_database(<&str>::from_sql(kind, raw)?)),
        }))
    }

    fn from_sql_null(_kind: &Type) -> Mapped<Self> {
        Ok(Self(Cell::Null))
    }

    fn accepts(kind: &Type) -> bool {
        matches!(
            *kind,
            Type::INT8 | Type::INT4 | Type::BOOL | Type::BYTEA | Type::JSON | Type::TEXT | Type::VARCHAR
        )
    }
}

impl ToSql for Param<'_> {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Mapped<IsNull> {
        match (self, kind) {
            (Self::Null, _) => Ok(IsNull::Yes),
            (Self::Int(value), &Type::INT8) => value.to_sql(kind, out),
            (Self::Int(value), &Type::INT4) => i32::try_from(*value)?.to_sql(kind, out),
            (Self::Int(value), &Type::BOOL) => (*value != 0).to_sql(kind, out),
            (Self::Text(text), &Type::JSON) => {
                out.extend_from_slice(dialect::json_to_database(text).as_bytes());
                Ok(IsNull::No)
            }
            (Self::Text(text), &Type::TEXT | &Type::VARCHAR) => {
                dialect::text_to_database(text).as_ref().to_sql(kind, out)
            }
            (Self::Blob(bytes), &Type::BYTEA) => bytes.to_sql(kind, out),
            _ => Err("a parameter has another type".into()),
        }
    }

    fn accepts(_kind: &Type) -> bool {
        true
    }

    to_sql_checked!();
}
