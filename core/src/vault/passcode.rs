//! What the person types.

use subtle::ConstantTimeEq;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

/// No vault takes fewer.
pub(super) const MIN_CHARACTERS: usize = 6;

/// Why a passcode is not taken: one rule that it breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum PasscodeError {
    /// Too few characters.
    #[error("the passcode needs at least {least} characters")]
    TooShort {
        /// How many it needs.
        least: usize,
    },
    /// One character, repeated.
    #[error("the passcode must not be one character repeated")]
    AllSame,
    /// A plain run like `123456`, `fedcba` or `975310`.
    #[error("the passcode must not be a plain run of characters")]
    Run,
    /// A short part repeated, like `123123`, or two characters only, like `112112`.
    #[error("the passcode must not repeat itself")]
    Repeated,
    /// A date, like `241287` or `19871224`.
    #[error("the passcode must not be a date")]
    Date,
    /// One that very many people choose.
    #[error("very many people choose this passcode: choose another")]
    Common,
    /// It holds the user's name or telephone number, or a part of one.
    #[error("the passcode must not hold your name or telephone number")]
    Personal,
    /// A computer would guess it too soon.
    #[error("the passcode is too easy to guess: add words or characters that do not go together")]
    Weak,
    /// Not of enough sorts: small letters, capitals, digits, others.
    #[error("the passcode needs {least} of these: small letters, capitals, digits, other characters")]
    FewClasses {
        /// How many sorts it needs.
        least: usize,
    },
    /// One of the last passcodes of this device.
    #[error("this passcode was used before: choose a new one")]
    UsedBefore,
    /// The one that it is to replace.
    #[error("this is the passcode you have: choose a new one")]
    Unchanged,
}

/// A passcode. Leaves memory when dropped.
///
/// ```
/// use roundsman_core::vault::{Passcode, PasscodeError};
/// assert!(Passcode::new("red kayak 7").is_ok());
/// assert_eq!(Passcode::new("123456").err(), Some(PasscodeError::Run));
/// ```
pub struct Passcode(Zeroizing<String>);

impl Passcode {
    /// Takes what was typed, in the form NFKC (Unicode Annex 15), so that the same passcode typed on another
    /// keyboard is the same.
    ///
    /// # Errors
    /// It is too easy for any vault: shorter than six characters, one character repeated, or a plain run. A vault that
    /// it is set for asks for more: [`PasscodeRules`](super::PasscodeRules).
    pub fn new(typed: &str) -> Result<Self, PasscodeError> {
        let text = composed(typed);
        let count = text.chars().count();
        if count < MIN_CHARACTERS {
            Err(PasscodeError::TooShort { least: MIN_CHARACTERS })
        } else if steps_by(&text, 0) {
            Err(PasscodeError::AllSame)
        } else if steps_by(&text, 1) || steps_by(&text, -1) {
            Err(PasscodeError::Run)
        } else {
            Ok(Self(text))
        }
    }

    /// A passcode that is nobody's, to measure with.
    pub(super) fn sample() -> Self {
        Self(Zeroizing::new("a sample of a passcode".to_owned()))
    }

    /// Whether it is the same passcode.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.as_bytes().ct_eq(other.as_bytes()).into()
    }

    /// What was typed, in the form NFKC.
    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// The same passcode once more, for work on another thread.
    pub(crate) fn duplicate(&self) -> Self {
        Self(self.0.clone())
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// What was typed, in the form NFKC.
pub(super) fn composed(typed: &str) -> Zeroizing<String> {
    // NFKC grows UTF-8 by at most 11 times (Unicode Annex 15, section 13.3). Without room from the start, the growing
    // string would leave copies of the passcode behind.
    let mut text = Zeroizing::new(String::with_capacity(typed.len() * 11));
    text.extend(typed.nfkc());
    text
}

/// Whether each character is this many further than the one before it.
pub(super) fn steps_by(text: &str, step: i64) -> bool {
    let next = text.chars().skip(1);
    text.chars().zip(next).all(|(a, b)| i64::from(u32::from(b)) - i64::from(u32::from(a)) == step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn easy_passcodes_are_refused_each_with_its_reason() {
        for (typed, reason) in [
            ("", PasscodeError::TooShort { least: 6 }),
            ("12345", PasscodeError::TooShort { least: 6 }),
            ("７７７７７７", PasscodeError::AllSame),
            ("zzzzzzzz", PasscodeError::AllSame),
            ("123456", PasscodeError::Run),
            ("987654", PasscodeError::Run),
            ("abcdefg", PasscodeError::Run),
        ] {
            assert_eq!(Passcode::new(typed).err(), Some(reason), "{typed}");
        }
    }

    #[test]
    fn the_same_characters_in_another_form_are_the_same_passcode() -> Result<(), PasscodeError> {
        let (wide, narrow) = (Passcode::new("８３１４９２")?, Passcode::new("831492")?);
        assert_eq!(wide.as_bytes(), narrow.as_bytes());
        let (composed, split) = (Passcode::new("caf\u{e9} noir")?, Passcode::new("cafe\u{301} noir")?);
        assert_eq!(composed.as_bytes(), split.as_bytes());
        Ok(())
    }
}
