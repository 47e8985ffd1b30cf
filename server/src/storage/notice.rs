//! What a commit changed, for those who wait for it.

use roundsman_model::{Bucket, DeviceId, UserId};
use uuid::Uuid;

/// The length of an id without hyphens.
const SIMPLE: usize = uuid::fmt::Simple::LENGTH;

/// Something that a commit changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A bucket's log has grown.
    Bucket(Bucket),
    /// A bucket's log has grown by what this device has sent, which gets it with the answer.
    Sent(Bucket, DeviceId),
    /// A command waits for a device, or it has another reason to report.
    Device(DeviceId),
    /// What a user may see has changed.
    User(UserId),
    /// Notices may have been lost: anything may have changed.
    Anything,
}

impl Notice {
    /// As text for other instances.
    pub(crate) fn to_text(&self) -> String {
        match self {
            Self::Bucket(bucket) => format!("b{}", bucket.0),
            Self::Sent(bucket, device) => format!("s{}{}", device.0.simple(), bucket.0),
            Self::Device(device) => format!("d{}", device.0),
            Self::User(user) => format!("u{}", user.0),
            Self::Anything => "*".to_owned(),
        }
    }

    /// Reads what another instance wrote; what a later version wrote may be anything.
    pub(crate) fn from_text(text: &str) -> Self {
        let known = match text.split_at_checked(1) {
            Some(("b", bucket)) => Some(Self::Bucket(Bucket(bucket.to_owned()))),
            Some(("s", sent)) => sent.split_at_checked(SIMPLE).and_then(|(device, bucket)| {
                let device = DeviceId(Uuid::try_parse(device).ok()?);
                Some(Self::Sent(Bucket(bucket.to_owned()), device))
            }),
            Some(("d", device)) => Uuid::try_parse(device).ok().map(|id| Self::Device(DeviceId(id))),
            Some(("u", user)) => Uuid::try_parse(user).ok().map(|id| Self::User(UserId(id))),
            _ => None,
        };
        known.unwrap_or(Self::Anything)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_instance_reads_what_was_written_and_takes_what_it_does_not_know_for_anything() {
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        for notice in [
            Notice::Bucket(Bucket("territory/店".into())),
            Notice::Sent(Bucket("territory/店".into()), DeviceId(one)),
            Notice::Device(DeviceId(one)),
            Notice::User(UserId(two)),
            Notice::Anything,
        ] {
            assert_eq!(Notice::from_text(&notice.to_text()), notice);
        }
        for text in ["", "x", "d", "dnobody", "s12", "店", "s店店店店店店店店店店店店"] {
            assert_eq!(Notice::from_text(text), Notice::Anything, "{text}");
        }
    }
}
