//! The stores of the demo: read from a CSV file, or the sample.

use crate::sample;
use anyhow::{Context, Result, ensure};
use std::path::Path;

/// The columns of a file of stores. Only `code`, `name`, `lat` and `lon` are needed; what else is there is
/// imported.
pub const COLUMNS: [&str; 12] = [
    "code", "name", "brand", "channel", "address", "city", "region", "postcode", "country", "phone", "lat",
    "lon",
];

/// The territory of a file that is taken whole.
const WHOLE: &str = "ALL";

/// A place on the map that a round can go to.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// The store's code.
    pub code: String,
    /// What its sign says.
    pub name: String,
    /// Degrees north and east.
    pub at: (f64, f64),
}

/// A file of stores and what the demo needs to know of it before it is imported.
#[derive(Clone, Debug)]
pub struct Stores {
    /// The file as it is imported.
    pub csv: Vec<u8>,
    /// The territory that both reps share.
    pub territory: String,
    /// Import only rows of this region.
    pub region: Option<String>,
    /// Where the stores are that will be imported.
    pub places: Vec<Place>,
    /// Where they come from, for the person to read.
    pub source: String,
}

impl Stores {
    /// The invented stores of [`sample`].
    ///
    /// # Errors
    /// The sample can't be written as CSV.
    pub fn sample() -> Result<Self> {
        let csv = sample::csv()?;
        let places = places(&csv, None)?;
        let territory = sample::TERRITORY.to_owned();
        Ok(Self { csv, territory, region: None, places, source: "the built-in sample".to_owned() })
    }

    /// The stores of a file, or those of one region of it.
    ///
    /// # Errors
    /// The file can't be read, has not the columns that are needed, or holds no store with a position.
    pub fn read(file: &Path, region: Option<&str>) -> Result<Self> {
        let csv = std::fs::read(file).with_context(|| format!("can't read {}", file.display()))?;
        let places = places(&csv, region)?;
        ensure!(
            places.len() >= 2,
            "{} holds fewer than two stores with a position{}",
            file.display(),
            region.map(|region| format!(" in the region {region}")).unwrap_or_default()
        );
        let territory = region.unwrap_or(WHOLE).to_owned();
        let source = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { csv, territory, region: region.map(str::to_owned), places, source })
    }
}

fn places(csv: &[u8], region: Option<&str>) -> Result<Vec<Place>> {
    let text = csv.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(csv);
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text);
    let headers = reader.headers()?.clone();
    let column = |name: &str| headers.iter().position(|header| header.trim().eq_ignore_ascii_case(name));
    let needed = |name: &str| column(name).with_context(|| format!("the file has no column {name}"));
    let (code, name, lat, lon) = (needed("code")?, needed("name")?, needed("lat")?, needed("lon")?);
    let region = match region {
        Some(region) => Some((needed("region")?, region)),
        None => None,
    };
    let mut places = Vec::new();
    for record in reader.records() {
        // A broken row is the import's to report, with its line; a round just doesn't go there.
        let Ok(record) = record else { continue };
        let text = |at: usize| record.get(at).unwrap_or_default().trim();
        if region.is_some_and(|(at, region)| text(at) != region) {
            continue;
        }
        if let (Ok(north), Ok(east)) = (text(lat).parse(), text(lon).parse()) {
            places.push(Place {
                code: text(code).to_owned(),
                name: text(name).to_owned(),
                at: (north, east),
            });
        }
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &[u8] = b"\xEF\xBB\xBFcode,name,region,lat,lon\nA,Corner,NJ,40.1,-74.2\nB,Deli,NY,41,-73\n\
        C,No place,NJ,,\nD,Mart,NJ,40.2,-74.1\n";

    #[test]
    fn only_stores_of_the_region_with_a_position_are_places() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("stores.csv");
        std::fs::write(&file, FILE)?;
        let codes = |stores: Stores| stores.places.into_iter().map(|place| place.code).collect::<Vec<_>>();
        assert_eq!(codes(Stores::read(&file, Some("NJ"))?), ["A", "D"]);
        assert_eq!(codes(Stores::read(&file, None)?), ["A", "B", "D"]);
        Ok(())
    }

    #[test]
    fn a_file_that_can_not_serve_is_named() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("stores.csv");
        std::fs::write(&file, "code,name\nA,Corner\n")?;
        let error = Stores::read(&file, None).err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some("the file has no column lat"));
        std::fs::write(&file, FILE)?;
        assert!(Stores::read(&file, Some("TX")).is_err());
        Ok(())
    }
}
