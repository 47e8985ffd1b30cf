//! What a bucket holds, as a sum of hashes: both sides keep their own, and compare.
//!
//! Each row in a bucket has a hash of which row it is in which version, and one of what it holds besides. A bucket's sums
//! are those of its rows mod 2^256 (a multiset hash, after Bellare and Micciancio, "A New Paradigm for Collision-Free
//! Hashing", 1997). They don't depend on any order, so a row that comes, changes or goes is one addition or two. They are
//! no secret and no proof against a forger: they find faults, of a program or of a disk.
//!
//! A phone of another version holds other fields than the server. It can compare which rows there are all the same;
//! contents are compared only between equal [`declarations`].

use crate::{b64, sha256};
use roundsman_model::{Bucket, ENTITIES, EntityDef, Fields, Rev, Seq, Value};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};
use std::fmt::{self, Write};
use std::sync::LazyLock;
use uuid::Uuid;

/// A sum mod 2^256; the least significant part first.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum([u64; 4]);

impl Sum {
    /// The two together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let mut carry = false;
        let mut sum = [0; 4];
        for (at, limb) in sum.iter_mut().enumerate() {
            let (part, first) = self.0[at].overflowing_add(other.0[at]);
            let (part, second) = part.overflowing_add(u64::from(carry));
            (*limb, carry) = (part, first | second);
        }
        Self(sum)
    }

    /// This one without the other.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.plus(other.negated())
    }

    /// The sum that adds up with this one to zero: its two's complement.
    #[must_use]
    pub fn negated(self) -> Self {
        Self(self.0.map(|limb| !limb)).plus(Self([1, 0, 0, 0]))
    }

    /// The sum in these bytes, the least significant first.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut sum = [0; 4];
        for (limb, chunk) in sum.iter_mut().zip(bytes.as_chunks().0) {
            *limb = u64::from_le_bytes(*chunk);
        }
        Self(sum)
    }

    /// Its bytes, the least significant first.
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (chunk, limb) in bytes.as_chunks_mut().0.iter_mut().zip(self.0) {
            *chunk = limb.to_le_bytes();
        }
        bytes
    }
}

/// As text: base64url of its bytes, without padding.
impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&b64::encode(self.to_bytes()))
    }
}

impl fmt::Debug for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Sum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let bytes = b64::decode(&text).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        bytes.map(|bytes| Self::from_bytes(&bytes)).ok_or_else(|| de::Error::custom("no sum of 32 bytes"))
    }
}

/// What rows add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// How many there are.
    pub rows: u64,
    /// Which they are, in which versions.
    pub versions: Sum,
    /// What they hold.
    pub contents: Sum,
}

impl Sums {
    /// What one row adds.
    pub fn of(entity: &str, id: Uuid, rev: Rev, contents: Sum) -> Self {
        Self { rows: 1, versions: version(entity, id, rev), contents }
    }

    /// The two together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            rows: self.rows.wrapping_add(other.rows),
            versions: self.versions.plus(other.versions),
            contents: self.contents.plus(other.contents),
        }
    }

    /// These without the others.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            rows: self.rows.wrapping_sub(other.rows),
            versions: self.versions.minus(other.versions),
            contents: self.contents.minus(other.contents),
        }
    }
}

/// What a bucket holds at one place of its log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The bucket.
    pub bucket: Bucket,
    /// The place: the end of the log when the sums were read.
    pub cursor: Seq,
    /// What the rows add up to there.
    #[serde(flatten)]
    pub sums: Sums,
    /// The [`declarations`] that the contents were hashed by.
    pub declarations: String,
}

/// A bucket on a device that did not hold what it should; the device reads it anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The bucket.
    pub bucket: Bucket,
    /// How far the device had read its log.
    pub cursor: Seq,
    /// What the server said.
    pub expected: Sums,
    /// What the device had.
    pub found: Sums,
    /// Whether it still differs after all of it was read anew.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stays: bool,
}

/// The hash of which row it is, in which version.
fn version(entity: &str, id: Uuid, rev: Rev) -> Sum {
    let mut hash = Sha256::new();
    hash.update(b"roundsman/v1/row\0");
    head(&mut hash, entity, id, rev);
    Sum::from_bytes(&hash.finalize().into())
}

/// The hash of what a row holds, by fields that were admitted: each that has a value, in the order of their names.
pub fn contents(entity: &str, id: Uuid, rev: Rev, fields: &Fields) -> Sum {
    let named = fields.iter().map(|(name, value)| (name.as_str(), value));
    contents_of(entity, id, rev, named)
}

