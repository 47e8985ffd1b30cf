//! Field-level merge: two people edit one record, and nothing either of them typed is lost.
//!
//! A mutation carries the fields it changed and the version it was based on. A field *collides* when somebody
//! else has changed it since that version, to another value. A collision is settled by the field's declared
//! [`Merge`] rule; the value that lost is returned as a [`Conflict`] and kept.

use crate::{DeviceId, EntityDef, FieldDef, Fields, Rev, RuleError, Stamp, Value};
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
    /// A set: words that were added or taken away are, in whatever order the edits come. A word that somebody added
    /// stays, unless who took it away had seen that.
    Union,
    /// A whole number: the amounts by which it was changed add up.
    Delta,
}

/// Who changed a field last, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The row's version that brought the value.
    pub rev: Rev,
    /// When the edit was made.
    pub stamp: Stamp,
    /// The device it was made on; `None` for the server's own, and for a text that holds what several wrote.
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
    /// What its author saw in fields whose rule counts the difference: [`Merge::Union`] and [`Merge::Delta`].
    pub was: &'a Fields,
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
    /// Marks to set besides those of the changed fields: words that were added to a set, even if they were in it.
    pub added: Vec<String>,
    /// Fields among those that hold what several wrote: nobody's later edit replaces them unseen, not even the author's.
    pub shared: Vec<String>,
    /// Marks to drop: words that were taken out of a set.
    pub taken: Vec<String>,
}

/// The name of a word's mark.
fn word_mark(field: &str, word: &str) -> String {
    format!("{field}/{word}")
}

/// What a field holds once a change from `was` to `mine` is made over `now`; for rules that count the difference.
/// Anything else is replaced. Nothing if a sum is too large to count.
pub fn over(rule: Merge, now: &Value, was: &Value, mine: &Value) -> Option<Value> {
    match rule {
        Merge::Delta => {
            let number = |value: &Value| value.as_int().unwrap_or(0);
            number(mine).checked_sub(number(was))?.checked_add(number(now)).map(Value::Int)
        }
        Merge::Union => {
            let (was, mine) = (was.as_set(), mine.as_set());
            let stay = now.as_set().iter().filter(|word| !was.contains(word) || mine.contains(word));
            Some(Value::set(stay.chain(mine.iter().filter(|word| !was.contains(word))).cloned()))
        }
        _ => Some(mine.clone()),
    }
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
        if matches!(field.merge, Merge::Union | Merge::Delta) {
            count(field, theirs, mine, marks, edit, &mut merged)?;
            continue;
        }
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
        let mut kept = settle(field.merge, theirs, their_stamp, mine, edit.stamp);
        // Two texts that are too long for one field: the row must stay one that can be read.
        if !kept.is_null() && field.admit(kept.clone()).is_err() {
            kept = theirs.clone();
        }
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
            if kept != *mine {
                merged.shared.push(name.clone());
            }
            merged.changes.insert(name.clone(), kept);
        }
    }
    Ok(merged)
}

/// Merges an edit of a field whose rule counts the difference. Nothing collides.
fn count(
    field: &FieldDef,
    theirs: &Value,
    mine: &Value,
    marks: &Marks,
    edit: Edit<'_>,
    merged: &mut Merged,
) -> Result<(), RuleError> {
    let was = edit.was.get(field.name).unwrap_or(&Value::Null);
    let out_of_range = || RuleError::OutOfRange { field: field.name.to_owned() };
    if was == mine {
        return Ok(());
    }
    let mut now = over(field.merge, theirs, was, mine).ok_or_else(out_of_range)?;
    if field.merge == Merge::Union {
        // Whoever takes a word away takes only what was there to be seen.
        let unseen = |word: &String| {
            marks.get(&word_mark(field.name, word)).is_some_and(|mark| {
                mark.rev > edit.base && (mark.device.is_none() || mark.device != edit.device)
            })
        };
        let (was, mine) = (was.as_set(), mine.as_set());
        let gone = was.iter().filter(|word| !mine.contains(word));
        let (stays, goes): (Vec<&String>, Vec<&String>) = gone.partition(|word| unseen(word));
        let stays = stays.into_iter().filter(|word| theirs.as_set().contains(word));
        now = Value::set(now.as_set().iter().chain(stays).cloned());
        if !now.is_null() && field.admit(now.clone()).is_err() {
            // More words than a set holds: the newcomer's are kept beside it.
            merged.conflicts.push(Conflict {
                field: field.name.to_owned(),
                kept: theirs.clone(),
                lost: Value::set(mine.iter().cloned()),
                rule: field.merge,
                lost_is_mine: true,
            });
            return Ok(());
        }
        merged.taken.extend(goes.into_iter().map(|word| word_mark(field.name, word)));
        let added = mine.iter().filter(|word| !was.contains(word));
        merged.added.extend(added.map(|word| word_mark(field.name, word)));
    } else {
        field.admit(now.clone())?;
    }
    if now != *theirs {
        merged.changes.insert(field.name.to_owned(), now);
    }
    Ok(())
}

