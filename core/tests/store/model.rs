//! Random edits, pulls and answers against a model that is simple enough to be believed.

use crate::kit::{Phone, applied, customer, gone, id, rejected};
use proptest::prelude::*;
use roundsman_core::model::DeviceSeq;
use std::collections::BTreeMap;

/// What can happen to one of four customers.
#[derive(Clone, Debug)]
enum Event {
    /// The rep types a name or a town.
    Edit { n: u128, town: bool, text: u8 },
    /// The server sends its version, changed by a colleague first.
    Pull { n: u128, town: bool, text: u8 },
    /// The server sends a removal.
    Remove { n: u128 },
    /// The server answers the oldest change that waits.
    Answer { takes: bool },
    /// The rep gives up the oldest refused change.
    Discard,
    /// The rep resends the oldest refused change.
    Resend,
    /// The app is closed and started.
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    let n = 0..4u128;
    prop_oneof![
        6 => (n.clone(), any::<bool>(), any::<u8>()).prop_map(|(n, town, text)| Event::Edit { n, town, text }),
        5 => (n.clone(), any::<bool>(), any::<u8>()).prop_map(|(n, town, text)| Event::Pull { n, town, text }),
        1 => n.prop_map(|n| Event::Remove { n }),
        4 => any::<bool>().prop_map(|takes| Event::Answer { takes }),
        2 => Just(Event::Discard),
        2 => Just(Event::Resend),
        1 => Just(Event::Restart),
    ]
}

/// Name and town.
type Pair = [String; 2];

/// A change in the outbox: the record, and a name or a town or both.
#[derive(Clone, Debug)]
struct Entry {
    n: u128,
    fields: [Option<String>; 2],
    refused: bool,
}

/// What the store should hold.
#[derive(Default)]
struct Model {
    /// What the server has.
    server: BTreeMap<u128, (u64, Pair)>,
    /// What the phone last saw of the server; nothing if the row left.
    known: BTreeMap<u128, Pair>,
    outbox: BTreeMap<u64, Entry>,
    last_seq: u64,
}

impl Model {
    fn shown(&self, n: u128) -> Option<Pair> {
        let mut pair = self.known.get(&n)?.clone();
        for entry in self.outbox.values().filter(|entry| entry.n == n) {
            for (at, text) in entry.fields.iter().enumerate() {
                if let Some(text) = text {
                    pair[at].clone_from(text);
                }
            }
        }
        Some(pair)
    }

    fn add(&mut self, entry: Entry) {
        self.last_seq += 1;
        self.outbox.insert(self.last_seq, entry);
    }

    fn oldest(&self, refused: bool) -> Option<u64> {
        self.outbox.iter().find(|(_, entry)| entry.refused == refused).map(|(seq, _)| *seq)
    }

    fn apply(&mut self, phone: &Phone, event: &Event) {
        match *event {
            Event::Edit { n, town, text } => {
                let Some(before) = self.shown(n) else { return };
                let text = format!("mine{text}");
                let seen = phone.customers.get(id(n)).unwrap().unwrap();
                let mut customer = seen.clone();
                if town {
                    customer.city = Some(text.clone());
                } else {
                    customer.name.clone_from(&text);
                }
                phone.customers.save(&seen, &customer).unwrap();
                if before[usize::from(town)] != text {
                    let mut fields = [None, None];
                    fields[usize::from(town)] = Some(text);
                    self.add(Entry { n, fields, refused: false });
                }
            }
            Event::Pull { n, town, text } => {
                let row = self.server.entry(n).or_insert((0, ["name".to_owned(), "town".to_owned()]));
                row.0 += 1;
                row.1[usize::from(town)] = format!("theirs{text}");
                phone.pull(vec![customer(n, row.0, &row.1[0], &[("city", &row.1[1])])]);
                self.known.insert(n, row.1.clone());
            }
            Event::Remove { n } => {
                let Some((rev, _)) = self.server.remove(&n) else { return };
                phone.pull(vec![gone(n, rev + 1)]);
                self.known.remove(&n);
            }
            Event::Answer { takes } => {
                let Some(seq) = self.oldest(false) else { return };
                let entry = self.outbox[&seq].clone();
                if let Some(row) = self.server.get_mut(&entry.n).filter(|_| takes) {
                    row.0 += 1;
                    for (at, text) in entry.fields.into_iter().enumerate() {
                        let Some(text) = text else { continue };
                        row.1[at].clone_from(&text);
                        if let Some(known) = self.known.get_mut(&entry.n) {
                            known[at] = text;
                        }
                    }
                    phone.settle(seq, applied(row.0, vec![]));
                    self.outbox.remove(&seq);
                } else {
                    phone.settle(seq, rejected());
                    self.outbox.get_mut(&seq).unwrap().refused = true;
                }
            }
            Event::Discard => {
                let Some(seq) = self.oldest(true) else { return };
                phone.outbox.discard(DeviceSeq(seq)).unwrap();
                self.outbox.remove(&seq);
            }
            Event::Resend => {
                let Some(seq) = self.oldest(true) else { return };
                let mut entry = self.outbox[&seq].clone();
                if let Some(shown) = self.shown(entry.n) {
                    for (text, shown) in entry.fields.iter_mut().zip(shown) {
                        *text = text.take().map(|_| shown);
                    }
                }
                entry.refused = false;
                self.outbox.remove(&seq);
                self.add(entry);
                assert_eq!(phone.outbox.resend(DeviceSeq(seq)).unwrap(), DeviceSeq(self.last_seq));
            }
            Event::Restart => {}
        }
    }

    fn check(&self, phone: &Phone) {
        for n in 0..4 {
            let seen = phone.customers.get(id(n)).unwrap();
            let seen = seen.map(|customer| [customer.name, customer.city.unwrap()]);
            assert_eq!(seen, self.shown(n), "customer {n}");
        }
        let waiting = self.outbox.iter().filter(|(_, entry)| !entry.refused).map(|(seq, _)| *seq);
        assert_eq!(phone.waiting(), waiting.collect::<Vec<_>>());
        assert_eq!(phone.outbox.count().unwrap(), self.outbox.len() as u64);
        // The index tells the same as the rows.
        let named = |begin: &str| {
            let shown = (0..4).filter_map(|n| self.shown(n));
            shown.filter(|pair| pair.iter().any(|text| text.starts_with(begin))).count()
        };
        for begin in ["mine", "theirs", "theirs1"] {
            assert_eq!(phone.found(begin).len(), named(begin), "{begin}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn the_rep_sees_the_servers_version_with_all_unsent_work_over_it(
        events in prop::collection::vec(event(), 1..60)
    ) {
        let mut phone = Phone::new();
        let mut model = Model::default();
        for event in &events {
            if matches!(event, Event::Restart) {
                phone = phone.restarted();
            }
            model.apply(&phone, event);
            model.check(&phone);
        }
    }
}
