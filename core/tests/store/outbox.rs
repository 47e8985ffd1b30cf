//! What the rep changed reaches the server exactly once, or comes back to the rep.

use crate::kit::{Phone, applied, customer, id, page, rejected, territory};
use chrono::TimeDelta;
use roundsman_core::Error;
use roundsman_core::model::customer::Customer;
use roundsman_core::model::merge::{Conflict, Merge};
use roundsman_core::model::{DeviceSeq, RuleError, Value};
use roundsman_core::outbox::{RowState, Status};

#[test]
fn a_change_carries_only_the_fields_that_changed() {
    let phone = Phone::new();
    phone.pull(vec![customer(1, 7, "Corner", &[("city", "Deal"), ("phone", "732")])]);
    let mut corner = phone.customers.get(id(1)).unwrap().unwrap();
    let seen = corner.clone();
    phone.customers.save(&seen, &corner).unwrap();
    assert_eq!(phone.outbox.count().unwrap(), 0, "nothing changed, nothing is recorded");

    corner.city = Some("Allenhurst".to_owned());
    corner.phone = None;
    let saved = phone.customers.save(&seen, &corner).unwrap();
    assert_eq!(saved, corner);
    let sent = phone.store.pending(10).unwrap().remove(0);
    assert_eq!((sent.seq.0, sent.base.0, sent.record), (1, 7, id(1)));
    let fields: Vec<(&str, &Value)> =
        sent.fields.iter().map(|(name, value)| (name.as_str(), value)).collect();
    assert_eq!(fields, [("city", &Value::from("Allenhurst")), ("phone", &Value::Null)]);
}

#[test]
fn an_edit_screen_left_open_over_a_pull_takes_nothing_back() {
    let phone = Phone::new();
    phone.pull(vec![customer(1, 7, "Corner", &[("city", "Deal"), ("brand", "Ours")])]);
    let seen = phone.customers.get(id(1)).unwrap().unwrap();
    // Meanwhile a colleague's edit of two fields comes in.
    phone.pull(vec![customer(1, 8, "Corner", &[("city", "Allenhurst"), ("brand", "Theirs")])]);

    let mut edited = seen.clone();
    edited.name = "Corner Shop".to_owned();
    let saved = phone.customers.save(&seen, &edited).unwrap();
    assert_eq!((saved.city.as_deref(), saved.brand.as_deref()), (Some("Allenhurst"), Some("Theirs")));
    edited.brand = Some("Mine".to_owned());
    phone.customers.save(&seen, &edited).unwrap();
    let sent = phone.store.pending(10).unwrap();
    assert_eq!((sent[0].base.0, sent[0].fields.len()), (8, 1), "nobody else touched the name");
    assert_eq!((sent[1].base.0, sent[1].fields.len()), (0, 1), "the server must see the collision");
}

#[test]
fn a_rule_that_is_broken_changes_nothing() {
    let phone = Phone::new();
    let mut draft = phone.customers.draft("C9", "Corner", "nj").unwrap();
    draft.lat = Some(91.0);
    let refused = phone.customers.add(&draft);
    assert!(matches!(refused, Err(Error::Rule(RuleError::OutOfRange { .. }))));
    assert!(matches!(phone.customers.save(&draft, &draft), Err(Error::NotFound)));
    assert_eq!((phone.customers.count().unwrap(), phone.outbox.count().unwrap()), (0, 0));
}

#[test]
fn numbers_have_no_gap_over_discard_resend_and_restart() {
    let mut phone = Phone::new();
    phone.pull((1..=4).map(|n| customer(n, 1, "Corner", &[])).collect());
    for n in 1..=4 {
        phone.rename(id(n), "Mine");
    }
    for seq in 1..=4 {
        phone.settle(seq, rejected());
    }
    assert_eq!(phone.waiting(), [0u64; 0], "what was refused is not sent again");
    phone.outbox.discard(DeviceSeq(4)).unwrap();
    assert_eq!(phone.outbox.resend(DeviceSeq(2)).unwrap(), DeviceSeq(5));
    phone = phone.restarted();
    phone.rename(id(4), "Again");
    assert_eq!(phone.outbox.resend(DeviceSeq(1)).unwrap(), DeviceSeq(7));
    assert_eq!(phone.waiting(), [5, 6, 7]);
    assert_eq!(phone.outbox.count().unwrap(), 4);
    for seq in [2, 4, 5, 99] {
        assert!(matches!(phone.outbox.discard(DeviceSeq(seq)), Err(Error::NotFound)), "{seq}");
        assert!(matches!(phone.outbox.resend(DeviceSeq(seq)), Err(Error::NotFound)), "{seq}");
    }
}

#[test]
fn a_refused_change_blocks_nothing_and_falls_back_to_the_servers_when_discarded() {
    let phone = Phone::new();
    phone.pull(vec![customer(1, 1, "Theirs", &[]), customer(2, 1, "Other", &[])]);
    phone.rename(id(1), "Mine");
    phone.rename(id(2), "Also mine");
    phone.settle(1, rejected());
    phone.settle(2, applied(2, vec![]));
    let left = phone.outbox.unsent().unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].status, Status::Rejected { reason: RuleError::NotAllowed });
    assert_eq!(left[0].made_at.timestamp_millis(), 1_790_000_000_000);
    assert_eq!(phone.name(id(1)).as_deref(), Some("Mine"), "the rep's version is kept");
    assert_eq!(phone.outbox.state::<Customer>(id(1)).unwrap(), Some(RowState::Rejected));
    assert_eq!(phone.outbox.state::<Customer>(id(2)).unwrap(), Some(RowState::Clean));

    phone.outbox.discard(DeviceSeq(1)).unwrap();
    assert_eq!(phone.name(id(1)).as_deref(), Some("Theirs"));
    assert_eq!(phone.outbox.state::<Customer>(id(1)).unwrap(), Some(RowState::Clean));
}

