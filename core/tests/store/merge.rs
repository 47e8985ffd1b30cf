//! Sets, sums and conflicts on the device.

use crate::kit::{ME, Phone, applied, customer, id, page, rejected, territory};
use roundsman_core::Error;
use roundsman_core::conflicts::Conflicts;
use roundsman_core::model::merge::{Conflict, Merge};
use roundsman_core::model::{DeviceSeq, Fields, Rev, RuleError, Seq, Value};
use roundsman_core::platform::OsEntropy;
use roundsman_core::protocol::sync::{Change, MutationResult, Outcome, Own, Row};
use std::sync::Arc;
use uuid::Uuid;

fn conflicts(phone: &Phone) -> Conflicts {
    Conflicts::new(phone.store.clone(), phone.clock.clone(), Arc::new(OsEntropy))
}

/// The rep sets tags and samples, looking at the customer as it is.
fn edit(phone: &Phone, tags: &[&str], samples: i64) {
    let seen = phone.customers.get(id(1)).unwrap().unwrap();
    let mut edited = seen.clone();
    edited.tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    edited.samples = Some(samples);
    phone.customers.save(&seen, &edited).unwrap();
}

fn shown(phone: &Phone) -> (Vec<String>, Option<i64>) {
    let now = phone.customers.get(id(1)).unwrap().unwrap();
    (now.tags, now.samples)
}

fn with(rev: u64, tags: &[&str], samples: i64) -> Row {
    let mut row = customer(1, rev, "Corner", &[]);
    let fields = row.fields.as_mut().unwrap();
    fields.insert("tags".to_owned(), Value::set(tags.iter().map(|tag| (*tag).to_owned())));
    fields.insert("samples".to_owned(), Value::Int(samples));
    row
}

