//! Field-level merge: two people edit one record, and nothing either of them typed is lost.
//!
//! A mutation carries the fields it changed and the version it was based on. A field *collides* when somebody
//! else has changed it since that version, to another value. A collision is settled by the field's declared
//! [`Merge`] rule; the value that lost is returned as a [`Conflict`] and kept.

use crate::{DeviceId, EntityDef, Fields, Rev, RuleError, Stamp, Value};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a collision of two edits is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Merge {
    /// The value on the server stays.
    Server,
    /// The later edit by hybrid logical clock stays; on a tie the server's.
    Latest,
    /// The greater number stays.
    Max,
    /// Both texts stay, the newcomer's on a line of its own below.
    Append,
    /// The first value stays for ever; changing it is an error.
    Immutable,
}

/// Who changed a field last, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The row's version that brought the value.
    pub rev: Rev,
    /// When the edit was made.
    pub stamp: Stamp,
    /// The device it was made on; `None` for the server's own.
    pub device: Option<DeviceId>,
}

/// The marks of a row's fields, by name.
pub type Marks = BTreeMap<String, Mark>;

/// One side of a collision that did not become the field's value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conflict {
    /// The field.
    pub field: String,
    /// The value that stands now.
    pub kept: Value,
    /// The value that lost.
    pub lost: Value,
    /// The rule that decided.
    pub rule: Merge,
    /// Whether the value that lost is the one the mutation brought.
    pub lost_is_mine: bool,
}

/// An edit to merge into a row.
#[derive(Clone, Copy, Debug)]
pub struct Edit<'a> {
    /// The fields it changed.
    pub fields: &'a Fields,
    /// The row's version its author saw.
    pub base: Rev,
    /// When it was made.
    pub stamp: Stamp,
    /// The device it was made on; `None` for the server's own.
    pub device: Option<DeviceId>,
}

/// What a merge leads to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Merged {
    /// The fields of the row that get a new value.
    pub changes: Fields,
    /// What lost.
    pub conflicts: Vec<Conflict>,
}

/// Merges an edit into a row.
///
/// A device's own earlier edits never collide with its later ones: it made them in that order.
///
/// # Errors
/// [`RuleError::Immutable`] if it changes a field that is set for ever.
pub fn merge(def: &EntityDef, row: &Fields, marks: &Marks, edit: Edit<'_>) -> Result<Merged, RuleError> {
    let mut merged = Merged::default();
    for (name, mine) in edit.fields {
        let Some(field) = def.field(name) else {
            return Err(RuleError::UnknownField { field: name.clone() });
        };
        let theirs = row.get(name).unwrap_or(&Value::Null);
        if theirs == mine {
            continue;
        }
        if field.merge == Merge::Immutable && !theirs.is_null() {
            return Err(RuleError::Immutable { field: name.clone() });
        }
        let collides = marks.get(name).is_some_and(|mark| {
            mark.rev > edit.base && (mark.device.is_none() || mark.device != edit.device)
        });
        if !collides {
            merged.changes.insert(name.clone(), mine.clone());
            continue;
        }
        let their_stamp = marks.get(name).map(|mark| mark.stamp).unwrap_or_default();
        let kept = settle(field.merge, theirs, their_stamp, mine, edit.stamp);
        // Both texts stand after an append: no value is left over to keep.
        if field.merge != Merge::Append || (kept == *theirs || kept == *mine) {
            let lost_is_mine = kept != *mine;
            merged.conflicts.push(Conflict {
                field: name.clone(),
                kept: kept.clone(),
                lost: if lost_is_mine { mine.clone() } else { theirs.clone() },
                rule: field.merge,
                lost_is_mine,
            });
        }
        if kept != *theirs {
            merged.changes.insert(name.clone(), kept);
        }
    }
    Ok(merged)
}

