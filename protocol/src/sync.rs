//! `POST /v1/sync`: one request carries everything up, one streamed answer everything down.
//!
//! Both bodies are newline-delimited JSON, compressed with gzip. The request is one [`Head`] line and a line for
//! each [`Mutation`], in the order of their numbers. The answer is one [`Frame`] a line: [`Frame::Device`],
//! [`Frame::Own`] if the client asked for it, a [`Frame::Result`] for each mutation, [`Frame::Buckets`], a [`Frame::Page`] for every few hundred changes,
//! a [`Frame::Checkpoint`] for each bucket and [`Frame::End`] last. A page is complete in itself, rows and cursor: a client that stores each page in one
//! transaction can stop at any byte and go on from there.

use crate::api::{Checkin, CheckinAnswer};
use crate::integrity::{Checkpoint, Difference};
use chrono::{DateTime, Utc};
use roundsman_model::merge::Conflict;
use roundsman_model::{Bucket, DeviceSeq, Fields, Rev, RuleError, Seq, Stamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// The most changes in one page.
pub const PAGE_CHANGES: usize = 500;

/// The most mutations in one request. A server may take fewer, and answers [`TooLarge`](crate::ErrorCode::TooLarge) then.
pub const MAX_MUTATIONS: usize = 1_000;

/// The most bytes of one line, uncompressed.
pub const MAX_LINE: usize = 4 * 1024 * 1024;

/// The first line of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// How far the client has read each bucket.
    pub cursors: BTreeMap<Bucket, Seq>,
    /// The device's report.
    pub device: Checkin,
    /// Buckets that did not hold what they should, and are read anew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
    /// The [`declarations`](crate::integrity::declarations) of a client that makes rows of its own changes from their
    /// results: a server of the same ones answers with [`Frame::Own`], and spares the pages with those rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<String>,
}

/// What a mutation does to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Creates it, or changes the fields that are given.
    Put,
    /// Removes it.
    Delete,
    /// Brings back one that was removed, as it was.
    Restore,
    /// Something that only a newer version knows.
    #[serde(other)]
    Other,
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
    /// What the author saw in those of them whose rule counts the difference.
    #[serde(default, skip_serializing_if = "Fields::is_empty")]
    pub was: Fields,
    /// The collisions of this record that it settles, if it is taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settles: Vec<Uuid>,
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

/// What the mutations of a request have led to besides their results.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Own {
    /// Buckets of which the client had everything before its mutations, and has everything after them, once their results
    /// are stored: how far it has read them then.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cursors: BTreeMap<Bucket, Seq>,
    /// By the numbers of mutations that were taken: fields that have another value in the record than the mutation laid
    /// over the version before it gives, null for those without one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<DeviceSeq, Fields>,
    /// Mutations that were answered before: `cursors` says nothing of the rows that they made.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub repeats: BTreeSet<DeviceSeq>,
}

/// Values stay out of logs.
impl std::fmt::Debug for Own {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Own").field("cursors", &self.cursors).finish_non_exhaustive()
    }
}

/// The frames that this version reads.
const FRAMES: [&str; 7] = ["device", "own", "result", "buckets", "page", "checkpoint", "end"];

/// One line of the answer, with a page as it is read.
pub type Frame = Line<Page>;

/// One line of the answer. A page may be read and written in a form of one's own: it is what an answer is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line<P> {
    /// Commands and receipts.
    Device(CheckinAnswer),
    /// What the mutations have led to besides. Only to a client that asked by [`Head::own`].
    Own(Own),
    /// The outcome of a mutation.
    Result(MutationResult),
    /// The buckets this user has now. Rows of any other leave the device.
    Buckets(Vec<Bucket>),
    /// Changes.
    Page(P),
    /// What a bucket holds, once all of its pages were sent.
    Checkpoint(Checkpoint),
    /// Everything was sent. An answer without it was cut.
    End {
        /// The server's time.
        server_time: DateTime<Utc>,
    },
}

impl<'l, P: Deserialize<'l>> Line<P> {
    /// Reads a line of an answer; nothing if it is a frame of a sort that only a newer version knows, which is passed
    /// over.
    ///
    /// # Errors
    /// It is no frame, or one of a sort that is known and can't be read.
    pub fn read(line: &'l [u8]) -> serde_json::Result<Option<Self>> {
        // Looked at as a whole, a line is soon known to be text; its strings one by one are not.
        let read = str::from_utf8(line).map_or_else(|_| serde_json::from_slice(line), serde_json::from_str);
        read.map(Some).or_else(|error| {
            let sorts: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(line)?;
            let known = sorts.keys().any(|sort| FRAMES.contains(&sort.as_str()));
            if sorts.len() == 1 && !known { Ok(None) } else { Err(error) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_of_a_newer_version_is_passed_over_and_a_broken_one_is_not() {
        let read = |line: &str| Frame::read(line.as_bytes()).map_err(|_| ());
        assert_eq!(read(r#"{"weather":{"rain":true}}"#), Ok(None));
        assert_eq!(read(r#"{"buckets":["a"],"more":1}"#), Err(()));
        for broken in [r#"{"page":{"bucket":"a"}}"#, "{}", "7", "", "{\"end\"", r#"{"a":1,"b":2}"#] {
            assert_eq!(read(broken), Err(()), "{broken}");
        }
        // A field more in a frame that is known is no harm.
        let line = r#"{"end":{"server_time":"2027-01-15T08:00:00Z","load":3}}"#;
        assert!(matches!(read(line), Ok(Some(Frame::End { .. }))));
    }

    #[test]
    fn a_reason_of_a_newer_version_is_still_a_refusal() {
        let line = r#"{"result":{"seq":4,"outcome":{"rejected":{"reason":{"rule":"too_late","by":"2 h"}}}}}"#;
        let Ok(Some(Frame::Result(result))) = Frame::read(line.as_bytes()) else { unreachable!("a result") };
        assert_eq!(result.outcome, Outcome::Rejected { reason: RuleError::Other });
    }

    #[test]
    fn a_value_of_a_newer_version_stops_no_answer() {
        let other = r#"{"rain":[1,{"mm":2}]}"#;
        for line in [
            format!(r#"{{"own":{{"fields":{{"4":{{"name":"Oak","weather":{other}}}}}}}}}"#),
            format!(
                r#"{{"result":{{"seq":4,"outcome":{{"applied":{{"rev":2,"conflicts":[{{"field":"name","kept":{other},
                "lost":[7],"rule":"latest","lost_is_mine":true}}]}}}}}}}}"#
            ),
            format!(
                r#"{{"page":{{"bucket":"a","cursor":1,"head":1,"rows":[{{"fields":{{"name":"Oak","weather":{other}}},
                "entity":"customer","id":"{}","rev":1}}]}}}}"#,
                Uuid::nil()
            ),
        ] {
            let read = Frame::read(line.as_bytes()).unwrap_or_else(|error| unreachable!("{error}: {line}"));
            assert!(read.is_some(), "{line}");
        }
    }

    #[test]
    fn a_change_of_an_older_version_reads_as_it_was_meant() {
        let id = Uuid::nil();
        let line = format!(
            r#"{{"seq":1,"id":"{id}","entity":"customer","record":"{id}","change":"put","base":1,"stamp":9}}"#
        );
        let change: Mutation = serde_json::from_str(&line).unwrap_or_else(|error| unreachable!("{error}"));
        assert!(change.was.is_empty() && change.settles.is_empty());
        let again = serde_json::to_string(&change).unwrap_or_default();
        assert_eq!(again, line, "and an older server reads a newer version's");
    }
}
