//! How an entity is declared, and what its declaration can do.

use crate::{Bucket, FieldType, Fields, Kind, Merge, UserId, Value};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The most words in a set.
pub const MAX_WORDS: usize = 100;

/// How closely a field must be kept. Decides masking, audit and who may see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Anyone may know it: a store's name and address.
    Public,
    /// Known inside the organisation: codes, notes of a visit.
    Internal,
    /// About a person: a phone number, a position.
    Personal,
    /// Harmful if it leaks: credit limits, balances.
    Sensitive,
}

/// How a field is found by search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// Not searched.
    No,
    /// By any word's beginning, or one CJK character.
    Words,
    /// By any run of its digits, in any format.
    Digits,
}

/// Which bucket a record belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The territory whose code is in this field.
    Territory(&'static str),
    /// The user whose id is in this field.
    User(&'static str),
    /// The bucket of the record that it is about. Only the server makes and removes such records.
    Record,
}

/// What a user is in the organisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Visits stores; reads and writes the customers and visits of the own territories.
    Rep,
    /// Runs the system from the console; enrols, locks and wipes devices.
    Admin,
}

/// One field of an entity.
#[derive(Clone, Copy, Debug)]
pub struct FieldDef {
    /// Its name in the store, on the wire and in the bindings.
    pub name: &'static str,
    /// What it may hold.
    pub kind: Kind,
    /// Whether a record must have it.
    pub required: bool,
    /// How closely it is kept.
    pub class: Class,
    /// How two edits are settled.
    pub merge: Merge,
    /// How it is searched.
    pub search: Search,
    /// Whether lists are filtered or sorted by it.
    pub indexed: bool,
    /// The most characters of a text.
    pub max: usize,
    /// The least and the most of a number.
    pub range: Option<(f64, f64)>,
}

/// Starts the declaration of a field; kind, name and requirement come from the struct's own field.
pub const fn field(class: Class, merge: Merge) -> FieldDef {
    FieldDef {
        name: "",
        kind: Kind::Text,
        required: false,
        class,
        merge,
        search: Search::No,
        indexed: false,
        max: 200,
        range: None,
    }
}

impl FieldDef {
    /// Found by search in this way.
    #[must_use]
    pub const fn search(mut self, search: Search) -> Self {
        self.search = search;
        self
    }

    /// Kept in an index of the store.
    #[must_use]
    pub const fn indexed(mut self) -> Self {
        self.indexed = true;
        self
    }

    /// Text of at most this many characters (200 unless told).
    #[must_use]
    pub const fn max(mut self, characters: usize) -> Self {
        self.max = characters;
        self
    }

    /// A number from `least` to `most`.
    #[must_use]
    pub const fn range(mut self, least: f64, most: f64) -> Self {
        self.range = Some((least, most));
        self
    }

    #[doc(hidden)]
    #[must_use]
    pub const fn named(mut self, name: &'static str, kind: Kind, required: bool) -> Self {
        self.name = name;
        self.kind = kind;
        self.required = required;
        self
    }

    /// The value in the field's own kind and limits, or null if it can't be held.
    pub fn tolerate(&self, value: Value) -> Value {
        let value = if value.is_null() { value } else { self.admit(value).unwrap_or(Value::Null) };
        // A count of milliseconds may be no time at all.
        let time = matches!(self.kind, Kind::Time);
        if time && Option::<DateTime<Utc>>::from_value(&value).is_none() { Value::Null } else { value }
    }

    /// Brings a value into the field's own kind and limits.
    pub(crate) fn admit(&self, value: Value) -> Result<Value, RuleError> {
        let name = || self.name.to_owned();
        let value = self.kind.coerce(value).ok_or_else(|| RuleError::WrongKind { field: name() })?;
        if let Value::Text(text) = &value
            && text.len() > self.max
            && text.chars().count() > self.max
        {
            return Err(RuleError::TooLong { field: name(), max: self.max });
        }
        if let Value::Set(words) = &value {
            if words.len() > MAX_WORDS {
                return Err(RuleError::TooLong { field: name(), max: MAX_WORDS });
            }
            if words.iter().any(|word| word.trim().is_empty() || word.chars().count() > self.max) {
                return Err(RuleError::TooLong { field: name(), max: self.max });
            }
        }
        if let (Some((least, most)), Some(real)) = (self.range, value.as_real())
            && !(least..=most).contains(&real)
        {
            return Err(RuleError::OutOfRange { field: name() });
        }
        Ok(value)
    }
}

