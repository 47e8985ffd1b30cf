//! Rows as they come from the server: read from JSON straight into the places of their table's columns, with all that
//! can be worked out before the store is asked for anything.

use super::schema::{self, Table, folded};
use roundsman_model::{Bucket, EntityDef, FieldDef, Fields, Rev, Search, Seq, Value, search};
use roundsman_protocol::sync::{Page, Row};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, de};
use std::borrow::Cow;
use std::fmt;
use uuid::Uuid;

/// A page of a bucket's log, ready to be stored.
#[derive(Debug, Deserialize)]
pub struct Arrival {
    /// The bucket.
    pub bucket: Bucket,
    pub(super) rows: Vec<Arrived>,
    /// How far the log is read once this page is stored.
    pub cursor: Seq,
    /// How far the log reached when the answer began.
    pub head: Seq,
}

impl Arrival {
    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Log entries that follow this page.
    pub fn left(&self) -> u64 {
        self.head.0.saturating_sub(self.cursor.0)
    }
}

impl From<&Page> for Arrival {
    fn from(page: &Page) -> Self {
        let rows = page.rows.iter().map(Arrived::from).collect();
        Self { bucket: page.bucket.clone(), rows, cursor: page.cursor, head: page.head }
    }
}

/// One row of a page.
pub(super) struct Arrived {
    pub(super) entity: Name,
    pub(super) id: Uuid,
    pub(super) rev: Rev,
    pub(super) held: Fate,
}

/// Values stay out of logs.
impl fmt::Debug for Arrived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrived").field("id", &self.id).field("rev", &self.rev).finish_non_exhaustive()
    }
}

/// An entity by its table, or by its name if only a newer version knows it.
pub(super) enum Name {
    Known(&'static Table),
    Unknown(String),
}

impl Name {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Known(table) => table.def.name,
            Self::Unknown(name) => name,
        }
    }

    fn of(name: &str) -> Self {
        schema::named(name).map_or_else(|| Self::Unknown(name.to_owned()), Self::Known)
    }
}

/// What becomes of a row.
pub(super) enum Fate {
    /// It is stored.
    Held(Held),
    /// It is in the bucket, and this version can't show it.
    PassedOver,
    /// It has left the bucket.
    Gone,
}

/// A row's columns.
pub(super) struct Held {
    /// In the order of the declaration; those without a value are null.
    pub(super) values: Vec<Value>,
    /// In the order of [`folded`].
    pub(super) folded: Vec<Option<String>>,
    /// For the search index, if the entity has one.
    pub(super) terms: Option<String>,
}

impl Held {
    /// Those of fields that were admitted; nothing if they make no record that this version can show.
    fn of(def: &'static EntityDef, values: Vec<Value>) -> Option<Self> {
        if def.fields.iter().zip(&values).any(|(field, value)| field.required && value.is_null()) {
            return None;
        }
        let at = |name: &str| def.fields.iter().position(|field| field.name == name);
        let text = |field: &FieldDef| values[at(field.name)?].as_text().map(search::fold);
        let folded = folded(def).map(text).collect();
        let searched = def.fields.iter().any(|field| field.search != Search::No);
        let terms = searched.then(|| search::gram_terms(def, |at, _| values[at].as_text()));
        Some(Self { values, folded, terms })
    }

    /// The fields by name.
    pub(super) fn fields(&self, def: &EntityDef) -> Fields {
        let named = def.fields.iter().zip(&self.values).filter(|(_, value)| !value.is_null());
        named.map(|(field, value)| (field.name.to_owned(), value.clone())).collect()
    }
}

fn from_fields(def: &'static EntityDef, fields: Fields) -> Vec<Value> {
    let mut fields = def.tolerate(fields);
    def.fields.iter().map(|field| fields.remove(field.name).unwrap_or(Value::Null)).collect()
}

impl From<&Row> for Arrived {
    fn from(row: &Row) -> Self {
        let entity = Name::of(&row.entity);
        let held = match (&entity, row.fields.clone()) {
            (_, None) => Fate::Gone,
            (Name::Known(table), Some(fields)) => fate(table.def, from_fields(table.def, fields)),
            (Name::Unknown(_), Some(_)) => Fate::PassedOver,
        };
        Self { entity, id: row.id, rev: row.rev, held }
    }
}

fn fate(def: &'static EntityDef, values: Vec<Value>) -> Fate {
    Held::of(def, values).map_or(Fate::PassedOver, Fate::Held)
}

impl<'de> Deserialize<'de> for Arrived {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RowVisitor)
    }
}

struct RowVisitor;

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Key {
    Entity,
    Id,
    Rev,
    Fields,
    #[serde(other)]
    Other,
}

/// Fields as they were read.
enum Read {
    /// After the entity's name, into its places.
    Placed(Vec<Value>),
    /// Of an entity that this version does not know.
    Skipped,
    /// Before the entity's name.
    Loose(Fields),
}