fn settle(rule: Merge, theirs: &Value, their_stamp: Stamp, mine: &Value, my_stamp: Stamp) -> Value {
    let mine_wins = match rule {
        Merge::Server | Merge::Immutable => false,
        Merge::Latest => my_stamp > their_stamp,
        Merge::Max => match (mine.as_real(), theirs.as_real()) {
            (Some(mine), Some(theirs)) => mine > theirs,
            (mine, _) => mine.is_some(),
        },
        Merge::Append => match (theirs, mine) {
            (Value::Text(theirs), Value::Text(mine)) => {
                return Value::Text(if theirs.contains(mine.as_str()) {
                    theirs.clone()
                } else if mine.contains(theirs.as_str()) {
                    mine.clone()
                } else {
                    format!("{theirs}\n{mine}")
                });
            }
            (theirs, _) => theirs.is_null(),
        },
    };
    if mine_wins { mine.clone() } else { theirs.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Class, Scope, field};
    use proptest::prelude::*;
    use uuid::Uuid;

    const DEF: EntityDef = EntityDef {
        name: "probe",
        fields: &[
            field(Class::Public, Merge::Server).named("server", crate::Kind::Text, false),
            field(Class::Public, Merge::Latest).named("latest", crate::Kind::Text, false),
            field(Class::Public, Merge::Max).named("max", crate::Kind::Int, false),
            field(Class::Public, Merge::Append).named("append", crate::Kind::Text, false),
            field(Class::Public, Merge::Immutable).named("immutable", crate::Kind::Text, false),
        ],
        scope: Scope::Territory("server"),
        rule: |_, _| Ok(()),
    };

    fn one(name: &str, value: Value) -> Fields {
        Fields::from([(name.to_owned(), value)])
    }

    fn device(n: u128) -> Option<DeviceId> {
        Some(DeviceId(Uuid::from_u128(n)))
    }

    fn collide(name: &str, theirs: Value, mine: Value, mine_later: bool) -> Result<Merged, RuleError> {
        let marks =
            Marks::from([(name.to_owned(), Mark { rev: Rev(2), stamp: Stamp(50), device: device(1) })]);
        let stamp = Stamp(if mine_later { 60 } else { 40 });
        let mine = one(name, mine);
        merge(
            &DEF,
            &one(name, theirs),
            &marks,
            Edit { fields: &mine, base: Rev(1), stamp, device: device(2) },
        )
    }

    #[test]
    fn edits_of_different_fields_both_stand() {
        let marks =
            Marks::from([("latest".to_owned(), Mark { rev: Rev(2), stamp: Stamp(50), device: device(1) })]);
        let mine = one("server", "mine".into());
        let edit = Edit { fields: &mine, base: Rev(1), stamp: Stamp(1), device: device(2) };
        let merged = merge(&DEF, &one("latest", "theirs".into()), &marks, edit);
        assert_eq!(merged, Ok(Merged { changes: mine.clone(), conflicts: vec![] }));
    }

    #[test]
    fn a_device_never_collides_with_itself() {
        let marks =
            Marks::from([("server".to_owned(), Mark { rev: Rev(9), stamp: Stamp(50), device: device(2) })]);
        let mine = one("server", "second".into());
        let edit = Edit { fields: &mine, base: Rev(0), stamp: Stamp(51), device: device(2) };
        let merged = merge(&DEF, &one("server", "first".into()), &marks, edit);
        assert_eq!(merged, Ok(Merged { changes: mine.clone(), conflicts: vec![] }));
    }

    #[test]
    fn each_rule_settles_as_declared() {
        let kept = |merged: Result<Merged, RuleError>, name: &str| {
            merged.map(|merged| merged.changes.get(name).cloned())
        };
        assert_eq!(kept(collide("server", "a".into(), "b".into(), true), "server"), Ok(None));
        assert_eq!(kept(collide("latest", "a".into(), "b".into(), true), "latest"), Ok(Some("b".into())));
        assert_eq!(kept(collide("latest", "a".into(), "b".into(), false), "latest"), Ok(None));
        assert_eq!(kept(collide("max", Value::Int(3), Value::Int(5), false), "max"), Ok(Some(Value::Int(5))));
        assert_eq!(kept(collide("max", Value::Int(5), Value::Int(3), true), "max"), Ok(None));
        assert_eq!(kept(collide("append", "a".into(), "b".into(), true), "append"), Ok(Some("a\nb".into())));
        assert_eq!(
            collide("immutable", "a".into(), "b".into(), true),
            Err(RuleError::Immutable { field: "immutable".into() })
        );
    }

    proptest! {
        #[test]
        fn no_value_that_was_typed_is_lost(theirs in "[a-z]{1,8}", mine in "[a-z]{1,8}", later: bool, rule in 0usize..4) {
            let name = DEF.fields[rule].name;
            prop_assume!(name != "max");
            let merged = collide(name, theirs.as_str().into(), mine.as_str().into(), later);
            let merged = merged.map_err(|error| TestCaseError::fail(error.to_string()))?;
            let now = merged.changes.get(name).cloned().unwrap_or_else(|| theirs.as_str().into());
            for typed in [&theirs, &mine] {
                let stands = now.as_text().is_some_and(|now| now.contains(typed.as_str()));
                let kept = merged.conflicts.iter().any(|conflict| conflict.lost.as_text() == Some(typed));
                prop_assert!(stands || kept, "{typed} is gone");
            }
        }
    }
}
