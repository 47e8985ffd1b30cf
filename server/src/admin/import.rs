//! Customers from a CSV file.

use super::people::is_territory;
use super::{Admin, AdminError, allow, record};
use crate::records::{change, store, text};
use crate::storage::{StorageError, WriteTx};
use csv::{ByteRecord, Position, ReaderBuilder, StringRecord};
use roundsman_model::customer::Customer;
use roundsman_model::merge::Edit;
use roundsman_model::{Entity, Fields, HybridClock, Kind, Rev, RuleError, Stamp, UserId, Value};
use std::collections::BTreeMap;
use std::io::Read;

/// How many rows go into one transaction.
const BATCH: usize = 1_000;

/// Other names that files give to fields.
const OTHER_NAMES: &[(&str, &[&str])] = &[
    ("code", &["id", "store id", "store code", "customer id", "customer code", "account", "number", "ref"]),
    ("name", &["store", "store name", "customer", "customer name", "outlet", "outlet name", "title"]),
    ("brand", &["chain", "banner"]),
    ("channel", &["type", "trade", "category", "shop"]),
    ("address", &["street", "street address", "address line 1", "addr"]),
    ("city", &["town", "locality"]),
    ("region", &["state", "province", "county"]),
    ("postcode", &["zip", "zip code", "postal code", "post code"]),
    ("country", &["country code"]),
    ("phone", &["telephone", "phone number", "tel", "mobile"]),
    ("lat", &["latitude", "y"]),
    ("lon", &["lng", "long", "longitude", "x"]),
    ("notes", &["note", "comment", "remarks"]),
];

/// Columns that often say which rep looks after a store, the likeliest first.
const TERRITORY_NAMES: &[&str] =
    &["territory", "territory code", "area", "district", "region", "state", "city"];

/// Which column holds what.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapping {
    /// The column for a field of the customer, by the field's name.
    pub columns: BTreeMap<String, String>,
    /// Where the territory comes from.
    pub territory: TerritoryFrom,
    /// Takes only the rows that have this value in this column: column, value.
    pub filter: Option<(String, String)>,
}

/// Where a customer's territory comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum TerritoryFrom {
    /// From this column.
    Column(String),
    /// The same for every row.
    Fixed(String),
}

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImportReport {
    /// Rows read, the header and filtered ones not counted.
    pub read: u64,
    /// Customers created.
    pub created: u64,
    /// Customers changed.
    pub updated: u64,
    /// Customers that were the same already.
    pub unchanged: u64,
    /// Rows that were left out.
    pub rejected: Vec<RowError>,
}

/// Why a row was left out.
#[derive(Clone, Debug, PartialEq)]
pub struct RowError {
    /// The line of the file it begins on, from 1.
    pub row: u64,
    /// The column at fault, if it is one.
    pub column: Option<String>,
    /// What is wrong, in words.
    pub reason: String,
}