/// An entity's declaration.
#[derive(Debug)]
pub struct EntityDef {
    /// Its name: the table, and the `entity` on the wire.
    pub name: &'static str,
    /// Its fields, `id` apart.
    pub fields: &'static [FieldDef],
    /// Which bucket a record belongs to.
    pub scope: Scope,
    /// The rule between a record's former state and its new one.
    pub rule: fn(old: Option<&Fields>, new: &Fields) -> Result<(), RuleError>,
}

impl EntityDef {
    /// The field with this name.
    pub fn field(&self, name: &str) -> Option<&FieldDef> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Brings fields from outside into their own kinds and limits.
    ///
    /// # Errors
    /// The first field that is unknown, of the wrong kind, too long or out of range.
    pub fn admit(&self, fields: Fields) -> Result<Fields, RuleError> {
        fields
            .into_iter()
            .map(|(name, value)| {
                let Some(field) = self.field(&name) else {
                    return Err(RuleError::UnknownField { field: name });
                };
                let value = if value.is_null() { value } else { field.admit(value)? };
                Ok((name, value))
            })
            .collect()
    }

    /// The fields from outside that can be held, in their own kinds and limits; those without a value are left out.
    pub fn tolerate(&self, fields: Fields) -> Fields {
        let held = |(name, value): (String, Value)| {
            let value = self.field(&name)?.tolerate(value);
            (!value.is_null()).then_some((name, value))
        };
        fields.into_iter().filter_map(held).collect()
    }

    /// Whether `new`, a whole record, may follow `old`.
    ///
    /// # Errors
    /// A required field without a value, or the entity's own rule.
    pub fn check(&self, old: Option<&Fields>, new: &Fields) -> Result<(), RuleError> {
        for field in self.fields.iter().filter(|field| field.required) {
            if new.get(field.name).is_none_or(Value::is_null) {
                return Err(RuleError::Required { field: field.name.to_owned() });
            }
        }
        (self.rule)(old, new)
    }

    /// The bucket a record belongs to; `None` while the field that decides has no value.
    pub fn bucket(&self, fields: &Fields) -> Option<Bucket> {
        match self.scope {
            Scope::Territory(name) => fields.get(name)?.as_text().map(Bucket::territory),
            Scope::Record => None,
            Scope::User(name) => fields.get(name)?.as_id().map(|id| Bucket::user(UserId(id))),
        }
    }
}

/// A typed entity: the struct beside its declaration.
pub trait Entity: Sized {
    /// The declaration.
    const DEF: &'static EntityDef;

    /// The record's id.
    fn id(&self) -> Uuid;

    /// Reads a record from fields that were admitted.
    ///
    /// # Errors
    /// A required field without a value, or a value of the wrong kind.
    fn from_fields(id: Uuid, fields: &Fields) -> Result<Self, RuleError>;

    /// The record's fields; those without a value are left out.
    fn to_fields(&self) -> Fields;
}

