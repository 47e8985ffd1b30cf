//! A closed vault leaves nothing in memory: no key, no passcode, no name.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]

use roundsman_core::platform::{OsEntropy, RealDisk, SoftwareKeys, SystemClock};
use roundsman_core::vault::{KdfCost, Passcode, Seams, Vault};
use roundsman_tests::canary::{Canary, scan};
use roundsman_tests::memory::find;
use roundsman_tests::rig::{PASSCODE, Rig};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;

const CUSTOMERS: usize = 40;

/// What must not be found.
struct Secrets {
    names: Vec<Canary>,
    /// What to look for, and what it is.
    all: Vec<(String, Vec<u8>)>,
}

/// A phone in a process of its own that has looked at every customer.
struct Looking {
    child: Child,
    input: ChildStdin,
    output: BufReader<std::process::ChildStdout>,
}

impl Looking {
    fn start(folder: &Path, leaky: bool) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_phone"));
        command.arg(folder).arg("look").args(leaky.then_some("leaky"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut looking = Self { child, input, output };
        looking.go_on(PASSCODE, "open");
        looking
    }

    fn go_on(&mut self, line: &str, until: &str) {
        writeln!(self.input, "{line}").unwrap();
        let mut said = String::new();
        self.output.read_line(&mut said).unwrap();
        assert_eq!(said.trim(), until);
    }

    /// The secrets that are in its memory.
    fn holds(&self, secrets: &Secrets) -> Vec<String> {
        let wanted: Vec<Vec<u8>> = secrets.all.iter().map(|(_, bytes)| bytes.clone()).collect();
        let found = find(self.child.id(), &wanted).unwrap();
        let held = secrets.all.iter().zip(found).filter(|(_, count)| *count > 0);
        held.map(|((what, _), count)| format!("{what}: {count}")).collect()
    }

    fn end(mut self) {
        writeln!(self.input).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

/// An enrolled phone that is closed, and everything about it that is secret.
fn phone(rig: &Rig) -> (std::path::PathBuf, Secrets) {
    let mut csv = "code,name,address\n".to_owned();
    let names: Vec<String> = (0..CUSTOMERS).map(|n| format!("Canary{n:03}Grocery")).collect();
    for (n, name) in names.iter().enumerate() {
        csv.push_str(&format!("K{n},{name},{n} Hidden{n:03}Street\n"));
    }
    rig.import(&csv);
    let ticket = rig.ticket(rig.rep("ana"));
    let folder = rig.disk.path().join("phone");
    let enrolled = Command::new(env!("CARGO_BIN_EXE_phone")).arg(&folder).args(["enrol", &ticket]).status();
    assert!(enrolled.unwrap().success());

    // A copy of the vault tells what the key is.
    let copy = rig.disk.path().join("copy");
    copy_files(&folder, &copy);
    let keys = Arc::new(SoftwareKeys::new(copy.join("keys"), Arc::new(OsEntropy)));
    let seams = Seams {
        keys,
        clock: Arc::new(SystemClock),
        entropy: Arc::new(OsEntropy),
        disk: Arc::new(RealDisk),
        cost: Some(KdfCost::FLOOR),
    };
    let vault = Vault::at(copy.join("vault"), seams).unwrap();
    let key = vault.unlock(&Passcode::new(PASSCODE).unwrap(), &|| ()).unwrap().key.pragma_text();
    let hex = &key[2..66];
    let raw: Vec<u8> = (0..32).map(|n| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).unwrap()).collect();

    let mut all: Vec<(String, Vec<u8>)> =
        names.iter().map(|name| (name.clone(), name.clone().into())).collect();
    all.extend((0..CUSTOMERS).map(|n| format!("Hidden{n:03}Street")).map(|text| (text.clone(), text.into())));
    all.push(("the passcode".into(), PASSCODE.into()));
    all.push(("the database's key".into(), raw));
    all.push(("the database's key in hex".into(), hex.into()));
    let names = names.into_iter().map(|text| Canary { what: "a name".to_owned(), text }).collect();
    (folder, Secrets { names, all })
}

fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_files(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_vault_leaves_nothing_in_memory() {
    let rig = Rig::start().await;
    let (folder, secrets) = phone(&rig);
    let mut looking = Looking::start(&folder, false);
    let open = looking.holds(&secrets);
    assert!(!open.is_empty(), "what is open is in memory: otherwise nothing was looked at");
    looking.go_on("", "closed");
    let closed = looking.holds(&secrets);
    assert!(closed.is_empty(), "left in memory: {closed:?}");
    assert!(scan(&folder, &secrets.names).unwrap().leaks.is_empty());
    println!(
        "{} secrets, {} of them in memory while open, none after closing",
        secrets.all.len(),
        open.len()
    );
    looking.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaky_app_is_caught_in_memory_and_on_disk() {
    let rig = Rig::start().await;
    let (folder, secrets) = phone(&rig);
    let mut looking = Looking::start(&folder, true);
    looking.go_on("", "closed");
    assert!(looking.holds(&secrets).len() > CUSTOMERS, "what it kept is found");
    assert!(scan(&folder, &secrets.names).unwrap().leaks.len() >= CUSTOMERS, "what it wrote is found");
    looking.end();
}