fn settle(rule: Merge, theirs: &Value, their_stamp: Stamp, mine: &Value, my_stamp: Stamp) -> Value {
    let mine_wins = match rule {
        Merge::Server | Merge::Immutable | Merge::Union | Merge::Delta => false,
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
                    append(theirs, mine)
                });
            }
            (theirs, _) => theirs.is_null(),
        },
    };
    if mine_wins { mine.clone() } else { theirs.clone() }
}

/// A text below another one, without the lines that it begins with and that stand there: its author wrote on, and the
/// first part came with an earlier edit.
fn append(theirs: &str, mine: &str) -> String {
    let (there, lines): (Vec<&str>, Vec<&str>) = (theirs.lines().collect(), mine.lines().collect());
    let known = (1..lines.len()).rev().find(|many| there.windows(*many).any(|part| part == &lines[..*many]));
    let rest = known.map_or_else(|| mine.to_owned(), |many| lines[many..].join("\n"));
    format!("{theirs}\n{rest}")
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
            field(Class::Public, Merge::Union).max(8).named("set", crate::Kind::Set, false),
            field(Class::Public, Merge::Delta).range(-1e6, 1e6).named("sum", crate::Kind::Int, false),
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
            Edit { fields: &mine, was: &Fields::new(), base: Rev(1), stamp, device: device(2) },
        )
    }

    #[test]
    fn edits_of_different_fields_both_stand() {
        let marks =
            Marks::from([("latest".to_owned(), Mark { rev: Rev(2), stamp: Stamp(50), device: device(1) })]);
        let mine = one("server", "mine".into());
        let edit =
            Edit { fields: &mine, was: &Fields::new(), base: Rev(1), stamp: Stamp(1), device: device(2) };
        let merged = merge(&DEF, &one("latest", "theirs".into()), &marks, edit);
        assert_eq!(merged, Ok(Merged { changes: mine.clone(), ..Merged::default() }));
    }

    #[test]
    fn a_device_never_collides_with_itself() {
        let marks =
            Marks::from([("server".to_owned(), Mark { rev: Rev(9), stamp: Stamp(50), device: device(2) })]);
        let mine = one("server", "second".into());
        let edit =
            Edit { fields: &mine, was: &Fields::new(), base: Rev(0), stamp: Stamp(51), device: device(2) };
        let merged = merge(&DEF, &one("server", "first".into()), &marks, edit);
        assert_eq!(merged, Ok(Merged { changes: mine.clone(), ..Merged::default() }));
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

    /// Applies edits in this order, as a server does, each made over the value it saw.
    fn served(
        name: &str,
        start: &Value,
        edits: &[(DeviceId, Rev, Value, Value)],
    ) -> Result<Value, RuleError> {
        let (mut row, mut marks, mut rev) = (one(name, start.clone()), Marks::new(), Rev(1));
        for (device, base, was, mine) in edits {
            let (fields, was) = (one(name, mine.clone()), one(name, was.clone()));
            let device = Some(*device);
            let edit = Edit { fields: &fields, was: &was, base: *base, stamp: Stamp(1), device };
            let merged = merge(&DEF, &row, &marks, edit)?;
            rev = rev.next();
            marks.extend(merged.added.into_iter().map(|mark| (mark, Mark { rev, stamp: Stamp(1), device })));
            for mark in merged.taken {
                marks.remove(&mark);
            }
            row.extend(merged.changes);
        }
        Ok(row.remove(name).unwrap_or(Value::Null))
    }

    fn words(words: &[&str]) -> Value {
        Value::set(words.iter().map(|word| (*word).to_owned()))
    }

    #[test]
    fn a_word_that_was_added_meanwhile_outlives_its_removal_in_either_order() {
        let (a, b) = (DeviceId(Uuid::from_u128(1)), DeviceId(Uuid::from_u128(2)));
        let start = words(&["x", "y"]);
        let takes = (a, Rev(1), words(&["x", "y"]), words(&["y"]));
        // Whose phone had no x yet, and who adds it.
        let adds = (b, Rev(0), words(&[]), words(&["x"]));
        for edits in [[takes.clone(), adds.clone()], [adds, takes.clone()]] {
            assert_eq!(served("set", &start, &edits), Ok(words(&["x", "y"])));
        }
        assert_eq!(served("set", &start, &[takes]), Ok(words(&["y"])));
    }

    #[test]
    fn a_text_that_is_written_on_is_not_there_twice() {
        assert_eq!(append("theirs\nmine", "mine\nmore"), "theirs\nmine\nmore");
        assert_eq!(append("mine\ntheirs", "mine\nmore"), "mine\ntheirs\nmore");
        assert_eq!(append("theirs\nmine", "mine, and more"), "theirs\nmine\nmine, and more");
        assert_eq!(append("theirs", "a\na"), "theirs\na\na");
    }

    #[test]
    fn texts_that_are_too_long_together_leave_a_row_that_can_be_read() {
        let (theirs, mine) = ("t".repeat(150), "m".repeat(150));
        let merged =
            collide("append", theirs.as_str().into(), mine.as_str().into(), true).unwrap_or_default();
        assert!(merged.changes.is_empty(), "201 characters would not be admitted again");
        assert_eq!(
            merged.conflicts.iter().map(|lost| lost.lost.as_text()).collect::<Vec<_>>(),
            [Some(mine.as_str())]
        );
    }

    #[test]
    fn a_sum_that_leaves_its_range_is_refused_and_not_cut() {
        let edit = |by| (DeviceId(Uuid::nil()), Rev(0), Value::Null, Value::Int(by));
        let refused = Err(RuleError::OutOfRange { field: "sum".into() });
        assert_eq!(served("sum", &Value::Int(999_999), &[edit(2)]), refused);
        assert_eq!(served("sum", &Value::Int(i64::MAX), &[edit(i64::MAX)]), refused);
    }

    proptest! {
        #[test]
        fn amounts_add_up_exactly_in_any_order(
            start in -1_000i64..1_000, amounts in prop::collection::vec((-500i64..500, -500i64..500), 0..20), turn in 0usize..20,
        ) {
            let edit = |(n, (was, by)): (usize, &(i64, i64))| {
                (DeviceId(Uuid::from_u128(n as u128)), Rev(0), Value::Int(*was), Value::Int(was + by))
            };
            let mut edits: Vec<_> = amounts.iter().enumerate().map(edit).collect();
            let sum = Value::Int(start + amounts.iter().map(|(_, by)| by).sum::<i64>());
            prop_assert_eq!(served("sum", &Value::Int(start), &edits), Ok(sum.clone()));
            if !edits.is_empty() {
                let at = turn % edits.len();
                edits.rotate_left(at);
                edits.reverse();
            }
            prop_assert_eq!(served("sum", &Value::Int(start), &edits), Ok(sum));
        }

        #[test]
        fn sets_converge_in_any_order_and_keep_every_word_that_was_added(
            start in prop::collection::btree_set("[a-d]", 0..4),
            edits in prop::collection::vec(prop::collection::btree_set("[a-g]", 0..5), 1..6), turn in 0usize..6,
        ) {
            // All of them saw the start; none saw another's.
            let start = Value::set(start);
            let edit = |(n, mine): (usize, &std::collections::BTreeSet<String>)| {
                (DeviceId(Uuid::from_u128(n as u128)), Rev(1), start.clone(), Value::set(mine.clone()))
            };
            let mut edits: Vec<_> = edits.iter().enumerate().map(edit).collect();
            let first = served("set", &start, &edits).map_err(|error| TestCaseError::fail(error.to_string()))?;
            for (.., mine) in &edits {
                let added = mine.as_set().iter().filter(|word| !start.as_set().contains(word));
                prop_assert!(added.into_iter().all(|word| first.as_set().contains(word)));
            }
            // Once more changes nothing.
            let again: Vec<_> = edits.iter().chain(&edits).cloned().collect();
            prop_assert_eq!(served("set", &start, &again), Ok(first.clone()));
            let at = turn % edits.len();
            edits.rotate_left(at);
            edits.reverse();
            prop_assert_eq!(served("set", &start, &edits), Ok(first));
        }
    }
}