/// Why a record, or a change of one, is refused. The same on phone and server; sent as the reason of a
/// rejection. Holds names of fields, never their values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "snake_case")]
pub enum RuleError {
    /// No such entity in this version.
    #[error("this version knows no entity of that name")]
    UnknownEntity,
    /// No such field in this version.
    #[error("there is no field {field}")]
    UnknownField {
        /// The name as given.
        field: String,
    },
    /// A field that must have a value has none.
    #[error("{field} must be filled in")]
    Required {
        /// The field.
        field: String,
    },
    /// A value is of another kind than its field.
    #[error("{field} holds a value of the wrong kind")]
    WrongKind {
        /// The field.
        field: String,
    },
    /// A text is longer than its field allows.
    #[error("{field} is longer than {max} characters")]
    TooLong {
        /// The field.
        field: String,
        /// The most characters.
        max: usize,
    },
    /// A number is outside its field's range.
    #[error("{field} is out of range")]
    OutOfRange {
        /// The field.
        field: String,
    },
    /// A field that never changes was changed.
    #[error("{field} can't be changed once it is set")]
    Immutable {
        /// The field.
        field: String,
    },
    /// The row does not exist, or not for this user.
    #[error("there is no such record in your territories")]
    NoSuchRecord,
    /// The record was removed. It can be brought back, and the change sent again.
    #[error("the record was removed; have it restored, then send this again")]
    Removed,
    /// Another record has this value, which only one may have.
    #[error("another record has this {field} already")]
    Taken {
        /// The field.
        field: String,
    },
    /// The user's role may not do this.
    #[error("your role does not allow this")]
    NotAllowed,
    /// The visit can't go from its state to that one.
    #[error("a visit that is {from} can't become {to}")]
    VisitState {
        /// The state it is in.
        from: String,
        /// The state that was asked for.
        to: String,
    },
    /// A visit was checked out with no word of how it went.
    #[error("a visit needs an outcome to be checked out")]
    OutcomeMissing,
    /// A visit was left early, missed or cancelled with no reason.
    #[error("say why the visit was left, missed or cancelled")]
    ReasonMissing,
    /// Check-out lies before check-in.
    #[error("a visit can't end before it began")]
    EndsBeforeStart,
    /// A rule of a newer version, which this one has no words for.
    #[serde(other)]
    #[error("a rule that this version does not know forbids it; update the app")]
    Other,
}

/// Declares an entity: its struct, its [`EntityDef`] and the way between the two.
macro_rules! entity {
    (
        $(#[$doc:meta])*
        $name:ident in $table:literal, scope $scope:expr, rule $rule:expr;
        $($(#[$fdoc:meta])* $field:ident: $ty:ty = $def:expr;)+
    ) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq)]
        pub struct $name {
            /// The record's id: a UUIDv7 made on the device that created it.
            pub id: ::uuid::Uuid,
            $($(#[$fdoc])* pub $field: $ty,)+
        }

        // Personal data stays out of logs and panics: only the id is shown.
        impl ::std::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.debug_struct(stringify!($name)).field("id", &self.id).finish_non_exhaustive()
            }
        }

        impl $crate::Entity for $name {
            const DEF: &'static $crate::EntityDef = &$crate::EntityDef {
                name: $table,
                fields: &[$($def.named(
                    stringify!($field),
                    <$ty as $crate::FieldType>::KIND,
                    <$ty as $crate::FieldType>::REQUIRED,
                )),+],
                scope: $scope,
                rule: $rule,
            };

            fn id(&self) -> ::uuid::Uuid {
                self.id
            }

            fn from_fields(id: ::uuid::Uuid, fields: &$crate::Fields) -> Result<Self, $crate::RuleError> {
                Ok(Self {
                    id,
                    $($field: $crate::entity::read(fields, stringify!($field))?,)+
                })
            }

            fn to_fields(&self) -> $crate::Fields {
                let mut fields = $crate::Fields::new();
                $(
                    let value = $crate::FieldType::to_value(&self.$field);
                    if !value.is_null() {
                        fields.insert(stringify!($field).to_owned(), value);
                    }
                )+
                fields
            }
        }
    };
}
pub(crate) use entity;

/// Reads one typed field.
pub(crate) fn read<T: FieldType>(fields: &Fields, name: &str) -> Result<T, RuleError> {
    let value = fields.get(name).unwrap_or(&Value::Null);
    T::from_value(value).ok_or_else(|| {
        let field = name.to_owned();
        if value.is_null() { RuleError::Required { field } } else { RuleError::WrongKind { field } }
    })
}
