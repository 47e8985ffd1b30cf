//! A secret text: a password, or a key as text.

use zeroize::{Zeroize, ZeroizeOnDrop};

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
