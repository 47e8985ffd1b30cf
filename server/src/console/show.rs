//! How times, states and values are put into words.

use crate::admin::DeviceStatus;
use chrono::{DateTime, TimeDelta, Utc};
use roundsman_model::visit::{self, Outcome, State};
use roundsman_model::{Kind, Merge, Value, entity};
use roundsman_protocol::posture::Verdict;

/// An instant, for machines, at a glance, and in full.
pub(super) struct When {
    pub(super) iso: String,
    pub(super) ago: String,
    pub(super) full: String,
}

impl When {
    pub(super) fn new(at: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        Self {
            iso: at.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
            ago: ago(at, now),
            full: at.format("%-d %b %Y, %H:%M UTC").to_string(),
        }
    }
}

fn ago(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let past = at <= now;
    let span = if past { now - at } else { at - now };
    // What is past has passed in full; what is to come is said to the nearest.
    let rounded =
        |span: TimeDelta, unit: i64| ((span.num_seconds() + if past { 0 } else { unit / 2 }) / unit).max(1);
    let (count, unit) = match span.num_seconds() {
        ..45 => return (if past { "just now" } else { "in a moment" }).to_owned(),
        45..3_600 => (rounded(span, 60), "min"),
        3_600..86_400 => (rounded(span, 3_600), "h"),
        86_400..5_184_000 => (rounded(span, 86_400), "day"),
        5_184_000..63_072_000 => (rounded(span, 2_592_000), "month"),
        _ => (rounded(span, 31_536_000), "year"),
    };
    let plural = if count == 1 || unit.len() <= 3 && unit != "day" { "" } else { "s" };
    if past { format!("{count} {unit}{plural} ago") } else { format!("in {count} {unit}{plural}") }
}

/// How long something took.
pub(super) fn duration(span: TimeDelta) -> String {
    match span.num_minutes() {
        ..1 => "under a minute".to_owned(),
        minutes @ 1..90 => format!("{minutes} min"),
        minutes => format!("{} h {} min", minutes / 60, minutes % 60),
    }
}

/// Metres as people say them.
pub(super) fn distance(metres: f64) -> String {
    if metres < 1_000.0 { format!("{metres:.0} m") } else { format!("{:.1} km", metres / 1_000.0) }
}

/// A whole number with a thin space between the thousands.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun: `1 change`, `2 changes`.
pub(super) fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// A state as a coloured word. The colour only repeats what the word says.
#[derive(Clone, Copy)]
pub(super) struct Badge {
    pub(super) tone: &'static str,
    pub(super) text: &'static str,
}

const fn badge(tone: &'static str, text: &'static str) -> Badge {
    Badge { tone, text }
}

/// How a device stands.
pub(super) fn device(state: DeviceStatus) -> Badge {
    let tone = match state {
        DeviceStatus::Active => "green",
        DeviceStatus::LockPending | DeviceStatus::SoftLocked | DeviceStatus::Locked => "amber",
        DeviceStatus::UnlockGranted => "blue",
        DeviceStatus::WipePending | DeviceStatus::Shredded => "red",
        DeviceStatus::Wiped => "grey",
    };
    badge(tone, state.words())
}

/// What that means, in one sentence.
pub(super) fn device_meaning(state: DeviceStatus) -> &'static str {
    match state {
        DeviceStatus::Active => "The device is in use and syncs normally.",
        DeviceStatus::LockPending => {
            "A lock was ordered. It takes hold as soon as the device is online; until then it can still be used."
        }
        DeviceStatus::SoftLocked => {
            "The device refuses to open. Its release key is still on the device, because it was not in escrow yet."
        }
        DeviceStatus::Locked => {
            "The device can't be opened, not even with the right passcode, until you unlock it here. Nothing is lost."
        }
        DeviceStatus::UnlockGranted => {
            "You allowed the device to open again. It does so once it has asked the server."
        }
        DeviceStatus::WipePending => {
            "A wipe was ordered. The keys are destroyed as soon as the device is online; nothing stops it any more."
        }
        DeviceStatus::Shredded => {
            "Every key on the device is destroyed: its data can't be read any more. Its files are being removed."
        }
        DeviceStatus::Wiped => {
            "Keys and files are gone. The device can only be used again by enrolling it anew."
        }
    }
}

/// A phone's state that the rules have nothing against.
pub(super) const SOUND: Badge = badge("green", "Nothing against it");

/// What the rules say of a phone's state, where that is more than nothing.
pub(super) fn posture(verdict: Verdict) -> Option<Badge> {
    match verdict {
        Verdict::Allow => None,
        Verdict::Warn => Some(badge("amber", "Phone: warning")),
        Verdict::Lock => Some(badge("red", "Phone: refused")),
    }
}

/// How far a visit has come, and how it went.
pub(super) fn visit(state: State, outcome: Option<Outcome>) -> Badge {
    match (state, outcome) {
        (State::Planned, _) => badge("grey", "Planned"),
        (State::CheckedIn, _) => badge("blue", "In progress"),
        (State::Missed, _) => badge("amber", "Missed"),
        (State::Cancelled, _) => badge("grey", "Cancelled"),
        (State::CheckedOut, Some(Outcome::Order)) => badge("green", "Order"),
        (State::CheckedOut, Some(Outcome::NoOrder)) => badge("green", "No order"),
        (State::CheckedOut, Some(Outcome::Closed)) => badge("amber", "Store closed"),
        (State::CheckedOut, Some(Outcome::Left)) => badge("amber", "Left early"),
        (State::CheckedOut, None) => badge("green", "Done"),
    }
}

