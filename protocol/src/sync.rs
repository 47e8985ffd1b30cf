//! `POST /v1/sync`: one request carries everything up, one streamed answer everything down.
//!
//! Both bodies are newline-delimited JSON, compressed with gzip. The request is one [`Head`] line and a line for
//! each [`Mutation`], in the order of their numbers. The answer is one [`Frame`] a line: [`Frame::Device`],
//! a [`Frame::Result`] for each mutation, [`Frame::Buckets`], a [`Frame::Page`] for every few hundred changes,
//! and [`Frame::End`] last. A page is complete in itself, rows and cursor: a client that stores each page in one
//! transaction can stop at any byte and go on from there.

use crate::api::{Checkin, CheckinAnswer};
use chrono::{DateTime, Utc};
use roundsman_model::merge::Conflict;
use roundsman_model::{Bucket, DeviceSeq, Fields, Rev, RuleError, Seq, Stamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// The most changes in one page.
pub const PAGE_CHANGES: usize = 500;

/// The most mutations in one request.
pub const MAX_MUTATIONS: usize = 500;

/// The most bytes of one line, uncompressed.
pub const MAX_LINE: usize = 4 * 1024 * 1024;

/// The first line of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// How far the client has read each bucket.
    pub cursors: BTreeMap<Bucket, Seq>,
    /// The device's report.
    pub device: Checkin,
}

/// What a mutation does to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Creates it, or changes the fields that are given.
    Put,
    /// Removes it.
    Delete,
}

/// One change made on the device.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Mutation {
    /// Its number on the device; gap-free.
    pub seq: DeviceSeq,
    /// Its own id.
    pub id: Uuid,
    /// The entity.
    pub entity: String,
    /// The record.
    pub record: Uuid,
    /// What is done.
    pub change: Change,
    /// The record's version it was based on; 0 if the server had not seen it.
    pub base: Rev,
    /// When it was made.
    pub stamp: Stamp,
    /// The fields that changed.
    #[serde(default, skip_serializing_if = "Fields::is_empty")]
    pub fields: Fields,
}

/// Values stay out of logs.
impl std::fmt::Debug for Mutation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mutation")
            .field("seq", &self.seq)
            .field("entity", &self.entity)
            .field("record", &self.record)
            .field("fields", &self.fields.keys())
            .finish_non_exhaustive()
    }
}

/// What became of a mutation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is part of the record.
    Applied {
        /// The record's version now.
        rev: Rev,
        /// What lost in a collision.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        conflicts: Vec<Conflict>,
    },
    /// It was refused; the rep's version is kept on the device.
    Rejected {
        /// Why.
        reason: RuleError,
    },
}

/// The outcome of one mutation. A repeat of the mutation gets the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MutationResult {
    /// The mutation's number.
    pub seq: DeviceSeq,
    /// What became of it.
    pub outcome: Outcome,
}

/// A record as the server has it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The entity.
    pub entity: String,
    /// The record.
    pub id: Uuid,
    /// Its version; the version of its removal if `fields` is missing.
    pub rev: Rev,
    /// All its fields, or nothing if it was removed from this bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fields: Option<Fields>,
}

/// Values stay out of logs.
impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Row")
            .field("entity", &self.entity)
            .field("id", &self.id)
            .field("rev", &self.rev)
            .finish_non_exhaustive()
    }
}

/// A run of one bucket's change log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// The bucket.
    pub bucket: Bucket,
    /// The rows that changed, each once, in its present state.
    pub rows: Vec<Row>,
    /// How far the log is read once this page is stored.
    pub cursor: Seq,
    /// How far the log reached when the answer began: for showing progress.
    pub head: Seq,
}

/// One line of the answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Frame {
    /// Commands and receipts.
    Device(CheckinAnswer),
    /// The outcome of a mutation.
    Result(MutationResult),
    /// The buckets this user has now. Rows of any other leave the device.
    Buckets(Vec<Bucket>),
    /// Changes.
    Page(Page),
    /// Everything was sent. An answer without it was cut.
    End {
        /// The server's time.
        server_time: DateTime<Utc>,
    },
}
