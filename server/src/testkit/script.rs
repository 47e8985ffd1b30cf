//! For tests: a script that makes something new for each line it reads, for as long as the test process lives.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// A script of the folder `scripts`, started with `each` when it is first asked. It removes everything at the end of its
/// input, that is when this process ends.
pub(crate) struct Script {
    name: &'static str,
    running: Mutex<Option<Running>>,
}

struct Running {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    _child: Child,
}

impl Script {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self { name, running: Mutex::new(None) }
    }

    /// The line that names the new thing; nothing if none could be made, which the script has said why. It is started anew
    /// the next time then.
    pub(crate) fn make(&self) -> Result<Option<String>, String> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let started = match running.take() {
            Some(started) => started,
            None => self.start()?,
        };
        let made = running.insert(started);
        let mut line = String::new();
        let asked = made.input.write_all(b"new\n").and_then(|()| made.input.flush());
        match asked.and_then(|()| made.output.read_line(&mut line)) {
            Ok(length) if length > 0 => Ok(Some(line.trim().to_owned())),
            _ => {
                *running = None;
                Ok(None)
            }
        }
    }

    fn start(&self) -> Result<Running, String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts").join(self.name);
        let mut child = Command::new(&script)
            .arg("each")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{} can't be run: {error}", script.display()))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(format!("{} has no input", script.display()));
        };
        Ok(Running { input, output: BufReader::new(output), _child: child })
    }
}
