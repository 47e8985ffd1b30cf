//! A value that lost in a collision of two edits, until somebody has decided about it.
//!
//! The server makes one for each [`Conflict`](crate::merge::Conflict) and keeps it in the bucket of its record, so it
//! reaches every phone that holds the record and leaves with it. Who settles it anywhere settles it for all.

use crate::Class::{Internal, Personal};
use crate::entity::entity;
use crate::{Merge, Scope, Value, field};
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// The most bytes of a value in it: longer than the longest text of any field, as JSON.
const MAX_JSON: usize = 64 * 1024;

entity! {
    /// A value that lost, and the one that stands in its place.
    Collision in "collision", scope Scope::Record, rule |_, _| Ok(());

    /// The entity of the record.
    entity: String = field(Internal, Merge::Immutable).max(64);
    /// The record.
    record: Uuid = field(Internal, Merge::Immutable).indexed();
    /// The field.
    field: String = field(Internal, Merge::Immutable).max(64);
    /// The value that stood when it was found, as JSON; the field may have changed since.
    kept: String = field(Personal, Merge::Immutable).max(MAX_JSON);
    /// The value that lost, as JSON.
    lost: String = field(Personal, Merge::Immutable).max(MAX_JSON);
    /// The name of the rule that decided.
    rule: String = field(Internal, Merge::Immutable).max(64);
    /// The user whose value lost; none for the server's own.
    loser: Option<Uuid> = field(Internal, Merge::Immutable);
    /// The user whose value stands; none for the server's own.
    winner: Option<Uuid> = field(Internal, Merge::Immutable);
    /// When the server found it.
    found_at: DateTime<Utc> = field(Internal, Merge::Immutable);
}

/// A value as it stands in a collision.
pub fn to_json(value: &Value) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

/// The value that stands in a collision; nothing if a newer version wrote it in a form of its own.
pub fn from_json(json: &str) -> Option<Value> {
    serde_json::from_str(json).ok().filter(|value| *value != Value::Other {})
}