/// Whether the rep was at the store.
pub(super) fn verdict(verdict: visit::Verdict) -> Badge {
    match verdict {
        visit::Verdict::Verified => badge("green", "At the store"),
        visit::Verdict::Outside => badge("amber", "Away from the store"),
        visit::Verdict::Unverified => badge("grey", "No position"),
    }
}

/// A platform's own spelling of its name.
pub(super) fn platform(name: &str) -> String {
    match name {
        "android" => "Android".to_owned(),
        "ios" => "iOS".to_owned(),
        "linux" => "Linux".to_owned(),
        "macos" => "macOS".to_owned(),
        "windows" => "Windows".to_owned(),
        other => other.to_owned(),
    }
}

/// A field of a record as the label of a form.
pub(super) fn field(name: &str) -> String {
    match name {
        "lat" => "Latitude".to_owned(),
        "lon" => "Longitude".to_owned(),
        "geofence_m" => "Check-in radius (m)".to_owned(),
        "region" => "State or region".to_owned(),
        "channel" => "Trade channel".to_owned(),
        "address" => "Street and number".to_owned(),
        "distance_m" => "Distance to the store".to_owned(),
        "verdict" => "Position".to_owned(),
        "mocked" => "Position made up by the phone".to_owned(),
        other => {
            let words = other.trim_end_matches("_at").replace('_', " ");
            let mut letters = words.chars();
            let first = letters.next().map(char::to_uppercase).into_iter().flatten();
            first.chain(letters.clone()).collect()
        }
    }
}

/// A stored value as people read it.
pub(super) fn value(entity_name: &str, field: &str, value: &Value) -> String {
    let kind = entity(entity_name).and_then(|def| def.field(field)).map(|field| field.kind);
    match (kind, value) {
        (_, Value::Null) => "nothing".to_owned(),
        (_, Value::Bool(yes)) => (if *yes { "yes" } else { "no" }).to_owned(),
        (Some(Kind::Time), Value::Int(millis)) => DateTime::from_timestamp_millis(*millis)
            .map_or_else(|| millis.to_string(), |at| at.format("%-d %b %Y, %H:%M UTC").to_string()),
        (Some(Kind::Choice(_)), Value::Text(name)) if field == "verdict" => match name.as_str() {
            "verified" => verdict(visit::Verdict::Verified),
            "outside" => verdict(visit::Verdict::Outside),
            _ => verdict(visit::Verdict::Unverified),
        }
        .text
        .to_owned(),
        (Some(Kind::Choice(_)), Value::Text(name)) => self::field(name),
        (_, Value::Real(metres)) if field == "distance_m" => distance(*metres),
        (_, Value::Int(int)) => int.to_string(),
        (_, Value::Real(real)) => real.to_string(),
        (_, Value::Text(text)) => text.clone(),
        (_, Value::Set(words)) => words.join(", "),
        (_, Value::Id(id)) => id.to_string(),
        (_, Value::Other {}) => "a value of a newer version".to_owned(),
    }
}

/// Why one value stands and the other does not.
pub(super) fn rule(rule: Merge) -> &'static str {
    match rule {
        Merge::Server => "the server's value stays",
        Merge::Latest => "the later edit stays",
        Merge::Max => "the greater number stays",
        Merge::Append => "both texts are kept, one below the other",
        Merge::Union => "every word that was added stays",
        Merge::Delta => "the amounts add up",
        Merge::Immutable => "the first value stays for good",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_as_people_say_them() {
        let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap_or_default();
        let said = |seconds: i64| ago(now - TimeDelta::seconds(seconds), now);
        assert_eq!(said(0), "just now");
        assert_eq!(said(60), "1 min ago");
        assert_eq!(said(7_300), "2 h ago");
        assert_eq!(said(86_400), "1 day ago");
        assert_eq!(said(3 * 86_400), "3 days ago");
        assert_eq!(said(70 * 86_400), "2 months ago");
        assert_eq!(said(-900), "in 15 min");
        assert_eq!(said(-7 * 86_400 + 2), "in 7 days");
        assert_eq!(said(7 * 86_400 - 2), "6 days ago");
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(count(57_156), "57\u{202f}156");
        assert_eq!(count(999), "999");
        assert_eq!(counted(1, "change"), "1 change");
        assert_eq!(distance(12.4), "12 m");
        assert_eq!(distance(2_040.0), "2.0 km");
    }

    #[test]
    fn fields_and_values_are_said_in_words() {
        assert_eq!(field("next_step"), "Next step");
        assert_eq!(value("visit", "outcome", &Value::Text("no_order".into())), "No order");
        assert_eq!(value("visit", "ended_at", &Value::Int(0)), "1 Jan 1970, 00:00 UTC");
        assert_eq!(value("customer", "notes", &Value::Null), "nothing");
        assert_eq!(value("visit", "distance_m", &Value::Real(12.23)), "12 m");
        assert_eq!(value("visit", "verdict", &Value::Text("outside".into())), "Away from the store");
    }
}
