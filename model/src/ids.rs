//! Identifiers and counters that must not be mistaken for one another.

use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The one that follows.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A device: one installation enrolled by one user. Given by the server at enrolment.
    DeviceId
}
id! {
    /// A person with an account.
    UserId
}
id! {
    /// An organisation: the tenant that owns the data.
    OrgId
}

counter! {
    /// A row's version on the server; 0 for a row the server has not seen.
    Rev
}
counter! {
    /// A place in one bucket's change log; gap-free, from 1.
    Seq
}
counter! {
    /// A mutation's number on its device; gap-free, from 1.
    DeviceSeq
}
counter! {
    /// A transaction's number in one vault; gap-free, from 1.
    CommitSeq
}

/// A named share of the data that is synced as a whole: a territory, a user's own, the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bucket(pub String);

impl Bucket {
    /// The bucket of a territory, by its code.
    pub fn territory(code: &str) -> Self {
        Self(format!("territory/{code}"))
    }

    /// The code of the territory whose bucket this is.
    pub fn code(&self) -> Option<&str> {
        self.0.strip_prefix("territory/")
    }

    /// The bucket of what belongs to one user alone.
    pub fn user(id: UserId) -> Self {
        Self(format!("user/{id}"))
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
