//! What crosses in another form.

use chrono::{DateTime, NaiveDate, Utc};
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
