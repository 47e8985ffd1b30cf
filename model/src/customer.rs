//! The customer: an outlet that reps visit.

use crate::Class::{Internal, Personal, Public};
use crate::entity::entity;
use crate::value::choice;
use crate::{Merge, Scope, Search, field};

/// Metres around a store within which a check-in counts as at the store, unless the customer says otherwise.
pub const DEFAULT_GEOFENCE_M: f64 = 150.0;

choice! {
    /// Whether the customer is served.
    pub enum Status {
        /// Visited.
        Active = "active",
        /// No longer visited; kept for its history.
        Closed = "closed",
    }
}

entity! {
    /// An outlet: a store, pharmacy, restaurant that reps visit.
    Customer in "customer", scope Scope::Territory("territory"), rule |_, _| Ok(());

    /// The organisation's own code for it, unique in the organisation.
    code: String = field(Internal, Merge::Server).search(Search::Words).max(64);
    /// What the sign over the door says.
    name: String = field(Public, Merge::Latest).search(Search::Words).indexed();
    /// The chain it belongs to.
    brand: Option<String> = field(Public, Merge::Latest).search(Search::Words);
    /// Its kind of trade: convenience, pharmacy, grocery.
    channel: Option<String> = field(Public, Merge::Server).max(64);
    /// Whether it is served; nothing means it is.
    status: Option<Status> = field(Internal, Merge::Server);
    /// Street and number.
    address: Option<String> = field(Public, Merge::Latest).search(Search::Words);
    /// Town.
    city: Option<String> = field(Public, Merge::Latest).search(Search::Words);
    /// State or province.
    region: Option<String> = field(Public, Merge::Latest).max(64);
    /// Postal code.
    postcode: Option<String> = field(Public, Merge::Latest).search(Search::Words).max(32);
    /// ISO 3166-1 alpha-2 code of the country.
    country: Option<String> = field(Public, Merge::Latest).max(2);
    /// Telephone, E.164 where known.
    phone: Option<String> = field(Personal, Merge::Latest).search(Search::Digits).max(32);
    /// Degrees north.
    lat: Option<f64> = field(Public, Merge::Latest).range(-90.0, 90.0);
    /// Degrees east.
    lon: Option<f64> = field(Public, Merge::Latest).range(-180.0, 180.0);
    /// Metres within which a check-in counts as at the store.
    geofence_m: Option<f64> = field(Internal, Merge::Server).range(10.0, 10_000.0);
    /// Code of the territory it lies in; decides which phones hold it.
    territory: String = field(Internal, Merge::Server).max(64);
    /// What every visitor should know: the back door, the dog.
    notes: Option<String> = field(Internal, Merge::Append).max(4_000);
    /// What the reps sort it by: `promotion`, `slow payer`. Everybody adds and takes away own words.
    tags: Vec<String> = field(Internal, Merge::Union).max(40);
    /// Samples that were left with it, all told. Everybody's are added up.
    samples: Option<i64> = field(Internal, Merge::Delta).range(-1_000_000.0, 1_000_000.0);
}

impl Customer {
    /// Where it is, if that is known.
    pub fn place(&self) -> Option<(f64, f64)> {
        Some((self.lat?, self.lon?))
    }

    /// The radius in metres within which a check-in counts as at the store.
    pub fn geofence_m(&self) -> f64 {
        self.geofence_m.unwrap_or(DEFAULT_GEOFENCE_M)
    }
}
