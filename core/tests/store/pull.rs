//! What others changed arrives once, beneath the rep's own unsent work.

use crate::kit::{Phone, applied, customer, gone, id, page, territory};
use roundsman_core::model::{Seq, Value};
use roundsman_core::protocol::sync::Row;

#[test]
fn a_page_that_comes_twice_changes_nothing() {
    let phone = Phone::new();
    let page = page("nj", 9, vec![customer(1, 1, "Corner", &[("phone", "732")]), customer(2, 1, "Oak", &[])]);
    for _ in 0..3 {
        phone.store.apply_page(&page).unwrap();
    }
    assert_eq!(phone.customers.count().unwrap(), 2);
    assert_eq!(phone.found("corner"), ["Corner"]);
    assert_eq!(phone.store.cursors().unwrap()[&territory("nj")], Seq(9));
}

#[test]
fn a_change_from_elsewhere_slides_under_unsent_edits() {
    let phone = Phone::new();
    phone.pull(vec![customer(1, 1, "Corner", &[("city", "Deal")])]);
    phone.rename(id(1), "Mine");
    phone.pull(vec![customer(1, 2, "Theirs", &[("city", "Allenhurst"), ("brand", "B")])]);
    let seen = phone.customers.get(id(1)).unwrap().unwrap();
    assert_eq!((seen.name.as_str(), seen.city.as_deref()), ("Mine", Some("Allenhurst")));
    assert_eq!(phone.store.pending(1).unwrap()[0].base.0, 1, "the edit was made over version 1");
    phone.settle(1, applied(3, vec![]));
    let seen = phone.customers.get(id(1)).unwrap().unwrap();
    assert_eq!((seen.name.as_str(), seen.brand.as_deref()), ("Mine", Some("B")));
    assert_eq!(phone.outbox.count().unwrap(), 0);
}

#[test]
fn a_removal_takes_the_row_and_leaves_the_unsent_work() {
    let phone = Phone::new();
    phone.pull(vec![customer(1, 1, "Corner", &[])]);
    phone.rename(id(1), "Mine");
    phone.pull(vec![gone(1, 2)]);
    assert_eq!(phone.name(id(1)), None);
    assert_eq!(phone.waiting(), [1]);
    phone.pull(vec![gone(1, 2), gone(77, 1)]);
    assert_eq!(phone.waiting(), [1]);
}

#[test]
fn a_row_that_moved_stays_in_whatever_order_the_buckets_come() {
    let moved = |code: &str| {
        let mut row = customer(1, 2, "Corner", &[]);
        row.fields.as_mut().unwrap().insert("territory".to_owned(), code.into());
        row
    };
    for put_first in [true, false] {
        let phone = Phone::new();
        phone.pull(vec![customer(1, 1, "Corner", &[])]);
        let mut pages = [page("ny", 1, vec![moved("ny")]), page("nj", 2, vec![gone(1, 2)])];
        if !put_first {
            pages.reverse();
        }
        for page in &pages {
            phone.store.apply_page(page).unwrap();
        }
        assert_eq!(phone.customers.get(id(1)).unwrap().unwrap().territory, "ny");
        assert_eq!(phone.store.keep_buckets(&[territory("ny")]).unwrap(), 0);
    }
}

#[test]
fn what_only_a_newer_version_knows_is_passed_over() {
    let phone = Phone::new();
    let mut newer = customer(1, 1, "Corner", &[("loyalty_tier", "gold"), ("status", "hibernating")]);
    newer.fields.as_mut().unwrap().insert("lat".to_owned(), Value::Real(700.0));
    let unknown = Row { entity: "drone".to_owned(), ..customer(2, 1, "Drone", &[]) };
    let mut headless = customer(3, 1, "No name", &[]);
    headless.fields.as_mut().unwrap().remove("name");
    phone.pull(vec![unknown, newer, headless]);
    let seen = phone.customers.get(id(1)).unwrap().unwrap();
    assert_eq!((seen.name.as_str(), seen.status, seen.lat), ("Corner", None, None));
    assert_eq!(phone.customers.count().unwrap(), 1);
    assert_eq!(phone.customers.list(None, 10).unwrap().len(), 1);
}

#[test]
fn forgetting_the_cursors_keeps_the_rows() {
    let phone = Phone::new();
    phone.pull(vec![customer(1, 1, "Corner", &[])]);
    phone.store.forget_cursors().unwrap();
    assert!(phone.store.cursors().unwrap().is_empty());
    assert_eq!(phone.customers.count().unwrap(), 1);
}
