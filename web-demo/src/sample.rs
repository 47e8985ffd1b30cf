//! Stores to try things with when there is no file of real ones: invented, the same on every machine.
//!
//! The town, the chains and the people do not exist. Telephone numbers are of the 555-0100 block, which is kept
//! free for fiction.

use anyhow::Result;

/// How many stores the sample has.
pub const STORES: usize = 520;

/// The code of the territory they lie in.
pub const TERRITORY: &str = "MB";

/// The middle of the town: degrees north and east.
const TOWN: (f64, f64) = (40.352, -74.318);

const CHAINS: &[(&str, &str)] = &[
    ("Corner & Co", "convenience"),
    ("Dashmart", "convenience"),
    ("Brightside Pharmacy", "pharmacy"),
    ("Greenleaf Market", "grocery"),
    ("Penny & Pound", "discount"),
    ("Harvest Table", "grocery"),
];

const OWNERS: &[&str] = &[
    "Kowalski",
    "Nguyen",
    "Okafor",
    "Rossi",
    "García",
    "Müller",
    "Haddad",
    "Lindqvist",
    "Novák",
    "Sharma",
    "O’Brien",
    "Tanaka",
    "Silva",
    "Petrov",
    "Dubois",
    "Yılmaz",
    "Fraser",
    "Mensah",
    "Jørgensen",
    "Castillo",
];

const TRADES: &[(&str, &str)] = &[
    ("Deli", "convenience"),
    ("Family Market", "grocery"),
    ("Bodega", "convenience"),
    ("Bakery", "grocery"),
    ("Apothecary", "pharmacy"),
    ("Corner Shop", "convenience"),
    ("Fruit & Veg", "grocery"),
    ("Café", "cafe"),
];

const CHINESE: &[(&str, &str)] = &[
    ("沈记杂货", "grocery"),
    ("沈阳饺子馆", "cafe"),
    ("金龙超市", "grocery"),
    ("福满楼", "cafe"),
    ("东方药房", "pharmacy"),
    ("好邻居便利店", "convenience"),
    ("百家福市场", "grocery"),
    ("春天茶铺", "cafe"),
    ("沈家面馆", "cafe"),
    ("大同食品", "grocery"),
];

const STREETS: &[&str] = &[
    "Main St",
    "Mill Rd",
    "Orchard Ln",
    "Station Rd",
    "Lakeview Ave",
    "Church St",
    "Liberty Ave",
    "Canal St",
    "Elm St",
    "Court St",
    "Prospect Ave",
    "Harbor Rd",
    "Franklin Ave",
    "Meadow Ln",
    "Quarry Rd",
    "Union Ave",
    "Sycamore Dr",
    "Broad St",
    "Ferry St",
    "Maple Ave",
    "Old Post Rd",
    "Market Sq",
    "Highland Ave",
    "Bridge St",
];

/// The town's quarters with their postcodes, and how far from its middle they lie, in degrees.
const QUARTERS: &[(&str, &str, f64, f64)] = &[
    ("Millbrook", "07799", 0.0, 0.0),
    ("Millbrook Heights", "07798", 0.021, -0.014),
    ("East Millbrook", "07797", 0.004, 0.031),
    ("Quarry Bridge", "07796", -0.026, 0.009),
    ("Lakeview", "07795", -0.012, -0.034),
];

const AREA_CODES: &[u16] = &[201, 551, 609, 732, 848, 856, 908, 973];

/// The sample as the text of a CSV file, with the columns that the import expects.
pub fn csv() -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(crate::stores::COLUMNS)?;
    let mut dice = Dice(0x0005_7025_5EED);
    for number in 0..STORES {
        let (quarter, postcode, north, east) = QUARTERS[dice.roll(QUARTERS.len())];
        let street = STREETS[dice.roll(STREETS.len())];
        let house = 1 + dice.roll(480);
        let (name, brand, channel) = sign(number, &format!("{house} {street}"), street, &mut dice);
        let area = AREA_CODES[number / 100 % AREA_CODES.len()];
        writer.write_record([
            format!("MB-{:04}", number + 1),
            name,
            brand.to_owned(),
            channel.to_owned(),
            format!("{house} {street}"),
            quarter.to_owned(),
            "NJ".to_owned(),
            postcode.to_owned(),
            "US".to_owned(),
            format!("+1{area}55501{:02}", number % 100),
            format!("{:.6}", TOWN.0 + north + dice.spread(0.016)),
            format!("{:.6}", TOWN.1 + east + dice.spread(0.021)),
        ])?;
    }
    Ok(writer.into_inner()?)
}

/// What the sign over the door says, the chain, and the kind of trade.
fn sign(number: usize, address: &str, street: &str, dice: &mut Dice) -> (String, &'static str, &'static str) {
    if number % 13 == 6 {
        let (name, channel) = CHINESE[number / 13 % CHINESE.len()];
        let street = street.split(' ').next().unwrap_or(street);
        return (format!("{name} {street}"), "", channel);
    }
    if dice.roll(100) < 45 {
        let (chain, channel) = CHAINS[dice.roll(CHAINS.len())];
        return (format!("{chain} {address}"), chain, channel);
    }
    let owner = OWNERS[dice.roll(OWNERS.len())];
    let (trade, channel) = TRADES[dice.roll(TRADES.len())];
    let genitive = if owner.ends_with('s') { "’" } else { "’s" };
    (format!("{owner}{genitive} {trade}"), "", channel)
}

/// Repeatable numbers: SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn roll(&mut self, sides: usize) -> usize {
        (self.next() % sides as u64) as usize
    }

    /// A number between `-reach` and `reach`, near the middle more often than at the ends.
    fn spread(&mut self, reach: f64) -> f64 {
        let unit = |dice: &mut Self| (dice.next() >> 11) as f64 / (1_u64 << 53) as f64;
        (unit(self) + unit(self) - 1.0) * reach
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::Stores;

    #[test]
    fn the_sample_is_the_same_on_every_machine() -> Result<()> {
        assert_eq!(csv()?, csv()?);
        let stores = Stores::sample()?;
        assert_eq!(stores.places.len(), STORES);
        Ok(())
    }

    #[test]
    fn every_code_and_telephone_number_is_given_once_and_numbers_are_fictional() -> Result<()> {
        let text = csv()?;
        let mut codes = std::collections::BTreeSet::new();
        let mut phones = std::collections::BTreeSet::new();
        for record in csv::Reader::from_reader(text.as_slice()).records() {
            let record = record?;
            assert!(codes.insert(record[0].to_owned()));
            assert!(record[9].contains("55501"), "{}", &record[9]);
            assert!(phones.insert(record[9].to_owned()), "{}", &record[9]);
        }
        Ok(())
    }

    #[test]
    fn some_names_are_chinese() -> Result<()> {
        let text = String::from_utf8(csv()?)?;
        assert!(text.lines().filter(|line| line.contains('沈')).count() >= 5);
        Ok(())
    }
}
