//! Roundsman.
