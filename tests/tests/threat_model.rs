//! The threat model's table names the tests that prove it, and they are there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.file_name().is_some_and(|name| name != "target" && name != "node_modules"))
        .flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|end| end == "rs"))
        .collect()
}

#[test]
fn every_threat_has_a_row_and_every_test_it_names_exists() {
    let document = fs::read_to_string(root().join("docs/threat-model.md")).unwrap();
    let rows: Vec<Vec<&str>> = document
        .lines()
        .filter(|line| line.starts_with("| T"))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    let numbers: Vec<&str> = rows.iter().map(|row| row[0]).collect();
    let expected: Vec<String> = (1..=23).map(|n| format!("T{n}")).collect();
    assert_eq!(numbers, expected);

    let sources: Vec<String> = ["model", "protocol", "core", "server", "tests", "bindings", "web-demo"]
        .iter()
        .flat_map(|folder| rust_files(&root().join(folder)))
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    let mut named = 0;
    for row in &rows {
        let (defence, proof) = (row[2], row[3]);
        let tests: Vec<&str> =
            proof.split('`').skip(1).step_by(2).filter(|name| name.contains('_')).collect();
        assert!(!defence.starts_with("not yet"), "{} is not defended", row[0]);
        assert!(!tests.is_empty(), "{} has no test", row[0]);
        for test in tests {
            named += 1;
            let definition = format!("fn {test}(");
            assert!(sources.iter().any(|source| source.contains(&definition)), "{}: {test} is gone", row[0]);
        }
    }
    assert!(named >= 20, "only {named} tests are named");
}
