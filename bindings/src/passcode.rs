//! The passcode on its way in.

use crate::{PasscodeFlaw, RoundsmanError};
use std::sync::{Mutex, PoisonError};
use zeroize::{Zeroize, Zeroizing};

const MAX_CHARACTERS: usize = 128;
const MAX_BYTES_OF_A_CHARACTER: usize = 4;

/// A passcode while it is typed.
///
/// It crosses one character at a time: a number, which is passed in a register, where a text or a byte array
/// would leave copies in freed memory on both sides. The call that takes it empties it.
#[derive(uniffi::Object)]
pub struct Passcode {
    /// Made with all the room it may need: growing would leave a copy behind.
    typed: Mutex<Zeroizing<String>>,
}

#[uniffi::export]
impl Passcode {
    /// Nothing typed yet.
    #[uniffi::constructor]
    #[allow(clippy::new_without_default, reason = "constructed from other languages")]
    pub fn new() -> Self {
        Self {
            typed: Mutex::new(Zeroizing::new(String::with_capacity(
                MAX_CHARACTERS * MAX_BYTES_OF_A_CHARACTER,
            ))),
        }
    }

    /// Adds a character by its Unicode code point.
    ///
    /// # Errors
    /// It is no character, or there are 128 already; the passcode is as it was.
    pub fn push(&self, code_point: u32) -> Result<(), RoundsmanError> {
        let flawed = |flaw| RoundsmanError::WeakPasscode { flaw };
        let character = char::from_u32(code_point).ok_or(flawed(PasscodeFlaw::NotText))?;
        let mut typed = self.typed.lock().unwrap_or_else(PoisonError::into_inner);
        if typed.chars().count() >= MAX_CHARACTERS {
            return Err(flawed(PasscodeFlaw::TooLong));
        }
        typed.push(character);
        Ok(())
    }

    /// Removes the last character, if there is one.
    pub fn backspace(&self) {
        self.typed.lock().unwrap_or_else(PoisonError::into_inner).pop();
    }

    /// Removes everything.
    pub fn clear(&self) {
        self.typed.lock().unwrap_or_else(PoisonError::into_inner).zeroize();
    }

    /// How many characters were typed: for the dots on the screen.
    pub fn count(&self) -> u32 {
        self.typed.lock().unwrap_or_else(PoisonError::into_inner).chars().count() as u32
    }
}

impl Passcode {
    /// Lends what is typed so far.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&str) -> T) -> T {
        look(&self.typed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The core's passcode; this one is empty afterwards, whether it was good or not.
    pub(crate) fn take(&self) -> Result<roundsman_core::vault::Passcode, RoundsmanError> {
        let mut typed = self.typed.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = roundsman_core::vault::Passcode::new(&typed);
        typed.zeroize();
        Ok(taken?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> Result<Passcode, RoundsmanError> {
        let passcode = Passcode::new();
        text.chars().try_for_each(|character| passcode.push(character.into()))?;
        Ok(passcode)
    }

    #[test]
    fn a_passcode_is_empty_once_it_was_taken() -> Result<(), RoundsmanError> {
        let passcode = typed("27084 é")?;
        passcode.backspace();
        passcode.push(0x1F511)?;
        assert_eq!(passcode.count(), 7);
        let room = passcode.typed.lock().map(|typed| typed.capacity()).unwrap_or_default();
        assert!(passcode.take().is_ok());
        assert_eq!(passcode.count(), 0);
        let left = passcode.typed.lock().map(|typed| typed.capacity()).unwrap_or_default();
        assert_eq!(room, left, "the text never moved in memory");
        Ok(())
    }

    #[test]
    fn a_passcode_that_is_no_text_too_long_or_too_easy_says_so() -> Result<(), RoundsmanError> {
        let flaw = |flaw| Err(RoundsmanError::WeakPasscode { flaw });
        assert_eq!(Passcode::new().push(0xD800), flaw(PasscodeFlaw::NotText));
        let full = typed(&"x".repeat(MAX_CHARACTERS))?;
        assert_eq!(full.push('x'.into()), flaw(PasscodeFlaw::TooLong));
        assert_eq!(full.take().map(|_| ()), flaw(PasscodeFlaw::AllSame));
        assert_eq!(typed("12345")?.take().map(|_| ()), flaw(PasscodeFlaw::TooShort { least: 6 }));
        assert_eq!(typed("123456")?.take().map(|_| ()), flaw(PasscodeFlaw::Run));
        Ok(())
    }
}
