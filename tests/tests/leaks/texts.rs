//! What people type: every text is another one and says what it is.

use roundsman_tests::canary::Canary;
use roundsman_tests::told::Order;
use std::collections::BTreeSet;

/// Customers that the office has imported.
pub(crate) const CUSTOMERS: usize = 4;

/// Fields of a customer that hold text, as columns and as what a rep fills in.
const FIELDS: [&str; 10] =
    ["code", "name", "brand", "channel", "address", "city", "region", "postcode", "phone", "notes"];

/// Every text that was typed so far.
#[derive(Default)]
pub(crate) struct Texts {
    typed: Vec<(&'static str, String)>,
    last: BTreeSet<String>,
}

impl Texts {
    /// Another text of this kind. It looks as the index of the search would have it.
    pub(crate) fn add(&mut self, kind: &'static str) -> String {
        let n = self.typed.len();
        let word = kind.replace(|c: char| !c.is_ascii_alphanumeric(), "");
        let text = match kind {
            "phone" => format!("1555{n:03}7319{n:03}"),
            "city" => format!("canary{n:03}ødegård{word}"),
            "brand" => format!("canary{n:03}沈{word}"),
            _ => format!("canary{n:03}{word}"),
        };
        self.known(kind, &text);
        text
    }

    /// A text that is typed as it is.
    pub(crate) fn known(&mut self, kind: &'static str, text: &str) {
        self.typed.push((kind, text.to_owned()));
    }

    /// The texts of one kind.
    pub(crate) fn of(&self, kind: &str) -> Vec<String> {
        self.typed.iter().filter(|(of, _)| *of == kind).map(|(_, text)| text.clone()).collect()
    }

    /// Everything that must not be readable.
    pub(crate) fn canaries(&self) -> Vec<Canary> {
        let numbered = self.typed.iter().enumerate();
        numbered
            .map(|(n, (kind, text))| Canary { what: format!("{kind} ({n})"), text: text.clone() })
            .collect()
    }

    /// The office's customers.
    pub(crate) fn csv(&mut self) -> String {
        let mut csv = format!("{}\n", FIELDS.join(","));
        for _ in 0..CUSTOMERS {
            let row = FIELDS.map(|field| self.add(field));
            csv.push_str(&format!("{}\n", row.join(",")));
        }
        csv
    }

    /// A day of a rep who has found this customer.
    pub(crate) fn day(&mut self, seen: &str) -> Vec<Order> {
        let customer = || seen.to_owned();
        let mut field = |name: &'static str| (name.to_owned(), self.add(name));
        let added = FIELDS.map(&mut field).to_vec();
        let edited = ["brand", "address", "city", "phone", "notes"].map(&mut field).to_vec();
        vec![
            Order::Search(self.add("search")),
            Order::Add(added),
            Order::Edit(customer(), edited),
            self.visit(seen),
            Order::Forgo {
                customer: customer(),
                missed: self.add("reason of a missed visit"),
                cancelled: self.add("reason of a cancelled visit"),
            },
            Order::Search(self.add("search")),
        ]
    }

    /// A day whose work is never sent.
    pub(crate) fn last_day(&mut self, seen: &str) -> Vec<Order> {
        let visits = [self.visit(seen), self.visit(seen)];
        for visit in &visits {
            let Order::Visit { notes, .. } = visit else { continue };
            self.last.insert(notes.clone());
        }
        visits.into()
    }

    /// The notes of that day.
    pub(crate) fn last_notes(&self) -> BTreeSet<String> {
        self.last.clone()
    }

    fn visit(&mut self, seen: &str) -> Order {
        Order::Visit {
            customer: seen.to_owned(),
            notes: self.add("visit notes"),
            next_step: self.add("next step"),
            reason: self.add("reason of a visit left early"),
        }
    }
}
