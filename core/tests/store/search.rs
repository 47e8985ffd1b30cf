//! A customer is found however it is typed.

use crate::kit::{Phone, customer, gone, id};

#[test]
fn a_customer_is_found_by_any_beginning_of_a_word_in_any_order() {
    let phone = Phone::new();
    phone.pull(vec![
        customer(1, 1, "Crème Brûlée Øl", &[("city", "Łódź"), ("brand", "Straße & Co")]),
        customer(2, 1, "Oak Street Market", &[("city", "Newark"), ("postcode", "07102")]),
    ]);
    for typed in ["creme", "CRÈME", "bru cr", "ol", "lodz", "strasse", "c1", "brûl ŁÓ"] {
        assert_eq!(phone.found(typed), ["Crème Brûlée Øl"], "{typed}");
    }
    for typed in ["mark oak", "o", "new 071", "c2 str"] {
        assert!(phone.found(typed).contains(&"Oak Street Market".to_owned()), "{typed}");
    }
    for typed in ["treet", "oak zzz", "", " -- \" * ' ", "071023"] {
        assert!(phone.found(typed).is_empty(), "{typed}");
    }
}

#[test]
fn one_chinese_character_is_enough() {
    let phone = Phone::new();
    phone.pull(vec![
        customer(1, 1, "沈阳便利店", &[]),
        customer(2, 1, "阳光超市 Oak", &[]),
        customer(3, 1, "서울 마트", &[]),
        customer(4, 1, "ﾄｳｷｮｳストア", &[]),
    ]);
    assert_eq!(phone.found("沈"), ["沈阳便利店"]);
    assert_eq!(phone.found("店"), ["沈阳便利店"]);
    assert_eq!(phone.found("沈阳"), ["沈阳便利店"]);
    assert_eq!(phone.found("阳").len(), 2);
    assert_eq!(phone.found("阳沈"), Vec::<String>::new());
    assert_eq!(phone.found("超 oa"), ["阳光超市 Oak"]);
    assert_eq!(phone.found("울"), ["서울 마트"]);
    assert_eq!(phone.found("ト").len(), 1);
}

#[test]
fn a_phone_number_is_found_in_any_format() {
    let phone = Phone::new();
    phone.pull(vec![customer(1, 1, "Corner", &[("phone", "+1 (732) 870-1133")])]);
    for typed in ["732", "8701133", "+17328701133", "870 1133", "(732) 870", "1133"] {
        assert_eq!(phone.found(typed), ["Corner"], "{typed}");
    }
    assert!(phone.found("8702").is_empty());
}

#[test]
fn a_name_that_begins_with_what_was_typed_comes_first() {
    let phone = Phone::new();
    phone.pull(vec![
        customer(1, 1, "Annex Bakery", &[("city", "Bay")]),
        customer(2, 1, "Bayside", &[]),
        customer(3, 1, "bay Café", &[]),
    ]);
    assert_eq!(phone.found("bay"), ["bay Café", "Bayside", "Annex Bakery"]);
}

/// However many others hold it, and come before.
#[test]
fn names_that_begin_with_a_letter_are_all_weighed() {
    let phone = Phone::new();
    let others = (1..700).map(|n| customer(n, 1, &format!("Market {n}"), &[("city", "Zwolle")]));
    let named = ["Zum Markt", "zebra", "Zoë"].into_iter().zip(1_000..);
    let named = named.map(|(name, n)| customer(n, 1, name, &[("city", "Zwolle")]));
    phone.pull(others.chain(named).collect());
    let found = phone.found("z");
    assert_eq!((&found[..3], found.len()), (&["zebra", "Zoë", "Zum Markt"].map(str::to_owned)[..], 10));
    assert!(found[3..].iter().all(|name| name.starts_with("Market")), "{found:?}");
    assert_eq!(phone.found("zw").len(), 10, "no name begins so");
}

/// Whether many have a word that begins so, or few.
#[test]
fn a_first_letter_beside_a_word_is_looked_for_in_the_same_records() {
    let phone = Phone::new();
    let city = |n: u128| if n.is_multiple_of(40) { "Queens" } else { "Newark" };
    phone.pull((1..400).map(|n| customer(n, 1, &format!("Market {n}"), &[("city", city(n))])).collect());
    assert_eq!((phone.found("market n").len(), phone.found("n market").len()), (10, 10));
    let few = phone.found("market q");
    assert_eq!(few.len(), 9, "{few:?}");
    assert!(few.contains(&"Market 40".to_owned()));
    assert_eq!(phone.found("market 4 q"), ["Market 40"]);
    assert!(phone.found("market z").is_empty());
}

/// Numbers that end so, when there are many; and wherever it is, when there are few.
#[test]
fn one_digit_finds_numbers_that_hold_it() {
    let phone = Phone::new();
    phone.pull(vec![customer(1, 1, "Corner", &[("phone", "+1 (732) 555-1143")])]);
    for typed in ["7", "4", "3", "43", "73"] {
        assert_eq!(phone.found(typed), ["Corner"], "{typed}");
    }
    assert!(phone.found("9").is_empty());
    let many = (10..500).map(|n| customer(n, 1, "Market", &[("phone", "212 555 9999")]));
    phone.pull(many.collect());
    assert_eq!((phone.found("9").len(), phone.found("99").len()), (10, 10));
    assert_eq!(phone.found("43"), ["Corner"]);
}

#[test]
fn the_index_follows_every_change() {
    let phone = Phone::new();
    phone.pull(vec![customer(1, 1, "Old Name", &[])]);
    phone.pull(vec![customer(1, 2, "New Name", &[])]);
    assert_eq!((phone.found("old").len(), phone.found("new").len()), (0, 1));
    phone.rename(id(1), "Third");
    assert_eq!((phone.found("new").len(), phone.found("third").len()), (0, 1));
    phone.pull(vec![gone(1, 3)]);
    assert_eq!(phone.found("third").len(), 0);
}

#[test]
fn a_list_is_paged_by_key_without_gap_or_repeat() {
    let phone = Phone::new();
    let rows =
        (0..50u128).map(|n| customer(n, 1, ["Émile", "emil", "Zoë", "Åsa", "沈"][n as usize % 5], &[]));
    phone.pull(rows.collect());
    let mut seen = Vec::new();
    let mut last = None;
    loop {
        let next = phone.customers.list(last.as_ref(), 7).unwrap();
        let Some(end) = next.last() else { break };
        last = Some(end.into());
        seen.extend(next.into_iter().map(|customer| (customer.name, customer.id)));
    }
    assert_eq!(seen.len(), 50);
    assert_eq!(phone.customers.count().unwrap(), 50);
    let names: Vec<&str> = seen.iter().step_by(10).map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["Åsa", "emil", "Émile", "Zoë", "沈"]);
    assert!(seen.windows(2).all(|pair| pair[0].0 != pair[1].0 || pair[0].1 < pair[1].1));
}

#[test]
fn a_search_before_changes_does_not_make_a_sound_store_look_damaged() {
    let phone = Phone::new();
    phone.pull((1..12).map(|n| customer(n, 1, &format!("Store {n}"), &[])).collect());
    for round in 0..20 {
        // The same reader may have known the index as it was.
        phone.found("store");
        for n in 1..12 {
            phone.rename(id(n), &format!("Market {round} {n}"));
        }
        phone.store.check().unwrap();
    }
}
