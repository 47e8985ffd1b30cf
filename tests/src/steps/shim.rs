//! Runs a scenario in a process of its own over the library that makes the disk fail: `tests/shim/faults.c`, which
//! says what each fault does.

use super::phone::Phone;
use anyhow::{Context, bail, ensure};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The exit code of a scenario that ended with an error of the client.
pub const REFUSED: u8 = 3;

const SIGKILL: i32 = 9;

/// How a step fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The process is killed before it.
    Kill,
    /// The power goes before it: what was not synced is lost.
    Power,
    /// The power goes, names have reached the disk, and half of the last write.
    Torn,
    /// That call fails.
    Eio,
    /// The disk is full from there on.
    Enospc,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Kill, Self::Power, Self::Torn, Self::Eio, Self::Enospc];

    /// The name, for the library and for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Power => "power",
            Self::Torn => "torn",
            Self::Eio => "eio",
            Self::Enospc => "enospc",
        }
    }
}

/// What is to fail.
#[derive(Clone, Debug, Default)]
pub struct Fault {
    /// The number of the step, from 1; 0 for the end of the process.
    pub at: usize,
    /// How; nothing fails without it.
    pub kind: Option<Kind>,
    /// The files and folders whose syncs do nothing.
    pub nosync: Vec<String>,
}

/// How a run ended.
pub struct Ended {
    /// What the phone promised.
    pub said: Vec<String>,
    /// The names of the steps that it reached.
    pub steps: Vec<String>,
    /// Whether the scenario came to its end without an error.
    pub done: bool,
    /// What it wrote of its error.
    pub why: String,
}

/// The library, built, and the program that runs scenarios.
pub struct Shim {
    library: PathBuf,
    program: PathBuf,
}

impl Shim {
    /// Builds the library into a folder. `program` is the binary `steps`.
    ///
    /// # Errors
    /// There is no C compiler, or it refuses.
    pub fn build(folder: &Path, program: &str) -> anyhow::Result<Self> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("shim/faults.c");
        let library = folder.join("faults.so");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .output()
            .context("a C compiler is needed to make the disk fail: install cc")?;
        ensure!(
            built.status.success(),
            "cc can't build {}: {}",
            source.display(),
            String::from_utf8_lossy(&built.stderr)
        );
        Ok(Self { library, program: program.into() })
    }

    /// Runs a scenario on a phone with no fault but a kill -9 after this time, if it lives so long.
    ///
    /// # Errors
    /// The program does not start, or panics.
    pub fn kill(&self, scenario: &str, folder: &Path, after: Duration) -> anyhow::Result<Vec<String>> {
        let mut command = Command::new(&self.program);
        command.arg(folder).arg(scenario).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        std::thread::sleep(after);
        child.kill()?;
        let output = child.wait_with_output()?;
        ensure!(
            output.status.success() || output.status.signal() == Some(SIGKILL),
            "the phone ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
    }

    /// Runs a scenario on a phone.
    ///
    /// # Errors
    /// The program does not start, panics, or does not die where it should.
    pub fn run(&self, phone: &Phone, scenario: &str, folder: &Path, fault: Fault) -> anyhow::Result<Ended> {
        fs::create_dir_all(phone.disk())?;
        let _ = fs::remove_file(phone.log());
        let mut command = Command::new(&self.program);
        command.arg(folder).arg(scenario).stdin(Stdio::null());
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAULTS_ROOT", phone.disk())
            .env("FAULTS_LOG", phone.log());
        command.env("FAULTS_RESIDUE", phone.residue());
        if let Some(kind) = fault.kind {
            let at = if fault.at == 0 { "end".to_owned() } else { fault.at.to_string() };
            command.env("FAULTS_AT", at).env("FAULTS_KIND", kind.name());
        }
        if !fault.nosync.is_empty() {
            command.env("FAULTS_NOSYNC", format!(",{},", fault.nosync.join(",")));
        }
        let output = command.output()?;
        let killed = output.status.signal() == Some(SIGKILL);
        let errors = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => {}
            Some(code) if code == i32::from(REFUSED) => {}
            None if killed => {}
            _ => bail!("the phone ended with {}: {errors}", output.status),
        }
        let steps = fs::read_to_string(phone.log()).unwrap_or_default();
        Ok(Ended {
            said: String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect(),
            steps: steps.lines().map(str::to_owned).collect(),
            done: output.status.success(),
            why: errors.into_owned(),
        })
    }
}
