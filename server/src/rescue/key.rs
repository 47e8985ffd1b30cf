//! The rescue key out of its file.

use crate::keyfile::{KeyFile, KeyFileError, KeyKind};
use roundsman_protocol::{b64, hpke_seal};
use zeroize::Zeroizing;

/// The private rescue key out of the text of its file, or out of the last line of it alone: the seed in base64url,
/// with or without the word before it. It is wiped from memory when it is dropped.
///
/// # Errors
/// It is no key file, a damaged one, or that of another sort of key.
pub fn rescue_key_from_text(text: &str) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    let text = text.trim();
    if text.lines().nth(1).is_some() {
        let file = KeyFile::from_text(text)?;
        file.expect(KeyKind::Rescue)?;
        return file.opening_key();
    }
    let seed = text.strip_prefix("seed:").unwrap_or(text).trim();
    let bytes = Zeroizing::new(b64::decode(seed).ok_or(KeyFileError::NotAKeyFile)?);
    let seed: &[u8; 32] = bytes.as_slice().try_into().map_err(|_| KeyFileError::NotAKeyFile)?;
    Ok(hpke_seal::key_pair(seed).0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::TestResult;

    #[test]
    fn a_rescue_key_is_taken_as_a_file_or_as_its_last_line() -> TestResult {
        let file = KeyFile::generate(KeyKind::Rescue, "safe in the office")?;
        let text = file.to_text();
        let line = text.lines().last().ok_or("line")?;
        let bare = line.strip_prefix("seed: ").ok_or("seed")?;
        for given in [text.as_str(), &text.replace('\n', "\r\n"), line, bare, &format!("\n {bare} \n")] {
            assert_eq!(rescue_key_from_text(given)?, file.opening_key()?);
        }
        Ok(())
    }

    #[test]
    fn another_sort_of_key_or_none_is_refused() -> TestResult {
        let approver = KeyFile::generate(KeyKind::Approver, "Ana")?.to_text();
        assert!(matches!(rescue_key_from_text(&approver), Err(KeyFileError::OtherKind { .. })));
        for wrong in ["", "\n\n", "roundsman rescue key v1", "seed:", "seed: AAAA"] {
            assert!(matches!(rescue_key_from_text(wrong), Err(KeyFileError::NotAKeyFile)), "{wrong}");
        }
        Ok(())
    }
}
