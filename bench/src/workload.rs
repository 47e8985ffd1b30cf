//! Customers to measure with: made up from a seed, or read from a file of real stores.

use crate::report::thousands;
use anyhow::{Context, Result};
use roundsman_core::model::{Fields, Value};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// The seed of the made-up customers.
const SEED: u64 = 7;

/// Which customers.
#[derive(clap::Args, Clone)]
pub(crate) struct Load {
    /// How many customers.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) customers: usize,
    /// A CSV file of real stores to take them from, whose columns have the names of fields.
    #[arg(long, value_name = "FILE")]
    pub(crate) stores: Option<PathBuf>,
}

impl Load {
    pub(crate) fn read(&self) -> Result<Vec<Customer>> {
        match &self.stores {
            Some(path) => real(path, self.customers),
            None => Ok(customers(SEED, self.customers).collect()),
        }
    }

    /// The same with another number of them.
    pub(crate) fn with(&self, customers: usize) -> Self {
        Self { customers, ..self.clone() }
    }

    /// The same as arguments of a command.
    pub(crate) fn to_args(&self) -> Vec<String> {
        let mut args = vec!["--customers".to_owned(), self.customers.to_string()];
        if let Some(path) = &self.stores {
            args.extend(["--stores".to_owned(), path.display().to_string()]);
        }
        args
    }

    /// What they are, for a reader.
    pub(crate) fn about(&self) -> String {
        let what = if self.stores.is_some() { "real stores" } else { "customers" };
        format!("{} {what} of {} to {} bytes", thousands(self.customers as u64), SIZE.0, SIZE.1)
    }
}

/// The columns of a customer, in the order of [`Customer::texts`].
pub(crate) const COLUMNS: [&str; 14] = [
    "code",
    "name",
    "brand",
    "channel",
    "address",
    "city",
    "region",
    "postcode",
    "country",
    "phone",
    "lat",
    "lon",
    "territory",
    "notes",
];

/// Bytes of JSON that a customer's fields have, from and to.
pub(crate) const SIZE: (usize, usize) = (500, 700);

const BRANDS: [&str; 12] = [
    "7-Eleven",
    "Wawa",
    "Corner Pantry",
    "Green Grocer",
    "Rite Pharmacy",
    "Dollar House",
    "Café Lumière",
    "Stop & Sip",
    "Harbor Market",
    "Oak Street",
    "Bäckerei Müller",
    "Sunrise Deli",
];
const CHANNELS: [&str; 5] = ["convenience", "pharmacy", "grocery", "discount", "restaurant"];
const STREETS: [&str; 16] = [
    "Ocean Ave",
    "Centennial Dr",
    "Main St",
    "Broadway",
    "Maple Ln",
    "Route 9",
    "Elm St",
    "Harbor Rd",
    "Lake Dr",
    "Church St",
    "Park Ave",
    "Mill Rd",
    "Union St",
    "Bay Blvd",
    "Station Rd",
    "Cedar Ct",
];
const CITIES: [&str; 16] = [
    "Long Branch",
    "Newark",
    "Deal",
    "Allenhurst",
    "Red Bank",
    "Asbury Park",
    "Trenton",
    "Camden",
    "Princeton",
    "Edison",
    "Toms River",
    "Hoboken",
    "Clifton",
    "Passaic",
    "Montclair",
    "Cape May",
];
const NAMES_CN: [&str; 8] =
    ["沈阳便利店", "艳粉街超市", "阳光百货", "和平茶铺", "铁西粮油", "北站小卖部", "南湖水果", "大东食品"];
const WORDS: [&str; 24] = [
    "back",
    "door",
    "after",
    "ten",
    "ask",
    "for",
    "the",
    "manager",
    "cooler",
    "left",
    "of",
    "counter",
    "delivery",
    "mornings",
    "only",
    "keys",
    "with",
    "neighbour",
    "shelf",
    "plan",
    "changed",
    "in",
    "spring",
    "parking",
];

/// One customer's fields as texts.
pub(crate) struct Customer {
    /// The record's id; ids rise, as those of records do that were made one after another.
    pub(crate) id: Uuid,
    /// In the order of [`COLUMNS`].
    pub(crate) texts: [String; 14],
}