#[test]
fn a_record_that_the_server_never_had_goes_with_its_change() {
    let phone = Phone::new();
    let draft = phone.customers.draft("C9", "Corner", "nj").unwrap();
    let made = phone.customers.add(&draft).unwrap();
    phone.settle(1, rejected());
    phone.rename(made.id, "Corner two");
    phone.outbox.discard(DeviceSeq(1)).unwrap();
    assert_eq!(phone.name(made.id), None);
    assert_eq!(phone.found("corner"), [""; 0]);
    assert_eq!(phone.waiting(), [2], "a change that waits keeps its number");
    phone.settle(2, rejected());
    phone.outbox.discard(DeviceSeq(2)).unwrap();
    assert_eq!(phone.outbox.count().unwrap(), 0);
}

#[test]
fn a_change_is_resent_with_what_the_rep_has_typed_since() {
    let phone = Phone::new();
    let draft = phone.customers.draft("C9", "Corner", "nj").unwrap();
    let made = phone.customers.add(&draft).unwrap();
    phone.settle(1, rejected());
    phone.rename(made.id, "Corner two");
    phone.outbox.resend(DeviceSeq(1)).unwrap();
    let sent = phone.store.pending(10).unwrap();
    assert_eq!(sent.iter().map(|mutation| mutation.seq.0).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(sent[1].fields["name"].as_text(), Some("Corner two"));
    assert_eq!(sent[1].fields["code"].as_text(), Some("C9"));
    assert_ne!(sent[0].id, sent[1].id);
    assert!(sent[1].stamp > sent[0].stamp);
    assert_eq!(phone.name(made.id).as_deref(), Some("Corner two"));
}

#[test]
fn an_answer_that_comes_twice_changes_nothing() {
    let phone = Phone::new();
    phone.pull(vec![customer(1, 1, "Theirs", &[]), customer(2, 1, "Other", &[])]);
    phone.rename(id(1), "Mine");
    phone.rename(id(2), "Mine too");
    let lost = Conflict {
        field: "name".to_owned(),
        kept: "Colleague's".into(),
        lost: "Mine".into(),
        rule: Merge::Latest,
        lost_is_mine: true,
    };
    for _ in 0..3 {
        phone.settle(1, applied(3, vec![lost.clone()]));
        phone.settle(2, rejected());
    }
    assert_eq!(phone.outbox.count().unwrap(), 1);
    assert_eq!(phone.name(id(1)).as_deref(), Some("Colleague's"), "the value that stands is shown");
}

#[test]
fn an_edit_is_based_on_nothing_the_rep_has_not_seen() {
    let phone = Phone::new();
    phone.pull(vec![customer(1, 4, "Theirs", &[])]);
    phone.rename(id(1), "Mine");
    phone.settle(1, applied(5, vec![]));
    phone.rename(id(1), "Mine 2");
    assert_eq!(phone.store.pending(1).unwrap()[0].base.0, 5, "nobody else was in between");
    // Version 6 is a colleague's, and has not come down yet.
    phone.settle(2, applied(7, vec![]));
    phone.rename(id(1), "Mine 3");
    assert_eq!(phone.store.pending(1).unwrap()[0].base.0, 5);
    phone.pull(vec![customer(1, 7, "Mine 2", &[("city", "Deal")])]);
    phone.settle(3, applied(8, vec![]));
    phone.rename(id(1), "Mine 4");
    assert_eq!(phone.store.pending(1).unwrap()[0].base.0, 8);
}

#[test]
fn stamps_rise_even_if_the_clock_is_set_back() {
    let phone = Phone::new();
    phone.pull(vec![customer(1, 1, "Theirs", &[])]);
    for name in ["A", "B", "C"] {
        phone.rename(id(1), name);
        phone.clock.forward(TimeDelta::days(-3));
    }
    let phone = phone.restarted();
    let stamps: Vec<_> =
        phone.store.pending(10).unwrap().into_iter().map(|mutation| mutation.stamp).collect();
    assert!(stamps.windows(2).all(|pair| pair[0] < pair[1]));
}

#[test]
fn work_on_a_territory_that_was_taken_away_is_still_sent() {
    let phone = Phone::new();
    phone.pull((1..=3).map(|n| customer(n, 1, "Corner", &[])).collect());
    phone.store.apply_page(&page("ny", 5, vec![customer(4, 1, "Uptown", &[])])).unwrap();
    phone.rename(id(1), "Mine");
    phone.rename(id(2), "Refused");
    phone.settle(2, rejected());
    assert_eq!(phone.store.keep_buckets(&[territory("ny")]).unwrap(), 3);
    assert_eq!(phone.customers.count().unwrap(), 1);
    assert!(phone.found("corner").is_empty() && phone.found("mine").is_empty());
    assert_eq!(phone.store.cursors().unwrap().into_keys().collect::<Vec<_>>(), [territory("ny")]);
    assert_eq!(phone.waiting(), [1]);
    assert_eq!(phone.outbox.count().unwrap(), 2);

    phone.settle(1, applied(2, vec![]));
    assert_eq!(phone.name(id(1)), None, "an answer does not bring the row back");
    assert_eq!(phone.outbox.resend(DeviceSeq(2)).unwrap(), DeviceSeq(3));
    assert_eq!(phone.store.pending(9).unwrap()[0].fields["name"].as_text(), Some("Refused"));
    // The territory comes back while that waits.
    phone.pull(vec![customer(2, 9, "Theirs", &[])]);
    assert_eq!(phone.name(id(2)).as_deref(), Some("Refused"));
}
