//! What the person types.

use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

const MIN_CHARACTERS: usize = 6;

/// Why a passcode is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasscodeError {
    /// Fewer than six characters.
    #[error("the passcode needs at least {MIN_CHARACTERS} characters")]
    TooShort,
    /// One character, repeated.
    #[error("the passcode must not be one character repeated")]
    AllSame,
    /// A plain run like `123456` or `fedcba`.
    #[error("the passcode must not be a plain run of characters")]
    Run,
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
    /// It is too easy; each rule has its own error.
    pub fn new(typed: &str) -> Result<Self, PasscodeError> {
        // NFKC grows UTF-8 by at most 11 times (Unicode Annex 15, section 13.3). Without room from the start, the
        // growing string would leave copies of the passcode behind.
        let mut text = Zeroizing::new(String::with_capacity(typed.len() * 11));
        text.extend(typed.nfkc());
        let count = text.chars().count();
        let steps = |step: i64| {
            let next = text.chars().skip(1);
            text.chars().zip(next).all(|(a, b)| i64::from(u32::from(b)) - i64::from(u32::from(a)) == step)
        };
        if count < MIN_CHARACTERS {
            Err(PasscodeError::TooShort)
        } else if steps(0) {
            Err(PasscodeError::AllSame)
        } else if steps(1) || steps(-1) {
            Err(PasscodeError::Run)
        } else {
            Ok(Self(text))
        }
    }

    /// The same passcode once more, for work on another thread.
    pub(crate) fn duplicate(&self) -> Self {
        Self(self.0.clone())
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn easy_passcodes_are_refused_each_with_its_reason() {
        for (typed, reason) in [
            ("", PasscodeError::TooShort),
            ("12345", PasscodeError::TooShort),
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
