//! Imports point one way: between crates, and between the top modules of the core.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The crates that each crate may use, tests of its own apart.
const CRATES: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("protocol", &["model"]),
    ("core", &["model", "protocol"]),
    ("bindings", &["core"]),
    ("server", &["model", "protocol"]),
];

#[test]
fn crates_use_only_those_below_them() {
    for (name, below) in CRATES {
        let manifest = fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
        let shipped = manifest.split("[dev-dependencies]").next().unwrap();
        let used: Vec<&str> = shipped
            .lines()
            .filter_map(|line| line.strip_prefix("roundsman-")?.split(['.', ' ', '=']).next())
            .collect();
        for used in &used {
            assert!(below.contains(used), "{name} must not use {used}");
        }
        assert!(below.is_empty() || !used.is_empty(), "{name}: the manifest was not understood");
    }
}

/// The modules of the core that each one may use.
const MODULES: &[(&str, &[&str])] = &[
    ("platform", &[]),
    ("rescue", &["platform"]),
    ("vault", &["platform", "rescue"]),
    ("device", &["platform", "vault"]),
    // For the simulation alone, in builds with its feature.
    ("store", &["platform", "rescue", "simulation"]),
    ("net", &["platform"]),
    ("audit", &["platform", "vault"]),
    ("customers", &["platform", "store", "audit"]),
    ("visits", &["platform", "store", "audit"]),
    ("outbox", &["platform", "store"]),
    ("conflicts", &["platform", "store"]),
    ("attachments", &["platform", "rescue", "vault", "store", "audit"]),
    ("sync", &["platform", "vault", "device", "store", "net", "simulation"]),
];

fn sources(path: &Path) -> Vec<PathBuf> {
    if path.is_dir() {
        fs::read_dir(path).unwrap().flat_map(|entry| sources(&entry.unwrap().path())).collect()
    } else {
        vec![path.to_owned()]
    }
}

/// The modules that a path after `crate::` begins with: one, or each of those in braces.
fn first_names(path: &str) -> Vec<String> {
    let paths = match path.strip_prefix('{') {
        Some(list) => list.split('}').next().unwrap().split(',').collect(),
        None => vec![path],
    };
    paths
        .into_iter()
        .map(|path| path.trim().chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect())
        .filter(|name: &String| !name.is_empty())
        .collect()
}

#[test]
fn modules_of_the_core_use_only_those_below_them() {
    let core = root().join("core/src");
    let mut seen = 0;
    for (name, below) in MODULES {
        let folder = core.join(name);
        let place = if folder.is_dir() { folder } else { core.join(format!("{name}.rs")) };
        for file in sources(&place).iter().filter(|file| file.extension().is_some_and(|end| end == "rs")) {
            let text = fs::read_to_string(file).unwrap();
            for used in text.split("crate::").skip(1).flat_map(first_names) {
                if used == *name {
                    continue;
                }
                seen += 1;
                assert!(below.contains(&used.as_str()), "{} must not use {used}", file.display());
            }
        }
    }
    assert!(seen > 15, "only {seen} uses were found");
}