impl Customer {
    /// The fields as they stand on the wire.
    pub(crate) fn fields(&self) -> Fields {
        let value = |(name, text): (&&str, &String)| {
            let value = match *name {
                "lat" | "lon" => Value::Real(text.parse().ok()?),
                _ => Value::from(text.as_str()),
            };
            (!text.is_empty()).then(|| ((*name).to_owned(), value))
        };
        COLUMNS.iter().zip(&self.texts).filter_map(value).collect()
    }
}

/// Numbers that look random and are the same in every run (SplitMix64: Steele, Lea, Flood, 2014).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// Made-up customers of the territory `NJ`, the same for the same seed.
pub(crate) fn customers(seed: u64, count: usize) -> impl Iterator<Item = Customer> {
    let mut dice = Dice(seed);
    (0..count).map(move |n| {
        let (brand, city, number) = (dice.one(&BRANDS), dice.one(&CITIES), dice.below(9_990) + 1);
        let street = dice.one(&STREETS);
        // Every sixteenth has a Chinese name.
        let name = if dice.below(16) == 0 {
            format!("{}{number}", dice.one(&NAMES_CN))
        } else {
            format!("{brand} {number} {street}")
        };
        let texts = [
            format!("C{n:06}"),
            name,
            brand.to_owned(),
            dice.one(&CHANNELS).to_owned(),
            format!("{number} {street}"),
            city.to_owned(),
            "NJ".to_owned(),
            format!("{:05}", 7_000 + dice.below(1_990)),
            "US".to_owned(),
            format!("+1732{:07}", dice.below(10_000_000)),
            format!("{:.6}", 39.0 + dice.below(2_000_000) as f64 / 1e6),
            format!("{:.6}", -75.0 + dice.below(2_000_000) as f64 / 1e6),
            "NJ".to_owned(),
            String::new(),
        ];
        filled(n, texts, &mut dice)
    })
}

/// Customers from a file whose columns have the names of fields, again and again until there are enough.
pub(crate) fn real(path: &Path, count: usize) -> Result<Vec<Customer>> {
    let mut reader = csv::Reader::from_path(path).context("the file of stores can't be read")?;
    let headers = reader.headers()?.clone();
    let rows = reader.records().collect::<Result<Vec<_>, _>>()?;
    anyhow::ensure!(!rows.is_empty(), "the file of stores is empty");
    let mut dice = Dice(1);
    let row = |n: usize| {
        let text = |column: &str| {
            let at = headers.iter().position(|header| header == column);
            at.and_then(|at| rows[n % rows.len()].get(at)).unwrap_or_default().to_owned()
        };
        let mut texts = COLUMNS.map(text);
        if n >= rows.len() {
            texts[0] = format!("{}-{}", texts[0], n / rows.len());
        }
        "NJ".clone_into(&mut texts[12]);
        filled(n, texts, &mut dice)
    };
    Ok((0..count).map(row).collect())
}

/// Adds notes up to the size of a customer.
fn filled(n: usize, mut texts: [String; 14], dice: &mut Dice) -> Customer {
    let named: usize = COLUMNS.iter().zip(&texts).map(|(name, text)| name.len() + text.len() + 6).sum();
    let size = SIZE.0 + 10 + dice.below(SIZE.1 - SIZE.0 - 20);
    let mut notes = String::new();
    while named + notes.len() < size {
        notes.push_str(dice.one(&WORDS));
        notes.push(' ');
    }
    notes.trim_end().clone_into(&mut texts[13]);
    // A UUIDv7 of a moment that is the same in every run.
    let id =
        uuid::Builder::from_unix_timestamp_millis(1_790_000_000_000 + n as u64, &random(dice)).into_uuid();
    Customer { id, texts }
}

fn random(dice: &mut Dice) -> [u8; 10] {
    std::array::from_fn(|_| dice.below(256) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_customers_are_of_their_size_and_the_same_each_time() {
        let (first, second): (Vec<_>, Vec<_>) = (customers(7, 500).collect(), customers(7, 500).collect());
        for (one, other) in first.iter().zip(&second) {
            assert_eq!((one.id, &one.texts), (other.id, &other.texts));
            let size = serde_json::to_string(&one.fields()).map(|json| json.len()).unwrap_or_default();
            assert!((SIZE.0..=SIZE.1).contains(&size), "{size} bytes");
        }
        assert!(first.iter().any(|customer| customer.texts[1].contains('阳')));
    }
}