/// Why an import did not go to its end. Batches before it are stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The file has no header, or can't be read at all.
    #[error("the file can't be read as CSV")]
    Unreadable(#[source] csv::Error),
    /// A column that the mapping names is not in the file.
    #[error("the file has no column {0}")]
    NoSuchColumn(String),
    /// The mapping names a field customers don't have.
    #[error("customers have no field {0}")]
    NoSuchField(String),
    /// The mapping leaves a field out that every customer needs.
    #[error("say which column holds the {0}")]
    ColumnMissing(&'static str),
    /// The fixed territory is not a code.
    #[error("the territory is not a code")]
    TerritoryInvalid,
    /// The administrator may not, or the storage failed.
    #[error(transparent)]
    Refused(#[from] AdminError),
}

impl From<StorageError> for ImportError {
    fn from(error: StorageError) -> Self {
        Self::Refused(error.into())
    }
}

impl Mapping {
    /// A guess from the file's header: columns named like fields, or by their common other names.
    pub fn guess(headers: &[String]) -> Self {
        let plain = |text: &str| plain(text.trim_start_matches('\u{feff}'));
        let find = |names: &[&str]| {
            names.iter().find_map(|name| headers.iter().find(|header| plain(header) == *name)).cloned()
        };
        let mut columns = BTreeMap::new();
        for field in Customer::DEF.fields.iter().filter(|field| field.name != "territory") {
            let others = OTHER_NAMES
                .iter()
                .find(|(name, _)| *name == field.name)
                .map_or(&[][..], |(_, others)| others);
            let names: Vec<&str> = std::iter::once(field.name).chain(others.iter().copied()).collect();
            if let Some(column) = find(&names).filter(|column| !columns.values().any(|taken| taken == column))
            {
                columns.insert(field.name.to_owned(), column.trim_start_matches('\u{feff}').to_owned());
            }
        }
        let territory = find(TERRITORY_NAMES)
            .map_or_else(|| TerritoryFrom::Fixed("ALL".to_owned()), TerritoryFrom::Column);
        Self { columns, territory, filter: None }
    }
}

/// A header as it is compared: lower case, with blanks between words.
fn plain(header: &str) -> String {
    header.trim().to_lowercase().replace(['_', '-', '.'], " ")
}

impl Admin {
    /// Brings customers in from a CSV file with a header line, in batches of 1,000 rows a transaction. A row
    /// whose code is known changes that customer; an empty cell changes nothing; broken rows are reported and left
    /// out. `progress` hears after each batch how many rows were read.
    ///
    /// # Errors
    /// See [`ImportError`].
    pub fn import_customers(
        &self,
        actor: UserId,
        reader: impl Read,
        mapping: &Mapping,
        progress: &mut dyn FnMut(u64),
    ) -> Result<ImportReport, ImportError> {
        allow(self.app.storage.read()?.as_ref(), actor)?;
        let mut csv = ReaderBuilder::new().flexible(true).from_reader(reader);
        let plan = Plan::new(csv.byte_headers().map_err(ImportError::Unreadable)?, mapping)?;
        let mut clock = HybridClock::default();
        let mut report = ImportReport::default();
        let mut row = ByteRecord::new();
        loop {
            let stamp = clock.tick(self.app.now());
            let mut tx = self.app.storage.write()?;
            let mut in_batch = 0;
            let more = loop {
                if in_batch == BATCH {
                    break true;
                }
                if !csv.read_byte_record(&mut row).map_err(ImportError::Unreadable)? {
                    break false;
                }
                let line = row.position().map_or(0, Position::line);
                let Some(read) = plan.read(&row).transpose() else { continue };
                in_batch += 1;
                report.read += 1;
                let taken = match read {
                    Ok(fields) => write(tx.as_mut(), fields, stamp)?,
                    Err(broken) => Err(broken),
                };
                match taken {
                    Ok(Taken::Created) => report.created += 1,
                    Ok(Taken::Updated) => report.updated += 1,
                    Ok(Taken::Unchanged) => report.unchanged += 1,
                    Err(broken) => report.rejected.push(RowError {
                        row: line,
                        column: broken.field.and_then(|field| plan.column_of(&field)),
                        reason: broken.reason,
                    }),
                }
            };
            if !more {
                record(tx.as_mut(), actor, "import_customers", report.read, self.app.now())?;
            }
            tx.commit()?;
            progress(report.read);
            if !more {
                return Ok(report);
            }
        }
    }
}

/// A mapping with its columns found.
struct Plan<'a> {
    mapping: &'a Mapping,
    headers: StringRecord,
    /// Field, kind, place of the column.
    fields: Vec<(&'a str, Kind, usize)>,
    territory: Option<usize>,
    filter: Option<(usize, &'a str)>,
}

/// Why a row is left out.
struct Broken {
    field: Option<String>,
    reason: String,
}

impl<'a> Plan<'a> {
    fn new(headers: &ByteRecord, mapping: &'a Mapping) -> Result<Self, ImportError> {
        let headers: StringRecord = headers
            .iter()
            .map(|header| String::from_utf8_lossy(header).trim_start_matches('\u{feff}').to_owned())
            .collect();
        let place = |column: &str| {
            let column = column.trim_start_matches('\u{feff}');
            headers
                .iter()
                .position(|header| header == column)
                .ok_or_else(|| ImportError::NoSuchColumn(column.to_owned()))
        };
        let mut fields = Vec::new();
        for (name, column) in &mapping.columns {
            let def = Customer::DEF
                .field(name)
                .filter(|field| field.name != "territory")
                .ok_or_else(|| ImportError::NoSuchField(name.clone()))?;
            fields.push((def.name, def.kind, place(column)?));
        }
        for needed in ["code", "name"] {
            if !mapping.columns.contains_key(needed) {
                return Err(ImportError::ColumnMissing(needed));
            }
        }
        let territory = match &mapping.territory {
            TerritoryFrom::Column(column) => Some(place(column)?),
            TerritoryFrom::Fixed(code) if is_territory(code.trim()) => None,
            TerritoryFrom::Fixed(_) => return Err(ImportError::TerritoryInvalid),
        };
        let filter = match &mapping.filter {
            Some((column, value)) => Some((place(column)?, value.trim())),
            None => None,
        };
        Ok(Self { mapping, headers, fields, territory, filter })
    }

    /// The fields of a row; `None` if the filter leaves it out.
    fn read(&self, row: &ByteRecord) -> Result<Option<Fields>, Broken> {
        let cell = |place: usize| row.get(place).unwrap_or_default();
        if let Some((place, value)) = self.filter
            && cell(place).trim_ascii() != value.as_bytes()
        {
            return Ok(None);
        }
        if row.len() != self.headers.len() {
            let reason = format!("the row has {} cells, the header has {}", row.len(), self.headers.len());
            return Err(Broken { field: None, reason });
        }
        let mut fields = Fields::new();
        let cells =
            self.fields.iter().copied().chain(self.territory.map(|place| ("territory", Kind::Text, place)));
        for (name, kind, place) in cells {
            let broken = |reason: &str| Broken { field: Some(name.to_owned()), reason: reason.to_owned() };
            let text = std::str::from_utf8(cell(place)).map_err(|_| broken("the text is not UTF-8"))?.trim();
            if !text.is_empty() {
                fields.insert(
                    name.to_owned(),
                    value(kind, text).ok_or_else(|| broken("this is not a number"))?,
                );
            }
        }
        if let TerritoryFrom::Fixed(code) = &self.mapping.territory {
            fields.insert("territory".to_owned(), code.trim().into());
        }
        let territory = fields.get("territory").and_then(Value::as_text);
        if territory.is_some_and(|code| !is_territory(code)) {
            let reason = AdminError::TerritoryInvalid.to_string();
            return Err(Broken { field: Some("territory".to_owned()), reason });
        }
        Ok(Some(fields))
    }

    fn column_of(&self, field: &str) -> Option<String> {
        match &self.mapping.territory {
            TerritoryFrom::Column(column) if field == "territory" => Some(column.clone()),
            _ => self.mapping.columns.get(field).cloned(),
        }
    }
}

fn value(kind: Kind, text: &str) -> Option<Value> {
    match kind {
        Kind::Real => text.parse().ok().filter(|real: &f64| real.is_finite()).map(Value::Real),
        Kind::Int | Kind::Time => text.parse().ok().map(Value::Int),
        Kind::Bool => text.parse().ok().map(Value::Bool),
        Kind::Set => Some(Value::set(text.split([',', ';']).map(|word| word.trim().to_owned()))),
        Kind::Text | Kind::Id | Kind::Date | Kind::Choice(_) => Some(text.into()),
    }
}

enum Taken {
    Created,
    Updated,
    Unchanged,
}

impl From<RuleError> for Broken {
    fn from(error: RuleError) -> Self {
        let field = match &error {
            RuleError::Required { field }
            | RuleError::WrongKind { field }
            | RuleError::TooLong { field, .. }
            | RuleError::OutOfRange { field } => Some(field.clone()),
            _ => None,
        };
        Self { field, reason: error.to_string() }
    }
}

/// Creates or changes the customer with the row's code.
fn write(tx: &mut dyn WriteTx, fields: Fields, stamp: Stamp) -> Result<Result<Taken, Broken>, StorageError> {
    let def = Customer::DEF;
    let fields = match def.admit(fields) {
        Ok(fields) => fields,
        Err(error) => return Ok(Err(error.into())),
    };
    let mut before = match text(&fields, "code") {
        Some(code) => tx.customer_by_code(&code)?,
        None => None,
    };
    if let Some(before) = &mut before {
        before.fields =
            def.admit(std::mem::take(&mut before.fields)).map_err(|_| StorageError::Damaged("customer"))?;
    }
    let base = before.as_ref().map_or(Rev(0), |record| record.rev);
    let id = before.as_ref().map_or_else(crate::random::uuid, |record| record.id);
    let nothing = Fields::new();
    let was = before.as_ref().map_or(&nothing, |record| &record.fields);
    let edit = Edit { fields: &fields, was, base, stamp, device: None };
    let changed = match change(def, before.as_ref(), id, edit) {
        Ok(changed) => changed,
        Err(error) => return Ok(Err(error.into())),
    };
    store(tx, def, before.as_ref(), &changed, None)?;
    Ok(Ok(match before {
        None => Taken::Created,
        Some(_) if changed.differs => Taken::Updated,
        Some(_) => Taken::Unchanged,
    }))
}
