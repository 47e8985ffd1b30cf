//! A photo, a signature or a file that belongs to a visit or a customer: what is known of it, without its content.
//!
//! The record goes with sync, so every phone that holds the visit knows of the photo at once. The content follows by
//! itself, and [`Attachment::stored_at`] says when all of it was on the server.

use crate::Class::Internal;
use crate::customer::Customer;
use crate::entity::entity;
use crate::value::choice;
use crate::visit::Visit;
use crate::{Entity, Fields, Merge, RuleError, Scope, Value, field};
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// The most bytes of one attachment, whatever the limits of a server are.
pub const MAX_SIZE: u64 = 1 << 40;

/// A media type is no longer than this (RFC 6838 section 4.2).
pub const MAX_MEDIA_TYPE: usize = 255;

choice! {
    /// What an attachment shows.
    pub enum Sort {
        /// A picture that was taken.
        Photo = "photo",
        /// A signature that a person has written.
        Signature = "signature",
        /// Anything else.
        File = "file",
    }
}

choice! {
    /// What a record is that something is attached to.
    pub enum Of {
        /// A visit.
        Visit = "visit",
        /// A customer.
        Customer = "customer",
    }
}

entity! {
    /// What is known of something that is attached to a record.
    Attachment in "attachment", scope Scope::Territory("territory"), rule rule;

    /// What the record is.
    of: Of = field(Internal, Merge::Immutable);
    /// The record.
    record: Uuid = field(Internal, Merge::Immutable).indexed();
    /// The record's territory; decides which phones hold it, and follows the record.
    territory: String = field(Internal, Merge::Server).max(64);
    /// What it shows.
    sort: Sort = field(Internal, Merge::Immutable);
    /// Its media type, for example `image/jpeg`.
    media_type: String = field(Internal, Merge::Immutable).max(MAX_MEDIA_TYPE);
    /// Bytes of its content, exactly.
    size: i64 = field(Internal, Merge::Immutable).range(0.0, MAX_SIZE as f64);
    /// SHA-256 of its content, in lower-case hex: what was sent and what was fetched is checked against it.
    sha256: String = field(Internal, Merge::Immutable).max(64);
    /// The user who added it.
    author: Uuid = field(Internal, Merge::Immutable);
    /// When it was added, by the phone's clock.
    added_at: DateTime<Utc> = field(Internal, Merge::Immutable);
    /// When all of its content was on the server, which alone says so.
    stored_at: Option<DateTime<Utc>> = field(Internal, Merge::Server);
}

impl Of {
    /// The entity of the record.
    pub fn entity(self) -> &'static str {
        match self {
            Self::Visit => Visit::DEF.name,
            Self::Customer => Customer::DEF.name,
        }
    }
}

impl Attachment {
    /// The content's hash; nothing if a newer version wrote it in a form of its own.
    pub fn hash(&self) -> Option<[u8; 32]> {
        from_hex(&self.sha256)
    }

    /// Bytes of its content.
    pub fn bytes(&self) -> u64 {
        u64::try_from(self.size).unwrap_or(0)
    }
}

/// Whether this is a media type: `image/jpeg`, with no control characters.
pub fn is_media_type(text: &str) -> bool {
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    let named = text.split_once('/').is_some_and(|(kind, of)| !kind.is_empty() && !of.is_empty());
    visible && named && text.len() <= MAX_MEDIA_TYPE
}

/// A hash as it stands in the record.
pub fn to_hex(hash: &[u8; 32]) -> String {
    hash.iter().fold(String::with_capacity(64), |mut text, byte| {
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(u32::from(digit), 16));
        }
        text
    })
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    let digits = text.as_bytes();
    if digits.len() != 64 || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    for (byte, pair) in hash.iter_mut().zip(digits.as_chunks::<2>().0) {
        *byte = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
    }
    Some(hash)
}

/// The form of what is sent to other phones and shown by browsers.
fn rule(_: Option<&Fields>, new: &Fields) -> Result<(), RuleError> {
    let wrong = |name: &str| RuleError::WrongKind { field: name.to_owned() };
    let text = |name| new.get(name).and_then(Value::as_text).unwrap_or_default();
    if !is_media_type(text("media_type")) {
        return Err(wrong("media_type"));
    }
    if from_hex(text("sha256")).is_none() {
        return Err(wrong("sha256"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(media_type: &str, sha256: &str) -> Fields {
        let any = Uuid::from_u128(7);
        Attachment {
            id: any,
            of: Of::Visit,
            record: any,
            territory: "NJ".to_owned(),
            sort: Sort::Photo,
            media_type: media_type.to_owned(),
            size: 5,
            sha256: sha256.to_owned(),
            author: any,
            added_at: DateTime::default(),
            stored_at: None,
        }
        .to_fields()
    }

    #[test]
    fn a_hash_is_read_back_as_it_was_written() {
        let hash: [u8; 32] = std::array::from_fn(|at| (at * 9) as u8);
        assert_eq!(from_hex(&to_hex(&hash)), Some(hash));
        for wrong in ["", "ab", &"AB".repeat(32), &"xy".repeat(32), &"é".repeat(32), &"ab".repeat(33)] {
            assert_eq!(from_hex(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_attachment_has_a_media_type_and_a_hash() {
        let good = "ab".repeat(32);
        assert_eq!(Attachment::DEF.check(None, &fields("image/jpeg", &good)), Ok(()));
        for (media_type, hash) in [("jpeg", good.as_str()), ("a/b\r\nx: y", &good), ("image/png", "12")] {
            assert!(matches!(
                Attachment::DEF.check(None, &fields(media_type, hash)),
                Err(RuleError::WrongKind { .. })
            ));
        }
    }
}
