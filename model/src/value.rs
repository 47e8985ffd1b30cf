//! Field values, as they are stored, merged and sent.

use chrono::format::{self, Item, Numeric, Pad, Parsed};
use chrono::{DateTime, NaiveDate, Utc};
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use uuid::Uuid;

/// A record's fields by name. A missing field and [`Value::Null`] mean the same: no value.
pub type Fields = BTreeMap<String, Value>;

/// One field's value.
///
/// On the wire a value is plain JSON. Ids, dates and choices travel as text and times as integers, so a value
/// read from the wire must pass [`EntityDef::admit`](crate::EntityDef::admit) before it is used.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// No value.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number; a time is milliseconds since 1970 in UTC.
    Int(i64),
    /// A number with a fraction: degrees, metres.
    Real(f64),
    /// Text; also a choice's name, or a date as `YYYY-MM-DD`.
    Text(String),
    /// A set of words, sorted, each once. One without a word is [`Value::Null`].
    Set(Vec<String>),
    /// An identifier of a row or a user. Never produced by reading JSON, which has no such type.
    Id(Uuid),
    /// Something that no value of this version can be: an object, or an array with more than texts in it. What it was
    /// is not kept. It is of no field's kind, so a change with it is refused by name, and a row with it is held
    /// without it.
    Other {},
}

/// By what is there, and not by trying one variant after the other: a record has many values, and each failed try makes an
/// error of text.
impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, bool: bool) -> Result<Value, E> {
        Ok(Value::Bool(bool))
    }

    fn visit_i64<E>(self, int: i64) -> Result<Value, E> {
        Ok(Value::Int(int))
    }

    fn visit_u64<E>(self, int: u64) -> Result<Value, E> {
        Ok(i64::try_from(int).map_or(Value::Real(int as f64), Value::Int))
    }

    fn visit_f64<E>(self, real: f64) -> Result<Value, E> {
        Ok(Value::Real(real))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Other {})
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut words: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(word) = words.next_element()? {
            let Value::Text(word) = word else {
                while words.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(Value::Other {});
            };
            all.push(word);
        }
        Ok(Value::Set(all))
    }
}

impl Value {
    /// Whether there is no value.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The text, if it is text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The id, if it is an id.
    pub fn as_id(&self) -> Option<Uuid> {
        match self {
            Self::Id(id) => Some(*id),
            _ => None,
        }
    }

    /// The words, if it is a set; none if there is no value.
    pub fn as_set(&self) -> &[String] {
        match self {
            Self::Set(words) => words,
            _ => &[],
        }
    }

    /// The number, if it is a whole one.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(int) => Some(*int),
            _ => None,
        }
    }

    /// A set of these words; no value if there are none.
    pub fn set(words: impl IntoIterator<Item = String>) -> Self {
        let words: BTreeSet<String> = words.into_iter().collect();
        if words.is_empty() { Self::Null } else { Self::Set(words.into_iter().collect()) }
    }

    /// The number, if it is a number of either sort.
    pub fn as_real(&self) -> Option<f64> {
        match self {
            Self::Real(real) => Some(*real),
            Self::Int(int) => Some(*int as f64),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// What a field may hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// True or false.
    Bool,
    /// A whole number.
    Int,
    /// A finite number.
    Real,
    /// Text of at most the field's `max` characters.
    Text,
    /// The id of a row or a user.
    Id,
    /// An instant: milliseconds since 1970 in UTC.
    Time,
    /// A calendar day: `YYYY-MM-DD`.
    Date,
    /// A set of words, each of at most the field's `max` characters.
    Set,
    /// One of these names.
    Choice(&'static [&'static str]),
}

impl Kind {
    /// The value in this kind's own form, or `None` if it can't be one. `Null` is never of a kind.
    pub fn coerce(self, value: Value) -> Option<Value> {
        match (self, value) {
            (Self::Bool, value @ Value::Bool(_))
            | (Self::Int | Self::Time, value @ Value::Int(_))
            | (Self::Id, value @ Value::Id(_))
            | (Self::Text, value @ Value::Text(_)) => Some(value),
            (Self::Set, Value::Set(words)) => Some(Value::set(words)),
            (Self::Real, Value::Real(real)) if real.is_finite() => Some(Value::Real(real)),
            (Self::Real, Value::Int(int)) => Some(Value::Real(int as f64)),
            (Self::Id, Value::Text(text)) => Uuid::parse_str(&text).ok().map(Value::Id),
            (Self::Date, Value::Text(text)) => day(&text).map(|day| Value::Text(day.to_string())),
            (Self::Choice(names), Value::Text(text)) => {
                names.contains(&text.as_str()).then_some(Value::Text(text))
            }
            _ => None,
        }
    }
}

/// A Rust type that a field of an entity can have.
pub trait FieldType: Sized {
    /// The kind of value it is stored as.
    const KIND: Kind;
    /// Whether a record without it is invalid.
    const REQUIRED: bool = true;
    /// The value to store.
    fn to_value(&self) -> Value;
    /// The typed value, if the stored one is of this type.
    fn from_value(value: &Value) -> Option<Self>;
}

macro_rules! field_type {
    ($ty:ty, $kind:ident, $variant:ident) => {
        impl FieldType for $ty {
            const KIND: Kind = Kind::$kind;
            fn to_value(&self) -> Value {
                Value::$variant(self.clone())
            }
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::$variant(inner) => Some(inner.clone()),
                    _ => None,
                }
            }
        }
    };
}

field_type!(bool, Bool, Bool);
field_type!(i64, Int, Int);
field_type!(f64, Real, Real);
field_type!(String, Text, Text);
field_type!(Uuid, Id, Id);

