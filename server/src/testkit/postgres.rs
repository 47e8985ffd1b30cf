//! For tests: empty databases of PostgreSQL, on a server that lives as long as the test process.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// The script that makes databases. It removes everything at the end of its input, that is when this process ends.
struct Maker {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    _child: Child,
}

static MAKER: Mutex<Option<Maker>> = Mutex::new(None);

/// The address of a new, empty database.
pub(crate) fn empty_database() -> Result<String, String> {
    let mut maker = MAKER.lock().unwrap_or_else(PoisonError::into_inner);
    let started = match maker.take() {
        Some(started) => started,
        None => start()?,
    };
    let made = maker.insert(started);
    let mut address = String::new();
    let asked = made.input.write_all(b"new\n").and_then(|()| made.input.flush());
    match asked.and_then(|()| made.output.read_line(&mut address)) {
        Ok(length) if length > 0 => Ok(address.trim().to_owned()),
        _ => {
            *maker = None;
            Err("these tests need PostgreSQL: install Debian's package postgresql, and see that \
                 `scripts/postgres start` works; or name a server in ROUNDSMAN_TEST_POSTGRES"
                .to_owned())
        }
    }
}

fn start() -> Result<Maker, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/postgres");
    let mut child = Command::new(&script)
        .arg("each")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{} can't be run: {error}", script.display()))?;
    let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err("scripts/postgres has no input".to_owned());
    };
    Ok(Maker { input, output: BufReader::new(output), _child: child })
}
