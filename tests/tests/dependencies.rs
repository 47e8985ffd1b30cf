//! What the phone's library and the server are made of: one TLS stack, one SQLite, nothing that is banned.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The packages of the lock file that a build of `package` takes in, tests and build scripts apart: names and versions.
fn built_into(metadata: &Value, package: &str) -> BTreeSet<(String, String)> {
    let of = |list: &'static str| metadata[list].as_array().expect("a list").iter();
    let packages: BTreeMap<&str, (&str, &str)> = of("packages")
        .map(|it| {
            let text = |key: &str| it[key].as_str().expect("a text");
            (text("id"), (text("name"), text("version")))
        })
        .collect();
    let nodes: BTreeMap<&str, &Value> = metadata["resolve"]["nodes"]
        .as_array()
        .expect("nodes")
        .iter()
        .map(|node| (node["id"].as_str().expect("an id"), node))
        .collect();
    let mut open: Vec<&str> =
        packages.iter().filter(|(_, (name, _))| *name == package).map(|(id, _)| *id).collect();
    assert_eq!(open.len(), 1, "{package} is in the workspace");
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        for dependency in nodes[id]["deps"].as_array().expect("dependencies") {
            let kinds = dependency["dep_kinds"].as_array().expect("kinds");
            if kinds.iter().any(|kind| kind["kind"].is_null()) {
                open.push(dependency["pkg"].as_str().expect("an id"));
            }
        }
    }
    seen.into_iter()
        .map(|id| packages[id])
        .map(|(name, version)| (name.to_owned(), version.to_owned()))
        .collect()
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn deny_gate() {
    let metadata = metadata();
    let rules = std::fs::read_to_string(root().join("deny.toml")).unwrap();
    let bans = rules.split("[bans]").nth(1).and_then(|rest| rest.split('[').nth(1)).expect("a list of bans");
    let banned: Vec<&str> =
        bans.lines().filter_map(|line| line.split('"').nth(1).filter(|_| line.contains("crate ="))).collect();
    for expected in ["native-tls", "aws-lc-rs", "openssl", "sqlx", "diesel"] {
        assert!(banned.contains(&expected), "{expected} is no longer banned");
    }
    for package in ["roundsman-ffi", "roundsman-server"] {
        let parts = built_into(&metadata, package);
        assert!(parts.len() > 50, "{package}: the metadata was not understood");
        for (name, _) in &parts {
            assert!(!banned.contains(&name.as_str()), "{package} takes in {name}");
        }
        for one in ["libsqlite3-sys", "rustls", "ring"] {
            let versions = parts.iter().filter(|(name, _)| name == one).count();
            assert_eq!(versions, 1, "{package} takes in {versions} versions of {one}");
        }
        assert!(!parts.iter().any(|(name, _)| package == "roundsman-ffi" && name == "roundsman-server"));
    }
    let ci = std::fs::read_to_string(root().join(".ci/run")).unwrap();
    assert!(ci.lines().any(|line| line.trim() == "cargo deny --locked check bans licenses sources"));
}
