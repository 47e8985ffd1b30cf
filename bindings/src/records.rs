//! Records and choices of the model, exactly as the core has them: their documentation and rules are in
//! `roundsman-model`.

use chrono::{DateTime, NaiveDate, Utc};
use roundsman_core::model::customer::{Customer, Status};
use roundsman_core::model::geo::Position;
use roundsman_core::model::visit::{Outcome, State, Verdict, Visit};
use std::time::SystemTime;
use uuid::Uuid;

uniffi::custom_type!(Uuid, String, {
    remote,
    lower: |id| id.to_string(),
    try_lift: |text| Ok(Uuid::parse_str(&text)?),
});

/// A calendar day, without a zone.
pub type Day = NaiveDate;
uniffi::custom_type!(Day, String, {
    remote,
    lower: |day| day.to_string(),
    try_lift: |text| Ok(text.parse()?),
});

/// A moment in time.
pub type Instant = DateTime<Utc>;
uniffi::custom_type!(Instant, SystemTime, {
    remote,
    lower: |instant| instant.into(),
    try_lift: |time| Ok(time.into()),
});

/// An outlet: a store, pharmacy, restaurant that reps visit. Holds personal data: keep it out of logs.
#[uniffi::remote(Record)]
pub struct Customer {
    /// The record's id.
    pub id: Uuid,
    /// The organisation's own code for it, unique in the organisation.
    pub code: String,
    /// What the sign over the door says.
    pub name: String,
    /// The chain it belongs to.
    pub brand: Option<String>,
    /// Its kind of trade: convenience, pharmacy, grocery.
    pub channel: Option<String>,
    /// Whether it is served; nothing means it is.
    pub status: Option<CustomerStatus>,
    /// Street and number.
    pub address: Option<String>,
    /// Town.
    pub city: Option<String>,
    /// State or province.
    pub region: Option<String>,
    /// Postal code.
    pub postcode: Option<String>,
    /// ISO 3166-1 alpha-2 code of the country.
    pub country: Option<String>,
    /// Telephone, E.164 where known.
    pub phone: Option<String>,
    /// Degrees north.
    pub lat: Option<f64>,
    /// Degrees east.
    pub lon: Option<f64>,
    /// Metres within which a check-in counts as at the store; nothing means 150.
    pub geofence_m: Option<f64>,
    /// Code of the territory it lies in; decides which phones hold it.
    pub territory: String,
    /// What every visitor should know: the back door, the dog.
    pub notes: Option<String>,
    /// What the reps sort it by. Everybody adds and takes away own words.
    pub tags: Vec<String>,
    /// Samples that were left with it, all told. Everybody's are added up.
    pub samples: Option<i64>,
}

/// Whether a customer is served.
type CustomerStatus = Status;
#[uniffi::remote(Enum)]
pub enum CustomerStatus {
    /// Visited.
    Active,
    /// No longer visited; kept for its history.
    Closed,
}

/// One call at one customer by one rep. Holds personal data: keep it out of logs.
#[uniffi::remote(Record)]
pub struct Visit {
    /// The record's id.
    pub id: Uuid,
    /// The customer.
    pub customer: Uuid,
    /// The rep who makes it.
    pub rep: Uuid,
    /// The customer's territory when the visit was made.
    pub territory: String,
    /// How far it has come.
    pub state: VisitState,
    /// The day of the round.
    pub day: Day,
    /// The place in the round, from 1; nothing for a visit that was not planned.
    pub stop: Option<i64>,
    /// When the rep checked in, by the phone's clock.
    pub started_at: Option<Instant>,
    /// Minutes east of UTC of the phone's zone at check-in.
    pub started_zone_min: Option<i64>,
    /// Degrees north at check-in.
    pub lat: Option<f64>,
    /// Degrees east at check-in.
    pub lon: Option<f64>,
    /// Metres within which the phone believed to be.
    pub accuracy_m: Option<f64>,
    /// Metres to the store at check-in.
    pub distance_m: Option<f64>,
    /// Whether the platform said the position was simulated.
    pub mocked: Option<bool>,
    /// Whether the rep was at the store.
    pub verdict: Option<Verdict>,
    /// When the rep checked out.
    pub ended_at: Option<Instant>,
    /// Minutes east of UTC of the phone's zone at check-out.
    pub ended_zone_min: Option<i64>,
    /// How it went.
    pub outcome: Option<Outcome>,
    /// Why it was left, missed or cancelled.
    pub reason: Option<String>,
    /// What the rep wrote.
    pub notes: Option<String>,
    /// What is to be done next.
    pub next_step: Option<String>,
}

/// How far a visit has come.
type VisitState = State;
#[uniffi::remote(Enum)]
pub enum VisitState {
    /// On a round, not begun.
    Planned,
    /// The rep is there.
    CheckedIn,
    /// Done, with its outcome.
    CheckedOut,
    /// Not made, for a reason.
    Missed,
    /// Called off, for a reason.
    Cancelled,
}

/// Whether the rep was at the store.
#[uniffi::remote(Enum)]
pub enum Verdict {
    /// Within the geofence, counting the position's own inaccuracy.
    Verified,
    /// Away from it, or at a simulated position.
    Outside,
    /// No position, or none known for the store.
    Unverified,
}

/// How a visit went.
#[uniffi::remote(Enum)]
pub enum Outcome {
    /// An order was placed.
    Order,
    /// No order.
    NoOrder,
    /// Nobody to talk to, or the store was shut.
    Closed,
    /// Left before the end; the reason says why.
    Left,
}

/// A place on Earth: WGS-84 degrees.
#[uniffi::remote(Record)]
pub struct Position {
    /// Degrees north, -90 to 90.
    pub lat: f64,
    /// Degrees east, -180 to 180.
    pub lon: f64,
    /// The radius in metres within which the device believes to be; nothing if it does not say.
    #[uniffi(default = None)]
    pub accuracy_m: Option<f64>,
    /// Whether the platform reports the position as simulated.
    #[uniffi(default = false)]
    pub mocked: bool,
}