/// A conflict about the name of customer 1, as the server sends it.
fn collision(n: u128, lost: &str) -> Row {
    let fields: Fields = [
        ("entity", Value::from("customer")),
        ("record", Value::Id(id(1))),
        ("field", "name".into()),
        ("kept", "\"Theirs\"".into()),
        ("lost", Value::Text(format!("\"{lost}\""))),
        ("rule", "latest".into()),
        ("loser", Value::Id(ME.0)),
        ("found_at", Value::Int(1_790_000_000_000)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    Row { entity: "collision".to_owned(), id: id(n), rev: Rev(1), fields: Some(fields) }
}

fn listed(phone: &Phone) -> Vec<Uuid> {
    conflicts(phone).list().unwrap().into_iter().map(|conflict| conflict.id).collect()
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn others_words_and_amounts_slide_under_the_reps_own() {
    let phone = Phone::new();
    phone.pull(vec![with(1, &["dog", "old"], 10)]);
    edit(&phone, &["dog", "promo"], 13);
    assert_eq!(shown(&phone), (strings(&["dog", "promo"]), Some(13)));
    phone.pull(vec![with(2, &["dog", "late", "old"], 17)]);
    assert_eq!(shown(&phone), (strings(&["dog", "late", "promo"]), Some(20)));
    let phone = phone.restarted();
    let sent = phone.store.pending(9).unwrap().remove(0);
    assert_eq!((sent.was["samples"].as_int(), sent.fields["samples"].as_int()), (Some(10), Some(13)));
    phone.settle(1, applied(3, vec![]));
    assert_eq!(shown(&phone), (strings(&["dog", "late", "promo"]), Some(20)));
    phone.pull(vec![with(3, &["dog", "late", "promo"], 20)]);
    assert_eq!(shown(&phone), (strings(&["dog", "late", "promo"]), Some(20)));
    phone.store.check().unwrap();
}

#[test]
fn an_amount_typed_on_a_screen_that_was_left_open_counts_from_what_it_showed() {
    let phone = Phone::new();
    phone.pull(vec![with(1, &[], 10)]);
    let seen = phone.customers.get(id(1)).unwrap().unwrap();
    phone.pull(vec![with(2, &["late"], 100)]);
    let mut edited = seen.clone();
    edited.samples = Some(12);
    edited.tags = strings(&["promo"]);
    let saved = phone.customers.save(&seen, &edited).unwrap();
    assert_eq!((saved.samples, saved.tags), (Some(102), strings(&["late", "promo"])));
    assert_eq!(phone.store.pending(9).unwrap()[0].base, Rev(2), "nothing of it collides");
}

#[test]
fn a_refused_amount_that_is_sent_again_is_the_same_amount() {
    let phone = Phone::new();
    phone.pull(vec![with(1, &[], 10)]);
    edit(&phone, &[], 12);
    phone.settle(1, rejected());
    phone.pull(vec![with(2, &[], 50)]);
    phone.outbox.resend(DeviceSeq(1)).unwrap();
    assert_eq!(shown(&phone).1, Some(52));
    let sent = phone.store.pending(9).unwrap().remove(0);
    assert_eq!((sent.was["samples"].as_int(), sent.fields["samples"].as_int()), (Some(10), Some(12)));
    phone.settle(2, rejected());
    phone.outbox.discard(DeviceSeq(2)).unwrap();
    assert_eq!(shown(&phone).1, Some(50));
}

#[test]
fn a_conflict_is_listed_after_a_restart_and_settled_by_an_ordinary_change() {
    let phone = Phone::new();
    phone.pull(vec![customer(1, 4, "Theirs", &[]), collision(7, "Mine"), collision(8, "Third")]);
    let phone = phone.restarted();
    let open = conflicts(&phone).list().unwrap();
    assert_eq!(open.len(), 2);
    assert_eq!(
        (&open[0].now, &open[0].lost, open[0].loser),
        (&"Theirs".into(), &Some("Mine".into()), Some(ME))
    );
    conflicts(&phone).take_lost(id(7)).unwrap();
    assert_eq!(phone.name(id(1)).as_deref(), Some("Mine"));
    assert!(matches!(conflicts(&phone).keep(id(7)), Err(Error::NotFound)), "it is being settled");
    conflicts(&phone).keep(id(8)).unwrap();
    assert!(listed(&phone).is_empty());
    let sent = phone.store.pending(9).unwrap();
    assert_eq!((sent[0].base.0, &sent[0].settles, sent[0].fields.len()), (4, &vec![id(7)], 1));
    assert_eq!((&sent[1].settles, sent[1].fields.len()), (&vec![id(8)], 0));
    // The server refuses one of them: that conflict is back.
    phone.settle(1, rejected());
    phone.settle(2, applied(4, vec![]));
    assert_eq!(listed(&phone), [id(7), id(8)], "until the server's word has come down");
    let gone = Row { entity: "collision".to_owned(), id: id(8), rev: Rev(2), fields: None };
    phone.pull(vec![gone]);
    assert_eq!(listed(&phone), [id(7)]);
}

#[test]
fn a_settlement_that_the_record_can_not_hold_changes_nothing() {
    let phone = Phone::new();
    phone.pull(vec![customer(1, 4, "Theirs", &[]), collision(7, "Mine")]);
    for wrong in [Value::Null, Value::Int(4), Value::Text("x".repeat(201))] {
        assert!(matches!(conflicts(&phone).write(id(7), wrong), Err(Error::Rule(_))));
    }
    assert!(matches!(conflicts(&phone).keep(id(99)), Err(Error::NotFound)));
    assert_eq!((listed(&phone), phone.outbox.count().unwrap()), (vec![id(7)], 0));
    conflicts(&phone).write(id(7), "Both".into()).unwrap();
    assert_eq!(phone.name(id(1)).as_deref(), Some("Both"));
}

#[test]
fn conflicts_outlive_a_restart_and_leave_the_device_with_their_record() {
    let lost = Conflict {
        field: "name".to_owned(),
        kept: "Theirs".into(),
        lost: "Mine".into(),
        rule: Merge::Latest,
        lost_is_mine: true,
    };
    let told = || {
        let phone = Phone::new();
        phone.pull(vec![customer(1, 4, "Theirs", &[])]);
        phone.rename(id(1), "Mine");
        phone.settle(1, applied(5, vec![lost.clone()]));
        assert_eq!(phone.name(id(1)).as_deref(), Some("Theirs"), "what stands is shown at once");
        phone.pull(vec![collision(7, "Mine")]);
        let phone = phone.restarted();
        assert_eq!(listed(&phone), [id(7)]);
        phone
    };
    let phone = told();
    assert_eq!(phone.store.keep_buckets(&[territory("ny")]).unwrap(), 2);
    assert!(listed(&phone).is_empty());
    phone.store.check().unwrap();
    // Somebody else has settled it.
    let phone = told();
    let gone = Row { entity: "collision".to_owned(), id: id(7), rev: Rev(2), fields: None };
    phone.store.apply_page(&page("nj", 3, vec![gone])).unwrap();
    assert!(listed(&phone).is_empty());
}

#[test]
fn a_change_of_a_removed_record_is_sent_again_behind_its_restoration() {
    let phone = Phone::new();
    phone.pull(vec![customer(1, 4, "Corner", &[])]);
    phone.rename(id(1), "Mine");
    phone.settle(1, Outcome::Rejected { reason: RuleError::Removed });
    phone.pull(vec![crate::kit::gone(1, 5)]);
    assert_eq!(phone.outbox.restore(DeviceSeq(1)).unwrap(), DeviceSeq(3));
    let phone = phone.restarted();
    let sent = phone.store.pending(9).unwrap();
    assert_eq!((sent[0].change, sent[1].change), (Change::Restore, Change::Put));
    assert_eq!(sent[1].fields["name"].as_text(), Some("Mine"));
    phone.settle(2, applied(6, vec![]));
    phone.settle(3, applied(7, vec![]));
    assert_eq!((phone.name(id(1)), phone.outbox.count().unwrap()), (None, 0));
    phone.pull(vec![customer(1, 7, "Mine", &[])]);
    assert_eq!(phone.name(id(1)).as_deref(), Some("Mine"));
    assert!(matches!(phone.outbox.restore(DeviceSeq(9)), Err(Error::NotFound)));
}

#[test]
fn a_removal_hides_the_record_at_once_and_a_refused_one_brings_it_back() {
    let phone = Phone::new();
    phone.pull(vec![customer(1, 4, "Corner", &[]), customer(2, 1, "Oak", &[])]);
    phone.customers.remove(id(1)).unwrap();
    assert!(matches!(phone.customers.remove(id(1)), Err(Error::NotFound)));
    assert!(phone.found("corner").is_empty());
    // What others change meanwhile does not bring it back.
    phone.pull(vec![customer(1, 5, "Corner two", &[])]);
    let phone = phone.restarted();
    assert_eq!(phone.name(id(1)), None);
    let sent = phone.store.pending(9).unwrap();
    assert_eq!((sent.len(), sent[0].change, sent[0].base), (1, Change::Delete, Rev(4)));
    phone.settle(1, rejected());
    assert_eq!(phone.name(id(1)).as_deref(), Some("Corner two"));
    assert_eq!(phone.found("corner"), ["Corner two"]);
    phone.outbox.resend(DeviceSeq(1)).unwrap();
    assert_eq!(phone.name(id(1)), None);
    phone.settle(2, applied(6, vec![]));
    assert_eq!((phone.name(id(1)), phone.outbox.count().unwrap()), (None, 0));
    phone.store.check().unwrap();
}

#[test]
fn a_refused_removal_brings_nothing_back_that_has_left_the_device_meanwhile() {
    for leaves in [true, false] {
        let phone = Phone::new();
        phone.pull(vec![customer(1, 4, "Corner", &[])]);
        phone.customers.remove(id(1)).unwrap();
        if leaves {
            phone.store.keep_buckets(&[territory("ny")]).unwrap();
        } else {
            phone.pull(vec![crate::kit::gone(1, 5)]);
        }
        phone.settle(1, rejected());
        assert_eq!((phone.name(id(1)), phone.outbox.count().unwrap()), (None, 1));
        phone.outbox.discard(DeviceSeq(1)).unwrap();
        assert_eq!(phone.customers.count().unwrap(), 0);
    }
}

#[test]
fn a_visit_made_by_mistake_and_taken_back_before_it_was_sent_leaves_in_that_order() {
    let phone = Phone::new();
    phone.pull(vec![customer(1, 4, "Corner", &[])]);
    let visit = phone.visits.start(id(1), None).unwrap();
    phone.visits.remove(visit.id).unwrap();
    assert!(phone.visits.in_progress().unwrap().is_none());
    let sent = phone.store.pending(9).unwrap();
    assert_eq!(sent.iter().map(|change| change.change).collect::<Vec<_>>(), [Change::Put, Change::Delete]);
    phone.settle(1, applied(1, vec![]));
    assert!(phone.visits.in_progress().unwrap().is_none(), "an answer does not bring it back");
    phone.settle(2, applied(2, vec![]));
    assert_eq!((phone.visits.in_progress().unwrap(), phone.outbox.count().unwrap()), (None, 0));
}

#[test]
fn what_the_server_says_of_a_phones_own_rows_is_stored_with_the_results() {
    let phone = Phone::new();
    phone.pull(vec![with(1, &["dog"], 10)]);
    let nj = territory("nj");
    let own = |seq: u64, cursor: u64, fields: &[(&str, Value)]| Own {
        cursors: [(nj.clone(), Seq(cursor))].into(),
        fields: [(
            DeviceSeq(seq),
            fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        )]
        .into(),
        ..Own::default()
    };
    let settle = |seq: u64, rev: u64, own: &Own, asked: u64| {
        let result = MutationResult { seq: DeviceSeq(seq), outcome: applied(rev, vec![]) };
        phone.store.settle_own(&[result], own, &[(nj.clone(), Seq(asked))].into()).unwrap();
        phone.store.cursors().unwrap().get(&nj).copied()
    };
    edit(&phone, &["dog", "promo"], 13);
    let set = [("samples", Value::Int(20)), ("brand", Value::from("Oak")), ("tags", Value::Null)];
    assert_eq!(settle(1, 2, &own(1, 2, &set), 1), Some(Seq(2)));
    assert_eq!(shown(&phone), (strings(&[]), Some(20)));
    assert_eq!(phone.customers.get(id(1)).unwrap().unwrap().brand.as_deref(), Some("Oak"));

    // A log that is not where it was is read as ever: it may hold what is not here.
    edit(&phone, &[], 21);
    assert_eq!(settle(2, 3, &own(2, 9, &[]), 7), Some(Seq(2)));
    phone.store.forget_cursors().unwrap();
    edit(&phone, &[], 22);
    assert_eq!(settle(3, 4, &own(3, 10, &[]), 2), None);
    phone.store.check().unwrap();
}

#[test]
fn a_visit_that_is_sent_after_it_had_left_with_its_territory_is_here_once_it_is_taken() {
    let phone = Phone::new();
    phone.pull(vec![customer(1, 4, "Corner", &[])]);
    let visit = phone.visits.start(id(1), None).unwrap();
    phone.settle(1, rejected());
    // The rep loses the territory, gets it back, and sends the visit again.
    let nj = territory("nj");
    phone.store.keep_buckets(&[]).unwrap();
    phone.pull(vec![customer(1, 4, "Corner", &[])]);
    assert_eq!(phone.visits.get(visit.id).unwrap(), None, "it has left");
    let seq = phone.outbox.resend(DeviceSeq(1)).unwrap();
    let asked = phone.store.cursors().unwrap();
    let own = Own { cursors: [(nj.clone(), Seq(asked[&nj].0 + 1))].into(), ..Own::default() };
    let result = MutationResult { seq, outcome: applied(1, vec![]) };
    phone.store.settle_own(&[result], &own, &asked).unwrap();
    // No page will bring it: the server counts it as read.
    assert_eq!(phone.store.cursors().unwrap(), own.cursors);
    assert_eq!(phone.visits.get(visit.id).unwrap(), Some(visit));
    assert_eq!(phone.outbox.count().unwrap(), 0);
    phone.store.check().unwrap();
}

/// Its answer was lost, and the office moved it meanwhile: the page with that came before the answer to the repeat.
#[test]
fn a_record_that_had_left_before_its_repeat_was_answered_stays_away() {
    let phone = Phone::new();
    phone.pull(vec![customer(1, 4, "Corner", &[])]);
    let visit = phone.visits.start(id(1), None).unwrap();
    let nj = territory("nj");
    let gone = Row { entity: "visit".to_owned(), id: visit.id, rev: Rev(2), fields: None };
    phone.pull(vec![gone]);
    let asked = phone.store.cursors().unwrap();
    let cursors = [(nj.clone(), Seq(asked[&nj].0 + 1))].into();
    let own = Own { cursors, repeats: [DeviceSeq(1)].into(), ..Own::default() };
    let result = MutationResult { seq: DeviceSeq(1), outcome: applied(1, vec![]) };
    phone.store.settle_own(&[result], &own, &asked).unwrap();
    assert_eq!(phone.visits.get(visit.id).unwrap(), None);
    assert_eq!((phone.outbox.count().unwrap(), phone.store.cursors().unwrap()), (0, own.cursors));
    phone.store.check().unwrap();
}