/// A set. One that is empty is no value, so it is never required.
impl FieldType for Vec<String> {
    const KIND: Kind = Kind::Set;
    const REQUIRED: bool = false;
    fn to_value(&self) -> Value {
        Value::set(self.iter().cloned())
    }
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(vec![]),
            Value::Set(words) => Some(words.clone()),
            _ => None,
        }
    }
}

impl FieldType for DateTime<Utc> {
    const KIND: Kind = Kind::Time;
    fn to_value(&self) -> Value {
        Value::Int(self.timestamp_millis())
    }
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Int(millis) => DateTime::from_timestamp_millis(*millis),
            _ => None,
        }
    }
}

/// The form of a day, `%Y-%m-%d`, taken apart once: that takes longer than to read a day by it.
const DAY: [Item<'static>; 5] = [
    Item::Numeric(Numeric::Year, Pad::Zero),
    Item::Literal("-"),
    Item::Numeric(Numeric::Month, Pad::Zero),
    Item::Literal("-"),
    Item::Numeric(Numeric::Day, Pad::Zero),
];

fn day(text: &str) -> Option<NaiveDate> {
    let mut parsed = Parsed::new();
    format::parse(&mut parsed, text, DAY.iter()).ok()?;
    parsed.to_naive_date().ok()
}

impl FieldType for NaiveDate {
    const KIND: Kind = Kind::Date;
    fn to_value(&self) -> Value {
        Value::Text(self.to_string())
    }
    fn from_value(value: &Value) -> Option<Self> {
        day(value.as_text()?)
    }
}

impl<T: FieldType> FieldType for Option<T> {
    const KIND: Kind = T::KIND;
    const REQUIRED: bool = false;
    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::to_value)
    }
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::from_value(value).map(Some),
        }
    }
}

/// An enum whose variants are stored by name.
pub trait Choice: Sized + Copy {
    /// The names, in order of declaration.
    const NAMES: &'static [&'static str];
    /// This variant's name.
    fn name(self) -> &'static str;
    /// The variant with this name.
    fn from_name(name: &str) -> Option<Self>;
}

/// Declares an enum stored by name: `choice! { /// doc  pub enum State { /// doc  Planned = "planned" } }`.
macro_rules! choice {
    ($(#[$doc:meta])* pub enum $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $crate::Choice for $name {
            const NAMES: &'static [&'static str] = &[$($text),+];
            fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
            fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$variant),)+ _ => None }
            }
        }

        impl $crate::FieldType for $name {
            const KIND: $crate::Kind = $crate::Kind::Choice(<Self as $crate::Choice>::NAMES);
            fn to_value(&self) -> $crate::Value {
                $crate::Value::Text($crate::Choice::name(*self).to_owned())
            }
            fn from_value(value: &$crate::Value) -> Option<Self> {
                $crate::Choice::from_name(value.as_text()?)
            }
        }
    };
}
pub(crate) use choice;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_as_what_it_is() {
        let words = |words: &[&str]| Value::Set(words.iter().map(|word| (*word).to_owned()).collect());
        for (json, value) in [
            ("null", Value::Null),
            ("true", Value::Bool(true)),
            ("-7", Value::Int(-7)),
            ("9223372036854775807", Value::Int(i64::MAX)),
            ("9223372036854775808", Value::Real(9_223_372_036_854_775_808.0)),
            ("1.0", Value::Real(1.0)),
            (r#""a\n\u00f8""#, Value::Text("a\nø".to_owned())),
            (r#"["b","a"]"#, words(&["b", "a"])),
            ("[]", words(&[])),
        ] {
            assert_eq!(serde_json::from_str::<Value>(json).ok(), Some(value.clone()), "{json}");
            let tree: Option<serde_json::Value> = serde_json::from_str(json).ok();
            assert_eq!(tree.and_then(|tree| serde_json::from_value(tree).ok()), Some(value), "{json}");
        }
        for json in ["nul", "", "[1", r#"{"a":}"#] {
            assert!(serde_json::from_str::<Value>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn what_no_value_of_this_version_can_be_is_read_over_and_is_of_no_kind() {
        for json in ["{}", r#"{"a":[{"b":1.5}]}"#, "[1]", "[[]]", r#"["a",null,{}]"#, r#"[{},"a"]"#] {
            assert_eq!(serde_json::from_str::<Value>(json).ok(), Some(Value::Other {}), "{json}");
            let beside: Option<(Value, Value)> = serde_json::from_str(&format!("[{json},7]")).ok();
            assert_eq!(beside, Some((Value::Other {}, Value::Int(7))), "{json}");
        }
        // Written down, it does not become a value that it was not.
        let again = serde_json::to_string(&Value::Other {}).unwrap_or_default();
        assert_eq!(serde_json::from_str::<Value>(&again).ok(), Some(Value::Other {}), "{again}");
        assert!(!Value::Other {}.is_null());
        for kind in
            [Kind::Text, Kind::Set, Kind::Int, Kind::Real, Kind::Bool, Kind::Id, Kind::Time, Kind::Date]
        {
            assert_eq!(kind.coerce(Value::Other {}), None, "{kind:?}");
        }
    }

    #[test]
    fn a_day_is_read_as_its_form_says() {
        for text in [
            "2026-11-27",
            "2026-1-2",
            " 2026-11-27",
            "2026-02-30",
            "2026-11-27 ",
            "2026/11/27",
            "",
            "-0001-01-01",
            "20261127",
            "+12026-01-01",
            "x",
        ] {
            assert_eq!(day(text), NaiveDate::parse_from_str(text, "%Y-%m-%d").ok(), "{text}");
        }
        assert_eq!(day("2026-11-27"), NaiveDate::from_ymd_opt(2026, 11, 27));
    }
}