/// The same of fields in the order of their names, with or without a value.
pub fn contents_of<'a>(
    entity: &str,
    id: Uuid,
    rev: Rev,
    fields: impl Iterator<Item = (&'a str, &'a Value)>,
) -> Sum {
    let mut hash = Sha256::new();
    hash.update(b"roundsman/v1/contents\0");
    head(&mut hash, entity, id, rev);
    for (name, value) in fields.filter(|(_, value)| !value.is_null()) {
        text(&mut hash, name);
        match value {
            Value::Null => {}
            Value::Bool(bool) => hash.update([b'b', u8::from(*bool)]),
            Value::Int(int) => {
                hash.update(b"i");
                hash.update(int.to_be_bytes());
            }
            Value::Real(real) => {
                // A database stores a negative zero as zero.
                let real = if *real == 0.0 { 0.0 } else { *real };
                hash.update(b"r");
                hash.update(real.to_bits().to_be_bytes());
            }
            Value::Text(value) => {
                hash.update(b"t");
                text(&mut hash, value);
            }
            Value::Id(id) => {
                hash.update(b"u");
                hash.update(id.as_bytes());
            }
            Value::Set(words) => {
                hash.update(b"s");
                hash.update((words.len() as u64).to_be_bytes());
                for word in words {
                    text(&mut hash, word);
                }
            }
            // Of no field's kind: it is never among fields that were admitted.
            Value::Other {} => hash.update(b"o"),
        }
    }
    Sum::from_bytes(&hash.finalize().into())
}

fn head(hash: &mut Sha256, entity: &str, id: Uuid, rev: Rev) {
    text(hash, entity);
    hash.update(id.as_bytes());
    hash.update(rev.0.to_be_bytes());
}

/// A text after its length, so that no two rows are hashed alike.
fn text(hash: &mut Sha256, text: &str) {
    hash.update((text.len() as u64).to_be_bytes());
    hash.update(text.as_bytes());
}

/// Tells one version's declarations of the entities from another's: 32 hexadecimal digits.
pub fn declarations() -> &'static str {
    static NAME: LazyLock<String> = LazyLock::new(|| {
        let mut name = String::new();
        for byte in fingerprint(ENTITIES).iter().take(16) {
            let _ = write!(name, "{byte:02x}");
        }
        name
    });
    &NAME
}

/// The hash of declarations: a new choice or a wider range adds no field, and counts.
pub fn fingerprint(entities: &[&EntityDef]) -> [u8; 32] {
    let mut declared = String::new();
    for def in entities {
        let _ = write!(declared, "{}{:?}", def.name, def.fields);
    }
    sha256(&[declared.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_added_and_taken_away_leaves_no_trace(a: [u8; 32], b: [u8; 32]) {
            let (x, y) = (Sum::from_bytes(&a), Sum::from_bytes(&b));
            prop_assert!(x.plus(y) == y.plus(x));
            prop_assert!(x.plus(y).minus(y) == x);
            prop_assert_eq!(x.to_bytes(), a);
            let text = serde_json::to_string(&x).unwrap_or_default();
            prop_assert_eq!(serde_json::from_str::<Sum>(&text).ok(), Some(x));
        }
    }

    #[test]
    fn a_sum_carries_over_its_parts_and_wraps_at_its_end() {
        let most = Sum([u64::MAX; 4]);
        let one = Sum([1, 0, 0, 0]);
        assert!(most.plus(one) == Sum::default());
        assert!(Sum([u64::MAX, u64::MAX, 0, 7]).plus(one) == Sum([0, 0, 1, 7]));
    }

    #[test]
    fn rows_that_differ_in_anything_have_different_hashes() {
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let fields = |name: &str, value: Value| Fields::from([(name.to_owned(), value)]);
        let mut seen = Vec::new();
        let mut is_new = |sum: Sum| {
            assert!(!seen.contains(&sum), "{} sums are not enough", seen.len());
            seen.push(sum);
        };
        for (entity, id, rev) in [("a", a, 1), ("b", a, 1), ("a", b, 1), ("a", a, 2)] {
            is_new(version(entity, id, Rev(rev)));
            is_new(contents(entity, id, Rev(rev), &Fields::new()));
        }
        for (name, value) in [
            ("x", Value::from("1")),
            ("y", Value::from("1")),
            ("x", Value::Int(1)),
            ("x", Value::Real(1.0)),
            ("x", Value::Bool(true)),
            ("x", Value::Set(vec!["1".to_owned()])),
            ("x", Value::Set(vec!["1".to_owned(), String::new()])),
            ("x", Value::Id(a)),
        ] {
            is_new(contents("a", a, Rev(1), &fields(name, value)));
        }
        assert_eq!(
            contents("a", a, Rev(1), &fields("x", Value::Null)),
            contents("a", a, Rev(1), &Fields::new())
        );
        let zero = |real| contents("a", a, Rev(1), &fields("x", Value::Real(real)));
        assert_eq!(zero(0.0), zero(-0.0));
    }

    #[test]
    fn a_checkpoint_is_read_as_it_was_written() {
        let sums = Sums::of("customer", Uuid::from_u128(7), Rev(3), Sum::default());
        let declarations = declarations().to_owned();
        let checkpoint = Checkpoint { bucket: Bucket::territory("NJ"), cursor: Seq(9), sums, declarations };
        let text = serde_json::to_string(&checkpoint).unwrap_or_default();
        assert_eq!(serde_json::from_str::<Checkpoint>(&text).ok(), Some(checkpoint), "{text}");
    }
}
