//! Pokes: the server tells a device that listens that there is something to fetch.
//!
//! A poke says what to do and nothing else: whoever forges or repeats one makes a device ask its server once more. What a
//! push message brings is the same text, and no more is trusted in it.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The path of the channel.
pub const PATH: &str = "/v1/poke";

/// A silent channel says [`Poke::Here`] so often: both ends then know that the other one is still there.
pub const HEARTBEAT: Duration = Duration::from_secs(20);

/// A channel on which nothing was heard for so long is dead.
pub const SILENCE: Duration = Duration::from_secs(50);

/// The most bytes of a line, or of a push message.
pub const MAX_LINE: usize = 1024;

/// One line of the channel, or a push message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "poke", rename_all = "snake_case")]
pub enum Poke {
    /// The channel is open, or still there.
    Here,
    /// There are changes: sync.
    Sync,
    /// There is a command, or something to settle: check in.
    CheckIn,
    /// Something of a later version. To look after everything is never wrong.
    #[serde(other)]
    Unknown,
}

impl Poke {
    /// As it is sent, without the end of the line.
    pub fn to_text(self) -> &'static str {
        match self {
            Self::Here => r#"{"poke":"here"}"#,
            Self::Sync => r#"{"poke":"sync"}"#,
            Self::CheckIn => r#"{"poke":"check_in"}"#,
            Self::Unknown => r#"{"poke":"unknown"}"#,
        }
    }

    /// Reads a line or a push message; `None` if it is neither.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_LINE {
            return None;
        }
        serde_json::from_slice(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poke_is_read_as_it_was_written_and_a_later_one_asks_for_everything() {
        for poke in [Poke::Here, Poke::Sync, Poke::CheckIn] {
            assert_eq!(Poke::from_bytes(poke.to_text().as_bytes()), Some(poke));
        }
        let later = br#"{"poke":"photos","since":3}"#;
        assert_eq!(Poke::from_bytes(later), Some(Poke::Unknown));
        assert_eq!(Poke::from_bytes(br#"{"poke":"sync","later":true}"#), Some(Poke::Sync));
    }

    #[test]
    fn what_is_no_poke_is_not_taken_for_one() {
        let long = format!(r#"{{"poke":"sync","pad":"{}"}}"#, "x".repeat(MAX_LINE));
        for bytes in [&b""[..], b"sync", b"{}", b"[]", br#"{"poke":1}"#, long.as_bytes()] {
            assert_eq!(Poke::from_bytes(bytes), None);
        }
    }
}
