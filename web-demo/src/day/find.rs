//! Searching as people type, with the time each search takes.

use super::ledger::{Ledger, time};
use crate::World;
use anyhow::{Context, Result};
use roundsman_core::customers::{CustomerKey, Customers};
use roundsman_core::model::customer::Customer;
use std::time::Instant;

/// How often each search is repeated; the middle time counts.
const TIMES: usize = 21;

/// The most rows a search is asked for when all are wanted.
const ALL: usize = 1_000_000;

/// Rows that a screen asks for.
const SCREEN: usize = 40;

pub(super) fn play(world: &World, ledger: &mut Ledger<'_>) -> Result<()> {
    ledger.chapter("Searching on the phone")?;
    let phone = world.phones().first().context("there is no phone")?;
    let customers = phone.client().customers()?;
    for typed in queries(&customers)? {
        let found = customers.search(&typed, ALL)?.len();
        let mut times = Vec::with_capacity(TIMES);
        for _ in 0..TIMES {
            let begun = Instant::now();
            customers.search(&typed, SCREEN)?;
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        let middle = times[TIMES / 2];
        ledger.say(format!("“{typed}”: {found} rows, the first {SCREEN} in {}", time(middle)))?;
        ledger.figure(format!("search “{typed}”"), format!("{found} rows, {}", time(middle)));
        ledger.promise(&format!("“{typed}” is found"), found > 0)?;
    }
    one_character(&customers, '沈', ledger)
}

/// What somebody would type to find the customer in the middle of the list.
fn queries(customers: &Customers) -> Result<Vec<String>> {
    let some = customers.list(None, 400)?;
    let one = some.get(some.len() / 2).context("there are no customers")?;
    let words: Vec<&str> = one.name.split_whitespace().collect();
    let start = |word: &str, letters: usize| word.chars().take(letters).collect::<String>();
    let mut queries = vec![one.code.clone()];
    if let [first, .., last] = words.as_slice() {
        queries.push(start(first, 3));
        queries.push(format!("{} {}", start(last, 3), start(first, 2)));
    } else {
        queries.push(start(&one.name, 2));
    }
    if let Some(phone) =
        some.iter().find_map(|customer| customer.phone.as_deref()).filter(|phone| phone.len() > 5)
    {
        queries.push(phone[phone.len() - 5..].to_owned());
    }
    queries.retain(|query| query.chars().any(char::is_alphanumeric));
    Ok(queries)
}

/// One Chinese character finds every customer that has it in a searched field, if the data holds it.
fn one_character(customers: &Customers, character: char, ledger: &mut Ledger<'_>) -> Result<()> {
    let (mut holding, mut last): (usize, Option<CustomerKey>) = (0, None);
    loop {
        let page = customers.list(last.as_ref(), 500)?;
        holding +=
            page.iter().filter(|customer| searched(customer).any(|text| text.contains(character))).count();
        match page.last() {
            Some(customer) => last = Some(customer.into()),
            None => break,
        }
    }
    if holding == 0 {
        return Ok(());
    }
    let begun = Instant::now();
    let found = customers.search(&character.to_string(), ALL)?.len();
    let took = time(begun.elapsed());
    ledger.say(format!("“{character}”: {found} rows of {holding} that have it, all of them in {took}"))?;
    ledger.figure(format!("search “{character}”"), format!("{found} rows, {took}"));
    ledger.promise(&format!("one character, {character}, finds all who have it"), found == holding)?;
    Ok(())
}

fn searched(customer: &Customer) -> impl Iterator<Item = &str> {
    let Customer { code, name, brand, address, city, postcode, .. } = customer;
    let optional = [brand, address, city, postcode].into_iter().filter_map(|text| text.as_deref());
    [code.as_str(), name.as_str()].into_iter().chain(optional)
}
