//! A phone in a process of its own that does what it is told, line by line, and can be stopped and killed in the
//! middle of it: the program `told`. What it is told comes through a pipe, so that no text of a test is in a file or
//! in the arguments of a process unless the phone has put it there.

mod leak;
mod stops;
mod work;

pub use leak::Leaks;
pub use stops::Stops;
pub use work::obey;

use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// What a phone is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Order {
    /// Start the app on the device of this name.
    Open(String),
    /// Start it anew, because the platform has lost its keys.
    StartOver(String),
    /// Join an organisation.
    Enrol {
        /// The enrolment code.
        ticket: String,
        /// The passcode.
        passcode: String,
    },
    /// Open the vault with this passcode.
    Unlock(String),
    /// Close it.
    Close,
    /// Change the passcode.
    ChangePasscode {
        /// The present one.
        old: String,
        /// The next one.
        new: String,
    },
    /// Give the vault a new key.
    Rotate(String),
    /// Sync.
    Sync,
    /// Report.
    CheckIn,
    /// Search, and look at what is found. The count is of what was found.
    Search(String),
    /// Count the customers.
    Count,
    /// Add a customer: texts by the names of fields.
    Add(Vec<(String, String)>),
    /// Change fields of the customer that this search finds.
    Edit(String, Vec<(String, String)>),
    /// Visit the customer that this search finds.
    Visit {
        /// The search.
        customer: String,
        /// Notes.
        notes: String,
        /// What is next.
        next_step: String,
        /// Why it was left.
        reason: String,
    },
    /// Plan two visits to the customer that this search finds; miss the one and cancel the other.
    Forgo {
        /// The search.
        customer: String,
        /// Why it was missed.
        missed: String,
        /// Why it was cancelled.
        cancelled: String,
    },
    /// From now on, stop before each step on the disk, or don't.
    StopAtSteps(bool),
    /// Stop the next sync after so many bytes of its answer.
    StopAnswer(usize),
}

/// What a phone says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Said {
    /// It has done it.
    Done {
        /// The client's state.
        state: String,
        /// How many were counted, if something was.
        count: u64,
    },
    /// It could not.
    Failed(String),
    /// It stands before this step, and waits for a line.
    Stopped(String),
    /// The server gave it these tokens.
    Tokens(Vec<String>),
}

/// A phone that is told what to do.
pub struct Told {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// The tokens that it was given.
    pub tokens: Vec<String>,
}

impl Told {
    /// Starts the program `told` on the phone in a folder: the vault in `vault`, the keystore in `keys`, and in `home`
    /// everything that the system gives to a process: where it starts, where it may keep temporary files, and its log.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(program: &str, folder: &Path, leaky: bool) -> io::Result<Self> {
        let home = folder.join("home");
        fs::create_dir_all(home.join("tmp"))?;
        let log = File::options().create(true).append(true).open(home.join("log"))?;
        let mut command = Command::new(program);
        command.env_clear().env("HOME", &home).current_dir(&home);
        command.env("TMPDIR", home.join("tmp")).env("SQLITE_TMPDIR", home.join("tmp"));
        command.arg(folder).args(leaky.then_some("leaky"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).spawn()?;
        let piped = child.stdin.take().zip(child.stdout.take());
        let (input, output) = piped.ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { child, input, output: BufReader::new(output), tokens: Vec::new() })
    }

    /// Tells it something; what it says then.
    ///
    /// # Errors
    /// It has ended.
    pub fn tell(&mut self, order: &Order) -> io::Result<Said> {
        serde_json::to_writer(&self.input, order)?;
        self.go_on()
    }

    /// Lets it go on from where it has stopped; what it says then.
    ///
    /// # Errors
    /// It has ended.
    pub fn go_on(&mut self) -> io::Result<Said> {
        self.input.write_all(b"\n")?;
        loop {
            let mut line = String::new();
            self.output.read_line(&mut line)?;
            match serde_json::from_str(&line)? {
                Said::Tokens(tokens) => self.tokens.extend(tokens),
                said => return Ok(said),
            }
        }
    }

    /// Kills it with the signal that no process can refuse.
    ///
    /// # Errors
    /// It has ended before.
    pub fn kill(mut self) -> io::Result<Vec<String>> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(self.tokens)
    }

    /// Ends it in good order.
    ///
    /// # Errors
    /// It could not end so.
    pub fn end(self) -> io::Result<Vec<String>> {
        let Self { mut child, input, tokens, .. } = self;
        drop(input);
        if child.wait()?.success() { Ok(tokens) } else { Err(io::Error::other("the phone ended badly")) }
    }
}
