//! A secret text: a password, or a key as text.

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// A text that is wiped from memory when it is dropped, and that can't be printed or copied by accident.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Secret(String);

impl Secret {
    /// Takes a secret over.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, to check it or to show it once.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The same secret again, on purpose.
    pub fn duplicate(&self) -> Self {
        Self(self.0.clone())
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// A key as hex digits. Made in one piece, so that no copies of its beginning are left behind.
pub(crate) fn hex(key: &[u8; 32]) -> Zeroizing<String> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = Zeroizing::new(String::with_capacity(64));
    for byte in key {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_key_is_written_as_sixty_four_hex_digits() {
        let mut key = [0; 32];
        (key[0], key[31]) = (0x0f, 0xa0);
        assert_eq!(super::hex(&key).as_str(), format!("0f{}a0", "0".repeat(60)));
    }
}
