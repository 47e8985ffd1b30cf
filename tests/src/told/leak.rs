//! What a careless app does with what it sees: so that a scan which finds nothing is known to look.

use super::Order;
use roundsman_core::model::{Fields, Value};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Writes every text that it is given into a file, each in another form and in another place.
pub struct Leaks {
    places: [PathBuf; 4],
    written: usize,
}

impl Leaks {
    /// Leaks into the vault's folder, the keystore's, the temporary one and the log.
    pub fn new(folder: &Path) -> Self {
        Self {
            places: ["vault/cache", "keys/cache", "home/tmp/cache", "home/log"].map(|name| folder.join(name)),
            written: 0,
        }
    }

    /// Leaks every text in an order.
    pub(super) fn order(&mut self, order: &Order) -> anyhow::Result<()> {
        self.json(&serde_json::to_value(order)?)
    }

    /// Leaks every text in a record.
    pub(super) fn record(&mut self, fields: &Fields) -> anyhow::Result<()> {
        for value in fields.values() {
            if let Value::Text(text) = value {
                self.text(text)?;
            }
        }
        Ok(())
    }

    fn json(&mut self, value: &serde_json::Value) -> anyhow::Result<()> {
        match value {
            serde_json::Value::String(text) => self.text(text),
            serde_json::Value::Array(values) => values.iter().try_for_each(|value| self.json(value)),
            serde_json::Value::Object(fields) => fields.values().try_for_each(|value| self.json(value)),
            _ => Ok(()),
        }
    }

    /// Leaks a text.
    pub(super) fn text(&mut self, text: &str) -> anyhow::Result<()> {
        let bytes = text.as_bytes();
        let base64 = |before: &str| roundsman_protocol::b64::encode(format!("{before}{text}").as_bytes());
        let leaked: Vec<u8> = match self.written % 9 {
            0 => bytes.to_vec(),
            1 => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            2 => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            3 => base64("").into_bytes(),
            4 => base64("k").into_bytes(),
            5 => base64("k:").into_bytes(),
            6 => bytes.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect(),
            7 => bytes.iter().flat_map(|byte| format!("{byte:02X}").into_bytes()).collect(),
            _ => bytes.iter().rev().copied().collect(),
        };
        let path = &self.places[self.written % self.places.len()];
        self.written += 1;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(file.write_all(&[b"\n", leaked.as_slice(), b"\n"].concat())?)
    }
}