impl<'de> Visitor<'de> for RowVisitor {
    type Value = Arrived;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Arrived, A::Error> {
        let (mut entity, mut id, mut rev, mut fields) = (None, None, None, None);
        while let Some(key) = map.next_key()? {
            match key {
                Key::Entity => entity = Some(Name::of(&map.next_value::<Text<'_>>()?.0)),
                Key::Id => id = Some(map.next_value()?),
                Key::Rev => rev = Some(map.next_value()?),
                Key::Fields => {
                    fields = match &entity {
                        Some(Name::Known(table)) => map.next_value_seed(Places(table.def))?.map(Read::Placed),
                        Some(Name::Unknown(_)) => {
                            map.next_value::<Option<IgnoredAny>>()?.map(|_| Read::Skipped)
                        }
                        None => map.next_value::<Option<Fields>>()?.map(Read::Loose),
                    };
                }
                Key::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let entity = entity.ok_or_else(|| A::Error::missing_field("entity"))?;
        let held = match (&entity, fields) {
            (_, None) => Fate::Gone,
            (Name::Known(table), Some(Read::Placed(values))) => fate(table.def, values),
            (Name::Known(table), Some(Read::Loose(fields))) => {
                fate(table.def, from_fields(table.def, fields))
            }
            (_, Some(_)) => Fate::PassedOver,
        };
        Ok(Arrived {
            entity,
            id: id.ok_or_else(|| A::Error::missing_field("id"))?,
            rev: rev.ok_or_else(|| A::Error::missing_field("rev"))?,
            held,
        })
    }
}

/// Text that is copied only if it has to be.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Reads fields into the places of an entity's declaration; nothing if there is null.
struct Places(&'static EntityDef);

impl<'de> DeserializeSeed<'de> for Places {
    type Value = Option<Vec<Value>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Places {
    type Value = Option<Vec<Value>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record's fields")
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let fields = self.0.fields;
        let mut values = vec![Value::Null; fields.len()];
        while let Some(at) = map.next_key_seed(Place(fields))? {
            match at {
                Some(at) => {
                    values[at] = fields[at].tolerate(map.next_value()?);
                }
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Some(values))
    }
}

/// The place of a field by its name.
struct Place(&'static [FieldDef]);

impl<'de> DeserializeSeed<'de> for Place {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Place {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|field| field.name == name))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use super::*;
    use roundsman_model::Entity;
    use roundsman_model::customer::Customer;

    const ID: &str = "00000000-0000-0000-0000-000000000007";

    fn read(row: &str) -> Arrived {
        serde_json::from_str(row).unwrap()
    }

    fn fields(row: &Arrived) -> Option<Fields> {
        match &row.held {
            Fate::Held(held) => Some(held.fields(Customer::DEF)),
            _ => None,
        }
    }

    #[test]
    fn a_row_reads_the_same_in_whatever_order_its_parts_come() {
        let values = r#"{"code":"C1","name":"Øl \"1\"","territory":"nj","lat":40,"brand":null,"drone":{"a":[1]},
            "tags":["b","a"],"status":"asleep","city":7,"postcode":{"x":1},"phone":[["1"],2]}"#;
        let orders = [
            format!(r#"{{"entity":"customer","id":"{ID}","rev":3,"fields":{values}}}"#),
            format!(r#"{{"rev":3,"new":[{{}}],"fields":{values},"id":"{ID}","entity":"customer"}}"#),
        ];
        for row in orders {
            let row = read(&row);
            let found = fields(&row).unwrap();
            let names: Vec<&str> = found.keys().map(String::as_str).collect();
            assert_eq!(names, ["code", "lat", "name", "tags", "territory"]);
            assert_eq!(found["lat"], Value::Real(40.0));
            assert_eq!(found["name"].as_text(), Some("Øl \"1\""));
            assert_eq!((row.id.as_u128(), row.rev.0), (7, 3));
        }
    }

    #[test]
    fn a_page_reads_as_it_was_written() {
        let text = |name: &str, value: &str| (name.to_owned(), Value::from(value));
        let fields = Fields::from([text("code", "C1"), text("name", "Oak"), text("territory", "nj")]);
        let row = |entity: &str, fields| Row {
            entity: entity.to_owned(),
            id: Uuid::from_u128(7),
            rev: Rev(2),
            fields,
        };
        let rows =
            vec![row("customer", Some(fields.clone())), row("customer", None), row("drone", Some(fields))];
        let page = Page { bucket: Bucket::territory("nj"), rows, cursor: Seq(3), head: Seq(9) };
        let read: Arrival = serde_json::from_str(&serde_json::to_string(&page).unwrap()).unwrap();
        for arrival in [read, Arrival::from(&page)] {
            assert_eq!((arrival.rows(), arrival.left()), (3, 6));
            assert!(self::fields(&arrival.rows[0]).is_some());
            assert!(matches!(arrival.rows[1].held, Fate::Gone));
            assert!(matches!(
                (&arrival.rows[2].held, arrival.rows[2].entity.text()),
                (Fate::PassedOver, "drone")
            ));
        }
    }
}
