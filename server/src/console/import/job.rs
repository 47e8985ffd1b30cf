//! An import between its pages.

use super::form::MappingForm;
use crate::admin::{ImportReport, Mapping};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Rows shown on the mapping page.
const SAMPLE: usize = 5;

/// The most columns a file may have.
const MAX_COLUMNS: usize = 200;

/// The longest text of a cell that the mapping page shows, in characters.
const MAX_CELL: usize = 60;

/// What the mapping page needs to know of a file, and the file.
pub(super) struct Table {
    pub(super) name: String,
    pub(super) headers: Vec<String>,
    pub(super) sample: Vec<Vec<String>>,
    pub(super) rows: u64,
    bytes: Arc<Vec<u8>>,
}

/// Why a file can't be imported.
#[derive(Debug, thiserror::Error)]
pub(super) enum TableError {
    #[error("choose a file first")]
    Empty,
    #[error("the file can't be read as CSV; save it as CSV in UTF-8 and try again")]
    Unreadable,
    #[error("the first line must name the columns, each by another name")]
    Header,
    #[error("the file has a header but no rows")]
    NoRows,
}

impl Table {
    /// Reads the header and the first rows, and counts the others.
    pub(super) fn read(name: String, mut bytes: Vec<u8>) -> Result<Self, TableError> {
        if bytes.is_empty() {
            return Err(TableError::Empty);
        }
        if bytes.starts_with(b"\xef\xbb\xbf") {
            bytes.drain(..3);
        }
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(bytes.as_slice());
        let headers: Vec<String> =
            reader.headers().map_err(|_| TableError::Unreadable)?.iter().map(str::to_owned).collect();
        let repeats =
            |(place, header): (usize, &String)| headers.iter().take(place).any(|other| other == header);
        if headers.iter().all(String::is_empty)
            || headers.len() > MAX_COLUMNS
            || headers.iter().enumerate().any(repeats)
        {
            return Err(TableError::Header);
        }
        let (mut rows, mut sample) = (0, Vec::new());
        let mut record = csv::ByteRecord::new();
        while reader.read_byte_record(&mut record).map_err(|_| TableError::Unreadable)? {
            if sample.len() < SAMPLE {
                sample.push(record.iter().take(headers.len()).map(cell).collect());
            }
            rows += 1;
        }
        if rows == 0 {
            return Err(TableError::NoRows);
        }
        Ok(Self { name, headers, sample, rows, bytes: Arc::new(bytes) })
    }
}

fn cell(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if text.chars().count() <= MAX_CELL {
        return text.into_owned();
    }
    text.chars().take(MAX_CELL).chain(['…']).collect()
}

/// How far an import has come.
pub(super) enum Stage {
    /// The administrator says which column holds what; after a mistake, what it was.
    Mapping { form: MappingForm, error: Option<String> },
    /// Rows are being read.
    Running { read: Arc<AtomicU64> },
    /// All rows were read.
    Done(ImportReport),
}

/// An import.
pub(in crate::console) struct Job {
    pub(super) table: Table,
    pub(super) stage: Stage,
    chosen: MappingForm,
}

impl Job {
    /// A file that waits for its mapping, with the columns as guessed from its header.
    pub(super) fn new(table: Table) -> Self {
        let form = MappingForm::guess(&table.headers);
        Self { table, stage: Stage::Mapping { form: form.clone(), error: None }, chosen: form }
    }

    /// Begins, if it is not already running or done and the form makes sense.
    pub(super) fn begin(
        &mut self,
        form: &[(String, String)],
        read: &Arc<AtomicU64>,
    ) -> Option<(Arc<Vec<u8>>, Mapping)> {
        if !matches!(self.stage, Stage::Mapping { .. }) {
            return None;
        }
        let form = MappingForm::read(form, &self.table.headers);
        self.chosen = form.clone();
        match form.mapping() {
            Ok(mapping) => {
                self.stage = Stage::Running { read: read.clone() };
                Some((self.table.bytes.clone(), mapping))
            }
            Err(error) => {
                self.stage = Stage::Mapping { form, error: Some(error.to_owned()) };
                None
            }
        }
    }

    /// Keeps the result and lets go of the file; after a failure the mapping can be mended.
    pub(super) fn end(&mut self, outcome: Result<ImportReport, String>) {
        self.stage = match outcome {
            Ok(report) => {
                self.table.bytes = Arc::default();
                Stage::Done(report)
            }
            Err(error) => Stage::Mapping { form: self.chosen.clone(), error: Some(error) },
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Result<Table, TableError> {
        Table::read("stores.csv".to_owned(), text.as_bytes().to_vec())
    }

    #[test]
    fn a_file_is_counted_and_sampled() -> Result<(), TableError> {
        let table = table("\u{feff}code,name\nA,\"One\nStore\"\nB,Two\nC\nD,4\nE,5\nF,6\n")?;
        assert_eq!(table.headers, ["code", "name"]);
        assert_eq!((table.rows, table.sample.len()), (6, SAMPLE));
        assert_eq!(table.sample[0], ["A", "One\nStore"]);
        Ok(())
    }

    #[test]
    fn files_that_are_no_tables_are_refused() {
        assert!(matches!(table(""), Err(TableError::Empty)));
        assert!(matches!(table("code,code\nA,B\n"), Err(TableError::Header)));
        assert!(matches!(table("code,name\n"), Err(TableError::NoRows)));
        let latin = Table::read("x".to_owned(), b"n\xe4me\nA\n".to_vec());
        assert!(matches!(latin, Err(TableError::Unreadable)));
    }
}
